"""What a verdict says of speed."""

from __future__ import annotations

from ...report import TaskReport
from ...words import known, quantity


def numbers(task: TaskReport) -> list[str]:
    speed = task.metrics.get("steps_per_second")
    return [f"{quantity(speed)}; compare machines by steps per reference kernel"] if known(speed) else []
