"""GRACE (tensorpotential): the data builders of a ``TPCalculator`` join structures for one call of each model."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffbench_data.contract import AtomsBatch

from ..ase import structures


def stated(calculator: Any) -> dict[str, Any]:
    from ase.data import atomic_numbers

    return {"elements": tuple(atomic_numbers[s] for s in calculator.element_map)}


def ask(calculator: Any, batch: AtomsBatch) -> dict[str, Any]:
    """Without stress: the virial of a batch is not told apart by structure."""
    import tensorflow as tf

    rows = []
    for atoms, _ in structures(batch):
        row: dict[str, Any] = {}
        for builder in calculator.data_builders:
            row |= builder.extract_from_ase_atoms(atoms)
        rows.append(row)
    data: dict[str, Any] = {}
    for builder in calculator.data_builders:
        data |= builder.join_to_batch(rows)
    data = {k: tf.convert_to_tensor(v) for k, v in data.items() if k in calculator.data_keys}
    said = [model.compute(data) for model in calculator.models]
    energy = np.stack([one["total_energy"].numpy().reshape(-1) for one in said])
    out = {"energy": energy.mean(0), "forces": np.mean([one["total_f"].numpy() for one in said], axis=0)}
    return out | ({"uncertainty": energy.std(0)} if len(said) > 1 else {})
