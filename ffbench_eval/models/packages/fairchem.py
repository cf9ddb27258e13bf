"""UMA and others of fairchem (fairchem-core 2): the data of a ``FAIRChemCalculator``, collated, in one ``predict``."""

from __future__ import annotations

from typing import Any

from ffbench_data.contract import AtomsBatch

from ..ase import handed_over, structures


def stated(calculator: Any) -> dict[str, Any]:
    return {}


def ask(calculator: Any, batch: AtomsBatch) -> dict[str, Any]:
    from fairchem.core.datasets.atomic_data import atomicdata_list_to_batch

    rows = []
    for atoms, state in structures(batch):
        handed_over(calculator, atoms, *state)
        rows.append(calculator.a2g(atoms))
    out = calculator.predictor.predict(atomicdata_list_to_batch(rows))
    said = {name: out[name].detach() for name in ("energy", "forces")}
    if bool(batch.pbc.all()) and "stress" in out:
        said["stress"] = out["stress"].detach().reshape(-1, 3, 3)
    return said
