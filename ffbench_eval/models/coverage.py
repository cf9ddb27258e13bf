"""Which structures a model can be asked about: their elements, and charge and spin where it uses none."""

from __future__ import annotations

from typing import Any

import numpy as np

from ffbench_data.contract import ForceField


def covered(model: ForceField, frames: Any) -> np.ndarray:
    """[T], true where the model covers all elements of the frame, and takes its charge and spin."""
    fine = np.asarray(model.takes(frames.charge, frames.spin_multiplicity), bool)
    if model.elements is None or not len(frames):
        return fine
    known = np.isin(frames.atomic_numbers, list(model.elements))
    return fine & np.logical_and.reduceat(known, frames.offsets[:-1])


def lacking(model: ForceField, frames: Any) -> str:
    """Why the model cannot be asked about all ``frames``; "" if it can."""
    missing = set() if model.elements is None else set(frames.atomic_numbers.tolist()) - set(model.elements)
    why = [f"unsupported elements: {sorted(missing)}"] if missing else []
    other = int((~np.asarray(model.takes(frames.charge, frames.spin_multiplicity), bool)).sum())
    if other:
        why.append(
            f"unsupported charge or spin: {other} of {len(frames)} frames are charged or open-shell, and the model "
            "states that it does not use charge and spin (if it does: uses_charge=True, uses_spin=True)"
        )
    return "; ".join(why)
