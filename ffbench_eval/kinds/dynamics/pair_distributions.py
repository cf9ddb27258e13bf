"""EGraFFBench's measures of g(r): Wright factor and Jensen-Shannon divergence, per pair and replica."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ...report import Metric
from ..base import MetricsAndCurves
from ..statistics import over_replicas
from .observables import R_MAX, pair_distributions, without

if TYPE_CHECKING:
    from ...engine.trajectory import Trajectory
    from ...run.data import TaskData
    from .observables import Hills
    from .work import Parameters

Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], float]  # (g, g of the reference, r)


def wright_factor(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills) -> MetricsAndCurves:
    """100 sqrt(sum (g - g_ref)^2 / sum g_ref^2) of every replica, in percent; the ideal gas is the trivial baseline."""
    from ffbench_metrics import wright_factor as of

    return _measured("wright_factor", "%", lambda g, reference, _: of(g, reference), stable, data, p)


def jensen_shannon(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills) -> MetricsAndCurves:
    """Divergence of the distributions of distances p ~ g r^2 of every replica from the reference's."""
    from ffbench_metrics import jensen_shannon as of

    return _measured("jensen_shannon", "1", lambda g, reference, r: of(g, reference, r=r), stable, data, p)


def _measured(
    metric: str, unit: str, measure: Measure, stable: list[Trajectory], data: TaskData, p: Parameters
) -> tuple[dict[str, Metric], dict]:
    found = pair_distributions(stable, data, p)
    if found is None:
        return without(metric, unit, f"g(r) within {R_MAX:g} Å needs a cell that is periodic in all directions")
    out = {}
    for name, replicas in found.items():
        gas = [measure(np.ones_like(reference), reference, r) for _, reference, r in replicas]
        values = [None if g is None else measure(g, reference, r) for g, reference, r in replicas]
        out[f"{metric}_{name}"] = over_replicas(values, unit=unit, trivial=float(np.mean(gas)))
    return out, {}
