"""Comparing models: paired differences, ranks with intervals, bootstrap over groups."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ffbench_metrics._check import at_least, checked, choice, fraction, numbered, whole
from ffbench_metrics.statistics import Interval, _percentiles


class PairedComparison(NamedTuple):
    """Mean difference a - b with its interval, a p value, and the share of samples where a is lower."""

    difference: Interval
    p_value: float
    share_lower: float


class RankIntervals(NamedTuple):
    """Rank of every model (1 is best) with the ends of its bootstrap interval."""

    rank: np.ndarray
    low: np.ndarray
    high: np.ndarray


def group_bootstrap(
    statistic: Callable[[np.ndarray], float],
    groups: Any,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    minimum_groups: int = 10,
) -> Interval:
    """Percentile interval of a statistic when whole groups (molecules, trajectories) are the independent samples.

    Args:
        statistic: from sample indices [m] to a number.
        groups: [n] group label of every sample.
        resamples, level, seed: of the bootstrap.
        minimum_groups: fewer groups raise ValueError: an interval would only pretend.

    Returns:
        `Interval(value, low, high)`; resamples where the statistic raises ValueError (one class only) are drawn again.
        The ends are NaN where all draws are equal.

    Example:
        >>> x = np.arange(40.0)
        >>> interval = group_bootstrap(lambda i: x[i].mean(), np.arange(40) // 2)
        >>> interval.value, interval.low < 19.5 < interval.high
        (19.5, True)
    """
    labels = numbered("groups", groups)
    number = int(labels.max()) + 1 if labels.size else 0
    at_least("groups", number, whole("minimum_groups", minimum_groups), "independent groups")
    fraction("level", level)
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    rng = np.random.default_rng(seed)
    drawn: list[float] = []
    wanted = whole("resamples", resamples, 2)
    for _ in range(10 * wanted):
        rows = np.concatenate([members[k] for k in rng.integers(number, size=number)])
        try:
            drawn.append(float(statistic(rows)))
        except ValueError:
            continue
        if len(drawn) == wanted:
            break
    else:
        raise ValueError("statistic fails on most resamples; there are too few groups of one kind")
    return _percentiles(float(statistic(np.arange(len(labels)))), np.array(drawn), level)


def paired_comparison(
    errors_a: Any, errors_b: Any, *, resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> PairedComparison:
    """Compare two models on the same samples: mean difference, and a sign-flip permutation test.

    Args:
        errors_a, errors_b: [n] of the same independent samples (molecules, runs, time blocks; not correlated frames).
        resamples: of the bootstrap and of the test.
        level: of the interval.
        seed: of the random numbers.

    Returns:
        `PairedComparison(difference, p_value, share_lower)`; a negative difference means a has the lower errors. Ties
        count half in `share_lower`.

    Source: Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> common = rng.normal(size=50)
        >>> result = paired_comparison(common, common + 0.5 + 0.1 * rng.normal(size=50))
        >>> round(result.difference.value, 1), result.p_value < 0.001, result.share_lower
        (-0.5, True, 1.0)
    """
    sizes: dict[str, int] = {}
    a = checked("errors_a", errors_a, "n", sizes).astype(np.float64)
    d = a - checked("errors_b", errors_b, "n", sizes)
    n = len(d)
    at_least("errors_a", n, 2, "samples")
    fraction("level", level)
    number = whole("resamples", resamples, 2)
    rng = np.random.default_rng(seed)
    means, extreme = np.empty(number), 0
    mean = float(d.mean())
    step = max(1, 1_000_000 // n)
    for start in range(0, number, step):
        rows = min(step, number - start)
        means[start : start + rows] = d[rng.integers(n, size=(rows, n))].mean(axis=1)
        flipped = (rng.integers(2, size=(rows, n)) * 2 - 1) @ d / n
        extreme += int((np.abs(flipped) >= abs(mean) * (1 - 1e-12)).sum())
    share = float((d < 0).mean() + 0.5 * (d == 0).mean())
    return PairedComparison(_percentiles(mean, means, level), (extreme + 1) / (number + 1), share)


def rank_intervals(
    values: Any,
    *,
    lower_is_better: bool = True,
    aggregate: str = "mean",
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> RankIntervals:
    """Ranks of models with bootstrap intervals over shared samples (replicas, scans, or tasks).

    Args:
        values: [M, n] one row per model, one column per sample common to all models.
        lower_is_better: errors (True) or scores (False).
        aggregate: "mean": models are ranked by their mean over samples of one kind. "mean_rank": models are ranked
            inside each column and then by their mean rank, for columns of different units (tasks).
        resamples, level, seed: of the bootstrap, which draws columns.

    Returns:
        `RankIntervals(rank, low, high)`, each [M] from 1 (best) to M; ties share the mean of their ranks. Models whose
        intervals overlap should not be called different without `paired_comparison`. A difference that is the same in
        all of so few columns that their signs prove nothing (five at 95 %: 2^(1 - n) > 1 - level) leaves the order of
        the two models open; a resampled one would be certain of it.

    Source: Goldstein and Spiegelhalter, J. R. Stat. Soc. A 159, 385 (1996).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> values = np.array([[1.0], [1.01], [2.0]]) + 0.1 * rng.normal(size=(3, 30))
        >>> result = rank_intervals(values)
        >>> int(result.rank[2]), int(result.low[2]), int(result.high[0])
        (3, 3, 2)
    """
    choice("aggregate", aggregate, ("mean", "mean_rank"))
    fraction("level", level)
    x = checked("values", values, "M n").astype(np.float64)
    if not lower_is_better:
        x = -x
    if aggregate == "mean_rank":
        x = np.stack([_ranks(column) for column in x.T], axis=1)
    rng = np.random.default_rng(seed)
    n = x.shape[1]
    weights = rng.multinomial(n, np.full(n, 1.0 / n), size=whole("resamples", resamples, 2)) / n
    drawn = np.stack([_ranks(means) for means in weights @ x.T])
    # ranks are whole positions: the interval ends are taken from drawn values, not interpolated
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0, method="nearest")
    rank = _ranks(x.mean(axis=1))
    if 2.0 ** (1 - n) > 1 - level:
        difference = x[:, None] - x[None]
        size = np.abs(x).max() * 1e-12
        open_pairs = (np.ptp(difference, axis=-1) <= size) & (np.abs(difference[..., 0]) > size)
        # each model that may as well be behind frees a place in front, and the other way round
        low = np.maximum(low - (open_pairs & (difference[..., 0] > 0)).sum(axis=1), 1.0)
        high = np.minimum(high + (open_pairs & (difference[..., 0] < 0)).sum(axis=1), float(len(x)))
    return RankIntervals(rank, low, high)


def _ranks(values: np.ndarray) -> np.ndarray:
    below = (values[None] < values[:, None]).sum(axis=1)
    equal = (values[None] == values[:, None]).sum(axis=1)
    return 1.0 + below + 0.5 * (equal - 1)
