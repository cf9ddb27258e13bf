"""When does a simulation fall apart? Criteria on saved frames, each giving the first failing frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ffbench_metrics._check import at_least, checked, index, positive, real, whole
from ffbench_metrics.pairs import number_of_pairs, pair_distance_counts
from ffbench_metrics.structure import nearest_image, rdf_from_counts


@dataclass(frozen=True)
class Stability:
    """Outcome of a stability criterion.

    first_failure: first failing frame, None when no frame fails (a censored time).
    frames: number of frames looked at.
    deviation: [m] the watched quantity; frame: [m] the frame each value belongs to.
    """

    first_failure: int | None
    frames: int
    deviation: np.ndarray
    frame: np.ndarray

    @property
    def failed(self) -> bool:
        """Whether any frame failed."""
        return self.first_failure is not None

    @property
    def stable_frames(self) -> int:
        """Number of frames before the failure: observables use these and no others."""
        return self.frames if self.first_failure is None else self.first_failure


def bond_stability(
    positions: Any, bonds: Any, reference_lengths: Any, *, tolerance: float = 0.5, cell: Any = None
) -> Stability:
    """Stability of molecules: the first frame where a bond is off its reference length by more than the tolerance.

    Args:
        positions: [T, N, 3] Å; a frame with NaN or infinite positions fails.
        bonds: [M, 2] atom indices, from the reference structure and never from the simulation.
        reference_lengths: [M] Å, mean lengths over the reference data.
        tolerance: Å.
        cell: [3, 3] or [T, 3, 3] Å for nearest images, or None for open boundaries.

    Returns:
        `Stability`; `deviation` [T] is the largest |d - b| per frame in Å (infinite for a frame that is not finite).

    Source: Fu et al., TMLR 2023, section 4 (0.5 Å).

    Example:
        >>> result = bond_stability([[[0, 0, 0], [0, 0, 1.1]], [[0, 0, 0], [0, 0, 1.7]]], [[0, 1]], [1.1])
        >>> result.failed, result.first_failure, result.stable_frames
        (True, 1, 1)
    """
    sizes: dict[str, int] = {}
    positions = checked("positions", positions, "T N 3", sizes, finite=False)
    pairs = np.asarray(bonds)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) == 0 or not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(f"bonds must be whole numbers of shape [M, 2] with M >= 1, got shape {list(pairs.shape)}")
    if pairs.min() < 0 or pairs.max() >= positions.shape[1]:
        raise ValueError(f"bonds must hold atom indices from 0 to {positions.shape[1] - 1}")
    lengths = checked("reference_lengths", reference_lengths, "M", {"M": len(pairs)})
    finite = np.isfinite(positions).all(axis=(1, 2))
    deviation = np.full(len(positions), np.inf)
    vectors = positions[finite][:, pairs[:, 1]].astype(np.float64) - positions[finite][:, pairs[:, 0]]
    if cell is not None and finite.any():
        vectors = nearest_image(vectors, _cells_of(cell, finite))
    if finite.any():
        deviation[finite] = np.abs(np.linalg.norm(vectors, axis=-1) - lengths).max(axis=1)
    return _first(deviation, deviation > positive("tolerance", tolerance), np.arange(len(positions)), len(positions))


def _cells_of(cell: Any, frames: np.ndarray) -> Any:
    """The cells of some frames (a mask [T]), where there is one each; a frame that is left out may have none."""
    if np.ndim(cell) != 3:
        return cell
    if len(cell) != len(frames):
        raise ValueError(f"cell has {len(cell)} frames, positions have {len(frames)}; give one cell, or one per frame")
    return np.asarray(cell)[frames]


def rdf_stability(
    positions: Any,
    cell: Any,
    reference: Any,
    *,
    pairs: Mapping[str, tuple[Any, Any]] | None = None,
    window: int = 10,
    tolerance: float = 3.0,
    r_max: float = 6.0,
) -> Stability:
    """Stability of condensed phases: the first sliding window whose g(r) is too far off the reference.

    Args:
        positions: [T, N, 3] Å; the first frame with NaN or infinite positions fails.
        cell: [3, 3] or [T, 3, 3] Å.
        reference: [bins] reference g(r), or a mapping from pair name to [bins].
        pairs: mapping from pair name to (index_a, index_b) as in `rdf`; None: one g(r) of all atoms.
        window: frames per window (1 ps: 10 frames of 0.1 ps). A window counts at its last frame.
        tolerance: Å, on the `rdf_error` of any pair (water 3.0, LiPS 1.0).
        r_max: upper end of the reference, Å.

    Returns:
        `Stability`; `deviation` [T - window + 1] is the largest error over the pairs per window, Å.

    Raises:
        ValueError: fewer frames than one window, names in `pairs` and `reference` that differ.

    Source: Fu et al., TMLR 2023, section 4.

    Example:
        >>> x = np.random.default_rng(0).uniform(0, 10, (30, 40, 3))
        >>> x[20:] *= 0.3  # collapse
        >>> rdf_stability(x, 10 * np.eye(3), np.ones(10), r_max=5.0, window=5).first_failure
        20
    """
    positions = checked("positions", positions, "T N 3", finite=False)
    references = reference if isinstance(reference, Mapping) else {"all": reference}
    groups = {"all": (None, None)} if pairs is None else pairs
    if set(groups) != set(references):
        raise ValueError(
            f"pairs name {sorted(groups)} but reference names {sorted(references)}; give both the same names"
        )
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=(1, 2)))
    usable = int(bad[0]) if len(bad) else len(positions)
    width = whole("window", window)
    if usable < width and len(bad) == 0:
        raise ValueError(f"positions has {len(positions)} frames, fewer than one window of {width}; shorten window")
    worst = np.zeros(0)
    if usable >= width:
        cells = _cells_of(cell, np.arange(len(positions)) < usable)
        # a window's density is the mean of its frames' densities, as in rdf
        density = np.broadcast_to(1.0 / np.abs(np.linalg.det(np.asarray(cells, dtype=float))), (usable,))
        window_density = _window_sums(density[:, None], width)[:, 0] / width
        for name, (a, b) in groups.items():
            g_ref = checked(f"reference[{name!r}]", references[name], "bins")
            n_pairs = number_of_pairs(positions.shape[1], a, b)
            counts = pair_distance_counts(positions[:usable], cells, index_a=a, index_b=b, r_max=r_max, bins=len(g_ref))
            errors = rdf_window_errors(
                counts, g_ref, window=width, volume=1.0 / window_density, pairs=n_pairs, r_max=r_max
            )
            worst = errors if worst.size == 0 else np.maximum(worst, errors)
    frame = np.arange(width - 1, width - 1 + len(worst))
    result = _first(worst, worst > positive("tolerance", tolerance), frame, len(positions))
    if result.first_failure is None and len(bad):
        return Stability(usable, len(positions), worst, frame)
    return result


def rdf_window_errors(
    counts: Any, reference: Any, *, window: int, volume: Any, pairs: int, r_max: float = 6.0
) -> np.ndarray:
    """Errors of g(r) over every sliding window, from counts per frame: cumulative sums, nothing recomputed.

    Args:
        counts: [T, bins] of `pair_distance_counts`.
        reference: [bins] reference g(r).
        window: frames per window.
        volume: Å^3, a number or [T - window + 1].
        pairs: pairs per frame (`number_of_pairs`).
        r_max: Å.

    Returns:
        [T - window + 1] `rdf_error` of each window, Å; entry k belongs to the window that ends at frame k + window - 1.

    Example:
        >>> rdf_window_errors([[1], [1], [3]], [1.0], window=2, volume=4 / 3 * np.pi * 8, pairs=1, r_max=2.0)
        array([0., 2.])
    """
    sizes: dict[str, int] = {}
    counts = real("counts", counts)
    if counts.ndim != 2 or counts.size == 0:
        raise ValueError(f"counts must have shape [T, bins], got {list(counts.shape)}")
    sizes["bins"] = counts.shape[1]
    g_ref = checked("reference", reference, "bins", sizes).astype(np.float64)
    width = whole("window", window)
    at_least("counts", len(counts), width, "frames")
    _, unit = rdf_from_counts(np.ones(counts.shape[1]), width, volume=1.0, pairs=pairs, r_max=r_max)
    volume = np.broadcast_to(np.asarray(volume, dtype=float), (len(counts) - width + 1,))
    errors = np.empty(len(volume))
    step = max(1, 1_000_000 // counts.shape[1])  # bounded memory for long runs
    for start in range(0, len(errors), step):
        stop = min(start + step, len(errors))
        sums = _window_sums(counts[start : stop + width - 1], width)
        g = sums * unit
        g *= volume[start:stop, None]
        g -= g_ref
        errors[start:stop] = np.abs(g, out=g).sum(axis=1) * (r_max / counts.shape[1])
    return errors


def limit_stability(values: Any, *, low: float, high: float) -> Stability:
    """First frame where a scalar (temperature, energy per atom) leaves [low, high] or is not finite.

    Args:
        values: [T] in any unit.
        low, high: limits in that unit (MDsim stops outside 0.1 to 1e5 K).

    Returns:
        `Stability`; `deviation` [T] is how far the value lies outside (infinite where it is not finite).

    Example:
        >>> limit_stability([300.0, 310.0, 2000.0], low=100.0, high=1000.0).first_failure
        2
    """
    values = checked("values", values, "T", finite=False).astype(np.float64)
    if not low < high:
        raise ValueError(f"low={low} must lie below high={high}")
    finite = np.isfinite(values)
    inside = np.where(finite, values, low)
    outside = np.where(finite, np.maximum(np.maximum(low - inside, inside - high), 0.0), np.inf)
    return _first(outside, outside > 0, np.arange(len(values)), len(values))


def energy_stability(energy: Any, n_atoms: int, *, tolerance: float = 1.0) -> Stability:
    """First frame whose energy is off the first frame's by more than the tolerance per atom, or is not finite.

    Args:
        energy: [T] eV; the first must be finite.
        n_atoms: number of atoms.
        tolerance: eV/atom.

    Returns:
        `Stability`; `deviation` [T] is |E - E_0| / N in eV/atom.

    Example:
        >>> energy_stability([0.0, 0.1, -30.0], 10).first_failure
        2
    """
    energy = checked("energy", energy, "T", finite=False).astype(np.float64)
    if not np.isfinite(energy[0]):
        raise ValueError("energy[0] is NaN or infinite; there is nothing to compare with")
    finite = np.isfinite(energy)
    deviation = np.where(finite, np.abs(np.where(finite, energy, 0.0) - energy[0]) / whole("n_atoms", n_atoms), np.inf)
    return _first(deviation, deviation > positive("tolerance", tolerance), np.arange(len(energy)), len(energy))


def reference_bond_lengths(positions: Any, bonds: Any, *, cell: Any = None) -> np.ndarray:
    """Mean length [M] Å of each bond over reference frames, for `bond_stability`.

    Example:
        >>> reference_bond_lengths([[[0, 0, 0], [0, 0, 1.0]], [[0, 0, 0], [0, 0, 1.2]]], [[0, 1]])
        array([1.1])
    """
    positions = checked("positions", positions, "T N 3").astype(np.float64)
    pairs = np.asarray(bonds)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) == 0:
        raise ValueError(f"bonds must have shape [M, 2] with M >= 1, got {list(pairs.shape)}")
    index("bonds", np.unique(pairs), positions.shape[1])
    vectors = positions[:, pairs[:, 1]] - positions[:, pairs[:, 0]]
    if cell is not None:
        vectors = nearest_image(vectors, cell)
    return np.linalg.norm(vectors, axis=-1).mean(axis=0)


def _window_sums(values: np.ndarray, width: int) -> np.ndarray:
    total = np.cumsum(values, axis=0, dtype=np.float64)
    sums = total[width - 1 :].copy()
    sums[1:] -= total[:-width]
    return sums


def _first(deviation: np.ndarray, failing: np.ndarray, frame: np.ndarray, frames: int) -> Stability:
    at = np.flatnonzero(failing)
    return Stability(int(frame[at[0]]) if len(at) else None, frames, deviation, frame)
