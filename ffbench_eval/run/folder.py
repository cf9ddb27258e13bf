"""Several reports at once: the state of a run folder, parts put together, models side by side. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ffbench_data.atomic import read_object

from ..models.identity import same_model
from ..report import Metric, ModelCard, Report, TaskReport
from ..words import in_one_unit, interval_text, value_text, with_unit


@dataclass(frozen=True)
class TaskState:
    """Units of one task on disk: finished ones, stopped ones, and the states of their members."""

    task: str
    finished: int
    stopped: int
    states: dict[str, int]
    seconds: float


def status(run: Path) -> list[TaskState]:
    """What lies in a run folder, finished or not; ValueError for a folder that is none."""
    if not (run / "run.json").exists():
        raise ValueError(f"{run} is not a run folder (no run.json)")
    found: dict[str, list] = {}
    for folder in sorted((run / "units").glob("*-*")):
        if folder.name.startswith("."):  # left aside, or a copy that was stopped
            continue
        stopped = folder.suffix == ".part"
        task = folder.name.removesuffix(".part").rpartition("-")[0]
        row = found.setdefault(task, [0, 0, Counter(), 0.0])
        if stopped:
            row[1] += 1
            continue
        try:
            result = read_object(folder / "result.json")
            states, seconds = Counter(map(str, result["status"])), float(result["wall_s"])
        except (OSError, ValueError, KeyError, TypeError):  # torn: it will be run again
            continue
        row[0] += 1
        row[2].update(states)
        row[3] += seconds
    return [TaskState(task, a, b, dict(c), s) for task, (a, b, c, s) in found.items()]


def merge(reports: list[Report]) -> Report:
    """One report of parts that ran different tasks of a suite with the same model, suite version and seed.

    A task in two parts must be the same in both. ValueError names what differs.
    """
    if not reports:
        raise ValueError("merge: no reports given")
    first = reports[0]
    tasks: dict[str, TaskReport] = {}
    for report in reports:
        for field in ("suite", "suite_version", "seed"):
            if getattr(report, field) != getattr(first, field):
                raise ValueError(f"merge: {field} is {getattr(first, field)!r} and {getattr(report, field)!r}")
        if not _same_models(report, first):
            raise ValueError(f"merge: {first.model.name} and {report.model.name} are different models")
        for name, task in report.tasks.items():
            if name in tasks and tasks[name].metrics != task.metrics:
                raise ValueError(f"merge: task {name} has different results in two parts")
            tasks[name] = task
    model = _together([r.model for r in reports])
    models = {k: _together([r.models[k] for r in reports]) for k in first.models}
    wall = round(sum(r.wall_s for r in reports), 1)
    created = max(r.created for r in reports)
    return first.model_copy(
        update={"model": model, "models": models, "tasks": tasks, "wall_s": wall, "created": created}
    ).sealed()


def apart(runs: Sequence[Path], out: Path) -> None:
    """ValueError where ``out`` is one of the runs or reports that are put together: it would be written over."""
    for run in runs:
        if out.resolve() in (run.resolve(), run.resolve().parent if run.is_file() else None):
            raise ValueError(f"out: {out} is one of the parts; choose another folder")


def _same_models(a: Report, b: Report) -> bool:
    mine, theirs = a.models or {"": a.model}, b.models or {"": b.model}
    return mine.keys() == theirs.keys() and all(same_model(mine[k], theirs[k]) for k in mine)


def _together(cards: list[ModelCard]) -> ModelCard:
    """The first card with what was answered in all parts."""
    answers = {k: rows for card in reversed(cards) for k, rows in card.answers.items()}
    return cards[0].model_copy(update={"answers": answers}) if answers else cards[0]


def columns(reports: list[Report], paths: list[Path]) -> list[str]:
    """What each report is called beside the others: its model, with the path where two would read the same."""
    names = [f"{r.model.name} {r.model.version}".strip() for r in reports]
    return [f"{name}\n{path}" if names.count(name) > 1 else name for name, path in zip(names, paths)]


def _compared(task: TaskReport | None, m: Metric | None) -> str:
    """A cell: what did not run is told from what ran and gave no value."""
    if task is None or set(task.statuses) <= {"not_run"}:
        return "not run"
    if m is None or m.value is None:
        return "no value"
    return value_text(m) if m.interval is None else f"{value_text(m)} ({interval_text(m)})"


def side_by_side(reports: list[Report], task: str | None = None) -> list[tuple[str, str, list[str]]]:
    """(task, metric with unit, one cell per report) for every metric that any of them has."""
    if len(reports) < 2:
        raise ValueError("compare: give at least two runs or reports")
    if len({(r.suite, r.suite_version) for r in reports}) > 1:
        names = ", ".join(f"{r.suite} {r.suite_version}" for r in reports)
        raise ValueError(f"compare: the suites differ ({names}); only equal tasks can be compared")
    rows = []
    for name in dict.fromkeys(t for r in reports for t in r.tasks):
        if task and name != task:
            continue
        found = [r.tasks.get(name) for r in reports]
        for key in dict.fromkeys(k for t in found if t for k in t.metrics):
            metrics = [t.metrics.get(key) if t else None for t in found]
            metrics = in_one_unit(metrics)
            cells = [_compared(t, m) for t, m in zip(found, metrics)]
            rows.append((name, with_unit(key, metrics), cells))
    return rows
