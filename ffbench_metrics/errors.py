"""Errors of energies, forces and stresses on labelled frames."""

from typing import Any

import numpy as np

from ffbench_metrics._check import checked, numbered, real


def energy_mae(energy: Any, reference_energy: Any, *, n_atoms: Any = None) -> float:
    """Mean absolute error of energies.

    Args:
        energy, reference_energy: [n] eV.
        n_atoms: [n] or a number: give it for the error per atom.

    Returns:
        eV (eV/atom with `n_atoms`), at least 0, best 0.

    Example:
        >>> energy_mae([1.0, 2.0], [1.5, 2.0]), energy_mae([1.0, 2.0], [1.5, 2.0], n_atoms=5)
        (0.25, 0.05)
    """
    return float(np.abs(_energy_difference(energy, reference_energy, n_atoms)).mean())


def energy_rmse(energy: Any, reference_energy: Any, *, n_atoms: Any = None) -> float:
    """Root mean square error of energies; arguments and units as in `energy_mae`.

    Example:
        >>> energy_rmse([1.0, 2.0], [1.0, 4.0])
        1.4142135623730951
    """
    return float(np.sqrt(np.square(_energy_difference(energy, reference_energy, n_atoms)).mean()))


def force_mae(forces: Any, reference_forces: Any) -> float:
    """Mean absolute error over force components.

    Args:
        forces, reference_forces: [..., 3] eV/Å of equal shape (all atoms of all frames).

    Returns:
        eV/Å, at least 0, best 0.

    Example:
        >>> force_mae([[0.3, 0.0, 0.0]], [[0.0, 0.0, 0.0]])
        0.09999999999999999
    """
    f, reference = _vectors(forces, reference_forces)
    return float(np.abs(f - reference).mean())


def force_rmse(forces: Any, reference_forces: Any) -> float:
    """Root mean square error over force components, eV/Å, best 0; arguments as in `force_mae`.

    Example:
        >>> force_rmse([[3.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]])
        1.7320508075688772
    """
    f, reference = _vectors(forces, reference_forces)
    return float(np.sqrt(np.square(f - reference).mean()))


def force_cosine(forces: Any, reference_forces: Any, *, floor: float = 1e-6) -> float:
    """Mean cosine of the angle between force and reference force of each atom.

    Args:
        forces, reference_forces: [..., 3] eV/Å of equal shape.
        floor: atoms whose two norms are both below it (eV/Å) count as 1, with one norm below it as 0.

    Returns:
        From -1 to 1, best 1.

    Example:
        >>> force_cosine([[1.0, 0, 0], [0, 2.0, 0]], [[2.0, 0, 0], [1.0, 0, 0]])
        0.5
    """
    f, reference = _vectors(forces, reference_forces)
    (f, norm, small), (reference, reference_norm, reference_small) = (_scaled(v, floor) for v in (f, reference))
    product = np.where(small | reference_small, 1.0, norm * reference_norm)
    cosine = np.where(small | reference_small, (small & reference_small) * 1.0, (f * reference).sum(-1) / product)
    return float(np.clip(cosine, -1.0, 1.0).mean())


_OWN_ARITHMETIC = 8.0  # float32 families stay below 2 roundings of their forces
_TERM = 1.0  # eV/Å: single terms of a force (a bond, a pair) that cancel in it


def net_force(forces: Any) -> np.ndarray:
    """Size of the total force per atom: what the forces do to the centre of mass.

    An energy that does not change under translation has none, open or periodic; forces from a head of their own may,
    and then heat the centre of mass while bonds and internal motion look sound (0.005 eV/Å per atom brought it to 420
    of 521 K).

    Args:
        forces: [..., N, 3] eV/Å of all atoms of a structure.

    Returns:
        [...] eV/Å per atom, |sum of F| / N, best 0; below `net_force_rounding` it is the arithmetic's.

    Example:
        >>> float(net_force([[1.0, 0, 0], [-1.0, 0, 0]])), float(net_force([[0.3, 0, 0], [0, 0.4, 0]]))
        (0.0, 0.25)
    """
    f, _ = _vectors(forces, forces)
    return np.linalg.norm(f.sum(axis=-2), axis=-1) / f.shape[-2]


def net_force_rounding(forces: Any, dtype: Any) -> np.ndarray:
    """The net force per atom that rounding alone may leave: 8 eps of the forces, added in quadrature.

    Args:
        forces: [..., N, 3] eV/Å.
        dtype: floating-point type of the model's forces (as they were archived).

    Returns:
        [...] eV/Å per atom, 8 eps sqrt(sum (|F| + 1 eV/Å)^2) / N; the 1 eV/Å stands for the single terms that cancel
        in a force.

    Example:
        >>> float(net_force_rounding(np.ones((4, 3)), np.float32) / np.finfo(np.float32).eps).__round__(3)
        10.928
    """
    f, _ = _vectors(forces, forces)
    size = np.linalg.norm(f, axis=-1) + _TERM
    return _OWN_ARITHMETIC * np.finfo(dtype).eps * np.linalg.norm(size, axis=-1) / f.shape[-2]


def net_torque_rounding(positions: Any, forces: Any, dtype: Any, *, masses: Any = None) -> np.ndarray:
    """The net torque that rounding alone may leave; arguments as in `net_torque` and `net_force_rounding`.

    Returns:
        [...] eV, 8 eps sqrt(sum ((|F| + 1 eV/Å) r)^2) with r the distance from the centre of mass or from the origin,
        whichever is larger: positions far from the origin are rounded too.

    Example:
        >>> x = [[3.0, 0, 0], [1.0, 0, 0]]
        >>> float(net_torque_rounding(x, np.zeros((2, 3)), np.float64) / np.finfo(np.float64).eps).__round__(3)
        25.298
    """
    f, x = _vectors(forces, positions, "positions")
    centre = _centre_of_mass(x, masses)
    arm = np.maximum(np.linalg.norm(x - centre[..., None, :], axis=-1), np.linalg.norm(x, axis=-1))
    size = np.linalg.norm(f, axis=-1) + _TERM
    return _OWN_ARITHMETIC * np.finfo(dtype).eps * np.linalg.norm(size * arm, axis=-1)


def net_torque(positions: Any, forces: Any, *, masses: Any = None) -> np.ndarray:
    """Norm of the torque that the forces on an open system have about its centre of mass.

    An energy that is the same in every orientation has none; forces from a head of their own may, and then turn the
    molecule in a simulation that started without angular momentum.

    Args:
        positions: [..., N, 3] Å.
        forces: [..., N, 3] eV/Å.
        masses: [N] in any unit; None: equal ones (it matters only where the forces do not add up to zero).

    Returns:
        [...] eV (per radian), best 0; below `net_torque_rounding` it is the arithmetic's.

    Raises:
        ValueError: shapes that differ, or masses that are not one positive number per atom.

    Source: sum of (x - x_com) x F over the atoms, classical mechanics.

    Example:
        >>> x, f = [[1.0, 0, 0], [-1.0, 0, 0]], [[0, 2.0, 0], [0, -2.0, 0]]
        >>> float(net_torque(x, f)), float(net_torque(x, x))
        (4.0, 0.0)
    """
    f, x = _vectors(forces, positions, "positions")
    centre = _centre_of_mass(x, masses)
    return np.linalg.norm(np.cross(x - centre[..., None, :], f).sum(axis=-2), axis=-1)


def force_magnitude_mae(forces: Any, reference_forces: Any) -> float:
    """Mean absolute error of the norms of the forces on atoms, eV/Å, best 0; arguments as in `force_mae`.

    Example:
        >>> force_magnitude_mae([[3.0, 4.0, 0.0]], [[0.0, 0.0, 4.0]])
        1.0
    """
    f, reference = _vectors(forces, reference_forces)
    return float(np.abs(np.linalg.norm(f, axis=-1) - np.linalg.norm(reference, axis=-1)).mean())


def force_mae_per_element(forces: Any, reference_forces: Any, atomic_numbers: Any) -> dict[int, float]:
    """Mean absolute error over force components, per element.

    Args:
        forces, reference_forces: [..., N, 3] eV/Å.
        atomic_numbers: [N] (or the shape of the forces without its last axis).

    Returns:
        Atomic number -> eV/Å, in order of atomic number.

    Example:
        >>> force_mae_per_element([[0.3, 0, 0], [0, 0, 0]], [[0.0, 0, 0], [0, 0, 0]], [8, 1])
        {1: 0.0, 8: 0.09999999999999999}
    """
    f, reference = _vectors(forces, reference_forces)
    numbers = np.asarray(atomic_numbers)
    if not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"atomic_numbers must be whole numbers, got {atomic_numbers!r:.80}")
    try:
        numbers = np.broadcast_to(numbers, f.shape[:-1])
    except ValueError as error:
        raise ValueError(
            f"atomic_numbers has shape {list(numbers.shape)}, forces {list(f.shape)}: not one per atom"
        ) from error
    mean = np.abs(f - reference).mean(-1)
    return {int(z): float(mean[numbers == z].mean()) for z in np.unique(numbers)}


def stress_mae(stress: Any, reference_stress: Any) -> float:
    """Mean absolute error over the six independent components of the stress.

    Args:
        stress, reference_stress: [n, 3, 3] eV/Å^3.

    Returns:
        eV/Å^3, at least 0, best 0.

    Example:
        >>> stress_mae([0.6 * np.eye(3)], [np.zeros((3, 3))])
        0.3
    """
    return float(np.abs(_stress_difference(stress, reference_stress)).mean())


def stress_rmse(stress: Any, reference_stress: Any) -> float:
    """Root mean square error over the six independent stress components, eV/Å^3, best 0.

    Example:
        >>> stress_rmse([np.sqrt(2) * np.eye(3)], [np.zeros((3, 3))])
        1.0
    """
    return float(np.sqrt(np.square(_stress_difference(stress, reference_stress)).mean()))


def error_quantiles(errors: Any, levels: Any = (0.5, 0.9, 0.95, 0.99)) -> np.ndarray:
    """Quantiles of absolute errors (linear interpolation): the tail that a mean hides.

    Args:
        errors: any shape, any unit; absolute values are taken.
        levels: [k] between 0 and 1.

    Returns:
        [k] in the unit of the errors.

    Example:
        >>> error_quantiles([-1.0, 2.0, 3.0], [0.5, 1.0])
        array([2., 3.])
    """
    flat = checked("errors", real("errors", errors).ravel(), "n").astype(np.float64)
    levels = checked("levels", real("levels", levels).ravel(), "k").astype(np.float64)
    if levels.min() < 0 or levels.max() > 1:
        raise ValueError(f"levels must lie between 0 and 1, got {levels.tolist()}")
    return np.quantile(np.abs(flat), levels)


def align_energies(energy: Any, reference_energy: Any, groups: Any = None) -> np.ndarray:
    """Shift energies by one constant per group so that the mean signed error of each group is 0.

    For energies of different theories or zeros: per system, one constant only.

    Args:
        energy, reference_energy: [n] eV.
        groups: [n] labels (molecule, composition); None: one group.

    Returns:
        [n] eV, the shifted energies.

    Example:
        >>> align_energies([1.0, 3.0, 7.0], [0.0, 2.0, 9.0], ["a", "a", "b"])
        array([0., 2., 9.])
    """
    sizes: dict[str, int] = {}
    e = checked("energy", energy, "n", sizes).astype(np.float64)
    reference = checked("reference_energy", reference_energy, "n", sizes)
    labels = np.zeros(len(e), int) if groups is None else numbered("groups", groups)
    if len(labels) != len(e):
        raise ValueError(f"groups must have one label per energy ({len(e)}), got {len(labels)}")
    shift = np.bincount(labels, weights=e - reference) / np.bincount(labels)
    return e - shift[labels]


def element_offsets(compositions: Any, energy: Any, reference_energy: Any) -> np.ndarray:
    """Least-squares energy offset per element between a model and a reference; fit it on calibration data only.

    Args:
        compositions: [n, k] number of atoms of each of k elements.
        energy, reference_energy: [n] eV.

    Returns:
        [k] eV per atom: `energy - compositions @ offsets` is on the reference's zero. Minimum norm where the
        compositions do not determine the offsets.

    Example:
        >>> element_offsets([[2, 1], [0, 2]], [12.0, 4.0], [2.0, 0.0]).round(6)
        array([4., 2.])
    """
    sizes: dict[str, int] = {}
    counts = checked("compositions", compositions, "n k", sizes).astype(np.float64)
    e = checked("energy", energy, "n", sizes).astype(np.float64)  # float32 cannot hold total energies
    reference = checked("reference_energy", reference_energy, "n", sizes)
    return np.linalg.lstsq(counts, e - reference, rcond=None)[0]


def _energy_difference(energy: Any, reference_energy: Any, n_atoms: Any) -> np.ndarray:
    sizes: dict[str, int] = {}
    e = checked("energy", energy, "n", sizes).astype(np.float64)  # float32 cannot hold total energies
    difference = e - checked("reference_energy", reference_energy, "n", sizes)
    if n_atoms is None:
        return difference
    atoms = real("n_atoms", n_atoms)
    if atoms.shape not in ((), difference.shape) or not (atoms > 0).all():
        raise ValueError(f"n_atoms must be a positive number or [n={len(difference)}] of them, got {n_atoms!r:.80}")
    return difference / atoms


def _vectors(forces: Any, others: Any, second: str = "reference_forces") -> tuple[np.ndarray, np.ndarray]:
    arrays = []
    for name, value in (("forces", forces), (second, others)):
        ndim = max(np.ndim(value), 2)
        arrays.append(checked(name, value, " ".join([*(f"n{k}" for k in range(ndim - 1)), "3"])).astype(np.float64))
    if arrays[0].shape != arrays[1].shape:
        raise ValueError(f"{second} must have the shape of forces {list(arrays[0].shape)}, got {list(arrays[1].shape)}")
    return arrays[0], arrays[1]


def _scaled(vectors: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(vectors [..., 3] times powers of two, which round nothing, so that their squares neither overflow nor vanish;
    their norms [...]; whether the norms of the given ones lie below ``floor``)."""
    _, exponent = np.frexp(np.abs(vectors).max(-1))
    scaled = np.ldexp(vectors, -exponent[..., None])
    norm = np.linalg.norm(scaled, axis=-1)
    return scaled, norm, norm < np.ldexp(floor, -exponent)


def _centre_of_mass(x: np.ndarray, masses: Any) -> np.ndarray:
    weights = np.ones(x.shape[-2]) if masses is None else real("masses", masses).astype(np.float64)
    if weights.shape != x.shape[-2:-1] or not (weights > 0).all():
        raise ValueError(f"masses must be {x.shape[-2]} positive numbers, one per atom; got shape {weights.shape}")
    return np.einsum("...na,n->...a", x, weights) / weights.sum()


def _stress_difference(stress: Any, reference_stress: Any) -> np.ndarray:
    sizes: dict[str, int] = {}
    s = checked("stress", stress, "n 3 3", sizes).astype(np.float64)
    reference = checked("reference_stress", reference_stress, "n 3 3", sizes)
    rows, columns = np.triu_indices(3)
    return (s - reference)[:, rows, columns]
