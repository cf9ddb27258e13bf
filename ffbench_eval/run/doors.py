"""Arguments of a run, checked where they enter: one line that names the argument, what it is and what it may be."""

from __future__ import annotations

import multiprocessing
import numbers
from collections.abc import Iterable
from typing import Any

import torch

MOST_SEED = 2**63 - 1
COMPILE = ("auto", "off", "require")


def device(name: Any = None, here: bool = True) -> str:
    """A device of this machine; by default a GPU if there is one. Not ``here``: of the workers, which say themselves
    whether they have it.

    >>> device("gpu")
    Traceback (most recent call last):
    ...
    ValueError: device: 'gpu' must be cpu, cuda or cuda:0, cuda:1 ...
    """
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    text = str(name)
    kind, _, number = text.partition(":")
    if number and not number.isdigit():
        raise ValueError(f"device: {text!r} must be cpu, cuda or cuda:0, cuda:1 ...")
    if kind not in ("cpu", "cuda"):  # whatever else torch can put numbers on: mps, xpu
        try:
            torch.zeros(1, device=text)
            return text
        except (RuntimeError, AssertionError, NotImplementedError):
            pass
        raise ValueError(f"device: {text!r} must be cpu, cuda or cuda:0, cuda:1 ...")
    if kind == "cuda" and here:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise ValueError(f"device: {text!r}: this machine has no GPU that torch can use; say cpu")
        if int(number or 0) >= count:
            raise ValueError(f"device: {text!r}: this machine has {count} GPU, numbered from 0")
    return text


def seed(value: Any) -> int:
    """A whole number from 0 on.

    >>> seed(-1)
    Traceback (most recent call last):
    ...
    ValueError: seed: -1 must be a whole number from 0 to 9223372036854775807
    """
    return _whole("seed", value, MOST_SEED)


def workers(value: Any) -> int:
    """A number of processes; 0 and 1 work in this one.

    >>> workers(2)
    2
    """
    return _whole("workers", value, 4096)


def pool(workers: int, scheduler: Any, cluster: Any) -> tuple[str, str]:
    """Where workers come from: a scheduler that runs, or jobs of a batch system; neither for processes here.

    >>> pool(0, "tcp://10.0.0.1:8786", "")
    ('tcp://10.0.0.1:8786', '')
    """
    from .cluster import JOBS

    address, system = str(scheduler or ""), str(cluster or "")
    if address and system:
        raise ValueError("scheduler and cluster: give one; a scheduler has its own workers")
    if system and system not in JOBS:
        raise ValueError(f"cluster: {system!r} must be one of {', '.join(JOBS)}")
    if system and workers < 1:
        raise ValueError(f"cluster {system}: say how many workers to ask for, such as --workers 8")
    if address and workers:
        raise ValueError(f"workers: {workers} with a scheduler, which has its own workers; leave it out")
    return address, system


def compile(option: Any) -> str:
    if option not in COMPILE:
        raise ValueError(f"compile: {option!r} must be one of {', '.join(COMPILE)}")
    return option


def tasks(names: str | Iterable[str] | None) -> list[str] | None:
    """Names of tasks; one may come as a plain string.

    >>> tasks("water_md")
    ['water_md']
    """
    if names is None:
        return None
    found = [names] if isinstance(names, str) else list(names)
    wrong = [n for n in found if not isinstance(n, str)]
    if wrong:
        raise ValueError(f"tasks: {wrong[0]!r} is no name of a task")
    return found


def spawned() -> None:
    """End a worker process that runs the user's script again because it has no guard: quietly, the run says why."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(UNGUARDED)


UNGUARDED = 3  # exit code of such a process


def _whole(name: str, value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= int(value) <= most:
        raise ValueError(f"{name}: {value!r} must be a whole number from 0 to {most}")
    return int(value)
