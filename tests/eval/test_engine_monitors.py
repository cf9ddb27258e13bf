"""Monitors: drift, displacement, sliding g(r), and the last steps of a replica that failed."""

import numpy as np
import pytest
import torch

from ffbench_data.contract import ForceField
from ffbench_eval.engine import run as engine_run
from ffbench_eval.engine.memory import OutOfMemory
from ffbench_eval.engine.monitors import RdfPair, RdfWatch, SlidingRdf
from ffbench_eval.engine.run import Protocol, simulate
from ffbench_eval.engine.trajectory import read_failures, read_trajectories
from tests.eval.engine_systems import F64, cluster, crystal, morse, system_of


def test_the_last_steps_of_a_failed_replica_are_kept(tmp_path):
    calls = 0

    def fails(batch):
        nonlocal calls
        calls += 1
        out = morse()(batch)
        energy = out.energy.clone()
        energy[1] = float("nan") if calls > 51 else energy[1]
        return {"energy": energy, "forces": out.forces}

    protocol = Protocol("nve", 300.0, 1.0, 0.1, 10.0, save_velocities=True)
    outcome = simulate(ForceField(fails, 4.0, dtype=F64), cluster(), protocol, tmp_path, seed=0, compile="off")
    assert outcome.reason[1] == "the model's energy is not finite"
    (failure,) = read_failures(tmp_path).values()
    assert list(read_failures(tmp_path)) == [1]
    np.testing.assert_allclose(failure.time_ps, np.arange(20, 52) / 1000)  # consecutive steps up to the failure
    saved = read_trajectories(tmp_path)[1]
    at = np.isclose(failure.time_ps, 0.05)
    np.testing.assert_array_equal(failure.positions[at][0], saved.positions[-1])
    velocity = (failure.positions[10] - failure.positions[8]) / 2
    np.testing.assert_allclose(failure.velocities[9], velocity, atol=2e-4)


def test_energy_drift_is_reported_and_bounded(tmp_path):
    def driving(batch):
        out = morse()(batch)
        push = torch.zeros_like(out.forces)
        push[::5, 0] = 0.3  # a force that no energy explains
        return {"energy": out.energy, "forces": out.forces + push}

    for name in ("clean", "driven", "bounded"):
        (tmp_path / name).mkdir()
    protocol = Protocol("nve", 300.0, 1.0, 0.4, 10.0)
    clean = simulate(morse(), cluster(), protocol, tmp_path / "clean", seed=0)
    driven = simulate(ForceField(driving, 4.0, dtype=F64), cluster(), protocol, tmp_path / "driven", seed=0)
    assert np.abs(clean.drift_eV_per_atom).max() < 1e-3 < driven.drift_eV_per_atom.min()
    bounded = Protocol("nve", 300.0, 1.0, 0.4, 10.0, drift_limit_eV_per_atom=1e-3)
    outcome = simulate(ForceField(driving, 4.0, dtype=F64), cluster(), bounded, tmp_path / "bounded", seed=0)
    assert outcome.reason == ["the energy drifted by more than 0.001 eV per atom"] * 3
    with pytest.raises(ValueError, match="'langevin' has no conserved quantity"):
        simulate(
            morse(),
            cluster(),
            Protocol("langevin", 300.0, 1.0, 0.1, 10.0, drift_limit_eV_per_atom=1.0),
            tmp_path,
            seed=0,
        )


def test_displacement_limits(tmp_path):
    far = Protocol("nve", 300.0, 1.0, 0.2, 10.0, displacement_limit_A=0.05)
    (tmp_path / "far").mkdir()
    outcome = simulate(morse(), cluster(), far, tmp_path / "far", seed=0)
    assert outcome.reason == ["an atom moved more than 0.05 A from its start"] * 3
    assert (outcome.displacement_A > 0.05).all()
    (tmp_path / "fast").mkdir()
    fast = Protocol("nve", 300.0, 1.0, 0.2, 10.0, step_limit_A=1e-4)
    outcome = simulate(morse(), cluster(), fast, tmp_path / "fast", seed=0)
    assert outcome.reason == ["an atom moved more than 0.0001 A in one step"] * 3
    assert outcome.end_ps == [0.001] * 3


def rdf_watch(start, threshold, bins=6, r_max=2.4):
    everything = tuple(range(start.positions.shape[1]))
    blank = RdfWatch((RdfPair(everything, everything, (0.0,) * bins),), threshold, 0.02, r_max)
    sliding = SlidingRdf(blank, system_of(start), 2, frame_ps=0.02)
    error = sliding.add(torch.tensor(start.positions), torch.ones(2, dtype=torch.bool))
    g = sliding.window().numpy()[0, 0, 0] / sliding._ideal[0]
    assert error[0].item() == pytest.approx(g.sum() * r_max / bins)
    return RdfWatch((RdfPair(everything, everything, tuple(g.tolist())),), threshold, 0.02, r_max)


def test_sliding_rdf_of_an_ideal_gas_is_one():
    start = crystal()
    x = np.random.default_rng(0).random((2, 32, 3)) * start.cell[0, 0]
    start = type(start)(x, start.numbers, start.masses, start.cell, start.pbc)
    everything = tuple(range(32))
    watch = RdfWatch((RdfPair(everything[:16], everything, (1.0,) * 20),), 1.0, 4.0, 4.0)
    sliding = SlidingRdf(watch, system_of(start), 2, frame_ps=0.02)
    errors = []
    for seed in range(200):
        x = torch.tensor(np.random.default_rng(seed).random((2, 32, 3)) * start.cell[0, 0])
        errors.append(sliding.add(x, torch.ones(2, dtype=torch.bool)))
    assert all((e == 0).all() for e in errors[:-1])  # judged when the window is full
    assert 0 < errors[-1].max() < 0.2  # of an integral of 4 A


def test_melting_retires_a_replica_by_its_rdf_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 20)
    start = crystal()
    protocol = Protocol("nose_hoover", (5.0, 3000.0), 2.0, 0.24, 10.0, rdf=rdf_watch(start, 1.5), relaxation_fs=20.0)

    class Killed(Exception):
        pass

    def kill(done):
        if done > 0.55:
            raise Killed

    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = simulate(morse(), start, protocol, tmp_path / "whole", seed=0)
    with pytest.raises(Killed):
        simulate(morse(), start, protocol, tmp_path / "cut", seed=0, progress=kill)
    cut = simulate(morse(), start, protocol, tmp_path / "cut", seed=0)
    assert whole.reason[1] == "the g(r) error exceeded 1.5 A"
    assert whole.reason[0] == ""
    assert (whole.end_ps, whole.reason) == (cut.end_ps, cut.reason)
    np.testing.assert_array_equal(whole.displacement_A, cut.displacement_A)
    np.testing.assert_array_equal(whole.drift_eV_per_atom, cut.drift_eV_per_atom)


def test_out_of_memory_says_how_to_split(tmp_path):
    def greedy(batch):
        if batch.n_systems > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return morse()(batch)

    model, start = ForceField(greedy, 4.0, dtype=F64), cluster()
    protocol = Protocol("langevin", 300.0, 1.0, 0.02, 10.0)
    for name in ("whole", "a", "b", "clean"):
        (tmp_path / name).mkdir()
    with pytest.raises(OutOfMemory, match="with 3 replicas: DefaultCPUAllocator") as caught:
        simulate(model, start, protocol, tmp_path / "whole", seed=0)
    parts = []
    for name, half in zip("ab", caught.value.halves):
        simulate(model, start.part(half), protocol, tmp_path / name, seed=0)
        parts += read_trajectories(tmp_path / name)
    simulate(morse(), start, protocol, tmp_path / "clean", seed=0)
    for one, clean in zip(parts, read_trajectories(tmp_path / "clean")):
        np.testing.assert_allclose(one.positions, clean.positions, atol=1e-6)
    assert OutOfMemory(1, "x").halves == ()


def test_batch_wide_numbers_must_fit_the_batch(tmp_path):
    with pytest.raises(ValueError, match=r"temperature_K needs one number or one per replica \(3\), got 2"):
        simulate(morse(), cluster(), Protocol("nve", (300.0, 400.0), 1.0, 0.1, 10.0), tmp_path, seed=0)
    with pytest.raises(ValueError, match="time_step_fs must be positive"):
        Protocol("nve", 300.0, 0.0, 0.1, 10.0)
