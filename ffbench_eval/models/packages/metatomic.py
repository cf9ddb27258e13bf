"""PET and others of metatrain (metatomic): ``compute_energy`` of a ``MetatomicCalculator``, which takes a list."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffbench_data.contract import AtomsBatch

from ..ase import structures


def stated(calculator: Any) -> dict[str, Any]:
    told = calculator._model.capabilities()
    return {"elements": tuple(told.atomic_types)}


def ask(calculator: Any, batch: AtomsBatch) -> dict[str, Any]:
    if bool((batch.charge != 0).any() | (batch.spin_multiplicity != 1).any()):
        raise ValueError("metatomic's batched call hands no charge and spin on: use batched=False")
    out = calculator.compute_energy([a for a, _ in structures(batch)], compute_forces_and_stresses=True)
    said = {"energy": np.asarray(out["energy"], float), "forces": np.concatenate(out["forces"])}
    if bool(batch.pbc.all()) and "stress" in out:
        said["stress"] = np.stack(out["stress"])
    return said
