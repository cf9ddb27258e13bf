"""The scans of a data set: which rows belong together, which bond is scanned, which atoms move."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ffbench_data.contract import ForceField

KEPT = "_bsct_scans"  # where a `Frames` keeps its scans once they were found


@dataclass(frozen=True, eq=False, repr=False)
class LabelledScan:
    """One rigid bond scan of K frames in order of bond length; labels may hold NaN.

    ``numbers`` [N], ``positions`` and ``forces`` [K, N, 3] (Angstrom, eV/Angstrom, float64), ``energy`` [K] (eV),
    ``bond_length`` [K] (Angstrom); ``molecule`` is equal for scans of the same molecule. ``charge`` and
    ``spin_multiplicity`` (2S+1) of all its frames.
    """

    name: str
    molecule: str
    rows: np.ndarray
    numbers: np.ndarray
    positions: np.ndarray
    energy: np.ndarray
    forces: np.ndarray
    bond_length: np.ndarray
    charge: int = 0
    spin_multiplicity: int = 1

    def __repr__(self) -> str:
        return f"LabelledScan({self.name}, {len(self.energy)} frames of {len(self.numbers)} atoms)"

    @cached_property
    def labelled(self) -> np.ndarray:
        """[K]: frames with an energy and all forces."""
        return np.isfinite(self.energy) & np.isfinite(self.forces).all(axis=(1, 2))

    @property
    def equilibrium(self) -> int:
        """The frame of the lowest reference energy."""
        return int(np.nanargmin(np.where(self.labelled, self.energy, np.nan)))

    @cached_property
    def fragment(self) -> np.ndarray:
        """[N]: 0 for atoms that move with the first atom, 1 for the others; read off the motion."""
        moved = self.positions[-1] - self.positions[0]
        apart = np.linalg.norm(moved - moved[0], axis=1)
        return (apart > 0.5 * apart.max()).astype(np.uint8)

    @cached_property
    def bond(self) -> tuple[int, int]:
        """The two atoms, one of each fragment, whose distance is the bond length in every frame."""
        first, second = np.flatnonzero(self.fragment == 0), np.flatnonzero(self.fragment == 1)
        ends = self.positions[[0, -1]]
        d = np.linalg.norm(ends[:, first, None] - ends[:, None, second], axis=-1)
        off = np.abs(d - self.bond_length[[0, -1], None, None]).max(axis=0)
        a, b = np.unravel_index(int(off.argmin()), off.shape)
        i, j = sorted((int(first[a]), int(second[b])))
        return i, j

    @cached_property
    def bond_type(self) -> str:
        """``C-N``, hydrogen last."""
        from ase.data import chemical_symbols

        symbols = sorted((chemical_symbols[self.numbers[k]] for k in self.bond), key=lambda s: (s == "H", s))
        return "-".join(symbols)


def find_scans(frames: Any) -> dict[str, LabelledScan]:
    """Every scan of ``frames`` (columns ``scan`` and ``bond_length``) by its name, in the data set's order.

    Forces come from the column ``reference_forces`` (float64) where there is one. ValueError if the frames are no
    scans.
    """
    kept = vars(frames).get(KEPT)
    if kept is not None:
        return kept
    table = frames.table
    missing = [c for c in ("scan", "bond_length") if c not in table.column_names]
    if missing:
        raise ValueError(f"frames are no bond scans: no column {' and no column '.join(missing)}")
    coded = table["scan"].combine_chunks().dictionary_encode()
    owner = coded.indices.to_numpy()
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=len(coded.dictionary)))
    length = table["bond_length"].to_numpy()
    precise = _precise_forces(table)
    forces = frames.forces if precise is None else precise
    molecules = table["molecule"].to_pylist() if "molecule" in table.column_names else None
    found = {}
    for name, rows in zip(coded.dictionary.to_pylist(), np.split(order, ends[:-1])):
        rows = rows[np.argsort(length[rows], kind="stable")]
        n = int(frames.n_atoms[rows[0]])
        if (frames.n_atoms[rows] != n).any():
            raise ValueError(f"scan {name}: frames of different size")
        numbers = frames.atomic_numbers[frames.offsets[rows[0]] :][:n]
        found[name] = LabelledScan(
            name=name,
            molecule=molecules[rows[0]] if molecules else numbers.tobytes().hex(),
            rows=rows,
            numbers=numbers,
            positions=_rows(frames.positions, frames.offsets, rows, n),
            energy=frames.energy[rows].astype(np.float64),
            forces=_rows(forces, frames.offsets, rows, n),
            bond_length=length[rows],
            charge=_one(frames.charge[rows], f"scan {name}: charge"),
            spin_multiplicity=_one(frames.spin_multiplicity[rows], f"scan {name}: spin multiplicity"),
        )
    vars(frames)[KEPT] = found
    return found


def _one(values: np.ndarray, what: str) -> int:
    """The one value of all frames of a scan."""
    if (values != values[0]).any():
        raise ValueError(f"{what} changes along the scan")
    return int(values[0])


def _precise_forces(table: Any) -> np.ndarray | None:
    if "reference_forces" not in table.column_names:
        return None
    values = table["reference_forces"].combine_chunks().flatten().flatten()
    return values.to_numpy(zero_copy_only=False).reshape(-1, 3)


def _rows(column: np.ndarray, offsets: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """[K, n, 3] in float64; a view where the rows follow each other."""
    if (np.diff(rows) == 1).all():
        block = column[offsets[rows[0]] : offsets[rows[-1]] + n]
    else:
        block = column[(offsets[rows][:, None] + np.arange(n)).ravel()]
    return block.reshape(len(rows), n, 3).astype(np.float64, copy=False)


def supported(scan: LabelledScan, model: ForceField) -> bool:
    """Whether the model covers the elements of the scan's molecule, and takes its charge and spin."""
    known = model.elements is None or np.isin(scan.numbers, np.asarray(model.elements)).all()
    return bool(known and model.takes(scan.charge, scan.spin_multiplicity))


def refined(positions: np.ndarray, factor: int) -> np.ndarray:
    """The points of a rigid scan [K, N, 3] with ``factor`` times as many steps: [(K - 1) factor + 1, N, 3].

    >>> refined(np.arange(3.0).reshape(3, 1, 1), 2).ravel()
    array([0. , 0.5, 1. , 1.5, 2. ])
    """
    at = np.arange((len(positions) - 1) * factor + 1) / factor
    low = np.minimum(at.astype(int), len(positions) - 2)
    part = (at - low)[:, None, None]
    return (1 - part) * positions[low] + part * positions[low + 1]
