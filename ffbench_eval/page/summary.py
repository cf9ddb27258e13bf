"""The end of a run on one screen: a row per task, its deciding number, and the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..kinds import find_metric
from ..report import Report
from ..words import clean, duration, in_small_units, interval_text, metric_name, number, quantity
from .answer import Answer, answer
from .verdict import stated_theory

if TYPE_CHECKING:
    from rich.console import Console

STYLE = {"good": "green", "fair": "cyan", "warn": "yellow", "bad": "bold red", "none": "dim"}


def print_summary(report: Report, console: Console | None = None) -> None:
    """Print two lines per task, three where the number does not fit beside the words: at 80 columns a suite of twelve
    tasks fits 40 lines.

    >>> print_summary(report)  # doctest: +SKIP
    """
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    head = f"{clean(report.model.name)} on {report.suite} {report.suite_version}"
    took = f", {duration(report.wall_s)} on {report.environment.device}"
    console.print(Text.assemble((head, "bold"), (took, "dim")))
    first = max(map(len, report.tasks), default=0) + 2
    rows = list(_rows(report))
    second = max((len(r.answer.words) for r in rows), default=0) + 2
    for row in rows:
        words = (f"{row.answer.words:{second}}", STYLE[row.answer.tone])
        if first + second + len(row.number) <= console.width:
            console.print(Text.assemble(f"{row.task:{first}}", words, row.number), overflow="fold")
        else:
            console.print(Text.assemble(f"{row.task:{first}}", words), overflow="fold")
            console.print(Text(" " * first + row.number), overflow="fold")
        if row.beside:
            console.print(Text(" " * first + row.beside, style="dim"), overflow="fold")


@dataclass(frozen=True)
class Row:
    """``number``: the deciding metric and its value; ``beside``: its interval, noise floor and trivial baseline."""

    task: str
    number: str
    beside: str
    answer: Answer


def _rows(report: Report) -> Iterator[Row]:
    for name, task in report.tasks.items():
        found = answer(task, stated_theory(report, task))
        metric = task.metrics.get(found.metric)
        if metric is None or metric.value is None:
            yield Row(name, "", "", found)
            continue
        metric, spec = in_small_units(metric), find_metric(found.metric)
        said = f"{metric_name(found.metric)} {quantity(metric)}"
        beside = [f"95 %: {interval_text(metric)}"] if metric.interval is not None else []
        if metric.floor is not None:
            beside.append(f"noise {number(metric.floor.p95)}")
        if metric.trivial is not None:
            nothing = spec[0].nothing if spec else "nothing"
            beside.append(f"{nothing.removeprefix('a ').removeprefix('an ')} {number(metric.trivial)}")
        if task.indicative:
            beside.append("indicative only")
        yield Row(name, said, ", ".join(beside), found)


def answers(report: Report) -> str:
    """The same as JSON: by task the answer, the deciding metric and what it is held against, in the report's units."""
    out = {}
    for name, task in report.tasks.items():
        found = answer(task, stated_theory(report, task))
        metric = task.metrics.get(found.metric)
        numbers = {k: getattr(metric, k) for k in ("value", "unit", "interval", "trivial", "score")} if metric else {}
        p95 = metric.floor.p95 if metric and metric.floor else None
        out[name] = {"answer": found.words, "metric": found.metric or None, **numbers, "noise": p95}
    return json.dumps(out, indent=1)


def html(report: Report) -> str:
    """The same as a bare table, for notebooks."""
    from markupsafe import escape

    rows = "".join(
        f"<tr><td>{escape(row.task)}</td><td><b>{escape(row.answer.words)}</b></td><td>{escape(row.number)}</td>"
        f"<td>{escape(row.beside)}</td></tr>"
        for row in _rows(report)
    )
    head = escape(f"{clean(report.model.name)} on {report.suite} {report.suite_version}")
    return f"<table><caption>{head}</caption><tbody>{rows}</tbody></table>"
