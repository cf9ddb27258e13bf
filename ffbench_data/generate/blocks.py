"""Reference observables from raw runs: histogram counts per run and block of time, bonds, means with errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

HISTOGRAM_FS = 50.0  # spacing of the frames that are counted
BLOCKS_PS = (1.0, 10.0)


def block_rows(observable: str, run: int, counts: np.ndarray, frames: int, block_ps: float, r_max: float) -> list[dict]:
    """Sums of ``frames`` consecutive per-frame counts [T, bins] as rows of ``blocks.parquet``."""
    whole = len(counts) // frames
    sums = counts[: whole * frames].reshape(whole, frames, counts.shape[1]).sum(1)
    keys = {"observable": observable, "run": run, "frames": frames, "block_ps": block_ps, "r_max": r_max}
    return [{**keys, "block": k, "counts": row.astype(np.int32)} for k, row in enumerate(sums)]


def blocks_table(rows: list[dict]) -> pa.Table:
    plain = {k: [r[k] for r in rows] for k in ("observable", "run", "block", "frames", "block_ps", "r_max")}
    return pa.table({**plain, "counts": pa.array([r["counts"] for r in rows], pa.list_(pa.int32()))})


def mean(values: Sequence[float]) -> dict[str, float]:
    """The mean of independent runs and its standard error."""
    error = float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
    return {"value": float(np.mean(values)), "standard_error": error}


def stable_bonds(numbers: np.ndarray, positions: np.ndarray, geometry: np.ndarray) -> list[list[Any]]:
    """Bonds [i, j, mean length] of ``geometry`` [N, 3] that ``positions`` [T, N, 3] never stretch by 0.4 Angstrom:
    one that the truth itself breaks (an acidic proton) is no criterion of stability."""
    from ..scans import find_bonds

    bonds = []
    for i, j in find_bonds(numbers, geometry):
        d = np.linalg.norm(positions[:, i] - positions[:, j], axis=-1)
        if d.max() < d.mean() + 0.4:
            bonds.append([i, j, round(float(d.mean()), 5)])
    return bonds


def starts(test_frames: int) -> list[int]:
    """Rows of the test split that simulations start from: 20 are drawn, a task takes the first of them."""
    return np.random.default_rng(0).permutation(test_frames)[:20].tolist()


def molecule_reference(
    numbers: np.ndarray,
    geometry: np.ndarray,
    runs: Sequence[np.ndarray],
    *,
    save_fs: float,
) -> tuple[dict[str, Any], pa.Table]:
    """(facts for ``reference.json``, ``blocks.parquet``) of a molecule.

    ``runs`` are positions [T, N, 3] in Angstrom every ``save_fs``. The histogram of distances is counted every
    `HISTOGRAM_FS`, in blocks of each of `BLOCKS_PS`.
    """
    from ffbench_metrics import distance_counts

    every = round(HISTOGRAM_FS / save_fs)
    rows: list[dict] = []
    for run, x in enumerate(runs):
        if len(x) * save_fs < 1000 * BLOCKS_PS[0]:
            continue  # too short for a single block
        counts = distance_counts(x[every - 1 :: every].astype(float), r_max=10.0, bins=500)
        for block_ps in BLOCKS_PS:
            rows += block_rows("distance_histogram", run, counts, round(1000 * block_ps / HISTOGRAM_FS), block_ps, 10.0)
    facts = {
        "bonds": stable_bonds(numbers, np.concatenate(runs), geometry),
        "runs": len(runs),
        "run_ps": min(len(x) for x in runs) * save_fs / 1000,
    }
    return facts, blocks_table(rows)
