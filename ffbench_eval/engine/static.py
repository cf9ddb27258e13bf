"""The model call with fixed shapes, so that it can be compiled: whatever lies beyond the cutoff goes to two ghosts.

The batch gets one more system of two ghost atoms within each other's cutoff. Edges that do not exist (a pair beyond
the cutoff, an unused place in a padded list) connect the ghosts instead, so that the model sees exactly the edges it
would see in an eager call, plus copies of the ghosts' edge, whose energy and forces are thrown away. Nothing is
assumed about what the model does beyond its cutoff.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ffbench_data.contract import AtomsBatch, ForceField

from .forces import ModelForces, with_pairs

BUCKET = 512  # padded lists are a multiple of this


def haunted(batch: AtomsBatch, cutoff: float) -> tuple[AtomsBatch, Tensor]:
    """(``batch`` with a last system of two ghost atoms, its positions to be completed; the ghosts' positions)."""
    device, systems = batch.positions.device, batch.n_systems
    numbers = batch.atomic_numbers[:1].expand(2)
    ghosts = torch.tensor([[0.0, 0.0, 0.0], [0.4 * cutoff, 0.0, 0.0]], dtype=batch.positions.dtype, device=device)
    with_ghosts = replace(
        batch,
        positions=torch.cat([batch.positions, ghosts]),
        atomic_numbers=torch.cat([batch.atomic_numbers, numbers]),
        system_index=torch.cat([batch.system_index, torch.full((2,), systems, device=device)]),
        cell=torch.cat([batch.cell, batch.cell[:1]]),
        pbc=torch.cat([batch.pbc, batch.pbc[:1]]),
        charge=torch.cat([batch.charge, batch.charge[:1]]),
        spin_multiplicity=torch.cat([batch.spin_multiplicity, batch.spin_multiplicity[:1]]),
    )
    return with_ghosts, ghosts


def open_call(forces: ModelForces) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """(energy [B], forces [A, 3]) in float64 at positions [A, 3] of open systems: all pairs, filtered by distance."""
    model, pairs = forces.model, forces.pairs
    if model.cutoff is None or pairs is None:

        def without_edges(x: Tensor) -> tuple[Tensor, Tensor]:
            return _answer(model, replace(forces.batch, positions=x), len(x), forces.replicas)

        return without_edges
    cutoff = model.cutoff
    batch, ghosts = haunted(forces.batch, cutoff)
    ghost_edge = torch.arange(len(ghosts), device=pairs.device)[:, None] + len(forces.batch.positions)

    def call(x: Tensor) -> tuple[Tensor, Tensor]:
        r = x.index_select(0, pairs[1]) - x.index_select(0, pairs[0])
        half = torch.where(r.square().sum(-1) <= cutoff**2, pairs, ghost_edge)
        moved = replace(batch, positions=torch.cat([x, ghosts]))
        return _answer(model, with_pairs(moved, half, None), len(x), forces.replicas)

    return call


def listed_call(forces: ModelForces) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The same for periodic systems, at positions [A, 3] and half lists of one length with their shifts."""
    model = forces.model
    assert model.cutoff is not None
    batch, ghosts = haunted(forces.batch, model.cutoff)

    def call(x: Tensor, half: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        moved = replace(batch, positions=torch.cat([x, ghosts]))
        return _answer(model, with_pairs(moved, half, shift), len(x), forces.replicas)

    return call


class Padded:
    """Fills half lists up to ``capacity`` with ghost edges and calls ``call``; longer ones are not served."""

    def __init__(self, call: Callable[..., tuple[Tensor, ...]], forces: ModelForces, capacity: int):
        self.call, self.capacity, self.overflows = call, capacity, 0
        atoms, device = len(forces.batch.positions), forces.batch.positions.device
        self._ghosts = torch.tensor([[atoms], [atoms + 1]], device=device)

    def filled(self, half: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """(index [2, capacity], shifts [capacity, 3]) of a half list that is no longer than ``capacity``."""
        used = half.shape[1]
        index = self._ghosts.repeat(1, self.capacity)
        index[:, :used] = half
        shifts = shift.new_zeros(self.capacity, 3)
        shifts[:used] = shift
        return index, shifts

    def __call__(self, x: Tensor, half: Tensor, shift: Tensor) -> tuple[Tensor, ...] | None:
        if half.shape[1] > self.capacity:
            self.overflows += 1
            return None
        return self.call(x, *self.filled(half, shift))


def capacity_for(edges: int) -> int:
    """Places in a padded half list that held ``edges`` at the start: 5 % more, up to a multiple of `BUCKET`."""
    return -(-int(edges * 1.05 + 1) // BUCKET) * BUCKET


def _answer(model: ForceField, batch: AtomsBatch, atoms: int, systems: int) -> tuple[Tensor, Tensor]:
    prediction = model(batch.to(dtype=model.dtype))  # near the origin already
    return prediction.energy[:systems].to(torch.float64), prediction.forces[:atoms].to(torch.float64)
