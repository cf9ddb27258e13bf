"""CP2K's trajectories: ``<project>-pos-1.xyz``, with forces and cell from the files beside it. Hartree and Bohr.

CP2K simulates in a periodic cell unless it is told otherwise. The trajectory does not say which: the ``.cell`` file
does, else the section &CELL of a restart or input file in the folder. Without these, the cell is asked for.
"""

from __future__ import annotations

import glob
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .images import Image, Source

COMMENT = re.compile(r"\bi\s*=\s*(\d+).*?\btime\s*=\s*([-+\d.Ee]+).*?\bE\s*=\s*([-+\d.Ee]+)")


def is_cp2k(path: Path) -> bool:
    """Whether the comment line is CP2K's: ``i = 0, time = 0.000, E = -17.16``."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = list(itertools.islice(file, 2))
    except OSError:
        return False
    return len(lines) == 2 and bool(COMMENT.search(lines[1]))


def cp2k_source(path: Path) -> Source:
    if "-frc-" in path.name:
        raise ValueError(f"{path}: CP2K's forces; name the file of positions, {path.name.replace('-frc-', '-pos-')}")
    return Source(str(path), "CP2K", lambda: _images(path), "energy=Hartree,forces=Hartree/Bohr,length=Angstrom")


def _images(path: Path) -> Iterator[Image]:
    from ase.data import atomic_numbers

    forces = _forces(path)
    pulled = _blocks(forces) if forces is not None else None
    cells, pbc = _cells(path)
    for comment, symbols, x in _blocks(path):
        found = COMMENT.search(comment)
        if not found:
            raise ValueError(f"{path}: comment {comment.strip()!r} is not CP2K's i =, time =, E =")
        whole = {"energy": float(found[3]), "time_fs": float(found[2])}
        per_atom = {}
        if pulled is not None:
            other, names, f = next(pulled, ("", [], np.zeros((0, 3))))
            theirs = COMMENT.search(other)
            if names != symbols or not theirs or theirs[1] != found[1]:
                raise ValueError(f"{forces}: its steps or atoms are not those of {path.name}, from step {found[1]} on")
            per_atom["forces"] = f
        try:
            numbers = np.array([atomic_numbers[re.sub(r"\d+$", "", s).capitalize()] for s in symbols])
        except KeyError as error:
            raise ValueError(f"{path}: {error} is no element of the periodic table") from None
        cell = cells.get(int(found[1]), cells.get(-1))
        yield Image(numbers, x, np.zeros((3, 3)) if cell is None else cell, pbc, whole, per_atom)


def beside(path: Path) -> list[Path]:
    """The files that a trajectory is read with."""
    return (
        [p for p in (_forces(path), _cell_file(path), _about(path)) if p is not None]
        if path.suffix == ".xyz" and is_cp2k(path)
        else []
    )


def _forces(path: Path) -> Path | None:
    found = path.with_name(path.name.replace("-pos-", "-frc-"))
    return found if found != path and found.is_file() else None


def _cell_file(path: Path) -> Path | None:
    found = path.with_name(re.sub(r"-pos-(\d+)\.xyz$", r"-\1.cell", path.name))
    return found if found != path and found.is_file() else None


def _about(path: Path) -> Path | None:
    """The run's restart file, or the only input file in its folder."""
    project = re.sub(r"-pos-\d+\.xyz$", "", path.name)
    restarts, inputs = (sorted(path.parent.glob(end)) for end in (f"{glob.escape(project)}-*.restart", "*.inp"))
    return next(iter(restarts[:1] or (inputs if len(inputs) == 1 else [])), None)


def _blocks(path: Path) -> Iterator[tuple[str, list[str], np.ndarray]]:
    """(comment, symbols, columns 2 to 4) of every frame of an xyz file."""
    with path.open(encoding="utf-8") as file:
        while line := file.readline().strip():
            try:
                n = int(line)
                comment = file.readline()
                rows = [file.readline().split() for _ in range(n)]
                yield comment, [r[0] for r in rows], np.array([[float(v) for v in r[1:4]] for r in rows])
            except (ValueError, IndexError):
                raise ValueError(f"{path}: not a readable xyz file (truncated?) near {line!r}") from None


def _cells(path: Path) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """({step: cell} of CP2K's ``.cell`` file, {-1: cell} where all steps share one, empty without any; periodic
    directions [3])."""
    said = _about(path)
    about = _section(said) if said else []
    periodic = next((line[1].upper() for line in about if line[0] == "PERIODIC" and len(line) > 1), "XYZ")
    pbc = np.array([axis in periodic for axis in "XYZ"]) if periodic != "NONE" else np.zeros(3, bool)
    name = _cell_file(path)
    if name is None:
        stated = _stated_cell(about)
        return {} if stated is None else {-1: stated}, pbc
    rows = np.loadtxt(name, ndmin=2)
    cells = {int(row[0]): row[2:11].reshape(3, 3) for row in rows}
    first = next(iter(cells.values()))
    return ({-1: first} if all(np.array_equal(c, first) for c in cells.values()) else cells), pbc


def _section(path: Path) -> list[list[str]]:
    """The lines of &CELL, split; [] without."""
    text = path.read_text(encoding="utf-8", errors="replace")
    section = re.search(r"^\s*&CELL\s*$(.*?)^\s*&END", text, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    lines = [re.split(r"[!#]", line)[0].split() for line in section[1].splitlines()] if section else []
    return [[line[0].upper(), *line[1:]] for line in lines if line]


def _stated_cell(about: list[list[str]]) -> np.ndarray | None:
    """Cell [3, 3] in Angstrom of the lines of &CELL: A, B and C, or ABC with or without angles."""
    from ase.geometry import cellpar_to_cell
    from ase.units import Bohr

    said: dict[str, np.ndarray] = {}
    for name, *words in about:
        if name in ("A", "B", "C", "ABC", "ALPHA_BETA_GAMMA"):
            unit = next((w.casefold() for w in words if w.startswith("[")), "[angstrom]")
            try:
                said[name] = np.array([float(w) for w in words if not w.startswith("[")])
            except ValueError:  # a variable of the input, such as ${L}
                return None
            if name != "ALPHA_BETA_GAMMA":
                said[name] *= Bohr if unit == "[bohr]" else 1.0
    if "ABC" in said:
        angles = said.get("ALPHA_BETA_GAMMA", np.full(3, 90.0))
        return np.asarray(cellpar_to_cell([*said["ABC"], *angles]))
    return np.stack([said[k] for k in "ABC"]) if {"A", "B", "C"} <= said.keys() else None
