"""Everything the site shows, gathered once: entries, their scores, ranks and trust."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffbench_eval.kinds import kind_of
from ffbench_eval.report import ModelCard, Report, TaskReport

from ..check.lock import SUITES, SuiteLock, TaskLock, load_lock
from ..check.strict_json import read
from ..entry.schema import ENTRIES, LIMIT, Entry, entry_paths
from ..entry.trust import CHECKS, level
from .pairs import Place, places
from .scoring import Rank, Score, card_for, headline, rank, score_task, task_weights


@dataclass(frozen=True)
class Row:
    """One entry on the board. ``rank`` is None where nothing counted, or where the model saw the test data."""

    entry: Entry
    scores: dict[str, Score]
    rank: Rank | None
    trust: str
    seen: bool

    @property
    def slug(self) -> str:
        return f"{self.entry.org}__{self.entry.model}__{self.entry.version}"

    @property
    def name(self) -> str:
        return f"{self.entry.model} {self.entry.version}"

    @property
    def full(self) -> str:
        return f"{self.entry.org} / {self.name}"

    @property
    def parameters(self) -> int | None:
        """Of the largest of its models: a family trained per data set has several."""
        cards = [self.entry.report.model, *self.entry.report.models.values()]
        return max((c.parameters for c in cards if c.parameters is not None), default=None)


@dataclass(frozen=True)
class Column:
    """A metric that needs no level of theory, with every model's place by entry key."""

    task: str
    metric: str
    places: dict[str, Place]


@dataclass(frozen=True)
class SuiteBoard:
    lock: SuiteLock
    weights: dict[str, float]
    rows: list[Row]  # most tasks first, then best first; without a rank last
    columns: list[Column]  # of any theory

    @property
    def of_any_theory(self) -> bool:
        """Whether no task compares with labels of a level of theory."""
        asked = [kind_of(t.kind) for t in self.lock.tasks.values()]
        return any(not k.timed for k in asked) and not any(k.theory for k in asked)

    @property
    def groups(self) -> list[list[Row]]:
        """The rows with a rank by the tasks they have, in the order of ``rows``: only these are ranked together."""
        found: dict[tuple[str, ...], list[Row]] = {}
        for row in self.rows:
            if row.rank is not None:
                found.setdefault(row.rank.tasks, []).append(row)
        return list(found.values())


def load_entries(entries: Path = ENTRIES, aside: dict[str, str] | None = None) -> list[Entry]:
    """Entries that are not in ``aside``, which takes the names and reasons of those that do not even parse."""
    out, aside = [], {} if aside is None else aside
    for path in entry_paths(entries):
        key = path.relative_to(entries).as_posix().removesuffix(".json")
        if key in aside:
            continue
        try:
            out.append(Entry.model_validate(read(path, LIMIT)))
        except (ValueError, OSError, RecursionError) as error:
            aside[key] = f"cannot be read: {str(error).splitlines()[0][:300]}"
    return out


def load_board(
    entries: list[Entry], *, suites: Path = SUITES, checks: Path = CHECKS, weights: dict[str, Any] | None = None
) -> list[SuiteBoard]:
    """One board per suite and version: what holds for models of every theory first, then by the number of entries."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.report.suite, entry.report.suite_version), []).append(entry)
    boards = []
    for (name, version), members in groups.items():
        lock = load_lock(name, version, suites)
        if lock is None:
            raise ValueError(f"suite {name} {version} has no lock: `ffbench leaderboard lock {name}`")
        boards.append(_suite(lock, members, task_weights(lock, weights), checks))
    return sorted(boards, key=lambda b: (not b.of_any_theory, -len(b.rows), b.lock.suite, b.lock.version))


def _suite(lock: SuiteLock, members: list[Entry], weights: dict[str, float], checks: Path) -> SuiteBoard:
    scores: dict[str, dict[str, Score]] = {}
    seen: dict[str, bool] = {}
    for entry in members:
        mine, blind = {}, True
        for name, locked in lock.tasks.items():
            task = entry.report.tasks.get(name)
            card = card_for(entry.report, locked.dataset.name, locked.dataset.config)
            blind = blind and not card.seen_test_data
            mine[name] = Score(None, "not_run") if task is None else score_task(name, task, locked, card)
        scores[entry.key], seen[entry.key] = mine, not blind
    ranks = rank({k: v for k, v in scores.items() if not seen[k]}, weights)
    rows = [Row(e, scores[e.key], ranks.get(e.key), level(e, checks), seen[e.key]) for e in members]

    def order(row: Row):
        if row.rank is None:
            return (1, 0, 0, 0.0, row.name)
        return (0, -len(row.rank.tasks), row.rank.tasks, row.rank.rank, -row.rank.score, row.name)

    fair = {e.key: e.report for e in members if not seen[e.key]}
    return SuiteBoard(lock, weights, sorted(rows, key=order), list(_columns(lock, fair)))


def _columns(lock: SuiteLock, reports: dict[str, Report]) -> Iterator[Column]:
    for name, locked in lock.tasks.items():
        done: dict[str, tuple[TaskReport, ModelCard]] = {
            key: (r.tasks[name], card_for(r, locked.dataset.name, locked.dataset.config))
            for key, r in reports.items()
            if name in r.tasks
        }
        kind = kind_of(locked.kind)
        for metric in (spec.name for spec in kind.metrics if spec.ranked):
            if metric not in locked.metrics or kind.says_little(metric, locked.parameters):
                continue  # the lock does not know it; a few ps at constant energy say little about stability
            if any(metric in t.metrics for t, _ in done.values()):
                yield Column(name, metric, places(name, metric, locked, done))


def main_metric(locked: TaskLock | TaskReport) -> list[str]:
    """The metrics that stand for a task in a table, most telling first."""
    names = list(locked.metrics)
    chosen = [n for n in slots(locked) if n in names]
    return (chosen or names)[:5]


def slots(locked: TaskLock | TaskReport) -> list[str]:
    """What `main_metric` looks for, found or not. In selective classification the source is the model's own best."""
    return kind_of(locked.kind).columns(list(locked.metrics), _lead(locked))


def shown_metrics(task: TaskReport) -> list[str]:
    """The metrics of a task that pages have room for; the Parquet file has all."""
    kind, lead = kind_of(task.kind), _lead(task)
    return [n for n in task.metrics if kind.shows(n, lead)]


def _lead(locked: TaskLock | TaskReport) -> str:
    return headline(locked) if isinstance(locked, TaskReport) else ""
