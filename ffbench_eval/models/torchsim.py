"""TorchSim models (`torch_sim.models.interface.ModelInterface`) behind the contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from ffbench_data.contract import AtomsBatch, ForceField, Prediction, as_prediction, named


def is_torchsim(thing: Any) -> bool:
    """Whether this is a TorchSim model: something callable that states what it computes."""
    stated = ("dtype", "device", "compute_stress", "memory_scales_with")
    return callable(thing) and not isinstance(thing, type) and all(hasattr(thing, name) for name in stated)


def from_torchsim(
    model: Any,
    *,
    cutoff: float | None = None,
    elements: Any = None,
    conservative: bool = True,
    card: Mapping[str, Any] | None = None,
    uses_charge: bool = False,
    uses_spin: bool = False,
) -> ForceField:
    """A model from a TorchSim ``ModelInterface``, called on the whole batch at once.

    Such a model makes its own neighbour list, so ``cutoff`` is only stated. dtype and device are the model's. Stress
    (of periodic systems), an uncertainty and an embedding of each atom are handed on where its answer has them, under
    the names of `ffbench_data.prediction.NAMES`. ``uses_charge`` and ``uses_spin`` say that it reads them from the
    state; ValueError where this TorchSim's states have none.
    ImportError says how to install TorchSim (it needs Python 3.12); ValueError names an object that is no such model.

    Source: TorchSim 0.6 (`torch_sim.state.SimState`: cells as columns, one ``system_idx`` per atom).
    """
    try:
        import torch_sim
    except ImportError as error:
        raise ImportError("TorchSim models need the package torch-sim-atomistic (Python 3.12 or newer)") from error
    _recent(torch_sim)
    for needed in ("dtype", "device"):
        if not callable(model) or not hasattr(model, needed):
            raise ValueError(f"model must be a TorchSim ModelInterface, got {type(model).__name__}")
    if not getattr(model, "compute_forces", True):
        raise ValueError("the TorchSim model does not compute forces: make it with compute_forces=True")
    known = getattr(torch_sim.SimState, "__dataclass_fields__", {})
    lacking = [name for name, uses in (("charge", uses_charge), ("spin", uses_spin)) if uses and name not in known]
    if lacking:
        raise ValueError(f"uses_{lacking[0]}: states of this TorchSim have no {lacking[0]}; a newer one has")
    card = {"name": type(model).__name__, "own_cutoff": cutoff, **(card or {})}
    call = _TorchSimCall(model, torch_sim.SimState)
    return ForceField(call, None, elements, model.dtype, conservative, card, torch.device(model.device),
                      uses_charge=uses_charge, uses_spin=uses_spin)  # fmt: skip


OLDEST = (0, 6)  # batches have one `pbc` per axis and `system_idx` from here on


def _recent(torch_sim: Any) -> None:
    """ImportError for a TorchSim older than what this adapter speaks to."""
    from importlib import metadata

    found = getattr(torch_sim, "__version__", "")
    try:
        found = found or metadata.version("torch-sim-atomistic")
    except metadata.PackageNotFoundError:
        return
    numbers = tuple(int(n) for n in re.findall(r"\d+", str(found))[:2])
    if numbers < OLDEST:
        raise ImportError(
            f"TorchSim {found} is too old: 0.6 or newer is needed, pip install -U 'torch-sim-atomistic>=0.6'"
        )


class _TorchSimCall:
    def __init__(self, model: Any, state: Any):
        self.model, self.state = model, state

    def __call__(self, batch: AtomsBatch) -> Prediction:
        from ase.data import atomic_masses

        masses = torch.as_tensor(atomic_masses, dtype=batch.positions.dtype, device=batch.positions.device)
        periodic = batch.pbc.any(0)
        if not bool((batch.pbc == periodic).all()):
            raise ValueError("TorchSim needs the same pbc for every system of a batch")
        fields = getattr(self.state, "__dataclass_fields__", {})
        more = {"charge": batch.charge, "spin": batch.spin_multiplicity}
        state = self.state(
            positions=batch.positions,
            masses=masses[batch.atomic_numbers],
            cell=batch.cell.mT.contiguous(),
            pbc=periodic,
            atomic_numbers=batch.atomic_numbers,
            system_idx=batch.system_index,
            **{k: v.to(batch.positions.dtype) for k, v in more.items() if k in fields},
        )
        out = {k: v.detach() for k, v in named(self.model(state)).items()}
        if not bool(periodic.all()):
            out.pop("stress", None)
        return as_prediction(out, batch)
