"""Stability as a censored time: "300 ps, never failed" is a lower bound, not a measurement."""

from typing import Any, NamedTuple

import numpy as np

from ffbench_metrics._check import checked, flags, fraction, positive


class SurvivalCurve(NamedTuple):
    """Kaplan-Meier curve: [k] steps in time order, the first at time 0."""

    time: np.ndarray
    survival: np.ndarray
    low: np.ndarray
    high: np.ndarray
    at_risk: np.ndarray


class RestrictedMean(NamedTuple):
    """Mean survival time up to a limit; `at_least` when nothing failed, so that the value is only a lower bound."""

    value: float
    low: float | None
    high: float | None
    at_least: bool
    failures: int
    runs: int


def survival_curve(time: Any, failed: Any, *, level: float = 0.95) -> SurvivalCurve:
    """Kaplan-Meier estimate of the fraction of runs that survive a time.

    Args:
        time: [R] time to failure, or the length of the run where it did not fail (right-censored); any unit.
        failed: [R] whether the run failed.
        level: of the pointwise interval (Greenwood, log(-log) scale).

    Returns:
        `SurvivalCurve(time, survival, low, high, at_risk)`; survival falls from 1, between 0 and 1, and holds until the
        next time. Where the curve is 1 or 0 Greenwood's width is zero: there the ends are those of `clopper_pearson`
        for the runs at risk (none of which has failed) or for the failures. At time 0 every run is alive.

    Source: Kaplan and Meier, J. Am. Stat. Assoc. 53, 457 (1958).

    Example:
        >>> curve = survival_curve([10.0, 20.0, 30.0, 30.0], [True, True, False, False])
        >>> curve.time, curve.survival
        (array([ 0., 10., 20., 30.]), array([1.  , 0.75, 0.5 , 0.5 ]))
    """
    from scipy.special import ndtri

    from ffbench_metrics.statistics import clopper_pearson

    t, event = _times(time, failed)
    steps = np.unique(t)
    at_risk = np.array([(t >= s).sum() for s in steps])
    deaths = np.array([(event & (t == s)).sum() for s in steps])
    survival = np.cumprod(1.0 - deaths / at_risk)
    left = at_risk - deaths
    variance = np.cumsum(np.where(left > 0, deaths / (at_risk * np.maximum(left, 1)), 0.0))
    inner = (survival > 0) & (survival < 1)
    logarithm = np.log(np.where(inner, survival, 0.5))
    width = float(ndtri((1 + fraction("level", level)) / 2)) * np.sqrt(variance) / np.abs(logarithm)
    low = np.where(inner, np.exp(logarithm * np.exp(width)), survival)
    high = np.where(inner, np.exp(logarithm * np.exp(-width)), survival)
    for k in np.flatnonzero(survival == 1):
        low[k] = clopper_pearson(int(at_risk[k]), int(at_risk[k]), level=level).low
    if survival[-1] == 0:
        high[survival == 0] = clopper_pearson(0, int(event.sum()), level=level).high
    if steps[0] > 0:
        one = np.ones(1)
        steps = np.concatenate([[0.0], steps])
        survival, low, high = (np.concatenate([one, x]) for x in (survival, low, high))
        at_risk = np.concatenate([[len(t)], at_risk])
    return SurvivalCurve(steps, survival, low, high, at_risk)


def restricted_mean(time: Any, failed: Any, *, limit: float, level: float = 0.95) -> RestrictedMean:
    """Mean survival time up to a limit: the area under the Kaplan-Meier curve.

    Args:
        time: [R] time to failure, or the length of the run where it did not fail.
        failed: [R] whether the run failed.
        limit: the protocol length, in the unit of `time`; failures after it do not count.
        level: of the interval.

    Returns:
        `RestrictedMean(value, low, high, at_least, failures, runs)`. Without a failure the value is the lower bound
        `limit` (or the longest run), `at_least` is True and the interval ends are None: print ">= 300 ps", never
        "300 +- 0". A single run has no interval either, nor have runs that all failed at one time. Best: `limit`.

    Source: Royston and Parmar, BMC Med. Res. Methodol. 13, 152 (2013); variance after Greenwood, with a t quantile.

    Example:
        >>> restricted_mean([300.0, 300.0], [False, False], limit=300.0)
        RestrictedMean(value=300.0, low=None, high=None, at_least=True, failures=0, runs=2)
        >>> restricted_mean([100.0, 300.0], [True, False], limit=300.0).value
        200.0
    """
    from scipy.stats import t as student

    positive("limit", limit)
    fraction("level", level)
    t, event = _times(time, failed)
    event = event & (t <= limit)
    t = np.minimum(t, limit)
    runs, failures = len(t), int(event.sum())
    if failures == 0:
        return RestrictedMean(float(t.max()), None, None, True, 0, runs)
    curve = survival_curve(t, event, level=level)
    edges = np.append(curve.time, max(limit, curve.time[-1]))
    if not event[t == t.max()].any() and t.max() < limit:
        edges[-1] = t.max()  # nothing is known beyond the longest run
    areas = curve.survival * np.diff(edges)
    mean = float(areas.sum())
    if runs < 2:
        return RestrictedMean(mean, None, None, False, failures, runs)
    after = np.cumsum(areas[::-1])[::-1]  # area right of each step
    deaths = np.array([(event & (t == s)).sum() for s in curve.time])
    left = curve.at_risk - deaths
    terms = np.where(left > 0, after**2 * deaths / (curve.at_risk * np.maximum(left, 1)), 0.0)
    # Greenwood divides by n where a sample variance divides by n - 1
    spread = np.sqrt(terms.sum() * runs / (runs - 1))
    if not spread > 1e-12 * max(mean, limit):
        return RestrictedMean(mean, None, None, False, failures, runs)
    half = float(student.ppf((1 + level) / 2, runs - 1) * spread)
    return RestrictedMean(mean, max(mean - half, 0.0), min(mean + half, float(limit)), False, failures, runs)


def _times(time: Any, failed: Any) -> tuple[np.ndarray, np.ndarray]:
    t = checked("time", time, "R").astype(np.float64)
    event = flags("failed", failed, len(t), "run")
    if t.min() < 0:
        raise ValueError(f"time must not be negative, got {t.min()}")
    return t, event
