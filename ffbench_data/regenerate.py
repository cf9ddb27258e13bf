"""Does this machine reproduce the canonical labels? Trajectories of a regeneration differ, labels must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .load import load_frames
from .potentials import label, reference

ENERGY_LIMIT, FORCE_LIMIT = 1e-5, 1e-4  # eV, eV/Angstrom (PROTOCOLS 7.10)


def relabel(
    name: str, config: str | None = None, *, frames: int = 100, root: str | Path | None = None
) -> dict[str, Any]:
    """Label ``frames`` canonical test frames again: largest errors (eV, eV/Angstrom) and whether they are accepted.

    A regeneration from the same recipe is accepted when this passes and its observables lie inside the noise floor.
    ValueError for a data set without a reference potential or without canonical frames here.
    """
    calculator = reference(name)
    test = load_frames(name, config, "test", root=root)
    rows = np.linspace(0, len(test) - 1, min(frames, len(test))).round().astype(int)
    chosen = test[rows]
    numbers, x = chosen.stacked()
    cell = chosen.cell[0] if chosen.pbc[0].any() else None
    energy, forces = label(calculator, numbers, x, cell)
    de = float(np.abs(energy - chosen.energy).max())
    df = float(np.abs(forces - chosen.forces.reshape(forces.shape)).max())
    return {"frames": len(rows), "energy_error_eV": de, "force_error_eV_A": df,
            "accepted": de <= ENERGY_LIMIT and df <= FORCE_LIMIT}  # fmt: skip
