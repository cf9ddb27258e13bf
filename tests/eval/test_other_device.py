"""Everything a model touches runs on the model's device: what a GPU would refuse is refused here without one."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from ase.calculators.lj import LennardJones

from ffbench_data import collate, load_frames
from ffbench_eval import evaluate, from_ase
from ffbench_eval.engine import fastpath, run
from ffbench_eval.engine.bias import MetadynamicsRule, Restraint
from ffbench_eval.engine.lists import lists_for
from ffbench_eval.engine.monitors import RdfPair, RdfWatch
from ffbench_eval.engine.protocol import Protocol
from ffbench_eval.engine.static import StaticStep
from ffbench_eval.engine.trajectory import read_trajectories
from reference_models import build, configuration, load
from reference_models.train import Recipe, train
from tests.eval.engine_systems import cluster, crystal, morse
from tests.other_device import DEVICE, OtherDevice, Watchman

ENSEMBLES = ("nve", "nose_hoover", "nose_hoover_single", "nose_hoover_mdsim", "bussi", "langevin")
SHORT = {"length_ps": 0.02, "save_every_fs": 5.0}
BIAS = {
    "metadynamics": MetadynamicsRule(((0, 1, 2, 3),), 0.01, (0.3, 0.2), 6.0, 10, distances=((0, 4),)),
    "restraints": (Restraint((0, 1), 1.2, 2.0), Restraint((0, 1, 2, 4), 0.5, 0.1, "upper")),
}
EVERY = tuple(range(32))
WATCH = RdfWatch((RdfPair(EVERY, EVERY, (0.0,) * 20),), threshold=1e6, window_ps=0.01, r_max=2.0)


def there(model):
    return dataclasses.replace(model, fn=copy.deepcopy(model.fn)).to(DEVICE)


def test_devices_do_not_mix():
    with OtherDevice():
        far, near = torch.ones(2, device=DEVICE), torch.ones(2)
        assert (far + 1).device == DEVICE
        assert (far.to("cpu") + near).tolist() == [2, 2]
        with pytest.raises(RuntimeError, match="mixed"):
            far + near
        with pytest.raises(RuntimeError, match="numpy"):
            far.numpy()


@pytest.mark.parametrize(
    ("start", "protocol"),
    [(cluster(), Protocol(name, 300.0, 1.0, **SHORT)) for name in ENSEMBLES]
    + [
        (cluster(), Protocol("langevin", (200.0, 300.0, 400.0), (0.5, 1.0, 0.7), bonds=((0, 1, 1.2),), **SHORT)),
        (cluster(), Protocol("langevin", 300.0, 1.0, **SHORT, **BIAS)),
        (crystal(), Protocol("nose_hoover", 300.0, 1.0, rdf=WATCH, displacement_limit_A=9.0, **SHORT)),
    ],
    ids=[*ENSEMBLES, "per replica", "bias", "crystal"],
)
def test_the_engine_stays_on_the_models_device(start, protocol, tmp_path):
    model = morse()
    here = run.simulate(model, start, protocol, tmp_path / "here", seed=1)
    with OtherDevice():
        far = run.simulate(there(model), start, protocol, tmp_path / "there", seed=1)
    assert (far.end_ps, far.reason) == (here.end_ps, here.reason)
    for a, b in zip(read_trajectories(tmp_path / "here"), read_trajectories(tmp_path / "there"), strict=True):
        np.testing.assert_allclose(b.positions, a.positions, atol=1e-9)


def test_a_killed_run_goes_on_there(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "CHECKPOINT_STEPS", 10)
    protocol = Protocol("langevin", 300.0, 1.0, **SHORT, **BIAS)

    def kill(done):
        if done > 0.6:
            raise KeyboardInterrupt

    with OtherDevice():
        with pytest.raises(KeyboardInterrupt):
            run.simulate(there(morse()), cluster(), protocol, tmp_path, seed=1, progress=kill)
        outcome = run.simulate(there(morse()), cluster(), protocol, tmp_path, seed=1)
    assert outcome.force_calls == 1 + 20  # of both processes, each step once
    assert all(len(t) == 4 for t in read_trajectories(tmp_path))


def fixed_places(function, arguments):
    """In place of a CUDA graph: the same places in memory at every call."""
    places = [value.clone() for value in arguments]

    def call(*values):
        for place, value in zip(places, values, strict=True):
            assert (place.device, place.shape, place.dtype) == (value.device, value.shape, value.dtype)
            place.copy_(value)
        return tuple(result.clone() for result in function(*places))

    return call


@pytest.mark.parametrize(
    ("start", "protocol", "mode"),
    [
        (cluster(), Protocol("nose_hoover", 300.0, 1.0, **SHORT), "step"),
        (cluster(), Protocol("langevin", 300.0, 1.0, **SHORT), "step"),
        (cluster(), Protocol("langevin", 300.0, 1.0, **SHORT, **BIAS), "step"),
        (crystal(), Protocol("nose_hoover", 300.0, 1.0, **SHORT), "step"),
    ],
    ids=["open", "noise", "bias", "crystal"],
)
def test_what_a_cuda_graph_would_hold_gives_the_eager_run(start, protocol, mode, tmp_path, monkeypatch):
    """Everything but the capture itself, which needs a GPU."""
    here = run.simulate(morse(), start, protocol, tmp_path / "here", seed=1, compile="off")
    monkeypatch.setattr(fastpath, "capture", fixed_places)
    for name in ("fused", "capturable"):
        monkeypatch.setattr(fastpath, name, lambda function, arguments: function)  # is not traced there
    with OtherDevice():
        far = run.simulate(there(morse()), start, protocol, tmp_path / "there", seed=1, compile="require")
        eager = run.simulate(there(morse()), start, protocol, tmp_path / "auto", seed=1)
    assert (far.mode, eager.mode, eager.reason) == (mode, "eager", here.reason)
    assert "CUDA graph" in far.mode_note
    assert "not worth it" in eager.mode_note
    for a, b in zip(read_trajectories(tmp_path / "here"), read_trajectories(tmp_path / "there"), strict=True):
        np.testing.assert_allclose(b.positions, a.positions, atol=1e-9)


def test_the_watchman_notes_what_a_gpu_waits_for():
    with OtherDevice():
        x = torch.arange(4.0, device=DEVICE)
        quiet = (lambda: x + 1, lambda: x.cumsum(0), lambda: torch.where(x > 1, x, 0 * x), lambda: x[1:].clone())
        loud = (
            lambda: float(x.sum()), lambda: bool((x > 1).any()), lambda: x.nonzero(), lambda: x[x > 1],
            lambda: x.masked_select(x > 1), lambda: x.long().bincount(), lambda: x.to("cpu"), lambda: x.long().unique(),
            lambda: torch.ones(2).to(DEVICE), lambda: torch.tensor([1.0], device=DEVICE),
            lambda: x.repeat_interleave(x.long()), lambda: x.copy_(torch.ones(4)),
        )  # fmt: skip
        for run_it, waits in [*((q, False) for q in quiet), *((one, True) for one in loud)]:
            with Watchman() as seen:
                run_it()
            assert bool(seen) == waits, (run_it(), seen)


def waits_of(model, start, protocol):
    """What a GPU would wait for in one step, as it is compiled or captured."""
    with OtherDevice():
        one = run.Run(there(model), start, protocol, 0)
        x = torch.as_tensor(np.array(start.positions, float)).to(DEVICE)
        lists = lists_for(one.model_forces, [x])
        lists.make(x)
        step, noise = StaticStep(one, lists), one.noise(0) if one.noise else None
        flags = torch.zeros(2, dtype=torch.bool).to(DEVICE)
        arguments = step.arguments(one.first_state(), run.new_watch(len(x), DEVICE), flags, noise)
        step(*arguments)  # what is made once, is made
        with Watchman() as seen:
            step(*arguments)
    return seen


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_whole_step_waits_for_nothing(ensemble):
    assert waits_of(morse(), cluster(), Protocol(ensemble, 300.0, 1.0, **SHORT)) == []


def test_a_whole_step_with_times_and_temperatures_of_its_own_waits_for_nothing():
    own = Protocol("langevin", (200.0, 300.0, 400.0), (0.5, 1.0, 0.7), restraints=BIAS["restraints"], **SHORT)
    assert waits_of(morse(), cluster(), own) == []


@pytest.mark.parametrize("start", [cluster(), crystal()], ids=["open", "crystal"])
@pytest.mark.parametrize("cutoff", [4.0, 1.5])
def test_a_step_with_its_list_waits_for_nothing(start, cutoff):
    """All pairs; in the crystal a list with a skin, or nearest images."""
    assert waits_of(dataclasses.replace(morse(), cutoff=cutoff), start, Protocol("nve", 300.0, 1.0, **SHORT)) == []


@pytest.mark.parametrize("start", [cluster(), crystal()], ids=["open", "crystal"])
@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_an_eager_step_waits_for_its_edges_and_its_monitors_and_for_no_more(ensemble, start):
    """Two for a list filtered by distance (nonzero) and "are all alive"; periodic one more, whether it is outdated."""
    with OtherDevice():
        one = run.Run(there(morse()), start, Protocol(ensemble, 300.0, 1.0, **SHORT), 0)
        state, watch = one.first_state(), run.new_watch(len(start.positions), DEVICE)
        state, watch = one.advance(state, watch, 0)
        with Watchman() as seen:
            one.advance(state, watch, 1)
    allowed = ["nonzero", "_local_scalar_dense"] + ["_local_scalar_dense"] * bool(start.pbc.any())
    assert sorted(seen) == sorted(allowed)


@pytest.mark.parametrize("periodic", [False, True], ids=["open", "periodic"])
@pytest.mark.parametrize("family", ["painn", "schnet", "transformer", "deeppot_se", "forcenet"])
def test_the_step_of_every_family_waits_for_nothing(family, periodic, monkeypatch):
    """As it is traced: there the transformer has a fixed number of slots."""
    from reference_models import transformer

    monkeypatch.setattr(transformer, "tracing", lambda: True)
    model = build({"family": family, "elements": (1, 6, 8)} if family == "deeppot_se" else family)
    frames = load_frames("ethanol_gfn2", split="test")
    x = np.stack([frames[k].positions for k in range(2)]).astype(float)
    box = 9.0 * np.eye(3) if periodic else np.zeros((3, 3))
    start = run.Start(x, frames[0].atomic_numbers.astype(int), np.full(9, 12.0), box, np.full(3, periodic))
    assert waits_of(model, start, Protocol("nve", 300.0, 1.0, **SHORT)) == []


def test_without_a_gpu_there_is_no_cuda_graph(tmp_path, monkeypatch):
    for name in ("fused", "capturable"):
        monkeypatch.setattr(fastpath, name, lambda function, arguments: function)
    with OtherDevice(), pytest.raises(ValueError, match="compile='require', but no CUDA graph"):
        run.simulate(
            there(morse()), cluster(), Protocol("nve", 300.0, 1.0, **SHORT), tmp_path, seed=1, compile="require"
        )


@pytest.mark.parametrize("frames", ["ethanol_gfn2", "water"])
@pytest.mark.parametrize("family", ["painn", "schnet", "transformer", "deeppot_se", "forcenet"])
def test_families_answer_there_as_here(family, frames):
    """The edges as they come, not in pairs as the engine gives them."""
    model = build({"family": family, "elements": (1, 6, 8)} if family == "deeppot_se" else family)
    batch = collate(load_frames(frames, split="test"), indices=range(3 if frames != "water" else 1))
    here = model(batch)
    with OtherDevice():
        far = there(model)(batch)
        assert far.forces.device == DEVICE
        torch.testing.assert_close(far.forces.to("cpu"), here.forces, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(far.energy.to("cpu"), here.energy, atol=1e-4, rtol=1e-6)


def test_an_ase_calculator_answers_there(tmp_path):
    model = from_ase(LennardJones(sigma=1.0, epsilon=0.1, rc=4.0))
    here = run.simulate(model, cluster(), Protocol("nve", 300.0, 1.0, **SHORT), tmp_path / "here", seed=1)
    with OtherDevice():
        far = run.simulate(
            model.to(DEVICE), cluster(), Protocol("nve", 300.0, 1.0, **SHORT), tmp_path / "there", seed=1
        )
    assert (far.end_ps, far.reason) == (here.end_ps, here.reason)


def test_the_evaluator_runs_there(tmp_path):
    tasks = ["ethanol_accuracy", "ethanol_selective"]
    with OtherDevice():
        report = evaluate(load("painn"), "mini", tasks=tasks, device=str(DEVICE), out=tmp_path)
    assert {status for task in report.tasks.values() for status in task.statuses} == {"ok"}
    assert report.environment.device == str(DEVICE)


@pytest.mark.parametrize("family", ["painn", "schnet"])
def test_training_runs_there(family, tmp_path):
    data = load_frames("ethanol_gfn2", split="train")
    recipe = Recipe(batch=2, validate_every=4, max_steps=8)
    with OtherDevice():
        steps = (family, configuration(family), data[:12], data[12:16])
        made = train(*steps, folder=tmp_path, recipe=recipe, device=str(DEVICE), log=lambda _: None)
        again = train(*steps, folder=tmp_path, recipe=recipe, device=str(DEVICE), log=lambda _: None)
    assert made.device.type == "cpu"
    assert made.card["training"]["steps"] == again.card["training"]["steps"] > 0


@pytest.mark.parametrize("level", ["structure", "atom"])
def test_a_probe_is_trained_and_asked_there(level):
    from ffbench_eval.kinds.selective.probe import Probe
    from tests.eval.test_selective_probe import planted

    cases = planted(12, level=level)
    with OtherDevice():
        probe = Probe(device=DEVICE, max_epochs=1).fit(cases)
        assert {p.device for p in probe.network.parameters()} == {DEVICE}
        assert probe.score(cases).shape == (len(cases) if level == "structure" else len(cases.atomic_numbers),)
