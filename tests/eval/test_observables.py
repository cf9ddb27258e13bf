"""Observables on trajectories made by hand, each through `score` and against a closed form."""

from dataclasses import replace

import numpy as np
import pytest

from ffbench_eval.engine.trajectory import Trajectory
from ffbench_eval.kinds import KINDS
from ffbench_eval.kinds.accuracy import work as accuracy
from ffbench_eval.kinds.dynamics import work as molecular_dynamics
from ffbench_eval.kinds.dynamics.floors import floor, levels
from ffbench_eval.kinds.dynamics.observables import SHOWN, energy_drift, rdf_floor
from ffbench_eval.kinds.dynamics.systems import system_of
from ffbench_eval.run.data import load_task_data
from ffbench_eval.suite import load_suite
from tests.eval.dynamics_data import data, task, unit

BOX = 12.0 * np.eye(3)


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


def shell(r, bins=500, r_max=6.0):
    """Volume (Å^3) of the bin of g(r) that holds ``r``."""
    edges = np.linspace(0, r_max, bins + 1)
    k = int(r / (r_max / bins))
    return 4 / 3 * np.pi * (edges[k + 1] ** 3 - edges[k] ** 3)


def pair(distance, frames, box=None):
    """Two atoms at a distance, drifting together."""
    x = np.zeros((frames, 2, 3))
    x[:, :, 0] = 0.01 * np.arange(frames)[:, None]
    x[:, 1, 2] = distance
    return x


def test_rdf_of_pairs_at_one_distance(tmp_path):
    """One pair per frame: g is V / (bin's volume) in one bin; two such g differ by both areas."""
    made = data(([18, 18], pair(4.503, 30), BOX), facts={"rdf_limit": 1e9})
    result = unit(tmp_path / "a", [18, 18], [pair(4.503, 20), pair(2.503, 20)], cell=BOX)
    metrics, curves = molecular_dynamics.score(task(observables=["rdf"], replicas=2), [result], made)
    dr, volume = 6 / 500, 12.0**3
    expected = dr * volume * (1 / shell(2.503) + 1 / shell(4.503))
    assert metrics["rdf_error_Ar-Ar"].values == pytest.approx([0.0, expected])
    gas = dr * (499 + abs(volume / shell(4.503) - 1))
    assert metrics["rdf_error_Ar-Ar"].trivial == pytest.approx(gas)
    assert set(curves["rdf_Ar-Ar"].series) == {"model", "reference"}


def test_rdf_of_an_ideal_gas(tmp_path):
    """Two ideal gases differ by counting noise alone: sum over bins of sqrt(2/pi) sigma, which 500 bins average."""
    rng, n, frames = np.random.default_rng(0), 30, 200
    gas = rng.uniform(0, 12, (2, frames, n, 3))
    made = data(([18] * n, gas[0], BOX), facts={"rdf_limit": 1e9})
    result = unit(tmp_path / "a", [18] * n, gas[1][None], cell=BOX)
    metrics, _ = molecular_dynamics.score(task(length_ps=20, observables=["rdf"]), [result], made)
    edges = np.linspace(0, 6, 501)
    counts = n * (n - 1) / 2 * frames * 4 / 3 * np.pi * np.diff(edges**3) / 12.0**3
    many = counts > 20  # elsewhere the noise is not normal, and small
    noise = (6 / 500) * np.sqrt(2 / np.pi) * np.sqrt(2 / counts[many]).sum()
    few = (6 / 500) * 2 * (~many).sum()  # mean |difference| of two Poisson g of mean 1 is at most 2
    assert 0.8 * noise < metrics["rdf_error_Ar-Ar"].value < 1.2 * noise + few


def test_distance_histogram_of_a_planted_distance(tmp_path):
    """Distances in other bins altogether: the error is 2; in the same bin: 0."""
    made = data(([1, 1], pair(0.75, 30), None), facts={"bonds": [[0, 1, 0.75]]})
    result = unit(tmp_path / "a", [1, 1], [pair(0.75, 20), pair(0.95, 20)])
    wanted = task(observables=["distance_histogram"], replicas=2)
    metrics, _ = molecular_dynamics.score(wanted, [result], made)
    assert metrics["distance_histogram_error"].values == pytest.approx([0.0, 2.0])


def ethanol(**how):
    mini = next(t for t in load_suite("mini").tasks if t.name == "ethanol_md")
    made = load_task_data(mini)
    wanted = task(temperature_K=500, replicas=5, observables=["distance_histogram"], save_every_fs=50, **how)
    wanted = replace(wanted, dataset=mini.dataset)
    rows = molecular_dynamics.starting_rows(wanted.parameters, made)
    return made, wanted, np.stack([made.frames[r].positions for r in rows])


def test_the_frozen_start_scores_zero_and_is_no_models_own(tmp_path):
    made, wanted, starts = ethanol(length_ps=2)
    numbers = made.frames[0].atomic_numbers
    frozen = unit(tmp_path / "frozen", numbers, np.repeat(starts[:, None], 40, 1), every_ps=0.05)
    metric = molecular_dynamics.score(wanted, [frozen], made)[0]["distance_histogram_error"]
    assert metric.value == pytest.approx(metric.trivial, rel=1e-3)  # positions are saved in float32
    assert metric.score == pytest.approx(0.0, abs=1e-3)
    true = made.frames.stacked()[1][:200].reshape(5, 40, 9, 3)
    other = unit(tmp_path / "true", numbers, true, every_ps=0.05)
    wild = unit(tmp_path / "wild", numbers, 1.02 * true, every_ps=0.05)
    lost = unit(tmp_path / "lost", numbers, true[:2, :12], every_ps=0.05, status=["unstable"] * 2)
    for one in (other, wild, lost):
        found = molecular_dynamics.score(wanted, [one], made)[0]["distance_histogram_error"]
        assert found.trivial == metric.trivial


def test_what_a_system_cannot_have_is_not_scored(tmp_path):
    made = data(([18, 18], pair(4.0, 30), BOX), facts={"rdf_limit": 1e9})
    result = unit(tmp_path / "a", [18, 18], [pair(4.0, 20)], cell=BOX)
    metrics, _ = molecular_dynamics.score(task(observables=["distance_histogram"]), [result], made)
    assert "open systems" in metrics["distance_histogram_error"].not_scored
    made = data(([1, 1], pair(0.75, 30), None))
    result = unit(tmp_path / "b", [1, 1], [pair(0.75, 20)])
    metrics, _ = molecular_dynamics.score(task(observables=["rdf"]), [result], made)
    assert "periodic in all directions" in metrics["rdf_error"].not_scored


def test_the_skip_is_left_out_and_hotter_is_positive(tmp_path):
    made = data(([1, 1], pair(0.75, 30), None))
    hot = np.r_[np.full(10, 1000.0), np.full(10, 320.0)][None]  # the first ps, then the second
    result = unit(tmp_path / "a", [1, 1], [pair(0.75, 20)], temperature=hot, internal=hot - 50)
    metrics, _ = molecular_dynamics.score(task(skip_ps=1, observables=["temperature"]), [result], made)
    assert metrics["temperature_deviation"].values == pytest.approx([20.0])
    assert metrics["internal_temperature_deviation"].values == pytest.approx([-30.0])
    whole, _ = molecular_dynamics.score(task(observables=["temperature"]), [result], made)
    assert whole["temperature_deviation"].values == pytest.approx([360.0])


def test_frames_after_the_failure_are_not_scored(tmp_path):
    """Two argon atoms meet at 1.5 ps: what came after says nothing."""
    made = data(([18, 18], pair(3.8, 30), None))
    x = pair(3.8, 20)
    x[14:, 1, 2] = 0.5
    hot = np.r_[np.full(14, 310.0), np.full(6, 900.0)][None]
    result = unit(tmp_path / "a", [18, 18], [x], temperature=hot)
    metrics, _ = molecular_dynamics.score(task(observables=["temperature"], length_ps=2), [result], made)
    assert metrics["stable_time"].values == pytest.approx([1.5])
    assert metrics["temperature_deviation"].values == pytest.approx([(14 * 10 + 600) / 15])


def test_failed_frames_of_an_accuracy_task_are_not_scored(tmp_path):
    """Forces of frames whose state is not ok count as none (here: as true), whatever stands in the file."""
    from ffbench_eval.run.units import Result
    from ffbench_eval.suite import Task

    made = data(([1, 1], pair(0.75, 40), None))
    folder = tmp_path / "a"
    folder.mkdir()
    forces = np.full((80, 3), 0.25, np.float32)
    forces[20:24] = 1e3  # frames 10 and 11
    np.savez(folder / "predictions.npz", rows=np.arange(40), energy=np.zeros(40), forces=forces)
    status = ["ok"] * 40
    status[10] = status[11] = "model_error"
    wanted = Task("made", KINDS["accuracy"], "1", "made", "water", None, accuracy.Parameters())
    metric = accuracy.score(wanted, [Result(folder, status, [], 0.0, 0, {})], made)[0]["force_mae"]
    assert metric.value == pytest.approx(0.25 * 38 / 40)


def test_the_diffusivity_of_a_random_walk(tmp_path):
    """D = 0.25 Å^2/ps. 200 walkers and ten windows each: 2 % of error, so 15 % fails less than once in 10^10."""
    rng, every, d = np.random.default_rng(0), 0.1, 0.25
    walk = np.cumsum(rng.normal(scale=(2 * d * every) ** 0.5, size=(1000, 200, 3)), axis=0)
    rule = {"needs_ps": 50, "fit_window_ps": [1, 5], "element": "Ar"}
    made = data(
        ([18] * 200, np.tile(walk[0], (20, 1, 1)), 40 * np.eye(3)), facts={"rdf_limit": 1e9, "diffusivity": rule}
    )
    result = unit(tmp_path / "a", [18] * 200, walk[None], cell=40 * np.eye(3))
    metrics, _ = molecular_dynamics.score(task(length_ps=100, observables=["diffusivity"]), [result], made)
    assert metrics["diffusivity"].value == pytest.approx(d * 1e-8, rel=0.15)
    short, _ = molecular_dynamics.score(task(length_ps=40, observables=["diffusivity"]), [result], made)
    assert short["diffusivity"].not_scored == "needs 50 ps"


@pytest.mark.parametrize("end", [4.0, 4.5, 4.9])
def test_hills_after_the_failure_do_not_count(tmp_path, end):
    """Hills every ps, one row each; the replica breaks after the fourth. One hill of height h is in F minus a Gaussian
    times h' = h gamma / (gamma - 1): the error is that of this closed form."""
    from ffbench_eval.engine.units import KJ_PER_MOL

    mini = next(t for t in load_suite("mini").tasks if t.name == "alanine_free_energy")
    made, p = load_task_data(mini), mini.parameters
    start = made.frames[molecular_dynamics.starting_rows(p, made)[0]]
    centres = np.array([[-1.2, -0.4]] * 4 + [[-2.7, 2.8]] * 6)  # both where the reference is low
    hills = np.column_stack([centres, np.r_[np.full(4, 2.0), np.full(6, 50.0)] * KJ_PER_MOL])
    x = np.tile(start.positions, (1, round(10 * end), 1, 1))
    result = unit(
        tmp_path / "a", start.atomic_numbers, x, end_ps=[end], status=["unstable"], hills=[hills]
    )  # fmt: skip
    metrics, _ = molecular_dynamics.score(mini, [result], made)
    bins = len(made.reference.free_energy)
    grid = -np.pi + np.arange(bins) * 2 * np.pi / bins
    phi, psi = np.meshgrid(grid, grid, indexing="ij")
    near = [(d + np.pi) % (2 * np.pi) - np.pi for d in (phi + 1.2, psi + 0.4)]
    gaussian = np.exp(-(near[0] ** 2 + near[1] ** 2) / (2 * 0.35**2))
    f, reference = -4 * 2.0 * 6 / 5 * gaussian, made.reference.free_energy
    f = np.minimum(f - f.min(), 40)
    region = reference < 20
    f = f - (f - reference)[region].mean()
    expected = np.abs(f - reference)[region].mean()
    assert metrics["free_energy_error"].values == pytest.approx([expected], rel=0.02)


@pytest.mark.parametrize("lost", ["before", "behind"])
def test_hills_of_several_units_stay_with_their_replicas(tmp_path, lost):
    """A unit that left no hills shifts nothing."""
    from ffbench_eval.engine.units import KJ_PER_MOL

    mini = next(t for t in load_suite("mini").tasks if t.name == "alanine_free_energy")
    made = load_task_data(mini)
    start = made.frames[0]
    x = np.tile(start.positions, (1, 100, 1, 1))
    hills = np.array([[-1.0, 1.0, 2.0 * KJ_PER_MOL]] * 10)
    full = unit(tmp_path / "a", start.atomic_numbers, x, hills=[hills])
    none = unit(tmp_path / "b", start.atomic_numbers, x)
    order = [none, full] if lost == "before" else [full, none]
    values = molecular_dynamics.score(mini, order, made)[0]["free_energy_error"].values
    assert [v is None for v in values] == [r is none for r in order]


# noise floors


def water(name="desk"):
    wanted = next(t for t in load_suite(name).tasks if t.name == "water_md")
    made = load_task_data(wanted)
    frame = made.frames[0]
    return wanted.parameters, system_of(made, frame)


def test_the_floor_of_desk_water_is_of_18_ps():
    """Windows of 18 ps cut from the 0.9 ps blocks against the other runs pooled: median 0.153, 95th percentile 0.171
    for O-O, of ten windows; of 20 ps: 0.139 and 0.161, of 250."""
    p, system = water()
    found = rdf_floor(system, "O-O", p.length_ps - p.skip_ps)
    assert found.length_ps == 18
    assert 0.140 < found.median < 0.156
    assert 0.163 < found.p95 < 0.175
    assert found.windows >= 20
    assert "interpolated between 10 and 20 ps" in found.note
    exact = rdf_floor(system, "O-O", 20.0)
    assert (exact.length_ps, exact.note) == (20, "")
    assert exact.median < found.median


@pytest.mark.parametrize("length", [1.8, 4.5, 9.0, 10.0, 14.0, 18.0, 25.0, 33.3, 99.0, 495.0])
def test_floors_fall_with_length_to_the_frame(length):
    """Errors of independent samples fall as length^-1/2: within a fifth of 20 ps' floor scaled so."""
    _, system = water()
    found, known = rdf_floor(system, "O-O", length), rdf_floor(system, "O-O", 20.0)
    assert found.length_ps == length
    assert found.median == pytest.approx(known.median * (20 / length) ** 0.5, rel=0.2)


def test_few_windows_are_said():
    made, _, _ = ethanol(length_ps=2)
    frame = made.frames[0]
    system = system_of(made, frame)
    stored = levels(system, "distance_histogram")

    def error(a, b, r_max):
        return float(np.abs(a / a.sum() - b / b.sum()).sum())

    found = floor(stored, 99.0, error)
    assert (found.length_ps, found.windows) == (99, 6)
    assert "6 windows" in found.note
    assert floor(stored, 9.0, error).note == ""
    assert floor([], 9.0, error) is None


def test_older_floors_keep_their_hash():
    from ffbench_eval.report import Floor

    assert set(Floor(median=1, p95=2, runs=5, length_ps=10).model_dump(mode="json")) == {
        "median",
        "p95",
        "runs",
        "length_ps",
    }


# times


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"time_step_fs": 0.3, "length_ps": 0.1, "save_every_fs": 30}, "length_ps 0.1 .*save_every_fs"),
        ({"time_step_fs": 0.7, "save_every_fs": 25}, "save_every_fs 25 .*time_step_fs"),
        ({"time_step_fs": 1.5, "length_ps": 0.2, "save_every_fs": 24}, "length_ps 0.2"),
        ({"length_ps": 2.05}, "length_ps 2.05 .*take 2 or 2.1"),
        ({"skip_ps": 0.25}, "skip_ps 0.25"),
        ({"skip_ps": 2}, "leaves nothing"),
        ({"equilibrate_ps": 0.0105}, "equilibrate_ps"),
        ({"observables": ["free_energy"]}, "needs metadynamics"),
    ],
)
def test_times_that_do_not_divide_are_refused(how, said):
    with pytest.raises(ValueError, match=said):
        task(**how)


@pytest.mark.parametrize(("step", "save"), [(0.25, 12.5), (0.3, 30), (0.1, 0.7), (4, 40)])
def test_times_that_divide_are_taken(step, save):
    assert task(time_step_fs=step, save_every_fs=save, length_ps=save * 40 / 1000)
