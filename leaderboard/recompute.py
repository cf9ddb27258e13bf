"""Every aggregate, interval and score of a report, worked out again from its per-member values.

The same functions that wrote them (`ffbench_eval.statistics`) say what they should be, so the tolerance is that of
printing a double. `RULES` has one function per name of aggregate: a new aggregate needs a line there before entries
may use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from ffbench_eval.report import Metric, TaskReport
from ffbench_eval.statistics import BLOCK, stable_fraction, stable_time, student

RELATIVE = 1e-9
Fault = tuple[str, str]  # (where below the metric or task, what is wrong)
Expected = tuple[float, tuple[float, float] | None]


def metric_faults(name: str, metric: Metric, task: TaskReport) -> Iterator[Fault]:
    """What does not follow from ``metric.values``."""
    known = [v for v in metric.values if v is not None]
    if metric.value is None:
        yield from _missing(metric, known)
        return
    if metric.not_scored:
        yield ".not_scored", "gives a reason although there is a value"
    if not known:
        yield ".values", "holds no sample although there is a value"
        return
    rule = RULES.get(metric.aggregate)
    if rule is None:
        yield ".aggregate", f"unknown aggregate {metric.aggregate!r}; known: {', '.join(RULES)}"
        return
    try:
        value, interval = rule(name, metric, known, task)
    except (ValueError, OverflowError, FloatingPointError) as error:
        yield ".values", f"cannot be aggregated: {error}"
        return
    if not close(metric.value, value):
        yield ".value", f"is {metric.value!r}, its values give {value!r}"
    yield from _interval(metric, interval)
    yield from _count(name, metric, known, task)
    score = expected_score(name, metric, value)
    if not same(metric.score, score):
        yield ".score", f"is {metric.score!r}, its values and anchors give {score!r}"
    if metric.floor is not None and not 0 <= metric.floor.median <= metric.floor.p95:
        yield ".floor", "needs 0 <= median <= p95"


def _missing(metric: Metric, known: list[float]) -> Iterator[Fault]:
    if known:
        yield ".value", "is null although there are values"
    if not metric.not_scored:
        yield ".not_scored", "is empty: a missing value needs its reason"
    for field in ("interval", "score", "floor"):
        if getattr(metric, field) is not None:
            yield f".{field}", "is given although there is no value"
    if metric.n:
        yield ".n", "counts samples although there is no value"


def _interval(metric: Metric, expected: tuple[float, float] | None) -> Iterator[Fault]:
    if (metric.interval is None) != (expected is None):
        yield ".interval", f"is {metric.interval}, its values give {expected}"
    elif metric.interval is not None and expected is not None:
        for k in (0, 1):
            if not close(metric.interval[k], expected[k], abs(expected[1] - expected[0])):
                yield f".interval[{k}]", f"is {metric.interval[k]!r}, its values give {expected[k]!r}"
    if metric.interval is None and not metric.interval_note:
        yield ".interval_note", "is empty: a missing interval needs its reason"


def _count(name: str, metric: Metric, known: list[float], task: TaskReport) -> Iterator[Fault]:
    if "blocks of frames" in metric.interval_note or metric.aggregate == "root_mean":
        blocks = max(1, min(metric.n, max(2, metric.n // BLOCK)))
        if blocks != len(metric.values) or len(known) != len(metric.values):
            yield ".n", f"{metric.n} frames make {blocks} blocks, there are {len(metric.values)} values"
    elif metric.n != len(known):
        yield ".n", f"is {metric.n}, there are {len(known)} values"


def _mean(name: str, metric: Metric, known: list[float], task: TaskReport) -> Expected:
    if name == "stable_fraction":
        if any(v not in (0.0, 1.0) for v in known) or len(known) != len(metric.values):
            raise ValueError("a replica is stable (1) or not (0)")
        again = stable_fraction([not v for v in known], known, 1.0)
        return float(again.value or 0.0), again.interval
    interval = (
        None if metric.interval_note == "one job on one machine: medians of interleaved rounds" else student(known)
    )
    return float(np.mean(known)), interval


def _root_mean(name: str, metric: Metric, known: list[float], task: TaskReport) -> Expected:
    if min(known) < 0:
        raise ValueError("a mean square is not negative")
    ends = student(known)
    return (
        math.sqrt(float(np.mean(known))),
        None if ends is None else (math.sqrt(max(0.0, ends[0])), math.sqrt(ends[1])),
    )


def _restricted_mean(name: str, metric: Metric, known: list[float], task: TaskReport) -> Expected:
    length = task.parameters.get("length_ps")
    if not isinstance(length, int | float) or isinstance(length, bool) or length <= 0:
        raise ValueError("the task has no length_ps to restrict to")
    if min(known) < 0 or max(known) > length * (1 + 1e-9) or len(known) != len(metric.values):
        raise ValueError(f"stable times lie between 0 and {length:g} ps")
    fraction = task.metrics.get("stable_fraction")
    failed = [not v for v in fraction.values] if fraction else [v < length - 1e-9 for v in known]
    again = stable_time(failed, known, float(length))
    return float(again.value or 0.0), again.interval


RULES: dict[str, Callable[[str, Metric, list[float], TaskReport], Expected]] = {
    "mean": _mean,
    "root_mean": _root_mean,
    "restricted_mean": _restricted_mean,
}


def expected_score(name: str, metric: Metric, value: float) -> float | None:
    """1 at the floor's median, 0 at the trivial baseline; the stable share is a score itself."""
    if name == "stable_fraction":
        return value
    if metric.floor is not None and metric.trivial is not None and metric.trivial > metric.floor.median:
        return float(np.clip((metric.trivial - value) / (metric.trivial - metric.floor.median), 0, 1))
    if metric.floor is None and metric.trivial and metric.score is not None and name in SCORED_FROM_ZERO:
        return float(np.clip(1 - value / metric.trivial, 0, 1))
    if metric.floor is None and name == "force_mae" and metric.trivial:
        return float(np.clip(1 - value / metric.trivial, 0, 1))
    return None


SCORED_FROM_ZERO = {"force_mae", "fsd", "scan_force_mae"}  # errors whose floor is 0: an exact answer is possible


def task_faults(task: TaskReport) -> Iterator[Fault]:
    """What the metrics of a task and the states of its members say about each other."""
    if task.kind == "molecular_dynamics":
        yield from _dynamics_faults(task)
    elif task.kind == "bsct":
        yield from _scan_faults(task)
    elif task.kind == "accuracy":
        mae, rmse = task.metrics.get("force_mae"), task.metrics.get("force_rmse")
        if mae and rmse and mae.value and rmse.value and rmse.value < mae.value * (1 - 1e-6):
            yield ".metrics.force_rmse.value", "is smaller than the mean absolute error, which cannot be"
    ran = any(s in ("ok", "unstable") for u in task.units for s in u.status)
    if ran and not task.metrics:
        yield ".metrics", "is empty although members finished"
    if not ran and any(m.value is not None for m in task.metrics.values()):
        yield ".metrics", "has numbers although no member finished"


def _dynamics_faults(task: TaskReport) -> Iterator[Fault]:
    finished = [s for u in task.units if set(u.status) <= {"ok", "unstable"} for s in u.status]
    fraction, time = task.metrics.get("stable_fraction"), task.metrics.get("stable_time")
    replicas = task.parameters.get("replicas")
    members = [s for u in task.units for s in u.status]
    whole = "not_run" not in members and set(members) != {"unsupported"}
    if isinstance(replicas, int) and whole and len(members) != replicas:
        yield ".units", f"hold {len(members)} replicas, the task has {replicas}"
    if fraction is None or time is None:
        if finished:
            yield ".metrics", "needs stable_fraction and stable_time for the replicas that ran"
        return
    if not len(fraction.values) == len(time.values) == len(finished):
        yield (
            ".metrics.stable_fraction.values",
            f"{len(fraction.values)} and {len(time.values)} stable_time values for {len(finished)} replicas that ran",
        )
        return
    length = task.parameters.get("length_ps")
    for k, (state, share, end) in enumerate(zip(finished, fraction.values, time.values)):
        if state == "unstable" and share:
            yield f".metrics.stable_fraction.values[{k}]", "is 1 for a replica whose state is unstable"
        if isinstance(length, int | float) and end is not None:
            short = end < length * (1 - 1e-9)
            if short and share:
                yield f".metrics.stable_time.values[{k}]", f"ends before {length:g} ps for a replica counted as stable"
            if not short and not share and state != "unstable":
                yield f".metrics.stable_time.values[{k}]", "reaches the whole length for a replica counted as unstable"
    for name, metric in task.metrics.items():
        if len(metric.values) > len(finished):
            yield f".metrics.{name}.values", f"{len(metric.values)} values for {len(finished)} replicas that ran"


def _scan_faults(task: TaskReport) -> Iterator[Fault]:
    ok = sum(s == "ok" for u in task.units for s in u.status)
    for name, metric in task.metrics.items():
        if len(metric.values) != ok:
            yield f".metrics.{name}.values", f"{len(metric.values)} values for {ok} scans that ended ok"
    parts = [task.metrics.get(k) for k in ("fsd", "fsd_compress", "fsd_stretch")]
    if all(parts):
        for k, (full, left, right) in enumerate(zip(*(p.values for p in parts if p))):
            if None not in (full, left, right) and not close(full, max(left, right)):
                yield f".metrics.fsd.values[{k}]", "is not the larger of its compressed and stretched sides"


def close(a: float, b: float, scale: float = 0.0) -> bool:
    return bool(abs(a - b) <= RELATIVE * max(abs(a), abs(b), scale) + 1e-300)


def same(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return close(a, b, 1.0)
