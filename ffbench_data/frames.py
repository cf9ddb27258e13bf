"""`Frames`: labelled structures as flat numpy columns, sliced without copying; `collate` makes a torch batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from ase import Atoms

    from .contract import AtomsBatch, Prediction


@dataclass(frozen=True)
class Frame:
    """One labelled structure; arrays are views. Units: Angstrom, eV, eV/Angstrom, fs."""

    atomic_numbers: np.ndarray  # [N]
    positions: np.ndarray  # [N, 3]
    cell: np.ndarray  # [3, 3]
    pbc: np.ndarray  # [3]
    energy: float
    forces: np.ndarray  # [N, 3]
    charge: int = 0
    spin_multiplicity: int = 1  # 2S+1

    def to_ase(self) -> Atoms:
        """An `ase.Atoms` with the labels in a single-point calculator; charge and spin (2S+1) in ``info``."""
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator

        atoms = Atoms(self.atomic_numbers, self.positions, cell=self.cell, pbc=self.pbc)
        atoms.info |= {"charge": self.charge, "spin": self.spin_multiplicity}
        atoms.calc = SinglePointCalculator(atoms, energy=self.energy, forces=self.forces.astype(float))
        return atoms


WIDE = {"atomic_numbers": np.int64, "forces": np.float64}  # what a torch batch needs, cast while copying


class Frames:
    """A column view of an Arrow table with the columns of `ffbench_data.schema`.

    ``frames[i]`` is a `Frame`; ``frames[a:b]`` or ``frames[indices]`` are `Frames`. Columns: ``atomic_numbers`` [A],
    ``positions`` [A, 3], ``forces`` [A, 3], ``offsets`` [T + 1], ``energy`` [T], ``cell`` [T, 3, 3], ``pbc`` [T, 3],
    ``time_fs`` [T] (NaN where unknown), ``charge`` [T] and ``spin_multiplicity`` [T] (2S+1).

    >>> from ffbench_data.load import load_frames
    >>> frames = load_frames("ethanol_gfn2", split="test")
    >>> frames[3].forces.shape, len(frames[:10]), frames[[4, 2]].n_atoms.tolist()
    ((9, 3), 10, [9, 9])
    """

    def __init__(self, table: pa.Table):
        self.table = table
        self.offsets, self.atomic_numbers = _list_column(table, "atomic_numbers")
        self.positions = _list_column(table, "positions")[1].reshape(-1, 3)
        self.forces = _list_column(table, "atomic_forces")[1].reshape(-1, 3)
        self.energy = _column(table, "energy").to_numpy(zero_copy_only=False)
        self.cell = _flat(_column(table, "cell")).reshape(-1, 3, 3)
        self.pbc = _flat(_column(table, "pbc")).reshape(-1, 3)

    @cached_property
    def time_fs(self) -> np.ndarray:
        return _column(self.table, "time_fs").to_numpy(zero_copy_only=False).astype(float)

    @cached_property
    def charge(self) -> np.ndarray:
        stated = "charge" in self.table.column_names
        return _column(self.table, "charge").to_numpy() if stated else np.zeros(len(self), np.int8)

    @cached_property
    def spin_multiplicity(self) -> np.ndarray:
        stated = "spin_multiplicity" in self.table.column_names
        return _column(self.table, "spin_multiplicity").to_numpy() if stated else np.ones(len(self), np.int8)

    @cached_property
    def n_atoms(self) -> np.ndarray:
        """Atoms per frame [T]."""
        return np.diff(self.offsets)

    @cached_property
    def species(self) -> np.ndarray:
        """Numbers [T], equal for frames of the same elements (in any order), charge and spin: the same energy scale."""
        elements, place = np.unique(self.atomic_numbers, return_inverse=True)
        owner = np.repeat(np.arange(len(self)), self.n_atoms)
        counts = np.zeros((len(self), len(elements)), int)
        np.add.at(counts, (owner, place), 1)
        key = np.column_stack([counts, self.charge, self.spin_multiplicity])
        return np.unique(key, axis=0, return_inverse=True)[1].reshape(len(self))

    @cached_property
    def one_size(self) -> bool:
        """Whether every frame has the same number of atoms."""
        return bool(len(self) and (self.n_atoms == self.n_atoms[0]).all())

    def __len__(self) -> int:
        return len(self.energy)

    def __iter__(self) -> Iterator[Frame]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (int, np.integer)):
            i = range(len(self))[int(index)]
            a = slice(self.offsets[i], self.offsets[i + 1])
            return Frame(
                self.atomic_numbers[a],
                self.positions[a],
                self.cell[i],
                self.pbc[i],
                self.energy[i],
                self.forces[a],
                int(self.charge[i]),
                int(self.spin_multiplicity[i]),
            )
        rows = np.arange(len(self))[index]
        if isinstance(index, slice) and index.step in (None, 1):
            return Frames(self.table.slice(rows[0] if len(rows) else 0, len(rows)))
        return Frames(self.table.take(pa.array(rows)))

    def stacked(self) -> tuple[np.ndarray, np.ndarray]:
        """(atomic_numbers [N], positions [T, N, 3]) when every frame has the same atoms in the same order."""
        n = self.n_atoms
        if not self.one_size or (self.atomic_numbers.reshape(len(n), -1) != self[0].atomic_numbers).any():
            raise ValueError("frames do not all have the same atoms: stack them one composition at a time")
        return self[0].atomic_numbers, self.positions.reshape(len(n), n[0], 3)

    def __repr__(self) -> str:
        return f"Frames({len(self)} frames, {len(self.atomic_numbers)} atoms)"


def collate(frames: Frames | Iterable[Frame], *, indices: Any = None) -> AtomsBatch:
    """An `AtomsBatch` (positions in float64, charge and spin as the frames have them) from frames, or from the rows
    ``indices`` of a `Frames`.

    Labels of the same rows: `collate_labels`. IndexError for rows that are not there.

    >>> from ffbench_data.load import load_frames
    >>> collate(load_frames("ethanol_gfn2", split="test"), indices=[0, 7]).positions.shape
    torch.Size([18, 3])
    """
    import torch

    from .contract import AtomsBatch

    per_frame = ("cell", "pbc", "charge", "spin_multiplicity")
    z, x, n, cell, pbc, charge, spin = _gather(frames, indices, ("atomic_numbers", "positions"), per_frame)
    return AtomsBatch(
        positions=torch.from_numpy(x),
        atomic_numbers=torch.from_numpy(z.astype(np.int64, copy=False)),
        system_index=torch.from_numpy(np.repeat(np.arange(len(n)), n)),
        cell=torch.from_numpy(cell),
        pbc=torch.from_numpy(pbc),
        charge=torch.from_numpy(charge.astype(np.int64)),
        spin_multiplicity=torch.from_numpy(spin.astype(np.int64)),
    )


def collate_labels(frames: Frames | Iterable[Frame], *, indices: Any = None) -> Prediction:
    """The labels of the same rows as a `Prediction`: energy [B] and forces [A, 3] in float64. IndexError for rows
    that are not there.

    >>> from ffbench_data.load import load_frames
    >>> collate_labels(load_frames("ethanol_gfn2", split="test"), indices=[0, 7]).energy.shape
    torch.Size([2])
    """
    import torch

    from .contract import Prediction

    f, _, energy = _gather(frames, indices, ("forces",), ("energy",))
    return Prediction(energy=torch.from_numpy(energy), forces=torch.from_numpy(f.astype(np.float64, copy=False)))


def _gather(frames: Any, indices: Any, per_atom: Sequence[str], per_frame: Sequence[str]):
    """Concatenated per-atom columns, atoms per frame, then per-frame columns, as fresh arrays."""
    if not isinstance(frames, Frames):
        frames = [frames] if isinstance(frames, Frame) else list(frames)
        columns = [np.concatenate([getattr(f, name) for f in frames]) for name in per_atom]
        n = np.array([len(f.atomic_numbers) for f in frames])
        return [*columns, n, *(np.array([getattr(f, name) for f in frames]) for name in per_frame)]
    rows = np.arange(len(frames)) if indices is None else np.atleast_1d(np.asarray(indices))
    n = frames.n_atoms[rows]
    if frames.one_size:
        columns = []
        for name in per_atom:
            column = getattr(frames, name)
            rows_of = column.reshape(len(frames), -1)[rows].astype(WIDE.get(name, column.dtype), copy=False)
            columns.append(rows_of.reshape(-1, *column.shape[1:]))
        return [*columns, n, *(getattr(frames, name)[rows] for name in per_frame)]
    # Whole frames are contiguous: copying slices is several times faster than an index per atom.
    starts = frames.offsets[rows]
    spans = list(zip(starts.tolist(), (starts + n).tolist()))
    columns = []
    for name in per_atom:
        column = getattr(frames, name)
        kind = WIDE.get(name, column.dtype)
        parts = [column[a:b] for a, b in spans] or [column[:0]]
        columns.append(np.concatenate(parts, dtype=kind, casting="safe"))
    return [*columns, n, *(getattr(frames, name)[rows] for name in per_frame)]


def _column(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        raise ValueError(f"table has no column {name!r}; it has {', '.join(table.column_names)}")
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _flat(values: pa.Array) -> np.ndarray:
    while pa.types.is_nested(values.type):
        values = values.flatten()
    return values.to_numpy(zero_copy_only=False)


def _list_column(table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    values = _column(table, name)
    offsets = values.offsets.to_numpy()
    return offsets - offsets[0], _flat(values)


def collate_arrow(table: pa.Table | list[pa.Table]) -> tuple[AtomsBatch, Prediction]:
    """(batch, labels) from an Arrow table of frames, or a list of such: the ``collate_fn`` for `ArrowRows` in a torch
    DataLoader, and for ``load_dataset(..., streaming=True).with_format("arrow")``.

    Energies stay float64, where ``with_format("torch")`` would make them float32. ValueError for a table without a
    column that it needs.

    >>> from ffbench_data.load import load_frames
    >>> batch, labels = collate_arrow(load_frames("ethanol_gfn2", split="test").table.slice(0, 2))
    >>> batch.n_systems, labels.energy.dtype
    (2, torch.float64)
    """
    frames = Frames(pa.concat_tables(table) if isinstance(table, list) else table)
    return collate(frames), collate_labels(frames)


class ArrowRows:
    """A `datasets.Dataset` as a map-style data set for ``torch.utils.data.DataLoader``, fetched batch by batch.

    ``DataLoader(ArrowRows(dataset), batch_size=64, shuffle=True, collate_fn=collate_arrow)``.
    """

    def __init__(self, dataset: Any):
        self.dataset = dataset.with_format("arrow")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> pa.Table:
        return self.dataset[[int(index)]]

    def __getitems__(self, indices: list[int]) -> pa.Table:
        return self.dataset[indices]
