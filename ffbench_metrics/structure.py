"""Structure of a trajectory: distance histogram h(r), pair distribution g(r), coordination, angles, dihedrals."""

from typing import Any

import numpy as np

from ffbench_metrics._check import at_least, checked, choice, positive, real, whole
from ffbench_metrics.pairs import _periodic_input, groups, number_of_pairs, open_chunks, periodic_chunks

_NORMALIZATIONS = ("standard", "mdsim")
_MDSIM_R_MIN = 1e-6  # MDsim's first bin edge: drops the zero distance of an atom to itself


def distance_histogram(positions: Any, *, r_max: float = 10.0, bins: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Distribution h(r) of all interatomic distances of a molecule, averaged over frames.

    Args:
        positions: [T, N, 3] Å, open boundaries.
        r_max: upper end, Å.
        bins: number of bins.

    Returns:
        r [bins] (bin centres, Å) and h [bins] (1/Å, integrates to 1 over 0 to r_max; at least 0).

    Raises:
        ValueError: fewer than two atoms, or no distance below r_max.

    Source: Fu et al., "Forces are not Enough", TMLR 2023, section 4 (MD17).

    Example:
        >>> r, h = distance_histogram([[[0, 0, 0], [0, 0, 1.25]]], r_max=2.0, bins=4)
        >>> r, h
        (array([0.25, 0.75, 1.25, 1.75]), array([0., 0., 2., 0.]))
    """
    positions = checked("positions", positions, "T N 3")
    at_least("positions", positions.shape[1], 2, "atoms")
    counts = sum(open_chunks(positions, 0.0, r_max, bins, per_frame=False))
    return distance_histogram_from_counts(counts, r_max=r_max)


def distance_histogram_from_counts(counts: Any, *, r_max: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Turn summed (or mean) counts [bins] of `distance_counts` into r and h(r).

    Example:
        >>> distance_histogram_from_counts([0, 1, 3, 0], r_max=2.0)[1]
        array([0. , 0.5, 1.5, 0. ])
    """
    counts = checked("counts", counts, "bins").astype(np.float64)
    if counts.sum() <= 0:
        raise ValueError(f"counts hold no distance below r_max={r_max} Å; enlarge r_max or check the length unit")
    width = positive("r_max", r_max) / len(counts)
    return bin_centres(0.0, r_max, len(counts)), counts / (counts.sum() * width)


def rdf(
    positions: Any,
    cell: Any,
    *,
    index_a: Any = None,
    index_b: Any = None,
    r_max: float = 6.0,
    bins: int = 500,
    normalization: str = "standard",
) -> tuple[np.ndarray, np.ndarray]:
    """Pair distribution function g(r) of a periodic system, averaged over frames.

    Args:
        positions: [T, N, 3] Å, wrapped or not.
        cell: [3, 3] or [T, 3, 3] Å, rows are lattice vectors; triclinic cells too.
        index_a, index_b: atoms of the two groups (indices or masks): None and None all pairs, index_a alone the pairs
            inside a group, both the pairs between two groups.
        r_max: upper end, Å.
        bins: number of bins.
        normalization: "standard": per pair i != j, all images within r_max, so an ideal gas has g = 1 at every r.
            "mdsim": the published variant: i = i pairs counted in the density (plateau (N-1)/N), nearest image only,
            first bin edge at 1e-6 Å.

    Returns:
        r [bins] (bin centres, Å) and g [bins] (dimensionless, at least 0, 1 for an ideal gas).

    Raises:
        ValueError: shapes that do not fit, fewer than two atoms, a cell without volume.

    Source: Fu et al., "Forces are not Enough", TMLR 2023, section 4 (water, LiPS); Allen and Tildesley, section 2.6.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> r, g = rdf(rng.uniform(0, 10, (100, 50, 3)), 10 * np.eye(3), r_max=5.0, bins=5)
        >>> bool(abs(g[-1] - 1) < 0.02)
        True
    """
    choice("normalization", normalization, _NORMALIZATIONS)
    positions, cell, a, b = _periodic_input(positions, cell, index_a, index_b)
    mdsim = normalization == "mdsim"
    chunks = periodic_chunks(
        positions, cell, a, b, _MDSIM_R_MIN if mdsim else 0.0, r_max, bins, nearest_image=mdsim, per_frame=False
    )
    counts = sum(chunks)
    # the mean of 1/V, not 1/(mean V), makes the ideal gas 1 also where the cell breathes
    volume = 1.0 / np.mean(1.0 / np.abs(np.linalg.det(cell)))
    return rdf_from_counts(
        counts,
        len(positions),
        volume=volume,
        pairs=number_of_pairs(positions.shape[1], a, b),
        r_max=r_max,
        normalization=normalization,
        self_pairs=(len(a) if b is None else len(np.intersect1d(a, b))),
        same_group=b is None,
    )


def rdf_from_counts(
    counts: Any,
    frames: float,
    *,
    volume: float,
    pairs: int,
    r_max: float = 6.0,
    normalization: str = "standard",
    self_pairs: int = 0,
    same_group: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Turn counts summed over frames (`pair_distance_counts`) into r and g(r).

    Args:
        counts: [bins] or [..., bins], summed over `frames` frames (mean counts per block with frames per block do too).
        frames: number of frames behind each sum.
        volume: of the cell, Å^3.
        pairs: pairs per frame (`number_of_pairs`).
        r_max: upper end the counts were made with, Å.
        normalization: "standard" or "mdsim" (see `rdf`).
        self_pairs, same_group: for "mdsim" alone: atoms common to both groups and whether the groups are equal.

    Returns:
        r [bins] Å and g [..., bins].

    Example:
        >>> r, g = rdf_from_counts([0, 2, 6], frames=1, volume=1000.0, pairs=10, r_max=3.0)
        >>> g.round(2)
        array([0.  , 6.82, 7.54])
    """
    choice("normalization", normalization, _NORMALIZATIONS)
    counts = real("counts", counts).astype(np.float64)
    if counts.ndim == 0 or counts.size == 0:
        raise ValueError(f"counts must have shape [..., bins], got {list(counts.shape)}")
    positive("r_max", r_max)
    bins = counts.shape[-1]
    r_min = _MDSIM_R_MIN if normalization == "mdsim" else 0.0
    edges = np.linspace(r_min, r_max, bins + 1)
    shells = 4.0 / 3.0 * np.pi * (edges[1:] ** 3 - edges[:-1] ** 3)
    density_pairs = float(pairs)
    if normalization == "mdsim":
        density_pairs += self_pairs / 2 if same_group else self_pairs
    expected = positive("frames", frames) * positive("pairs", density_pairs) / positive("volume", volume) * shells
    return bin_centres(r_min, r_max, bins), counts / expected


def bin_centres(r_min: float, r_max: float, bins: int) -> np.ndarray:
    """Centres [bins] of equal bins between r_min and r_max."""
    edges = np.linspace(r_min, r_max, bins + 1)
    return 0.5 * (edges[1:] + edges[:-1])


def coordination_number(positions: Any, cell: Any, cutoff: float, *, index_a: Any = None, index_b: Any = None) -> float:
    """Mean number of atoms of group b within `cutoff` of an atom of group a, all images counted.

    Args:
        positions: [T, N, 3] Å.
        cell: [3, 3] or [T, 3, 3] Å.
        cutoff: Å.
        index_a, index_b: the two groups, as in `rdf`.

    Returns:
        Mean count, at least 0. It is the integral of g(r) times the density of b up to the cutoff.

    Example:
        >>> corners = [[[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0]]]  # FCC with an edge of 4 Å: 12 at 2.83 Å
        >>> grid = np.array([[i, j, k] for i in (0, 4) for j in (0, 4) for k in (0, 4)], float)
        >>> atoms = (np.array(corners)[:, :, None] + grid).reshape(1, -1, 3)
        >>> coordination_number(atoms, 8 * np.eye(3), 3.0)
        12.0
    """
    positions, cell, a, b = _periodic_input(positions, cell, index_a, index_b)
    chunks = periodic_chunks(positions, cell, a, b, 0.0, cutoff, 1, nearest_image=False, per_frame=False)
    total = float(sum(int(chunk[0]) for chunk in chunks))
    return total * (2.0 if b is None else 1.0) / (len(a) * len(positions))


def angle_histogram(
    positions: Any, triples: Any, *, bins: int = 180, cell: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distribution of the angles at the middle atom of triples, averaged over triples and frames.

    Args:
        positions: [T, N, 3] Å.
        triples: [M, 3] atom indices (i, j, k), the angle is at j.
        bins: number of bins from 0 to 180 degrees.
        cell: [3, 3] or [T, 3, 3] Å for nearest images, or None.

    Returns:
        angle [bins] (bin centres, degrees) and density [bins] (1/degree, integrates to 1).

    Example:
        >>> angle, p = angle_histogram([[[1.0, 0, 0], [0, 0, 0], [0, 1.0, 0]]], [[0, 1, 2]], bins=2)
        >>> p
        array([0.        , 0.01111111])
    """
    positions, triples = _tuples(positions, triples, "triples", 3)
    u = _difference(positions, triples[:, 1], triples[:, 0], cell)
    v = _difference(positions, triples[:, 1], triples[:, 2], cell)
    # atan2 keeps its digits near 0 and 180 degrees, arccos does not
    angle = np.degrees(np.arctan2(np.linalg.norm(np.cross(u, v), axis=-1), (u * v).sum(-1)))
    density, edges = np.histogram(angle, whole("bins", bins), (0.0, 180.0), density=True)
    return 0.5 * (edges[1:] + edges[:-1]), density


def dihedrals(positions: Any, quadruples: Any, *, cell: Any = None) -> np.ndarray:
    """Dihedral angles of quadruples of atoms in every frame.

    Args:
        positions: [T, N, 3] Å.
        quadruples: [M, 4] atom indices.
        cell: [3, 3] or [T, 3, 3] Å for nearest images, or None.

    Returns:
        [T, M] rad in [-pi, pi), IUPAC sign (positive clockwise looking along the middle bond).

    Example:
        >>> trans = [[[1.0, 1, 0], [0, 0, 0], [1.0, 0, 0], [0, -1.0, 0]]]
        >>> dihedrals(trans, [[0, 1, 2, 3]]).round(4)
        array([[-3.1416]])
    """
    positions, quadruples = _tuples(positions, quadruples, "quadruples", 4)
    b1 = _difference(positions, quadruples[:, 0], quadruples[:, 1], cell)
    b2 = _difference(positions, quadruples[:, 1], quadruples[:, 2], cell)
    b3 = _difference(positions, quadruples[:, 2], quadruples[:, 3], cell)
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    sine = (np.linalg.norm(b2, axis=-1)) * (b1 * n2).sum(-1)
    angle = np.arctan2(sine, (n1 * n2).sum(-1))
    return np.where(angle >= np.pi, -np.pi, angle)


def _tuples(positions: Any, tuples: Any, name: str, width: int) -> tuple[np.ndarray, np.ndarray]:
    positions = checked("positions", positions, "T N 3").astype(np.float64)
    array = np.asarray(tuples)
    if array.ndim != 2 or array.shape[1] != width or len(array) == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must be whole numbers of shape [M, {width}], got shape {list(array.shape)}")
    if array.min() < 0 or array.max() >= positions.shape[1]:
        raise ValueError(f"{name} must hold indices from 0 to {positions.shape[1] - 1}")
    return positions, array


def _difference(positions: np.ndarray, i: np.ndarray, j: np.ndarray, cell: Any) -> np.ndarray:
    """Vectors [T, M, 3] from atoms i to atoms j, to the nearest image where a cell is given."""
    vectors = positions[:, j] - positions[:, i]
    return vectors if cell is None else nearest_image(vectors, cell)


def nearest_image(vectors: np.ndarray, cell: Any) -> np.ndarray:
    """Vectors [T, M, 3] wrapped by fractional coordinates: exact up to half of the smallest width of the cell."""
    from ffbench_metrics.pairs import checked_cell

    array = checked_cell(cell, {"T": len(vectors)} if np.ndim(cell) == 3 else {})
    return vectors - np.round(vectors @ np.linalg.inv(array)) @ array


__all__ = [
    "angle_histogram",
    "coordination_number",
    "dihedrals",
    "distance_histogram",
    "distance_histogram_from_counts",
    "groups",
    "rdf",
    "rdf_from_counts",
]
