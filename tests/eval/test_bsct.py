"""The bond scans of ethanol, which ship with the package: states, numbers, pictures, the monitor, custom scans."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ffbench_data import load_frames
from ffbench_data.contract import ForceField
from ffbench_eval import evaluate
from ffbench_eval.callbacks import SmoothnessMonitor
from ffbench_eval.kinds.bsct.predict import batch_of, pack, predict
from ffbench_eval.kinds.bsct.scans import find_scans, refined
from ffbench_eval.kinds.bsct.scores import on_common_scans, over_molecules, score_scan, worst_step
from ffbench_eval.report import Report
from tests.conftest import ROOT
from tests.eval.bsct_data import breaking, pair_model

ETHANOL = """
name: scans
version: 1.0.0
tasks:
  scans: {kind: bsct, dataset: "ethanol_gfn2:bond_scans"}
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "scans.yaml"
    path.write_text(ETHANOL)
    return path


@pytest.fixture(scope="module")
def scans():
    return find_scans(load_frames("ethanol_gfn2", "bond_scans", "test"))


def truth(scans):
    """Answers with the labels."""
    table = {s.positions[k].tobytes(): (s.energy[k], s.forces[k]) for s in scans.values() for k in range(100)}

    def fn(batch):
        counts = batch.n_atoms.tolist()
        got = [table[x.numpy().tobytes()] for x in batch.positions.split(counts)]
        forces = torch.from_numpy(np.concatenate([f for _, f in got]))
        return {"energy": torch.tensor([e for e, _ in got], dtype=torch.float64), "forces": forces}

    return ForceField(fn, None, dtype=torch.float64, card={"name": "truth"})


def test_the_bond_and_the_fragments_are_read_off_the_motion(scans):
    assert [s.bond_type for s in scans.values()].count("C-H") == 5
    for name, s in scans.items():
        i, j = s.bond
        assert name == f"{'CCOHHHHHH'[i]}{i}-{'CCOHHHHHH'[j]}{j}"
        assert np.allclose(np.linalg.norm(s.positions[:, j] - s.positions[:, i], axis=1), s.bond_length)
        assert s.fragment[i] != s.fragment[j]


def test_the_truth_is_perfect_and_no_forces_are_not(tmp_path, suite, scans):
    grid = suite.read_text().replace("}", ", fine_grid: 1}")
    suite.write_text(grid)
    task = evaluate(truth(scans), suite, out=tmp_path / "a", quiet=True).tasks["scans"]
    assert task.statuses == {"ok": 8}
    for key in ("fsd", "scan_force_mae", "scan_energy_mae", "scan_energy_mae_aligned", "energy_jump"):
        assert task.metrics[key].value == pytest.approx(0, abs=1e-9)
    assert task.metrics["spurious_extrema"].value == 0
    own, same = (task.metrics[f"conservativeness_{k}"].value for k in ("on_frames", "of_reference"))
    assert own == pytest.approx(same)
    assert task.metrics["fsd"].trivial > 30
    assert task.metrics["fsd"].n == 8
    assert "one molecule" in task.metrics["fsd"].interval_note or "1 molecule" in task.metrics["fsd"].interval_note


def test_numbers_are_those_of_one_structure_at_a_time(tmp_path, suite, scans):
    model = pair_model()
    task = evaluate(model, suite, out=tmp_path / "a", quiet=True).tasks["scans"]
    for k, (name, s) in enumerate(scans.items()):
        alone = [model(batch_of([(s.numbers, x[None])], 5.0)) for x in s.positions]
        e = np.array([float(a.energy[0]) for a in alone])
        f = np.stack([a.forces.numpy() for a in alone])
        expected = score_scan(s, e, f)
        for key in ("fsd", "scan_force_mae", "scan_energy_mae", "spurious_extrema", "sign_flips", "energy_jump"):
            assert task.metrics[key].values[k] == pytest.approx(expected[key], rel=1e-8), (name, key)
    assert task.metrics["conservativeness"].value < task.metrics["conservativeness_on_frames"].value


def test_batches_hold_every_pair_once_in_each_direction_and_stay_within_their_size():
    from ffbench_data.neighbors import with_edges

    rng = np.random.default_rng(0)
    sets = [(np.full(n, 6), rng.uniform(0, 5, (k, n, 3))) for n, k in ((4, 3), (7, 2), (2, 5))]
    batch = batch_of(sets, 3.0)
    half = batch.edge_index.shape[1] // 2
    assert torch.equal(batch.edge_index[:, :half], batch.edge_index[:, half:].flip(0))
    expected = with_edges(batch, 3.0).edge_index
    assert {tuple(e) for e in batch.edge_index.T.tolist()} == {tuple(e) for e in expected.T.tolist()}
    shapes = [x.shape for _, x in sets] + [(4, 50, 3)]
    batches = pack(shapes, 16)
    assert all(sum((b - a) * shapes[s][1] for s, a, b in one) <= 16 or len(one) == 1 for one in batches)
    seen = sorted((s, k) for one in batches for s, a, b in one for k in range(a, b))
    assert seen == [(s, k) for s, shape in enumerate(shapes) for k in range(shape[0])]


def test_a_scan_with_nan_is_a_model_error_of_that_scan_alone(tmp_path, suite, scans):
    squeezed = scans["O2-H3"]
    o, h = squeezed.bond
    model = breaking(pair_model(), lambda z, x: (x[o] - x[h]).norm() < 0.7)
    report = evaluate(model, suite, out=tmp_path / "a", quiet=True)
    task = report.tasks["scans"]
    assert task.statuses == {"ok": 7, "model_error": 1}
    at = list(scans).index("O2-H3")
    assert task.units[0].status[at] == "model_error"
    assert task.metrics["fsd"].values[at] is None
    assert task.metrics["fsd"].n == 7
    assert "scan O2-H3: energy or forces are not finite" in task.units[0].detail[0]
    with open(tmp_path / "a" / "scans.csv") as file:
        rows = {r["scan"]: r for r in csv.DictReader(file)}
    assert rows["O2-H3"]["state"] == "model_error"
    assert rows["O2-H3"]["fsd"] == ""


def test_a_scan_on_which_the_model_raises_is_found_and_the_others_are_kept(tmp_path, suite, scans):
    o, h = scans["O2-H3"].bond
    model = breaking(pair_model(), lambda z, x: (x[o] - x[h]).norm() < 0.7, how="raise")
    task = evaluate(model, suite, out=tmp_path / "a", quiet=True).tasks["scans"]
    assert task.statuses == {"ok": 7, "model_error": 1}
    assert "lost a screw" in task.units[0].detail[0]
    whole = evaluate(pair_model(), suite, out=tmp_path / "b", quiet=True).tasks["scans"]
    at = list(scans).index("O2-H3")
    kept = [v for k, v in enumerate(whole.metrics["fsd"].values) if k != at]
    assert [v for v in task.metrics["fsd"].values if v is not None] == pytest.approx(kept)


def test_batches_that_do_not_fit_are_halved_down_to_one_frame(scans):
    from ffbench_eval.models.guard import guarded

    small = breaking(pair_model(), lambda z, x: True, how="memory")
    s = scans["C0-C1"]
    sets = [(s.numbers, s.positions[::10])]
    got, alone = predict(guarded(small), sets), predict(pair_model(), sets)
    assert np.array_equal(got.energy[0], alone.energy[0])
    assert got.calls == 10
    never = guarded(breaking(pair_model(), lambda z, x: True, how="raise"))
    assert predict(never, sets).faults[0][0] == "model_error"


def test_a_model_of_other_elements_is_unsupported(tmp_path, suite):
    task = evaluate(pair_model(elements=(1, 6)), suite, out=tmp_path / "a", quiet=True).tasks["scans"]
    assert task.statuses == {"unsupported": 1}
    assert task.metrics == {}


def test_pictures_mark_where_fsd_is_reached_and_the_page_lists_the_worst_first(tmp_path, suite, scans):
    report = evaluate(pair_model("<b>pairs</b>"), suite, out=tmp_path / "a", quiet=True)
    task = report.tasks["scans"]
    got = np.load(next((tmp_path / "a" / "units").glob("*/predictions.npz")))
    k = list(got["scans"]).index("C1-O2")
    s = scans["C1-O2"]
    forces = got["forces"].reshape(8, 100, 9, 3)[k]
    first, last = worst_step(s, forces)
    start = s.forces[s.equilibrium]
    logs = [
        np.log(max(1, ((f[q] - start) ** 2).sum()))
        for f in (forces, s.forces)
        for q in (first, last)
    ]  # fmt: skip
    slope = abs((logs[1] - logs[0]) - (logs[3] - logs[2])) / (s.bond_length[last] - s.bond_length[first])
    assert slope == pytest.approx(task.metrics["fsd"].values[k])
    here = task.curves["scan_force_C1-O2"].series["FSD is reached here"]
    assert [q for q, v in enumerate(here) if v is not None] == [first, last]
    page = (tmp_path / "a" / "scans.html").read_text()
    assert page.count('<svg class="plot"') == 16
    assert page.count('class="mark"') == 32  # in each drawing, and in its legend
    assert "&lt;b&gt;pairs" in page
    assert "<script" not in page
    values = dict(zip(scans, task.metrics["fsd"].values))
    worst = sorted(values, key=lambda n: -values[n])
    assert [page.index(f">{n}</a>") for n in worst] == sorted(page.index(f">{n}</a>") for n in worst)
    assert "FSD is reached here" in (tmp_path / "a" / "report.html").read_text()


def test_intervals_resample_molecules_not_scans():
    rng = np.random.default_rng(1)
    per_molecule = rng.normal(10, 2, 40)
    values = np.repeat(per_molecule, 5)  # five scans of each molecule say the same
    together = over_molecules(values, np.repeat(np.arange(40), 5).astype(str), unit="1")
    apart = over_molecules(values, np.arange(200).astype(str), unit="1")
    width = [m.interval[1] - m.interval[0] for m in (together, apart)]
    assert width[0] / width[1] == pytest.approx(np.sqrt(5), rel=0.25)  # 8 and 6 standard deviations over seeds
    assert width[0] == pytest.approx(2 * 1.96 * per_molecule.std() / np.sqrt(40), rel=0.15)
    assert "40 distinct molecules" in together.interval_note
    median = over_molecules(values, np.repeat(np.arange(40), 5).astype(str), unit="1", quantile=0.5)
    assert median.interval[0] <= np.median(values) <= median.interval[1]


def test_comparisons_use_the_scans_that_all_models_have():
    assert on_common_scans([[1.0, None, 3.0], [2.0, 2.0, 6.0]]) == ([2.0, 4.0], 2)
    with pytest.raises(ValueError, match="no scan in common"):
        on_common_scans([[1.0, None], [None, 2.0]])
    with pytest.raises(ValueError, match="different data sets"):
        on_common_scans([[1.0], [1.0, 2.0]])


def test_a_refined_scan_passes_through_its_frames(scans):
    x = scans["C0-C1"].positions
    fine = refined(x, 4)
    assert fine.shape == (397, 9, 3)
    assert np.allclose(fine[::4], x, atol=1e-12)
    i, j = scans["C0-C1"].bond
    steps = np.diff(np.linalg.norm(fine[:, j] - fine[:, i], axis=1))
    assert steps == pytest.approx(np.full(396, steps[0]), abs=1e-6)  # positions have eight decimals


def test_the_monitor_is_deterministic_and_leaves_the_model_and_the_random_numbers_alone():
    from reference_models import build

    monitor = SmoothnessMonitor("ethanol_gfn2:bond_scans", count=3, every=2)
    model = build({"family": "schnet", "features": 8, "layers": 1})
    model.fn.train()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, skipped, again = monitor(0, model), monitor(1, model), monitor(2, model)
    assert torch.equal(torch.rand(1), expected)
    assert model.fn.training
    assert skipped == {}
    assert first == again
    assert [row["step"] for row in monitor.history] == [0.0, 2.0]
    assert set(first) == {"fsd", "scan_force_mae", "scan_energy_mae_aligned", "spurious_extrema", "sign_flips",
                          "failed_scans"}  # fmt: skip


def test_the_monitor_takes_wrapped_modules_counts_failures_and_says_what_is_wrong(scans):
    o, h = scans["O2-H3"].bond
    model = breaking(pair_model(), lambda z, x: (x[o] - x[h]).norm() < 0.7)
    monitor = SmoothnessMonitor(list(scans.values()), wrap=lambda module: model)
    row = monitor(1, torch.nn.Linear(1, 1))
    assert row["failed_scans"] == 1
    assert row["fsd"] > 0
    with pytest.raises(ValueError, match="pass wrap="):
        SmoothnessMonitor(list(scans.values()))(1, torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="covers"):
        SmoothnessMonitor(list(scans.values()))(1, pair_model(elements=(1, 6)))
    with pytest.raises(ValueError, match="count"):
        SmoothnessMonitor(list(scans.values()), count=0)
    with pytest.raises(ValueError, match="no bond scans"):
        SmoothnessMonitor(load_frames("ethanol_gfn2", split="test"))


def test_the_monitor_makes_its_own_scans_from_molecules():
    from ase import Atoms
    from ase.calculators.morse import MorsePotential

    water = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    monitor = SmoothnessMonitor.from_molecules([water], MorsePotential(epsilon=4.0, rho0=2.0, r0=1.0, rcut1=5, rcut2=6))
    assert [s.bond_type for s in monitor.scans] == ["O-H", "O-H"]
    assert monitor(0, pair_model())["fsd"] > 0


def test_the_example_trains_and_reports_smoothness(tmp_path):
    script = ROOT / "docs/examples/train_with_smoothness.py"
    command = [sys.executable, str(script), "--steps", "4", "--every", "2", "--folder", str(tmp_path / "t")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)
    assert len(done.stdout.strip().splitlines()) == 3
    curve = json.loads((tmp_path / "t" / "curve.json").read_text())["curve"]
    assert [row["step"] for row in curve] == [2, 4]
    assert all(row["fsd"] > 0 for row in curve)


def run_cli(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ffbench_eval", "bsct", "scan", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)


@pytest.fixture
def water_file(tmp_path):
    (tmp_path / "water.xyz").write_text("3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n")
    return tmp_path / "water.xyz"


def test_custom_scans_from_the_command_line(tmp_path, water_file):
    (tmp_path / "models.py").write_text(
        "from ase.calculators.morse import MorsePotential\n"
        "def truth():\n    return MorsePotential(epsilon=4.0, rho0=2.0, r0=1.0, rcut1=5, rcut2=6)\n"
    )
    done = run_cli("water.xyz", "--model", "reference_models:lennard_jones", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs/scan-water"
    record = json.loads((folder / "scan.json").read_text())
    assert set(record["scans"]) == {"O0-H1", "O0-H2"}
    assert set(record["scans"]["O0-H1"]) == {"state", "spurious_extrema", "energy_roughness", "conservativeness",
                                             "sign_flips"}  # fmt: skip
    assert (folder / "scan.html").read_text().count('<svg class="plot"') == 4
    from ase.io import read

    frames = read(folder / "scans.extxyz", ":")
    assert len(frames) == 200
    assert frames[0].get_distance(0, 1) == pytest.approx(0.5 * (0.66 + 0.31))
    assert frames[99].get_distance(0, 1) == pytest.approx(2.0 * (0.66 + 0.31))
    done = run_cli("water.xyz", "--bonds", "0-1", "--model", "models.py:truth", "--reference", "models.py:truth",
                   "--out", "same", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    row = json.loads((tmp_path / "same/scan.json").read_text())["scans"]["O0-H1"]
    assert row["fsd"] == 0.0
    assert row["spurious_extrema"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.xyz"], "no file"),
        (["water.xyz", "--bonds", "1-2"], "atoms 1 and 2 are not bonded"),
        (["water.xyz", "--bonds", "O-H"], "not auto, heavy or a list"),
        (["water.xyz", "--bonds", "heavy"], "no bond outside rings between heavy atoms"),
        (["water.xyz", "--reference", "reference_models:zero"], "add --model"),
        (["water.xyz", "--model", "reference_models:painn"], "name one"),
    ],
)
def test_custom_scans_answer_bad_input_with_one_line(tmp_path, water_file, arguments, message):
    from typer.testing import CliRunner

    from ffbench_eval.kinds.bsct.cli import app

    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        done = CliRunner().invoke(app, ["scan", *arguments])
    finally:
        os.chdir(here)
    assert isinstance(done.exception, ValueError)
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "runs").exists()


def test_rings_are_not_cut_and_a_failing_scan_is_a_state(tmp_path):
    from ase.build import molecule as known

    from ffbench_eval.kinds.bsct import custom

    benzene = known("C6H6")
    ring = custom.Molecule("benzene", benzene.numbers, benzene.positions)
    assert len(custom.make_scans(ring)) == 6
    with pytest.raises(ValueError, match="in a ring"):
        custom.make_scans(ring, "0-1")
    ethanol = known("CH3CH2OH")
    mine = custom.Molecule("ethanol", ethanol.numbers, ethanol.positions)
    chosen = custom.make_scans(mine, "heavy")
    (i, j) = next((s.i, s.j) for s in chosen.values())
    model = breaking(pair_model(), lambda z, x: (x[i] - x[j]).norm() < 0.8)
    rows = custom.scan_molecule(mine, chosen, model, None, tmp_path)
    assert [r["state"] for r in rows.values()].count("model_error") == 1


def test_the_report_of_a_run_with_scans_loads_again(tmp_path, suite):
    evaluate(pair_model(), suite, out=tmp_path / "a", quiet=True)
    assert Report.load(tmp_path / "a").tasks["scans"].metrics["fsd_C-H"].n == 5


def test_custom_scans_are_drawn_from_the_worst_on(monkeypatch, tmp_path):
    from types import SimpleNamespace

    from ffbench_eval.kinds.bsct import custom

    drawn = []
    monkeypatch.setattr(custom.pictures, "write_page", lambda path, title, scans, rows, made: drawn.append(list(made)))
    rows = {name: {"state": "ok", "fsd": fsd} for name, fsd in (("a", 1.0), ("b", 3.0), ("c", 2.0))}
    rows["d"] = {"state": "model_error", "fsd": 9.0}
    answers, names = SimpleNamespace(energy=[0] * 4, forces=[0] * 4), dict.fromkeys("abcd")
    custom._page(tmp_path / "x.html", SimpleNamespace(name="m"), names, names, rows, answers, SimpleNamespace(name="n"))
    assert drawn == [["b", "c", "a"]]
