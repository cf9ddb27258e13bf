"""Intervals, correlation times, comparisons and rankings."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ffbench_metrics._check import at_least, checked, fraction, real, whole


class Interval(NamedTuple):
    """A value with the ends of its confidence interval, in one unit.

    Both ends are NaN where the samples do not say how wide it is: all of them equal (`why_no_interval`).
    """

    value: float
    low: float
    high: float


Bounds = tuple[float, float]
EVERYWHERE: Bounds = (-np.inf, np.inf)


def why_no_interval(values: Any) -> str:
    """Why samples of a mean give no interval: fewer than two, all equal to rounding, or squares that overflow; else "".

    Equal samples have seen no spread (two runs of one deterministic model, five runs that all lasted), which is no
    proof that there is none: a width of zero would claim certainty. For a fraction `clopper_pearson` knows more.

    Args:
        values: [n], in any unit.

    Example:
        >>> why_no_interval([1.0]), why_no_interval([0.3, 0.1 + 0.2]), why_no_interval([1.0, 2.0])
        ('one sample', 'all 2 samples are equal', '')
    """
    x = real("values", values).astype(np.float64).ravel()
    if len(x) < 2:
        return "one sample" if len(x) else "no sample"
    with np.errstate(over="ignore", invalid="ignore"):
        if x.max() - x.min() <= 1e-12 * np.abs(x).max():
            return f"all {len(x)} samples are equal"
        return "" if np.isfinite(x.var()) else "the spread of the samples is beyond the range of numbers"


def within(interval: Interval, bounds: Bounds) -> Interval:
    """The interval cut at the ends of the domain of its metric; as it is where the value itself lies outside.

    Args:
        interval: in one unit with the bounds.
        bounds: (lowest, highest) possible value, infinite where there is none: (-1, 1) for a cosine.

    Example:
        >>> within(Interval(0.9, 0.7, 1.1), (-1.0, 1.0))
        Interval(value=0.9, low=0.7, high=1.0)
    """
    low, high = bounds
    if not low <= interval.value <= high:
        return interval
    return Interval(interval.value, *(float(np.clip(end, low, high)) for end in interval[1:]))


def _percentiles(value: float, drawn: np.ndarray, level: float) -> Interval:
    """Percentile interval of a bootstrap; without ends where every draw is the same."""
    if why_no_interval(drawn):
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def block_bootstrap(
    values: Any,
    statistic: Callable[[np.ndarray], float] | None = None,
    *,
    block_length: int = 1,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a statistic of correlated data, from resampled blocks.

    Args:
        values: [n, ...] samples in time order.
        statistic: from resampled values [n, ...] to a number; None is the mean (of every entry).
        block_length: samples per block: at least 2 autocorrelation times, for a diffusivity 2 upper lags. Blocks start
            anywhere and wrap around (circular), so that every sample has the same weight. 1 is the ordinary bootstrap.
        resamples: number of bootstrap samples.
        level: of the interval.
        seed: of the random numbers.

    Returns:
        `Interval(value, low, high)` in the unit of the statistic; value is the statistic of the data itself. The ends
        are NaN where all draws are equal.

    Raises:
        ValueError: fewer than two blocks.

    Source: Politis and Romano, "A circular block-resampling procedure for stationary data", 1992.

    Example:
        >>> interval = block_bootstrap(np.random.default_rng(0).normal(size=400), seed=1)
        >>> interval.low < 0.0 < interval.high
        True
    """
    values = real("values", values).astype(np.float64)
    if values.ndim == 0 or values.size == 0:
        raise ValueError(f"values must have shape [n, ...] with n >= 2, got {list(values.shape)}")
    if not np.isfinite(values).all():
        raise ValueError("values holds NaN or infinite values; drop or mask them first")
    n, length = len(values), whole("block_length", block_length)
    if n < 2 * length:
        raise ValueError(
            f"block_length {length} leaves fewer than two blocks in {n} values; take more data or shorter blocks"
        )
    fraction("level", level)
    compute = (lambda sample: float(sample.mean())) if statistic is None else statistic
    rng = np.random.default_rng(seed)
    blocks = -(-n // length)
    drawn = np.empty(whole("resamples", resamples, 2))
    steps = np.arange(length)
    for k in range(len(drawn)):
        starts = rng.integers(0, n, blocks)
        rows = (starts[:, None] + steps).ravel()[:n] % n
        drawn[k] = compute(values[rows])
    return _percentiles(float(compute(values)), drawn, level)


def replica_interval(values: Any, *, level: float = 0.95, bounds: Bounds = EVERYWHERE) -> Interval:
    """Mean over independent runs with its Student-t interval.

    Args:
        values: [R] one number per run, R >= 2.
        level: of the interval.
        bounds: domain of the metric, which the interval does not leave.

    Returns:
        `Interval(mean, low, high)`; the ends are NaN where all values are equal.

    Source: Student, Biometrika 6, 1 (1908); the quantile from scipy.

    Example:
        >>> replica_interval([1.0, 2.0, 3.0])
        Interval(value=2.0, low=-0.484137711..., high=4.484137711...)
        >>> replica_interval([1.0, 2.0, 3.0], bounds=(0.0, np.inf)).low
        0.0
    """
    from scipy.stats import t

    values = checked("values", values, "R").astype(np.float64)
    at_least("values", len(values), 2, "runs")
    fraction("level", level)
    mean = float(values.mean())
    if why_no_interval(values):
        return Interval(mean, np.nan, np.nan)
    half = t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return within(Interval(mean, float(mean - half), float(mean + half)), bounds)


def clopper_pearson(successes: int, trials: int, *, level: float = 0.95) -> Interval:
    """Fraction of successes with its exact binomial interval.

    Args:
        successes, trials: whole numbers, trials >= 1.
        level: of the interval.

    Returns:
        `Interval(fraction, low, high)` within [0, 1].

    Source: Clopper and Pearson, Biometrika 26, 404 (1934); scipy `binomtest`.

    Example:
        >>> clopper_pearson(5, 5)
        Interval(value=1.0, low=0.478..., high=1.0)
    """
    from scipy.stats import binomtest

    n, k = whole("trials", trials), whole("successes", successes, 0)
    if k > n:
        raise ValueError(f"successes {k} exceeds trials {n}")
    low, high = binomtest(k, n).proportion_ci(fraction("level", level), method="exact")
    return Interval(k / n, float(low), float(high))


def rule_of_three(runs: int, length: float) -> float:
    """Upper 95 % limit of the failure rate when none of n runs of a given length failed: 3 / (n L).

    Args:
        runs: number of runs, none of which failed.
        length: of each, in any unit of time.

    Returns:
        Failures per unit of time.

    Source: Hanley and Lippman-Hand, JAMA 249, 1743 (1983).

    Example:
        >>> rule_of_three(5, 300.0)
        0.002
    """
    if not length > 0:
        raise ValueError(f"length must be positive, got {length}")
    return 3.0 / (whole("runs", runs) * float(length))


def autocorrelation_function(values: Any) -> np.ndarray:
    """Normalised autocorrelation of a time series at all lags, by FFT.

    Args:
        values: [n].

    Returns:
        [n], 1 at lag 0 (all 1 for a constant series). Each lag is divided by n (biased), as estimators of the
        correlation time need.

    Example:
        >>> autocorrelation_function([1.0, -1.0, 1.0, -1.0])
        array([ 1.  , -0.75,  0.5 , -0.25])
    """
    x = checked("values", values, "n").astype(np.float64)
    at_least("values", len(x), 2, "samples")
    spread = x.max() - x.min()
    if spread <= 1e-14 * np.abs(x).max():
        return np.ones(len(x))
    x = (x - x.mean()) / spread
    size = 1 << (2 * len(x) - 1).bit_length()
    transform = np.fft.rfft(x, size)
    correlation = np.fft.irfft(transform * transform.conj(), size)[: len(x)]
    return correlation / correlation[0]


def autocorrelation_time(values: Any, *, window_factor: float = 5.0) -> float:
    """Integrated autocorrelation time of a time series: samples per independent sample.

    tau = 1 + 2 sum_{k=1}^{M} rho_k, with the window M the smallest lag that reaches `window_factor` times tau / 2.

    Args:
        values: [n] samples at equal spacing.
        window_factor: Sokal's c.

    Returns:
        In samples, from 1 (uncorrelated) to n (constant). An AR(1) series of coefficient a has (1 + a) / (1 - a).

    Source: Sokal, "Monte Carlo methods in statistical mechanics", 1996, section 3.

    Example:
        >>> round(autocorrelation_time(np.random.default_rng(0).normal(size=10_000)), 1)
        1.0
    """
    rho = autocorrelation_function(values)
    tau = 2.0 * np.cumsum(rho) - 1.0
    inside = np.arange(len(rho)) < window_factor * tau / 2
    stop = len(rho) - 1 if inside.all() else int(np.argmin(inside))
    return float(np.clip(tau[stop], 1.0, len(rho)))


def effective_sample_size(values: Any) -> float:
    """Number of independent samples a time series [n] is worth: n / autocorrelation time, from 1 to n.

    Example:
        >>> effective_sample_size([3.0] * 10)
        1.0
    """
    tau = autocorrelation_time(values)
    return len(np.asarray(values)) / tau
