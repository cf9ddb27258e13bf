"""Which frames of a data set are of one system: the same atoms in the same order, of the same charge and spin, in
nearly the same cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ffbench_data.frames import Frame, Frames

    from ...engine.trajectory import Trajectory
    from ...run.data import TaskData

CELL_ROOM = 0.05  # of the longest cell vector: fluctuations at constant pressure, not another polymorph


@dataclass(frozen=True)
class System:
    """One system of a data set: ``numbers`` [N], ``cell`` [3, 3] Angstrom, ``pbc`` [3], its labelled ``frames`` and,
    where the data set is of this system only, the ``reference`` that ships with it; ``charge`` and
    ``spin_multiplicity`` (2S+1)."""

    label: str
    numbers: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    frames: Any
    reference: Any
    charge: int = 0
    spin_multiplicity: int = 1

    @property
    def facts(self) -> dict[str, Any]:
        return self.reference.facts if self.reference else {}

    def positions(self) -> np.ndarray:
        """Positions [T, N, 3] of its labelled frames."""
        return self.frames.stacked()[1]


def system_of(data: TaskData, like: Frame | Trajectory) -> System:
    """The system of ``data`` that ``like`` is of: a frame or a trajectory. ValueError when no frame is of it."""
    frames = data.frames
    numbers = np.asarray(like.numbers if hasattr(like, "numbers") else like.atomic_numbers)
    cell, pbc, state = np.asarray(like.cell, float), np.asarray(like.pbc, bool), _state(like)
    rows = _rows(frames, numbers, cell, pbc, state)
    label = formula(numbers)
    if not len(rows):
        raise ValueError(
            f"no frame of the data set is of the system {label} with charge {state[0]}, spin multiplicity {state[1]} "
            "and this cell"
        )
    alone = len(rows) == len(frames)
    mine = frames if alone else frames[rows]
    return System(label, numbers, cell, pbc, mine, data.reference if alone else None, *state)


def systems_of(data: TaskData, trajectories: Sequence[Any]) -> list[System]:
    """The system of every trajectory (or frame), one object per system; two of one formula have numbered labels."""
    found: dict[tuple, System] = {}
    out = []
    for t in trajectories:
        numbers = t.numbers if hasattr(t, "numbers") else t.atomic_numbers
        arrays = zip((numbers, t.cell, t.pbc), (int, float, bool))
        key = (*(np.ascontiguousarray(v, kind).tobytes() for v, kind in arrays), *_state(t))
        if key not in found:
            made = system_of(data, t)
            known = next((s for s in found.values() if _same(s, made)), None)
            found[key] = known or _relabelled(made, {id(s): s.label for s in found.values()}.values())
        out.append(found[key])
    return out


def alike(frames: Frames, rows: Sequence[int]) -> list[list[int]]:
    """Places in ``rows`` by what one batch of replicas shares: the very same atoms, charge, spin, cell and
    periodicity."""
    groups: list[list[int]] = []
    for k, row in enumerate(rows):
        one = frames[int(row)]
        for group in groups:
            other = frames[int(rows[group[0]])]
            if (
                np.array_equal(one.atomic_numbers, other.atomic_numbers)
                and np.array_equal(one.pbc, other.pbc)
                and _state(one) == _state(other)
                and (not one.pbc.any() or np.allclose(one.cell, other.cell, rtol=0, atol=1e-9))
            ):
                group.append(k)
                break
        else:
            groups.append([k])
    return groups


def formula(numbers: np.ndarray) -> str:
    """
    >>> formula([8, 1, 1])
    'H2O'
    """
    from ase.symbols import Symbols

    return Symbols(np.asarray(numbers, int)).get_chemical_formula()


def _state(like: Frame | Trajectory | System) -> tuple[int, int]:
    """(charge, spin multiplicity)."""
    return int(like.charge), int(like.spin_multiplicity)


def _rows(frames: Frames, numbers: np.ndarray, cell: np.ndarray, pbc: np.ndarray, state: tuple[int, int]) -> np.ndarray:
    keep = (frames.n_atoms == len(numbers)) & (frames.pbc == pbc).all(1)
    keep &= (np.asarray(frames.charge) == state[0]) & (np.asarray(frames.spin_multiplicity) == state[1])
    if pbc.any():
        keep &= np.abs(frames.cell - cell).max((1, 2)) <= CELL_ROOM * np.linalg.norm(cell, axis=1).max()
    rows = np.flatnonzero(keep)
    at = frames.offsets[rows][:, None] + np.arange(len(numbers))
    return rows[(frames.atomic_numbers[at] == numbers).all(1)]


def _same(a: System, b: System) -> bool:
    return (
        np.array_equal(a.numbers, b.numbers)
        and np.array_equal(a.pbc, b.pbc)
        and _state(a) == _state(b)
        and (not a.pbc.any() or np.allclose(a.cell, b.cell, rtol=0, atol=1e-6))
    )


def _relabelled(system: System, taken: Iterable[str]) -> System:
    from dataclasses import replace

    label, count = system.label, 1
    while label in taken:
        count += 1
        label = f"{system.label}_{count}"
    return replace(system, label=label)
