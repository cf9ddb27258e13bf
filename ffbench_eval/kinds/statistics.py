"""From samples to `Metric`s: the intervals a report carries, by the functions of `ffbench_metrics`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ffbench_metrics import (
    clopper_pearson,
    normalised_score,
    replica_interval,
    restricted_mean,
    rule_of_three,
    why_no_interval,
)

from ..report import Floor, Interval, Metric
from .base import Better

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

BLOCK = 20  # neighbouring frames are correlated: their mean is one sample


def block_samples(values: ArrayLike, weights: ArrayLike | None = None, block: int = BLOCK) -> np.ndarray:
    """Samples of blocks of (at least) ``block`` consecutive values, whose plain mean is the mean of all values.

    ``weights`` [n]: how much a value counts (the force components of a frame); one each if absent. Blocks get nearly
    equal weights; what is left is the first-order term of the weighted mean v, v + B w_k (m_k - v) for the mean m_k and
    the share w_k of block k of B (Cochran, Sampling Techniques, section 6.3), so that Student's t holds for it. At
    least two blocks if there are two values.

    >>> block_samples([1.0, 3.0, 5.0, 7.0], block=2)
    array([2., 6.])
    >>> float(block_samples([1.0, 1.0, 4.0], [1, 1, 2], block=1).mean())
    2.5
    """
    values = np.asarray(values, float)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    n = len(values)
    count = max(1, min(n, max(2, n // block)))
    before = np.concatenate([[0.0], np.cumsum(weights)])
    edges = np.searchsorted(before, before[-1] * np.arange(1, count) / count - 1e-9 * before[-1])
    for k, edge in enumerate(edges):  # every block holds a value
        edges[k] = np.clip(edge, edges[k - 1] + 1 if k else 1, n - (count - 1 - k))
    parts = np.split(np.arange(n), edges)
    share = np.array([weights[part].sum() for part in parts]) / before[-1]
    means = np.array([np.average(values[part], weights=weights[part]) for part in parts])
    whole = np.average(values, weights=weights)
    return whole + count * share * (means - whole)


def student(values: Sequence[float | None]) -> tuple[float, float] | None:
    """95 % interval of the mean of independent values; ``None`` where `why_no_interval` has a reason.

    >>> student([1.0, 1.0, 4.0])
    (-2.302652729749462, 6.302652729749462)
    >>> student([3.0, 3.0])
    """
    known = [v for v in values if v is not None]
    if why_no_interval(known):
        return None
    _, low, high = replica_interval(known)
    return low, high


def over_frames(
    values: ArrayLike,
    whole: Callable[[], float],
    *,
    unit: str,
    better: Better = "lower",
    weights: ArrayLike | None = None,
    root: bool = False,
    note: str = "",
) -> Metric:
    """A mean over frames: ``whole()`` is the metric of `ffbench_metrics` on all of them, ``values`` [n] the same per
    frame (its square if ``root``), whose blocks give the interval; frames without a label are left out beforehand."""
    values = np.asarray(values, float)
    if not len(values):
        return Metric(value=None, unit=unit, better=better, not_scored="the data set has no such label")
    value, samples = float(whole()), block_samples(values, weights)
    if not (np.isfinite(value) and np.isfinite(samples).all()):
        return Metric(value=None, unit=unit, better=better, not_scored="the errors are beyond the range of numbers")
    interval = student(samples.tolist())
    said = "Student's t over blocks of frames" if interval else f"blocks of frames: {why_no_interval(samples)}"
    if root and interval is not None:
        interval = (float(np.sqrt(max(0.0, interval[0]))), float(np.sqrt(interval[1])))
        said = "root of the interval of the mean square"
    return Metric(
        value=value,
        unit=unit,
        uncertainty=Interval.of(interval, f"{said}; {note}" if note else said, "root_of_blocks" if root else "blocks"),
        n=len(values),
        better=better,
        aggregate="root_mean" if root else "mean",
        values=samples.tolist(),
    )


def over_replicas(
    values: Sequence[float | None],
    *,
    unit: str,
    better: Better = "lower",
    floor: Floor | None = None,
    trivial: float | None = None,
    what: str = "replica",
) -> Metric:
    """The mean over replicas, or ``what`` else is independent (``None``: one without a value). With a floor and a
    trivial baseline, a score."""
    known = [float(v) for v in values if v is not None and np.isfinite(v)]
    if not known:
        return Metric(
            value=None, unit=unit, better=better, values=[None] * len(values), not_scored=f"no {what} has a value"
        )
    interval = student(known)
    value = float(np.mean(known))
    score = None
    if floor is not None and trivial is not None and trivial > floor.median:
        score = normalised_score(value, floor.median, trivial)
    return Metric(
        value=value,
        unit=unit,
        uncertainty=Interval.of(
            interval, f"Student's t over {what}s" if interval else f"{what}s: {why_no_interval(known)}", "student"
        ),
        n=len(known),
        better=better,
        values=[None if v is None or not np.isfinite(v) else float(v) for v in values],
        floor=floor,
        trivial=trivial,
        score=score,
    )


def stable_fraction(failed: Sequence[bool]) -> Metric:
    """The share of replicas that lasted, with a Clopper-Pearson interval."""
    n, good = len(failed), int(np.sum(~np.asarray(failed, bool)))
    share, low, high = clopper_pearson(good, n)
    return Metric(
        value=share,
        unit="1",
        uncertainty=Interval.of((low, high), "Clopper-Pearson", "clopper_pearson"),
        n=n,
        better="higher",
        values=[float(not f) for f in failed],
        score=share,
    )


def stable_time(failed: Sequence[bool], ends_ps: Sequence[float], length_ps: float) -> Metric:
    """Mean stable time restricted to the protocol's length; censored, so no interval when nothing failed."""
    values = [float(min(e, length_ps)) for e in ends_ps]
    n = len(values)
    found = restricted_mean(values, failed, limit=length_ps)
    interval = None if found.low is None or found.high is None else (found.low, found.high)
    if found.at_least:
        rate = rule_of_three(n, length_ps)
        note = f">= {length_ps:g} ps: no failure in {n} runs, failure rate below {rate:.2g} per ps (95 %)"
    elif interval is None:
        note = f"replicas: {why_no_interval(values)}"
    else:
        note = f"Student's t over replicas, stopped at {length_ps:g} ps"
    return Metric(
        value=found.value,
        unit="ps",
        uncertainty=Interval.of(interval, note, "restricted_mean", censored=found.at_least),
        n=n,
        better="higher",
        aggregate="restricted_mean",
        values=list(values),
    )
