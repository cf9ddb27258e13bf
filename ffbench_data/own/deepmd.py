"""DeePMD folders (npy or raw, one composition or mixed), and what only `dpdata` reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from .images import Image, Source

KNOWN = ("coord", "force", "energy", "box", "virial", "real_atom_types")


def deepmd_source(folder: Path) -> Source:
    """Every system below ``folder``: type.raw, type_map.raw, set.*/*.npy (eV, Angstrom)."""
    systems = sorted(p.parent for p in folder.rglob("type.raw"))
    return Source(str(folder), "DeePMD", lambda: (image for s in systems for image in _system(s, folder)),
                  "energy=eV,forces=eV/Angstrom,length=Angstrom")  # fmt: skip


def _system(folder: Path, home: Path) -> Iterator[Image]:
    try:
        kinds = np.loadtxt(folder / "type.raw", dtype=int, ndmin=1)
        elements = _elements(folder)
        periodic = not (folder / "nopbc").exists()
        run = str(folder.relative_to(home))
        sets = sorted(folder.glob("set.*"))
        for part in sets or [folder]:
            data = _arrays(part) if sets else _text(part)
            if "coord" not in data:
                raise ValueError(f"no coord in {part.name}")
            frames = len(data["coord"])
            for t in range(frames):
                types = data["real_atom_types"][t] if "real_atom_types" in data else kinds
                if types.min() < -1 or types.max() >= len(elements):
                    raise ValueError(f"type {types.max()} of {len(elements)} elements in type_map.raw")
                real = types >= 0
                per_atom, whole = {}, {}
                if "force" in data:
                    per_atom["forces"] = data["force"][t].reshape(-1, 3)[real]
                if "energy" in data:
                    whole["energy"] = float(data["energy"].reshape(-1)[t])
                if "virial" in data:
                    whole["virial"] = data["virial"][t]
                cell = data["box"][t].reshape(3, 3) if periodic and "box" in data else np.zeros((3, 3))
                yield Image(elements[types[real]], data["coord"][t].reshape(-1, 3)[real], cell, np.full(3, periodic),
                            whole, per_atom, run)  # fmt: skip
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{folder}: not a readable DeePMD system: {error}") from None


def _arrays(part: Path) -> dict[str, np.ndarray]:
    return {k: np.load(part / f"{k}.npy") for k in KNOWN if (part / f"{k}.npy").exists()}


def _text(folder: Path) -> dict[str, np.ndarray]:
    """Of deepmd/raw: text files with a row per frame instead of sets."""
    files = {k: folder / f"{k}.raw" for k in KNOWN}
    return {k: np.loadtxt(path, ndmin=2) for k, path in files.items() if path.exists()}


def _elements(folder: Path) -> np.ndarray:
    """Atomic numbers of the types; names of kinds such as Fe1 are their element's."""
    from ase.data import atomic_numbers

    path = folder / "type_map.raw"
    if not path.exists():
        raise ValueError("no type_map.raw: write the elements of types 0, 1, ... into it, one a line")
    found = {name: atomic_numbers.get(re.sub(r"\d+$", "", name)) for name in path.read_text().split()}
    if unknown := [name for name, z in found.items() if not z]:
        raise ValueError(f"{', '.join(unknown)} in type_map.raw is no element: write elements there")
    return np.array([found[name] for name in path.read_text().split()])


def dpdata_source(path: Path, failed: str = "") -> Source:
    """A file that ASE does not know, or ``failed`` on:
    dpdata finds its format. ValueError where dpdata is missing, or knows neither."""
    try:
        import dpdata
    except ImportError:
        raise ValueError(
            f"{path}: {failed or 'no format that ASE knows'}; `pip install dpdata` reads more (CP2K, ABACUS, QE, PWmat "
            "outputs), or write it as extxyz"
        ) from None
    for kind in ("auto", "cp2k/output", "cp2kdata/e_f", "qe/pw/scf", "abacus/md", "pwmat/output", "gaussian/log"):
        try:
            system = dpdata.LabeledSystem(str(path), fmt=kind)
        except (Exception, SystemExit) as error:
            failed = failed or str(error).strip().partition("\n")[0]
            continue
        if len(system):
            return Source(str(path), f"dpdata {kind}", partial(_of_dpdata, system.data),
                          "energy=eV,forces=eV/Angstrom,length=Angstrom")  # fmt: skip
    raise ValueError(f"{path}: no format that ASE or dpdata knows ({failed}); write it as extxyz")


def _of_dpdata(data: dict) -> Iterator[Image]:
    from ase.data import atomic_numbers

    numbers = np.array([atomic_numbers[data["atom_names"][k]] for k in data["atom_types"]])
    for t in range(len(data["coords"])):
        whole = {"energy": float(data["energies"][t])}
        if "virials" in data:
            whole["virial"] = data["virials"][t]
        periodic = not data.get("nopbc", False)
        cell = np.asarray(data["cells"][t]) if periodic else np.zeros((3, 3))
        yield Image(numbers, data["coords"][t], cell, np.full(3, periodic), whole, {"forces": data["forces"][t]})
