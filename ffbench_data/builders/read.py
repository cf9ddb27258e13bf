"""Read upstream files into Arrow tables: eV, eV/Angstrom, Angstrom. Every fault is one line naming the file."""

from __future__ import annotations

import json
import pickle
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from ase import units

from ..schema import to_table
from .labels import NAMES, charge_and_spin, check_theory, pick, plain, said, stress_of
from .xyz import LABELS
from .xyz import read_xyz as read_xyz
from .xyz import xyz_arrays as xyz_arrays

KCAL = units.kcal / units.mol  # eV per kcal/mol
LAYOUT = {  # of arrays; the names of labels are in `labels.NAMES`
    "positions": ("pos", "R", "coords", "wrapped_coords", "positions", "coordinates"),
    "numbers": ("z", "nuclear_charges", "atomic_numbers", "atomic_number", "numbers", "Z", "species", "atom_types"),
    "cell": ("cell", "lattices", "lattice"),
    "lengths": ("lengths",),
    "angles": ("angles",),
    "pbc": ("pbc",),
    "index": ("index", "old_indices"),
}
USUAL = {"energy": ("energy", "E", "energies", "REF_energy"), "forces": ("forces", "F", "force", "REF_forces")}


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
    """Unpack the members of a tar archive whose path holds ``only``, once; paths out of the folder are refused, and an
    archive whose members (also those that are left out: they have to be read over) hold too much (`TooLarge`)."""
    if not (folder / ".unpacked").exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, [m for m in _counted(tar, archive) if only in m.name], filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            raise ValueError(f"{archive}: cannot be unpacked: {error}") from None
        (folder / ".unpacked").touch()
    return folder


def _counted(tar: tarfile.TarFile, archive: Path) -> Iterator[tarfile.TarInfo]:
    """The members, as long as what they hold unpacked is not too much; a member is a header of 512 bytes at least."""
    size = 0
    for member in tar:
        size += 512 + member.size
        if size > MOST_UNPACKED:
            raise TooLarge(f"{archive}: unpacks to more than {MOST_UNPACKED} bytes from {archive.stat().st_size}")
        yield member


def npz_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file, nothing pickled."""
    try:
        unpacked(path)
        with np.load(path, allow_pickle=False) as data:
            return {k: data[k] for k in data.files if data[k].dtype != object}
    except TooLarge:
        raise
    except Exception as error:  # of zip, zlib, numpy and the parser of its headers
        raise ValueError(f"{path}: not a readable npz file (truncated?): {one_line(error)}") from None


MOST_UNPACKED = 64 * 2**30  # bytes


class TooLarge(ValueError):
    """A file that would unpack to more than is read."""


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def unpacked(path: Path) -> int:
    """Bytes that a zip archive (npz) would have unpacked, as its table says; `TooLarge` above `MOST_UNPACKED`."""
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MOST_UNPACKED:
        raise TooLarge(f"{path}: unpacks to {size} bytes from {path.stat().st_size}, at most {MOST_UNPACKED} are read")
    return size


def pickled_arrays(path: Path) -> dict[str, Any]:
    """The dict of arrays in an ``.npy`` that was saved by pickling it; nothing but arrays is allowed inside."""

    class Arrays(pickle.Unpickler):
        def find_class(self, module: str, name: str):
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
    except Exception as error:  # whatever a damaged stream leads to; nothing of it but arrays was made
        raise ValueError(f"{path}: not a readable array file (truncated?): {one_line(error)}") from None


def table_of(
    arrays: dict[str, Any],
    path: Path,
    *,
    method: str,
    energy_unit: float = 1.0,
    time_step: float | None = None,
    periodic: bool | None = None,
    labels: Sequence[str] = LABELS,
    keys: Mapping[str, str] | None = None,
) -> pa.Table:
    """A table from arrays under any of the names in use. ``energy_unit`` is eV per unit of the file (also of forces).

    ``time_step`` (fs) dates consecutive frames. ``labels`` are those that the file must have (some frames may lack
    them: NaN); ``keys`` names them where the usual names do not serve. What is not used is said (`labels.NotUsed`).
    """
    keys, where = keys or {}, str(path)
    names = {k: next((n for n in usual if n in arrays), None) for k, usual in LAYOUT.items()}
    names["energy"] = pick(arrays, "energy", where, keys.get("energy")) or pick(arrays, "free_energy", where)
    names["forces"] = pick(arrays, "forces", where, keys.get("forces"))
    missing = [f"{k} ({' or '.join(LAYOUT[k])})" for k in ("positions", "numbers") if names[k] is None]
    missing += [f"{k} ({' or '.join(USUAL[k])})" for k in labels if names[k] is None]
    if missing:
        raise ValueError(f"{path}: no {', no '.join(missing)}; it has {', '.join(arrays) or 'nothing'}")
    got: dict[str, Any] = {k: np.asarray(arrays[n]) for k, n in names.items() if n is not None}
    _refuse_other_units(arrays, path, method)
    x = _numeric(got["positions"], "positions", path)
    if x.ndim != 3 or x.shape[-1] != 3:
        raise ValueError(f"{path}: positions {x.shape} are not [frames, atoms, 3]")
    frames, atoms = x.shape[:2]
    z = _elements(got["numbers"], path)
    f = _numeric(got.get("forces", np.full(x.shape, np.nan)), "forces", path)
    if z.shape not in ((atoms,), (1, atoms), (frames, atoms)) or f.shape not in (x.shape, (frames, 3 * atoms)):
        raise ValueError(f"{path}: shapes differ: positions {x.shape}, forces {f.shape}, atomic numbers {z.shape}")
    energy = _numeric(got.get("energy", np.full(frames, np.nan)), "energies", path)
    if energy.shape not in ((frames,), (frames, 1)):
        raise ValueError(f"{path}: energies {energy.shape} for {frames} frames: expected one a frame")
    nothing = [k for k, v in (("energy", energy), ("forces", f)) if k in labels and np.isnan(v).all()]
    if nothing:
        raise ValueError(f"{path}: every value of {' and of '.join(str(names[k]) for k in nothing)} is NaN: no labels")
    pbc = _periodic(got.get("pbc"), frames, path)
    cell = _cell(got, frames, path)
    if pbc is None:
        pbc = np.full(3, bool(cell is not None and np.any(cell)) if periodic is None else periodic)
    if cell is not None:
        cell = np.where(pbc[..., :, None], cell, 0.0)  # a dummy box around a molecule is no cell
    stress, stress_name = _stresses(arrays, cell, pbc, frames, path)
    charge, spin = _charges(arrays, np.broadcast_to(z, (frames, atoms)), frames, path)
    index = np.arange(frames) if "index" not in got else _indices(got["index"], frames, path)
    used = {n for n in (*names.values(), stress_name, "meta") if n}
    used |= {n for n in arrays for kind in ("charge", "multiplicity", "unpaired", "spin", "theory")
             if plain(n) in NAMES[kind]}  # fmt: skip
    if unused := [n for n in arrays if n not in used]:
        said(path, f"not used: {', '.join(unused)}")
    return to_table(
        list(np.broadcast_to(z, (frames, atoms))) if z.ndim == 2 else z,
        x,
        energy.reshape(frames) * energy_unit,
        f.reshape(x.shape) * energy_unit,
        cell=cell,
        pbc=pbc,
        stress=None if stress is None else stress * (energy_unit if stress_name else 1.0),
        source_index=index,
        time_fs=None if time_step is None else index * time_step,
        method=method,
        charge=charge,
        spin_multiplicity=spin,
        where=where,
    )


def _numeric(values: np.ndarray, what: str, path: Path) -> np.ndarray:
    if values.dtype == np.float16 or values.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {what} are {values.dtype}: expected float64 or float32")
    return values.astype(np.float64) if values.dtype.kind != "f" or what == "energies" else values


def _elements(z: np.ndarray, path: Path) -> np.ndarray:
    """Atomic numbers from numbers (of any kind) or symbols; the range is checked by `to_table`."""
    from ase.data import atomic_numbers

    if z.dtype.kind in "US":
        symbols = z.astype(str)
        unknown = sorted(set(symbols.ravel()) - set(atomic_numbers))
        if unknown:
            raise ValueError(f"{path}: {', '.join(unknown)} is no element of the periodic table")
        return np.vectorize(atomic_numbers.get, otypes=[int])(symbols)
    if z.dtype.kind not in "fiu":
        raise ValueError(f"{path}: atomic numbers are {z.dtype}: expected whole numbers or symbols")
    return z


def _periodic(pbc: np.ndarray | None, frames: int, path: Path) -> np.ndarray | None:
    if pbc is None:
        return None
    if pbc.dtype.kind not in "biu" or pbc.shape not in ((), (3,), (frames, 3)):
        raise ValueError(f"{path}: pbc {pbc.dtype} {pbc.shape}: expected three truth values, or three a frame")
    return np.broadcast_to(pbc.astype(bool), (3,)) if pbc.ndim == 0 else pbc.astype(bool)


def _cell(got: dict[str, Any], frames: int, path: Path) -> np.ndarray | None:
    """[3, 3] or [frames, 3, 3] from a cell, nine numbers, edges and angles (degrees), or three edges."""
    from ase.geometry import cellpar_to_cell

    if "cell" not in got and "lengths" not in got:
        return None
    cell = _numeric(got["cell"] if "cell" in got else got["lengths"], "cells", path).astype(float)
    if "angles" in got and not np.allclose(got["angles"], 90):
        raise ValueError(f"{path}: angles of the cell other than 90 degrees: give the cell as [3, 3]")
    # Three rows of three are lattice vectors when called a cell, and edges of three frames when called lengths.
    if cell.shape in ((3, 3), (frames, 3, 3), (1, 3, 3)) and "cell" in got:
        return cell[0] if cell.shape == (1, 3, 3) else cell
    if cell.shape in ((3,), (6,), (9,)) or cell.shape in ((frames, 3), (frames, 6), (frames, 9)):
        rows = [np.diag(c) if len(c) == 3 else c.reshape(3, 3) if len(c) == 9 else cellpar_to_cell(c)
                for c in np.atleast_2d(cell)]  # fmt: skip
        return rows[0] if cell.ndim == 1 else np.stack(rows)
    raise ValueError(
        f"{path}: cell {cell.shape} for {frames} frames: expected [3, 3], [9], edges and angles [6] or edges [3], "
        "with or without one a frame"
    )


def _stresses(
    arrays: Mapping[str, Any], cell: np.ndarray | None, pbc: np.ndarray, frames: int, path: Path
) -> tuple[np.ndarray | None, str | None]:
    name = pick(arrays, "stress", str(path)) or pick(arrays, "virial", str(path))
    if name is None or cell is None or not pbc.all():
        return None, None
    if len(arrays[name]) != frames:
        raise ValueError(f"{path}: {name} {np.shape(arrays[name])} for {frames} frames")
    cells = np.broadcast_to(cell, (frames, 3, 3))
    stresses = [stress_of({name: s}, c, str(path))[0] for s, c in zip(arrays[name], cells)]
    return np.stack([s for s in stresses if s is not None]), name


def _charges(arrays: Mapping[str, Any], numbers: np.ndarray, frames: int, path: Path) -> tuple[list[int], list[int]]:
    """Charge and spin multiplicity of each frame of atomic ``numbers`` [frames, N]: stated once, once a frame, or
    neutral singlets."""
    kinds = ("charge", "multiplicity", "unpaired", "spin")
    stated = {n: np.asarray(v).reshape(-1) for n, v in arrays.items() if any(plain(n) in NAMES[k] for k in kinds)}
    for name, values in stated.items():
        if len(values) not in (1, frames):
            raise ValueError(f"{path}: {name} has {len(values)} values for {frames} frames")
    rows = [{n: v[t if len(v) > 1 else 0] for n, v in stated.items()} for t in range(frames)] if stated else []
    found = [charge_and_spin(row, numbers[t], f"{path}: frame {t}") for t, row in enumerate(rows)]
    return [c or 0 for c, _ in found] or [0] * frames, [s or 1 for _, s in found] or [1] * frames


def _indices(index: np.ndarray, frames: int, path: Path) -> np.ndarray:
    index = index.reshape(-1)
    if len(index) != frames or index.dtype.kind not in "fiu" or (index != np.round(index)).any():
        raise ValueError(
            f"{path}: index {index.dtype} [{len(index)}] is not one whole number for each of {frames} frames"
        )
    if np.abs(index).max(initial=0) >= 2**31:
        raise ValueError(f"{path}: index {np.abs(index).max()} does not fit 32 bits")
    return index.astype(np.int64)


def _refuse_other_units(arrays: dict[str, Any], path: Path, method: str) -> None:
    """What the file says of itself: units other than ours are refused, another level of theory too."""
    about: dict[str, Any] = {n: arrays[n] for n in arrays if plain(n) in NAMES["theory"]}
    if "meta" in arrays:
        try:
            meta = json.loads(str(arrays["meta"]))
            units_of = meta.get("units", {})
            about |= {n: v for n, v in meta.items() if plain(n) in NAMES["theory"] and isinstance(v, str)}
        except (ValueError, AttributeError):
            raise ValueError(f"{path}: meta is not a JSON mapping") from None
        ours = {"pos": "Angstrom", "energy": "eV", "forces": "eV/Angstrom", "cell": "Angstrom"}
        for key, unit in ours.items():
            if key in units_of and str(units_of[key]).split(" ")[0] != unit:
                raise ValueError(f"{path}: {key} is in {units_of[key]!r}, expected {unit!r}: convert the file first")
    for statement in about.values():
        check_theory(np.asarray(statement).item() if np.ndim(statement) == 0 else statement, method, path)


def read_npz(path: Path, **how: Any) -> pa.Table:
    return table_of(npz_arrays(path), path, **how)


def read_deepmd(folder: Path, *, method: str) -> pa.Table:
    """One DeePMD system folder: type.raw, type_map.raw, set.*/{coord,force,energy,box,virial}.npy (Angstrom, eV);
    a file ``nopbc`` says that the system is open."""
    from ase.data import atomic_numbers

    try:
        kinds = np.loadtxt(folder / "type.raw", dtype=int, ndmin=1)
        names = (folder / "type_map.raw").read_text().split()
        if kinds.min() < 0 or kinds.max() >= len(names):
            raise ValueError(f"type.raw has kind {kinds.max()}, type_map.raw {len(names)} elements")
        sets = sorted(folder.glob("set.*"))

        def read(name: str):
            return np.concatenate([np.load(s / f"{name}.npy") for s in sets])

        has = sorted({f.stem for s in sets for f in s.glob("*.npy")})
        x, f, e = read("coord"), read("force"), read("energy").reshape(-1)
        z = np.array([atomic_numbers[names[k]] for k in kinds])
        shape = (len(e), len(z), 3)
        open_system = (folder / "nopbc").exists()
        cell = None if open_system else read("box").reshape(-1, 3, 3)
        stress = None
        if "virial" in has and cell is not None:
            stress = -read("virial").reshape(-1, 3, 3) / np.abs(np.linalg.det(cell))[:, None, None]
        if unused := [n for n in has if n not in ("coord", "force", "energy", "box", "virial")]:
            said(folder, f"not used: {', '.join(unused)}")
        return to_table(z, x.reshape(shape), e, f.reshape(shape), cell=cell, pbc=[not open_system] * 3, stress=stress,
                        method=method, where=str(folder))  # fmt: skip
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{folder}: not a readable DeePMD system: {error}") from None


def join(tables: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables(list(tables)).combine_chunks()
