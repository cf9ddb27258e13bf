"""The page of a report: one HTML file without scripts, links to other files or network."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .. import words as wording
from ..kinds import all_kinds
from ..report import ModelCard, Report, TaskReport
from .answer import abstract, answer, beyond_limits, spec_of
from .picture import picture
from .summary import held_against, wanted
from .svg import charts as plots
from .templating import environment
from .verdict import MEANING, lost_states, stated_theory, verdict

TEMPLATES = Path(__file__).parent / "templates"
KEY_NUMBERS = 6  # of a task, before the table of all
MAX_STORIES = 12  # per task
MAX_STORY = 3000  # characters


def render(report: Report, folder: Path | None = None) -> str:
    """The whole page as a string (UTF-8, below 1 MB). Every string of the report is escaped. ``folder``: where it will
    stand; what a task wrote there is linked.

    >>> render(report)[:15]  # doctest: +SKIP
    '<!doctype html>'
    """
    tasks = []
    room = plots.MAX_BYTES
    for index, (name, task) in enumerate(report.tasks.items(), 1):
        target = task.parameters.get("temperature_K")
        drawn = plots.charts(task.curves, target=target if isinstance(target, int | float) else None, room=room)
        room -= sum(len(c.svg.encode()) for c in drawn)
        found = answer(task, stated_theory(report, task))
        metric = task.metrics.get(found.metric)
        key = wording.in_small_units(metric) if metric is not None and metric.value is not None else None
        shown, failed = picture(task, found, drawn), beyond_limits(task)
        tasks.append(
            {
                "answer": found,
                "key": key,
                "picture": shown,
                "first": _key_numbers(task, found.metric, failed),
                "against": held_against(task, found, stated_theory(report, task)),
                "failed": failed,
                "wanted": {n: w for n, m in task.metrics.items() if (s := spec_of(task, n)) and (w := wanted(s, m))},
                "id": f"task-{index}",
                "name": name,
                "report": task,
                "verdict": verdict(task, stated_theory(report, task)),
                "charts": [c for c in drawn if shown is None or c.name != shown.name or shown.part],
                "small": bool((kind := all_kinds().get(task.kind)) and kind.small_plots),
                "statuses": [(s, task.statuses[s]) for s in MEANING if s in task.statuses],
                "notes": _interval_notes(task),
                "files": _files(name, folder),
                "stories": _stories(task),
                "went_wrong": bool(lost_states(task) or "unstable" in task.statuses),
                "wall_s": sum(u.wall_s for u in task.units),
                "force_calls": sum(u.force_calls for u in task.units),
            }
        )
    pictures = sum(t["picture"] is not None for t in tasks)
    return _template().render(
        report=report,
        abstract=abstract(report),
        pictured=2 * pictures >= len(tasks),
        noisy=any(m.floor and m.floor.runs for task in report.tasks.values() for m in task.metrics.values()),
        elements=elements,
        tasks=tasks,
        cards=_cards(report),
        seen=any(card.seen_test_data for _, card in _cards(report)),
        link=_web_link(report.model.link),
        command=_command(report),
        datasets=_datasets(report),
        style=plots.STYLE,
        strip=plots.strip,
        meaning=MEANING,
        words=wording,
    )


@cache
def _template():
    made = environment(TEMPLATES)
    made.filters["plain"] = _plain
    return made.get_template("report.html.j2")


def _plain(value: Any) -> str:
    """A parameter's value on one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_plain(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(v) for v in value)
    return "none" if value is None else json.dumps(value)


def _key_numbers(task: TaskReport, deciding: str, failed: list[str]) -> list[str]:
    """The metrics that a reader wants first: the deciding one, checks that fail, those with a floor or a baseline to
    hold against, then in the kind's order; no more than `KEY_NUMBERS`, or all that fail."""
    known = {n: m for n, m in task.metrics.items() if m.value is not None}
    against = [n for n, m in known.items() if m.floor or m.trivial is not None]
    first = dict.fromkeys([*([deciding] if deciding in known else []), *failed, *against, *known])
    return list(first)[: max(KEY_NUMBERS, len(failed))]


def elements(numbers: Sequence[int]) -> str:
    """Symbols of atomic numbers; of more than ten their stretches.

    >>> elements([1, 6, 8]), elements([1, *range(3, 84), 92])
    ('H, C, O', 'H, Li to Bi, U (83 elements)')
    """
    from ase.data import chemical_symbols

    known = sorted({z for z in numbers if 0 < z < len(chemical_symbols)})
    if len(known) <= 10:
        return ", ".join(chemical_symbols[z] for z in known)
    ends: list[list[int]] = []
    for z in known:
        if ends and z == ends[-1][-1] + 1:
            ends[-1] = [ends[-1][0], z]
        else:
            ends.append([z])
    parts = [" to ".join(chemical_symbols[z] for z in stretch) for stretch in ends]
    return f"{', '.join(parts)} ({len(known)} elements)"


def _interval_notes(task: TaskReport) -> list[tuple[str, str]]:
    """(note, the metrics it belongs to) for every metric that has an interval, and for floors that need a word."""
    notes: dict[str, list[str]] = {}
    for name, metric in task.metrics.items():
        if metric.interval is not None and metric.interval_note:
            notes.setdefault(metric.interval_note, []).append(wording.metric_name(name))
        if metric.floor is not None and metric.floor.note:
            notes.setdefault(f"noise floor: {metric.floor.note}", []).append(wording.metric_name(name))
    return [(note, ", ".join(names)) for note, names in notes.items()]


def _stories(task: TaskReport) -> dict[str, Any]:
    """The details of units: (headline, full text); a traceback's headline is its last line."""
    texts = [d for unit in task.units for d in unit.detail if d.strip()]
    told = []
    for text in dict.fromkeys(texts):
        text = wording.clean(text).strip()
        lines = text.splitlines() or [""]
        headline = lines[-1] if lines[0].startswith("Traceback") else lines[0]
        if len(text) > MAX_STORY:
            text = "... " + text[-MAX_STORY:]
        told.append((headline[:300], text if len(lines) > 1 or len(headline) > 300 else ""))
        if len(told) == MAX_STORIES:
            break
    return {"told": told, "more": max(0, len(set(texts)) - len(told))}


FILES = {"html": "one by one", "csv": "as a table"}


def _files(name: str, folder: Path | None) -> list[tuple[str, str]]:
    """(file beside the page, what it holds) that a task's kind wrote there; only names that are plain."""
    if folder is None or Path(name).name != name:
        return []
    return [(f"{name}.{end}", what) for end, what in FILES.items() if (folder / f"{name}.{end}").is_file()]


def _cards(report: Report) -> list[tuple[str, ModelCard]]:
    """(dataset, card): one model for everything, or one per dataset."""
    return list(report.models.items()) or [("", report.model)]


def _web_link(link: str) -> str:
    return link if link.startswith(("https://", "http://")) else ""


def _command(report: Report) -> str:
    if not report.model.spec:
        return ""
    spec = shlex.quote(wording.clean(report.model.spec).replace("\n", " "))
    return f"ffbench evaluate {spec} --suite {shlex.quote(report.suite)} --seed {report.seed}"


def _datasets(report: Report) -> list[tuple[Any, list[str]]]:
    """Each dataset once, with the tasks that used it."""
    used: dict[str, tuple[Any, list[str]]] = {}
    for task in report.tasks.values():
        key = task.dataset.model_dump_json()
        used.setdefault(key, (task.dataset, []))[1].append(task.title)
    return list(used.values())
