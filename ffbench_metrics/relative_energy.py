"""Relative energies: sums of coefficients times total energies against reference values, in kcal/mol."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ffbench_metrics._check import at_least, checked

KCAL_PER_MOL = 0.0433641042418  # eV: 4184 J over Avogadro's number


def reaction_energies(energy: Any, terms: Sequence[Sequence[tuple[float, int]]]) -> np.ndarray:
    """Energies of reactions from total energies, in kcal/mol.

    Args:
        energy: [S] eV, one per structure; NaN where there is none.
        terms: per reaction (coefficient, index of the structure), products positive.

    Returns:
        [R] kcal/mol, NaN where a structure has no energy.

    Example:
        >>> reaction_energies([-1.0, -3.0, np.nan], [[(-2.0, 0), (1.0, 1)], [(1.0, 2)]]).round(3)
        array([-23.061,     nan])
    """
    e = checked("energy", energy, "S", finite=False).astype(np.float64)
    for at, reaction in enumerate(terms):
        if not reaction or not all(0 <= k < len(e) for _, k in reaction):
            raise ValueError(f"terms[{at}] must name structures from 0 to {len(e) - 1}, got {list(reaction)}")
    return np.array([sum(c * e[k] for c, k in reaction) for reaction in terms]) / KCAL_PER_MOL


def relative_energy_mae(energy: Any, reference: Any) -> float:
    """Mean absolute error of relative energies.

    Args:
        energy, reference: [R], in one unit.

    Returns:
        In that unit, at least 0, best 0. Predicting no difference scores the mean of |reference|.

    Example:
        >>> relative_energy_mae([1.0, -2.0], [0.5, -1.0])
        0.75
    """
    return float(np.abs(_errors(energy, reference)).mean())


def relative_energy_bias(energy: Any, reference: Any) -> float:
    """Mean signed error of relative energies, model minus reference: below 0, interaction energies bind too much.

    Args:
        energy, reference: [R], in one unit.

    Example:
        >>> relative_energy_bias([1.0, -2.0], [0.5, -1.0])
        -0.25
    """
    return float(_errors(energy, reference).mean())


def no_difference_mae(reference: Any) -> float:
    """Mean absolute error of predicting that all energies are equal: the mean of |reference|.

    Args:
        reference: [R].

    Example:
        >>> no_difference_mae([0.5, -1.5])
        1.0
    """
    return float(np.abs(checked("reference", reference, "R")).mean())


def rank_correlation(energy: Any, reference: Any) -> float:
    """Spearman correlation of the order of conformers of one molecule with the reference's.

    Args:
        energy, reference: [n] in one unit, neither constant, n >= 3.

    Returns:
        -1 to 1, best 1.

    Source: scipy `spearmanr`.

    Example:
        >>> round(rank_correlation([0.0, 1.0, 5.0], [0.0, 0.2, 0.3]), 6)
        1.0
    """
    from ffbench_metrics.selective import spearman

    at_least("energy", len(np.atleast_1d(energy)), 3, "conformers")
    return spearman(energy, reference)


def curve_minimum(distance: Any, energy: Any) -> tuple[float, float]:
    """Position and energy of the lowest point of a cubic spline (not-a-knot) through a curve.

    Args:
        distance: [K], increasing, K >= 4; energy: [K].

    Returns:
        (position, energy), in the units of the arguments; of an end where the curve has no minimum below its ends.

    Example:
        >>> r = np.linspace(0.9, 2.0, 8)
        >>> position, depth = curve_minimum(r, 3 * (r - 1.05) ** 2 - 4)
        >>> round(position, 9), round(depth, 9)
        (1.05, -4.0)
    """
    from scipy.interpolate import CubicSpline

    sizes: dict[str, int] = {}
    r = checked("distance", distance, "K", sizes).astype(np.float64)
    e = checked("energy", energy, "K", sizes).astype(np.float64)
    at_least("distance", len(r), 4, "points")
    if not (np.diff(r) > 0).all():
        raise ValueError("distance must be strictly increasing")
    spline = CubicSpline(r, e)
    turns = spline.derivative().roots(extrapolate=False)
    places = np.concatenate([r[[0, -1]], turns[np.isfinite(turns)]])
    lowest = places[np.argmin(spline(places))]
    return float(lowest), float(spline(lowest))


def _errors(energy: Any, reference: Any) -> np.ndarray:
    sizes: dict[str, int] = {}
    model = checked("energy", energy, "R", sizes).astype(np.float64)
    return model - checked("reference", reference, "R", sizes).astype(np.float64)
