"""Noise floors of stored reference runs: as long as the run they judge, to the frame (PROTOCOLS 8.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...report import Floor

if TYPE_CHECKING:
    from ffbench_data.observables import Blocks

    from .systems import System

RESAMPLES = 200  # windows drawn for a noise floor
ENOUGH = 20  # windows that do not overlap, from which a 95th percentile means something
EXACT = 1e-6  # of a block

Error = Callable[[np.ndarray, np.ndarray], float]


def levels(system: System, observable: str) -> list[Blocks]:
    """The stored blocks of ``observable`` at every length of block, the longest first; none without a reference."""
    if system.reference is None:
        return []
    try:
        return system.reference.levels(observable)
    except (ValueError, FileNotFoundError):
        return []


def draws(stored: Sequence[Blocks], length_ps: float, error: Error) -> tuple[np.ndarray, Blocks, int] | None:
    """(errors of windows of the truth at this length against the other runs pooled, the blocks taken, how many
    windows of this length that do not overlap there are); ``None`` without two runs or two halves.

    Of several lengths of block, the longest that the length is a whole number of, if it gives `ENOUGH` windows; else
    the shortest that gives enough, and the floor is interpolated between the whole numbers of blocks around the length;
    else the one with the most windows. Of a single trajectory the halves stand for runs; `Floor.runs` then says 1.
    """
    from ffbench_metrics import noise_floor

    usable = [b for b in stored if sum(map(len, b.counts)) >= 2]
    if not usable:
        return None

    def whole(blocks: Blocks) -> bool:
        n = length_ps / blocks.block_ps
        return round(n) >= 1 and abs(n - round(n)) <= EXACT * max(1.0, n)

    def rank(blocks: Blocks):
        count = _windows(blocks, length_ps)
        if count >= ENOUGH:
            return (2, blocks.block_ps) if whole(blocks) else (1, -blocks.block_ps)
        return (0, (count, whole(blocks), blocks.block_ps))

    best = max(usable, key=rank)
    n = length_ps / best.block_ps
    length = float(round(n)) if whole(best) else n
    # counts of one frame, so that the error need not know how many frames a block has
    runs = [c / best.frames for c in _runs(best)]

    def at(counts: np.ndarray, pooled: np.ndarray):
        return error(counts, pooled, best.r_max)  # type: ignore[call-arg]

    return noise_floor(runs, length, at, resamples=RESAMPLES, seed=0), best, _windows(best, length_ps)


def floor(stored: Sequence[Blocks], length_ps: float, error: Error) -> Floor | None:
    """The `Floor` at ``length_ps``, and in its note where it is interpolated or rests on few windows."""
    found = draws(stored, length_ps, error)
    if found is None:
        return None
    errors, blocks, windows = found
    n, said = length_ps / blocks.block_ps, []
    if abs(n - round(n)) > EXACT * max(1.0, n) or round(n) < 1:
        below = max(1, int(n))
        ends = f"{below * blocks.block_ps:g} and {(below + 1) * blocks.block_ps:g} ps"
        said.append(f"{'extrapolated from' if n < 1 else 'interpolated between'} {ends} by length^-1/2")
    if windows < ENOUGH:
        said.append(f"its 95th percentile rests on {windows} window{'s' if windows != 1 else ''} of this length")
    return Floor(
        median=float(np.median(errors)),
        p95=float(np.quantile(errors, 0.95)),
        runs=len(blocks.counts),
        length_ps=round(length_ps, 6),
        windows=windows,
        note="; ".join(said),
    )


def _runs(blocks: Blocks) -> list[np.ndarray]:
    return np.array_split(blocks.counts[0], 2) if len(blocks.counts) == 1 else blocks.counts


def _windows(blocks: Blocks, length_ps: float) -> int:
    """How many windows of at least ``length_ps`` the runs hold side by side; one per run that is shorter."""
    per_window = max(1, int(np.ceil(length_ps / blocks.block_ps * (1 - EXACT))))
    return sum(max(1, len(c) // per_window) for c in _runs(blocks))
