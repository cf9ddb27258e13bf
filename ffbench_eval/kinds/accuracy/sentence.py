"""What a verdict says of errors on frames."""

from __future__ import annotations

from ...report import TaskReport
from ...words import interval_text, known, many, number, quantity


def numbers(task: TaskReport) -> list[str]:
    """The force error beside that of no forces; the energy error where it was aligned."""
    m = task.metrics
    force, aligned, given = m.get("force_mae"), m.get("energy_mae_aligned"), m.get("energy_mae")
    if not known(force):
        return []
    text = f"force MAE {quantity(force)}, 95 % interval {interval_text(force)}, on {many(force.n, 'frame')}"
    if force.trivial:
        text += f" (predicting no forces gives {number(force.trivial)})"
    if not (known(aligned) and known(given)):
        return [text]
    return [text, f"energy MAE {quantity(aligned)} after alignment, {quantity(given)} as the model gives them"]
