"""What a verdict says of scans without a reference."""

from __future__ import annotations

from ...report import TaskReport
from ...words import in_small_units, known, many, number, quantity


def numbers(task: TaskReport) -> list[str]:
    extrema, work = task.metrics.get("spurious_extrema"), task.metrics.get("conservativeness")
    if not known(extrema):
        return []
    assert extrema.value is not None
    text = f"{number(extrema.value)} false extrema per scan over {many(extrema.n, 'scan')}"
    if known(work):
        text += f"; energy and work of the forces part by {quantity(in_small_units(work))}"
    return [text]
