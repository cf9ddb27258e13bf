"""Harmonic vibrations at a minimum."""

from typing import Any

import numpy as np

from ffbench_metrics._check import checked

# CODATA 2018
_EV, _AMU, _C, _HBAR = 1.602176634e-19, 1.66053906660e-27, 2.99792458e10, 1.054571817e-34  # J, kg, cm/s, J s
_TO_WAVENUMBER = np.sqrt(_EV / _AMU) * 1e10 / (2 * np.pi * _C)  # of sqrt(eV / (amu Å^2))
_EV_PER_WAVENUMBER = 2 * np.pi * _HBAR * _C / _EV
_LINEAR = 1e-4  # smallest over largest moment of inertia


def harmonic_frequencies(hessian: Any, positions: Any, masses: Any) -> np.ndarray:
    """Wavenumbers of the normal modes of a free molecule, its translations and rotations projected out.

    Args:
        hessian: [3N, 3N] eV/Å^2, second derivatives of the energy (the symmetric part is used).
        positions: [N, 3] Å, where it was taken.
        masses: [N] amu.

    Returns:
        [3N - 6] cm^-1 in rising order (3N - 5 for a linear molecule, 0 for an atom); an imaginary mode is negative.

    Raises:
        ValueError: shapes that differ, or masses that are not positive.

    Source: Wilson, Decius and Cross, Molecular Vibrations (1955); projection after Eckart (1935).

    Example:
        >>> k = np.zeros((6, 6)); k[0, 0] = k[3, 3] = 30.0; k[0, 3] = k[3, 0] = -30.0
        >>> harmonic_frequencies(k, [[0.0, 0, 0], [1.0, 0, 0]], [1.0, 1.0]).round(1)
        array([4039.3])
    """
    sizes: dict[str, int] = {}
    x = checked("positions", positions, "N 3", sizes).astype(np.float64)
    m = checked("masses", masses, "N", sizes).astype(np.float64)
    if not (m > 0).all():
        raise ValueError(f"masses must be positive, got {m.min()}")
    h = checked("hessian", hessian, "K K").astype(np.float64)
    if h.shape[0] != 3 * len(m):
        raise ValueError(f"hessian must have shape [3N, 3N] with N={len(m)}, got {list(h.shape)}")
    root = np.repeat(np.sqrt(m), 3)
    internal = _internal(x, m)
    if not internal.shape[1]:
        return np.zeros(0)
    weighted = internal.T @ (0.5 * (h + h.T) / np.outer(root, root)) @ internal
    values = np.linalg.eigvalsh(weighted)
    return _TO_WAVENUMBER * np.sign(values) * np.sqrt(np.abs(values))


def zero_point_energy(frequencies: Any) -> float:
    """Half the quanta of all real modes.

    Args:
        frequencies: [M] cm^-1; negative (imaginary) ones do not count.

    Returns:
        eV.

    Example:
        >>> round(zero_point_energy([4401.2]), 4)  # H2, harmonic
        0.2728
    """
    w = checked("frequencies", frequencies, "M").astype(np.float64)
    return float(0.5 * _EV_PER_WAVENUMBER * w[w > 0].sum())


def frequency_mae(frequencies: Any, reference_frequencies: Any) -> float:
    """Mean absolute difference of two sets of wavenumbers, the lowest with the lowest.

    Args:
        frequencies, reference_frequencies: [M] cm^-1, imaginary ones negative.

    Returns:
        cm^-1, best 0.

    Example:
        >>> frequency_mae([1600.0, 3700.0, 3800.0], [3650.0, 1595.0, 3756.0])
        33.0
    """
    sizes: dict[str, int] = {}
    w = checked("frequencies", frequencies, "M", sizes).astype(np.float64)
    reference = checked("reference_frequencies", reference_frequencies, "M", sizes).astype(np.float64)
    return float(np.abs(np.sort(w) - np.sort(reference)).mean())


def _internal(x: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Orthonormal mass-weighted directions [3N, M] without translation and rotation."""
    root = np.sqrt(m)[:, None]
    c = x - np.average(x, axis=0, weights=m)
    rigid = [(root * axis).ravel() for axis in np.eye(3)]
    if len(m) > 1:
        values, axes = np.linalg.eigh(np.einsum("n,na,nb->ab", m, c, c))
        # the moment about an axis is the sum over the two other directions: none about the line of a linear molecule
        about = values.sum() - values
        rigid += [(root * np.cross(axes[:, k], c)).ravel() for k in range(3) if about[k] > _LINEAR * about.max()]
    left, _, _ = np.linalg.svd(np.stack(rigid, axis=1), full_matrices=True)
    return left[:, len(rigid) :]
