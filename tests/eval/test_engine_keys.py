"""A folder belongs to one simulation: another call is refused, the same one goes on with its counters."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ffbench_data.contract import ForceField
from ffbench_eval.engine import run as engine_run
from ffbench_eval.engine.bias import MetadynamicsRule, Restraint
from ffbench_eval.engine.monitors import RdfPair, RdfWatch
from ffbench_eval.engine.run import OtherSimulation, Protocol, Start, simulate
from ffbench_eval.engine.trajectory import read_failures, read_trajectories
from tests.eval.engine_systems import F64, cluster

PROTOCOL = Protocol("langevin", 300.0, 1.0, 0.06, 5.0)


def tether(k=1.0):
    def energy(batch):
        per_atom = 0.5 * k * batch.positions.square().sum(-1)
        return per_atom.new_zeros(batch.n_systems).index_add(0, batch.system_index, per_atom)

    return ForceField.from_energy(energy, None, dtype=F64)


class Killed(Exception):
    pass


def kill(done):
    if done > 0.55:
        raise Killed


@pytest.mark.parametrize("interrupted", [True, False], ids=["interrupted", "finished"])
@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ("temperature_K 300.0, not 2000.0", {"protocol": replace(PROTOCOL, temperature_K=2000.0)}),
        ("time_step_fs 1.0, not 0.25", {"protocol": replace(PROTOCOL, time_step_fs=0.25)}),
        ("save_every_fs 5.0, not 10.0", {"protocol": replace(PROTOCOL, save_every_fs=10.0)}),
        ("length_ps 0.06, not 0.08", {"protocol": replace(PROTOCOL, length_ps=0.08)}),
        ("ensemble langevin, not nve", {"protocol": replace(PROTOCOL, ensemble="nve")}),
        ("equilibrate_ps 0.0, not 0.02", {"protocol": replace(PROTOCOL, equilibrate_ps=0.02)}),
        ("restraints", {"protocol": replace(PROTOCOL, restraints=(Restraint((0, 1), 1.0, 1.0),))}),
        ("seed 3, not 4", {"seed": 4}),
        ("replica ids", {"start": cluster().part(slice(1, 3))}),
        ("start positions", {"start": cluster(seed=1)}),
        ("start masses", {"start": replace(cluster(), masses=np.full(5, 13.0))}),
        ("a model that answers otherwise", {"model": tether(1.1)}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_simulation_in_a_used_folder_is_refused(tmp_path, monkeypatch, said, changed, interrupted):
    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 20)
    call = {"model": tether(), "start": cluster(), "protocol": PROTOCOL, "folder": tmp_path, "seed": 3}
    if interrupted:
        with pytest.raises(Killed):
            simulate(**call, progress=kill)
    else:
        simulate(**call)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(OtherSimulation, match=said) as error:
        simulate(**{**call, **changed})
    assert len(str(error.value).splitlines()) == 1
    assert str(tmp_path) in str(error.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert simulate(**call).end_ps == [0.06] * 3


def test_the_callers_name_of_the_model_decides_where_it_gives_one(tmp_path):
    simulate(tether(), cluster(), PROTOCOL, tmp_path, seed=0, identity="a 1")
    with pytest.raises(OtherSimulation, match="model a 1, not b 2"):
        simulate(tether(), cluster(), PROTOCOL, tmp_path, seed=0, identity="b 2")
    with pytest.raises(OtherSimulation, match="model a 1, not nothing"):
        simulate(tether(), cluster(), PROTOCOL, tmp_path, seed=0)
    assert simulate(tether(), cluster(), PROTOCOL, tmp_path, seed=0, identity="a 1").end_ps == [0.06] * 3


def test_a_folder_with_frames_of_unknown_origin_is_refused(tmp_path):
    simulate(tether(), cluster(), PROTOCOL, tmp_path, seed=0)
    (tmp_path / "simulation.json").unlink()
    with pytest.raises(OtherSimulation, match=r"trajectory-00000\.parquet of an unknown simulation"):
        simulate(tether(), cluster(), PROTOCOL, tmp_path, seed=0)
    (tmp_path / "simulation.json").write_text("{")
    with pytest.raises(OtherSimulation, match="cannot be read"):
        simulate(tether(), cluster(), PROTOCOL, tmp_path, seed=0)


def test_counters_of_a_run_in_two_processes_are_those_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 20)
    with pytest.raises(Killed):
        simulate(tether(), cluster(), PROTOCOL, tmp_path / "cut", seed=3, progress=kill)
    from ffbench_eval.engine import checkpoint

    tensors, meta = checkpoint.latest(tmp_path / "cut")
    checkpoint.save(tmp_path / "cut", meta["step"], tensors, {**meta, "wall_s": 100.0})
    cut = simulate(tether(), cluster(), PROTOCOL, tmp_path / "cut", seed=3)
    whole = simulate(tether(), cluster(), PROTOCOL, tmp_path / "whole", seed=3)
    assert cut.force_calls == whole.force_calls == 61  # the start and 60 steps
    assert whole.wall_s < 60 < 100 < cut.wall_s < 160


@pytest.mark.parametrize("torn", ["piece", "piece gone", "checkpoint", "all checkpoints", "a bit of a checkpoint"])
def test_a_run_goes_on_from_whole_files_only_and_ends_as_one_that_was_never_stopped(tmp_path, monkeypatch, torn):
    """A power cut or a bad disk under an unfinished simulation costs time, never a number."""
    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 20)
    with pytest.raises(Killed):
        simulate(tether(), cluster(), PROTOCOL, tmp_path / "cut", seed=3, progress=lambda done: kill(done - 0.2))
    first, last = sorted((tmp_path / "cut").glob("checkpoint-*"))
    piece = tmp_path / "cut" / "trajectory-00000.parquet"
    if torn == "piece":
        raw = piece.read_bytes()
        piece.write_bytes(raw[:200] + bytes([raw[200] ^ 1]) + raw[201:])
    elif torn == "piece gone":
        piece.unlink()
    elif torn == "a bit of a checkpoint":
        raw = last.read_bytes()
        last.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))  # it reads as before, with another number
    else:
        for path in (last,) if torn == "checkpoint" else (first, last):
            path.write_bytes(path.read_bytes()[:-100])
    simulate(tether(), cluster(), PROTOCOL, tmp_path / "cut", seed=3)
    simulate(tether(), cluster(), PROTOCOL, tmp_path / "whole", seed=3)
    for a, b in zip(read_trajectories(tmp_path / "cut"), read_trajectories(tmp_path / "whole")):
        np.testing.assert_array_equal(a.time_ps, b.time_ps)
        np.testing.assert_array_equal(a.positions, b.positions)


@pytest.mark.parametrize(("dt", "length"), [(0.3, 0.1), (0.7, 0.3), (1.5, 0.2), (0.5, 0.3)])
def test_a_length_off_the_step_is_reached_and_not_exceeded(dt, length, tmp_path):
    protocol = Protocol("langevin", 50.0, dt, length, 25.0)
    assert protocol.steps * dt >= 1000 * length - 1e-6 > (protocol.steps - 1) * dt
    outcome = simulate(tether(), cluster(), protocol, tmp_path, seed=0)
    assert outcome.end_ps == [length] * 3
    every = round(25 / dt) * dt / 1000
    for t in read_trajectories(tmp_path):
        np.testing.assert_allclose(t.time_ps, every * np.arange(1, len(t) + 1), atol=1e-9)


def test_frames_count_from_the_end_of_the_equilibration(tmp_path):
    protocol = Protocol("langevin", 50.0, 1.0, 0.05, 10.0, equilibrate_ps=0.013)
    simulate(tether(), cluster(), protocol, tmp_path, seed=0)
    np.testing.assert_allclose(read_trajectories(tmp_path)[0].time_ps, [0.01, 0.02, 0.03, 0.04, 0.05])


def test_what_breaks_after_the_last_saved_frame_is_seen(tmp_path):
    """Two free atoms fly apart: at the last step, off the saving interval, the bond is longer than allowed."""
    free = ForceField.from_energy(lambda b: 0 * b.positions.view(b.n_systems, -1).sum(1), None, dtype=F64)
    start = Start(
        np.array([[[0.0, 0, 0], [1, 0, 0]]]), np.array([6, 6]), np.full(2, 12.0), np.zeros((3, 3)), np.zeros(3)
    )
    length = {}
    for name, length_ps in (("seen", 0.100), ("whole", 0.129)):
        protocol = Protocol("nve", 300.0, 1.0, length_ps, 50.0)
        simulate(free, start, replace(protocol, save_every_fs=1.0), tmp_path / name, seed=0)
        (t,) = read_trajectories(tmp_path / name)
        length[name] = abs(np.linalg.norm(t.positions[-1, 0] - t.positions[-1, 1]) - 1)
    tolerance = float(length["seen"] + length["whole"]) / 2
    protocol = Protocol("nve", 300.0, 1.0, 0.129, 50.0, bonds=((0, 1, 1.0),), bond_tolerance=tolerance)
    outcome = simulate(free, start, protocol, tmp_path / "last", seed=0)
    assert outcome.reason == ["a bond broke"]
    assert outcome.end_ps == [0.129]


def test_a_failure_just_before_a_checkpoint_leaves_its_steps_also_in_a_resumed_run(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 20)

    calls = {"n": 0}

    def nan_at_18(batch):
        out = tether()(batch)
        calls["n"] += 1
        energy = out.energy.clone()
        if calls["n"] > 18:
            energy[1] = torch.nan
        return {"energy": energy, "forces": out.forces}

    model = ForceField(nan_at_18, None, dtype=F64)
    protocol = Protocol("nve", 300.0, 1.0, 0.075, 15.0)  # frames at 15 and 30, a checkpoint at 20
    with pytest.raises(Killed):
        simulate(model, cluster(), protocol, tmp_path, seed=0, progress=kill, compile="off", identity="x")
    assert list(read_failures(tmp_path)) == [1]
    outcome = simulate(model, cluster(), protocol, tmp_path, seed=0, compile="off", identity="x")
    assert outcome.reason[1] == "the model's energy is not finite"
    assert len(read_failures(tmp_path)[1]) > 10


@pytest.mark.parametrize("name", ["length_ps", "save_every_fs"])
def test_lengths_must_be_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        replace(PROTOCOL, **{name: 0})


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("temperature_K", np.nan),
        ("time_step_fs", (0.5, np.inf)),
        ("length_ps", np.inf),
        ("relaxation_fs", 0.0),
        ("friction_per_ps", -1.0),
        ("equilibrate_ps", np.nan),
        ("bond_tolerance", np.nan),
        ("drift_limit_eV_per_atom", np.nan),
        ("displacement_limit_A", np.inf),
        ("step_limit_A", 0.0),
        ("pressure_bar", np.nan),
        ("bonds", ((0, 1, np.nan),)),
    ],
)
def test_a_limit_that_nothing_can_fail_is_refused(name, bad):
    with pytest.raises(ValueError, match=name):
        replace(PROTOCOL, **{name: bad})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Restraint((0, 1), np.nan, 1.0),
        lambda: Restraint((0, 1), 1.0, np.nan),
        lambda: MetadynamicsRule((), np.nan, 0.3, 6.0, 10, distances=((0, 1),)),
        lambda: MetadynamicsRule((), 0.1, np.nan, 6.0, 10, distances=((0, 1),)),
        lambda: MetadynamicsRule((), 0.1, 0.3, 6.0, 0, distances=((0, 1),)),
        lambda: RdfWatch((RdfPair((0,), (1,), (1.0, 1.0)),), np.nan),
        lambda: RdfWatch((RdfPair((0,), (1,), (1.0, np.nan)),), 1.0),
        lambda: RdfWatch((RdfPair((0,), (1,), (1.0,)), RdfPair((0,), (1,), (1.0, 1.0))), 1.0),
        lambda: RdfWatch((), 1.0),
    ],
)
def test_a_bias_or_a_criterion_of_no_numbers_is_refused(make):
    with pytest.raises(ValueError, match=r"restraint|hills|sigma|rdf"):
        make()


@pytest.mark.parametrize("other", [{"charge": 1}, {"spin_multiplicity": 3}])
def test_an_ion_does_not_go_on_as_the_molecule_that_began(tmp_path, other):
    """Also where the caller names the model, whose answers are then not compared."""
    model = replace(tether(), uses_charge=True, uses_spin=True)
    simulate(model, cluster(), PROTOCOL, tmp_path, seed=0, identity="a")
    with pytest.raises(OtherSimulation, match=r"start (charge|spin multiplicity) nothing, not [13]"):
        simulate(model, replace(cluster(), **other), PROTOCOL, tmp_path, seed=0, identity="a")
