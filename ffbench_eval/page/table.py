"""The results of a report in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..report import Metric, Report
from ..words import clean, in_small_units, interval_text, metric_name, number, score_text, unit_name, value_text
from .answer import answer
from .summary import STYLE
from .verdict import stated_theory, verdict

if TYPE_CHECKING:
    from rich.console import Console

HEADS = ("metric", "value", "95 % interval", "n", "floor/p95", "score")
WIDE, NARROW = (30, 18, 30, 5, 15, 5), (20, 13, 16, 4, 13, 5)  # columns, from 110 characters on and below


def print_table(report: Report, console: Console | None = None, tasks: Sequence[str] = ()) -> None:
    """Print one sentence per task (of ``tasks``, or all), then its metrics with interval, noise floor and score.

    >>> print_table(report)  # doctest: +SKIP
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    console = console or Console(highlight=False)
    console.print(Text(f"{clean(report.model.name)} on {report.suite} {report.suite_version}", style="bold"))
    for task in [report.tasks[name] for name in tasks or report.tasks]:
        theory = stated_theory(report, task)
        said, found = verdict(task, theory), answer(task, theory)
        mark = " (indicative)" if task.indicative else ""
        console.print()
        console.print(Text.assemble((clean(task.title), "bold"), f"{mark}  ", (found.words, STYLE[found.tone])))
        console.print(Padding(Text(said.sentence), (0, 0, 0, 2)))
        if not task.metrics:
            continue
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
        for head, width in zip(HEADS, WIDE if console.width >= 110 else NARROW):
            table.add_column(head, width=width, justify="right" if head in ("value", "n") else "left")
        without: dict[str, list[str]] = {}  # reason -> metrics
        for name, metric in task.metrics.items():
            cells = _row(name, in_small_units(metric))
            if cells[2].startswith("none: "):
                without.setdefault(cells[2].removeprefix("none: "), []).append(cells[0])
                cells[2] = "–"
            table.add_row(*(Text(cell) for cell in cells))
        console.print(Padding(table, (0, 0, 0, 2)))
        for reason, names in without.items():
            console.print(Padding(Text(f"no interval of {', '.join(names)}: {reason}", style="dim"), (0, 0, 0, 2)))


def _row(name: str, metric: Metric) -> list[str]:
    floor = "–"
    if metric.floor is not None:
        floor = f"{number(metric.floor.median)}/{number(metric.floor.p95)}"
    missing = metric.value is None
    return [
        metric_name(name),
        f"{value_text(metric)} {'' if missing else unit_name(metric.unit)}".strip(),
        score_text(metric) if missing or metric.not_scored else interval_text(metric),
        str(metric.n) if metric.n else "–",
        floor,
        "–" if metric.score is None else score_text(metric),
    ]
