"""Distances in periodic systems, and which frames to look at."""

from __future__ import annotations

import numpy as np


def minimum_image(d: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Nearest-image differences along the periodic directions (exact below half the narrowest cell width)."""
    if not np.any(pbc):
        return d
    full = np.where(np.asarray(pbc)[:, None], cell, np.eye(3))
    fractional = d @ np.linalg.inv(full)
    return d - np.where(pbc, np.round(fractional), 0.0) @ full


def sample(n: int, count: int = 200) -> np.ndarray:
    """At most ``count`` of ``n`` rows, evenly spread.

    >>> sample(3).tolist(), sample(9, 3).tolist()
    ([0, 1, 2], [0, 4, 8])
    """
    return np.arange(n) if n <= count else np.linspace(0, n - 1, count).astype(int)
