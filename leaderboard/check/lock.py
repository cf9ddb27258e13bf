"""A suite as the board knows it: tasks, data hashes, and the anchors that no entry may change.

``suites/<suite>-<version>.json`` is written by maintainers (`ffbench leaderboard lock`) from the suite's YAML, the data
manifests and trusted reports, which may each hold some tasks only. The validator needs neither data nor torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ffbench_eval.kinds import kind_of
from ffbench_eval.report import DatasetUsed, Floor, Report, Strict, TaskReport

from ..entry.schema import ROOM
from .recompute_scans import Scans

if TYPE_CHECKING:
    from ffbench_eval.suite import Task

SUITES = ROOM / "suites"


class MetricLock(Strict):
    unit: str
    better: str
    aggregate: str
    version: str
    floor: Floor | None = None
    trivial: float | None = None
    n: int | None = None  # samples of a run in which nothing failed
    optional: bool = False  # not every model has it


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
    molecules: list[str] = Field(default_factory=list)  # of every bond scan or reaction, in order
    bond_types: list[str] = Field(default_factory=list)
    no_forces: dict[str, list[float]] = Field(default_factory=dict)  # what no forces at all score, of every bond scan

    @property
    def scans(self) -> Scans | None:
        return Scans(tuple(self.molecules), tuple(self.bond_types)) if self.molecules else None


class SuiteLock(Strict):
    suite: str
    version: str
    description: str = ""
    tasks: dict[str, TaskLock]


PRESENT = "the lock"


def load_lock(suite: str, version: str, folder: Path = SUITES) -> SuiteLock | None:
    path = folder / f"{suite}-{version}.json"
    return SuiteLock.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def latest_version(suite: str, folder: Path = SUITES) -> str:
    """The highest version of a suite that has a lock; empty if none has."""
    found = [p.stem.removeprefix(f"{suite}-") for p in folder.glob(f"{suite}-*.json")]
    return max((v for v in found if v[:1].isdigit()), key=_order, default="")


def all_locks(folder: Path = SUITES) -> list[SuiteLock]:
    return [SuiteLock.model_validate_json(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))]


def write_lock(lock: SuiteLock, folder: Path = SUITES) -> Path:
    path = folder / f"{lock.suite}-{lock.version}.json"
    from ffbench_data.atomic import write_text

    return write_text(path, lock.model_dump_json(indent=1) + "\n")


def make_lock(
    suite: str,
    trusted: Iterable[Report] = (),
    old: SuiteLock | None = None,
    previous: SuiteLock | None = None,
    same: Iterable[str] = (),
) -> SuiteLock:
    """The lock of a shipped suite (reads YAML, cards and manifests), with the metrics of trusted reports of it.

    Reports may hold some tasks only. What ``old``, a lock of the same version, knows of an unchanged task stays; a new
    report has to agree with it, and reports with each other. A metric that only some of them have is ``optional``.
    ``previous``, a lock of an earlier version, gives the metrics of tasks with the same parameters, data and version,
    of simulations also beside new runs, with anchors worked out from the data anew; ``same`` names tasks (or "all")
    whose version rose although their members' values mean what they meant.
    """
    from ffbench_data.datacard import card
    from ffbench_data.load import NotBuilt, provenance
    from ffbench_eval.suite import load_suite

    found = load_suite(suite)
    trusted = list(trusted)
    for report in trusted:
        if (report.suite, report.suite_version) != (found.name, found.version):
            mine = f"{report.suite} {report.suite_version}"
            raise ValueError(f"--from: a report of {mine}, not of {suite} {found.version}; give runs of this suite")
    if old is not None and (old.suite, old.version) != (found.name, found.version):
        old = None
    tasks = {}
    for task in found.tasks:
        parameters = task.parameters.model_dump(mode="json")
        split = parameters["split"]
        version, content, complete = "", "", True
        config = task.config or ""
        try:
            source = provenance(task.dataset, task.config, split)
            config, version, content = source["config"], source["version"], source["splits"][split]["content_sha256"]
            complete = source["complete"]
        except NotBuilt:
            pass  # nobody's result on it is taken until the lock is written where the data is
        used = DatasetUsed(name=task.dataset, config=config, split=split, version=version, content_sha256=content)
        before = old.tasks.get(task.name) if old else None
        if before is not None and (before.parameters, before.version) != (parameters, task.version):
            before = None
        if before is not None and not content:
            used = before.dataset
        if before is not None and before.dataset != used:
            before = None
        parts = [(PRESENT, before.metrics)] if before and before.metrics else []
        rerun = any(task.name in r.tasks and _usable(r.tasks[task.name]) for r in trusted)
        if previous is not None and not parts and (task.kind.simulation or not rerun):
            if not content and not rerun and task.name in previous.tasks:
                used = previous.tasks[task.name].dataset
            parts += _carried(task, parameters, used, previous, bool({task.name, "all"} & set(same)))
        for report in trusted:
            if task.name in report.tasks and _usable(report.tasks[task.name]):
                if report.tasks[task.name].parameters != parameters or report.tasks[task.name].dataset != used:
                    who = report.model.name
                    raise ValueError(
                        f"--from: task {task.name} of {who} ran with other parameters or data than the suite has here; "
                        "run it again, or build the same data"
                    )
                parts.append((report.model.name, _metrics(report.tasks[task.name])))
        scans = _scans(task, split) if task.kind.members == "scans" and content else {}
        if not scans and content:
            scans = _groups(task)
        known = before or (previous.tasks.get(task.name) if previous is not None and parts else None)
        if not scans and known is not None and known.dataset == used:
            scans = {"molecules": known.molecules, "bond_types": known.bond_types, "no_forces": known.no_forces}
        metrics = _together(task.name, parts)
        silent = {n for r in trusted if task.name in r.tasks for n in _not_asked(r.tasks[task.name])}
        metrics |= {n: metrics[n].model_copy(update={"optional": True}) for n in silent & metrics.keys()}
        if not metrics and not complete:  # nobody ran it, and what lies here may be a slice of the data
            used = used.model_copy(update={"version": "", "content_sha256": ""})
        tasks[task.name] = TaskLock(
            kind=task.kind.name,
            version=task.version,
            title=task.title,
            dataset=used,
            theory=card(task.dataset).theory,
            parameters=parameters,
            indicative=task.indicative,
            note=task.note,
            metrics=metrics,
            **scans,
        )
    return SuiteLock(suite=found.name, version=found.version, description=found.description, tasks=tasks)


def _carried(
    task: Task, parameters: dict[str, Any], used: DatasetUsed, previous: SuiteLock, same: bool
) -> list[tuple[str, dict[str, MetricLock]]]:
    """The metrics of an earlier version's task, with anchors worked out from the data."""
    from ffbench_data.load import NotBuilt
    from ffbench_eval.run.data import load_task_data

    known = previous.tasks.get(task.name)
    if known is None or not known.metrics or known.parameters != parameters or known.kind != task.kind.name:
        return []
    if known.dataset != used or (known.version != task.version and not same) or task.kind.learned:
        return []
    try:
        fresh = task.kind.anchors(task, load_task_data(task))
    except NotBuilt:
        if task.kind.simulation:
            return []  # its anchors may have changed: `not_locked` names it
        fresh = {}
    metrics = {
        name: m.model_copy(update={"floor": fresh[name].floor, "trivial": fresh[name].trivial}) if name in fresh else m
        for name, m in known.metrics.items()
    }
    return [(f"{previous.suite} {previous.version}", metrics)]


def latest_before(suite: str, version: str, folder: Path = SUITES) -> SuiteLock | None:
    """The lock of the highest version of a suite below ``version``."""
    found = [lock for lock in all_locks(folder) if lock.suite == suite and _order(lock.version) < _order(version)]
    return max(found, key=lambda lock: _order(lock.version), default=None)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def not_locked(lock: SuiteLock, trusted: Iterable[Report]) -> list[str]:
    """Tasks of the reports that gave the lock nothing, with the reason, and tasks that still have no metrics."""
    said = []
    for report in trusted:
        for name, task in report.tasks.items():
            if name in lock.tasks and not _usable(task):
                states = ", ".join(f"{count} {state}" for state, count in task.statuses.items()) or "no members"
                said.append(f"{name}: nothing taken from {report.model.name} ({states})")
    bare = [name for name, task in lock.tasks.items() if not task.metrics]
    if bare:
        said.append(f"without metrics yet: {', '.join(bare)}; add them with --from RUN")
    return said


def _usable(task: TaskReport) -> bool:
    """Whether no member was lost: floors and baselines are then the task's own."""
    states = set(task.states)
    return states <= {"ok", "unstable"} and any(m.value is not None for m in task.metrics.values())


def _finished(task: TaskReport) -> bool:
    """Whether every member ended ok: only then the number of samples and the set of metrics are the task's own."""
    return _usable(task) and all(s == "ok" for s in task.states)


def _not_asked(task: TaskReport) -> list[str]:
    """Metrics without a value although every member ended: the model cannot be asked (no cutoff, one precision)."""
    return [name for name, m in task.metrics.items() if m.value is None] if _finished(task) else []


def _together(task: str, parts: list[tuple[str, dict[str, MetricLock]]]) -> dict[str, MetricLock]:
    """The metrics of several trusted sources, which must agree wherever two have a number."""
    if parts and parts[0][0] == PRESENT:
        for who, metrics in parts[1:]:
            _same_list(task, parts[0][1], who, metrics)
    out: dict[str, tuple[str, MetricLock]] = {}
    for who, metrics in parts:
        for name, new in metrics.items():
            first, known = out.get(name, (who, new))
            if known.n is None or new.n is None:
                better = new.n is not None or (known.n is None and not new.optional)  # says more
                first, known = (who, new) if better else (first, known)
            else:
                for field in ("unit", "better", "aggregate", "version", "floor", "trivial", "n"):
                    a, b = getattr(known, field), getattr(new, field)
                    if not _alike(a, b):
                        raise ValueError(
                            f"task {task}, metric {name}: {field} is {a} in {first} and {b} in {who}; "
                            "leave one out, or write the lock anew with --anew"
                        )
            out[name] = first, known
    return {
        name: metric.model_copy(update={"optional": metric.optional or any(name not in m for _, m in parts)})
        for name, (_, metric) in out.items()
    }


def _same_list(task: str, locked: dict[str, MetricLock], who: str, metrics: dict[str, MetricLock]) -> None:
    """ValueError where a whole run has another list of metrics than the present lock: entries name its version."""
    required = {n for n, m in metrics.items() if not m.optional}
    if not required:  # members were lost, or all depends on the model
        return
    new, gone = required - locked.keys(), {n for n, m in locked.items() if not m.optional} - metrics.keys()
    if new or gone:
        what = " and ".join(
            f"{word} {', '.join(sorted(names))}" for word, names in (("has also", new), ("lacks", gone)) if names
        )
        raise ValueError(
            f"task {task}: {who} {what}, other metrics than the lock of this version; raise the versions of task and "
            "suite, or write the lock anew with --anew before anybody has entries of it"
        )


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, Floor) and isinstance(b, Floor):
        return all(_alike(getattr(a, f), getattr(b, f)) for f in type(a).model_fields)
    if isinstance(a, float) and isinstance(b, int | float):
        return abs(a - b) <= 1e-8 * abs(b)
    return a == b


def _groups(task: Task) -> dict[str, Any]:
    from ffbench_eval.run.data import load_task_data

    found = task.kind.groups(task, load_task_data(task))
    return {"molecules": found} if found else {}


def _scans(task: Task, split: str) -> dict[str, Any]:
    from ffbench_data.load import load_frames
    from ffbench_eval.kinds.bsct.scans import find_scans
    from ffbench_eval.kinds.bsct.scores import without_forces

    found = list(find_scans(load_frames(task.dataset, task.config, split)).values())
    nothing = [without_forces([s]) for s in found]
    names = nothing[0] if nothing and all(nothing) else ()
    return {
        "molecules": [s.molecule for s in found],
        "bond_types": [s.bond_type for s in found],
        "no_forces": {name: [float(f"{row[name]:.9g}") for row in nothing] for name in names},
    }


def _metrics(task: TaskReport) -> dict[str, MetricLock]:
    kind = kind_of(task.kind)
    return {
        name: MetricLock(
            unit=m.unit,
            better=m.better,
            aggregate=m.aggregate,
            version=m.version,
            floor=m.floor,
            trivial=None if kind.own_baseline else m.trivial,
            n=(m.n or None) if _finished(task) else None,
            optional=not (_finished(task) and kind.always_there(name)),
        )
        for name, m in task.metrics.items()
    }
