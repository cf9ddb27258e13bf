"""CP2K's trajectories: ``<project>-pos-1.xyz``, with forces and cell from the files beside it. Hartree and Bohr."""

from __future__ import annotations

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

    forces = path.with_name(path.name.replace("-pos-", "-frc-"))
    pulled = _blocks(forces) if forces != path and forces.is_file() else None
    cells = _cells(path)
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
        yield Image(numbers, x, np.zeros((3, 3)) if cell is None else cell, np.array([cell is not None] * 3), whole,
                    per_atom)  # fmt: skip


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


def _cells(path: Path) -> dict[int, np.ndarray]:
    """{step: cell} of CP2K's ``.cell`` file; {-1: cell} where all steps share one; empty without the file."""
    name = path.with_name(re.sub(r"-pos-(\d+)\.xyz$", r"-\1.cell", path.name))
    if name == path or not name.is_file():
        return {}
    rows = np.loadtxt(name, ndmin=2)
    cells = {int(row[0]): row[2:11].reshape(3, 3) for row in rows}
    first = next(iter(cells.values()))
    return {-1: first} if all(np.array_equal(c, first) for c in cells.values()) else cells
