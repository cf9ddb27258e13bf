"""Read upstream files into Arrow tables: eV, eV/Angstrom, Angstrom. Every fault is one line naming the file."""

from __future__ import annotations

import json
import pickle
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from ase import units

from ..schema import to_table

KCAL = units.kcal / units.mol  # eV per kcal/mol
NAMES = {
    "positions": ("pos", "R", "coords", "wrapped_coords"),
    "numbers": ("z", "nuclear_charges", "atomic_numbers", "atomic_number", "atom_types"),
    "energy": ("energy", "E", "energies"),
    "forces": ("forces", "F", "force"),
    "cell": ("cell", "lattices"),
    "lengths": ("lengths",),
    "pbc": ("pbc",),
    "index": ("index", "old_indices"),
}


def find(folder: Path, *patterns: str) -> Path | None:
    """The first file below ``folder`` that fits one of the patterns, in their order."""
    for pattern in patterns:
        for path in sorted(Path(folder).rglob(pattern)):
            return path
    return None


def require_folder(folder: Path) -> Path:
    folder = Path(folder).expanduser()
    try:
        if not folder.is_dir():
            raise ValueError(f"source={str(folder)!r} is not a folder")
        next(folder.iterdir(), None)
    except PermissionError:
        raise ValueError(f"source={str(folder)!r} cannot be read: permission denied") from None
    return folder


def unpack(archive: Path, folder: Path, only: str = "") -> Path:
    """Unpack the members of a tar archive whose path holds ``only``, once; paths out of the folder are refused."""
    if not (folder / ".unpacked").exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, [m for m in tar if only in m.name], filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ValueError(f"{archive}: cannot be unpacked: {error}") from None
        (folder / ".unpacked").touch()
    return folder


def npz_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file, nothing pickled."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return {k: data[k] for k in data.files if data[k].dtype != object}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: not a readable npz file (truncated?): {error}") from None


def pickled_arrays(path: Path) -> dict[str, Any]:
    """The dict of arrays in an ``.npy`` that was saved by pickling it; nothing but arrays is allowed inside."""

    class Arrays(pickle.Unpickler):
        def find_class(self, module, name):
            if module.split(".")[0] == "numpy" and name in (
                "_reconstruct",
                "ndarray",
                "dtype",
                "scalar",
                "_frombuffer",
            ):
                return super().find_class(module, name)
            raise pickle.UnpicklingError(f"{module}.{name} is not an array")

    try:
        with open(path, "rb") as f:
            np.lib.format.read_magic(f)
            np.lib.format.read_array_header_1_0(f)
            return dict(Arrays(f).load().item())
    except (pickle.UnpicklingError, EOFError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a readable array file (truncated?): {error}") from None


def table_of(
    arrays: dict[str, Any],
    path: Path,
    *,
    method: str,
    energy_unit: float = 1.0,
    time_step: float | None = None,
    periodic: bool | None = None,
) -> pa.Table:
    """A table from arrays under any of the names in use. ``energy_unit`` is eV per unit of the file (also of forces).

    ``time_step`` (fs) dates consecutive frames. Without energies the frames are force-only (energy NaN).
    """
    got: dict[str, Any] = {
        k: next((np.asarray(arrays[n]) for n in names if n in arrays), None) for k, names in NAMES.items()
    }
    missing = [f"{k} ({' or '.join(NAMES[k])})" for k in ("positions", "numbers", "forces") if got[k] is None]
    if missing:
        raise ValueError(f"{path}: no {', no '.join(missing)}; it has {', '.join(arrays) or 'nothing'}")
    _refuse_other_units(arrays, path)
    x, z, f = got["positions"], got["numbers"], got["forces"]
    if x.ndim != 3 or x.shape[-1] != 3 or f.shape != x.shape or z.shape[-1] != x.shape[1]:
        raise ValueError(f"{path}: shapes differ: positions {x.shape}, forces {f.shape}, atomic numbers {z.shape}")
    frames = len(x)
    energy = np.full(frames, np.nan) if got["energy"] is None else got["energy"].astype(float).reshape(-1)
    if len(energy) != frames:
        raise ValueError(f"{path}: {len(energy)} energies for {frames} frames")
    cell = got["cell"] if got["cell"] is not None else got["lengths"]
    if cell is not None and cell.ndim == 1:
        cell = np.diag(cell)
    pbc = got["pbc"]
    if pbc is None:
        pbc = np.full(3, bool(cell is not None and np.any(cell)) if periodic is None else periodic)
    if cell is not None:
        cell = np.where(np.asarray(pbc, bool)[..., :, None], cell, 0.0)  # a dummy box around a molecule is no cell
    index = np.arange(frames) if got["index"] is None else got["index"].astype(int).reshape(-1)
    return to_table(
        z if z.ndim == 1 else list(z),
        x,
        energy * energy_unit,
        f * energy_unit,
        cell=cell,
        pbc=pbc,
        source_index=index,
        time_fs=None if time_step is None else index * time_step,
        method=method,
    )


def _refuse_other_units(arrays: dict[str, Any], path: Path) -> None:
    if "meta" not in arrays:
        return
    try:
        stated = json.loads(str(arrays["meta"])).get("units", {})
    except (ValueError, AttributeError):
        raise ValueError(f"{path}: meta is not a JSON mapping") from None
    ours = {"pos": "Angstrom", "energy": "eV", "forces": "eV/Angstrom", "cell": "Angstrom"}
    for key, unit in ours.items():
        if key in stated and str(stated[key]).split(" ")[0] != unit:
            raise ValueError(f"{path}: {key} is in {stated[key]!r}, expected {unit!r}: convert the file first")


def read_npz(path: Path, **how: Any) -> pa.Table:
    return table_of(npz_arrays(path), path, **how)


def read_xyz(path: Path, *, method: str, time_step: float | None = None) -> pa.Table:
    """Frames of an extended XYZ file; frames without forces get NaN forces."""
    z, x, e, f, cell, pbc = xyz_arrays(path)
    time = None if time_step is None else np.arange(len(x)) * time_step
    return to_table(z, x, e, f, cell=np.array(cell), pbc=np.array(pbc), time_fs=time, method=method)


def xyz_arrays(path: Path) -> tuple[list, list, list, list, list, list]:
    """Per frame of an extended XYZ file: atomic numbers, positions, energy, forces (NaN where there are none), cell,
    periodic directions."""
    from ase.io import iread

    z, x, e, f, cell, pbc = [], [], [], [], [], []
    try:
        for atoms in iread(path, format="extxyz"):
            labels = atoms.calc.results if atoms.calc else {}
            z.append(atoms.numbers)
            x.append(atoms.positions)
            e.append(labels.get("energy", np.nan))
            f.append(labels.get("forces", np.full(atoms.positions.shape, np.nan)))
            pbc.append(atoms.pbc)
            cell.append(np.asarray(atoms.cell) * atoms.pbc[:, None])
    except Exception as error:  # ASE raises whatever it stumbles over
        raise ValueError(f"{path}: not a readable extended XYZ file: {error}") from None
    if not x:
        raise ValueError(f"{path}: no frames")
    return z, x, e, f, cell, pbc


def read_deepmd(folder: Path, *, method: str) -> pa.Table:
    """One DeePMD system folder: type.raw, type_map.raw, set.*/{coord,force,energy,box}.npy (Angstrom, eV)."""
    from ase.data import atomic_numbers

    try:
        kinds = np.loadtxt(folder / "type.raw", dtype=int, ndmin=1)
        names = (folder / "type_map.raw").read_text().split()
        sets = sorted(folder.glob("set.*"))
        x, f, e, box = (
            np.concatenate([np.load(s / f"{k}.npy") for s in sets]) for k in ("coord", "force", "energy", "box")
        )
        z = np.array([atomic_numbers[names[k]] for k in kinds])
        shape = (len(e), len(z), 3)
        return to_table(z, x.reshape(shape), e, f.reshape(shape), cell=box.reshape(-1, 3, 3), pbc=[True] * 3,
                        method=method)  # fmt: skip
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{folder}: not a readable DeePMD system: {error}") from None


def join(tables: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables(list(tables)).combine_chunks()
