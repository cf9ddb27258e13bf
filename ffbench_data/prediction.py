"""What a model answers: `Prediction`, and how the shapes and containers that people return are read as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from .contract import AtomsBatch


@dataclass(frozen=True)
class Prediction:
    """What a model returns, and what labels look like.

    ``energy`` [B] eV, ``forces`` [A, 3] eV/Angstrom; optional ``stress`` [B, 3, 3] eV/Angstrom^3 (dE/d(strain) / V, as
    in ASE: negative under compression), ``embedding`` [A, D] (for selective classification), ``uncertainty`` [B]
    (larger = less certain).

    >>> import torch
    >>> Prediction(energy=torch.zeros(1), forces=torch.zeros(2, 3)).stress is None
    True
    """

    energy: Tensor
    forces: Tensor
    stress: Tensor | None = None
    embedding: Tensor | None = None
    uncertainty: Tensor | None = None


# Under which names packages return these, the contract's own first. Never one in another unit (MatterSim's ``stresses``
# are in GPa) or of another meaning (``virial``, ``energies``).
NAMES = {
    "energy": ("energy", "total_energy"),
    "forces": ("forces", "force"),
    "stress": ("stress",),
    "embedding": ("embedding", "descriptors", "node_feats", "node_features"),
    "uncertainty": ("uncertainty", "energy_uncertainty", "energy_std"),
}
ORDER = ("energy", "forces", "stress")  # of a tuple
VOIGT = ((0, 5, 4), (5, 1, 3), (4, 3, 2))  # xx, yy, zz, yz, xz, xy


def as_prediction(out: Any, batch: AtomsBatch) -> Prediction:
    """What a model returned as a checked `Prediction` on the batch's device; ValueError, one line, names what is wrong.

    A model may return a `Prediction`, a mapping or an object with such fields (`NAMES`), or a tuple of energy, forces
    and perhaps stress; tensors, arrays of numpy or plain numbers, or a list with a tensor of each system. Besides the
    shapes of `Prediction`: energies [B, 1], one number for one system, or one for each atom ([A] or [A, 1], which are
    summed); forces [B, N, 3] of systems of N atoms each; stress [B, 6] in Voigt order (xx, yy, zz, yz, xz, xy), or
    without its first axis for one system.

    >>> import torch
    >>> from ffbench_data import AtomsBatch
    >>> two = AtomsBatch(torch.ones(4, 3), torch.ones(4).long(), torch.tensor([0, 0, 1, 1]), torch.zeros(2, 3, 3),
    ...                  torch.zeros(2, 3) > 0)
    >>> as_prediction((np.ones((4, 1)), np.zeros((2, 2, 3))), two).energy
    tensor([2., 2.], dtype=torch.float64)
    """
    given = _fields(out)
    missing = [name for name in ("energy", "forces") if name not in given]
    if missing:
        raise ValueError(f"model returned no {' and no '.join(missing)}: it must return energy and forces")
    at = batch.positions.device
    return Prediction(**{name: _shaped(name, _tensor(name, value), batch).to(at) for name, value in given.items()})


def settled(prediction: Prediction) -> Prediction:
    """A copy without a graph, in which numbers too large for float32 are NaN: whatever stores them would overflow."""
    largest = torch.finfo(torch.float32).max

    def settle(value: Tensor) -> Tensor:
        value = value.detach()
        if value.dtype != torch.float64:
            return value.clone()
        return torch.where(value.abs() <= largest, value, torch.nan)

    settled: dict[str, Any] = {k: v if v is None else settle(v) for k, v in vars(prediction).items()}
    return Prediction(**settled)


def named(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a prediction among what a package returned, by the contract's names; what is ``None`` is absent."""
    found = {}
    for name, known in NAMES.items():
        value = next((given[k] for k in known if given.get(k) is not None), None)
        if value is not None:
            found[name] = value
    return found


def _fields(out: Any) -> dict[str, Any]:
    if isinstance(out, Prediction):
        return {k: v for k, v in vars(out).items() if v is not None}
    if isinstance(out, Mapping):
        return named(out)
    if hasattr(out, "_asdict"):
        return named(out._asdict())
    if isinstance(out, (tuple, list)):
        if len(out) not in (2, 3):
            raise ValueError(
                f"model must return a Prediction or a mapping; a tuple holds energy, forces and perhaps stress, not "
                f"{len(out)} things"
            )
        return {name: value for name, value in zip(ORDER, out) if value is not None}
    if not isinstance(out, Tensor) and hasattr(out, "energy") and hasattr(out, "forces"):
        return named({k: getattr(out, k, None) for known in NAMES.values() for k in known})
    raise ValueError(f"model must return a Prediction or a mapping, got {type(out).__name__}")


def _tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, Tensor) for v in value):
        value = torch.cat([v[None] if v.ndim == 0 else v for v in value])  # one of each system
    if not isinstance(value, Tensor):
        try:
            array = np.asarray(value)
        except (ValueError, RuntimeError, TypeError):  # ragged lists, tensors with a graph in a list
            array = np.empty(0, object)
        if array.dtype.kind != "f" or not array.size:
            kind = f"{array.dtype} array" if isinstance(value, np.ndarray) else type(value).__name__
            raise ValueError(f"model returned {name} as {kind}: it must be a floating-point tensor")
        value = torch.as_tensor(array.astype(float, copy=False) if array.dtype.itemsize > 8 else array)
    if not value.is_floating_point():
        raise ValueError(f"model returned {name} as {value.dtype} tensor: it must be a floating-point tensor")
    return value


def _shaped(name: str, value: Tensor, batch: AtomsBatch) -> Tensor:
    """``value`` in the shape of the contract, if it can mean one thing only."""
    atoms, systems = batch.positions.shape[0], batch.n_systems
    shape = tuple(value.shape)
    if name == "embedding":
        if value.ndim == 2 and shape[0] == atoms:
            return value
        raise ValueError(f"model returned embedding of shape {shape}, expected ({atoms}, D)")
    wanted = {"forces": (atoms, 3), "stress": (systems, 3, 3)}.get(name, (systems,))
    if shape == wanted:
        return value
    if name in ("energy", "uncertainty"):
        if shape == (systems, 1) or (systems == 1 and value.numel() == 1):
            return value.reshape(wanted)
        if name == "energy" and shape in ((atoms,), (atoms, 1)):
            return value.new_zeros(systems).index_add(0, batch.system_index.to(value.device), value.reshape(-1))
    block = name == "forces" and value.ndim == 3 and shape[::2] == (systems, 3) and systems * shape[1] == atoms
    if block and bool((batch.n_atoms == shape[1]).all()):
        return value.reshape(wanted)
    if name == "stress" and (shape == (systems, 6) or (systems == 1 and shape in ((6,), (3, 3)))):
        return (value.reshape(systems, 6)[:, VOIGT] if shape[-1] == 6 else value).reshape(wanted)
    raise ValueError(f"model returned {name} of shape {shape}, expected {wanted}")
