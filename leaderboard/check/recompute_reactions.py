"""Relative energies worked out again from the errors of every reaction: a second implementation, by sums per molecule.

The evaluator draws rows of reactions; here molecules are counted in each draw, and the mean is a ratio of two sums.
The random numbers are the same by agreement: PCG64 from seed 0, one draw of n integers below n for each resample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ffbench_eval.report import Metric, TaskReport

from .faults import UNKNOWN, Fault, close
from .recompute_scans import Scans

RESAMPLES = 2000
FEW = 5  # molecules below which reactions are drawn one by one
COUNTED = ("relative_energy_mae", "relative_energy_bias", "no_difference_mae")  # one value per reaction


def over_parents(
    name: str, values: list[float | None], scans: Scans | None
) -> tuple[float, tuple[float, float] | None]:
    """Mean and interval of ``values``, one per reaction, or one per curve of equally many reactions each."""
    known = [(k, v) for k, v in enumerate(values) if v is not None]
    mean = math.fsum(v for _, v in known) / len(known)
    if scans is None:
        return mean, UNKNOWN
    step, rest = divmod(len(scans.molecules), len(values))
    if rest:
        raise ValueError(f"{len(values)} values for {len(scans.molecules)} reactions")
    names = [scans.molecules[k * step] for k, _ in known]
    if len(set(names)) < FEW:
        names = [f"{k:09d}" for k, _ in known]
    total: dict[str, list[float]] = {}
    for name, (_, v) in zip(names, known):
        total.setdefault(name, []).append(v)
    order = sorted(total)
    sums, sizes = np.array([math.fsum(total[n]) for n in order]), np.array([len(total[n]) for n in order], float)
    rng, drawn = np.random.default_rng(0), np.empty(RESAMPLES)
    for k in range(RESAMPLES):
        count = np.bincount(rng.integers(len(order), size=len(order)), minlength=len(order))
        drawn[k] = (count @ sums) / (count @ sizes)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return mean, (float(low), float(high))


def reaction_score(name: str, metric: Metric, value: float, task: TaskReport) -> float | None:
    """1 at the uncertainty of the references, 0 at no difference; none for a set that a model covers in part."""
    states = set(task.states)
    if metric.floor is None or metric.trivial is None or states & {"unsupported", "not_run"}:
        return None
    span = metric.trivial - metric.floor.median
    return min(1.0, max(0.0, (metric.trivial - value) / span)) if span > 0 else None


def reaction_faults(task: TaskReport) -> Iterator[Fault]:
    """A value for every reaction the model covers and for no other; absolute errors are those of the signed ones."""
    states = task.states
    has = [s not in ("unsupported", "not_run") for s in states]
    for name in COUNTED:
        metric = task.metrics.get(name)
        if metric is not None and [v is not None for v in metric.values] != has:
            yield (
                f".metrics.{name}.values",
                f"{len(metric.values)} values for {sum(has)} of {len(has)} reactions that ran",
            )
    size, signed = task.metrics.get("relative_energy_mae"), task.metrics.get("relative_energy_bias")
    if size is None or signed is None:
        if any(s == "ok" for s in states):
            yield ".metrics", "needs relative_energy_mae and relative_energy_bias for the reactions that ran"
        return
    for k, (a, b) in enumerate(zip(size.values, signed.values)):
        if a is not None and b is not None and not close(a, abs(b)):
            yield f".metrics.relative_energy_mae.values[{k}]", "is not the size of the signed error"
