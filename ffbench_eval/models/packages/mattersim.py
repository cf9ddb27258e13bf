"""MatterSim: ``predict_properties`` of a ``MatterSimCalculator``'s potential, over one batch of its loader."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.units import GPa

from ffbench_data.contract import AtomsBatch

from ..ase import structures


def stated(calculator: Any) -> dict[str, Any]:
    return {}


def ask(calculator: Any, batch: AtomsBatch) -> dict[str, Any]:
    """Its stresses are in GPa."""
    from mattersim.datasets.utils.build import build_dataloader

    atoms = [a for a, _ in structures(batch)]
    periodic = bool(batch.pbc.all())
    how = {**calculator.args_dict, "batch_size": len(atoms), "only_inference": True, "shuffle": False}
    loader = build_dataloader(atoms, **how)
    energies, forces, stresses = calculator.potential.predict_properties(
        loader, include_forces=True, include_stresses=periodic
    )
    said = {"energy": np.array(energies, float), "forces": np.concatenate(forces)}
    return said | ({"stress": np.stack(stresses) * GPa} if periodic else {})
