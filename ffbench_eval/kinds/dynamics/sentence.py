"""What a verdict says of a simulation's numbers, beside what it says of stability and noise floors."""

from __future__ import annotations

from ...report import TaskReport
from ...words import known, metric_name, quantity


def numbers(task: TaskReport) -> list[str]:
    """The drift, or errors that have no noise floor."""
    m = task.metrics
    drift = m.get("energy_drift")
    if known(drift):
        return [f"energy drift {quantity(drift)}"]
    bare = [
        f"{metric_name(n)} {quantity(v)}"
        for n, v in m.items()
        if v.value is not None and v.floor is None and (n.endswith("_error") or n.startswith("rdf_error_"))
    ]
    return [f"{', '.join(bare)}, with no noise floor to hold against it"] if bare else []
