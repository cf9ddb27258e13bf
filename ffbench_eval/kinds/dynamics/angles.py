"""Angles between bonds: how they are distributed in the simulation and in the data set's frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..base import MetricsAndCurves
from ..statistics import over_replicas
from .criteria import completed, lasting_bonds
from .floors import floor, levels
from .observables import MIN_FRAMES, density_curve, without
from .systems import System, systems_of

if TYPE_CHECKING:
    from ...engine.trajectory import Trajectory
    from ...run.data import TaskData
    from .observables import Hills
    from .work import Parameters

BINS = 60  # of three degrees
STORED = "angle_histogram_"  # before the name of the angle: the counts of a data set's own runs


def angle_histogram(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills) -> MetricsAndCurves:
    """Error of the distribution of the angles at every kind of bonded triple, integral of |p - p_ref| in [0, 2]."""
    from ffbench_metrics import angle_histogram as of
    from ffbench_metrics import histogram_error

    systems = systems_of(data, stable)
    triples = {id(s): bonded_triples(s) for s in systems}
    names = dict.fromkeys(name for found in triples.values() for name in found)
    if not names:
        return without("angle_histogram_error", "1", "no three atoms are bonded to one another")
    one = systems[0] if len(triples) == 1 else None
    metrics, curves = {}, {}
    for name in names:
        values: list[float | None] = []
        shapes: list[np.ndarray] = []
        stored = {id(s): levels(s, f"{STORED}{name}") for s in systems}
        reference = {
            id(s): _density(stored[id(s)][0].total)
            if stored[id(s)]
            else of(s.positions(), triples[id(s)][name], bins=BINS, cell=_cell(s.frames.cell, s.pbc))[1]
            for s in systems
            if name in triples[id(s)]
        }
        for t, s in zip(stable, systems):
            if len(t) < MIN_FRAMES or id(s) not in reference:
                values.append(None)
                continue
            theirs = reference[id(s)]
            mine = of(t.positions, triples[id(s)][name], bins=len(theirs), cell=_cell(t.cells, s.pbc))[1]
            values.append(histogram_error(mine, theirs, width=180.0 / len(theirs)))
            shapes.append(mine)
        least = floor(stored[id(one)], p.length_ps - p.skip_ps, _gap) if one else None
        metrics[f"angle_histogram_error_{name}"] = over_replicas(values, unit="1", floor=least)
        if len(reference) == 1:
            theirs = next(iter(reference.values()))
            angle = (np.arange(len(theirs)) + 0.5) * 180.0 / len(theirs)
            series = ({"model": np.mean(shapes, axis=0)} if shapes else {}) | {"reference": theirs}
            curves[f"angle_histogram_{name}"] = density_curve(angle, series, f"angle {name} (degrees)", "p (1/degree)")
    return metrics, curves


def _density(counts: np.ndarray) -> np.ndarray:
    """1/degree."""
    return counts / (max(float(counts.sum()), 1e-300) * 180.0 / len(counts))


def _gap(counts: np.ndarray, pooled: np.ndarray, r_max: float = 180.0) -> float:
    from ffbench_metrics import histogram_error

    return float(histogram_error(_density(counts), _density(pooled), width=180.0 / len(counts)))


def bonded_triples(system: System) -> dict[str, np.ndarray]:
    """{"H-C-H": [M, 3] atoms (i, j, k) with both bonds at j}: those that the data set counted, else those of the bonds
    that hold in every frame of it."""
    from ffbench_data.scans import bond_angles

    if counted := system.facts.get("angles"):
        return {name: np.array(found) for name, found in counted.items()}
    return bond_angles(system.numbers, lasting_bonds(system))


def _cell(cells: np.ndarray, pbc: np.ndarray) -> np.ndarray | None:
    """Cells [T, 3, 3] for nearest images, which slabs and wires have along their periodic directions alone."""
    return np.stack([completed(c, pbc) for c in np.asarray(cells, float)]) if pbc.any() else None
