"""One step of all replicas as a tensor function of fixed shapes, so that it can be compiled or captured.

The batch gets one more system of two ghost atoms within each other's cutoff. Edges that do not exist (a pair beyond
the cutoff, an unused place in a list of fixed length) connect the ghosts instead, so that the model sees exactly the
edges it would see in an eager call, plus copies of the ghosts' edge, whose energy and forces are thrown away. Nothing
is assumed about what the model does beyond its cutoff.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ffbench_data.contract import AtomsBatch, ForceField

from .compiled import Tensors
from .forces import ModelForces, with_pairs
from .lists import NoList
from .system import State
from .watch import Watch, watched_step

if TYPE_CHECKING:
    from .run import Run

STATE, WATCH = len(State._fields), len(Watch._fields)


class StaticForces:
    """(energy [B], forces [B, N, 3], flags [2]) in float64 at positions [B, N, 3], with a list of fixed length."""

    def __init__(self, forces: ModelForces, lists: NoList):
        self.forces, self.lists = forces, lists
        self.batch, self.ghosts = haunted(forces.batch, forces.model.cutoff or 1.0)

    def __call__(self, positions: Tensor, alive: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, half, shift, flags = self.lists(positions, alive, tensors)
        moved = replace(self.batch, positions=torch.cat([x, self.ghosts]))
        if half is None:  # a model without a cutoff needs no ghosts, and may look at all atoms
            moved = replace(self.forces.batch, positions=x)
        energy, forces = _answer(self.forces.model, with_pairs(moved, half, shift), len(x), self.forces.replicas)
        return energy, forces.view_as(positions), flags


class StaticStep:
    """``step(*state, *watch, flags[, noise], *lists[, centres, heights])`` gives state, watch and flags after it.

    ``flags`` [2] bool say whether the list of this or an earlier step was too old or too long (`lists`): then what
    came out is no answer.
    """

    def __init__(self, run: Run, lists: NoList):
        self.run, self.lists = run, lists
        self.model = StaticForces(run.model_forces, lists)

    def arguments(self, state: State, watch: Watch, flags: Tensor, noise: Tensor | None) -> list[Tensor]:
        hills = self.run.hills
        return [
            *(part.contiguous() for part in (*state, *watch)),
            flags,
            *([] if noise is None else [noise]),
            *self.lists.tensors(),
            *([] if hills is None else [hills.centres, hills.heights]),
        ]

    def __call__(self, *values: Tensor) -> Tensors:
        run, rest = self.run, list(values[STATE + WATCH :])
        state, watch = State(*values[:STATE]), Watch(*values[STATE : STATE + WATCH])
        flags = rest.pop(0)
        noise = rest.pop(0) if run.noise is not None else None
        hills = (rest.pop(-2), rest.pop(-1)) if run.hills is not None else None
        raised = []

        def force(positions: Tensor) -> tuple[Tensor, Tensor]:
            energy, forces, found = self.model(positions, watch.alive, *rest)
            raised.append(found)
            if run.hills is not None and hills is not None:
                forces = forces + run.hills.forces_of(positions, *hills)[1]
            if run.restraints is not None:
                forces = forces + run.restraints.energy_and_forces(positions)[1]
            return energy, forces

        settings = (run.system, run.rule, force, run.limits, noise)
        state, watch = watched_step(run.integrator, state, watch, *settings, traced=True)
        return (*state, *watch, flags | raised[0])


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
        largest=None if batch.largest is None else max(batch.largest, len(ghosts)),
    )
    return with_ghosts, ghosts


def _answer(model: ForceField, batch: AtomsBatch, atoms: int, systems: int) -> tuple[Tensor, Tensor]:
    prediction = model(batch.to(dtype=model.dtype))  # near the origin already
    return prediction.energy[:systems].to(torch.float64), prediction.forces[:atoms].to(torch.float64)
