"""The results of a report in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .report import Metric, Report
from .verdict import verdict
from .wording import clean, interval_text, metric_name, number, score_text, unit_name, value_text

if TYPE_CHECKING:
    from rich.console import Console

STYLE = {"good": "green", "warn": "yellow", "bad": "red", "none": "dim"}
WIDTHS = {"metric": 24, "value": 18, "95 % interval": 20, "n": 5, "noise floor (p95)": 17, "score": None}


def print_table(report: Report, console: Console | None = None) -> None:
    """Print one sentence per task, then its metrics with interval, noise floor and score.

    >>> print_table(report)  # doctest: +SKIP
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = console or Console(highlight=False)
    console.print(Text(f"{clean(report.model.name)} on {report.suite} {report.suite_version}", style="bold"))
    for task in report.tasks.values():
        said = verdict(task)
        mark = " (indicative)" if task.indicative else ""
        console.print()
        console.print(Text.assemble((clean(task.title), "bold"), f"{mark}  ", (said.label, STYLE[said.tone])))
        console.print(Padding(Text(said.sentence), (0, 0, 0, 2)))
        if not task.metrics:
            continue
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for head, width in WIDTHS.items():
            table.add_column(head, width=width, justify="right" if head in ("value", "n") else "left")
        for name, metric in task.metrics.items():
            table.add_row(*(Text(cell) for cell in _row(name, metric)))
        console.print(Padding(table, (0, 0, 0, 2)))


def _row(name: str, metric: Metric) -> list[str]:
    floor = "–"
    if metric.floor is not None:
        floor = f"{number(metric.floor.median)} ({number(metric.floor.p95)})"
    return [
        metric_name(name),
        f"{value_text(metric)} {unit_name(metric.unit) if metric.value is not None else ''}".strip(),
        interval_text(metric) if metric.value is not None else "–",
        str(metric.n) if metric.n else "–",
        floor,
        score_text(metric),
    ]
