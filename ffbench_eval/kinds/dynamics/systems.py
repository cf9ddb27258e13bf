"""Which frames of a data set are of one system: the same atoms in the same order, in nearly the same cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CELL_ROOM = 0.05  # of the longest cell vector: fluctuations at constant pressure, not another polymorph


@dataclass(frozen=True)
class System:
    """One system of a data set: ``numbers`` [N], ``cell`` [3, 3] Angstrom, ``pbc`` [3], its labelled ``frames`` and,
    where the data set is of this system only, the ``reference`` that ships with it."""

    label: str
    numbers: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    frames: Any
    reference: Any

    @property
    def facts(self) -> dict[str, Any]:
        return self.reference.facts if self.reference else {}

    def positions(self) -> np.ndarray:
        """Positions [T, N, 3] of its labelled frames."""
        return self.frames.stacked()[1]


def system_of(data, numbers, cell, pbc) -> System:
    """The system of ``data`` with these atoms and this cell. ValueError when no frame is of it."""
    frames = data.frames
    rows = _rows(frames, np.asarray(numbers), np.asarray(cell, float), np.asarray(pbc, bool))
    label = formula(numbers)
    if not len(rows):
        raise ValueError(f"no frame of the data set is of the system {label} with this cell")
    alone = len(rows) == len(frames)
    mine = frames if alone else frames[rows]
    return System(label, np.asarray(numbers), np.asarray(cell, float), np.asarray(pbc, bool), mine,
                  data.reference if alone else None)  # fmt: skip


def systems_of(data, trajectories: Sequence[Any]) -> list[System]:
    """The system of every trajectory (anything with ``numbers``, ``cell`` and ``pbc``), one object per system; two of
    one formula have numbered labels."""
    found: dict[bytes, System] = {}
    out = []
    for t in trajectories:
        key = b"|".join(np.ascontiguousarray(v).tobytes() for v in (t.numbers, t.cell, t.pbc))
        if key not in found:
            made = system_of(data, t.numbers, t.cell, t.pbc)
            known = next((s for s in found.values() if _same(s, made)), None)
            found[key] = known or _relabelled(made, {id(s): s.label for s in found.values()}.values())
        out.append(found[key])
    return out


def alike(frames, rows: Sequence[int]) -> list[list[int]]:
    """Places in ``rows`` by what one batch of replicas shares: the very same atoms, cell and periodicity."""
    groups: list[list[int]] = []
    for k, row in enumerate(rows):
        one = frames[int(row)]
        for group in groups:
            other = frames[int(rows[group[0]])]
            if (
                np.array_equal(one.atomic_numbers, other.atomic_numbers)
                and np.array_equal(one.pbc, other.pbc)
                and (not one.pbc.any() or np.allclose(one.cell, other.cell, rtol=0, atol=1e-9))
            ):
                group.append(k)
                break
        else:
            groups.append([k])
    return groups


def formula(numbers) -> str:
    """
    >>> formula([8, 1, 1])
    'H2O'
    """
    from ase.symbols import Symbols

    return Symbols(np.asarray(numbers, int)).get_chemical_formula()


def _rows(frames, numbers: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    keep = (frames.n_atoms == len(numbers)) & (frames.pbc == pbc).all(1)
    if pbc.any():
        keep &= np.abs(frames.cell - cell).max((1, 2)) <= CELL_ROOM * np.linalg.norm(cell, axis=1).max()
    rows = np.flatnonzero(keep)
    at = frames.offsets[rows][:, None] + np.arange(len(numbers))
    return rows[(frames.atomic_numbers[at] == numbers).all(1)]


def _same(a: System, b: System) -> bool:
    return (
        np.array_equal(a.numbers, b.numbers)
        and np.array_equal(a.pbc, b.pbc)
        and (not a.pbc.any() or np.allclose(a.cell, b.cell, rtol=0, atol=1e-6))
    )


def _relabelled(system: System, taken) -> System:
    from dataclasses import replace

    label, count = system.label, 1
    while label in taken:
        count += 1
        label = f"{system.label}_{count}"
    return replace(system, label=label)
