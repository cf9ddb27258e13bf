"""The force call of the engine: replicas in, one model call, energies and forces out in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ffbench_data.contract import AtomsBatch, ForceField
from ffbench_data.neighbors import all_pairs, edges

from .system import System

SKIN = 1.0  # Angstrom added to the cutoff of the periodic edge list, so that it is rebuilt rarely


class ModelForces:
    """``forces(positions [B, N, 3]) -> (energy [B], forces [B, N, 3])`` of ``model``, with its edge list.

    With ``cell`` [B, 3, 3] (constant pressure) the model's stress [B, 3, 3] is returned too.
    Open systems use all pairs; periodic ones a list with a skin, rebuilt when an atom has moved half the skin (or
    on `rebuild`). Either way the model sees only edges within its cutoff, in a ``paired`` list. Positions reach a
    float32 model near the origin: periodic ones wrapped into the cell, open ones relative to their centroid.

    ``compiled`` may replace the model call: it gets (positions [A, 3], half of the edges [2, E/2] and their shifts
    [E/2, 3] or ``None``) and returns (energy [B], forces [A, 3]), or ``None`` when it cannot serve this list.
    """

    def __init__(self, model: ForceField, system: System, replicas: int):
        n = len(system.numbers)
        self.model, self.system, self.replicas = model, system, replicas
        self.periodic = bool(system.pbc.any())
        self.compiled: Callable[..., tuple[Tensor, ...] | None] | None = None
        self.calls = 0
        device = system.masses.device
        self.batch = AtomsBatch(
            positions=torch.zeros(replicas * n, 3, dtype=torch.float64, device=device),
            atomic_numbers=system.numbers.repeat(replicas),
            system_index=torch.arange(replicas, device=device).repeat_interleave(n),
            cell=system.cell.expand(replicas, 3, 3),
            pbc=system.pbc.expand(replicas, 3),
        )
        self.pairs: Tensor | None = None
        self._reference: Tensor | None = None
        if model.cutoff is not None and not self.periodic:
            self.pairs = half_of(all_pairs(self.batch.n_atoms), None)[0]

    def rebuild(self) -> None:
        """Forget the edge list, so that it depends on the next positions only."""
        self._reference = None

    def __call__(self, positions: Tensor, cell: Tensor | None = None) -> tuple[Tensor, ...]:
        x, half, shift = self.prepare(positions, cell)
        self.calls += 1
        if self.compiled is not None:
            out = self.compiled(x, half, shift)
            if out is not None:
                return out[0], out[1].view_as(positions)
        batch = with_pairs(replace(self.batch, positions=x), half, shift)
        if cell is None:
            prediction = self.model(batch)
            return prediction.energy.to(positions.dtype), prediction.forces.to(positions.dtype).view_as(positions)
        prediction = self.model(replace(batch, cell=cell))
        if prediction.stress is None:
            raise ValueError(
                "ensemble 'npt' is unsupported: the model returns no stress (ForceField.from_energy(..., stress=True) "
                "derives it)"
            )
        answer = (prediction.energy, prediction.forces.view_as(positions), prediction.stress)
        return tuple(part.to(positions.dtype) for part in answer)

    def prepare(self, positions: Tensor, cell: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(positions [A, 3] near the origin, one edge of every pair within the cutoff, its shift)."""
        x = self._near_origin(positions, cell)
        if self.model.cutoff is None:
            return x, None, None
        if self.pairs is not None:
            return x, within(x, self.pairs, None, self.model.cutoff)[0], None
        vectors = self._shift_vectors if cell is None else self._shifts_in(cell, self._listed, self._listed_shift)
        index, rows = within(x, self._listed, vectors, self.model.cutoff)
        return x, index, self._listed_shift[rows]

    def _near_origin(self, positions: Tensor, cell: Tensor | None) -> Tensor:
        if not self.periodic:
            return (positions - positions.mean(1, keepdim=True)).reshape(-1, 3)
        flat = positions.reshape(-1, 3)
        if self._outdated(flat, cell):
            self._reference = flat.clone()
            self._cell = cell
            cells = self.system.cell if cell is None else cell
            turns = torch.floor(positions @ torch.linalg.inv(cells)) * self.system.pbc
            self._turns, self._offset = turns, (turns @ cells).reshape(-1, 3)
            if self.model.cutoff is not None:
                wrapped = replace(self.batch, positions=flat - self._offset)
                if cell is not None:
                    wrapped = replace(wrapped, cell=cell)
                self._listed, self._listed_shift = half_of(*edges(wrapped, self.model.cutoff + SKIN))
                if cell is None:
                    self._shift_vectors = self._listed_shift.to(flat.dtype) @ self.system.cell
        elif cell is not None:
            self._offset = (self._turns @ cell).reshape(-1, 3)
        return flat - self._offset

    def _outdated(self, flat: Tensor, cell: Tensor | None) -> bool:
        """Whether a pair within the cutoff may be missing from the list.

        Isotropic cells: with s the length scale since the list was made and u = x / s, a missing pair had
        |r| > cutoff + skin, so now |r| > s (cutoff + skin - 2 max |du|), which must exceed the cutoff.
        """
        if self._reference is None:
            return True
        if cell is None:
            return bool(((flat - self._reference).square().sum(-1) > (SKIN / 2) ** 2).any())
        cutoff = self.model.cutoff or 0.0
        scale = (torch.linalg.det(cell) / torch.linalg.det(self._cell)) ** (1 / 3)
        per_atom = scale.repeat_interleave(len(flat) // len(scale))
        moved = (flat / per_atom[:, None] - self._reference).norm(dim=-1)
        return bool((moved > (cutoff + SKIN - cutoff / per_atom) / 2).any())

    def _shifts_in(self, cell: Tensor, index: Tensor, shift: Tensor) -> Tensor:
        cells = cell.index_select(0, self.batch.system_index.index_select(0, index[0]))
        return torch.einsum("ea,eab->eb", shift.to(cell.dtype), cells)


def half_of(index: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor]:
    """One edge of every pair of a full directed list."""
    i, j = index
    keep = i < j
    if shift is None:
        return index[:, keep], torch.zeros(0, 3, dtype=torch.int64)
    a, b, c = shift.unbind(1)
    upward = (a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0))))
    keep = keep | ((i == j) & upward)
    return index[:, keep], shift[keep]


def with_pairs(batch: AtomsBatch, half: Tensor | None, shift: Tensor | None) -> AtomsBatch:
    """``batch`` with the edges of ``half`` and their reverses."""
    if half is None:
        return batch
    index = torch.cat([half, half.flip(0)], 1)
    shift = None if shift is None else torch.cat([shift, -shift])
    return replace(batch, edge_index=index, edge_shift=shift, paired=True)


def within(x: Tensor, index: Tensor, shift: Tensor | None, cutoff: float) -> tuple[Tensor, Tensor]:
    """(edges within the cutoff, their rows)."""
    r = x.index_select(0, index[1]) - x.index_select(0, index[0])
    if shift is not None:
        r = r + shift
    rows = (r.square().sum(-1) <= cutoff**2).nonzero().squeeze(1)
    return index.index_select(1, rows), rows
