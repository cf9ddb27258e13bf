"""Noise floors and trivial baselines of a task worked out from its data alone, by the evaluator's own functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine.trajectory import Trajectory
from ...engine.units import KJ_PER_MOL
from ...report import Metric
from .observables import OBSERVABLES
from .systems import system_of


def anchors(task: Any, data: Any) -> dict[str, Metric]:
    """The metrics of a task that have a floor or a trivial baseline, as the evaluator gives them for frames of the data
    set itself: everything but their values is the task's."""
    p = task.parameters
    stable = [_frames(data, p)]
    hills = []
    if "free_energy" in p.observables:
        hills = [data.reference.hills[0] * np.array([1.0, 1.0, KJ_PER_MOL])]  # those of a run are in eV
    out: dict[str, Metric] = {}
    for name in p.observables:
        if name in ("distance_histogram", "rdf", "free_energy"):
            out |= OBSERVABLES[name](stable, data, p, hills)[0]
    return {name: m for name, m in out.items() if m.floor is not None or m.trivial is not None}


def _frames(data: Any, p: Any):
    """The first frames of the data as a trajectory that lasts the whole run."""
    first = data.frames[0]
    positions = system_of(data, first).positions()[:20]
    zeros = np.zeros(len(positions))
    return Trajectory(
        numbers=first.atomic_numbers,
        cell=first.cell,
        pbc=first.pbc,
        time_ps=np.linspace(p.length_ps / len(positions), p.length_ps, len(positions)),
        positions=positions,
        potential_energy=zeros,
        total_energy=zeros,
        temperature=zeros + p.temperature_K,
        charge=first.charge,
        spin_multiplicity=first.spin_multiplicity,
    )
