"""What a verdict says of errors on frames."""

from __future__ import annotations

from ...report import TaskReport
from ...words import in_small_units, interval_text, known, many, number, quantity


def numbers(task: TaskReport) -> list[str]:
    """The force error beside that of no forces; the energy error where it was aligned."""
    m = task.metrics
    force, aligned, given = m.get("force_mae"), m.get("energy_mae_aligned"), m.get("energy_mae")
    if not known(force):
        return []
    force = in_small_units(force)
    text = f"force MAE {quantity(force)}, 95 % interval {interval_text(force)}, on {many(force.n, 'frame')}"
    if force.trivial:
        text += f" (predicting no forces gives {number(force.trivial)})"
    if not (known(aligned) and known(given)):
        return [text]
    energy, raw = quantity(in_small_units(aligned)), quantity(in_small_units(given))
    return [text, f"energy MAE {energy} after alignment, {raw} as the model gives them"]
