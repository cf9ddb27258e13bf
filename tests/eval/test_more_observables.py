"""Observables that a task may name beside the published ones, and ensembles and monitors of the engine."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ffbench_data import load_frames
from ffbench_eval.engine.integrators import INTEGRATORS
from ffbench_eval.engine.monitors import SlidingRdf
from ffbench_eval.engine.trajectory import Trajectory
from ffbench_eval.kinds import find_metric
from ffbench_eval.kinds.dynamics import work
from ffbench_eval.kinds.dynamics.angles import BINS, bonded_triples
from ffbench_eval.kinds.dynamics.observables import OBSERVABLES
from ffbench_eval.kinds.dynamics.systems import system_of
from ffbench_eval.report import DatasetUsed
from ffbench_eval.run.data import TaskData, load_task_data
from ffbench_eval.suite import load_suite
from ffbench_metrics import rdf_stability

USED = DatasetUsed(name="d", config="c", split="test", version="1", content_sha256="0")
ROW = {"ensemble": "nve", "temperature_K": 300, "time_step_fs": 0.5, "length_ps": 1, "save_every_fs": 2, "replicas": 2}
P = SimpleNamespace(temperature_K=300.0, length_ps=1.0, skip_ps=0.0, replicas=2, metadynamics=None)


def trajectory(frames, positions, **more):
    first, n = frames[0], len(positions)
    zeros = np.zeros(n)
    return Trajectory(first.atomic_numbers, np.array(first.cell), np.array(first.pbc), np.arange(1, n + 1) * 0.002,
                      np.asarray(positions, np.float32), zeros, zeros, zeros, **more)  # fmt: skip


def test_pair_distributions_are_zero_for_the_reference_itself_and_an_ideal_gas_is_the_baseline():
    frames = load_frames("water", "1k", "test")[np.arange(20)]
    data = TaskData(frames, None, USED)
    box, n = frames[0].cell, len(frames[0].atomic_numbers)
    gas = np.random.default_rng(0).random((20, n, 3)) @ box
    stable = [trajectory(frames, frames.stacked()[1]), trajectory(frames, gas)]
    for name in ("wright_factor", "jensen_shannon"):
        metrics, _ = OBSERVABLES[name](stable, data, P, None)
        assert {"O-O", "H-O", "H-H"} == {find_metric(k)[1] for k in metrics}
        for key, m in metrics.items():
            assert m.values[0] == pytest.approx(0, abs=1e-6), key
            assert m.values[1] == pytest.approx(m.trivial, rel=0.35), key  # a finite gas is noisy
            assert m.unit == find_metric(key)[0].unit
    short = [trajectory(frames, frames.stacked()[1][:5])]
    assert OBSERVABLES["wright_factor"](short, data, P, None)[0]["wright_factor_O-O"].values == [None]


def test_open_systems_have_no_g_of_r():
    frames = load_frames("ethanol_gfn2", split="test")[np.arange(12)]
    data = TaskData(frames, None, USED)
    metrics, _ = OBSERVABLES["wright_factor"]([trajectory(frames, frames.stacked()[1])], data, P, None)
    assert metrics["wright_factor"].value is None
    assert "periodic" in metrics["wright_factor"].not_scored


def test_angles_of_a_frozen_molecule_miss_all_but_its_own_bins():
    frames = load_frames("ethanol_gfn2", split="test")[np.arange(40)]
    data = TaskData(frames, None, USED)
    x = frames.stacked()[1]
    turned = x @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    metrics, curves = OBSERVABLES["angle_histogram"](
        [trajectory(frames, turned), trajectory(frames, np.repeat(x[:1], 12, axis=0))], data, P, None
    )
    triples = bonded_triples(system_of(data, frames[0]))
    assert {k: len(v) for k, v in triples.items()} == {"C-C-H": 5, "C-C-O": 1, "C-O-H": 1, "H-C-H": 4, "H-C-O": 2}
    one = metrics["angle_histogram_error_C-C-O"]
    assert one.values[0] == pytest.approx(0, abs=0.06)  # the same frames, turned: rounding at the edges of bins alone
    i, j, k = triples["C-C-O"][0]
    u, v = x[:, i] - x[:, j], x[:, k] - x[:, j]
    angle = np.degrees(np.arccos((u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)))
    share = np.mean((angle // (180 / BINS)) == angle[0] // (180 / BINS))
    assert one.values[1] == pytest.approx(2 * (1 - share), abs=0.06)
    assert np.trapezoid(curves["angle_histogram_C-C-O"].series["reference"], curves["angle_histogram_C-C-O"].x) > 0.9


def test_a_spring_has_one_line_at_its_wavenumber():
    """k = 30 eV/Å^2 and reduced mass m / 2 for two atoms of 12 amu: sqrt(k / mu) / (2 pi c)."""
    omega = np.sqrt(30 / 6.0 * 9648.533) * 1e-3  # rad/fs: 1 eV/(amu Å^2) is 9648.533 1/ps^2
    wavenumber = omega * 1e15 / (2 * np.pi * 2.99792458e10)
    frames = SimpleNamespace(atomic_numbers=np.array([6, 6]), cell=np.zeros((3, 3)), pbc=np.zeros(3, bool))
    t = np.arange(1, 4001) * 2.0
    v = np.zeros((len(t), 2, 3))
    v[:, 0, 0], v[:, 1, 0] = np.cos(omega * t), -np.cos(omega * t)
    metrics, curves = OBSERVABLES["vibrational_spectrum"]([trajectory([frames], v, velocities=v)], None, P, None)
    assert metrics["vibrational_mean"].value == pytest.approx(wavenumber, rel=0.02)
    curve = curves["vibrational_spectrum"]
    assert curve.x[int(np.argmax(curve.series["model"]))] == pytest.approx(wavenumber, rel=0.03)


@pytest.mark.parametrize("ensemble", INTEGRATORS)
def test_every_ensemble_of_the_engine_can_be_asked_for(ensemble):
    p = work.Parameters(**{**ROW, "ensemble": ensemble, "observables": ["temperature"]})
    assert not {"watch_rdf", "pressure_bar"} & p.model_dump().keys()  # locks and addresses stay as they are
    task = SimpleNamespace(name="t", dataset="ethanol_gfn2", parameters=p)
    data = TaskData(load_frames("ethanol_gfn2", split="test"), None, USED)
    assert work.protocol(task, data).ensemble == ensemble


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ensemble": "langevine"}, "did you mean 'langevin'"),
        ({"observables": ["rfd"]}, "did you mean 'rdf'"),
        ({"ensemble": "npt", "observables": ["rdf"]}, "ensemble npt: rdf needs a cell that does not breathe"),
        ({"ensemble": "npt", "watch_rdf": True}, "npt: watch_rdf needs"),
        ({"pressure_bar": 1.0}, "pressure_bar is for ensemble npt"),
        ({"observables": ["vibrational_spectrum"], "save_every_fs": 10}, "take at most 4"),
    ],
)
def test_what_does_not_go_together_is_one_line(change, said):
    with pytest.raises(ValueError, match=said):
        work.Parameters(**{**ROW, "observables": [], **change})


def test_the_monitor_of_the_engine_is_the_criterion_of_the_task():
    """Frames of water, then of a gas: the engine's window fails at the frame where `rdf_stability` does."""
    task = next(t for t in load_suite("mini").tasks if t.name == "water_md")
    data = load_task_data(task)
    asked = task.parameters.model_copy(update={"watch_rdf": True})
    watch = work.protocol(SimpleNamespace(name="w", dataset="water", parameters=asked), data).rdf
    frame = data.frames[0]
    rng = np.random.default_rng(0)
    liquid = data.frames.stacked()[1][:8].astype(float)
    gas = rng.random((6, *liquid.shape[1:])) @ frame.cell
    x = np.concatenate([liquid, gas])
    rule = work._criterion(data, frame, task.parameters).rdf
    save_ps = 0.25
    window = round(watch.window_ps / save_ps)
    expected = rdf_stability(x, frame.cell, rule.reference, pairs=rule.pairs, window=window, tolerance=rule.limit)
    system = SimpleNamespace(
        pbc=torch.tensor(np.array(frame.pbc)),
        numbers=torch.tensor(np.array(frame.atomic_numbers)),
        cell=torch.tensor(np.array(frame.cell)),
    )
    sliding = SlidingRdf(watch, system, 1, save_ps)
    errors = [float(sliding.add(torch.from_numpy(one[None]), torch.ones(1, dtype=torch.bool))) for one in x]
    assert next(k for k, e in enumerate(errors) if e > watch.threshold) == expected.first_failure
    assert errors[-1] == pytest.approx(expected.deviation[-1], rel=1e-6)
    open_task = SimpleNamespace(name="e", dataset="ethanol_gfn2", parameters=asked)
    molecules = TaskData(load_frames("ethanol_gfn2", split="test"), None, USED)
    with pytest.raises(ValueError, match="watch_rdf needs a limit of g"):
        work.protocol(open_task, molecules)
