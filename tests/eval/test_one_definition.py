"""What a report prints under a metric's name is the function of `ffbench_metrics` that its spec names, on what the run
archived: files and labels in, one number out, without the evaluator's own code. Accuracy with lost frames:
`test_accuracy_metrics`; selective classification: `test_selective`; the other kinds: `test_one_definition_of_kinds`;
g(r): below, on water."""

from types import SimpleNamespace

import numpy as np
import pytest
from ase.data import atomic_masses

import ffbench_metrics as fm
from ffbench_data import load_frames
from ffbench_eval import evaluate
from ffbench_eval.engine.integrators import INTEGRATORS
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.kinds import kind_of
from ffbench_eval.kinds.bsct.scans import find_scans
from ffbench_eval.kinds.dynamics.observables import OBSERVABLES
from ffbench_eval.kinds.dynamics.on_trajectory import FILE, score_sample
from tests.eval.test_evaluate import spring

SUITE = """
name: all
version: 1.0.0
tasks:
  frames: {kind: accuracy, dataset: ethanol_gfn2, max_frames: 40}
  md: {kind: molecular_dynamics, dataset: ethanol_gfn2, ensemble: nve, temperature_K: 300, time_step_fs: 0.5,
       length_ps: 0.2, save_every_fs: 2, skip_ps: 0.05, replicas: 2,
       observables: [distance_histogram, temperature, energy_drift, angle_histogram, vibrational_spectrum]}
  scans: {kind: bsct, dataset: 'ethanol_gfn2:bond_scans', version: '2'}
"""
MASSES = atomic_masses[load_frames("ethanol_gfn2", split="test")[0].atomic_numbers]


def archived(folder, suite, model):
    """(report, folders of the units of each task) of a run."""
    (folder / "suite.yaml").write_text(suite)
    report = evaluate(model, str(folder / "suite.yaml"), out=folder / "run", quiet=True)
    return report, {
        name: [folder / "run" / "units" / f"{name}-{u.address[:12]}" for u in task.units]
        for name, task in report.tasks.items()
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return archived(tmp_path_factory.mktemp("all"), SUITE, spring())


def predictions(folders, frames):
    """(rows, energies, forces per frame) that were archived."""
    rows, energy, forces = [], [], []
    for folder in folders:
        if (folder / "predictions.npz").exists():
            got = np.load(folder / "predictions.npz")
            rows += got["rows"].tolist()
            energy += got["energy"].tolist()
            forces += np.split(got["forces"], np.cumsum(frames.n_atoms[got["rows"]])[:-1])
    return np.array(rows), np.array(energy), forces


def of_frames(folders):
    frames = load_frames("ethanol_gfn2", split="test")
    rows, energy, forces = predictions(folders, frames)
    truth = [frames[int(r)].forces for r in rows]
    e, n = frames.energy[rows], frames.n_atoms[rows]
    f, t = np.concatenate(forces), np.concatenate(truth)
    fit = next(np.load(p / "offsets.npz") for p in folders if (p / "offsets.npz").exists())
    offset = fm.element_offsets(fit["compositions"], fit["energy"], fit["reference"])
    shifted = energy - _counts(frames, rows, fit["elements"]) @ offset
    return {
        "force_mae": fm.force_mae(f, t),
        "force_rmse": fm.force_rmse(f, t),
        "force_cosine": fm.force_cosine(f, t),
        "energy_mae": fm.energy_mae(energy, e),
        "energy_mae_per_atom": fm.energy_mae(energy, e, n_atoms=n),
        "energy_mae_aligned": fm.energy_mae(shifted, e),
        "energy_mae_per_atom_aligned": fm.energy_mae(shifted, e, n_atoms=n),
        "net_torque": float(np.mean([fm.net_torque(x, frames[int(r)].positions) for x, r in zip(forces, rows)])),
    }


def _counts(frames, rows, elements):
    return np.array([[(frames[int(r)].atomic_numbers == z).sum() for z in elements] for r in rows])


def of_md(folders):
    frames = load_frames("ethanol_gfn2", split="test")
    x0 = frames.stacked()[1]
    numbers = frames[0].atomic_numbers
    dof = INTEGRATORS["nve"].dof(len(numbers), False)
    out: dict[str, list[float]] = {}
    replicas = [t for folder in folders for t in read_trajectories(folder)]
    _, reference = fm.distance_histogram(x0)
    for t in replicas:
        x = t.positions.astype(float)
        inside = t.time_ps > 0.05 + 1e-9
        one = {
            "distance_histogram_error": fm.histogram_error(
                fm.distance_histogram(x[inside])[1], _stored(reference), width=10.0 / 500
            ),
            "temperature_deviation": fm.kinetic_temperature(
                1000.0 * t.velocities[inside], MASSES, degrees_of_freedom=dof
            ).mean() - 300,
            "energy_drift": abs(1000 * fm.nve_drift(t.total_energy[inside], 0.002, n_atoms=9).slope),
            "energy_fluctuation": 1000 * fm.nve_drift(t.total_energy[inside], 0.002, n_atoms=9).rms_fluctuation,
        }  # fmt: skip
        lags = min(int(inside.sum()) // 2, 1000)
        c = fm.velocity_autocorrelation(t.velocities[inside], masses=MASSES, max_lag=lags)
        w, g = fm.vibrational_spectrum(c, 0.002)
        one["vibrational_mean"] = float((w * np.abs(g)).sum() / np.abs(g).sum())
        for key, value in one.items():
            out.setdefault(key, []).append(float(value))
    found = {key: float(np.mean(v)) for key, v in out.items()}
    found["stable_fraction"] = fm.clopper_pearson(len(replicas), len(replicas)).value
    found["stable_time"] = fm.restricted_mean([0.2] * len(replicas), [False] * len(replicas), limit=0.2).value
    return found


def _stored(own):
    """h(r) of the reference: its stored counts where there are some."""
    from ffbench_eval.run.data import load_task_data
    from ffbench_eval.suite import load_suite

    task = next(t for t in load_suite("mini").tasks if t.name == "ethanol_md")
    blocks = load_task_data(task).reference.levels("distance_histogram")
    return fm.distance_histogram_from_counts(blocks[0].total, r_max=blocks[0].r_max)[1] if blocks else own


def of_scans(folders):
    frames = load_frames("ethanol_gfn2", "bond_scans", "test")
    scans = find_scans(frames)
    out: dict[str, list[float]] = {}
    for folder in folders:
        got = np.load(folder / "predictions.npz")
        energies, forces, at, atoms = got["energy"], got["forces"], 0, 0
        for name, conserved in zip(got["scans"].tolist(), got["conservativeness"]):
            s = scans[name]
            k, n = s.positions.shape[:2]
            e, f = energies[at : at + k], forces[atoms : atoms + k * n].reshape(k, n, 3).astype(float)
            at, atoms = at + k, atoms + k * n
            low = int(np.argmin(s.energy))
            along = fm.bond_projected_force(f, s.positions, s.bond, s.fragment)
            fsd = fm.force_smoothness_deviation(s.bond_length, f, s.forces, s.energy)
            one = {
                "fsd": fsd.full, "fsd_compress": fsd.compress, "fsd_stretch": fsd.stretch,
                "scan_force_mae": fm.force_mae(f, s.forces),
                "scan_force_mae_compress": fm.force_mae(f[: low + 1], s.forces[: low + 1]),
                "scan_force_mae_stretch": fm.force_mae(f[low:], s.forces[low:]),
                "scan_energy_mae": fm.energy_mae(e, s.energy),
                "scan_energy_mae_compress": fm.energy_mae(e[: low + 1], s.energy[: low + 1]),
                "scan_energy_mae_stretch": fm.energy_mae(e[low:], s.energy[low:]),
                "scan_energy_mae_aligned": fm.energy_mae(e - e[low], s.energy - s.energy[low]),
                "spurious_extrema": fm.count_spurious_extrema(e, s.energy),
                "sign_flips": sum(fm.count_sign_flips(along, low)),
                "energy_jump": fm.energy_jump(e, s.energy),
                "conservativeness_on_frames": fm.conservativeness(e, f, s.positions, start=low),
                "conservativeness_of_reference": fm.conservativeness(s.energy, s.forces, s.positions, start=low),
            }  # fmt: skip
            if np.isfinite(conserved):
                one["conservativeness"] = conserved  # of a finer grid, which is not archived
            for key, value in one.items():
                out.setdefault(key, []).append(float(value))
    return {key: float(np.mean(v)) for key, v in out.items()}


ELSEWHERE = {  # tied to their functions by another test
    "angle_histogram_error": "test_more_observables",
    "internal_temperature_deviation": "test_engine_integrators",
    "net_force": "test_accuracy_metrics",
}


@pytest.mark.parametrize(("task", "again"), [("frames", of_frames), ("md", of_md), ("scans", of_scans)])
def test_every_number_of_a_report_is_the_function_its_spec_names(run, task, again):
    report, folders = run
    expected, kind = again(folders[task]), kind_of(report.tasks[task].kind)
    names, there = ({kind.spec(k)[0].name for k in keys} for keys in (expected, report.tasks[task].metrics))
    assert names <= there  # none is lost
    checked = 0
    for key, m in report.tasks[task].metrics.items():
        hit = kind.spec(key)
        assert hit is not None, f"{key}: a metric without a spec"
        if hit[0].name in ELSEWHERE or m.value is None:
            continue
        if hit[1] and key not in expected:
            continue  # a quantile or a bond type: the same samples
        assert key in expected, f"{key}: nothing says what it is"
        assert m.value == pytest.approx(expected[key], rel=2e-5, abs=1e-7), key
        checked += 1
    assert checked >= 6


def test_errors_on_its_own_trajectory(tmp_path):
    rng = np.random.default_rng(0)
    f, truth = rng.normal(size=(2, 6, 9, 3))
    mine, theirs = rng.normal(size=(2, 6))
    replica = np.array([0, 0, 0, 1, 1, 1])
    np.savez(tmp_path / FILE, replica=replica, time=np.arange(6.0), mine=mine, theirs=theirs, f=f, f_ref=truth)
    metrics, _ = score_sample([(tmp_path, 0.5)])
    parts = [slice(0, 3), slice(3, 6)]
    for name, expected in {
        "on_trajectory_force_mae": [fm.force_mae(f[p], truth[p]) for p in parts],
        "force_violation": [np.median(fm.force_violation(f[p], truth[p])) for p in parts],
        "energy_violation": [np.median(fm.energy_violation(mine[p], theirs[p], scale=0.5)) for p in parts],
    }.items():
        assert metrics[name].values == pytest.approx(expected, rel=1e-12), name
    run = fm.on_trajectory_error(f[:3], truth[:3], 1.0, test_force_mae=1.0)
    assert metrics["on_trajectory_force_mae"].values[0] == pytest.approx(run.overall, rel=1e-12)


def test_g_of_r_is_that_of_positions_and_cell():
    """Counts of frames, pooled, against `rdf` of the positions themselves."""
    frames = load_frames("water", "1k", "test")[np.arange(24)]
    from tests.eval.test_more_observables import USED, TaskData, trajectory

    x, cell, numbers = frames.stacked()[1], np.array(frames[0].cell), frames[0].atomic_numbers
    mine = trajectory(frames, x[:12])
    p = SimpleNamespace(temperature_K=300.0, length_ps=1.0, skip_ps=0.0, replicas=1, metadynamics=None)
    data = TaskData(frames, None, USED)
    error, _ = OBSERVABLES["rdf"]([mine], data, p, None)
    wright, _ = OBSERVABLES["wright_factor"]([mine], data, p, None)
    shannon, _ = OBSERVABLES["jensen_shannon"]([mine], data, p, None)
    oxygen, hydrogen = np.flatnonzero(numbers == 8), np.flatnonzero(numbers == 1)
    for pair, a, b in (("O-O", oxygen, None), ("H-O", hydrogen, oxygen), ("H-H", hydrogen, None)):
        r, g = fm.rdf(mine.positions, cell, index_a=a, index_b=b)
        _, reference = fm.rdf(x, cell, index_a=a, index_b=b)
        assert error[f"rdf_error_{pair}"].value == pytest.approx(fm.rdf_error(g, reference), rel=1e-4)
        assert wright[f"wright_factor_{pair}"].value == pytest.approx(fm.wright_factor(g, reference), rel=1e-4)
        assert shannon[f"jensen_shannon_{pair}"].value == pytest.approx(fm.jensen_shannon(g, reference, r=r), rel=1e-3)
