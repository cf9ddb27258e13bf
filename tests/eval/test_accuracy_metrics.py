"""What the accuracy kind prints under a metric's name is that metric of `ffbench_metrics` on what was archived."""

from types import SimpleNamespace

import numpy as np
import pytest

import ffbench_metrics as fm
from ffbench_data.frames import Frames
from ffbench_data.schema import to_table
from ffbench_eval.kinds.accuracy import work as accuracy
from ffbench_eval.run.units import Result


def made_up(seed, *, sizes=(2, 3, 5), count=90, periodic=False, dtype=np.float64, error=0.3, folder=None):
    """Frames of molecules of several sizes, and predictions with errors that grow along the frames."""
    rng = np.random.default_rng(seed)
    n = rng.choice(sizes, count)
    forces = [rng.normal(size=(k, 3)) for k in n]
    cells = [12.0 * np.eye(3)] * count if periodic else None
    table = to_table(
        [rng.choice([1, 6, 8], k) for k in n],
        [rng.uniform(0, 5, (k, 3)) for k in n],
        -400.0 * n + rng.normal(size=count),
        forces,
        cell=cells,
        pbc=[[True] * 3] * count if periodic else None,
    )
    frames = Frames(table)
    growth = np.linspace(0.2, 2, count)
    mine = [f + error * g * rng.normal(size=f.shape) for f, g in zip(forces, growth)]
    results = []
    for part, rows in enumerate(np.array_split(np.arange(count), min(2, count))):
        at = folder / str(part)
        at.mkdir()
        np.savez(
            at / "predictions.npz",
            rows=rows,
            energy=frames.energy[rows] + growth[rows] * rng.normal(size=len(rows)),
            forces=np.concatenate([mine[k] for k in rows]).astype(dtype),
        )
        results.append(Result(at, ["ok"] * len(rows), [], 0.0, 1, {}))
    return frames, results


def archived(frames, results):
    """Energies, forces per frame and rows, read from the files and nothing else."""
    energy, forces, rows = [], [], []
    for result in results:
        got = np.load(result.folder / "predictions.npz")
        start = 0
        for row, e in zip(got["rows"], got["energy"]):
            stop = start + frames.n_atoms[row]
            energy.append(e)
            forces.append(got["forces"][start:stop])
            rows.append(row)
            start = stop
    return np.array(energy), forces, np.array(rows)


DEFINITIONS = {
    "force_mae": lambda e, f, frames: fm.force_mae(np.concatenate(f), frames.forces),
    "force_rmse": lambda e, f, frames: fm.force_rmse(np.concatenate(f), frames.forces),
    "force_cosine": lambda e, f, frames: fm.force_cosine(np.concatenate(f), frames.forces),
    "energy_mae": lambda e, f, frames: fm.energy_mae(e, frames.energy),
    "energy_mae_per_atom": lambda e, f, frames: fm.energy_mae(e, frames.energy, n_atoms=frames.n_atoms),
    "net_force": lambda e, f, frames: np.mean([fm.net_force(one) for one in f]),
    "net_torque": lambda e, f, frames: np.mean(
        [fm.net_torque(a.positions, one, masses=a.to_ase().get_masses()) for a, one in zip(frames, f)]
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", [{}, {"sizes": (9,)}, {"periodic": True}, {"count": 7}, {"count": 1}])
def test_every_metric_of_a_report_is_the_function_of_its_name(tmp_path, case, dtype):
    frames, results = made_up(1, dtype=dtype, folder=tmp_path, **case)
    metrics, _ = accuracy.score(None, results, SimpleNamespace(frames=frames))
    assert set(metrics) == set(DEFINITIONS) - ({"net_torque"} if case.get("periodic") else set())
    energy, forces, rows = archived(frames, results)
    assert rows.tolist() == list(range(len(frames)))
    for name, metric in metrics.items():
        assert metric.value == pytest.approx(DEFINITIONS[name](energy, forces, frames), rel=1e-12), name
        samples = np.mean(metric.values)
        assert metric.value == pytest.approx(np.sqrt(samples) if name == "force_rmse" else samples, rel=1e-9), name
        assert metric.n == len(frames)
    error = fm.force_mae(np.concatenate(forces), frames.forces)
    trivial = fm.force_mae(np.zeros_like(frames.forces), frames.forces)
    assert metrics["force_mae"].trivial == pytest.approx(trivial)
    assert metrics["force_mae"].score == pytest.approx(fm.normalised_score(error, 0.0, trivial))


def test_the_cosine_is_that_of_atoms_and_not_of_the_long_vector(tmp_path):
    frames = Frames(to_table([1, 1], np.eye(2, 3)[None], [0.0], [[[100.0, 0, 0], [0, 1.0, 0]]]))
    np.savez(tmp_path / "predictions.npz", rows=[0], energy=[0.0], forces=[[100.0, 0, 0], [0, -1.0, 0]])
    metrics, _ = accuracy.score(None, [Result(tmp_path, ["ok"], [], 0.0, 1, {})], SimpleNamespace(frames=frames))
    assert metrics["force_cosine"].value == 0.0  # the vector of all six components has 0.9998


def test_forces_in_single_precision_that_are_exact_have_a_cosine_of_one_and_no_more(tmp_path):
    frames, results = made_up(3, error=0.0, dtype=np.float32, folder=tmp_path)
    metrics, _ = accuracy.score(None, results, SimpleNamespace(frames=frames))
    cosine = metrics["force_cosine"]
    assert max(cosine.values) <= 1.0
    assert cosine.value == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_is_not_shown_as_a_net_force_or_torque(tmp_path, dtype):
    # pairwise forces along the lines between atoms conserve both, up to the rounding of what is archived
    frames, _ = made_up(4, sizes=(9,), count=60, folder=tmp_path)
    forces = []
    for frame in frames:
        d = frame.positions[:, None] - frame.positions
        forces.append((d * np.exp(-np.linalg.norm(d, axis=-1))[..., None]).sum(1))
    out = tmp_path / "springs"
    out.mkdir()
    np.savez(out / "predictions.npz", rows=np.arange(60), energy=frames.energy,
             forces=np.concatenate(forces).astype(dtype))  # fmt: skip
    result = Result(out, ["ok"] * 60, [], 0.0, 1, {})
    metrics, _ = accuracy.score(None, [result], SimpleNamespace(frames=frames))
    for name in ("net_force", "net_torque"):
        assert metrics[name].value == 0.0
        assert metrics[name].interval is None
        assert f"rounding in {np.dtype(dtype)}" in metrics[name].interval_note
    # ten times what single precision leaves is a net force in both
    forces = [f + [3e-5, 0, 0] for f in forces]
    np.savez(out / "predictions.npz", rows=np.arange(60), energy=frames.energy,
             forces=np.concatenate(forces).astype(dtype))  # fmt: skip
    metrics, _ = accuracy.score(None, [result], SimpleNamespace(frames=frames))
    assert metrics["net_force"].value == pytest.approx(3e-5, rel=0.02)


def test_a_frame_without_an_answer_counts_with_the_trivial_error(tmp_path):
    frames, results = made_up(5, folder=tmp_path)
    data = SimpleNamespace(frames=frames)
    whole, _ = accuracy.score(None, results, data)
    status = list(results[1].status)
    hard = [40, 41, 42, 43, 44]  # of the second half, where errors are largest
    for k in hard:
        status[k] = "model_error"
    left_out = [results[0], Result(results[1].folder, status, [], 0.0, 1, {})]
    got, _ = accuracy.score(None, left_out, data)
    energy, forces, _ = archived(frames, results)
    for k in hard:
        forces[45 + k] = np.zeros_like(forces[45 + k])
    assert got["force_mae"].value == pytest.approx(fm.force_mae(np.concatenate(forces), frames.forces))
    assert got["force_mae"].trivial == whole["force_mae"].trivial
    assert got["force_mae"].score < whole["force_mae"].score
    assert "5 of 90 frames without an answer count as zero forces" in got["force_mae"].interval_note
    known = np.delete(np.arange(90), [45 + k for k in hard])
    assert got["energy_mae"].value == pytest.approx(fm.energy_mae(energy[known], frames.energy[known]))
    assert "5 frames without an answer left out" in got["energy_mae"].interval_note
    assert got["net_force"].n == 85


@pytest.mark.parametrize("size", [1e39, 1e200, 1e308])
def test_forces_beyond_single_precision_or_whose_square_overflows_have_a_reason_and_no_crash(tmp_path, size):
    frames, results = made_up(6, folder=tmp_path)
    got = dict(np.load(results[0].folder / "predictions.npz"))
    got["forces"][3] = size
    np.savez(results[0].folder / "predictions.npz", **got)
    metrics, _ = accuracy.score(None, results, SimpleNamespace(frames=frames))
    for metric in metrics.values():
        assert metric.value is None or np.isfinite(metric.value)
        assert metric.value is not None or metric.not_scored
    assert metrics["force_mae"].score in (0.0, None)


def test_data_without_any_force_have_no_score_of_forces(tmp_path):
    frames = Frames(to_table([1, 1], np.eye(2, 3)[None], [0.0], np.zeros((1, 2, 3))))
    np.savez(tmp_path / "predictions.npz", rows=[0], energy=[0.0], forces=np.zeros((2, 3)))
    metrics, _ = accuracy.score(None, [Result(tmp_path, ["ok"], [], 0.0, 1, {})], SimpleNamespace(frames=frames))
    assert metrics["force_mae"].score is None
    assert metrics["force_cosine"].value == 1.0  # nothing predicted where nothing is


def test_energies_of_a_single_precision_model_are_not_known_below_their_steps(tmp_path):
    frames, _ = made_up(7, folder=tmp_path)
    single = frames.energy.astype(np.float32).astype(float)
    folder = tmp_path / "single"
    folder.mkdir()
    np.savez(folder / "predictions.npz", rows=np.arange(90), energy=single, forces=frames.forces)
    result = Result(folder, ["ok"] * 90, [], 0.0, 1, {})
    note = accuracy.score(None, [result], SimpleNamespace(frames=frames))[0]["energy_mae"].interval_note
    assert "not known below 0.0001 eV" in note  # 2^-13 eV at 2,000 eV
