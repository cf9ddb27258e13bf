"""The compiled forms: ghosts, the choice between forms, equality with eager."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ffbench_data.contract import ForceField
from ffbench_eval.engine import bias, compiled, fastpath
from ffbench_eval.engine import run as engine_run
from ffbench_eval.engine.bias import MetadynamicsRule
from ffbench_eval.engine.chunk import Steps
from ffbench_eval.engine.lists import lists_for
from ffbench_eval.engine.run import Protocol, Run, simulate
from ffbench_eval.engine.static import StaticForces
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.engine.watch import new_watch
from tests.eval.engine_systems import F64, cluster, crystal, morse

OPEN = Protocol("langevin", 300.0, 1.0, 0.06, 5.0)


def steep():
    """A pair energy that is anything but zero beyond its cutoff."""

    def energy(batch):
        d = batch.edge_vectors().norm(dim=-1)
        i = batch.system_index.index_select(0, batch.edge_index[0])
        return d.new_zeros(batch.n_systems).index_add(0, i, (d - 1.2) ** 2 + 0.1 * d**5)

    return ForceField.from_energy(energy, cutoff=1.6, dtype=F64)


def static_forces(run, positions, **places):
    forces = StaticForces(run.model_forces, lists_for(run.model_forces, [positions], places))
    forces.lists.make(positions)
    return forces, forces(positions, torch.ones(len(positions), dtype=torch.bool), *forces.lists.tensors())


def test_pairs_beyond_the_cutoff_go_to_the_ghosts():
    run = Run(steep(), cluster(), OPEN, 0)
    x = torch.tensor(cluster().positions)
    _, (energy, forces, flags) = static_forces(run, x)
    expected_energy, expected = run.model_forces(x)
    torch.testing.assert_close(energy, expected_energy)
    torch.testing.assert_close(forces, expected)
    assert not flags.any()


@pytest.mark.parametrize("cutoff", [4.0, 1.5], ids=["skin", "nearest images"])
def test_unused_places_of_a_list_change_nothing_and_too_few_are_told(cutoff):
    model = replace(morse(), cutoff=cutoff)
    run = Run(model, crystal(), Protocol("nve", 300.0, 1.0, 0.05, 5.0), 0)
    x = torch.tensor(crystal().positions) + 0.05 * torch.randn(2, 32, 3, dtype=F64)
    made, (energy, forces, flags) = static_forces(run, x)
    pairs = run.model_forces.prepare(x)[1].shape[1]
    assert made.lists.capacity > pairs
    expected_energy, expected = run.model_forces(x)
    torch.testing.assert_close(energy, expected_energy)
    torch.testing.assert_close(forces, expected)
    assert flags.tolist() == [False, False]
    assert static_forces(run, x, edges=pairs)[1][2].tolist() == [False, False]
    assert static_forces(run, x, edges=pairs - 1)[1][2].tolist() == [False, True]


def test_a_traced_step_retires_a_replica_as_the_eager_one_does():
    def energy(batch):
        atoms = batch.positions[:15].view(3, 5, 3)
        e = 0.5 * (atoms**2).sum((1, 2))
        return torch.where(atoms[:, 0, 0] > 0.1, torch.nan, e)

    run = Run(ForceField.from_energy(energy, None, dtype=F64), cluster(), Protocol("nve", 3000.0, 1.0, 0.05, 5.0), 0)
    form = Steps(run, lists_for(run.model_forces, []), compiled.trace)
    state, watch = run.first_state(), new_watch(3)
    eager, eager_watch = state, watch
    for step in range(60):
        state, watch = form.advance(state, watch, step, 1)
        eager, eager_watch = run.advance(eager, eager_watch, step)
    assert not watch.alive.all()
    for a, b in zip((*state, *watch), (*eager, *eager_watch)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def looks_at_a_value(batch):
    d = batch.edge_vectors().norm(dim=-1)
    i = batch.system_index[batch.edge_index[0]]
    scale = 2.0 if float(d.max()) > 1.5 else 1.0
    return d.new_zeros(batch.n_systems).index_add(0, i, scale * d**2)


def test_a_model_that_cannot_be_traced_runs_eagerly_and_says_why(tmp_path, monkeypatch):
    model = ForceField.from_energy(looks_at_a_value, cutoff=4.0, dtype=F64)
    monkeypatch.setattr(fastpath, "WORTH_TRACING_S", 0.0)
    monkeypatch.setattr(fastpath, "COMPILE_S", 0.0)
    outcome = simulate(model, cluster(), OPEN, tmp_path, seed=0)
    assert outcome.mode == "eager"
    assert "cannot be traced" in outcome.mode_note
    with pytest.raises(ValueError, match="compile='require', but the model cannot be traced"):
        simulate(model, cluster(), OPEN, tmp_path, seed=0, compile="require")


def test_the_reason_why_a_guarded_model_cannot_be_traced_is_the_models_own(tmp_path):
    """The evaluator keeps a model's exception as the text of its traceback, whose first line says nothing."""
    from ffbench_eval.models.guard import guarded

    model = guarded(ForceField.from_energy(looks_at_a_value, cutoff=4.0, dtype=F64))
    with pytest.raises(compiled.CannotCompile, match="the model cannot be traced: ") as error:
        simulate(model, cluster(), OPEN, tmp_path, seed=0, compile="require")
    assert "Traceback" not in str(error.value)
    assert "DataDependent" in str(error.value)


def test_the_number_of_atoms_can_be_traced():
    """`bincount` cannot, and MACE asks for it."""

    def energy(batch):
        return batch.positions.new_zeros(batch.n_systems) + batch.n_atoms * batch.positions.square().sum()

    run = Run(ForceField.from_energy(energy, None, dtype=F64), cluster(), OPEN, 0)
    form = Steps(run, lists_for(run.model_forces, []), compiled.trace)
    assert form.compiled(run.first_state(), new_watch(3), 0) is not None


def test_short_runs_missing_compilers_and_bad_options(tmp_path, monkeypatch):
    monkeypatch.setenv("FFBENCH_CACHE", str(tmp_path / "cache"))
    assert "not worth it" in simulate(morse(), cluster(), OPEN, tmp_path, seed=0).mode_note
    assert simulate(morse(), cluster(), OPEN, tmp_path, seed=0, compile="off").mode_note == "compilation is off"
    with pytest.raises(ValueError, match="compile must be one of auto, off, require, got 'yes'"):
        simulate(morse(), cluster(), OPEN, tmp_path, seed=0, compile="yes")
    monkeypatch.setattr(fastpath, "compiler", lambda: None)
    with pytest.raises(ValueError, match=r"no C\+\+ compiler"):
        simulate(morse(), cluster(), OPEN, tmp_path, seed=0, compile="require")


def test_a_wrong_artefact_is_not_trusted(tmp_path, monkeypatch):
    def wrong(graph, arguments, path):
        return lambda *values: tuple(1.01 * t if t.is_floating_point() else t for t in graph(*values))

    monkeypatch.setattr(fastpath, "build", wrong)
    with pytest.raises(ValueError, match="the compiled forces differ from eager by"):
        simulate(morse(), cluster(), OPEN, tmp_path, seed=0, compile="require")


def altered(change, when=lambda values: True):
    """A compiler whose code does ``change`` to the list of results where ``when`` says so of its inputs."""

    def build(graph, arguments, path):
        def call(*values):
            results = list(graph(*values))
            return tuple(change(results) if when(values) else results)

        return call

    return build


def scaled(index, factor):
    return lambda results: [factor * t if k == index else t for k, t in enumerate(results)]


@pytest.mark.parametrize(
    ("start", "index", "said"),
    [
        (cluster(), 0, "steps"),  # positions, velocities, forces, energy, thermostat
        (cluster(), 1, "steps"),
        (cluster(), 2, "forces"),
        (cluster(), 3, "steps"),
        (cluster(), 4, "steps"),
        (crystal(), 0, "steps"),
        (crystal(), 2, "forces"),
    ],
)
def test_no_result_of_a_compiled_form_may_differ(tmp_path, monkeypatch, start, index, said):
    monkeypatch.setattr(fastpath, "build", altered(scaled(index, 1.001)))
    protocol = Protocol("nose_hoover", 300.0, 1.0, 0.06, 5.0)
    if start.pbc.any():  # its forces vanish on the sites
        start = replace(start, positions=start.positions + 0.05 * np.random.default_rng(0).normal(size=(2, 32, 3)))
    with pytest.raises(ValueError, match=f"the compiled {said} differ from eager by"):
        simulate(morse(), start, protocol, tmp_path, seed=0, compile="require")


def test_a_model_that_answers_otherwise_when_traced_runs_eagerly(tmp_path, monkeypatch):
    """As `torch.compile` of a chain's step around an autograd potential did: energies right, forces wrong."""
    monkeypatch.setattr(fastpath, "build", traced_only)

    def energy(batch):
        x = batch.positions if type(batch.positions) is torch.Tensor else batch.positions.detach() * 0.5
        i = batch.system_index
        return batch.positions.new_zeros(batch.n_systems).index_add(0, i, x.square().sum(1) + 0 * batch.positions[:, 0])

    model = ForceField.from_energy(energy, None, dtype=F64)
    with pytest.raises(ValueError, match="differ from eager by"):
        simulate(model, cluster(), OPEN, tmp_path, seed=0, compile="require")


@pytest.mark.parametrize("start", [cluster(), crystal()], ids=["open", "periodic"])
@pytest.mark.parametrize("checkpoint_steps", [20, 2000])
def test_a_compiled_form_that_turns_wrong_on_the_way_is_dropped(tmp_path, monkeypatch, start, checkpoint_steps):
    """Right at the start and near it, wrong some calls later: as of a branch that was frozen."""
    monkeypatch.setenv("FFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", checkpoint_steps)
    calls = itertools.count()
    monkeypatch.setattr(fastpath, "build", altered(scaled(2, 1.3), lambda values: next(calls) > 20))
    eager = simulate(morse(), start, OPEN, tmp_path / "eager", seed=3, compile="off")
    found = simulate(morse(), start, OPEN, tmp_path / "found", seed=3, compile="require")
    assert found.mode == "eager"
    assert re.match(
        "restarted without compilation: the compiled forces differ from eager by .* at step", found.mode_note
    )
    assert found.force_calls == eager.force_calls
    for a, b in zip(read_trajectories(tmp_path / "eager"), read_trajectories(tmp_path / "found"), strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)


def traced_only(graph, arguments, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("made")
    return lambda *values: tuple(graph(*values))


@pytest.mark.parametrize(
    ("start", "protocol"),
    [
        (cluster(), OPEN),
        (crystal(), OPEN),
        (cluster(), replace(OPEN, metadynamics=MetadynamicsRule(((0, 1, 2, 3),), 0.01, 0.35, 6.0, 7))),
    ],
    ids=["open", "periodic", "hills"],
)
def test_the_form_is_kept_when_a_killed_run_goes_on(tmp_path, monkeypatch, start, protocol):
    monkeypatch.setattr(bias, "ROWS", 2)  # the tensors of hills grow on the way, and the step is compiled anew
    monkeypatch.setenv("FFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 20)
    monkeypatch.setattr(fastpath, "build", traced_only)

    class Killed(Exception):
        pass

    def kill(done):
        if done > 0.55:
            raise Killed

    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = simulate(morse(), start, protocol, tmp_path / "whole", seed=3, compile="require")
    with pytest.raises(Killed):
        simulate(morse(), start, protocol, tmp_path / "cut", seed=3, progress=kill, compile="require")
    cut = simulate(morse(), start, protocol, tmp_path / "cut", seed=3)
    assert whole.mode == cut.mode == "step"
    assert "from the cache" in cut.mode_note
    for a, b in zip(read_trajectories(tmp_path / "whole"), read_trajectories(tmp_path / "cut")):
        np.testing.assert_array_equal(a.positions, b.positions)


def test_a_run_whose_form_is_gone_starts_again(tmp_path, monkeypatch):
    monkeypatch.setenv("FFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 20)

    class Killed(Exception):
        pass

    def kill(done):
        if done > 0.55:
            raise Killed

    monkeypatch.setattr(fastpath, "build", traced_only)
    with pytest.raises(Killed):
        simulate(morse(), cluster(), OPEN, tmp_path, seed=3, progress=kill, compile="require")
    monkeypatch.setattr(fastpath, "build", lambda *a: (_ for _ in ()).throw(compiled.NotCompilable("gone")))
    outcome = simulate(morse(), cluster(), OPEN, tmp_path, seed=3)
    assert outcome.mode == "eager"
    assert outcome.mode_note == "restarted, was step: gone"
    assert [len(t) for t in read_trajectories(tmp_path)] == [12] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "start", "protocol"),
    [
        (morse(), cluster(), replace(OPEN, ensemble="nose_hoover")),
        (morse(), crystal(), OPEN),
        (replace(morse(), cutoff=1.5), crystal(), OPEN),
        (morse(), cluster(), replace(OPEN, metadynamics=MetadynamicsRule(((0, 1, 2, 3),), 0.01, 0.35, 6.0, 7))),
    ],
    ids=["open", "skin", "nearest images", "hills"],
)
def test_machine_code_is_the_eager_run(tmp_path, monkeypatch, model, start, protocol):
    """Minutes on a busy machine: AOTInductor compiles C++."""
    monkeypatch.setenv("FFBENCH_CACHE", str(tmp_path / "cache"))
    runs = {}
    for option in ("off", "require"):
        outcome = simulate(model, start, protocol, tmp_path / option, seed=3, compile=option)
        runs[option] = read_trajectories(tmp_path / option)
    assert outcome.mode == "step"
    assert outcome.force_error < 1e-10
    for a, b in zip(runs["off"], runs["require"], strict=True):
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-5)
    begun = list((tmp_path / "cache").rglob("*.pt2"))
    simulate(model, start, protocol, tmp_path / "require", seed=3, compile="require")
    assert list((tmp_path / "cache").rglob("*.pt2")) == begun


@pytest.mark.parametrize("damage", ["torn", "other", "unsealed", "unloadable"])
def test_a_damaged_artefact_is_removed_and_made_again(tmp_path, monkeypatch, damage):
    """The compiler is a stand-in that writes what it made, so that loading a torn file cannot end this process."""
    made, loads = [], []

    def package(program, package_path):
        made.append(package_path)
        Path(package_path).write_bytes(b"machine code %d" % len(made))

    def load(path):
        loads.append(Path(path).read_bytes())
        if damage == "unloadable" and len(loads) == 2:
            raise RuntimeError("undefined symbol")
        return lambda *values: [v * 2 for v in values]

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", package)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", load)
    monkeypatch.setattr(compiled, "compiler", lambda: "g++")
    x = (torch.ones(3),)
    graph = compiled.trace(lambda v: (v * 2,), x)
    path = compiled.artefact(graph, x, tmp_path)
    compiled.build(graph, x, path)
    compiled.build(graph, x, path)
    expected = 2 if damage == "unloadable" else 1
    assert len(made) == expected
    if damage == "torn":
        path.write_bytes(b"mach")
    elif damage == "other":
        path.write_bytes(b"another code 9")
    elif damage == "unsealed":
        path.with_suffix(".sha256").unlink()
    assert compiled.build(graph, x, path)(*x)[0].tolist() == [2.0, 2.0, 2.0]
    assert len(made) == 2
    assert path.read_bytes() == loads[-1] == b"machine code 2"
