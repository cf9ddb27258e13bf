"""The error that independent runs of the truth have against each other: no finite run can be expected to do better."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ffbench_metrics._check import checked, positive, real, whole


def noise_floor(
    block_counts: Sequence[Any],
    length: float,
    error: Callable[[np.ndarray, np.ndarray], Any],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Distribution of error(a run of the truth of a given length, the reference pooled WITHOUT that run).

    Args:
        block_counts: one array [blocks, ...] per independent run, at least two runs: histogram counts per block of
            frames (any trailing shape, the same in all runs). Blocks should span at least 5 autocorrelation times.
        length: of the run to be judged, in blocks, to the frame: 1.8 for 18 ps of blocks of 10 ps. Between two whole
            numbers of blocks (below one: from one and two) the sorted draws are interpolated by `floor_at`.
        error: from (counts, reference_counts), each the MEAN over blocks and of the trailing shape, to a number or [m]
            numbers (one per observable). Normalise inside it, for g(r) with the frames per block.
        resamples: number of draws.
        seed: of the random numbers.

    Returns:
        [resamples] or [resamples, m], in the unit of the error. Each draw picks a run, then a contiguous window of
        `length` blocks where the run is long enough, and blocks with replacement where it is not. Two limits: where a
        run holds only one or two windows, upper quantiles rest on as many draws as there are runs and scatter; beyond
        the run's length the resampled run keeps the error of the run it is drawn from, so the floor is too high
        (lenient) and does not fall with length. Ship runs several times longer than what is judged.

    Raises:
        ValueError: fewer than two runs (split a single run into its halves and say so beside the number).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> runs = [rng.poisson(100, (20, 4)) for _ in range(3)]
        >>> floor = noise_floor(runs, 5, lambda a, b: np.abs(a - b).mean(), resamples=200)
        >>> floor.shape, bool(2 < np.median(floor) < 5)
        ((200,), True)
    """
    runs = [real(f"block_counts[{k}]", counts).astype(np.float64) for k, counts in enumerate(block_counts)]
    if len(runs) < 2:
        raise ValueError(f"block_counts has {len(runs)} run; at least 2 are needed (split a single run into halves)")
    for k, counts in enumerate(runs):
        if counts.ndim < 1 or len(counts) == 0 or counts.shape[1:] != runs[0].shape[1:]:
            raise ValueError(
                f"block_counts[{k}] has shape {list(counts.shape)}; every run needs [blocks, ...] shaped "
                f"{list(runs[0].shape[1:])}"
            )
        if not np.isfinite(counts).all():
            raise ValueError(f"block_counts[{k}] holds NaN or infinite values")
    blocks = positive("length", length)
    if blocks != round(blocks):
        below = max(1, int(blocks))
        ends = [noise_floor(runs, n, error, resamples=resamples, seed=seed) for n in (below, below + 1)]
        return floor_at([below, below + 1], [np.sort(draws, axis=0) for draws in ends], blocks)
    blocks = round(blocks)
    totals = [counts.sum(axis=0) for counts in runs]
    everything, number = sum(totals), sum(len(counts) for counts in runs)
    references = [(everything - total) / (number - len(counts)) for total, counts in zip(totals, runs)]
    # windows by differences of cumulative sums: the draw costs the same at every length
    cumulative = [np.concatenate([np.zeros_like(counts[:1]), np.cumsum(counts, axis=0)]) for counts in runs]
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(whole("resamples", resamples)):
        k = int(rng.integers(len(runs)))
        available = len(runs[k])
        if blocks <= available:
            start = int(rng.integers(available - blocks + 1))
            mean = (cumulative[k][start + blocks] - cumulative[k][start]) / blocks
        else:
            times = np.bincount(rng.integers(available, size=blocks), minlength=available)
            mean = np.tensordot(times, runs[k], axes=1) / blocks
        draws.append(np.asarray(error(mean, references[k]), dtype=np.float64))
    return np.stack(draws)


def floor_at(lengths: Any, floors: Any, length: float) -> np.ndarray:
    """Noise floor at a length between those it is known for: errors of independent samples fall as length^-1/2.

    Args:
        lengths: [k] lengths that floors are known for, in one unit, k >= 1, rising.
        floors: [k] or [k, ...] medians, quantiles or SORTED draws (then every quantile is interpolated).
        length: wanted, in that unit.

    Returns:
        [...] in the unit of the floors: on the line in length^-1/2 through the two nearest known lengths, also beyond
        the ends; a single known length is scaled by length^-1/2. Known lengths come back exactly.

    Raises:
        ValueError: lengths that do not rise, or of another number than floors.

    Example:
        >>> [float(floor_at([4.0, 16.0], [1.0, 0.5], length).round(6)) for length in (4.0, 9.0)]
        [1.0, 0.666667]
        >>> floor_at([10.0], [[0.1, 0.4]], 40.0)
        array([0.05, 0.2 ])
    """
    known = checked("lengths", lengths, "k").astype(np.float64)
    if known.min() <= 0 or (np.diff(known) <= 0).any():
        raise ValueError(f"lengths must be positive and rise, got {known.tolist()}")
    values = real("floors", floors).astype(np.float64)
    if values.ndim == 0 or len(values) != len(known):
        raise ValueError(f"floors must have one entry per length ({len(known)}), got shape {list(values.shape)}")
    x, wanted = known**-0.5, positive("length", length) ** -0.5
    if len(known) == 1:
        return values[0] * (wanted / x[0])
    if length in known:
        return values[int(np.flatnonzero(known == length)[0])]
    k = int(np.clip(np.searchsorted(known, length), 1, len(known) - 1))
    share = (wanted - x[k]) / (x[k - 1] - x[k])
    return values[k] + share * (values[k - 1] - values[k])


def replica_floor(
    observables: Any,
    error: Callable[[np.ndarray, np.ndarray], Any],
    *,
    average: Callable[[np.ndarray], Any] | None = None,
) -> np.ndarray:
    """Noise floor of what cannot be resampled in blocks (D, metadynamics F): every run against all the others.

    Args:
        observables: [R, ...] one value or surface per independent run of the shipped length, R >= 2 (at least 20 for a
            pass mark).
        error: from (one run's value, reference value) to a number.
        average: from [R - 1, ...] to the reference; None: the mean over runs.

    Returns:
        [R] errors.

    Example:
        >>> replica_floor([1.0, 2.0, 3.0], lambda a, b: abs(a - b))
        array([1.5, 0. , 1.5])
    """
    values = real("observables", observables).astype(np.float64)
    if values.ndim == 0 or len(values) < 2:
        raise ValueError(f"observables must have shape [R, ...] with R >= 2 runs, got {list(values.shape)}")
    pool = (lambda rest: rest.mean(axis=0)) if average is None else average
    return np.array(
        [error(values[k], pool(np.delete(values, k, axis=0))) for k in range(len(values))], dtype=np.float64
    )


def floor_percentile(error: float, floor: Any) -> float:
    """Where an error lies in the noise floor: percent of the floor's draws below it (ties count half).

    Args:
        error: of the run to be judged.
        floor: [n] draws of `noise_floor`.

    Returns:
        0 to 100; the truth is uniform over it, a value near 100 means worse than the truth can be.

    Example:
        >>> floor_percentile(2.0, [1.0, 2.0, 3.0, 4.0])
        37.5
    """
    draws = checked("floor", floor, "n")
    if not np.isfinite(error):
        return 100.0
    return float(100.0 * ((draws < error).mean() + 0.5 * (draws == error).mean()))


def floor_quantile(floor: Any, *, observables: int = 1, level: float = 0.05) -> float:
    """Pass mark: the 1 - level / m quantile of the floor when m observables are judged together (Bonferroni).

    Args:
        floor: [n] draws.
        observables: m.
        level: probability that the truth fails any of them.

    Returns:
        In the unit of the error: the truth passes below it.

    Example:
        >>> round(floor_quantile(np.arange(101.0)), 6), round(floor_quantile(np.arange(101.0), observables=5), 6)
        (95.0, 99.0)
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    return float(np.quantile(checked("floor", floor, "n"), 1.0 - level / whole("observables", observables)))


def normalised_score(error: float, floor_median: float, trivial: float) -> float:
    """Score of an error: 1 at (or below) the median of the noise floor, 0 at (or above) a named trivial baseline.

    Args:
        error: of the model; infinite scores 0.
        floor_median: median of `noise_floor` at the same length.
        trivial: error of the trivial baseline (ideal gas, flat surface), above the median.

    Returns:
        clip((trivial - error) / (trivial - floor_median), 0, 1), best 1.

    Example:
        >>> [normalised_score(error, 0.5, 1.5) for error in (1.0, 0.2, 9.0)]
        [0.5, 1.0, 0.0]
    """
    positive("trivial", trivial)
    if not 0 <= floor_median < trivial:
        raise ValueError(f"floor_median {floor_median} must lie between 0 and trivial {trivial}")
    if np.isnan(error):
        raise ValueError("error is NaN; a failed run is scored by its state, not by a number")
    return float(np.clip((trivial - error) / (trivial - floor_median), 0.0, 1.0))
