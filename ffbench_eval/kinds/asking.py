"""A model asked about many structures of one size at once, in its own precision and in float64."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ffbench_data.contract import AtomsBatch, ForceField

from ..models.batching import batch_atoms, in_parts
from ..models.embedding import bare
from ..models.finite import usable
from ..models.guard import ModelFailure, guarded

if TYPE_CHECKING:
    from ffbench_data.frames import Frame


def in_double(model: ForceField, frame: Frame) -> tuple[ForceField | None, str]:
    """(the model in float64, "") or (``None``, why it cannot be): a torch module that answers there as it does in its
    own precision, to a thousandth."""
    if model.dtype == torch.float64:
        return model, ""
    inner = bare(model)
    if not isinstance(inner.fn, torch.nn.Module):
        return None, "it is not a torch module that can be cast to another precision"
    try:
        made = guarded(replace(inner, fn=copy.deepcopy(inner.fn).double(), dtype=torch.float64))
        mine, double = (Ask(m).one(frame)[1] for m in (model, made))
        if np.abs(double - mine).max() <= 1e-3 * (1 + np.abs(mine).max()):
            return made, ""
        return None, "cast to float64 it answers otherwise"
    except Exception as error:  # whatever a foreign module does when it is cast
        return None, f"it cannot be cast to float64: {str(error).splitlines()[0][:120]}"


class Ask:
    """Asks a model about many structures of one size at once; NaN where it raises."""

    def __init__(self, model: ForceField):
        self.model, self.made, self.raised = model, 0, []  # type: ignore[var-annotated]

    def __call__(
        self,
        positions: Any,
        numbers: Any,
        cell: np.ndarray | None = None,
        pbc: np.ndarray | None = None,
        charge: int = 0,
        spin: int = 1,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Energies [K] and forces [K, N, 3] at ``positions`` [K, N, 3]; ``numbers`` [N] or [K, N], ``cell`` [3, 3] or
        [K, 3, 3]."""
        x = np.asarray(positions, float)
        k, n = x.shape[:2]
        z = np.broadcast_to(numbers, (k, n))
        cells = np.broadcast_to(np.zeros((3, 3)) if cell is None else cell, (k, 3, 3))
        periodic = np.broadcast_to(np.zeros(3, bool) if pbc is None else pbc, (k, 3))

        def part(rows: np.ndarray):
            self.made += 1
            b = len(rows)
            out = self.model(
                AtomsBatch(
                    positions=torch.from_numpy(x[rows].reshape(-1, 3)),
                    atomic_numbers=torch.from_numpy(z[rows].reshape(-1).astype(np.int64)),
                    system_index=torch.arange(b).repeat_interleave(n),
                    cell=torch.from_numpy(cells[rows].astype(float)),
                    pbc=torch.from_numpy(periodic[rows].copy()),
                    charge=torch.full((b,), int(charge)),
                    spin_multiplicity=torch.full((b,), int(spin)),
                )
            )
            energy, forces = (v.detach().cpu().double().numpy() for v in (out.energy, out.forces))
            return energy, forces.reshape(b, n, 3)

        def failed(_row: int, error: ModelFailure):
            self.raised.append(error.line)
            return np.full(1, np.nan), np.full((1, n, 3), np.nan)

        energy, forces = zip(*in_parts(part, np.arange(k), max(1, batch_atoms(self.model) // n), failed))
        e, f = np.concatenate(energy), np.concatenate(forces)
        return np.where(usable(e), e, np.nan), np.where(usable(f), f, np.nan)

    def one(self, frame: Frame) -> tuple[float, np.ndarray]:
        e, f = self(
            frame.positions[None],
            frame.atomic_numbers,
            frame.cell,
            frame.pbc,
            frame.charge,
            frame.spin_multiplicity,
        )
        return float(e[0]), f[0]
