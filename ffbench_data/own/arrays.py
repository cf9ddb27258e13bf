"""npz files: MD17 and rMD17 (sGDML's keys), nequip, and any other with one array per quantity."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..builders.labels import NAMES, plain
from ..builders.read import LAYOUT, npz_arrays
from .images import Image, Source


def npz_source(path: Path) -> Source:
    arrays = npz_arrays(path)
    return Source(str(path), "npz", lambda: _images(path, arrays), _stated_units(arrays))


def _images(path: Path, arrays: dict[str, np.ndarray]) -> Iterator[Image]:
    from ..builders import read

    names = {k: next((n for n in usual if n in arrays), None) for k, usual in LAYOUT.items()}
    for wanted in ("positions", "numbers"):
        if names[wanted] is None:
            raise ValueError(f"{path}: no {wanted} ({' or '.join(LAYOUT[wanted])}); it has {', '.join(arrays)}")
    got: dict[str, Any] = {k: arrays[n] for k, n in names.items() if n is not None}
    x = read._numeric(got["positions"], "positions", path)
    if x.ndim == 2:
        x = x[None]
    if x.ndim != 3 or x.shape[-1] != 3:
        raise ValueError(f"{path}: positions {x.shape} are not [frames, atoms, 3]")
    frames, atoms = x.shape[:2]
    z = read._elements(got["numbers"], path)
    if z.shape not in ((atoms,), (1, atoms), (frames, atoms)):
        raise ValueError(f"{path}: shapes differ: positions {x.shape}, atomic numbers {z.shape}")
    z = _counted(z, str(names["numbers"]), path)
    z = np.broadcast_to(z, (frames, atoms))
    pbc = read._periodic(got.get("pbc"), frames, path)
    cell = read._cell(got, frames, path)
    cells = np.broadcast_to(np.zeros((3, 3)) if cell is None else cell, (frames, 3, 3))
    if pbc is None and cell is not None:
        pbc = np.full(3, bool(np.any(cell)))
    rest = {n: v for n, v in arrays.items() if n not in names.values() and n != "meta"}
    rows = {n: v for n, v in rest.items() if v.shape[:1] == (frames,)}
    of_cell = NAMES["stress"] | NAMES["virial"]
    whole = {n: v for n, v in rows.items()
             if plain(n) in of_cell or (v.shape[1:2] != (atoms,) and v.shape != (frames, 3 * atoms))}  # fmt: skip
    fixed = {n: v for n, v in rest.items() if n not in rows and v.ndim == 0}
    fixed |= {n: v.reshape(()) for n, v in rest.items() if n not in rows and v.size == 1}
    for t in range(frames):
        real = z[t] > 0  # molecules of different size are padded with 0
        per_atom = {n: v[t].reshape(atoms, -1)[real] for n, v in rows.items() if n not in whole}
        yield Image(
            z[t][real], x[t][real], cells[t], None if pbc is None else np.broadcast_to(pbc, (frames, 3))[t],
            {n: v[t].item() if v[t].size == 1 else v[t] for n, v in whole.items()}
            | {n: v.item() for n, v in fixed.items() if plain(n) in NAMES["charge"] | NAMES["theory"]},
            per_atom,
        )  # fmt: skip


def _counted(z: np.ndarray, name: str, path: Path) -> np.ndarray:
    """The atomic numbers; ValueError where they count kinds from 0 or 1. Zeros behind the last atom are room."""
    rows = np.atleast_2d(z)
    padded = len(rows) > 1 and bool((np.diff((rows > 0).astype(int), axis=1) <= 0).all())
    kinds = np.unique(z)
    counted = name == "atom_types" and len(kinds) > 1 and np.array_equal(kinds, np.arange(1, len(kinds) + 1))
    if counted or (bool((rows == 0).any()) and not padded):
        raise ValueError(
            f"{path}: {name} holds {', '.join(f'{k:g}' for k in kinds[:6])}: kinds that are counted? Give atomic "
            "numbers or symbols as z"
        )
    return z


def _stated_units(arrays: dict[str, np.ndarray]) -> str:
    """sGDML's ``e_unit`` and ``r_unit``, or the ``units`` of a JSON string ``meta``; rMD17 is kcal/mol by its paper."""
    if "e_unit" in arrays:
        energy = _text(arrays["e_unit"])
        length = _text(arrays.get("r_unit", np.array("Ang")))
        return f"energy={energy},forces={energy}/{length},length={length}"
    if "old_energies" in arrays or "old_indices" in arrays:
        return "energy=kcal/mol,forces=kcal/mol/Angstrom"
    try:
        meta = json.loads(str(arrays["meta"]))["units"]
        named = {"energy": meta.get("energy"), "forces": meta.get("forces"), "length": meta.get("pos")}
        return ",".join(f"{k}={str(v).split(' ')[0]}" for k, v in named.items() if v)
    except (KeyError, ValueError, TypeError, AttributeError):
        return ""


def _text(value: np.ndarray) -> str:
    text = value.item()
    return text.decode() if isinstance(text, bytes) else str(text)
