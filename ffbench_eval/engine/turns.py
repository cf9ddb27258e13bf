"""Simulations side by side on one GPU: while the device works for one, the host gets the next chunk of another ready.

A molecule keeps few of a card's multiprocessors busy. Each simulation has a thread and a stream of its own, and gives
up its turn only where it would wait for the device: never do two of them compute on the host at the same time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Turns:
    """Whose turn it is, in the order of asking; after ``stop`` nobody's: who asks gets KeyboardInterrupt."""

    def __init__(self) -> None:
        self.change, self.asking, self.holder, self.stopped = threading.Condition(), deque[int](), 0, False

    def stop(self) -> None:
        with self.change:
            self.stopped = True
            self.change.notify_all()

    def take(self) -> None:
        me = threading.get_ident()
        with self.change:
            self.asking.append(me)
            self.change.wait_for(lambda: self.stopped or (not self.holder and self.asking[0] == me))
            self.asking.remove(me)
            if self.stopped:
                raise KeyboardInterrupt
            self.holder = me

    def give(self) -> None:
        with self.change:
            if self.holder == threading.get_ident():
                self.holder = 0
                self.change.notify_all()


_mine = threading.local()


@contextmanager
def taking(turns: Turns, device: torch.device) -> Iterator[None]:
    """A thread that takes part; on a GPU all it does goes to a stream of its own."""
    turns.take()
    _mine.turns = turns
    try:
        if device.type == "cuda":
            stream = torch.cuda.Stream(device)
            stream.wait_stream(torch.cuda.default_stream(device))  # where models were put on the device
            with torch.cuda.stream(stream):
                yield
        else:
            yield
    finally:
        _mine.turns = None
        turns.give()


def wait_for(device: torch.device) -> None:
    """Until the device has done what this thread asked of it; others have their turn meanwhile."""
    turns: Turns | None = getattr(_mine, "turns", None)
    if turns is None:
        return
    done = None
    if device.type == "cuda":
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(device))
    turns.give()
    if done is not None:
        done.synchronize()
    turns.take()
