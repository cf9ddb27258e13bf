"""Observables on their own, on trajectories made by hand."""

import numpy as np
import pytest

from ffbench_eval.engine.trajectory import Trajectory
from ffbench_eval.observables import SHOWN, energy_drift


def rising(frames, slope_ev_per_ps):
    """Two atoms whose total energy rises evenly; a frame every 5 fs."""
    time = 0.005 * np.arange(frames)
    return Trajectory(
        numbers=np.array([1, 1]),
        cell=np.zeros((3, 3)),
        pbc=np.zeros(3, bool),
        time_ps=time,
        positions=np.zeros((frames, 2, 3), np.float32),
        potential_energy=np.zeros(frames),
        total_energy=slope_ev_per_ps * time,
        temperature=np.full(frames, 300.0),
    )


@pytest.mark.parametrize("frames", [200, 201, 399, 400, 2001])
def test_a_drift_is_its_slope_and_its_curve_is_short(frames):
    metrics, curves = energy_drift([rising(frames, 0.01), rising(50, 0.02)], None, None, None)
    assert metrics["energy_drift"].values == pytest.approx([5.0, 10.0])  # meV per atom and ps
    curve = curves["energy_drift"]
    assert len(curve.x) <= SHOWN
    assert len(curve.series["replica 1"]) == len(curve.x)
