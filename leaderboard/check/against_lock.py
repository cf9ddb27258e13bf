"""A task of an entry against the suite's lock, and its numbers against what they can be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ffbench_eval.kinds import all_kinds, kind_of
from ffbench_eval.report import Metric, ModelCard, TaskReport, same_theory

from .bounds import bound, few_digits
from .findings import LOOK, RERUN, Finding, error, warning
from .lock import TaskLock
from .members import elements, left_out, members
from .recompute import metric_faults, not_recomputed, rules_of, task_faults

EVERY_REPLICA = ("stable_time", "stable_fraction", "trusted_time")  # there for unstable replicas too
UNANSWERED = {"unsupported", "harness_error", "out_of_memory", "not_run"}


def check_task(at: str, task: TaskReport, lock: TaskLock | None, card: ModelCard | None = None) -> Iterator[Finding]:
    if lock is not None:
        yield from _against_lock(at, task, lock)
    for k, unit in enumerate(task.units):
        if not unit.status:
            yield error(f"{at}.units[{k}].status", "is empty", RERUN)
        if not re.fullmatch(r"[0-9a-f]{64}", unit.address) and not set(unit.status) <= {"unsupported", "not_run"}:
            yield error(f"{at}.units[{k}].address", "is no address of a unit", RERUN)
    states = set(task.states)
    kind = kind_of(task.kind)
    if card is not None and lock is not None:
        yield from _covered(at, task, lock, card)
    if kind.name not in all_kinds():
        text = f"{task.kind!r} is a kind the board does not know: its numbers are shown, not checked"
        yield warning(f"{at}.kind", text, "maintainers: install the package that offers it")
    elif "unstable" in states and not kind.simulation:
        yield error(f"{at}.units", f"{task.kind} has no unstable members", RERUN)
    for where, message in task_faults(task):
        yield error(at + where, message, RERUN)
    if not task.units:
        yield error(f"{at}.units", "is empty", RERUN)
    elif states and states <= UNANSWERED:  # a task that a submitter did not like looks the same
        text = f"no member has an answer ({', '.join(sorted(states))})"
        yield warning(f"{at}.units", text, "say on the card why; the entry is compared on the tasks it has")
    for name, metric in task.metrics.items():
        here = f"{at}.metrics.{name}"
        for where, message in metric_faults(name, metric, task, lock.scans if lock else None):
            yield error(here + where, message, RERUN)
        yield from _physics(here, name, metric, blocks=kind.frames)
    loose = [not_recomputed(task.kind, k, m, lock.scans if lock else None) for k, m in task.metrics.items()]
    if any(loose):
        count = f"{sum('value' in w for w in loose)} values and {sum('interval' in w for w in loose)} intervals"
        fix = "fine: the page marks them; archived unit files (`submit --archive-url`) let the board recompute them"
        yield warning(f"{at}.metrics", f"{count} are taken as reported: the entry holds no samples for them", fix)


def _covered(at: str, task: TaskReport, lock: TaskLock, card: ModelCard) -> Iterator[Finding]:
    """Members are without an answer for their elements alone, as the card's list of elements says."""
    states = task.states
    found = elements(task, lock)
    if "unsupported" not in states or set(states) <= {"unsupported", "not_run"}:
        return
    for k, (state, own) in enumerate(zip(states, found)):
        missing = card.elements is not None and own is not None and not own <= set(card.elements)
        if own is not None and (state == "unsupported") != missing:
            what = kind_of(task.kind).member
            text = f"{what} {k} is {state}, the elements of the model's card {'lack' if missing else 'hold'} its own"
            yield error(f"{at}.units", text, RERUN)
            return
    told = sum(own is not None for own in found)
    lacking = 118 - len(set(card.elements or range(1, 119)))  # where the lock names no member: one element each at most
    if not told and rules_of(task.kind).each and states.count("unsupported") > lacking:
        text = f"{states.count('unsupported')} members are unsupported, the model's card lacks {lacking} elements"
        yield error(f"{at}.units", text, RERUN)


def check_zero_of_energy(at: str, task: TaskReport, same: bool) -> Iterator[Finding]:
    """Errors of energy that are one constant: the model's zero is another, and so may be its level of theory."""
    plain, aligned = (task.metrics.get(f"energy_mae_per_atom{end}") for end in ("", "_aligned"))
    if plain is None or plain.value is None or plain.value < 0.05:
        return
    known = [v for v in plain.values if v is not None]
    far = aligned is not None and aligned.value is not None and plain.value > 10 * aligned.value
    if same and (far or (len(known) > 2 and np.std(known) < 0.02 * plain.value)):
        text = f"{plain.value:.3g} eV/atom, nearly all of it a constant: another zero of energy"
        yield warning(
            f"{at}.metrics.energy_mae_per_atom", text, "make sure that the theory of the card is the weights'"
        )


def _against_lock(at: str, task: TaskReport, lock: TaskLock) -> Iterator[Finding]:
    for field in ("kind", "version", "indicative", "title"):
        if getattr(task, field) != getattr(lock, field):
            fix = "run the current suite again"
            yield error(f"{at}.{field}", f"is {getattr(task, field)!r}, the suite has {getattr(lock, field)!r}", fix)
    has_result = any(m.value is not None for m in task.metrics.values())
    if has_result and not lock.dataset.content_sha256:
        fix = "maintainers: `ffbench leaderboard lock` where the data is built"
        yield error(f"{at}.dataset", "the board does not hold the hash of this data yet", fix)
    elif has_result and task.dataset != lock.dataset:
        yield error(f"{at}.dataset", "is not the data of this task (version or hash)", "update the data and run again")
    if task.dataset.theory and not same_theory(task.dataset.theory, lock.theory):
        yield error(f"{at}.dataset.theory", f"is {task.dataset.theory!r}, the data's is {lock.theory!r}", RERUN)
    wrong = [
        k
        for k in sorted({*task.parameters, *lock.parameters})
        if _typed(task.parameters, k) != _typed(lock.parameters, k)
    ]
    if wrong:
        yield error(f"{at}.parameters", f"differ from the suite's in {', '.join(wrong)}", "run the task as it is")
    states = set(task.states)
    clean = states <= {"ok"}
    whole = states <= {"ok", "unstable"}
    lasted = clean and not _broke(task)
    kind = kind_of(task.kind)
    yield from _too_many(at, task, lock)
    for name, locked in lock.metrics.items():
        metric = task.metrics.get(name)
        here = f"{at}.metrics.{name}"
        if metric is None:
            if locked.optional:
                continue
            if has_result and (clean or (whole and name in EVERY_REPLICA)):
                yield error(here, "is missing although the task ran to its end", RERUN)
            elif has_result:
                yield warning(here, "is missing", "look at the failures of this task")
            continue
        for field in ("unit", "better", "version"):
            if getattr(metric, field) != getattr(locked, field):
                message = f"is {getattr(metric, field)!r}, the suite has {getattr(locked, field)!r}"
                yield error(f"{here}.{field}", message, "run with the current version")
        if metric.value is None:
            if locked.n and (lasted or (whole and name in EVERY_REPLICA)) and not locked.optional:
                said = error if name not in rules_of(task.kind).undefined else warning
                yield said(f"{here}.value", "is null although the task ran to its end", RERUN)
            continue
        yield from _values_left_out(here, name, task, lock)
        if metric.aggregate != locked.aggregate:
            yield error(f"{here}.aggregate", f"is {metric.aggregate!r}, not {locked.aggregate!r}", RERUN)
        if locked.n and metric.n > locked.n:
            yield error(f"{here}.n", f"{metric.n} samples, the task has {locked.n}", RERUN)
        if not clean and kind.frames and metric.n == locked.n:
            yield error(f"{at}.units", "a chunk did not end ok, yet every frame is counted", RERUN)
        if clean and locked.n and metric.n < locked.n and (kind.frames or not kind.sampled):
            yield error(f"{here}.n", f"{metric.n} samples, the task has {locked.n} and none failed", RERUN)
        yield from _anchors(here, name, metric, lock, clean)
    loose = [k for k, m in task.metrics.items() if k not in lock.metrics and (m.floor or m.trivial is not None)]
    if loose and has_result and not kind.own_baseline:
        fix = "maintainers: `ffbench leaderboard lock SUITE --from RUN` with a trusted run of this task"
        yield error(f"{at}.metrics.{loose[0]}", "has anchors that the board does not hold yet", fix)


def _values_left_out(here: str, name: str, task: TaskReport, lock: TaskLock) -> Iterator[Finding]:
    """A member that ended ok has its values, unless they are not defined for every answer."""
    gone, own = left_out(name, task, lock), rules_of(task.kind)
    if gone:
        text = f"{gone} values are missing of members that ended ok"
        if kind_of(task.kind).simulation or name in own.undefined or lock.metrics[name].optional or not own.known:
            yield warning(f"{here}.values", text, "the model has no place in it")
        else:
            yield error(f"{here}.values", text, RERUN)


def _too_many(at: str, task: TaskReport, lock: TaskLock) -> Iterator[Finding]:
    """A task has so many members, whatever became of them: none is added to those that went badly, none is dropped."""
    count = members(lock)
    if count is None:
        return
    states = task.states
    whole = rules_of(task.kind).known and "not_run" not in states and set(states) != {"unsupported"}
    if len(states) > count or (whole and len(states) < count):
        yield error(f"{at}.units", f"hold {len(states)} members, the task has {count}", RERUN)
    for name, metric in task.metrics.items():
        if len(metric.values) > count:
            text = f"{len(metric.values)} values, the task has {count} members"
            yield error(f"{at}.metrics.{name}.values", text, RERUN)


def _broke(task: TaskReport) -> bool:
    """Whether a replica broke by its numbers: a liquid whose g(r) strays has no state that says so, and observables of
    what was stable for less than the skipped part have no value."""
    stable = task.metrics.get("stable_fraction")
    return stable is not None and any(v is not None and v < 1 for v in stable.values)


def _anchors(here: str, name: str, metric: Metric, lock: TaskLock, clean: bool) -> Iterator[Finding]:
    """Noise floor and trivial baseline belong to the task, not to the entry (selective: see `recompute`)."""
    locked, kind = lock.metrics[name], kind_of(lock.kind)
    if (metric.floor is None) != (locked.floor is None):
        yield error(f"{here}.floor", "is not the task's noise floor", RERUN)
    elif metric.floor is not None and locked.floor is not None:
        for field in ("median", "p95", "runs", "length_ps"):
            a, b = float(getattr(metric.floor, field)), float(getattr(locked.floor, field))
            if abs(a - b) > 1e-8 * abs(b):
                yield error(f"{here}.floor.{field}", f"is {a!r}, the task's noise floor has {b!r}", RERUN)
    if kind.own_baseline:
        return
    if locked.trivial is None or metric.trivial is None:
        if (locked.trivial is None) != (metric.trivial is None):
            yield error(f"{here}.trivial", f"is {metric.trivial!r}, the task's is {locked.trivial!r}", RERUN)
        return
    least = most = locked.trivial
    if not clean and kind.frames and locked.n:  # of the frames that were answered, which the entry does not hold
        least, most = 0.0, locked.trivial * locked.n / max(1, metric.n)
    known = _without_forces(name, metric, lock) if not clean and lock.no_forces else None
    if known is not None and abs(metric.trivial - known) <= 1e-8 * abs(known):
        return  # of the scans that an earlier version had answered; what is scored comes from the lock
    if not least - 1e-8 * abs(least) <= metric.trivial <= most + 1e-8 * abs(most):
        said = f"the task's is {most!r}" if least == most else f"at most {most!r} is possible"
        yield error(f"{here}.trivial", f"is {metric.trivial!r}, {said}", RERUN)


def _without_forces(name: str, metric: Metric, lock: TaskLock) -> float | None:
    """What no forces score on the scans that an entry has."""
    rows = lock.no_forces.get(name, [])
    known = [v for v, mine in zip(rows, metric.values) if mine is not None]
    return (
        float(np.mean(known)) if len(rows) == len(metric.values) and known else float(lock.metrics[name].trivial or 0)
    )


def _typed(values: dict[str, Any], key: str) -> str:
    """A parameter with its types: 5 is not 5.0."""
    return json.dumps(values[key], sort_keys=True) if key in values else "absent"


def _physics(here: str, name: str, metric: Metric, blocks: bool = False) -> Iterator[Finding]:
    """``blocks``: samples are first-order terms of a weighted mean, which may lie outside what a mean can be."""
    limits = bound(name)
    if limits is None:
        yield warning(here, "is a metric the board does not know: it is shown, not checked for range", "tell us")
        return
    if metric.unit != limits.unit and limits.unit != "any":
        yield error(f"{here}.unit", f"is {metric.unit!r}, not {limits.unit!r}", RERUN)
    known = [(k, v) for k, v in enumerate(metric.values) if v is not None]
    shown = [(f".values[{k}]", v) for k, v in known] + ([(".value", metric.value)] if metric.value is not None else [])
    for where, v in shown:
        if blocks and where != ".value":
            continue
        if not limits.least <= v <= limits.most:
            fix = f"possible are {limits.least:g} to {limits.most:g} {limits.unit}; {RERUN}"
            yield error(here + where, f"{v!r} is not possible", fix)
    odd = [(w, v) for w, v in shown if not (limits.low <= v <= limits.high or (limits.zero and v == 0))]
    if odd:
        yield warning(here + odd[0][0], f"{odd[0][1]!r} is outside {limits.low:g} to {limits.high:g}", LOOK)
    if name in ("spurious_extrema", "sign_flips") and any(v != int(v) for _, v in known):
        yield error(f"{here}.values", "are counts, not whole numbers here", RERUN)
    if not limits.continuous or len(known) < 2:
        return
    numbers = [v for _, v in known if v != 0 and v not in (limits.least, limits.most, limits.high)]
    if len(numbers) >= 2 and len(set(numbers)) == 1:
        yield warning(f"{here}.values", "all agree to the last digit, which independent samples seldom do", LOOK)
    if len(numbers) >= 2 and sum(few_digits(v) for v in numbers) > len(numbers) / 2:
        yield warning(f"{here}.values", "have few digits: rounded or typed in?", LOOK)
