"""Water beside measurements: shells that give 1 for an ideal gas, the truth's own numbers, D of a random walk."""

from types import SimpleNamespace

import numpy as np
import pytest

import reference_models
from ffbench_data import load_frames
from ffbench_data.measured import measured
from ffbench_eval import evaluate
from ffbench_eval.engine.trajectory import Trajectory
from ffbench_eval.kinds.experiment import work
from ffbench_eval.kinds.experiment.work import Parameters, anchors, measured_rdf
from ffbench_metrics import pair_distance_counts, rdf_from_counts
from leaderboard.check.recompute import metric_faults, task_faults
from tests.conftest import ROOT

ROW = {
    "ensemble": "nose_hoover", "temperature_K": 300, "time_step_fs": 1.0, "length_ps": 120, "skip_ps": 10,
    "save_every_fs": 1000, "replicas": 2,
}  # fmt: skip


def trajectory(positions, cell, numbers, dt_ps):
    zeros = np.zeros(len(positions))
    return Trajectory(
        numbers=np.asarray(numbers), cell=cell, pbc=np.ones(3, bool), time_ps=dt_ps * np.arange(1, len(positions) + 1),
        positions=positions, potential_energy=zeros, total_energy=zeros, temperature=zeros + 300.0,
    )  # fmt: skip


def test_an_ideal_gas_has_one_in_every_shell():
    """Counts are Poisson numbers: every shell within six standard errors, and the error bars themselves are right."""
    rng, box, n, frames = np.random.default_rng(0), 13.0, 120, 60
    x = box * rng.random((frames, n, 3))
    counts = pair_distance_counts(x, box * np.eye(3), r_max=0.3 * 20.5, bins=41).sum(0)
    g = measured_rdf(counts, frames, box**3, n * (n - 1) // 2, 0.3)
    expected = frames * n * (n - 1) / 2 * 4 / 3 * np.pi / box**3
    r = 0.3 * np.arange(1, 21)
    error = 1 / np.sqrt(expected * ((r + 0.15) ** 3 - (r - 0.15) ** 3))
    assert (np.abs(g - 1)[2:] < 6 * error[2:]).all()


def test_water_of_the_data_is_as_far_from_experiment_as_its_stored_runs():
    """SPC/Fw: 6.7, 2.5 and 1.6 experimental errors by the 5 x 1 ns of its reference, worked out here another way; its
    300 test frames agree to what so few frames leave."""
    from ffbench_data.load import dataset_folder
    from ffbench_data.observables import read_reference

    frames = load_frames("water", "1k", "test")
    numbers, x = frames.stacked()
    reference, liquid = read_reference(dataset_folder("water"), "1k"), measured("water")
    p = Parameters(**ROW)
    metrics, curves = work._structure([trajectory(x, frames[0].cell, numbers, 1.0)], [True], p, liquid)
    inside = (liquid.r > 1.99) & (liquid.r < 6.01)
    expected = {"O-O": (6.74, 64 * 63 // 2), "H-O": (2.50, 64 * 128), "H-H": (1.58, 128 * 127 // 2)}
    for pair, (chi, pairs) in expected.items():
        stored = reference.levels(f"rdf_{pair}")[0]
        volume = abs(np.linalg.det(frames[0].cell))
        r, g = rdf_from_counts(stored.total, stored.n_frames, volume=volume, pairs=pairs, r_max=6.0)
        g0, error = (v[inside] for v in liquid.rdf[pair])
        gap = np.abs(np.interp(liquid.r[inside], r, g) - g0)
        assert (gap[error > 0] / error[error > 0]).mean() == pytest.approx(chi, abs=0.01)
        assert metrics[f"rdf_measured_error_{pair}"].value == pytest.approx(0.03 * gap.sum(), rel=0.25)
        assert metrics[f"rdf_chi_{pair}"].value == pytest.approx(chi, rel=0.25)
        assert metrics[f"rdf_chi_{pair}"].trivial > 3 * chi
        assert "298 K measured" in metrics[f"rdf_chi_{pair}"].interval_note
    assert set(curves["rdf_O-O"].series) == {"model", "measured"}


def test_anchors_are_of_the_measurement_alone():
    table = np.genfromtxt(ROOT / "ffbench_data/measured/water_rdf.csv", delimiter=",", skip_header=4)
    rows = table[(table[:, 0] > 1.99) & (table[:, 0] < 6.01) & (table[:, 2] > 0)]
    expected = np.mean(np.abs(1 - rows[:, 1]) / rows[:, 2])
    found = anchors(SimpleNamespace(parameters=Parameters(**ROW)), None)
    assert found["rdf_chi_O-O"].trivial == pytest.approx(expected, rel=1e-12)


def walkers(d, seed, steps=120, n=600):
    """Random walk of D = ``d`` Å²/ps in steps of 1 ps."""
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(scale=np.sqrt(2 * d), size=(steps, n, 3)), axis=0)


def test_diffusion_gets_what_the_box_takes_off():
    """D of 0.2 Å²/ps is 2e-9 m²/s; Yeh and Hummer add k T 2.837297 / (6 pi eta L), 0.586e-9 in a box of 12.43 Å."""
    cell, p, liquid = 12.43 * np.eye(3), Parameters(**ROW), measured("water")
    runs = [trajectory(walkers(0.2, seed), cell, np.full(600, 8), 1.0) for seed in (1, 2)]
    data = SimpleNamespace(reference=None, frames=None)
    found = work._diffusivity(runs, [True, True], data, p, liquid)
    more = 1.380649e-23 * 300 * 2.837297 / (6 * np.pi * 0.8545e-3 * 12.43e-10)
    plain = [v - more for v in found["diffusivity_corrected"].values]
    assert plain == pytest.approx([2e-9, 2e-9], rel=0.2)
    for value, error in zip(found["diffusivity_corrected"].values, found["diffusivity_error"].values):
        assert error == pytest.approx(abs(value / 2.299e-9 - 1), rel=1e-9)
    assert "measured viscosity" in found["diffusivity_error"].interval_note


def test_short_runs_have_no_diffusion():
    p = Parameters(**{**ROW, "length_ps": 20, "skip_ps": 0})
    run = trajectory(walkers(0.2, 0, steps=20), 12.43 * np.eye(3), np.full(600, 8), 1.0)
    found = work._diffusivity([run], [True], SimpleNamespace(reference=None), p, measured("water"))
    assert {m.not_scored for m in found.values()} == {"needs 100 ps"}


def test_a_broken_replica_counts_as_a_liquid_without_structure():
    frames = load_frames("water", "1k", "test")
    numbers, x = frames.stacked()
    runs = [trajectory(x[:20], frames[0].cell, numbers, 1.0)] * 2
    chi = work._structure(runs, [True, False], Parameters(**ROW), measured("water"))[0]["rdf_chi_O-O"]
    assert chi.values[1] == chi.trivial
    assert chi.values[0] < chi.trivial / 3
    assert "1 of 2 replicas broke" in chi.interval_note


SUITE = """
name: own
version: 1.0.0
tasks:
  w: {kind: experiment, dataset: water:1k, ensemble: langevin, temperature_K: 300, time_step_fs: 1.0, length_ps: 0.06,
      skip_ps: 0.01, save_every_fs: 5, replicas: 2}
"""


def test_a_report_follows_from_its_replicas(tmp_path):
    (tmp_path / "own.yaml").write_text(SUITE)
    report = evaluate(reference_models.load("zero"), str(tmp_path / "own.yaml"), out=tmp_path / "run", quiet=True)
    task = report.tasks["w"]
    assert task.statuses == {"ok": 2}
    assert {"rdf_chi_O-O", "rdf_chi_H-O", "rdf_chi_H-H", "rdf_measured_error_O-O"} <= set(task.metrics)
    assert task.metrics["diffusivity_error"].not_scored == "needs 100 ps"
    faults = [f for name, m in task.metrics.items() for f in metric_faults(name, m, task)] + list(task_faults(task))
    assert faults == []


def test_a_window_beyond_the_measurement_is_one_line(tmp_path):
    from ffbench_eval.suite import load_suite

    (tmp_path / "own.yaml").write_text(SUITE.replace("replicas: 2", "replicas: 2, r_max: 12"))
    with pytest.raises(ValueError, match=r"measured up to 9\.99 Å"):
        load_suite(str(tmp_path / "own.yaml"))
