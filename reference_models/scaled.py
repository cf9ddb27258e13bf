"""Networks answer in numbers of order one; here they become energies in eV, without losing digits in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch, ForceField, Prediction


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

    def forward(self, batch: AtomsBatch) -> Prediction:
        from dataclasses import replace

        training = self.training and torch.is_grad_enabled()
        with torch.enable_grad():
            x = batch.positions.detach().requires_grad_(True)
            out = self.network(replace(batch, positions=x))
            energy, embedding = out["energy"], out.get("embedding")
            (gradient,) = torch.autograd.grad(energy.sum(), x, create_graph=training)
        offset = self.shift.new_zeros(batch.n_systems)
        offset = offset.index_add(0, batch.system_index, self.shift.index_select(0, batch.atomic_numbers))
        energy = energy.to(self.scale.dtype) * self.scale + offset
        forces = gradient * (-self.scale).to(gradient.dtype)
        if not training:
            energy, forces = energy.detach(), forces.detach()
            embedding = None if embedding is None else embedding.detach()
        return Prediction(energy=energy, forces=forces, embedding=embedding)


def fit_scale_and_shift(numbers, offsets, energy, forces) -> tuple[float, Tensor]:
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


def force_field(module: Scaled, *, cutoff: float, elements, card: dict[str, Any], dtype=torch.float32) -> ForceField:
    """A trained network behind the contract, in evaluation mode with frozen weights."""
    module = module.eval().requires_grad_(False)
    module.network.to(dtype)
    return ForceField(module, cutoff, tuple(elements), dtype, True, card)
