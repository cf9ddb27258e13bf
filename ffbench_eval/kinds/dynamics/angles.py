"""Angles between bonds: how they are distributed in the simulation and in the data set's frames."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ..base import MetricsAndCurves
from ..statistics import over_replicas
from .criteria import completed, lasting_bonds
from .observables import MIN_FRAMES, density_curve, without
from .systems import System, systems_of

if TYPE_CHECKING:
    from ...engine.trajectory import Trajectory
    from ...run.data import TaskData
    from .observables import Hills
    from .work import Parameters

BINS = 60  # of three degrees


def angle_histogram(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills) -> MetricsAndCurves:
    """Error of the distribution of the angles at every kind of bonded triple, integral of |p - p_ref| in [0, 2]."""
    from ffbench_metrics import angle_histogram as of
    from ffbench_metrics import histogram_error

    systems = systems_of(data, stable)
    triples = {id(s): bonded_triples(s) for s in systems}
    names = dict.fromkeys(name for found in triples.values() for name in found)
    if not names:
        return without("angle_histogram_error", "1", "no three atoms are bonded to one another")
    metrics, curves = {}, {}
    for name in names:
        values: list[float | None] = []
        shapes: list[np.ndarray] = []
        reference = {
            id(s): of(s.positions(), triples[id(s)][name], bins=BINS, cell=_cell(s.frames.cell, s.pbc))
            for s in systems
            if name in triples[id(s)]
        }
        for t, s in zip(stable, systems):
            if len(t) < MIN_FRAMES or id(s) not in reference:
                values.append(None)
                continue
            angle, mine = of(t.positions, triples[id(s)][name], bins=BINS, cell=_cell(t.cells, s.pbc))
            values.append(histogram_error(mine, reference[id(s)][1], width=180.0 / BINS))
            shapes.append(mine)
        metrics[f"angle_histogram_error_{name}"] = over_replicas(values, unit="1")
        if len(reference) == 1:
            angle, theirs = next(iter(reference.values()))
            series = ({"model": np.mean(shapes, axis=0)} if shapes else {}) | {"reference": theirs}
            curves[f"angle_histogram_{name}"] = density_curve(angle, series, f"angle {name} (degrees)", "p (1/degree)")
    return metrics, curves


def bonded_triples(system: System) -> dict[str, np.ndarray]:
    """{"H-C-H": [M, 3] atoms (i, j, k) with both bonds at j} for the bonds that hold in every frame of the data set."""
    from ase.data import chemical_symbols

    beside: dict[int, list[int]] = {}
    for i, j, _ in lasting_bonds(system):
        beside.setdefault(i, []).append(j)
        beside.setdefault(j, []).append(i)
    symbols = [chemical_symbols[z] for z in system.numbers]
    out: dict[str, list[tuple[int, int, int]]] = {}
    for middle in sorted(beside):
        for i, k in combinations(sorted(beside[middle]), 2):
            first, last = sorted((symbols[i], symbols[k]))
            out.setdefault(f"{first}-{symbols[middle]}-{last}", []).append((i, middle, k))
    return {name: np.array(found) for name, found in sorted(out.items())}


def _cell(cells: np.ndarray, pbc: np.ndarray) -> np.ndarray | None:
    """Cells [T, 3, 3] for nearest images, which slabs and wires have along their periodic directions alone."""
    return np.stack([completed(c, pbc) for c in np.asarray(cells, float)]) if pbc.any() else None
