"""Counts of interatomic distances per bin: the one kernel behind h(r), g(r) and the sliding-window stability.

Layout: planes [3, atoms, frames], so that one subtraction works on contiguous rows of many frames. Nearest images are
worked in float32 for speed; the few distances within a rounding error of a bin edge are then worked again in float64,
so that the counts are those of float64.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ffbench_metrics._check import at_least, checked, index, positive, whole

_ELEMENTS = 32_768  # distances worked on at once: the buffers stay in the cache
_EDGE = 1e-9  # in bins: distances on an edge, as in crystals, belong to the bin above in spite of rounding errors
_FLUSH = 1 << 18  # bin numbers gathered before they are counted per frame


def distance_counts(positions: Any, *, r_max: float = 10.0, bins: int = 500, r_min: float = 0.0) -> np.ndarray:
    """Count the interatomic distances of every frame of an open (non-periodic) system.

    Args:
        positions: [T, N, 3] Å.
        r_max: upper end of the histogram, Å; longer distances are not counted.
        bins: number of equal bins between r_min and r_max.
        r_min: lower end of the histogram, Å.

    Returns:
        [T, bins] int32, each of the N(N-1)/2 pairs counted once. Counts add up: store them per block, pool them later
        (`distance_histogram_from_counts`).

    Example:
        >>> distance_counts([[[0, 0, 0], [0, 0, 1.5]]], r_max=2.0, bins=4)
        array([[0, 0, 0, 1]], dtype=int32)
    """
    positions = checked("positions", positions, "T N 3")
    at_least("positions", positions.shape[1], 2, "atoms")
    return np.concatenate(list(open_chunks(positions, r_min, r_max, bins, per_frame=True)))


def pair_distance_counts(
    positions: Any,
    cell: Any,
    *,
    index_a: Any = None,
    index_b: Any = None,
    r_max: float = 6.0,
    bins: int = 500,
    r_min: float = 0.0,
    nearest_image: bool = False,
) -> np.ndarray:
    """Count the distances between two groups of atoms in every frame of a periodic system.

    Args:
        positions: [T, N, 3] Å, wrapped or not.
        cell: [3, 3] or [T, 3, 3] Å, rows are lattice vectors; any shape of cell.
        index_a, index_b: atoms of the two groups (indices or masks). Both None: all atoms; index_b None: the same as
            index_a. Equal groups count each pair once, different groups count a x b without i = i.
        r_max: upper end of the histogram, Å. Beyond half of the cell further images are counted too.
        bins: number of equal bins between r_min and r_max.
        r_min: lower end of the histogram, Å.
        nearest_image: count the nearest image of a pair only (by wrapping fractional coordinates).

    Returns:
        [T, bins] int32. Counts add up over frames: turn a sum into g(r) with `rdf_from_counts`. An atom is never paired
        with its own images.

    Example:
        >>> pair_distance_counts([[[0.0, 0, 0], [0, 0, 9.0]]], 10 * np.eye(3), r_max=2.0, bins=4)
        array([[0, 0, 1, 0]], dtype=int32)
    """
    positions, cell, a, b = _periodic_input(positions, cell, index_a, index_b)
    chunks = periodic_chunks(positions, cell, a, b, r_min, r_max, bins, nearest_image=nearest_image, per_frame=True)
    return np.concatenate(list(chunks))


def number_of_pairs(n_atoms: int, index_a: Any = None, index_b: Any = None) -> int:
    """Number of pairs that `pair_distance_counts` looks at in one frame.

    Example:
        >>> number_of_pairs(192, range(0, 192, 3)), number_of_pairs(6, [0, 3], [1, 2, 4, 5])
        (2016, 8)
    """
    a, b = groups(n_atoms, index_a, index_b)
    return len(a) * (len(a) - 1) // 2 if b is None else len(a) * len(b) - len(np.intersect1d(a, b))


def groups(n_atoms: int, index_a: Any, index_b: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Check two groups of atoms; the second is None where both are the same group."""
    if index_a is None and index_b is not None:
        raise ValueError("index_a is missing while index_b is given; name both groups, or index_a alone")
    a = index("index_a", _listed(index_a), n_atoms)
    b = None if index_b is None else index("index_b", _listed(index_b), n_atoms)
    if b is not None and len(a) == len(b) and np.array_equal(np.sort(a), np.sort(b)):
        b = None
    if b is None:
        at_least("positions" if index_a is None else "index_a", len(a), 2, "atoms")
    return a, b


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, range) else value


def _periodic_input(positions: Any, cell: Any, index_a: Any, index_b: Any) -> tuple:
    sizes: dict[str, int] = {}
    positions = checked("positions", positions, "T N 3", sizes)
    a, b = groups(positions.shape[1], index_a, index_b)
    return positions, checked_cell(cell, sizes), a, b


def checked_cell(cell: Any, sizes: dict[str, int]) -> np.ndarray:
    """Check a cell [3, 3] or [T, 3, 3]; return [1, 3, 3] or [T, 3, 3] in float64."""
    array = checked("cell", cell, "3 3" if np.ndim(cell) == 2 else "T 3 3", sizes).astype(np.float64)
    array = array.reshape(-1, 3, 3)
    if not (np.abs(np.linalg.det(array)) > 1e-9).all():
        raise ValueError("cell has no volume (rows must be three independent lattice vectors in Å)")
    return array


def open_chunks(
    positions: np.ndarray, r_min: float, r_max: float, bins: int, *, per_frame: bool
) -> Iterator[np.ndarray]:
    """Yield counts per frame [C, bins], or the sum [bins] of a chunk of frames, of an open system."""
    n = positions.shape[1]
    histogram = _Histogram(r_min, r_max, bins, per_frame)
    for chunk in _frames(positions, n, per_frame):
        planes = chunk.transpose(2, 1, 0).astype(np.float64, order="C")
        histogram.start(planes.shape[2])
        difference, square = np.empty((2, n, planes.shape[2]))
        for i in range(n - 1):
            rows = n - 1 - i
            d, d2 = difference[:rows], square[:rows]
            for axis in range(3):
                np.subtract(planes[axis, i + 1 :], planes[axis, i], out=d)
                _add_square(d, d2, first=axis == 0)
            histogram.add(np.sqrt(d2, out=d2))
        yield histogram.finish()


def periodic_chunks(
    positions: np.ndarray,
    cell: np.ndarray,
    a: np.ndarray,
    b: np.ndarray | None,
    r_min: float,
    r_max: float,
    bins: int,
    *,
    nearest_image: bool,
    per_frame: bool,
) -> Iterator[np.ndarray]:
    """Yield counts per frame [C, bins], or the sum [bins] of a chunk of frames, of a periodic system."""
    if b is not None and len(a) > len(b):
        a, b = b, a  # the loop runs over a, the vector operations over b
    # a Cholesky factor of the metric is the same cell, rotated so that it is lower triangular with a positive diagonal
    lower = np.linalg.cholesky(cell @ cell.transpose(0, 2, 1))
    inverse = np.linalg.inv(cell)
    reach = float(r_max) * np.linalg.norm(inverse, axis=1).max(
        axis=0
    )  # r_max in units of the widths between cell faces
    images = np.zeros(3, int) if nearest_image else np.floor(reach + 0.5).astype(int)
    histogram = _Histogram(r_min, r_max, bins, per_frame)
    start = 0
    for chunk in _frames(positions, len(a) if b is None else len(b), per_frame):
        frames = slice(start, start + len(chunk)) if len(cell) > 1 else slice(None)
        start += len(chunk)
        edges = lower[frames].transpose(1, 2, 0)  # [3, 3, C] or [3, 3, 1]
        skew = np.abs(edges[np.tril_indices(3, -1)]).max() / edges.max()
        planes_a = _fractional(chunk[:, a], inverse[frames])
        planes_b = planes_a if b is None else _fractional(chunk[:, b], inverse[frames])
        histogram.start(planes_b.shape[2])
        rows = [np.flatnonzero(b != atom) for atom in a] if b is not None and np.isin(a, b).any() else None
        if images.any():
            _count_all_images(planes_a, planes_b, b is None, rows, edges, skew, images, reach, histogram)
        else:
            _count_nearest(planes_a, planes_b, b is None, rows, edges, skew, histogram)
        yield histogram.finish()


def _count_nearest(
    planes_a: np.ndarray,
    planes_b: np.ndarray,
    same: bool,
    rows: list[np.ndarray] | None,
    edges: np.ndarray,
    skew: float,
    histogram: "_Histogram",
) -> None:
    """Count the nearest images of one chunk of frames.

    Fractional coordinates as 32-bit integers in units of cell / 2^32: differences wrap to the nearest image by
    themselves.
    """
    fixed_a = _fixed_point(planes_a)
    fixed_b = fixed_a if same else _fixed_point(planes_b)
    shape = planes_b.shape[1:]
    integer = np.empty(shape, np.int32)
    f = np.empty((3, *shape), np.float32)
    work, square = np.empty((2, *shape), np.float32)
    units = (edges * (histogram.scale * 2.0**-32)).astype(np.float32)
    doubt = np.float32(16 * 2.0**-24 * histogram.scale * np.abs(edges).sum(axis=0).max())
    cubic = skew <= 1e-7 and units.shape[2] == 1 and bool(np.ptp(units[[0, 1, 2], [0, 1, 2]]) == 0)
    doubtful = []
    for i in range(len(planes_a[0]) - same):
        others = fixed_b[:, i + 1 :] if same else fixed_b if rows is None else fixed_b[:, rows[i]]
        m = others.shape[1]
        for axis in range(3):
            np.subtract(others[axis], fixed_a[axis, i], out=integer[:m])
            np.copyto(f[axis, :m], integer[:m])
        # a skew below 1e-7 is less than the doubt; the exact lengths below have it
        if cubic:
            place = _cubic_lengths(f[:, :m], units[0, 0, 0], square[:m])
        else:
            place = _lengths(f[:, :m], units, skew > 1e-7, work[:m], square[:m])
        if histogram.r_min:
            place -= np.float32(histogram.r_min * histogram.scale)
        gap = np.subtract(place, np.rint(place, out=work[:m]), out=work[:m])
        near = np.flatnonzero(np.abs(gap, out=gap) < doubt)
        doubtful.append((np.full(len(near), i), near, histogram.add_places(place, near)))
    first, near, counted = (np.concatenate(part) for part in zip(*doubtful))
    row, frame = np.divmod(near, shape[1])
    if same:
        row += first + 1
    elif rows is not None:
        row = np.array([rows[i][r] for i, r in zip(first, row)], dtype=np.intp)
    vectors = planes_b[:, row, frame] - planes_a[:, first, frame]
    vectors -= np.rint(vectors)
    exact_edges = edges if edges.shape[2] == 1 else edges[:, :, frame]
    lengths = _lengths(vectors, exact_edges, skew > 0, np.empty(len(row)), np.empty(len(row)))
    histogram.move(counted, histogram.bins_of(lengths), frame)


def _count_all_images(
    planes_a: np.ndarray,
    planes_b: np.ndarray,
    same: bool,
    rows: list[np.ndarray] | None,
    edges: np.ndarray,
    skew: float,
    images: np.ndarray,
    reach: np.ndarray,
    histogram: "_Histogram",
) -> None:
    """Count every image within reach, in float64, for one chunk of frames."""
    for i in range(len(planes_a[0]) - same):
        others = planes_b[:, i + 1 :] if same else planes_b if rows is None else planes_b[:, rows[i]]
        f = others - planes_a[:, i, None]
        f -= np.rint(f)
        vectors, frame = _all_images(f, images, reach)
        per_pair = edges if edges.shape[2] == 1 else edges[:, :, frame]
        size = vectors.shape[1]
        histogram.add(_lengths(vectors, per_pair, skew > 0, np.empty(size), np.empty(size)), frame)


def _frames(positions: np.ndarray, rows: int, per_frame: bool) -> Iterator[np.ndarray]:
    # counts per frame spread over many more bins, which must stay in the cache too
    size = max(1, _ELEMENTS // (3 * rows if per_frame else rows))
    for start in range(0, len(positions), size):
        yield positions[start : start + size]


def _fractional(positions: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Fractional coordinates within [0, 1] as planes [3, atoms, frames]."""
    fractional = positions @ inverse
    fractional -= np.floor(fractional)
    return np.ascontiguousarray(fractional.transpose(2, 1, 0))


def _fixed_point(planes: np.ndarray) -> np.ndarray:
    """Fractional coordinates modulo 1 as int32 in units of 2^-32."""
    return (planes * 2.0**32).astype(np.int64).astype(np.uint32).view(np.int32)


def _add_square(d: np.ndarray, d2: np.ndarray, *, first: bool) -> None:
    if first:
        np.multiply(d, d, out=d2)
    else:
        np.multiply(d, d, out=d)
        np.add(d2, d, out=d2)


def _lengths(f: np.ndarray, edges: np.ndarray, skew: bool, work: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Lengths of fractional vectors f [3, ...] in a lower triangular cell [3, 3, ...]."""
    for axis in range(3):
        np.multiply(f[axis], edges[axis, axis], out=work)
        if skew:
            for k in range(axis + 1, 3):
                np.add(work, f[k] * edges[k, axis], out=work)
        _add_square(work, square, first=axis == 0)
    return np.sqrt(square, out=square)


def _cubic_lengths(f: np.ndarray, edge: np.floating, square: np.ndarray) -> np.ndarray:
    """Lengths of fractional vectors f [3, ...] (overwritten) in a cubic cell, in fewer passes."""
    np.multiply(f, f, out=f)
    np.add(f[0], f[1], out=square)
    np.add(square, f[2], out=square)
    np.sqrt(square, out=square)
    return np.multiply(square, edge, out=square)


def _all_images(f: np.ndarray, images: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every image within reach of wrapped fractional vectors f [3, rows, C]: vectors [3, M] and their frame [M]."""
    frame = np.tile(np.arange(f.shape[2]), f.shape[1])
    vectors = f.reshape(3, -1)
    for axis in range(3):
        if images[axis] == 0:
            continue
        kept = []
        for n in range(-images[axis], images[axis] + 1):
            at = np.flatnonzero(np.abs(vectors[axis] + n) <= reach[axis])
            part = vectors[:, at]
            part[axis] += n
            kept.append((part, frame[at]))
        vectors = np.concatenate([part for part, _ in kept], axis=1)
        frame = np.concatenate([at for _, at in kept])
    return vectors, frame


class _Histogram:
    """Counts lengths into bins, in total or per frame; the bin after the last one collects what lies outside."""

    def __init__(self, r_min: float, r_max: float, bins: int, per_frame: bool) -> None:
        self.bins = whole("bins", bins)
        self.r_min = float(r_min)
        if not 0.0 <= self.r_min < positive("r_max", r_max):
            raise ValueError(f"r_min must lie between 0 and r_max={r_max}, got {r_min}")
        self.scale = self.bins / (float(r_max) - self.r_min)
        self.per_frame = per_frame

    def start(self, frames: int) -> None:
        self.frames = frames
        self.width = (self.bins + 1) * frames if self.per_frame else self.bins + 1
        self.offset = np.arange(frames) * (self.bins + 1)
        self.counts = np.zeros(self.width, np.int64)
        self.waiting: list[np.ndarray] = []
        self.number_waiting = 0

    def bins_of(self, lengths: np.ndarray) -> np.ndarray:
        """Bin number of each length (overwritten)."""
        if self.r_min:
            lengths = np.where(lengths < self.r_min, np.inf, lengths - self.r_min)
        np.multiply(lengths, self.scale, out=lengths)
        np.add(lengths, _EDGE, out=lengths)
        return np.minimum(lengths, self.bins, out=lengths).astype(np.intp)

    def add(self, lengths: np.ndarray, frame: np.ndarray | None = None) -> None:
        """Count lengths [..., C] of consecutive frames, or [M] with the frame of each; they are overwritten."""
        self._queue(self.bins_of(lengths), frame)

    def add_places(self, place: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Count lengths [..., C] given in bins from r_min (overwritten); return the bins of those at `near`."""
        if self.r_min:
            np.copyto(place, self.bins, where=place < 0)
        where = np.minimum(place, np.float32(self.bins), out=place).astype(np.intp)
        counted = where.ravel()[near]
        self._queue(where, None)
        return counted

    def move(self, old: np.ndarray, new: np.ndarray, frame: np.ndarray) -> None:
        """Take counts from old bins and give them to new ones."""
        self._flush()
        at = np.flatnonzero(old != new)
        offset = self.offset[frame[at]] if self.per_frame else 0
        np.subtract.at(self.counts, old[at] + offset, 1)
        np.add.at(self.counts, new[at] + offset, 1)

    def _queue(self, where: np.ndarray, frame: np.ndarray | None) -> None:
        if self.per_frame:
            where += self.offset if frame is None else self.offset[frame]
        self.waiting.append(where.ravel())
        self.number_waiting += where.size
        if not self.per_frame or self.number_waiting > max(_FLUSH, self.width):
            self._flush()

    def _flush(self) -> None:
        for where in self.waiting if not self.per_frame else [np.concatenate(self.waiting)] if self.waiting else []:
            self.counts += np.bincount(where, minlength=self.width)
        self.waiting, self.number_waiting = [], 0

    def finish(self) -> np.ndarray:
        self._flush()
        if not self.per_frame:
            return self.counts[: self.bins]
        return self.counts.reshape(self.frames, self.bins + 1)[:, : self.bins].astype(np.int32)
