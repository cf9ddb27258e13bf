"""The water and alanine dipeptide files of MDsim (Zenodo 7196767): pickled dicts of arrays, kcal/mol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..datacard import Card
from ..frames import Frames
from .built import Built
from .read import KCAL, find, pickled_arrays, table_of
from .splits import add_blocked, published_split, take


def build_alanine(folder: Path, card: Card) -> Built:
    """Explicit solvent removed upstream, instantaneous forces, no energies."""
    path = find(folder, "alanine_dipeptide.npy")
    if path is None:
        raise ValueError(f"{folder}: alanine_dipeptide.npy is missing")
    built = Built()
    table = _table(path, card)
    table = table.slice(0, min(50000, table.num_rows))  # the file has one frame more than the protocol uses
    if table.num_rows < 50000:
        built.missing(f"{table.num_rows} of 50000 frames")
    built.tables["40k"] = take(table, published_split(table.num_rows, 38000, 2000, 10000))
    add_blocked(built, "blocked", table)
    spring: Any = card.reference.get("stiffness")
    i: Any
    j: Any
    i, j = _elements_bond(table, spring) if spring else ([], [])
    if spring and len(i):
        built.stiffness.append((spring["bond"], table, i, j, spring["eV_A2"]))
    return built


def water(folder: Path, card: Card) -> dict[str, pa.Table] | None:
    """The splits of MDsim's own water (config ``mdsim``), or None if the file is not there."""
    path = find(folder, "water.npy")
    if path is None:
        return None
    table = _table(path, card)
    return take(table, published_split(table.num_rows, 9500, 500, 10000))


def _table(path: Path, card: Card) -> pa.Table:
    arrays: dict[str, Any] = pickled_arrays(path)
    x = next((np.asarray(arrays[k]) for k in ("wrapped_coords", "pos") if k in arrays), None)
    if x is None:
        raise ValueError(f"{path}: no wrapped_coords or pos; it has {', '.join(arrays)}")
    named = {"pos": x, **{k: v for k, v in arrays.items() if k != "pos"}}
    frames = len(x)
    lengths = np.asarray(named.pop("lengths", np.zeros(3)), float)
    named["cell"] = (lengths[..., None] * np.eye(3)) if lengths.ndim > 1 else np.diag(lengths)
    if named["cell"].ndim == 3 and len(named["cell"]) not in (1, frames):
        raise ValueError(f"{path}: {len(named['cell'])} cells for {frames} frames")
    return table_of(named, path, method=card.theory, energy_unit=KCAL, labels=("forces",))


def _elements_bond(table: pa.Table, spring: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Atom pairs (i, j) of the first frame with the two elements and a length in the range on the card."""
    first = Frames(table.slice(0, 1))[0]
    d = np.linalg.norm(first.positions[:, None] - first.positions[None], axis=-1)
    a, b = spring["elements"]
    low, high = spring["between_A"]
    near = (first.atomic_numbers[:, None] == a) & (first.atomic_numbers[None] == b) & (d > low) & (d < high)
    i, j = np.nonzero(near)
    return i, j
