"""MACE (mace-torch): the networks of a ``MACECalculator``, on our edges, all structures in one call."""

from __future__ import annotations

from typing import Any

import torch

from ffbench_data.contract import AtomsBatch


def stated(calculator: Any) -> dict[str, Any]:
    dtype = next(calculator.models[0].parameters()).dtype
    return {"cutoff": calculator.r_max, "dtype": dtype, "elements": tuple(calculator.z_table.zs)}


def ask(calculator: Any, batch: AtomsBatch) -> dict[str, Any]:
    """The mean of the committee; with more than one network the standard deviation of the energy as its uncertainty."""
    batch = batch.to(device=calculator.device)
    periodic = bool(batch.pbc.all())
    said = [model(_data(calculator, model, batch), compute_stress=periodic) for model in calculator.models]
    unit, length = calculator.energy_units_to_eV, calculator.length_units_to_A

    def each(name: str) -> torch.Tensor:
        return torch.stack([one[name].detach() for one in said])

    energy = each("energy") * unit
    out = {
        "energy": energy.mean(0),
        "forces": each("forces").mean(0) * unit / length,
        "embedding": said[0]["node_feats"].detach(),
    }
    if periodic:
        out["stress"] = each("stress").mean(0) * unit / length**3
    if len(said) > 1:
        out["uncertainty"] = energy.std(0, correction=0)
    return out


def _data(calculator: Any, model: Any, batch: AtomsBatch) -> dict[str, torch.Tensor]:
    """What MACE's ``forward`` reads: vectors are positions[j] - positions[i] + shifts; cells [3 B, 3]."""
    x, owner = batch.positions.detach().clone(), batch.system_index
    assert batch.edge_index is not None  # it states a cutoff
    known = torch.as_tensor(calculator.z_table.zs, device=x.device)
    shift = x.new_zeros(batch.edge_index.shape[1], 3) if batch.edge_shift is None else batch.edge_shift.to(x.dtype)
    counts = batch.n_atoms
    head = getattr(calculator, "available_heads", ["Default"]).index(calculator.head)
    return {
        "positions": x,
        "node_attrs": (batch.atomic_numbers[:, None] == known).to(x.dtype),
        "edge_index": batch.edge_index,
        "unit_shifts": shift,
        "shifts": torch.einsum("ea,eab->eb", shift, batch.cell[owner[batch.edge_index[0]]]),
        "cell": batch.cell.reshape(-1, 3).clone(),
        "pbc": batch.pbc,
        "batch": owner,
        "ptr": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        "head": torch.full((batch.n_systems,), head, device=x.device),
        "total_charge": batch.charge.to(x.dtype),
        "total_spin": batch.spin_multiplicity.to(x.dtype),
    }
