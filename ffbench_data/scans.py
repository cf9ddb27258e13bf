"""Geometry of bond scans: find bonds, cut a molecule at one, move both fragments apart.

The rule of the Bond Smoothness Characterization Test (Liu et al., arXiv:2602.04861): both fragments move rigidly
along the bond, each by half of the change; lengths run from 0.5 to 2 times the sum of the covalent radii
(Cordero et al., Dalton Trans. 2832 (2008)) in 100 steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

FRAMES = 100
SHORTEST, LONGEST = 0.5, 2.0  # times the sum of covalent radii
BOND_FACTOR = 1.2  # two atoms are bonded below this many sums of covalent radii


@dataclass(frozen=True)
class Scan:
    """``positions`` [K, N, 3] Angstrom at ``bond_length`` [K]; the bond is (``i``, ``j``); ``fragment`` [N] is 0 on the
    side of i and 1 on the side of j."""

    i: int
    j: int
    fragment: np.ndarray
    bond_length: np.ndarray
    positions: np.ndarray


def covalent_radius(number: int) -> float:
    """Cordero radius in Angstrom."""
    from ase.data import covalent_radii

    return float(covalent_radii[number])


def find_bonds(numbers: np.ndarray, positions: np.ndarray, *, factor: float = BOND_FACTOR) -> list[tuple[int, int]]:
    """Pairs i < j closer than ``factor`` times the sum of their covalent radii, in an open structure.

    >>> find_bonds([8, 1, 1], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    [(0, 1), (0, 2)]
    """
    positions = np.asarray(positions, float)
    radii = np.array([covalent_radius(z) for z in numbers])
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    close = np.triu(distance < factor * (radii[:, None] + radii[None]), 1)
    return [(int(i), int(j)) for i, j in zip(*np.nonzero(close))]


def bond_angles(numbers: np.ndarray, bonds: Sequence[Sequence[Any]]) -> dict[str, np.ndarray]:
    """{"H-C-H": [M, 3] atoms (i, j, k) with bonds to both at j} of ``bonds`` (i, j, ...).

    >>> bond_angles([8, 1, 1], [(0, 1), (0, 2)])
    {'H-O-H': array([[1, 0, 2]])}
    """
    from ase.data import chemical_symbols

    beside: dict[int, list[int]] = {}
    for i, j, *_ in bonds:
        beside.setdefault(i, []).append(j)
        beside.setdefault(j, []).append(i)
    symbols = [chemical_symbols[z] for z in numbers]
    out: dict[str, list[tuple[int, int, int]]] = {}
    for middle in sorted(beside):
        for i, k in combinations(sorted(beside[middle]), 2):
            first, last = sorted((symbols[i], symbols[k]))
            out.setdefault(f"{first}-{symbols[middle]}-{last}", []).append((i, middle, k))
    return {name: np.array(found) for name, found in sorted(out.items())}


def fragments(n_atoms: int, bonds: list[tuple[int, int]], bond: tuple[int, int]) -> np.ndarray | None:
    """Sides [N] after cutting ``bond`` (0 with its first atom, 1 with its second); ``None`` if it is in a ring."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    kept = [b for b in bonds if set(b) != set(bond)]
    i, j = (np.array([b[k] for b in kept], int) for k in (0, 1))
    _, label = connected_components(coo_array((np.ones(len(kept)), (i, j)), shape=(n_atoms, n_atoms)), directed=False)
    if label[bond[0]] == label[bond[1]]:
        return None
    return (label == label[bond[1]]).astype(np.uint8)


def scan_bond(
    numbers: np.ndarray, positions: np.ndarray, bond: tuple[int, int], fragment: np.ndarray, *, frames: int = FRAMES
) -> Scan:
    """The scan of one bond from a structure [N, 3]; ``fragment`` [N] says which atoms move with which end."""
    positions, fragment = np.asarray(positions, float), np.asarray(fragment)
    i, j = bond
    radii = covalent_radius(numbers[i]) + covalent_radius(numbers[j])
    length = np.linspace(SHORTEST * radii, LONGEST * radii, frames)
    along = positions[j] - positions[i]
    now = np.linalg.norm(along)
    move = 0.5 * (length - now)[:, None] * (along / now)
    side = np.where(fragment == fragment[j], 1.0, -1.0)
    return Scan(i, j, fragment, length, positions + side[None, :, None] * move[:, None, :])


def scan_all(numbers: np.ndarray, positions: np.ndarray) -> list[Scan]:
    """Scans of every bond that is not part of a ring."""
    bonds = find_bonds(numbers, positions)
    cut = [(bond, fragments(len(numbers), bonds, bond)) for bond in bonds]
    return [scan_bond(numbers, positions, bond, side) for bond, side in cut if side is not None]
