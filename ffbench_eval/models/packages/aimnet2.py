"""AIMNet2 (aimnet): the ``base_calc`` of an ``AIMNet2ASE``, molecules told apart by ``mol_idx``, in one call."""

from __future__ import annotations

from typing import Any

from ffbench_data.contract import AtomsBatch


def stated(calculator: Any) -> dict[str, Any]:
    species = getattr(calculator, "implemented_species", None)
    return {} if species is None else {"elements": tuple(int(z) for z in species)}


def ask(calculator: Any, batch: AtomsBatch) -> dict[str, Any]:
    if bool(batch.pbc.any()):
        raise ValueError("AIMNet2's batched call is for molecules: ask about periodic systems with batched=False")
    data = {
        "coord": batch.positions.detach(),
        "numbers": batch.atomic_numbers,
        "mol_idx": batch.system_index,
        "charge": batch.charge,
        "mult": batch.spin_multiplicity,
    }
    out = calculator.base_calc(data, forces=True)
    return {name: out[name].detach() for name in ("energy", "forces")}
