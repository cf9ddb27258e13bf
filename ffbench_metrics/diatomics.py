"""Curves of two equal atoms as matbench-discovery scores them: wiggles of a model alone, and errors against DFT.

Formulas after the public code of matbench-discovery (Riebesell et al., Nature Machine Intelligence 7, 836 (2025); MIT;
smoothness after MLIP Arena), which is their definition; written anew. Curves are given in the window that is scored.
"""

from typing import Any

import numpy as np

from ffbench_metrics._check import at_least, checked, positive

ENERGY_STEP = 1e-3  # eV: smaller steps of the energy have no direction
FORCE_SIZE = 1e-2  # eV/Å: smaller forces have no direction
WALL = (1.0, 5.0, 10.0, 20.0, 50.0, 100.0)  # eV above the minimum
POINTS = 200  # of the common grid of two curves
BOUND = 0.05  # eV: a reference that binds less has no bond to compare
FIT = 5  # points of the parabola through the minimum


def dimer_tortuosity(energy: Any) -> float:
    """Total variation of the energy over the least that its ends and its minimum need.

    Args:
        energy: [K] eV by increasing distance.

    Returns:
        At least 1; 1 for a curve that falls and rises once. NaN for a flat curve.

    Example:
        >>> dimer_tortuosity([3.0, -1.0, 0.0]), dimer_tortuosity([3.0, -1.0, 1.0, 0.0])
        (1.0, 1.4)
    """
    e = _curve(energy)
    least = abs(e[0] - e.min()) + abs(e[-1] - e.min())
    return float(np.abs(np.diff(e)).sum() / least) if least else float("nan")


def dimer_energy_flips(energy: Any) -> float:
    """How often the energy turns, steps below 1 meV left out: 1 for a bond, 0 for pure repulsion.

    Args:
        energy: [K] eV by increasing distance.

    Example:
        >>> dimer_energy_flips([3.0, -1.0, 1.0, 0.9995, 0.0])
        2.0
    """
    return float(_flips(np.diff(_curve(energy)), ENERGY_STEP)[1].sum())


def dimer_energy_jump(energy: Any) -> float:
    """Sum of the two steps of the energy at every turn, in eV; steps below 1 meV left out.

    Args:
        energy: [K] eV by increasing distance.

    Example:
        >>> dimer_energy_jump([3.0, -1.0, 1.0, 0.0])
        9.0
    """
    return _jump(_curve(energy), ENERGY_STEP)


def dimer_force_flips(forces: Any) -> float:
    """How often the force on the first atom along the bond changes sign, forces below 10 meV/Å left out.

    Args:
        forces: [K, 2, 3] eV/Å by increasing distance, the bond along x.

    Example:
        >>> f = np.zeros((4, 2, 3)); f[:, 0, 0] = [-2.0, 0.005, 1.0, 0.5]
        >>> dimer_force_flips(f)
        1.0
    """
    f = _along(forces)
    signs = np.sign(f[np.abs(f) >= FORCE_SIZE])
    return float((np.diff(signs) != 0).sum())


def dimer_force_variation(forces: Any) -> float:
    """Total variation of the force on the first atom along the bond, in eV/Å.

    Args:
        forces: [K, 2, 3] eV/Å by increasing distance, the bond along x.

    Example:
        >>> f = np.zeros((4, 2, 3)); f[:, 0, 0] = [-2.0, 1.0, 0.5, 0.0]
        >>> dimer_force_variation(f)
        4.0
    """
    return float(np.abs(np.diff(_along(forces))).sum())


def dimer_force_jump(forces: Any) -> float:
    """Sum of the two steps of the force at every turn of it, in eV/Å.

    Args:
        forces: [K, 2, 3] eV/Å by increasing distance, the bond along x.

    Example:
        >>> f = np.zeros((4, 2, 3)); f[:, 0, 0] = [-2.0, 1.0, 0.5, 0.0]
        >>> dimer_force_jump(f)
        3.5
    """
    return _jump(_along(forces), 0.0)


def dimer_force_mae(reference_distance: Any, reference_forces: Any, distance: Any, forces: Any) -> float:
    """Mean absolute difference of all force components on 200 points of the common range, between which both curves
    are straight, in eV/Å.

    Args:
        reference_distance: [R] Å, increasing; reference_forces: [R, 2, 3] eV/Å.
        distance: [K] Å, increasing; forces: [K, 2, 3] eV/Å.

    Example:
        >>> r, f = np.array([1.0, 2.0, 3.0]), np.zeros((3, 2, 3))
        >>> dimer_force_mae(r, f, r, f + 0.5)
        0.5
    """
    a, f_a = _pair(reference_distance, reference_forces)
    b, f_b = _pair(distance, forces)
    grid = _common(a, b)
    on_grid = [np.stack([np.interp(grid, r, c) for c in f.reshape(len(f), -1).T]) for r, f in ((a, f_a), (b, f_b))]
    return float(np.abs(on_grid[0] - on_grid[1]).mean())


def dimer_energy_mae(reference_distance: Any, reference_energy: Any, distance: Any, energy: Any) -> float:
    """Mean absolute difference of the energies, each less its last one, on 200 points of the common range, in eV.

    Args:
        reference_distance, reference_energy: [R] Å (increasing) and eV; distance, energy: [K].

    Example:
        >>> r = np.array([1.0, 2.0, 3.0])
        >>> dimer_energy_mae(r, [1.0, 1.0, 1.0], r, [-4.0, -4.0, -4.0])
        0.0
    """
    a, e_a = _pair(reference_distance, reference_energy)
    b, e_b = _pair(distance, energy)
    grid = _common(a, b)
    mine, truth = np.interp(grid, b, e_b), np.interp(grid, a, e_a)
    return float(np.abs((mine - mine[-1]) - (truth - truth[-1])).mean())


def dimer_wall_error(reference_distance: Any, reference_energy: Any, distance: Any, energy: Any) -> float:
    """Mean error of the distance at which the repulsive wall is 1, 5, 10, 20, 50 and 100 eV above the minimum, in Å.

    Heights that the reference does not reach are left out; one that only the model does not reach costs the whole
    distance. NaN if the reference reaches none.

    Args:
        reference_distance, reference_energy: [R] Å (increasing) and eV; distance, energy: [K].

    Example:
        >>> r = np.linspace(0.5, 3.0, 251)
        >>> wall = lambda x: np.maximum(0.0, 20.0 * (x - r)) + 1e-6 * r
        >>> round(dimer_wall_error(r, wall(1.5), r, wall(1.4)), 3)
        0.1
    """
    a, e_a = _pair(reference_distance, reference_energy)
    b, e_b = _pair(distance, energy)
    errors = []
    for height in WALL:
        truth, mine = _wall(a, e_a, height), _wall(b, e_b, height)
        if np.isfinite(truth):
            errors.append(abs(mine - truth) if np.isfinite(mine) else truth)
    return float(np.mean(errors)) if errors else float("nan")


def dimer_bond_length_error(reference_distance: Any, reference_energy: Any, distance: Any, energy: Any) -> float:
    """Error of the bond length, the minimum of a parabola through the five lowest points, in Å; NaN where the reference
    binds by less than 0.05 eV.

    Args:
        reference_distance, reference_energy: [R] Å (increasing) and eV; distance, energy: [K].

    Example:
        >>> r = np.linspace(0.8, 2.0, 25)
        >>> round(dimer_bond_length_error(r, (r - 1.2) ** 2, r, (r - 1.23) ** 2), 6)
        0.03
    """
    a, e_a = _pair(reference_distance, reference_energy)
    b, e_b = _pair(distance, energy)
    return abs(_well(b, e_b)[0] - _well(a, e_a)[0]) if e_a[-1] - e_a.min() >= BOUND else float("nan")


def dimer_well_error(reference_energy: Any, energy: Any) -> float:
    """Error of the depth of the well below the longest distance, in eV; NaN where the reference binds by less than
    0.05 eV.

    Args:
        reference_energy: [R] eV; energy: [K] eV, both by increasing distance.

    Example:
        >>> dimer_well_error([3.0, -2.0, 0.0], [9.0, -1.5, 0.0])
        0.5
    """
    truth, mine = _curve(reference_energy), _curve(energy)
    depth = truth[-1] - truth.min()
    return float(abs(mine[-1] - mine.min() - depth)) if depth >= BOUND else float("nan")


def dimer_frequency_error(
    reference_distance: Any, reference_energy: Any, distance: Any, energy: Any, mass: float
) -> float:
    """Error of the harmonic frequency of the parabola through the minimum, in 1/cm; NaN where the reference binds by
    less than 0.05 eV or one of the two has no minimum.

    Args:
        reference_distance, reference_energy: [R] Å (increasing) and eV; distance, energy: [K].
        mass: of one atom, in u.

    Example:
        >>> r = np.linspace(0.8, 2.0, 25)  # of 1 and 4 eV/Å^2 per mass 1: twice the frequency
        >>> round(dimer_frequency_error(r, 0.5 * (r - 1.2) ** 2, r, 2 * (r - 1.2) ** 2, 1.0), 1)
        737.5
    """
    a, e_a = _pair(reference_distance, reference_energy)
    b, e_b = _pair(distance, energy)
    if e_a[-1] - e_a.min() < BOUND:
        return float("nan")
    truth, mine = (_wavenumber(_well(r, e)[1], mass) for r, e in ((a, e_a), (b, e_b)))
    return abs(mine - truth)


def _wavenumber(curvature: float, mass: float) -> float:
    if not curvature > 0:
        return float("nan")
    newton_per_metre, kilogram = curvature * 16.02176634, positive("mass", mass) * 1.66053906660e-27 / 2
    return float(np.sqrt(newton_per_metre / kilogram) / (2 * np.pi * 2.99792458e10))


def _curve(values: Any) -> np.ndarray:
    curve = checked("energy", values, "K").astype(np.float64)
    at_least("energy", len(curve), 2, "points")
    return curve


def _along(forces: Any) -> np.ndarray:
    f = checked("forces", forces, "K 2 3").astype(np.float64)[:, 0, 0]
    at_least("forces", len(f), 2, "points")
    return f


def _pair(distance: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    r = checked("distance", distance, "K").astype(np.float64)
    at_least("distance", len(r), 2, "points")
    if not (np.diff(r) > 0).all():
        raise ValueError("distance must be strictly increasing")
    y = checked("values", values, "K" if np.ndim(values) == 1 else "K N 3", {"K": len(r)}).astype(np.float64)
    return r, y


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low, high = max(a[0], b[0]), min(a[-1], b[-1])
    if low >= high:
        raise ValueError(f"the curves have no common range: {a[0]:g} to {a[-1]:g} and {b[0]:g} to {b[-1]:g} Å")
    return np.linspace(low, high, POINTS)


def _flips(steps: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps of at least ``least`` that are not zero, and where the next one has the other sign."""
    kept = steps[(np.abs(steps) >= least) & (steps != 0)]
    return kept, np.diff(np.sign(kept)) != 0


def _jump(values: np.ndarray, least: float) -> float:
    steps, flips = _flips(np.diff(values), least)
    return float(np.abs(steps[:-1][flips]).sum() + np.abs(steps[1:][flips]).sum())


def _well(r: np.ndarray, energy: np.ndarray) -> tuple[float, float]:
    """(distance of the minimum, curvature in eV/Å^2) of a parabola through the points around the lowest one; NaN
    curvature where there is none."""
    lowest = int(np.argmin(energy))
    start = min(max(0, lowest - FIT // 2), max(0, len(r) - FIT))
    x, y = r[start : start + FIT], energy[start : start + FIT]
    if len(x) < 3:
        return float(r[lowest]), float("nan")
    square, linear, _ = np.polyfit(x, y, 2)
    if square <= 0:
        return float(r[lowest]), float("nan")
    at = -linear / (2 * square)
    return float(at if x.min() <= at <= x.max() else r[lowest]), float(2 * square)


def _wall(r: np.ndarray, energy: np.ndarray, height: float) -> float:
    """Distance at which the wall inside the minimum first is ``height`` above it; NaN if it never is."""
    lowest = int(np.argmin(energy))
    if lowest == 0:
        return float("nan")
    above = np.maximum.accumulate(energy[lowest::-1] - energy[lowest])
    level, first = np.unique(above, return_index=True)
    if len(level) < 2 or height > level[-1]:
        return float("nan")
    return float(np.interp(height, level, r[lowest::-1][first]))
