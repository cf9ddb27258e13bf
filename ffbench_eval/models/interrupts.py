"""Whose interrupt it was: the user's (Ctrl-C) ends the run, one that a model raises ends its unit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..stderr import tell


class _Watch:
    on = False  # whether Ctrl-C is told apart from a KeyboardInterrupt that a model raises
    asked = False


_watch = _Watch()


@contextmanager
def watched() -> Iterator[None]:
    """Ctrl-C inside ends the run cleanly, a second one ends the process at once, whatever it is doing.

    Nothing is changed in a thread other than the main one, or where somebody else takes care of the signal.
    """
    main, before = threading.current_thread() is threading.main_thread(), signal.getsignal(signal.SIGINT)
    if _watch.on or not main or before not in (signal.default_int_handler, signal.SIG_IGN):
        yield
        return
    if before is signal.SIG_IGN:  # a job in the background: no interrupt is the user's
        _watch.on, _watch.asked = True, False
        try:
            yield
        finally:
            _watch.on = False
        return

    def asked(_number: int, _frame: object) -> None:
        _watch.asked = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        tell("stopping after this call; once more ends at once")
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, asked)
    _watch.on, _watch.asked = True, False
    try:
        yield
    finally:
        _watch.on = _watch.asked = False
        signal.signal(signal.SIGINT, signal.default_int_handler)


def of_the_user(error: BaseException) -> bool:
    """Whether what came out of a model's code is the user's wish to stop, not the model's own fault."""
    return isinstance(error, KeyboardInterrupt) and (_watch.asked or not _watch.on)


def pending() -> bool:
    """Whether the user asked to stop: a model's code may have swallowed the interrupt."""
    return _watch.asked
