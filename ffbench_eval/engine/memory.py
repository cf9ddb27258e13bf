"""Out of memory: recognised, and said in a way that a unit can be replaced by two of half the width."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class OutOfMemory(MemoryError):
    """The batch of ``replicas`` did not fit.

    The unit's folder then holds nothing worth keeping. ``halves`` are the two slices of its replicas to run instead
    (`Start.part`), empty when there is only one replica: then the model cannot run on this machine at all.
    """

    def __init__(self, replicas: int, detail: str):
        super().__init__(f"out of memory with {replicas} replicas: {detail}")
        self.replicas = replicas

    @property
    def halves(self) -> tuple[slice, ...]:
        if self.replicas < 2:
            return ()
        middle = (self.replicas + 1) // 2
        return slice(0, middle), slice(middle, self.replicas)


@contextmanager
def memory_guard(replicas: int) -> Iterator[None]:
    """Turn every form of running out of memory inside into `OutOfMemory`."""
    try:
        yield
    except OutOfMemory:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(replicas, _first_line(error)) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Every form that running out of memory takes."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    told = str(error).lower()
    return isinstance(error, RuntimeError) and ("can't allocate memory" in told or "out of memory" in told)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
