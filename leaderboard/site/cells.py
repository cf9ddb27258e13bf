"""A metric in a cell of a table."""

from __future__ import annotations

from typing import Any

from ffbench_eval import words as wording
from ffbench_eval.page.templating import typeset
from ffbench_eval.report import Metric, TaskReport


def cell(m: Metric | None, note: str = "") -> tuple[str, Any]:
    """(for sorting, as read): the value and half its interval, or both its ends.

    >>> ends = {"method": "student", "low": -1.5, "high": -0.2}
    >>> str(cell(Metric(value=-1.0, unit="K", n=3, uncertainty=ends))[1])
    '−1.00 (−1.50 to −0.20)'
    """
    if m is None:
        return "", "–"
    if m.value is None:
        return "", "no value"
    text = wording.value_text(m)
    if m.interval is not None and not text.startswith("< "):  # rounding has no interval worth reading
        low, high = m.value - m.interval[0], m.interval[1] - m.value
        if abs(high - low) < 0.1 * (high + low):
            text += f" ± {wording.number((low + high) / 2, wording.last_digit(m))}"
        else:
            between = wording.interval_text(m)
            text += f" ({between if '-' in between else between.replace(' to ', '–')})"
    return f"{m.value:.5g}", typeset(f"{text} {note}".strip())


def best_known(report: TaskReport | None, name: str) -> tuple[Metric | None, str]:
    """The metric and a remark: of a model with another energy zero the aligned errors are the ones to compare."""
    metrics = report.metrics if report else {}
    aligned = metrics.get(f"{name}_aligned")
    return (aligned, "aligned") if aligned is not None and aligned.value is not None else (metrics.get(name), "")
