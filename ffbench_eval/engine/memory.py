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
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory(replicas, _first_line(error)) from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error) and "out of memory" not in str(error).lower():
            raise
        raise OutOfMemory(replicas, _first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
