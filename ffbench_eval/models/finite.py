"""Which numbers of a model can be used."""

from __future__ import annotations

import numpy as np

LARGEST = 1e100  # eV, eV/Angstrom: squares of larger numbers are not finite


def usable(values: np.ndarray) -> np.ndarray:
    """Where numbers are finite and small enough to be squared and summed.

    >>> usable(np.array([1.0, np.nan, 1e200])).tolist()
    [True, False, False]
    """
    return np.abs(np.asarray(values, dtype=float)) < LARGEST  # False for NaN
