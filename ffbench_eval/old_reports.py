"""Reports before schema version 2: an interval was a pair and a note, whose first words say how it was made."""

from __future__ import annotations

from typing import Any

METHODS = (  # by what the note begins with; names as `report.Method`
    (">=", "restricted_mean"),
    ("Student's t over blocks of frames", "blocks"),
    ("blocks of frames", "blocks"),
    ("root of the interval of the mean square", "root_of_blocks"),
    ("Student's t over replicas, stopped at", "restricted_mean"),
    ("Student's t", "student"),
    ("replicas:", "student"),
    ("Clopper-Pearson", "clopper_pearson"),
    ("bootstrap over", "bootstrap"),
    ("one job on one machine: medians of interleaved rounds", "one_job"),
    ("processor time of the probe over", "one_job"),
)


def interval(ends: Any, note: Any) -> dict[str, Any]:
    """The fields of a `report.Interval` from the pair (or ``None``) and the note. ValueError for anything else.

    >>> interval(None, ">= 10 ps: no failure in 5 runs")["censored"], interval([1.0, 2.0], "Student's t")["method"]
    (True, 'student')
    """
    pair = ends is None or (isinstance(ends, list | tuple) and len(ends) == 2)
    numbers = pair and all(isinstance(e, float | int) and not isinstance(e, bool) for e in ends or ())
    if not numbers or not isinstance(note, str):
        raise ValueError("interval is two numbers or null, interval_note a text")
    low, high = (None, None) if ends is None else ends
    method = next((m for words, m in METHODS if note.startswith(words)), "")
    censored = ends is None and note.startswith(">=")
    return {"low": low, "high": high, "method": method, "censored": censored, "reason": note}


def metric(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a metric as a report of version 1 has them, to which its hash belongs."""
    out: dict[str, Any] = {}
    for k, v in fields.items():
        if k == "uncertainty":
            ends = None if v["low"] is None else [v["low"], v["high"]]
            out |= {"interval": ends, "interval_note": v["reason"]}
        else:
            out[k] = v
    return out
