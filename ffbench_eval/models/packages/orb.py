"""ORB (orb-models): the graphs of an ``ORBCalculator``, put together, in one call of ``model.predict``."""

from __future__ import annotations

from typing import Any

from ffbench_data.contract import AtomsBatch

from ..ase import handed_over, structures


def stated(calculator: Any) -> dict[str, Any]:
    return {}


def ask(calculator: Any, batch: AtomsBatch) -> dict[str, Any]:
    graphs = []
    for atoms, state in structures(batch):
        handed_over(calculator, atoms, *state)
        graphs.append(_graph(calculator, atoms).to(calculator.device))
    out = calculator.model.predict(_batched(calculator, graphs))
    model = getattr(calculator.model, "xc_model", calculator.model)  # without the dispersion beside it
    names = {"energy": "energy", "forces": "forces", "stress": "stress"}
    if calculator.conservative:
        names |= {"forces": model.grad_forces_name, "stress": getattr(model, "grad_stress_name", "stress")}
    said = {name: out[key].detach() for name, key in names.items() if key in out}
    if not bool(batch.pbc.all()):
        said.pop("stress", None)
    return said


def _graph(calculator: Any, atoms: Any) -> Any:
    how = {k: getattr(calculator, k) for k in ("max_num_neighbors", "edge_method", "half_supercell", "device")}
    if hasattr(calculator, "adapter"):  # 0.6 and later
        return calculator.adapter.from_ase_atoms(atoms=atoms, **how)
    from orb_models.forcefield.atomic_system import ase_atoms_to_atom_graphs

    return ase_atoms_to_atom_graphs(atoms, system_config=calculator.system_config, **how)


def _batched(calculator: Any, graphs: list[Any]) -> Any:
    if hasattr(calculator, "adapter"):
        return calculator.adapter.batch(graphs)
    from orb_models.forcefield.base import batch_graphs

    return batch_graphs(graphs)
