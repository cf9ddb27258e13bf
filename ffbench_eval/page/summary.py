"""The end of a run on one screen: a row per task, its deciding number, and the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..report import Metric, Report, TaskReport
from ..words import clean, duration, in_small_units, interval_text, metric_name, number, quantity
from .answer import Answer, answer, spec_of
from .verdict import of_other_theory, stated_theory

if TYPE_CHECKING:
    from rich.console import Console

    from ..kinds import MetricSpec

LINES = 28  # beyond these a task has one line, so that the longest suite fits a terminal
STYLE = {"good": "green", "fair": "cyan", "warn": "yellow", "bad": "bold red", "none": "dim"}


def print_summary(report: Report, console: Console | None = None) -> None:
    """Print two lines per task, three where the number does not fit beside the words; of a long suite one line per
    task, with what fits: 30 lines of 80 columns hold every shipped suite.

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
    if 2 * len(rows) > LINES:
        _print_briefly(rows, first, second, console)
        return
    for row in rows:
        words = (f"{row.answer.words:{second}}", STYLE[row.answer.tone])
        if first + second + len(row.number) <= console.width:
            console.print(Text.assemble(f"{row.task:{first}}", words, row.number), overflow="fold")
        else:
            console.print(Text.assemble(f"{row.task:{first}}", words), overflow="fold")
            console.print(Text(" " * first + row.number), overflow="fold")
        if row.beside:
            console.print(Text(" " * first + row.beside, style="dim"), overflow="fold")
    known = [row for row in rows if row.interval]
    if known:
        noise = "; noise: what the truth scores against itself" if any("noise" in row.against for row in known) else ""
        console.print(Text(f"Under a number: its 95 % interval{noise}", style="dim"))


def _print_briefly(rows: list[Row], first: int, second: int, console: Console) -> None:
    """A line per task: the answer, the value and, where it fits, its interval; the metric's name where it is not the
    same for all."""
    from rich.text import Text

    names = {row.name for row in rows if row.name}
    if len(names) == 1:
        console.print(Text(f"{names.pop()}, with its 95 % interval:", style="dim"))
        names = set()
    for row in rows:
        named = f"{row.name} {row.value}" if names and row.name else row.value
        whole = f"{named} ({row.interval})" if row.interval else named
        room = console.width - first - second
        said = next((text for text in (whole, named, row.value) if len(text) <= room), "")
        words = (f"{row.answer.words:{second}}" if said else row.answer.words, STYLE[row.answer.tone])
        console.print(Text.assemble(f"{row.task:{first}}", words, said), overflow="ellipsis", no_wrap=True)


@dataclass(frozen=True)
class Row:
    """``name``, ``value``, ``interval``: of the deciding metric; ``beside``: what it is held against."""

    task: str
    answer: Answer
    name: str = ""
    value: str = ""
    interval: str = ""
    against: str = ""

    @property
    def number(self) -> str:
        return f"{self.name} {self.value}".strip()

    @property
    def beside(self) -> str:
        return "; ".join(part for part in (self.interval, self.against) if part)


def _rows(report: Report) -> Iterator[Row]:
    for name, task in report.tasks.items():
        found = answer(task, stated_theory(report, task))
        metric = task.metrics.get(found.metric)
        if metric is None or metric.value is None:
            yield Row(name, found)
            continue
        small = in_small_units(metric)
        interval = interval_text(small) if small.interval is not None else ""
        against = [
            *held_against(task, found, stated_theory(report, task)),
            *(["indicative"] if task.indicative else []),
        ]
        yield Row(name, found, metric_name(found.metric), quantity(small), interval, "; ".join(against))


def held_against(task: TaskReport, found: Answer, theory: str = "") -> list[str]:
    """What the deciding number of a task is held against: the noise of runs of the truth or what its reference is
    worth, the trivial baseline, the limit of a check; and that it is of another theory than the data."""
    metric = task.metrics.get(found.metric)
    if metric is None or metric.value is None:
        return []
    spec = spec_of(task, found.metric)
    small, said = in_small_units(metric), []
    if small.floor is not None and small.floor.runs:
        said.append(f"noise {number(small.floor.p95)}")
    elif small.floor is not None:
        said.append(f"reference good to {small.floor.median:.3g}")
    if small.trivial is not None:
        nothing = spec.nothing if spec else "nothing"
        said.append(f"{nothing.removeprefix('a ').removeprefix('an ')} {number(small.trivial)}")
    if spec and (limit := wanted(spec, metric)):
        said.append(f"{limit} wanted")
    if of_other_theory(task, theory) and "theory" not in found.words:
        said.append("other theory")
    return said


def answers_side_by_side(reports: Sequence[Report]) -> list[tuple[str, list[str]]]:
    """(task, a cell per report: the answer, under it the deciding number) for every task that any of them has."""
    rows = [{row.task: row for row in _rows(report)} for report in reports]

    def cell(row: Row | None) -> str:
        return "not run" if row is None else "\n".join(x for x in (row.answer.words, row.number) if x)

    return [(name, [cell(own.get(name)) for own in rows]) for name in dict.fromkeys(t for own in rows for t in own)]


def wanted(spec: MetricSpec, metric: Metric) -> str:
    """The limit of a check in words, in the unit in which the value is shown; empty where there is none."""
    if spec.limit is None:
        return ""
    scale = 1.0 if in_small_units(metric).unit == metric.unit else 1000.0
    return f"{'at least' if spec.better == 'higher' else 'at most'} {scale * spec.limit:.3g}"


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
        f"<td>{escape('95 %: ' * bool(row.interval) + row.beside)}</td></tr>"
        for row in _rows(report)
    )
    head = escape(f"{clean(report.model.name)} on {report.suite} {report.suite_version}")
    return f"<table><caption>{head}</caption><tbody>{rows}</tbody></table>"
