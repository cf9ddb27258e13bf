"""Energies of a model with another zero: offsets per element, fitted on frames of a split that is not scored.

A model of another level of theory has another energy of free atoms. One more unit asks it about `FRAMES` frames of
``val`` (``train`` where there is no ``val``); least squares gives one offset per element, or one constant where all
structures have one composition. Models trained on the data's own theory are never aligned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ffbench_data.contract import ForceField

from ...report import same_theory
from ..base import UnitValues
from ..selective.features import counts

FRAMES = 100  # the constant of one composition is then known to a tenth of the error's spread
FILE = "offsets.npz"


@dataclass(frozen=True)
class Offsets:
    """``per_element`` [k] in eV of ``elements`` [k]; ``compositions`` [n, k] are those they were fitted on."""

    elements: np.ndarray
    per_element: np.ndarray
    compositions: np.ndarray
    split: str
    frames: int

    def sentence(self) -> str:
        """What was removed, for a reader of the report."""
        from ase.data import chemical_symbols

        how = f"energies aligned: least squares on {self.frames} frames of {self.split}"
        if len(self.compositions) == 1:
            shift = float(self.compositions[0] @ self.per_element)
            return f"{how}; one composition, so one constant: {shift:.6g} eV per structure"
        each = ", ".join(f"{chemical_symbols[z]} {v:.6g}" for z, v in zip(self.elements, self.per_element))
        rank = np.linalg.matrix_rank(self.compositions)
        free = "" if rank == len(self.elements) else f" (only {rank} combinations of them are determined)"
        return f"{how}; eV per atom: {each}{free}"

    def shift(self, frames: Any) -> np.ndarray:
        """What to take off the model's energies [T] in eV. ValueError if the fit does not say."""
        unknown = sorted(set(frames.atomic_numbers.tolist()) - set(self.elements.tolist()))
        if unknown:
            raise ValueError(f"no frame of {self.split} has the elements {unknown}, so their offsets are not known")
        here = counts(frames, self.elements)
        basis = np.linalg.pinv(self.compositions) @ self.compositions
        if np.abs(here - here @ basis).max() > 1e-6:
            raise ValueError(f"the compositions of {self.split} do not determine the offsets of these structures")
        return here @ self.per_element


def plan(task: Any, model: ForceField) -> list[dict[str, Any]]:
    """Inputs of the one unit that asks ``model`` about frames to fit on; none if it states the data's theory."""
    from ffbench_data.datacard import card
    from ffbench_data.load import provenance

    if same_theory(str(model.card.get("theory", "")), card(task.dataset).theory):
        return []
    splits = provenance(task.dataset, task.config)["splits"]
    for split in ("val", "train"):
        if split in splits and split != task.parameters.split:
            rows = np.sort(np.random.default_rng(0).permutation(splits[split]["frames"])[:FRAMES])
            content = splits[split]["content_sha256"]
            return [{"rows": rows.tolist(), "fit_offsets_on": split, "content_sha256": content}]
    return []


def fit(frames: Any, energy: np.ndarray, split: str, path: Any) -> UnitValues:
    """Write what the fit needs to ``path``; the outcome of the unit. Frames without a finite energy are left out."""
    fine = np.isfinite(energy) & np.isfinite(frames.energy)
    elements = np.unique(frames.atomic_numbers)
    np.savez(
        path,
        elements=elements,
        compositions=counts(frames, elements)[fine],
        energy=energy[fine],
        reference=frames.energy[fine],
        split=split,
    )
    if not np.isfinite(energy).any():
        return {
            "status": ["model_error"] * len(frames),
            "detail": [f"energies cannot be aligned: no energy of {len(frames)} frames of {split} is finite"],
        }
    offsets = read(path)
    return {"status": ["ok"] * len(frames), "detail": [offsets.sentence()] if offsets else []}


def read(path: Any) -> Offsets | None:
    """The offsets from what `fit` wrote; ``None`` where no frame had both energies."""
    from ffbench_metrics import element_offsets

    with np.load(path) as got:
        if not len(got["energy"]):
            return None
        return Offsets(
            elements=got["elements"],
            per_element=element_offsets(got["compositions"], got["energy"], got["reference"]),
            compositions=np.unique(got["compositions"], axis=0),
            split=str(got["split"]),
            frames=len(got["energy"]),
        )
