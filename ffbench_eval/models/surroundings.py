"""What a model may change in the process around it, put back after each of its calls; and a limit for a call."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

try:
    import resource

    NAMES = ("CPU", "AS", "DATA", "FSIZE", "NOFILE")
    LIMITS = tuple(getattr(resource, f"RLIMIT_{name}") for name in NAMES)
except ImportError:  # not a POSIX system
    LIMITS = ()
READ = ("FFBENCH_CALL_LIMIT_S", "FFBENCH_DATA", "FFBENCH_CACHE", "XDG_CACHE_HOME")  # where there are results and data
GRACE_S = 2.0  # a model in a process of its own is ended by the same limit, and says more


class CallTooLong(RuntimeError):
    """A call did not come back within the limit."""

    whole = True  # it says nothing of one replica: nobody is asked alone


@contextmanager
def there() -> Iterator[None]:
    """Stay in the working directory, from which a run's folder and data may be named, and end a fork of this process:
    it would run everything after the block a second time."""
    process, folder = os.getpid(), _folder()
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(1)
        if folder and _folder() != folder:
            os.chdir(folder)


@contextmanager
def kept() -> Iterator[None]:
    """Put back torch's defaults (dtype, device, gradients, threads), the soft limits of the process, the variables that
    ffbench reads, and what `there` keeps."""
    before, read, depth = _defaults(), [os.environ.get(k) for k in READ], sys.getrecursionlimit()
    try:
        with there():
            yield
    finally:
        if sys.getrecursionlimit() != depth:
            sys.setrecursionlimit(depth)
        for name, value in zip(READ, read):
            if os.environ.get(name) != value:
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        if _defaults() != before:
            dtype, device, gradients, threads = before
            torch.set_default_dtype(dtype)
            torch.set_default_device(None if device.type == "cpu" else device)
            torch.set_grad_enabled(gradients)
            torch.set_num_threads(threads)
        if _limits() != AT_FIRST:
            for k, (soft, _) in zip(LIMITS, AT_FIRST):
                with suppress(ValueError, OSError):  # a hard limit can be lowered, never raised again
                    resource.setrlimit(k, (soft, resource.getrlimit(k)[1]))


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """`CallTooLong` in a block that runs longer than this, in Python code of the main thread; an alarm that the block
    sets is taken back. Code that never returns to Python is ended by a process of its own only (``--isolate``). In
    another thread nothing is raised: whoever runs it asks `overdue`."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        mine = threading.get_ident()
        outer = _until.get(mine)
        _until[mine] = time.monotonic() + seconds + GRACE_S
        try:
            yield
        finally:
            if outer is None:
                _until.pop(mine, None)
            else:
                _until[mine] = outer
        return

    def late(_number: int, _frame: Any) -> None:
        raise CallTooLong(
            f"a call did not come back within {seconds:g} s; if it only needs more time, set FFBENCH_CALL_LIMIT_S"
        )

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_S, 1.0)  # again and again: a model may catch what is raised
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before or signal.SIG_DFL)


_until: dict[int, float] = {}


def overdue() -> bool:
    """Whether a call in another thread than the main one is over its limit."""
    return any(end < time.monotonic() for end in list(_until.values()))


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  # in every call of a model
    except OSError:  # it was removed
        return ""


def _defaults() -> tuple[Any, ...]:
    device = torch.empty(0).device  # asking for the default by its name takes ten times as long
    return torch.get_default_dtype(), device, torch.is_grad_enabled(), torch.get_num_threads()


def _limits() -> list[tuple[int, int]]:
    return [resource.getrlimit(k) for k in LIMITS]


AT_FIRST = _limits()
