"""From samples to `Metric`s: the intervals a report carries. numpy and scipy only."""

from __future__ import annotations

import numpy as np

from .report import Floor, Metric

BLOCK = 20  # neighbouring frames are correlated: their mean is one sample


def block_means(values, block: int = BLOCK) -> np.ndarray:
    """Means of consecutive blocks of (at least) ``block`` values; at least two blocks if there are two values.

    >>> block_means([1.0, 3.0, 5.0, 7.0], block=2)
    array([2., 6.])
    """
    values = np.asarray(values, float)
    count = max(1, min(len(values), max(2, len(values) // block)))
    return np.array([part.mean() for part in np.array_split(values, count)])


def student(values) -> tuple[float, float] | None:
    """95 % interval of the mean of independent values by Student's t; ``None`` for fewer than two.

    Values that are never negative have no negative mean: the interval is cut at 0 when no value is below it.

    >>> student([1.0, 1.0, 4.0])
    (0.0, 6.302652729749462)
    """
    from scipy import stats

    values = np.asarray([v for v in values if v is not None], float)
    if len(values) < 2:
        return None
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    low = float(values.mean() - half)
    return (max(0.0, low) if values.min() >= 0 else low), float(values.mean() + half)


def over_blocks(values, *, unit: str, better: str, n: int) -> Metric:
    """The mean of block means of ``n`` frames."""
    interval = student(values)
    return Metric(
        value=float(np.mean(values)),
        unit=unit,
        interval=interval,
        interval_note="Student's t over blocks of frames" if interval else "fewer than two blocks of frames",
        n=n,
        better=better,
        aggregate="mean",
        values=[float(v) for v in values],
    )


def over_replicas(
    values, *, unit: str, better: str = "lower", floor: Floor | None = None, trivial: float | None = None
) -> Metric:
    """The mean over replicas (``None``: a replica without a value). With a floor and a trivial baseline, a score."""
    known = [float(v) for v in values if v is not None and np.isfinite(v)]
    if not known:
        return Metric(
            value=None, unit=unit, better=better, values=[None] * len(values), not_scored="no replica has a value"
        )
    interval = student(known)
    value = float(np.mean(known))
    score = None
    if floor is not None and trivial is not None and trivial > floor.median:
        score = float(np.clip((trivial - value) / (trivial - floor.median), 0, 1))
    return Metric(
        value=value,
        unit=unit,
        interval=interval,
        interval_note="Student's t over replicas" if interval else "one replica",
        n=len(known),
        better=better,
        values=[None if v is None or not np.isfinite(v) else float(v) for v in values],
        floor=floor,
        trivial=trivial,
        score=score,
    )


def stable_fraction(failed, ends_ps, length_ps: float) -> Metric:
    """The share of replicas that lasted, with a Clopper-Pearson interval."""
    from scipy.stats import beta

    n, good = len(failed), int(np.sum(~np.asarray(failed, bool)))
    low = float(beta.ppf(0.025, good, n - good + 1)) if good else 0.0
    high = float(beta.ppf(0.975, good + 1, n - good)) if good < n else 1.0
    return Metric(
        value=good / n,
        unit="1",
        interval=(low, high),
        interval_note="Clopper-Pearson",
        n=n,
        better="higher",
        values=[float(not f) for f in failed],
        score=good / n,
    )


def stable_time(failed, ends_ps, length_ps: float) -> Metric:
    """Mean stable time restricted to the protocol's length; censored, so no interval when nothing failed."""
    values = [float(min(e, length_ps)) for e in ends_ps]
    n = len(values)
    if not any(failed):
        note = (
            f">= {length_ps:g} ps: no failure in {n} runs, failure rate below {3 / (n * length_ps):.2g} per ps (95 %)"
        )
        interval = None
    else:
        note = f"Student's t over replicas, stopped at {length_ps:g} ps"
        raw = student(values)
        interval = None if raw is None else (max(0.0, raw[0]), min(float(length_ps), raw[1]))
    return Metric(
        value=float(np.mean(values)),
        unit="ps",
        interval=interval,
        interval_note=note,
        n=n,
        better="higher",
        aggregate="restricted_mean",
        values=values,
    )
