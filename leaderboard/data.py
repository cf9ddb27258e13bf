"""Everything the site shows, gathered once: entries, their scores, ranks and trust."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffbench_eval.report import TaskReport

from .entry import ENTRIES, LIMIT, Entry, entry_paths
from .lock import SUITES, SuiteLock, TaskLock, load_lock
from .scoring import Rank, Score, card_for, lead_source, rank, score_task, task_weights
from .strict_json import read
from .trust import CHECKS, level


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
    def parameters(self) -> int | None:
        """Of the largest of its models: a family trained per data set has several."""
        cards = [self.entry.report.model, *self.entry.report.models.values()]
        return max((c.parameters for c in cards if c.parameters is not None), default=None)


@dataclass(frozen=True)
class SuiteBoard:
    lock: SuiteLock
    weights: dict[str, float]
    rows: list[Row]  # ranked first, best first


def load_entries(entries: Path = ENTRIES) -> list[Entry]:
    """Entries that already passed the check; ValueError names a file that does not even parse."""
    out = []
    for path in entry_paths(entries):
        try:
            out.append(Entry.model_validate(read(path, LIMIT)))
        except ValueError as error:
            raise ValueError(f"{path}: {error}; run `ffbench leaderboard check`") from None
    return out


def load_board(
    entries: list[Entry], *, suites: Path = SUITES, checks: Path = CHECKS, weights: dict[str, Any] | None = None
) -> list[SuiteBoard]:
    """One board per suite and version, the one with the most entries first."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.report.suite, entry.report.suite_version), []).append(entry)
    boards = []
    for (name, version), members in groups.items():
        lock = load_lock(name, version, suites)
        if lock is None:
            raise ValueError(f"suite {name} {version} has no lock: `ffbench leaderboard lock {name}`")
        boards.append(_suite(lock, members, task_weights(lock, weights), checks))
    return sorted(boards, key=lambda b: (-len(b.rows), b.lock.suite, b.lock.version))


def _suite(lock: SuiteLock, members: list[Entry], weights: dict[str, float], checks: Path) -> SuiteBoard:
    scores: dict[str, dict[str, Score]] = {}
    seen: dict[str, bool] = {}
    for entry in members:
        mine, blind = {}, True
        for name, locked in lock.tasks.items():
            task = entry.report.tasks.get(name)
            card = card_for(entry.report, locked.dataset.name, locked.dataset.config)
            blind = blind and not card.seen_test_data
            mine[name] = Score(None, "not_run") if task is None else score_task(name, task, locked.theory, card)
        scores[entry.key], seen[entry.key] = mine, not blind
    places = rank({k: v for k, v in scores.items() if not seen[k]}, weights)
    rows = [Row(e, scores[e.key], places.get(e.key), level(e, checks), seen[e.key]) for e in members]
    whole = max((len(r.rank.tasks) for r in rows if r.rank), default=0)

    def order(row: Row):
        if row.rank is None:
            return (2, 0, 0.0, row.name)
        return (0 if len(row.rank.tasks) == whole else 1, row.rank.rank, -row.rank.score, row.name)

    return SuiteBoard(lock, weights, sorted(rows, key=order))


def main_metric(locked: TaskLock | TaskReport) -> list[str]:
    """The metrics that stand for a task in a table, most telling first."""
    names = list(locked.metrics)
    first = {
        "accuracy": ["force_mae", "energy_mae_per_atom_aligned", "energy_mae_per_atom", "force_cosine"],
        "molecular_dynamics": [
            "stable_time",
            *(n for n in names if n.startswith(("distance_", "rdf_error", "free_energy_error"))),
            "diffusivity",
            "energy_drift",
            "on_trajectory_force_mae",
        ],
        "bsct": ["fsd", "scan_force_mae", "spurious_extrema"],  # FSD mixes smoothness with accuracy: never alone
        "selective": [
            "augrc.test.probe",
            "augrc.test.force_spread",
            "augrc.test.own_uncertainty",
            "augrc.test.size_only",
        ],
        "speed": ["steps_per_kernel", "ns_per_day"],
    }.get(locked.kind, [])
    chosen = [n for n in first if n in names]
    return (chosen or names)[:5]


def shown_metrics(task: TaskReport) -> list[str]:
    """The metrics of a task that pages have room for; the Parquet file has all."""
    names = list(task.metrics)
    if task.kind == "bsct":
        hidden = ("_compress", "_stretch", "_on_frames", "_of_reference", "scan_energy_mae")
        return [n for n in names if not n.endswith(hidden) and not n.startswith("fsd_")]
    if task.kind == "selective":
        lead = lead_source(task)
        of_test = (f"augrc.test.{lead}", "augrc.test.size_only", "augrc.test.oracle", f"auroc.test.{lead}")
        return [n for n in names if n in of_test or n in ("prevalence.test", f"accuracy_at_coverage.test.{lead}")
                or (n.startswith("augrc.") and n.endswith(f".{lead}"))]  # fmt: skip
    return names
