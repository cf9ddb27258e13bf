"""Networks answer in numbers of order one; here they become energies in eV, without losing digits in float32."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch, ForceField, Prediction

from .pairs import tracing


class Scaled(nn.Module):
    """E = scale * network + sum over atoms of shift[element]; forces = -dE/dx.

    The shifts (thousands of eV) are added in float64 after the gradient, so that a float32 network keeps its digits.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, scale: float = 1.0, shift: Tensor | None = None):
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.tensor(float(scale), dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(100, dtype=torch.float64) if shift is None else shift.double())
        self.elements: tuple[int, ...] | None = None

    @property
    def conservative(self) -> bool:
        return not getattr(self.network, "direct_forces", False)

    def forward(self, batch: AtomsBatch) -> Prediction:
        training = self.training and torch.is_grad_enabled()
        self._check_elements(batch.atomic_numbers)
        if self.conservative:
            with torch.enable_grad():
                x = batch.positions.detach().requires_grad_(True)
                out = self.network(replace(batch, positions=x))
                (gradient,) = torch.autograd.grad(out["energy"].sum(), x, create_graph=training)
            unit_forces = -gradient
        else:
            with torch.set_grad_enabled(training):
                out = self.network(batch)
            unit_forces = out["forces"]
        offset = self.shift.new_zeros(batch.n_systems)
        offset = offset.index_add(0, batch.system_index, self.shift.index_select(0, batch.atomic_numbers))
        energy = out["energy"].to(self.scale.dtype) * self.scale + offset
        forces = unit_forces * self.scale.to(unit_forces.dtype)
        embedding = out.get("embedding")
        if not training:
            energy, forces = energy.detach(), forces.detach()
            embedding = None if embedding is None else embedding.detach()
        return Prediction(energy=energy, forces=forces, embedding=embedding)

    def _check_elements(self, numbers: Tensor) -> None:
        """ValueError for elements it was not made for; on a CPU and not while tracing (it would cost a wait)."""
        if self.elements is None or self.training or numbers.device.type != "cpu" or tracing():
            return
        strange = ~torch.isin(numbers, numbers.new_tensor(self.elements))
        if bool(strange.any()):
            names = ", ".join(str(z) for z in numbers[strange].unique().tolist())
            raise ValueError(
                f"the batch has elements {names} (atomic numbers), but this model knows "
                f"{', '.join(str(z) for z in self.elements)}; train one on data with them"
            )


class Ensemble(nn.Module):
    """Mean of the members' energies and forces; ``uncertainty`` [B] is the standard deviation of the energy (eV), the
    embedding is that of the first member (the members' spaces have nothing to do with each other)."""

    def __init__(self, members: Iterable[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def conservative(self) -> bool:
        return all(m.conservative for m in self.members)

    def forward(self, batch: AtomsBatch) -> Prediction:
        out = [member(batch) for member in self.members]
        energy = torch.stack([p.energy for p in out])
        forces = torch.stack([p.forces for p in out]).mean(0)
        return Prediction(energy.mean(0), forces, embedding=out[0].embedding, uncertainty=energy.std(0))


def ensemble(models: Iterable[ForceField], *, card: dict[str, Any] | None = None) -> ForceField:
    """One model from several (at least two) of one cutoff, of this package or not; see `Ensemble`."""
    models = list(models)
    if len(models) < 2:
        raise ValueError(f"an ensemble needs at least two models, got {len(models)}")
    cutoffs = {m.cutoff for m in models}
    if len(cutoffs) > 1 or len({m.dtype for m in models}) > 1:
        raise ValueError(f"members of an ensemble must share cutoff and dtype, got cutoffs {sorted(cutoffs, key=str)}")
    first = models[0]
    sets = [set(m.elements) for m in models if m.elements is not None]
    return replace(
        first,
        fn=Ensemble(cast(Any, m.fn) for m in models).eval(),
        elements=tuple(sorted(set.intersection(*sets))) if sets else None,
        conservative=all(m.conservative for m in models),
        card=dict(card or {**first.card, "name": f"{first.name}-ensemble{len(models)}"}),
    )


def fit_scale_and_shift(
    numbers: Any, offsets: np.ndarray, energy: np.ndarray, forces: np.ndarray
) -> tuple[float, Tensor]:
    """(root mean square force, per-element energies by least squares) of training frames; float64.

    ``numbers`` [A] of all frames in a row, ``offsets`` [T + 1] where each begins, ``energy`` [T], ``forces`` [A, 3].
    """
    elements = np.unique(numbers)
    counts = np.stack([np.add.reduceat(numbers == z, offsets[:-1]) for z in elements], 1).astype(float)
    known = np.isfinite(energy)
    per_element, *_ = np.linalg.lstsq(counts[known], energy[known], rcond=None)
    shift = torch.zeros(100, dtype=torch.float64)
    shift[torch.from_numpy(elements.astype(np.int64))] = torch.from_numpy(per_element)
    return float(np.sqrt(np.nanmean(np.square(forces, dtype=float)))), shift


def force_field(
    module: nn.Module,
    *,
    cutoff: float,
    elements: Iterable[int] | None,
    card: dict[str, Any],
    dtype: torch.dtype = torch.float32,
) -> ForceField:
    """A network (`Scaled` or `Ensemble`) behind the contract, in evaluation mode with frozen weights."""
    module = module.eval().requires_grad_(False)
    elements = None if elements is None else tuple(int(z) for z in elements)
    for part in module.modules():
        if isinstance(part, Scaled):
            part.network.to(dtype)
            part.elements = elements
    conservative: Any = module.conservative
    return ForceField(module, cutoff, elements, dtype, conservative, card)
