"""SO3LR: a pretrained SO3krates network with pairwise long-range terms, from so3krates-torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch, ForceField, Prediction

from . import guarded

# Kabylda et al. (2025): the eight elements most frequent in biosimulations.
ELEMENTS = (1, 6, 7, 8, 9, 15, 16, 17)


def so3lr(*, cutoff: float = 12.0, damping: float = 2.0) -> ForceField:
    """SO3LR for neutral systems; ``cutoff`` of the long-range terms and width of their ``damping`` in Angstrom."""
    with guarded("so3lr"):
        from so3krates_torch.calculator.so3 import SO3LRCalculator

        made = SO3LRCalculator(
            r_max_lr=cutoff, dispersion_energy_cutoff_lr_damping=damping, default_dtype="float32", device="cpu"
        )
    fn = So3lr(made.models[0], float(made.r_max), [int(z) for z in made.z_table.zs]).eval().requires_grad_(False)
    parameters = sum(p.numel() for p in fn.network.parameters())
    return ForceField(fn, float(cutoff), ELEMENTS, torch.float32, True, {"parameters": parameters})


class So3lr(nn.Module):
    """Energies of free atoms (thousands of eV) are taken out of the float32 network and added in float64."""

    index: Tensor
    shift: Tensor

    def __init__(self, network: Any, near: float, numbers: list[int]):
        super().__init__()
        self.network, self.near, self.kinds = network, near, len(numbers)
        index = torch.full((119,), -1)
        index[torch.tensor(numbers)] = torch.arange(len(numbers))
        self.register_buffer("index", index)
        shifts = network.atomic_energy_output_block.energy_shifts
        self.register_buffer("shift", shifts.detach().double().clone())
        with torch.no_grad():
            shifts.zero_()

    def forward(self, batch: AtomsBatch) -> Prediction:
        if batch.edge_index is None:
            raise ValueError("batch has no edges: call ffbench_data.neighbors.with_edges(batch, cutoff) first")
        x = batch.positions.detach()
        r = replace(batch, positions=x).edge_vectors()
        far = batch.edge_index
        shifts = r - (x[far[1]] - x[far[0]])
        units = torch.zeros_like(r) if batch.edge_shift is None else batch.edge_shift.to(r.dtype)
        rows = (r.square().sum(-1) <= self.near**2).nonzero().squeeze(1)
        kinds = self.index.index_select(0, batch.atomic_numbers)
        counts = batch.n_atoms
        data = {
            "positions": x.clone(),
            "node_attrs": nn.functional.one_hot(kinds, self.kinds).to(x.dtype),
            "atomic_numbers": kinds + 1,  # the package counts its table from hydrogen
            "edge_index": far[:, rows],
            "shifts": shifts[rows],
            "unit_shifts": units[rows],
            "edge_index_lr": far,
            "shifts_lr": shifts,
            "unit_shifts_lr": units,
            "cell": batch.cell.reshape(-1, 3),
            "batch": batch.system_index,
            "ptr": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            "total_charge": x.new_zeros(batch.n_systems),
            "total_spin": x.new_zeros(batch.n_systems),
            "head": counts.new_zeros(batch.n_systems),
        }
        with torch.enable_grad():
            out = self.network(data, return_descriptors=True)
        per_atom = out["node_energy"].detach().reshape(-1).double() + self.shift.index_select(0, kinds)
        return Prediction(
            energy=per_atom.new_zeros(batch.n_systems).index_add(0, batch.system_index, per_atom),
            forces=out["forces"].detach(),
            embedding=out["inv_features"].detach(),
        )
