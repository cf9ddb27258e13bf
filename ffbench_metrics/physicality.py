"""What an energy and its forces have to be whatever the theory: symmetric, smooth, conservative, repulsive in touch."""

from typing import Any, NamedTuple

import numpy as np

from ffbench_metrics._check import at_least, checked


class Repulsion(NamedTuple):
    """What holds along a path on which two atoms are pushed together."""

    energy_rises: bool
    force_rises: bool
    repulsive: bool


def jacobian_asymmetry(jacobian: Any) -> float:
    """How far the derivatives of forces are from those of a gradient: lambda = ||J - J^T|| / ||J||, Frobenius norms.

    Args:
        jacobian: [K, K] eV/Å^2, dF_i/dx_j of all coordinates, or of the same block of forces and coordinates.

    Returns:
        Between 0 (the gradient of an energy) and 2 (no symmetric part); 0 for no forces at all.

    Raises:
        ValueError: not square, or not finite.

    Source: Bigi, Langer and Ceriotti, arXiv:2412.11569, who find 0.004 to 0.032 for models with direct forces.

    Example:
        >>> jacobian_asymmetry([[2.0, 1.0], [1.0, 3.0]]), jacobian_asymmetry([[0.0, 1.0], [-1.0, 0.0]])
        (0.0, 2.0)
    """
    j = checked("jacobian", jacobian, "K K").astype(np.float64)
    size = float(np.linalg.norm(j))
    return float(np.linalg.norm(j - j.T)) / size if size > 0 else 0.0


def gradient_error(slope: Any, forces: Any, directions: Any) -> float:
    """Mean absolute difference between the slope of the energy along lines and minus the forces along them.

    Args:
        slope: [D] eV/Å, dE/ds at x + s u_d, in whatever way it was differentiated.
        forces: [N, 3] eV/Å, F(x).
        directions: [D, N, 3] lines u_d through x, usually of length 1.

    Returns:
        eV/Å, best 0: the forces are the gradient of the energy.

    Example:
        >>> gradient_error([-2.0, 0.5], [[2.0, 0.0, 0.0]], [[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]])
        0.25
    """
    sizes: dict[str, int] = {}
    s = checked("slope", slope, "D", sizes).astype(np.float64)
    f = checked("forces", forces, "N 3", sizes).astype(np.float64)
    u = checked("directions", directions, "D N 3", sizes).astype(np.float64)
    return float(np.abs(s + np.einsum("dna,na->d", u, f)).mean())


def equivariance_error(forces_of_transformed: Any, forces: Any, matrices: Any) -> float:
    """Mean absolute difference between the forces on transformed structures and the transformed forces.

    Args:
        forces_of_transformed: [R, N, 3] eV/Å, F(Q_r x).
        forces: [N, 3] eV/Å, F(x).
        matrices: [R, 3, 3] orthogonal Q_r (rotations, reflections; unit matrices for translations), x -> Q x.

    Returns:
        eV/Å per component, best 0.

    Example:
        >>> quarter = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
        >>> equivariance_error([[[0.0, 2.0, 0.0]]], [[2.0, 0.0, 0.0]], [quarter])
        0.0
        >>> equivariance_error([[[2.0, 0.0, 0.0]]], [[2.0, 0.0, 0.0]], [quarter]) == 4 / 3
        True
    """
    sizes: dict[str, int] = {}
    moved = checked("forces_of_transformed", forces_of_transformed, "R N 3", sizes).astype(np.float64)
    still = checked("forces", forces, "N 3", sizes).astype(np.float64)
    q = checked("matrices", matrices, "R 3 3", sizes).astype(np.float64)
    return float(np.abs(moved - np.einsum("rab,nb->rna", q, still)).mean())


def largest_jump(values: Any) -> float:
    """Largest jump along a path of tiny even steps: how far a step is from the mean of the steps before and after it.

    Slope and curvature of a smooth function drop out, a jump between two points counts in full.

    Args:
        values: [K, D], in any unit: energies as [K, 1], forces as [K, 3 N]; the difference is a norm over D.

    Returns:
        In the unit of the values, at least 0. A jump in the first or last step is not seen.

    Raises:
        ValueError: fewer than four points, or values that are not finite.

    Example:
        >>> x = np.linspace(0, 1, 11)[:, None]
        >>> round(largest_jump(2 * x + x**2), 12), round(largest_jump(2 * x + x**2 + 0.5 * (x > 0.45)), 12)
        (0.0, 0.5)
    """
    v = checked("values", values, "K D").astype(np.float64)
    at_least("values", len(v), 4, "points")
    steps = np.diff(v, axis=0)
    return float(np.linalg.norm(steps[1:-1] - 0.5 * (steps[:-2] + steps[2:]), axis=1).max())


def repulsion(energy: Any, force: Any) -> Repulsion:
    """Whether two atoms pushed together repel each other, in three senses.

    Args:
        energy: [K] eV, in the order in which the distance falls.
        force: [K] eV/Å, along the line between the atoms, positive where it drives them apart.

    Returns:
        `Repulsion(energy_rises, force_rises, repulsive)`: the energy rises from point to point, so does the magnitude
        of the force, the force is positive throughout. Answers that are not finite make all three false.

    Source: after Geng, Burger, Bernales and Aspuru-Guzik (2026), by whom GFN2-xTB passes for 17 of 17 dimers.

    Example:
        >>> r = np.linspace(1.0, 0.5, 6)
        >>> repulsion(1 / r, 1 / r**2)
        Repulsion(energy_rises=True, force_rises=True, repulsive=True)
        >>> repulsion(-1 / r, -1 / r**2)
        Repulsion(energy_rises=False, force_rises=True, repulsive=False)
    """
    sizes: dict[str, int] = {}
    e = checked("energy", energy, "K", sizes, finite=False).astype(np.float64)
    f = checked("force", force, "K", sizes, finite=False).astype(np.float64)
    at_least("energy", len(e), 2, "points")
    if not (np.isfinite(e).all() and np.isfinite(f).all()):
        return Repulsion(False, False, False)
    return Repulsion(
        bool((np.diff(e) > 0).all()),
        bool((np.diff(np.abs(f)) > 0).all()),
        bool((f > 0).all()),
    )
