"""The results of a report in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .report import Metric, Report
from .verdict import verdict
from .wording import clean, interval_text, metric_name, number, score_text, unit_name, value_text

if TYPE_CHECKING:
    from rich.console import Console

STYLE = {"good": "green", "warn": "yellow", "bad": "red", "none": "dim"}


def print_table(report: Report, console: Console | None = None) -> None:
    """Print every metric with its interval, noise floor and score, then one sentence per task.

    >>> print_table(report)  # doctest: +SKIP
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console(highlight=False)
    table = Table(title=Text(f"{clean(report.model.name)} on {report.suite} {report.suite_version}"), box=None)
    table.add_column("metric", ratio=None, min_width=20)
    for head in ("value", "95 % interval", "n", "noise floor", "score"):
        table.add_column(head, justify="right" if head in ("value", "n") else "left")
    sentences = []
    for task in report.tasks.values():
        said = verdict(task)
        style = STYLE[said.tone]
        mark = " (indicative)" if task.indicative else ""
        sentences.append(Text.assemble((said.label, style), f"  {clean(task.title)}: {said.sentence}"))
        table.add_row(Text.assemble((clean(task.title) + mark, "bold"), "  ", (said.label, style)))
        for name, metric in task.metrics.items():
            table.add_row(*(Text(cell) for cell in _row(name, metric)))
        table.add_row()
    console.print(table)
    for sentence in sentences:
        console.print(sentence, highlight=False)


def _row(name: str, metric: Metric) -> list[str]:
    floor = "–"
    if metric.floor is not None:
        floor = f"{number(metric.floor.median)}, p95 {number(metric.floor.p95)}"
    return [
        f"  {metric_name(name)}",
        f"{value_text(metric)} {unit_name(metric.unit) if metric.value is not None else ''}".strip(),
        interval_text(metric) if metric.value is not None else "–",
        str(metric.n) if metric.n else "–",
        floor,
        score_text(metric),
    ]
