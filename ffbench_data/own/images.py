"""From files of other people's formats to structures with whatever they hold, one at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..builders.labels import NAMES, plain
from ..builders.read import one_line
from ..store import MANIFEST

HUB = "hf://datasets/"
PACKED = (".gz", ".bz2", ".xz")


@dataclass
class Image:
    """One structure: ``numbers`` [N], ``positions`` [N, 3], ``cell`` [3, 3], ``pbc`` [3] (``None``: not said), and
    what else the file holds, per structure and per atom, under the file's own names. ``run`` tells trajectories of
    one file apart."""

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray | None
    whole: dict[str, Any] = field(default_factory=dict)
    per_atom: dict[str, np.ndarray] = field(default_factory=dict)
    run: str = ""


@dataclass(frozen=True)
class Source:
    """A readable file or folder: ``images()`` gives its structures anew; ``units`` as the file or its format states
    them, "" where it does not."""

    name: str
    format: str
    images: Callable[[], Iterator[Image]]
    units: str = ""


def open_source(given: str) -> Source:
    """What ``given`` is: a file, a folder, or a data set of the Hugging Face Hub. ValueError if it is none."""
    text, path = str(given), Path(given).expanduser()
    if text.startswith(HUB) or (not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", text) and not path.suffix):
        return _hub(text.removeprefix(HUB))
    if not path.exists():
        raise ValueError(f"{text}: no such file or folder")
    return _folder(path) if path.is_dir() else _file(path)


def _file(path: Path) -> Source:
    name = path.name.casefold()
    for end in PACKED:
        name = name.removesuffix(end)
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    if name.endswith(".npz"):
        from .arrays import npz_source

        return npz_source(path)
    if name.endswith(".parquet"):
        from .columns import parquet_source

        return parquet_source(path, [path])
    if name.endswith((".xyz", ".extxyz")):
        from .bare import bare_source, is_bare
        from .cp2k import cp2k_source, is_cp2k

        if is_bare(path):
            return bare_source(path)
        return cp2k_source(path) if is_cp2k(path) else _ase(path, "extxyz")
    if name.endswith(".db"):
        return Source(str(path), "ASE database", lambda: _database(path), _units_of_database(path))
    if "outcar" in name:
        return _outcar(path)
    if "vasprun" in name and name.endswith(".xml"):
        return _ase(path, "vasp-xml")
    if name.endswith((".h5", ".hdf5", ".npy", ".pt", ".pkl", ".pickle")):
        raise ValueError(f"{path}: {path.suffix} files have no layout of their own; write extxyz (ase.io.write) or npz "
                         "(R, z, E, F) from it")  # fmt: skip
    return _any(path)


def _outcar(path: Path) -> Source:
    """Through ASE, and where it stumbles over the first step through our own reader."""
    from .outcar import outcar_images

    try:
        if next(_images(path, "vasp-out"), None) is not None:
            return _ase(path, "vasp-out")
    except ValueError:
        pass
    try:
        next(outcar_images(path))
    except Exception as error:  # of gzip and codecs too
        said = one_line(error).removeprefix(f"{path}: ")
        raise ValueError(
            f"{path}: cannot be read as OUTCAR: {said}; take the vasprun.xml of the same run, or write it as extxyz"
        ) from None
    return Source(str(path), "OUTCAR", lambda: outcar_images(path))


def _any(path: Path) -> Source:
    """Whatever else ASE knows, then dpdata, where it is installed."""
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    try:
        kind = filetype(str(path))
    except (UnknownFileTypeError, OSError, UnicodeDecodeError):
        kind = ""
    failed = ""
    if kind in ioformats:
        try:
            if next(_images(path, kind), None) is not None:
                return _ase(path, kind)
            failed = f"no structure in it, read as {kind}"
        except ValueError as error:
            failed = str(error).removeprefix(f"{path}: ")
    from .deepmd import dpdata_source

    return dpdata_source(path, failed)


def _folder(path: Path) -> Source:
    if (path / MANIFEST).is_file():
        raise ValueError(f"{path} is a sealed data set already: use it as it is, by its folder or its name")
    if next(path.rglob("type.raw"), None) is not None:
        from .deepmd import deepmd_source

        return deepmd_source(path)
    if next(path.rglob("*.parquet"), None) is not None:
        from .columns import local_folder

        return local_folder(path)
    there = sorted(p.name for p in path.iterdir())
    raise ValueError(
        f"{path}: a folder without type.raw (DeePMD) and without Parquet files; name the files in it: "
        f"{', '.join(there[:5]) or 'it is empty'}{' ...' * (len(there) > 5)}"
    )


def _hub(name: str) -> Source:
    from .columns import hub_source

    return hub_source(name)


def _ase(path: Path, kind: str) -> Source:
    return Source(str(path), f"ASE {kind}", lambda: (of_atoms(a) for a in _images(path, kind)))


def _images(path: Path, kind: str) -> Iterator[Any]:
    from ase.io import iread

    more: dict[str, Any] = {"properties_parser": _comment} if kind == "extxyz" else {}
    t = 0
    try:
        for atoms in iread(str(path), index=":", format=kind, **more):
            yield atoms
            t += 1
    except KeyError as error:
        element = str(error).strip("'")
        hint = ": isotopes have hydrogen's potential, write H" if element in ("D", "T") else ""
        raise ValueError(f"{path}: {error} is no element of the periodic table{hint}") from None
    except Exception as error:  # ASE raises whatever it stumbles over
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        after = f" after {t} frames" if t else ""
        raise ValueError(f"{path}: cannot be read as {kind}{after}: {first}") from None


SIX = re.compile(r"\b(stress|virial)\s*=\s*[\"'{\[]([^\"'}\]]*)[\"'}\]]")


def _comment(line: str) -> dict[str, Any]:
    """The fields of an extended XYZ comment; a stress or virial of six numbers (Voigt), which ASE refuses, as nine."""
    from ase.io.extxyz import key_val_str_to_dict

    def nine(found: re.Match) -> str:
        v = found[2].replace(",", " ").split()
        order = (0, 5, 4, 5, 1, 3, 4, 3, 2)
        return f'{found[1]}="{" ".join(v[k] for k in order)}"' if len(v) == 6 else found[0]

    fields: dict[str, Any] = key_val_str_to_dict(SIX.sub(nine, line))
    return fields


def _units_of_database(path: Path) -> str:
    """As SchNetPack states them in the database's metadata; "" where it does not."""
    from ase.db import connect

    from .units import SAID

    try:
        with connect(path) as rows:
            about = rows.metadata
    except Exception:  # told when its rows are read
        return ""
    units = about.get("_property_unit_dict") or {}
    found = {kind: str(u) for name, u in units.items() for kind in SAID if u and plain(name) in NAMES.get(kind, ())}
    found |= {"length": str(about["_distance_unit"])} if found and about.get("_distance_unit") else {}
    return ",".join(f"{kind}={found[kind]}" for kind in SAID if kind in found)


def _database(path: Path) -> Iterator[Image]:
    from ase.db import connect

    try:
        with connect(path) as rows:
            for row in rows.select():
                image = of_atoms(row.toatoms())
                image.whole |= {k: v for k, v in {**row.data, **row.key_value_pairs}.items() if k not in image.whole}
                yield image
    except Exception as error:  # sqlite3 and ASE each have their own
        raise ValueError(f"{path}: cannot be read as an ASE database: {error}") from None


def of_atoms(atoms: Any) -> Image:
    """Of an `ase.Atoms`: its info, arrays and calculator's results."""
    results = dict(atoms.calc.results) if atoms.calc is not None else {}
    n = len(atoms)
    whole = {**atoms.info}
    per_atom = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    for name, value in results.items():
        if value is None or name in ("energies", "stresses", "magmoms", "free_energies"):
            continue
        if np.shape(value)[:1] == (n,) and name not in ("stress",):
            per_atom[name] = value
        else:
            whole[name] = value
    return Image(atoms.numbers, atoms.positions, np.asarray(atoms.cell.array), atoms.pbc.copy(), whole, per_atom)
