"""VASP's OUTCAR where ASE does not get along with it: forces with van der Waals columns, on-the-fly machine learning.

Energies as ASE has them: ``energy`` is extrapolated to no smearing, ``free_energy`` is what the forces belong to. Steps
that a machine-learned force field of VASP made, marked (ML), are no labels and are left out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .images import Image

NUMBER = re.compile(r"-?\d+\.\d+(?:[Ee][-+]\d+)?|\bNaN\b")
KBAR = ((0, 3, 5), (3, 1, 4), (5, 4, 2))  # VASP's order: xx, yy, zz, xy, yz, zx


def outcar_images(path: Path) -> Iterator[Image]:
    """Every finished step; ValueError for a file that is none, or without structures."""
    from ase import units
    from ase.io.formats import open_with_compression

    symbols: list[str] = []
    potentials: list[str] = []  # named twice or more; newer files have these alone
    counts: list[int] = []
    cell, stress, step, free = np.zeros((3, 3)), None, None, np.nan
    found = 0
    with open_with_compression(str(path), "r") as file:
        for line in file:
            if "VRHFIN" in line:
                symbols.append(line.partition("=")[2].partition(":")[0].strip())
            elif line.startswith(" POTCAR:"):
                potentials += [w.partition("_")[0] for w in line.split()[2:3]]
            elif "ions per type =" in line:
                counts = [int(n) for n in line.partition("=")[2].split()]
                symbols = symbols or potentials[: len(counts)]
            elif "direct lattice vectors" in line and "reciprocal" in line:
                cell = np.array([_numbers(row)[:3] for row in itertools.islice(file, 3)])
            elif line.strip().startswith("in kB"):
                kbar = _numbers(line)
                stress = -0.1 * units.GPa * np.array(kbar)[list(KBAR)] if len(kbar) == 6 else None
            elif "POSITION" in line and "TOTAL-FORCE" in line:
                numbers = _atoms(path, symbols, counts)
                rows = [_numbers(row)[:6] for row in itertools.islice(file, 1, len(numbers) + 1)]
                step = None if "(ML)" in line or any(len(row) != 6 for row in rows) else np.array(rows)
            elif "free  energy   TOTEN" in line:
                free = _numbers(line)[0]
            elif "energy  without entropy" in line and "energy(sigma->0)" in line and "ML" not in line:
                after = _numbers(line.partition("energy(sigma->0)")[2])
                if step is not None and after:
                    whole: dict[str, Any] = {"energy": after[0], "free_energy": free}
                    whole |= {} if stress is None else {"stress": stress}
                    yield Image(numbers, step[:, :3], cell, np.ones(3, bool), whole, {"forces": step[:, 3:]})
                    found += 1
                step, stress = None, None
    if not found:
        raise ValueError(f"{path}: no finished step with positions and forces in it (NWRITE below 1?)")


def _numbers(line: str) -> list[float]:
    return [float(n) for n in NUMBER.findall(line)]


def _atoms(path: Path, symbols: list[str], counts: list[int]) -> np.ndarray:
    from ase.data import atomic_numbers

    if len(symbols) != len(counts) or not counts:
        raise ValueError(f"{path}: {len(symbols)} potentials and {len(counts)} numbers of ions per type")
    if unknown := [s for s in symbols if s not in atomic_numbers]:
        raise ValueError(f"{path}: {unknown[0]!r} is no element of the periodic table")
    return np.repeat([atomic_numbers[s] for s in symbols], counts)
