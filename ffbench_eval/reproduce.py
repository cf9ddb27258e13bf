"""Spot check of a report: run a random sample of its units again and compare within stated tolerances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import evaluation, models
from .execute import run_unit
from .report import Metric, Report
from .suite import load_suite

TOLERANCE = {"accuracy": 2e-3, "bsct": 2e-2}  # relative, per value: other hardware rounds float32 differently
SIGMAS = 3.0  # molecular dynamics is chaotic: means over replicas, in combined standard errors


@dataclass(frozen=True)
class Compared:
    """One metric of a rerun unit. ``verdict``: identical, agrees, differs, or cannot tell."""

    task: str
    metric: str
    reported: float | None
    rerun: float | None
    verdict: str


def reproduce(
    report: Report,
    *,
    units: int = 3,
    seed: int | None = None,
    model: str = "",
    out: Path,
    tasks: list[str] | None = None,
    compile: str = "auto",
) -> list[Compared]:
    """Rerun ``units`` units, drawn at random unless ``seed`` is given, with the model the report names (or ``model``).

    A unit is a simulation with all its replicas, a batch of scans, or all frames of an accuracy task. ValueError if
    the model has other weights than the report's, or the suite or data have other versions.
    """
    spec = model or report.model.spec
    if not spec:
        raise ValueError("the report names no model: give one with --model path/to/file.py:function")
    found, _ = models.resolve(spec)
    _same_weights(report, found)
    names = [t for t in report.tasks if not tasks or t in tasks]
    suite = load_suite(report.suite, tasks=names)
    if suite.version != report.suite_version:
        raise ValueError(f"suite {report.suite} is {suite.version} here, the report is of {report.suite_version}")
    planned = [p for p in evaluation.plan(found, suite, report.seed) if p.units and p.task.kind != "speed"]
    for p in planned:
        theirs = report.tasks[p.task.name].dataset
        if p.data.used != theirs:
            raise ValueError(f"task {p.task.name}: the data here are not the report's ({theirs.name} {theirs.version})")
    pool = [(p, [u]) for p in planned if p.task.kind != "accuracy" for u in p.units]
    pool += [(p, p.units) for p in planned if p.task.kind == "accuracy"]
    pool = [(p, group) for p, group in pool if _ran(report, p.task.name)]
    if not pool:
        raise ValueError("the report has no finished unit to run again")
    order = np.random.default_rng(seed).permutation(len(pool))[:units]
    rows: list[Compared] = []
    for k in order:
        p, group = pool[k]
        rows += _rerun(report, p, group, out, compile)
    return rows


def _same_weights(report: Report, found) -> None:
    marks = {c.fingerprint for c in (report.models.values() or [report.model])}
    here = {models.fingerprint(m) for m in (found.values() if isinstance(found, dict) else [found])}
    if not marks <= here:
        raise ValueError(f"the model has other weights than the report's: {sorted(here)}, reported {sorted(marks)}")


def _ran(report: Report, task: str) -> bool:
    return any(s in ("ok", "unstable") for u in report.tasks[task].units for s in u.status)


def _rerun(report: Report, p, group, out: Path, compile: str) -> list[Compared]:
    from .kinds import KINDS

    results = [run_unit(u, p.data, p.model, out, compile=compile) for u in group]
    metrics, _ = KINDS[p.task.kind].score(p.task, results, p.data)
    theirs = report.tasks[p.task.name]
    start = 0
    if p.task.kind == "bsct":
        before = p.units[: p.units.index(group[0])]
        marks = {u.address for u in before}
        start = sum(s == "ok" for u in theirs.units if u.address in marks for s in u.status)
    return [compare(p.task.name, p.task.kind, name, theirs.metrics.get(name), m, start) for name, m in metrics.items()]


def compare(task: str, kind: str, name: str, reported: Metric | None, rerun: Metric, start: int = 0) -> Compared:
    """Hold a rerun metric against the reported one; ``start``: where its values begin among the reported.

    >>> one = Metric(value=1.0, unit="1", values=[0.9, 1.1])
    >>> compare("t", "accuracy", "m", one, one).verdict
    'identical'
    """
    if reported is None:
        return Compared(task, name, None, rerun.value, "differs")
    b = [v for v in rerun.values if v is not None]
    a = [v for v in reported.values[start : start + len(rerun.values)] if v is not None]
    whole = len(reported.values) == len(rerun.values)
    shown = (reported.value, rerun.value) if whole else (float(np.mean(a)) if a else None, rerun.value)
    if not a or not b:
        return Compared(task, name, *shown, "identical" if not a and not b else "differs")
    x, y = np.array(a), np.array(b)
    if len(x) == len(y) and np.allclose(x, y, rtol=1e-6, atol=1e-12):
        return Compared(task, name, *shown, "identical")
    if kind in TOLERANCE:
        scale = np.maximum(np.maximum(np.abs(x), np.abs(y)), np.abs(x).mean()) if len(x) == len(y) else None
        good = scale is not None and bool((np.abs(x - y) <= TOLERANCE[kind] * scale).all())
        return Compared(task, name, *shown, "agrees" if good else "differs")
    return Compared(task, name, *shown, _statistically(name, x, y))


def _statistically(name: str, x: np.ndarray, y: np.ndarray) -> str:
    if name == "stable_fraction":
        from scipy.stats import fisher_exact

        table = [[x.sum(), len(x) - x.sum()], [y.sum(), len(y) - y.sum()]]
        return "agrees" if fisher_exact(table).pvalue >= 0.01 else "differs"
    if min(len(x), len(y)) < 2:
        return "cannot tell"
    error = np.sqrt(x.var(ddof=1) / len(x) + y.var(ddof=1) / len(y))
    near = abs(x.mean() - y.mean()) <= SIGMAS * error + 1e-3 * abs(x.mean())
    return "agrees" if near else "differs"
