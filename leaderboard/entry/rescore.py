"""Bringing an entry to a new version of its suite: what was run again is taken over, the rest is scored anew.

For maintainers, after a suite's version was raised. Members' values of kept tasks stay; value, interval, anchors,
score, title and note are worked out again by the new lock. A task whose definition changed has to come from a new run:
the version of a task says so, unless ``same`` names it as one whose values mean what they meant.
"""

from __future__ import annotations

from ffbench_eval.kinds import kind_of
from ffbench_eval.report import Metric, Report, TaskReport

from ..check.lock import SuiteLock, TaskLock
from ..check.recompute import RULES, UNKNOWN, aggregate, expected_score
from ..site.scoring import card_for, score_task
from .schema import Entry, has_numbers
from .submit import command_of

ALL = "all"


def rescore(
    entry: Entry, lock: SuiteLock, run: Report | None = None, *, trust: bool = False, same: tuple[str, ...] = ()
) -> tuple[Entry, list[str]]:
    """(the entry under ``lock``, one line per task and number that moved).

    ``run``: a new report of the same model, whose tasks replace the entry's; ``trust`` takes it although its
    fingerprint is another one. ``same``: tasks (or `ALL`) that are kept although their version rose. ValueError names
    what cannot be kept.
    """
    old = entry.report
    if old.suite != lock.suite:
        raise ValueError(f"{entry.key} is of suite {old.suite}, the lock of {lock.suite}")
    if run is not None:
        _same_model(entry, run, lock, trust)
    fresh = {} if run is None else {n: t for n, t in run.tasks.items() if n in lock.tasks and has_numbers(t)}
    tasks: dict[str, TaskReport] = {}
    for name, locked in lock.tasks.items():
        if name in fresh:
            tasks[name] = fresh[name].model_copy(update=_labels(locked))
        elif name in old.tasks:
            tasks[name] = _kept(name, old.tasks[name], locked, same)
    if not tasks:
        raise ValueError(f"{entry.key}: no task of it is in {lock.suite} {lock.version}")
    update: dict = {"suite_version": lock.version, "tasks": tasks}
    if run is not None:
        kept_md = any(kind_of(t.kind).simulation and n not in fresh for n, t in tasks.items())
        update |= {"model": run.model, "models": _cards(old, run), "seed": run.seed, "created": run.created}
        update["environment"] = old.environment if kept_md else run.environment  # that of the simulations' timings
        update["wall_s"] = round(sum(u.wall_s for t in tasks.values() for u in t.units), 1)
    report = old.model_copy(update=update).sealed()
    units = {u.address for t in tasks.values() for u in t.units}
    made = entry.model_copy(
        update={
            "report": report,
            "command": command_of(report, lock),
            "archives": [a for a in entry.archives if a.unit in units and a.task in tasks],
        }
    ).sealed()
    return made, list(_moved(entry, made, lock, set(fresh)))


def _same_model(entry: Entry, run: Report, lock: SuiteLock, trust: bool) -> None:
    old = entry.report
    if (run.suite, run.suite_version) != (lock.suite, lock.version):
        raise ValueError(f"--from is of {run.suite} {run.suite_version}, not of {lock.suite} {lock.version}")
    if (run.model.name, run.model.version) != (old.model.name, old.model.version):
        mine, theirs = (f"{m.name} {m.version}".strip() for m in (old.model, run.model))
        raise ValueError(f"{entry.key} is of the model {mine!r}, --from of {theirs!r}")
    ours = {k: c.fingerprint for k, c in (old.models or {"": old.model}).items()}
    for k, card in (run.models or {"": run.model}).items():
        if not trust and ours.get(k) != card.fingerprint:
            raise ValueError(
                f"{entry.key}: the fingerprint of --from is another ({k or run.model.name}: {card.fingerprint}, "
                f"was {ours.get(k)}); if the model is the same and its fingerprint is made otherwise, give --trust"
            )


def _cards(old: Report, run: Report) -> dict:
    """The run's cards, and those of data sets that it did not ask."""
    return {**old.models, **run.models} if run.models else {}


def _labels(locked: TaskLock) -> dict:
    return {"title": locked.title, "indicative": locked.indicative, "note": locked.note}


def _kept(name: str, task: TaskReport, locked: TaskLock, same: tuple[str, ...]) -> TaskReport:
    again = "run it again and give it with --from"
    if task.parameters != locked.parameters or task.kind != locked.kind:
        raise ValueError(f"task {name}: its parameters changed; {again}")
    if has_numbers(task) and (task.dataset.name, task.dataset.config, task.dataset.content_sha256) != (
        locked.dataset.name,
        locked.dataset.config,
        locked.dataset.content_sha256,
    ):
        raise ValueError(f"task {name}: its data changed; {again}")
    if kind_of(task.kind).leads and has_numbers(task) and not task.headline:
        raise ValueError(f"task {name}: names no headline source; {again}")
    if has_numbers(task) and task.version != locked.version and not {name, ALL} & set(same):
        raise ValueError(
            f"task {name}: version {task.version} became {locked.version}; {again}, or --same {name} if its members' "
            "values mean what they meant"
        )
    metrics = {k: _metric(name, k, m, task, locked) for k, m in task.metrics.items()}
    dataset = locked.dataset.model_copy(update={"theory": locked.theory}) if has_numbers(task) else task.dataset
    update = {"version": locked.version, "dataset": dataset, "metrics": metrics, "curves": task.curves}
    return task.model_copy(update=update | _labels(locked))


def _metric(task_name: str, name: str, m: Metric, task: TaskReport, locked: TaskLock) -> Metric:
    """Value, interval and score anew from the members' values, with the anchors of the lock."""
    rule = locked.metrics.get(name)
    if rule is not None and (m.unit, m.better, m.version) != (rule.unit, rule.better, rule.version):
        raise ValueError(
            f"task {task_name}, metric {name}: its definition changed; run it again and give it with --from"
        )
    if m.value is None or not kind_of(task.kind).sampled:
        return m
    complete = all(s == "ok" for s in task.states) or kind_of(task.kind).simulation
    update: dict = {}
    if rule is not None:
        update["floor"] = rule.floor
        if complete:
            update["trivial"] = rule.trivial
    m = m.model_copy(update=update)
    known = [v for v in m.values if v is not None]
    if known and m.aggregate in RULES:
        value, interval = aggregate(name, m, known, task, locked.scans)
        if interval is not UNKNOWN:
            note = m.interval_note or ("" if interval else "too few samples for an interval")
            made = {"low": interval and interval[0], "high": interval and interval[1], "reason": note}
            m = m.model_copy(update={"value": value, "uncertainty": m.uncertainty.model_copy(update=made)})
        else:
            m = m.model_copy(update={"value": value})
    assert m.value is not None
    return m.model_copy(update={"score": expected_score(name, m, m.value, task)})


def _moved(before: Entry, after: Entry, lock: SuiteLock, fresh: set[str]):
    for name, task in after.report.tasks.items():
        locked = lock.tasks[name]
        score = score_task(name, task, locked, card_for(after.report, locked.dataset.name, locked.dataset.config))
        now = score.state if score.value is None else f"{score.value:.4f}"
        yield f"{name}: {'run again' if name in fresh else 'kept'}, score on the board {now}"
        old = before.report.tasks.get(name)
        for key, m in task.metrics.items():
            was = old.metrics.get(key) if old else None
            if was is None:
                yield f"  {key}: new, {m.value}"
                continue
            for field in ("value", "trivial", "score"):
                a, b = getattr(was, field), getattr(m, field)
                if _apart(a, b):
                    yield f"  {key}: {field} {_short(a)} -> {_short(b)}"
            a, b = (x.floor.median if x.floor else None for x in (was, m))
            if _apart(a, b):
                yield f"  {key}: floor {_short(a)} -> {_short(b)}"
        for key in old.metrics if old else ():
            if key not in task.metrics:
                yield f"  {key}: gone"


def _apart(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is not b
    return abs(a - b) > 1e-9 * max(1.0, abs(a))


def _short(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
