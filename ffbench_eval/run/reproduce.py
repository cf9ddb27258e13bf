"""Spot check of a report: run a random sample of its units again and compare within stated tolerances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..kinds import Kind
from ..models import resolve as models
from ..models.identity import same_model
from ..report import Metric, ModelCard, Report
from ..suite import load_suite
from .assemble import known_cards
from .execute import run_unit
from .plan import plan, ready
from .units import other_draws

if TYPE_CHECKING:
    from .plan import Ready
    from .units import Unit

ROUNDING = 1e-5  # absolute: a net force that should be zero is rounding and nothing else
WIDTHS = 0.5  # of its interval, a score of selective classification: PROBE learns anew, from rounded embeddings
CHANCE = 0.0027  # of an honest "differs": molecular dynamics is chaotic, means over replicas by Welch's test


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
    other_seeds: int = 0,
) -> list[Compared]:
    """Rerun ``units`` units, drawn at random unless ``seed`` is given, with the model the report names (or ``model``).

    A unit is a simulation with all its replicas, a batch of scans, or all frames of an accuracy task. Each drawn
    simulation runs ``other_seeds`` more times with other random numbers, which show a model fitted to the task's own.
    ValueError if the model answers otherwise than the report's, or the suite or data have other versions.
    """
    spec = model or report.model.spec
    if not spec:
        raise ValueError("the report names no model: give one with --model path/to/file.py:function")
    found, _ = models.resolve(spec)
    names = [t for t in report.tasks if not tasks or t in tasks]
    suite = load_suite(report.suite, tasks=names)
    if suite.version != report.suite_version:
        raise ValueError(f"suite {report.suite} is {suite.version} here, the report is of {report.suite_version}")
    planned = plan(found, suite, report.seed)
    _same_models(report, known_cards(planned, found, spec))
    runs = [p for p in ready(planned) if p.units and not p.task.kind.timed]
    for p in runs:
        theirs = report.tasks[p.task.name].dataset
        if p.data.used != theirs:
            raise ValueError(f"task {p.task.name}: the data here are not the report's ({theirs.name} {theirs.version})")
    pool = [(p, [u]) for p in runs if not p.task.kind.frames for u in p.units]
    pool += [(p, p.units) for p in runs if p.task.kind.frames]
    pool = [(p, group) for p, group in pool if _ran(report, p.task.name)]
    if not pool:
        raise ValueError("the report has no finished unit to run again")
    rng = np.random.default_rng(seed)
    drawn = [pool[k] for k in rng.permutation(len(pool))[:units]]
    rows = [row for p, group in drawn for row in _rerun(report, p, group, out, compile)]
    for first in rng.integers(10**6, 10**9, other_seeds):  # far above the numbers of any task's own replicas
        for p, group in drawn:
            if p.task.kind.simulation:
                again = _rerun(report, p, [other_draws(group[0], int(first))], out, compile)
                rows += [replace(row, metric=f"{row.metric} (other seed)") for row in again]
    return rows


def _same_models(report: Report, here: dict[str, ModelCard]) -> None:
    """ValueError for a model that does not answer as the report's did. Reports from before answers were kept name none:
    there only the numbers tell."""
    reported = report.models or {"": report.model}
    for key, theirs in reported.items():
        if theirs.answers and not (key in here and same_model(here[key], theirs)):
            mine = here[key].fingerprint if key in here else "none"
            which = f" for {key}" if key else ""
            raise ValueError(
                f"the model{which} has other weights or gives other answers than the report's: fingerprint {mine}, "
                f"reported {theirs.fingerprint}"
            )


def _ran(report: Report, task: str) -> bool:
    return any(s in ("ok", "unstable") for s in report.tasks[task].states)


def _rerun(report: Report, p: Ready, group: list[Unit], out: Path, compile: str) -> list[Compared]:
    results = [run_unit(u, p.data, p.model, out, compile=compile) for u in group]
    metrics, _ = p.task.kind.module.score(p.task, results, p.data)
    theirs, whole = report.tasks[p.task.name].metrics, len(group) == len(p.units)
    rows = [
        compare(p.task.name, p.task.kind, name, theirs.get(name), m, whole)
        for name, m in metrics.items()
        if not ((found := p.task.kind.spec(name)) and found[0].timed)
    ]
    if p.task.kind.frames:
        rows += _copies(p, group)
    return [row for row in rows if row is not None]


def _copies(p: Ready, group: list[Unit]) -> list[Compared]:
    """The model's errors on moved, renumbered and turned copies of frames of the task."""
    from .copies import errors_on_copies, verdict

    rows = [r for u in group if "fit_offsets_on" not in u.inputs for r in u.inputs["rows"]]
    found = errors_on_copies(p.model, p.data.frames, rows) if rows else {}
    plain = found.pop("frames", None)
    return [
        Compared(p.task.name, f"force MAE on {name} copies", plain, value, verdict(name, plain, value))
        for name, value in found.items()
        if plain is not None
    ]


def compare(
    task: str, kind: Kind, name: str, reported: Metric | None, rerun: Metric, whole: bool = True
) -> Compared | None:
    """Hold a rerun metric against the reported one; ``whole``: every unit of the task ran again.

    Of a part, only the samples it has are compared; ``None`` if it has none.

    >>> from ffbench_eval.kinds import KINDS
    >>> one = Metric(value=1.0, unit="1", values=[0.9, 1.1])
    >>> compare("t", KINDS["accuracy"], "m", one, one).verdict
    'identical'
    >>> compare("t", KINDS["bsct"], "m", one, one.model_copy(update={"values": [None, 1.3]}), whole=False).reported
    1.1
    """
    b = list(rerun.values)
    if not whole and not any(v is not None for v in b):
        return None
    if reported is None:
        return Compared(task, name, None, rerun.value, "differs")
    a = list(reported.values)
    if not whole and len(a) == len(b):  # a value per scan of the data: those that ran again
        kept = [k for k, v in enumerate(b) if v is not None]
        a, b = [a[k] for k in kept], [b[k] for k in kept]
    shown = (reported.value, rerun.value) if whole else (_mean(a), _mean(b))
    if kind.simulation:
        x, y = _known(a), _known(b)
        if len(x) and len(y) and not _same(x, y):
            return Compared(task, name, *shown, _statistically(name, x, y))
    if not any(v is not None for v in (*a, *b)):  # numbers without samples stand for themselves
        a, b = [reported.value], [rerun.value]
    if [v is None for v in a] != [v is None for v in b]:
        return Compared(task, name, *shown, "differs")
    x, y = _known(a), _known(b)
    if _same(x, y):
        return Compared(task, name, *shown, "identical")
    room = kind.tolerance * np.maximum(np.maximum(np.abs(x), np.abs(y)), np.abs(x).mean()) + ROUNDING
    if kind.learned and reported.interval:
        room = room + WIDTHS * (reported.interval[1] - reported.interval[0])
    if bool((np.abs(x - y) <= room).all()):
        return Compared(task, name, *shown, "agrees")
    return Compared(task, name, *shown, "cannot tell" if kind.learned and not reported.interval else "differs")


def _known(values: list[float | None]) -> np.ndarray:
    return np.array([v for v in values if v is not None], float)


def _same(x: np.ndarray, y: np.ndarray) -> bool:
    return len(x) == len(y) and np.allclose(x, y, rtol=1e-6, atol=1e-12)


def _mean(values: list[float | None]) -> float | None:
    known = _known(values)
    return float(known.mean()) if len(known) else None


def _statistically(name: str, x: np.ndarray, y: np.ndarray) -> str:
    if name == "stable_fraction":
        from scipy.stats import fisher_exact

        table = [[x.sum(), len(x) - x.sum()], [y.sum(), len(y) - y.sum()]]
        return "agrees" if fisher_exact(table).pvalue >= 0.01 else "differs"
    if min(len(x), len(y)) < 2:
        return "cannot tell"
    if abs(x.mean() - y.mean()) <= 1e-3 * abs(x.mean()):  # also what has no spread
        return "agrees"
    from scipy.stats import ttest_ind

    p = float(ttest_ind(x, y, equal_var=False).pvalue) if np.ptp(x) + np.ptp(y) > 0 else 0.0
    return "agrees" if p >= CHANCE else "differs"
