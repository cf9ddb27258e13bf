"""Splits: the published random ones, and blocks of time with gaps that do not leak."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ..frames import Frames
from .built import Built

SEED = 20261121


def published_split(n: int, train: int, val: int, test: int, seed: int = 123) -> dict[str, np.ndarray]:
    """The random split of MDsim (Fu et al. 2023): scikit-learn's `train_test_split` with their seed, applied twice.

    With fewer frames than asked for, the three sizes shrink in proportion.

    >>> {k: len(v) for k, v in published_split(1000, 9500, 500, 10000).items()}
    {'train': 475, 'val': 25, 'test': 500}
    """
    from sklearn.model_selection import train_test_split

    if n < 4:
        raise ValueError(f"{n} frames are too few to split")
    if train + val + test > n:
        train, val, test = (max(1, size * n // (train + val + test)) for size in (train, val, test))
    pool, tests = train_test_split(np.arange(n), train_size=n - test, test_size=test, random_state=seed)
    trains, vals = train_test_split(pool[: train + val], train_size=train, test_size=val, random_state=seed)
    return {"train": trains, "val": vals, "test": tests}


def correlation_frames(frames: Frames) -> float:
    """Integrated autocorrelation time, in frames, of the slower of energy and size of the structure.

    Windowed at the first lag beyond 5 times the estimate (Sokal); at least 1.
    """
    series = [frames.energy] if np.isfinite(frames.energy).all() else []
    _, x = frames.stacked()
    series.append(((x - x.mean(1, keepdims=True)) ** 2).sum(-1).mean(1))
    return max(1.0, *(_tau(np.asarray(s, float)) for s in series))


def _tau(series: np.ndarray) -> float:
    n = len(series)
    spectrum = np.fft.rfft(series - series.mean(), 2 * n)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:n] / np.arange(n, 0, -1)
    if correlation[0] <= 0:
        return 1.0
    tau = 1 + 2 * np.cumsum(correlation[1:] / correlation[0])
    lags = np.arange(1, n)
    inside = np.flatnonzero(lags >= 5 * tau)
    return float(max(1.0, tau[inside[0]] if len(inside) else n / 5))


def blocked_split(
    n: int,
    *,
    block: int,
    gap: int,
    parts: tuple[float, float, float] = (0.7, 0.1, 0.2),
    seed: int = SEED,
) -> dict[str, np.ndarray]:
    """Blocks of ``block`` consecutive frames with ``gap`` unused frames between them, dealt at random to the splits.

    Every split gets at least one block. ValueError if fewer than three blocks fit.

    >>> {k: v.tolist() for k, v in blocked_split(11, block=3, gap=1).items()}
    {'train': [0, 1, 2], 'val': [8, 9, 10], 'test': [4, 5, 6]}
    """
    blocks = (n + gap) // (block + gap)
    if blocks < 3:
        raise ValueError(f"{n} frames hold {blocks} blocks of {block} with gaps of {gap}; a blocked split needs 3")
    order = np.random.default_rng(seed).permutation(blocks)
    val, test = (max(1, round(parts[k] * blocks)) for k in (1, 2))
    roles = {"val": order[:val], "test": order[val : val + test], "train": order[val + test :]}
    starts = {split: np.sort(roles[split]) * (block + gap) for split in ("train", "val", "test")}
    return {split: (s[:, None] + np.arange(block)).ravel() for split, s in starts.items()}


def blocked_by_correlation(frames: Frames, *, at_most: int = 100) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Blocks of at least 20 autocorrelation times, gaps of 5 (PROTOCOLS 7.19); the numbers used come along."""
    tau = correlation_frames(frames)
    gap = int(np.ceil(5 * tau))
    block = max(int(np.ceil(20 * tau)), len(frames) // at_most - gap)
    split = blocked_split(len(frames), block=block, gap=gap)
    return split, {"autocorrelation_frames": round(tau, 2), "block_frames": block, "gap_frames": gap}


def add_blocked(built: Built, config: str, table: pa.Table, limit: dict[str, int] | None = None) -> None:
    """Add the blocked split of a trajectory to a build, or the reason why it is too short for one."""
    try:
        rows, built.splits[config] = blocked_by_correlation(Frames(table))
    except ValueError as error:
        built.missing(f"{config}: {error}")
    else:
        built.tables[config] = take(table, rows, limit)


def take(table: pa.Table, split: dict[str, np.ndarray], limit: dict[str, int] | None = None) -> dict[str, pa.Table]:
    """The tables of a split; ``limit`` keeps that many frames of a split, chosen at random, in order."""
    out = {}
    for name, rows in split.items():
        if limit and len(rows) > limit.get(name, len(rows)):
            rows = np.sort(np.random.default_rng(SEED).choice(rows, limit[name], replace=False))
        out[name] = table.take(pa.array(rows))
    return out
