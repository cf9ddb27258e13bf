"""What a verdict says of bond scans."""

from __future__ import annotations

from ...report import Metric, TaskReport
from ...words import in_small_units, known, many, number, quantity


def numbers(task: TaskReport) -> list[str]:
    """FSD, which mixes smoothness with accuracy, never without the force error."""
    fsd, force = task.metrics.get("fsd"), task.metrics.get("scan_force_mae")
    if not known(fsd):
        return []
    text = f"FSD {quantity(fsd)} over {many(fsd.n, 'scan')}"
    if known(force):
        text += f" with a force MAE of {quantity(in_small_units(force))}"
    return [text, *_no_better_than_none(force)]


def _no_better_than_none(error: Metric | None) -> list[str]:
    """Flat curves have no false extrema either: smoothness without accuracy says nothing."""
    if error is None or error.value is None or error.trivial is None or error.value < error.trivial:
        return []
    return [f"forces along scans are no better than none ({number(error.trivial)}), so that smoothness says nothing"]
