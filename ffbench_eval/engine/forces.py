"""The force call of the engine: replicas in, one model call, energies and forces out in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from ffbench_data.contract import AtomsBatch, ForceField
from ffbench_data.neighbors import all_pairs, edges

from .system import System

SKIN = 1.0  # Angstrom added to the cutoff of the periodic edge list, so that it is rebuilt rarely


class ModelForces:
    """``forces(positions [B, N, 3]) -> (energy [B], forces [B, N, 3])`` of ``model``, with its edge list.

    Open systems use all pairs; periodic ones a list with a skin, rebuilt when an atom has moved half the skin (or
    on `rebuild`). Either way the model sees only edges within its cutoff. Positions reach a float32 model near the
    origin: periodic ones wrapped into the cell, open ones relative to their centroid.
    """

    def __init__(self, model: ForceField, system: System, replicas: int):
        n = len(system.numbers)
        self.model, self.system, self.replicas = model, system, replicas
        self.periodic = bool(system.pbc.any())
        self.calls = 0
        device = system.masses.device
        self.batch = AtomsBatch(
            positions=torch.zeros(replicas * n, 3, dtype=torch.float64, device=device),
            atomic_numbers=system.numbers.repeat(replicas),
            system_index=torch.arange(replicas, device=device).repeat_interleave(n),
            cell=system.cell.expand(replicas, 3, 3),
            pbc=system.pbc.expand(replicas, 3),
        )
        self._pairs = None
        self._reference: Tensor | None = None
        if model.cutoff is not None and not self.periodic:
            self._pairs = all_pairs(self.batch.n_atoms)

    def rebuild(self) -> None:
        """Forget the edge list, so that it depends on the next positions only."""
        self._reference = None

    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        from dataclasses import replace

        x = self._near_origin(positions)
        index = shift = None
        if self._pairs is not None:
            index = _within(x, self._pairs, None, self.model.cutoff)[0]
        elif self.model.cutoff is not None:
            index, shift = _within(x, self._listed, self._shift_vectors, self.model.cutoff)
            shift = self._listed_shift[shift]
        prediction = self.model(replace(self.batch, positions=x, edge_index=index, edge_shift=shift))
        self.calls += 1
        return prediction.energy.to(positions.dtype), prediction.forces.to(positions.dtype).view_as(positions)

    def _near_origin(self, positions: Tensor) -> Tensor:
        if not self.periodic:
            return (positions - positions.mean(1, keepdim=True)).reshape(-1, 3)
        flat = positions.reshape(-1, 3)
        if self._reference is None or bool(((flat - self._reference).square().sum(-1) > (SKIN / 2) ** 2).any()):
            self._reference = flat.clone()
            cell = self.system.cell
            turns = torch.floor(flat @ torch.linalg.inv(cell)) * self.system.pbc
            self._offset = turns @ cell
            if self.model.cutoff is not None:
                from dataclasses import replace

                wrapped = replace(self.batch, positions=flat - self._offset)
                self._listed, self._listed_shift = edges(wrapped, self.model.cutoff + SKIN)
                self._shift_vectors = self._listed_shift.to(flat.dtype) @ cell
        return flat - self._offset


def _within(x: Tensor, index: Tensor, shift: Tensor | None, cutoff: float) -> tuple[Tensor, Tensor]:
    """(edges within the cutoff, their rows)."""
    r = x.index_select(0, index[1]) - x.index_select(0, index[0])
    if shift is not None:
        r = r + shift
    rows = (r.square().sum(-1) <= cutoff**2).nonzero().squeeze(1)
    return index.index_select(1, rows), rows
