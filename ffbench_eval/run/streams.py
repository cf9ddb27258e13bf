"""Units of molecules side by side on one GPU, in threads of which one at a time has the host (`engine.turns`)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..engine.turns import Turns, taking
from ..models.isolated import Remote
from .execute import run_unit
from .plan import unit_seconds
from .units import Result, Unit

WIDTH = 4  # on an H100 four batches of five aspirins go 1.5 to 2.2 times as fast as one after the other,
SMALL = 500  # four of five boxes of water (960 atoms each) no faster

Waiting = list[tuple[Any, Unit]]  # (planned, unit)


def parted(waiting: Waiting) -> tuple[Waiting, Waiting]:
    """(those that run side by side, the others): small simulations on a GPU whose time is not what is asked."""
    beside = [(p, u) for p, u in waiting if _fits(p, u)]
    if len(beside) < 2:
        return [], waiting
    chosen = {id(u) for _, u in beside}
    return beside, [(p, u) for p, u in waiting if id(u) not in chosen]


def _fits(p: Any, unit: Unit) -> bool:
    kind = p.task.kind
    if p.model.device.type != "cuda" or not kind.compiled or kind.timed or isinstance(p.model.fn, Remote):
        return False
    return kind.count_members(unit.inputs) * int(p.data.frames.n_atoms.max()) <= SMALL


def run_in_turns(
    waiting: Waiting, run: Path, compile: str, bars: Any, note: Callable[..., None], width: int = WIDTH
) -> None:
    """Run ``waiting`` ``width`` at a time, longest first; ``note(planned, unit, result)`` takes each result."""
    turns = Turns()
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    left = sorted(waiting, key=unit_seconds)

    def work(p: Any, unit: Unit) -> None:
        try:
            with taking(turns, p.model.device):
                result: Result | BaseException = run_unit(
                    unit, p.data, p.model, run, lambda part: bars.update(p, unit, part), compile
                )
        except BaseException as error:  # a full disk, the user's interrupt: for the thread that waits
            result = error
        done.put((p, unit, result))

    running: dict[int, threading.Thread] = {}
    try:
        while left or running:
            while left and len(running) < width:
                p, unit = left.pop()
                running[id(unit)] = threading.Thread(target=work, args=(p, unit), daemon=True)
                running[id(unit)].start()
            p, unit, result = done.get()
            running.pop(id(unit)).join()
            if isinstance(result, BaseException):
                raise result
            note(p, unit, result)
            bars.update(p, unit, 1.0)
    finally:
        turns.stop()
        for thread in running.values():
            thread.join()
