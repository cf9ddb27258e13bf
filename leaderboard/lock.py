"""A suite as the board knows it: tasks, data hashes, and the anchors that no entry may change.

``suites/<suite>-<version>.json`` is written by maintainers (`ffbench leaderboard lock`) from the suite's YAML, the data
manifests and one trusted report. The validator needs neither data nor torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from ffbench_eval.report import DatasetUsed, Floor, Report, Strict

from .entry import ROOM
from .recompute import Scans

SUITES = ROOM / "suites"
OWN_TRIVIAL = {"distance_histogram_error"}  # the frozen frame is one of the model's own run


class MetricLock(Strict):
    unit: str
    better: str
    aggregate: str
    version: str
    floor: Floor | None = None
    trivial: float | None = None
    n: int | None = None  # samples of a run in which nothing failed


class TaskLock(Strict):
    kind: str
    version: str
    title: str
    dataset: DatasetUsed
    theory: str
    parameters: dict[str, Any]
    indicative: bool = False
    note: str = ""
    metrics: dict[str, MetricLock] = Field(default_factory=dict)
    molecules: list[str] = Field(default_factory=list)  # of every bond scan, in order
    bond_types: list[str] = Field(default_factory=list)

    @property
    def scans(self) -> Scans | None:
        return Scans(tuple(self.molecules), tuple(self.bond_types)) if self.molecules else None


class SuiteLock(Strict):
    suite: str
    version: str
    description: str = ""
    tasks: dict[str, TaskLock]


def load_lock(suite: str, version: str, folder: Path = SUITES) -> SuiteLock | None:
    path = folder / f"{suite}-{version}.json"
    return SuiteLock.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def all_locks(folder: Path = SUITES) -> list[SuiteLock]:
    return [SuiteLock.model_validate_json(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))]


def write_lock(lock: SuiteLock, folder: Path = SUITES) -> Path:
    path = folder / f"{lock.suite}-{lock.version}.json"
    path.write_text(lock.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path


def make_lock(suite: str, trusted: Report | None = None) -> SuiteLock:
    """The lock of a shipped suite (reads YAML, cards and manifests), with the metrics of a trusted report of it."""
    from ffbench_data.datacard import card
    from ffbench_data.load import NotBuilt, provenance
    from ffbench_eval.suite import load_suite

    found = load_suite(suite)
    if trusted is not None and (trusted.suite, trusted.suite_version) != (found.name, found.version):
        raise ValueError(f"--from: a report of {trusted.suite} {trusted.suite_version}, not of {suite} {found.version}")
    tasks = {}
    for task in found.tasks:
        parameters = task.parameters.model_dump(mode="json")
        split = parameters["split"]
        version = content = ""
        config = task.config or ""
        try:
            source = provenance(task.dataset, task.config, split)
            config, version, content = source["config"], source["version"], source["splits"][split]["content_sha256"]
        except NotBuilt:
            pass  # nobody's result on it is taken until the lock is written where the data is
        used = DatasetUsed(name=task.dataset, config=config, split=split, version=version, content_sha256=content)
        report = trusted.tasks.get(task.name) if trusted else None
        if report is not None and (report.parameters != parameters or report.dataset != used):
            raise ValueError(f"--from: task {task.name} of the report ran with other parameters or data")
        tasks[task.name] = TaskLock(
            kind=task.kind,
            version=task.version,
            title=task.title,
            dataset=used,
            theory=card(task.dataset).theory,
            parameters=parameters,
            indicative=task.indicative,
            note=task.note,
            metrics={} if report is None else _metrics(report),
            **(_scans(task, split) if task.kind == "bsct" and content else {}),
        )
    return SuiteLock(suite=found.name, version=found.version, description=found.description, tasks=tasks)


def _scans(task, split: str) -> dict[str, list[str]]:
    from ffbench_data.load import load_frames
    from ffbench_eval.bsct.scans import find_scans

    found = list(find_scans(load_frames(task.dataset, task.config, split)).values())
    return {"molecules": [s.molecule for s in found], "bond_types": [s.bond_type for s in found]}


def _metrics(task) -> dict[str, MetricLock]:
    return {
        name: MetricLock(
            unit=m.unit,
            better=m.better,
            aggregate=m.aggregate,
            version=m.version,
            floor=m.floor,
            trivial=None if name in OWN_TRIVIAL else m.trivial,
            n=m.n or None,
        )
        for name, m in task.metrics.items()
    }
