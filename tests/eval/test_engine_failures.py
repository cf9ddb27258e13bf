"""Failure told otherwise than by NaN: exceptions, huge numbers, buffers used again, graphs, the interpreter's end."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from ffbench_data.contract import AtomsBatch, ForceField, Prediction
from ffbench_eval.engine import run as engine_run
from ffbench_eval.engine.run import Protocol, simulate
from ffbench_eval.engine.trajectory import read_failures, read_trajectories
from ffbench_eval.engine.watch import Limits
from tests.eval.engine_systems import F64, cluster, crystal, morse

PROTOCOL = Protocol("nve", (5.0, 2500.0, 5.0), 1.0, 0.06, 5.0)  # one replica moves a lot


def far_atom(threshold):
    """Which systems of a batch have their first atom beyond ``threshold`` (Angstrom) of their centroid."""

    def systems(batch):
        x = batch.positions.view(batch.n_systems, -1, 3)
        return (x[:, 0] - x.mean(1)).norm(dim=-1) > threshold

    return systems


def breaking(how, broken):
    def fn(batch):
        out = morse()(batch)
        bad = broken(batch)
        if not bad.any():
            return out
        if how == "raises":
            raise RuntimeError(f"atom without neighbours\nin {int(bad.sum())} systems")
        if how == "exits":
            sys.exit(3)
        value = {"nan": torch.nan, "infinite": torch.inf, "huge": 1e39}[how]
        return {"energy": torch.where(bad, value, out.energy), "forces": out.forces}

    return ForceField(fn, 4.0, dtype=F64, card={"name": how})


@pytest.fixture(scope="module")
def threshold(tmp_path_factory):
    """A distance that the first atom of the hot replica alone reaches, in the middle of the run."""
    folder = tmp_path_factory.mktemp("clean")
    simulate(morse(), cluster(), replace(PROTOCOL, save_every_fs=1.0), folder, seed=0)
    paths = np.stack([t.positions for t in read_trajectories(folder)])
    paths = np.concatenate([cluster().positions[:, None], paths], 1)
    far = np.linalg.norm(paths[:, :, 0] - paths.mean(2), axis=-1)
    low, high = max(far[0].max(), far[2].max(), far[1, :5].max()), far[1].max()
    assert high > low + 0.01
    return (low + high) / 2, 1


@pytest.mark.parametrize("how", ["raises", "exits", "infinite", "huge"])
def test_every_way_to_fail_costs_what_nan_costs(how, threshold, tmp_path):
    distance, replica = threshold
    known = simulate(breaking("nan", far_atom(distance)), cluster(), PROTOCOL, tmp_path / "nan", seed=0, compile="off")
    outcome = simulate(breaking(how, far_atom(distance)), cluster(), PROTOCOL, tmp_path / how, seed=0, compile="off")
    assert 0 < known.end_ps[replica] < 0.06
    assert outcome.end_ps == known.end_ps
    assert [bool(reason) for reason in outcome.reason] == [b == replica for b in range(3)]
    said = {
        "raises": "the model raised RuntimeError: atom without neighbours",
        "exits": "the model raised RuntimeError: the model raised SystemExit: 3",
    }
    assert outcome.reason[replica] == said.get(how, "the model's energy is not finite")
    for a, b in zip(read_trajectories(tmp_path / "nan"), read_trajectories(tmp_path / how), strict=True):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-6)
        assert len(a) == len(b)
    assert list(read_failures(tmp_path / how)) == [replica]


def test_a_run_that_goes_on_after_an_exception_is_the_uninterrupted_one(threshold, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 10)
    model = breaking("raises", far_atom(threshold[0]))

    class Killed(Exception):
        pass

    def kill(done):
        if done > 0.9:
            raise Killed

    whole = simulate(model, cluster(), PROTOCOL, tmp_path / "whole", seed=0)
    with pytest.raises(Killed):
        simulate(model, cluster(), PROTOCOL, tmp_path / "cut", seed=0, progress=kill)
    cut = simulate(model, cluster(), PROTOCOL, tmp_path / "cut", seed=0)
    assert (cut.reason, cut.end_ps) == (whole.reason, whole.end_ps)
    for a, b in zip(read_trajectories(tmp_path / "whole"), read_trajectories(tmp_path / "cut"), strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)


def test_periodic_replicas_are_asked_alone_with_their_own_edges(tmp_path):
    """A model that takes no batches at all gives every replica what it gives in a batch."""

    def alone(batch):
        if batch.n_systems > 1:
            raise TypeError("one at a time")
        return morse()(batch)

    simulate(morse(), crystal(), Protocol("nve", 300.0, 1.0, 0.01, 5.0), tmp_path / "batch", seed=0)
    one = simulate(
        ForceField(alone, 4.0, dtype=F64), crystal(), Protocol("nve", 300.0, 1.0, 0.01, 5.0), tmp_path / "one", seed=0
    )
    assert one.reason == ["", ""]
    for a, b in zip(read_trajectories(tmp_path / "batch"), read_trajectories(tmp_path / "one"), strict=True):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-6)


@pytest.mark.parametrize("how", ["nan", "raises", "infinite", "huge"])
def test_a_replica_that_fails_at_the_start_has_run_for_no_time(how, tmp_path):
    x = cluster().positions.copy()
    x[1, 0] -= 0.8
    outcome = simulate(breaking(how, far_atom(1.5)), replace(cluster(), positions=x), PROTOCOL, tmp_path, seed=0)
    assert outcome.end_ps == [0.06, 0.0, 0.06]
    assert [len(t) for t in read_trajectories(tmp_path, replicas=3)] == [12, 0, 12]


def test_a_model_that_never_answers_is_an_error_and_not_an_unstable_run(tmp_path):
    def never(batch):
        raise RuntimeError("no weights")

    with pytest.raises(RuntimeError, match="no weights"):
        simulate(ForceField(never, 4.0), cluster(), PROTOCOL, tmp_path, seed=0)


def test_numbers_beyond_float32_are_not_finite_for_anyone():
    batch = one_pair()
    for energy, forces in ((1e39, 0.0), (-1e300, 0.0), (0.0, 1e39), (torch.inf, 0.0), (0.0, torch.nan)):

        def fn(b, energy=energy, forces=forces):
            return Prediction(torch.full((1,), energy, dtype=F64), torch.full((2, 3), forces, dtype=F64))

        out = ForceField(fn, None, dtype=F64)(batch)
        assert not (out.energy.isfinite().all() and out.forces.isfinite().all())
        assert not out.energy.isinf().any()
        assert not out.forces.isinf().any()
        assert np.isfinite(out.forces.float().numpy()).all() == (forces == 0.0)


def one_pair():
    return AtomsBatch(
        torch.tensor([[0.0, 0, 0], [1, 0, 0]], dtype=F64),
        torch.tensor([6, 6]),
        torch.zeros(2, dtype=torch.int64),
        torch.zeros(1, 3, 3, dtype=F64),
        torch.zeros(1, 3, dtype=torch.bool),
    )


def test_an_answer_is_nobodys_buffer(tmp_path):
    places = {}

    def static(batch):
        out = morse()(batch)
        energy, forces = places.setdefault(len(batch.positions), (out.energy.clone(), out.forces.clone()))
        return Prediction(energy.copy_(out.energy), forces.copy_(out.forces), embedding=forces)

    model = ForceField(static, 4.0, dtype=F64)
    batch = one_pair()
    first = model(batch)
    kept = first.forces.clone(), first.energy.clone(), first.embedding.clone()
    model(replace(batch, positions=2 * batch.positions))
    for now, before in zip((first.forces, first.energy, first.embedding), kept, strict=True):
        torch.testing.assert_close(now, before, rtol=0, atol=0)
    simulate(model, cluster(), PROTOCOL, tmp_path / "static", seed=0)
    simulate(morse(), cluster(), PROTOCOL, tmp_path / "fresh", seed=0)
    for a, b in zip(read_trajectories(tmp_path / "static"), read_trajectories(tmp_path / "fresh"), strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)


@pytest.mark.parametrize("training", [False, True])
def test_no_step_hangs_on_to_the_graph_of_the_one_before(training, tmp_path):
    """A network whose forces carry a graph, in training mode too: nothing of it is in the state after three steps."""
    net = torch.nn.Linear(3, 3).to(F64)

    class Direct(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, batch):
            forces = 1e-3 * self.net(batch.positions)
            return Prediction(forces.sum().expand(batch.n_systems), forces)

    run = engine_run.Run(ForceField(Direct().train(training), None, dtype=F64), cluster(), PROTOCOL, 0)
    state, watch = run.first_state(), engine_run.new_watch(3)
    for step in range(3):
        state, watch = run.advance(state, watch, step)
    assert not any(part.requires_grad for part in state)
    assert simulate(run.model_forces.model, cluster(), PROTOCOL, tmp_path, seed=0).end_ps == [0.06] * 3


def test_training_through_the_model_keeps_its_graph():
    net = torch.nn.Linear(3, 1).to(F64)

    class Direct(torch.nn.Module):
        def forward(self, batch):
            out = net(batch.positions)
            return Prediction(out.sum().expand(1), out.expand(-1, 3))

    model = ForceField(Direct(), None, dtype=F64)
    model(one_pair()).forces.sum().backward()
    assert net.weight.grad is not None
    assert not ForceField(Direct().eval(), None, dtype=F64)(one_pair()).forces.requires_grad


def test_keyboard_interrupts_are_not_the_models():
    def interrupted(batch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ForceField(interrupted, None)(one_pair())


def test_the_temperature_limit_is_the_limit(tmp_path):
    """Just below it a replica runs, just above it stops: K = dof kT / 2 is exact at the start of a free flight."""
    free = ForceField.from_energy(lambda b: 0 * b.positions.view(b.n_systems, -1).sum(1), None, dtype=F64)
    limit = Limits().temperature_K
    protocol = Protocol("nve", (0.99 * limit, 1.01 * limit, 300.0), 0.01, 0.0001, 0.01)
    outcome = simulate(free, cluster(), protocol, tmp_path, seed=0)
    assert outcome.reason == ["", "temperature above 100000 K", ""]
