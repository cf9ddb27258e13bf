"""What a plan takes on this machine, measured on the model; and how it is said."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ffbench_data.contract import ForceField

from ..models.guard import guarded
from .plan import Planned, Ready, ready
from .units import load_result

if TYPE_CHECKING:
    from ffbench_data.contract import AtomsBatch

CAPTURE_S, CAPTURED = 30.0, 0.06  # on an H100: to fuse and capture a step, and its part of the eager time


def estimate(planned: Sequence[Planned], run: Path) -> None:
    """Fill in seconds per task from a few timed calls of this model on this machine; finished units cost nothing."""
    from ffbench_data.frames import collate

    timed: dict[tuple, float] = {}
    for p in ready(planned):
        for unit in p.units:
            if load_result(unit, run):
                continue
            systems, calls = p.task.kind.module.calls(p.task, unit.inputs, p.data, p.model)
            key = (id(p.model), p.task.dataset, systems)
            if key not in timed:
                rows = p.task.kind.sample_rows(p.data, p.model, systems)
                timed[key] = _call_seconds(p.model, collate(p.data.frames, indices=rows))
            seconds = 1.15 * calls * timed[key]
            if p.model.device.type == "cuda" and p.task.kind.compiled:
                seconds = min(seconds, CAPTURE_S + CAPTURED * seconds)
            p.costs[unit.address] = seconds
            p.seconds, p.longest = p.seconds + seconds, max(p.longest, seconds)


def _call_seconds(model: ForceField, batch: AtomsBatch) -> float:
    """The fastest of three calls after a first; 0 if the model fails, which the unit will report."""
    best = float("inf")
    asked = guarded(model)
    try:
        asked(batch)
        for _ in range(3):
            begun = time.perf_counter()
            float(asked(batch).energy.sum())  # a GPU answers before it has finished
            best = min(best, time.perf_counter() - begun)
    except Exception:
        return 0.0
    return best


def announce(planned: Sequence[Planned], run: Path, workers: int) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    runs = ready(planned)
    total = sum(p.seconds for p in runs)
    wall = max([total / workers, *(p.longest for p in runs)]) if workers > 1 else total
    units = sum(len(p.units) for p in runs)
    what = f"{len(planned)} task{'s' * (len(planned) != 1)}, {units} unit{'s' * (units != 1)}"
    console.print(f"{what}, about {duration(wall)} on this machine -> {run}")
    for p in planned:
        if isinstance(p, Ready):
            what = f"about {duration(p.seconds)}" if p.seconds else "done before"
        else:
            what = p.why
        console.print(f"  {p.task.title}: {what}")


def duration(seconds: float) -> str:
    """A rounded time for people.

    >>> duration(75), duration(4000)
    ('75 s', '67 min')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
