"""What stable means for a system: the data set's own criterion, one made from its frames, or none (PROTOCOLS 8.2).

An absent criterion is not a passed one. Where the reference states bonds or a limit of g(r), these hold and nothing
else. Where it does not, a criterion is made from the labelled frames of the system:

- bonds by covalent radii (Cordero et al., Dalton Trans. 2832 (2008)) that no labelled frame stretches by 0.4 Angstrom;
  in periodic systems between non-metals only and within fragments that do not reach their own image, so that the
  phonons of a crystal or a melt break nothing;
- where these bonds do not hold every atom of an open system together: the distance of every atom to its nearest
  neighbour, from half the smallest to twice the largest seen, and the temperature;
- in periodic systems also g(r) of all atoms over 1 ps, at most twice as far from the mean as any labelled frame is, or
  a third as far as an ideal gas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engine.trajectory import Trajectory
from .systems import System

WINDOW_FS = 1000.0  # of g(r)
TOLERANCE = 0.5  # Angstrom, of a bond
NEAREST, APART = 0.5, 2.0  # of the smallest and the largest distance to a neighbour seen
HOTTER = 3.0  # times the target
CHANCE = 1e-9  # of a canonical temperature above the limit, in one frame: small systems fluctuate
SPREAD = 2.0  # times the largest error of g(r) of a labelled frame
LEAST = 1 / 3  # of the error of an ideal gas: no limit is tighter
FEWEST = 10  # labelled frames that have a spread
MOST = 200  # labelled frames looked at
PARTS = 5  # of the frames in their order; the g(r) of one is held against that of the others
R_MAX, BINS = 6.0, 60  # of a made g(r): coarse, so that a single frame says something
NON_METALS = frozenset([1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53])

Bond = tuple[int, int, float]


@dataclass(frozen=True)
class GofR:
    """``reference`` by pair, ``pairs`` by name as in `rdf_stability`, and how far (Angstrom) a window may be off."""

    reference: dict[str, np.ndarray]
    pairs: dict[str, tuple[Any, Any]]
    limit: float


@dataclass(frozen=True)
class Criterion:
    """``bonds`` are watched by the engine in open systems; ``nearest`` and ``apart`` (Angstrom) bound the distance of
    every atom to its nearest neighbour; ``hottest`` in K. ``note`` says how it was made, ``absent`` why there is none.
    """

    bonds: tuple[Bond, ...] = ()
    rdf: GofR | None = None
    nearest: float | None = None
    apart: float | None = None
    hottest: float | None = None
    note: str = ""
    absent: str = ""


def criterion(system: System, temperature_K: float, length_ps: float) -> Criterion:
    """The criterion for a simulation of ``system``; ``absent`` holds the reason where none can be had."""
    facts, periodic = system.facts, bool(system.pbc.any())
    bonds = tuple((int(i), int(j), float(d)) for i, j, d in facts.get("bonds") or ())
    limit = facts.get("rdf_limit") if periodic else None
    if limit is not None:
        if length_ps * 1000 < WINDOW_FS - 1e-6:
            why = f"no criterion of stability: {length_ps:g} ps are shorter than a window of g(r), 1 ps"
            return Criterion(bonds, absent="" if bonds else why)
        return Criterion(bonds, _published_rdf(system, float(limit)))
    if bonds:
        return Criterion(bonds)
    return _made(system, temperature_K)


def _published_rdf(system: System, limit: float) -> GofR:
    from .observables import rdf_pairs, reference_rdf

    pairs = {name: (a, None if a is b else b) for name, (a, b) in rdf_pairs(system).items()}
    return GofR({name: reference_rdf(system, name)[1] for name in pairs}, pairs, limit)


def _made(system: System, temperature_K: float) -> Criterion:
    n, periodic = len(system.numbers), bool(system.pbc.any())
    bonds = tuple(lasting_bonds(system))
    bonded = {k for i, j, _ in bonds for k in (i, j)}
    said = [f"{len(bonds)} bonds by covalent radii"] if bonds else []
    if not periodic and len(bonded) == n:
        return Criterion(bonds, note=f"criterion made from the data: {said[0]}")
    rdf = _own_rdf(system)
    if rdf is not None:
        said.append(f"g(r) of all atoms within {rdf.limit:.3g} Å")
    near = _neighbours(_some(system.positions()), _cells(system), system.pbc)
    nearest: float | None = None
    apart: float | None = None
    if near.size and np.isfinite(near).all():
        nearest, apart = NEAREST * float(near.min()), APART * float(near.max())
        said.append(f"nearest neighbours between {nearest:.3g} and {apart:.3g} Å")
    if not said:
        return Criterion(absent="no criterion of stability: no bonds, no limit of g(r), no pair of atoms")
    hottest = _hottest(temperature_K, n)
    said.append(f"temperature below {hottest:.4g} K")
    frames = len(system.frames)
    note = f"criterion made from the data ({frames} frame{'s' if frames > 1 else ''}): {', '.join(said)}"
    return Criterion(bonds, rdf, nearest, apart, hottest, note)


def first_failure(trajectory: Trajectory, wanted: Criterion, save_every_fs: float) -> float | None:
    """The time (ps) of the first saved frame that fails; a window of g(r) counts at its end."""
    from ffbench_metrics import bond_stability, rdf_stability

    if not len(trajectory):
        return None
    x, periodic = trajectory.positions.astype(float), bool(trajectory.pbc.any())
    failures: list[int | None] = []
    if wanted.bonds and periodic:  # the engine watches those of open systems
        cells = trajectory.cell[None] if trajectory.cell_scale is None else trajectory.cells
        cell = np.squeeze(np.stack([completed(c, trajectory.pbc) for c in cells]))
        found = bond_stability(
            x, [b[:2] for b in wanted.bonds], [b[2] for b in wanted.bonds], tolerance=TOLERANCE, cell=cell
        )
        failures.append(found.first_failure)
    if wanted.rdf is not None:
        window = max(1, round(WINDOW_FS / save_every_fs))
        if len(x) >= window:
            found = rdf_stability(
                x,
                trajectory.cell if trajectory.cell_scale is None else trajectory.cells,
                wanted.rdf.reference,
                pairs=wanted.rdf.pairs,
                window=window,
                tolerance=wanted.rdf.limit,
            )
            failures.append(found.first_failure)
    if wanted.nearest is not None and wanted.apart is not None:
        near = _neighbours(x, trajectory.cells, trajectory.pbc)
        bad = ~((near.min(1) >= wanted.nearest) & (near.max(1) <= wanted.apart))
        failures.append(_first(bad))
    if wanted.hottest is not None:
        failures.append(_first(~(trajectory.temperature <= wanted.hottest)))
    known = [k for k in failures if k is not None]
    return float(trajectory.time_ps[min(known)]) if known else None


def _first(bad: np.ndarray) -> int | None:
    at = np.flatnonzero(bad)
    return int(at[0]) if len(at) else None


def lasting_bonds(system: System) -> list[Bond]:
    """Bonds that hold in every labelled frame."""
    from ffbench_data.scans import find_bonds
    from ffbench_metrics.structure import nearest_image

    x = system.positions()
    energy = np.asarray(system.frames.energy, float)
    relaxed = x[int(np.nanargmin(energy)) if np.isfinite(energy).any() else 0].astype(float)
    periodic = bool(system.pbc.any())
    pairs = _fragment_bonds(system, relaxed) if periodic else find_bonds(system.numbers, relaxed)
    out = []
    for i, j in pairs:
        v = (x[:, j] - x[:, i]).astype(float)
        if periodic:
            v = nearest_image(v[:, None], _completed_all(system))[:, 0]
        d = np.linalg.norm(v, axis=-1)
        if d.max() < d.mean() + 0.4:
            out.append((i, j, float(d.mean())))
    return out


def _fragment_bonds(system: System, x: np.ndarray) -> list[tuple[int, int]]:
    """Bonds between non-metals within fragments that do not reach their own periodic image."""
    from ase import Atoms
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    from ffbench_data.scans import BOND_FACTOR

    atoms = Atoms(system.numbers, x, cell=system.cell, pbc=system.pbc)
    i, j, shift = neighbor_list("ijS", atoms, BOND_FACTOR * covalent_radii[system.numbers])
    light = np.isin(system.numbers, list(NON_METALS))
    keep = light[i] & light[j]
    edges: dict[int, list[tuple[int, np.ndarray]]] = {}
    for a, b, s in zip(i[keep].tolist(), j[keep].tolist(), shift[keep]):
        edges.setdefault(a, []).append((b, s))
    image: dict[int, np.ndarray] = {}
    bonds: list[tuple[int, int]] = []
    for first in edges:
        if first in image:
            continue
        image[first], queue, members, endless = np.zeros(3, int), [first], [first], False
        while queue:
            a = queue.pop()
            for b, s in edges[a]:
                if b not in image:
                    image[b] = image[a] + s
                    queue.append(b)
                    members.append(b)
                elif (image[b] != image[a] + s).any():
                    endless = True
        if not endless:
            bonds += sorted({(a, b) for a in members for b, _ in edges[a] if a < b})
    return bonds


def _own_rdf(system: System) -> GofR | None:
    """g(r) of all atoms and a limit from its spread; ``None`` with few frames, or where chance alone spreads so far
    that an ideal gas would pass."""
    from ffbench_metrics import number_of_pairs, pair_distance_counts

    n, frames = len(system.numbers), len(system.frames)
    if not system.pbc.all() or n < 2 or frames < FEWEST:
        return None
    x, cells = _some(system.positions()), _cells(system)
    counts = pair_distance_counts(x, cells, index_a=np.arange(n), r_max=R_MAX, bins=BINS).astype(float)
    shell = 4 / 3 * np.pi * np.diff(np.linspace(0, R_MAX, BINS + 1) ** 3) * number_of_pairs(n)
    g = counts * np.abs(np.linalg.det(cells))[:, None] / shell
    dr = R_MAX / BINS
    worst = 0.0
    for part in np.array_split(np.arange(len(g)), PARTS):
        rest = np.delete(g, part, axis=0).mean(0)
        worst = max(worst, float(np.abs(g[part] - rest).sum(1).max()) * dr)
    gas = float(np.abs(1 - g.mean(0)).sum()) * dr
    limit = max(SPREAD * worst, LEAST * gas)  # frames a femtosecond apart have no spread
    return GofR({"all": g.mean(0)}, {"all": (np.arange(n), None)}, limit) if limit < gas else None


def _hottest(temperature_K: float, n_atoms: int) -> float:
    from scipy.stats import chi2

    dof = max(1, 3 * n_atoms - 6)
    return temperature_K * max(HOTTER, float(chi2.isf(CHANCE, dof)) / dof)


def _neighbours(x: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Distance [T, N] of every atom to its nearest neighbour (its own images are none); infinite for a lone atom.

    ``cell`` [3, 3] or [T, 3, 3].
    """
    from ase.geometry import minkowski_reduce

    cells = np.broadcast_to(cell, (len(x), 3, 3))
    out = np.full(x.shape[:2], np.inf)
    basis, last = np.eye(3), None
    for t, (frame, one) in enumerate(zip(x, cells)):
        if pbc.any() and (last is None or not np.array_equal(one, last)):
            basis, last = minkowski_reduce(completed(one, pbc), pbc)[0], one
        v = (frame[:, None] - frame[None]).astype(float)
        if pbc.any():
            v = v - (np.round(v @ np.linalg.inv(basis)) * pbc) @ basis
        d = np.linalg.norm(v, axis=-1)
        np.fill_diagonal(d, np.inf)
        out[t] = d.min(1)
    return out


def completed(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """The cell with a vector along open directions, which may be zero, long enough that nothing wraps along them."""
    from ase.geometry import complete_cell

    if np.all(pbc):
        return np.asarray(cell, float)
    full = complete_cell(np.where(np.asarray(pbc, bool)[:, None], cell, 0.0))
    return np.where(np.asarray(pbc, bool)[:, None], full, full * 1e6)


def _completed_all(system: System) -> np.ndarray:
    return np.stack([completed(c, system.pbc) for c in system.frames.cell])


def _some(values: np.ndarray) -> np.ndarray:
    return values[:: -(-len(values) // MOST)].astype(float)


def _cells(system: System) -> np.ndarray:
    return _some(np.asarray(system.frames.cell))
