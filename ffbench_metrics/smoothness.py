"""Smoothness of a model along a bond scan: the force smoothness deviation of BSCT and what it cannot see alone."""

from typing import Any, NamedTuple

import numpy as np

from ffbench_metrics._check import at_least, checked, positive


class ForceSmoothness(NamedTuple):
    """Force smoothness deviation in 1/Å: over the whole scan, and on each side of the equilibrium length.

    A side without two labelled frames is None.
    """

    full: float
    compress: float | None
    stretch: float | None


class BsctLite(NamedTuple):
    """What a bond scan tells without a reference."""

    spurious_extrema: int
    energy_roughness: float  # eV
    conservativeness: float  # eV
    sign_flips: int


def force_smoothness_deviation(
    bond_length: Any, forces: Any, reference_forces: Any, reference_energy: Any, floor: float = 1.0
) -> ForceSmoothness:
    """Force smoothness deviation (FSD) of one bond scan.

    With F0 the REFERENCE force at the minimum of the reference energy, m_k = |F_k - F0|^2 of the model and d_k of the
    reference: l_k = ln max(m_k, floor) - ln max(d_k, floor), FSD = max_k |l_{k+1} - l_k| / |a_{k+1} - a_k|.

    Args:
        bond_length: [K] Å, strictly increasing or decreasing.
        forces, reference_forces: [K, N, 3] eV/Å.
        reference_energy: [K] eV. Frames with a NaN in the reference energy or forces are left out.
        floor: (eV/Å)^2; it is in the published code, not in the paper's formula. Keep it for comparable numbers.

    Returns:
        `ForceSmoothness(full, compress, stretch)` in 1/Å, at least 0, best 0. The score of a data set is the plain
        mean of
        `full` over its scans. FSD mixes smoothness with accuracy near equilibrium (F = 0 scores 53.0 on BSCT-SPICE, a
        perfectly smooth F x 0.5 scores 50.9): never show it without the force error.

    Raises:
        ValueError: fewer than two labelled frames, equal bond lengths, NaN in the model's forces.

    Source: Liu et al., arXiv:2602.04861, and its code (github.com/ryanliu30/bsct).

    Example:
        >>> a = np.linspace(1.0, 2.0, 11)
        >>> reference = np.zeros((11, 1, 3)); reference[:, 0, 0] = -20 * (a - 1.5)
        >>> force_smoothness_deviation(a, reference, reference, 10 * (a - 1.5) ** 2).full
        0.0
    """
    positive("floor", floor)
    sizes: dict[str, int] = {}
    a = checked("bond_length", bond_length, "K", sizes).astype(np.float64)
    model = checked("forces", forces, "K N 3", sizes, finite=False).astype(np.float64)
    reference = checked("reference_forces", reference_forces, "K N 3", sizes, finite=False).astype(np.float64)
    energy = checked("reference_energy", reference_energy, "K", sizes, finite=False).astype(np.float64)
    labelled = np.isfinite(energy) & np.isfinite(reference).all(axis=(1, 2))
    a, model, reference, energy = a[labelled], model[labelled], reference[labelled], energy[labelled]
    at_least("reference_energy", len(a), 2, "labelled frames")
    if not np.isfinite(model).all():
        raise ValueError("forces holds NaN or infinite values on labelled frames; the scan has no FSD")
    step = np.diff(a)
    if not (np.all(step > 0) or np.all(step < 0)):
        raise ValueError("bond_length must be strictly increasing or decreasing along the scan")
    if step[0] < 0:
        a, model, reference, energy = a[::-1], model[::-1], reference[::-1], energy[::-1]
    eq = int(np.argmin(energy))
    m = np.square(model - reference[eq]).sum(axis=(1, 2))
    d = np.square(reference - reference[eq]).sum(axis=(1, 2))
    logarithm = np.log(np.maximum(m, floor)) - np.log(np.maximum(d, floor))
    slope = np.abs(np.diff(logarithm) / np.diff(a))
    return ForceSmoothness(
        float(slope.max()),
        float(slope[:eq].max()) if eq > 0 else None,
        float(slope[eq:].max()) if eq < len(slope) else None,
    )


def count_turning_points(energy: Any, *, threshold: float = 1e-3) -> int:
    """Number of minima and maxima inside a curve, wiggles below a threshold ignored.

    Args:
        energy: [K] eV along a scan.
        threshold: eV: a turn counts once the curve has moved back by at least this much.

    Returns:
        Whole number, at least 0.

    Example:
        >>> count_turning_points([3.0, 0.0, 2.0, 1.0, 4.0])
        3
    """
    e = checked("energy", energy, "K").astype(np.float64)
    positive("threshold", threshold)
    turns, direction = 0, 0
    low = high = e[0]
    for value in e[1:]:
        low, high = min(low, value), max(high, value)
        if direction >= 0 and high - value >= threshold:
            turns += direction > 0
            direction, low, high = -1, value, value
        elif direction <= 0 and value - low >= threshold:
            turns += direction < 0
            direction, low, high = 1, value, value
    return int(turns)


def count_spurious_extrema(energy: Any, reference_energy: Any = None, *, threshold: float = 1e-3) -> int:
    """Extra minima and maxima of a model's energy along a bond scan: its turning points minus the reference's.

    Args:
        energy: [K] eV of the model.
        reference_energy: [K] eV; frames with NaN are left out on both sides. None: a bond scan has one turning point,
            as every BSCT-SPICE reference curve has.
        threshold: eV, smaller wiggles are ignored.

    Returns:
        Whole number, at least 0 (a curve with too few counts as 0), best 0.

    Source: this benchmark; a smooth diatomic curve has one minimum.

    Example:
        >>> count_spurious_extrema([3.0, 0.0, 2.0, 1.0, 4.0])
        2
    """
    sizes: dict[str, int] = {}
    e = checked("energy", energy, "K", sizes, finite=False)
    if reference_energy is None:
        return max(0, count_turning_points(e, threshold=threshold) - 1)
    reference = checked("reference_energy", reference_energy, "K", sizes, finite=False)
    labelled = np.isfinite(reference)
    expected = count_turning_points(reference[labelled], threshold=threshold)
    return max(0, count_turning_points(e[labelled], threshold=threshold) - expected)


def energy_jump(energy: Any, reference_energy: Any) -> float:
    """Largest jump of a model's energy along an even scan: max |d2E - d2E_ref| / median |d2E_ref|.

    Args:
        energy, reference_energy: [K] eV at equal spacing; second differences that touch a NaN label are left out.

    Returns:
        Dimensionless, at least 0, best 0. The reference is subtracted because the second differences of smooth DFT
        curves themselves span factors of 273 to 1231.

    Example:
        >>> e = np.linspace(-1, 1, 21) ** 2
        >>> step = np.where(np.arange(21) > 12, 0.05, 0.0)
        >>> round(energy_jump(e + step, e), 3), energy_jump(e, e)
        (2.5, 0.0)
    """
    sizes: dict[str, int] = {}
    e = checked("energy", energy, "K", sizes, finite=False).astype(np.float64)
    reference = checked("reference_energy", reference_energy, "K", sizes, finite=False).astype(np.float64)
    at_least("energy", len(e), 3, "frames")
    curvature = np.diff(reference, 2)
    labelled = np.isfinite(curvature)
    scale = float(np.median(np.abs(curvature[labelled]))) if labelled.any() else 0.0
    if scale == 0.0:
        raise ValueError("reference_energy has no curvature to compare with (a straight line, or too few labels)")
    jump = np.abs(np.diff(e, 2) - curvature)[labelled]
    if not np.isfinite(jump).all():
        raise ValueError("energy holds NaN or infinite values on labelled frames")
    return float(jump.max()) / scale


def energy_roughness(energy: Any) -> float:
    """Largest distance of a point from the cubic through its four neighbours, for an even scan without a reference.

    Args:
        energy: [K] eV at equal spacing, K >= 5.

    Returns:
        eV, at least 0, best 0; 2/3 of the height of a lone step.

    Example:
        >>> x = np.linspace(-1, 1, 21)
        >>> energy_roughness(x**3) < 1e-12, round(energy_roughness(x**3 + 0.3 * (x > 0.45)), 3)
        (True, 0.15)
    """
    e = checked("energy", energy, "K").astype(np.float64)
    at_least("energy", len(e), 5, "points")
    cubic = (4.0 * (e[1:-3] + e[3:-1]) - e[:-4] - e[4:]) / 6.0
    return float(np.abs(e[2:-2] - cubic).max())


def bond_projected_force(forces: Any, positions: Any, bond: tuple[int, int], fragment: Any) -> np.ndarray:
    """Force along a bond when both fragments move rigidly by half of its change: -dE/da.

    Args:
        forces: [K, N, 3] eV/Å.
        positions: [K, N, 3] Å.
        bond: the two atoms (i, j).
        fragment: [N] two labels; i and j carry different ones.

    Returns:
        [K] eV/Å, positive where the bond is pushed apart.

    Example:
        >>> x = [[[0.0, 0, 0], [0, 0, 1.0]]]
        >>> bond_projected_force([[[0.0, 0, -2.0], [0, 0, 2.0]]], x, (0, 1), [0, 1])
        array([2.])
    """
    sizes: dict[str, int] = {}
    f = checked("forces", forces, "K N 3", sizes).astype(np.float64)
    x = checked("positions", positions, "K N 3", sizes).astype(np.float64)
    labels = np.asarray(fragment)
    i, j = bond
    if labels.shape != (sizes["N"],) or labels[i] == labels[j] or len(np.unique(labels)) != 2:
        raise ValueError("fragment must have one of two labels per atom, different for the two atoms of the bond")
    axis = x[:, j] - x[:, i]
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    along = np.einsum("knc,kc->kn", f, axis)
    return 0.5 * (along[:, labels == labels[j]].sum(axis=1) - along[:, labels == labels[i]].sum(axis=1))


def count_sign_flips(bond_force: Any, equilibrium: int, *, threshold: float = 1e-2) -> tuple[int, int]:
    """Sign changes of the bond-projected force on each branch of a scan in order of bond length.

    Args:
        bond_force: [K] eV/Å (`bond_projected_force`), by increasing bond length.
        equilibrium: index of the energy minimum.
        threshold: eV/Å, smaller forces have no sign.

    Returns:
        (compressed, stretched): whole numbers, best (0, 0). The one change at equilibrium belongs to neither branch.

    Example:
        >>> count_sign_flips([3.0, 1.0, 0.0, -1.0, 0.5, -1.0], 2)
        (0, 2)
    """
    f = checked("bond_force", bond_force, "K")
    if not 0 <= equilibrium < len(f):
        raise ValueError(f"equilibrium must lie between 0 and {len(f) - 1}, got {equilibrium}")
    counts = []
    for branch in (f[:equilibrium], f[equilibrium + 1 :]):
        signs = np.sign(branch[np.abs(branch) > threshold])
        counts.append(int((signs[1:] != signs[:-1]).sum()))
    return counts[0], counts[1]


def bsct_lite(
    energy: Any, forces: Any, positions: Any, bond: tuple[int, int], fragment: Any, *, threshold: float = 1e-3
) -> BsctLite:
    """Reference-free checks of one rigid bond scan of any molecule, by increasing bond length.

    Args:
        energy: [K] eV of the model, at least 5 even steps.
        forces: [K, N, 3] eV/Å of the model.
        positions: [K, N, 3] Å of the scan.
        bond: the two atoms (i, j) whose distance is scanned.
        fragment: [N] two labels, as in `bond_projected_force`.
        threshold: eV, smaller wiggles of the energy are ignored.

    Returns:
        `BsctLite(spurious_extrema, energy_roughness, conservativeness, sign_flips)`, all best 0.

    Source: this benchmark, after Liu et al., arXiv:2602.04861.

    Example:
        >>> a = np.linspace(0.8, 1.6, 81)
        >>> x = np.zeros((81, 2, 3)); x[:, 1, 0] = a / 2; x[:, 0, 0] = -a / 2
        >>> f = np.zeros((81, 2, 3)); f[:, 1, 0] = -20 * (a - 1.2); f[:, 0, 0] = -f[:, 1, 0]
        >>> lite = bsct_lite(10 * (a - 1.2) ** 2, f, x, (0, 1), [0, 1])
        >>> lite.spurious_extrema, round(lite.conservativeness, 9), lite.sign_flips
        (0, 0.0, 0)
    """
    from ffbench_metrics.conservation import conservativeness

    roughness = energy_roughness(energy)
    lowest = int(np.argmin(np.asarray(energy)))
    flips = count_sign_flips(bond_projected_force(forces, positions, bond, fragment), lowest)
    return BsctLite(
        count_spurious_extrema(energy, threshold=threshold),
        roughness,
        conservativeness(energy, forces, positions, start=lowest),
        sum(flips),
    )
