"""Frames asked again as copies: moved, renumbered, turned. A model that looks labels up knows none of them.

Energies and forces of a molecule do not depend on where it lies, how its atoms are numbered or how it is turned. Errors
on copies are those on the frames, but for models that are not equivariant by construction: for these a turn tells
nothing, a shift of an open system and another order of the atoms do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ffbench_data.frames import collate

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField
    from ffbench_data.frames import Frames

FRAMES = 20
WORSE = 2.0  # times the error on the frames themselves: more is another answer
SLACK = 1e-3  # eV/Angstrom, of rounding


def errors_on_copies(model: ForceField, frames: Frames, rows: Sequence[int], seed: int = 0) -> dict[str, float]:
    """Force MAE (eV/Angstrom) on at most `FRAMES` of ``rows`` as they are, moved, renumbered and turned.

    Periodic systems are only renumbered.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(np.asarray(rows))[:FRAMES]
    batch = collate(frames, indices=drawn)
    truth = torch.as_tensor(np.concatenate([frames[int(r)].forces for r in drawn])).double()
    numbers = np.concatenate(
        [np.flatnonzero(batch.system_index.numpy() == k)[rng.permutation(int(n))] for k, n in enumerate(batch.n_atoms)]
    )
    order = torch.as_tensor(numbers)
    renumbered = replace(batch, positions=batch.positions[order], atomic_numbers=batch.atomic_numbers[order])
    asked = {"frames": (batch, truth), "renumbered": (renumbered, truth[order])}
    if not bool(batch.pbc.any()):
        frame, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turn = torch.as_tensor(frame * np.sign(np.linalg.det(frame)))
        shift = torch.as_tensor(rng.uniform(-1, 1, 3))
        asked["moved"] = (replace(batch, positions=batch.positions + shift.to(batch.positions.dtype)), truth)
        turned = (batch.positions.double() @ turn.T).to(batch.positions.dtype)
        asked["turned"] = (replace(batch, positions=turned), truth @ turn.T)
    out = {}
    for name, (copy, labels) in asked.items():
        forces = model(copy).forces.detach().cpu().double()
        off = (forces - labels).abs()
        out[name] = float(off[torch.isfinite(labels)].mean())
    return out


def verdict(name: str, on_frames: float, on_copy: float) -> str:
    """``agrees``, or ``differs``; of a turn ``cannot tell``, since a model need not be equivariant.

    >>> verdict("moved", 0.01, 0.011), verdict("renumbered", 0.01, 0.9), verdict("turned", 0.01, 0.9)
    ('agrees', 'differs', 'cannot tell')
    """
    if on_copy <= WORSE * on_frames + SLACK:
        return "agrees"
    return "cannot tell" if name == "turned" else "differs"
