"""Whole simulations: resume, retirement of a failed replica."""

import numpy as np
import pytest

from ffbench_data.contract import ForceField
from ffbench_eval.engine import run as engine_run
from ffbench_eval.engine.bias import MetadynamicsRule
from ffbench_eval.engine.run import Protocol, simulate
from ffbench_eval.engine.trajectory import read_trajectories
from tests.eval.engine_systems import F64, cluster, crystal, morse


@pytest.mark.parametrize("ensemble", ["nve", "nose_hoover", "langevin"])
@pytest.mark.parametrize("start", [cluster(), crystal()], ids=["open", "periodic"])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, monkeypatch, ensemble, start):
    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 20)
    bias = MetadynamicsRule(((0, 1, 2, 3),), 0.01, 0.35, 6.0, 7) if start.pbc.sum() == 0 else None
    protocol = Protocol(ensemble, 300.0, 1.0, 0.09, 5.0, metadynamics=bias)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    expected = simulate(morse(), start, protocol, whole, seed=3)

    class Killed(Exception):
        pass

    def kill(done):
        if done > 0.55:
            raise Killed

    with pytest.raises(Killed):
        simulate(morse(), start, protocol, cut, seed=3, progress=kill)
    resumed = simulate(morse(), start, protocol, cut, seed=3)
    for a, b in zip(read_trajectories(whole), read_trajectories(cut)):
        assert len(a) == 18
        for name in ("positions", "potential_energy", "total_energy", "temperature", "time_ps"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert expected.end_ps == resumed.end_ps
    if bias is not None:
        np.testing.assert_array_equal(np.stack(expected.hills), np.stack(resumed.hills))


def test_a_failed_replica_is_retired_and_the_others_are_untouched(tmp_path):
    start = cluster()
    calls = 0

    def fails(batch):
        nonlocal calls
        calls += 1
        out = morse()(batch)
        if calls > 30:
            energy = out.energy.clone()
            energy[1] = float("nan")
            return {"energy": energy, "forces": out.forces}
        return out

    protocol = Protocol("nose_hoover", 300.0, 1.0, 0.06, 10.0)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    outcome = simulate(ForceField(fails, 4.0, dtype=F64), start, protocol, tmp_path / "a", seed=0, compile="off")
    simulate(morse(), start, protocol, tmp_path / "b", seed=0)
    assert outcome.reason == ["", "the model's energy is not finite", ""]
    assert outcome.end_ps == [0.06, pytest.approx(0.030), 0.06]
    for b, (one, clean) in enumerate(zip(read_trajectories(tmp_path / "a"), read_trajectories(tmp_path / "b"))):
        if b != 1:
            np.testing.assert_array_equal(one.positions, clean.positions)
        else:
            assert one.time_ps.max() < 0.031


def test_a_broken_bond_retires_the_replica(tmp_path):
    start = cluster()
    protocol = Protocol("nve", 300.0, 1.0, 0.05, 5.0, bonds=((0, 1, 0.2),), bond_tolerance=0.5)
    outcome = simulate(morse(), start, protocol, tmp_path, seed=0)
    assert outcome.reason == ["a bond broke"] * 3
    assert outcome.end_ps == [0.005] * 3
