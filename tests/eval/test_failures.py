"""What goes wrong costs what it touches and no more: a frame, a task, a damaged unit; and it is said what it was."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import reference_models
from ffbench_data import ForceField, Prediction, load_frames
from ffbench_data.atomic import replacing
from ffbench_eval import evaluate
from ffbench_eval.kinds import KINDS
from ffbench_eval.report import Report
from tests.conftest import ROOT

SUITE = """
name: small
version: 1.0.0
tasks:
  errors: {kind: accuracy, dataset: ethanol_gfn2, max_frames: 40}
  scans: {kind: bsct, dataset: "ethanol_gfn2:bond_scans", fine_scans: 0}
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def network():
    return reference_models.load("schnet@ethanol_gfn2")


@pytest.fixture(scope="module")
def asked():
    """Row 20 of the frames that ``errors`` asks about, and its energy of the reference."""
    frames = load_frames("ethanol_gfn2", split="test")
    rows = np.sort(np.random.default_rng(0).permutation(len(frames))[:40])
    return frames, int(rows[20])


def on_frame(network, positions, do, name="touchy", dtype=torch.float32):
    """The network, but ``do(prediction, atoms)`` where a structure's first interatomic distance is that of a frame."""
    mark = float(np.linalg.norm(positions[1] - positions[0]))

    def fn(batch):
        out = network.fn(batch.to(dtype=network.dtype))
        out = Prediction(out.energy.detach().to(dtype).clone(), out.forces.detach().to(dtype).clone())
        starts = torch.cat([torch.zeros(1, dtype=torch.long), batch.n_atoms.cumsum(0)])
        x = batch.positions
        for b in range(batch.n_systems):
            if abs(float((x[starts[b] + 1] - x[starts[b]]).norm()) - mark) < 1e-6:
                do(out, slice(int(starts[b]), int(starts[b + 1])), b)
        return out

    return replace(network, fn=fn, dtype=dtype, card={"name": name, "theory": "GFN2-xTB"})


def silent(out, atoms, b):
    out.energy[b] = float("nan")


def raising(out, atoms, b):
    raise RuntimeError("SCF did not converge\nsecond line")


def leaving(out, atoms, b):
    raise SystemExit(3)


def garbled(out, atoms, b):
    raise RuntimeError("no such file: caf\udce9\x1b[31m.pt")


def run(model, suite, out, **options):
    return evaluate(model, suite, out=out, quiet=True, **options)


def test_a_frame_on_which_the_model_raises_costs_what_nan_costs(tmp_path, suite, network, asked):
    frames, row = asked
    reports = {}
    for do in (silent, raising, leaving, garbled):
        model = on_frame(network, frames[row].positions, do)
        reports[do] = run(model, suite, tmp_path / do.__name__, tasks=["errors"]).tasks["errors"]
    nan = reports[silent]
    assert nan.metrics["force_mae"].n == 40  # the frame counts with the error of no forces
    said = {raising: "RuntimeError: SCF did not converge", leaving: "RuntimeError: the model raised SystemExit: 3"}
    said[garbled] = "RuntimeError: no such file: caf[31m.pt"
    for do, text in said.items():
        task = reports[do]
        assert task.metrics == nan.metrics
        assert task.statuses == nan.statuses == {"model_error": 1}
        (detail,) = task.units[0].detail
        assert detail.startswith(f"frame {row}: {text}")
        assert "test_failures.py" in detail  # the model's own frame of the traceback
        assert "evaluation.py" not in detail
        assert "\udce9" not in detail
        assert "\x1b" not in detail
        assert Report.load(tmp_path / do.__name__).tasks["errors"] == task


def test_a_scan_with_one_frame_that_raises_costs_that_scan_and_names_the_frame(tmp_path, suite, network):
    scans = load_frames("ethanol_gfn2", "bond_scans", "test")
    reports = {}
    for do in (silent, raising):
        model = on_frame(network, scans[5].positions, do)
        reports[do] = run(model, suite, tmp_path / do.__name__, tasks=["scans"]).tasks["scans"]
    assert reports[raising].metrics == reports[silent].metrics
    assert reports[raising].statuses == reports[silent].statuses
    assert reports[silent].statuses["model_error"] == 1
    detail = next(d for d in reports[raising].units[0].detail if "SCF" in d)
    assert detail.startswith("scan ")
    assert "frame 5: RuntimeError: SCF did not converge" in detail


def test_selective_loses_the_frame_that_raises_and_no_other(network, asked):
    from ffbench_eval.kinds.selective.cases import ask
    from ffbench_eval.models.guard import guarded

    frames, row = asked
    rows = np.arange(row - 3, row + 3)
    raised = {}
    got = ask(guarded(on_frame(network, frames[row].positions, raising)), frames, rows, raised=raised)
    nan = ask(guarded(on_frame(network, frames[row].positions, silent)), frames, rows)
    assert list(raised) == [row]
    assert got.finite().tolist() == nan.finite().tolist() == [r != row for r in rows]
    np.testing.assert_array_equal(got.forces[got.owner != 3], nan.forces[nan.owner != 3])


@pytest.mark.parametrize("size", [1e39, 1e200])
def test_finite_forces_beyond_float32_cost_nothing_else(tmp_path, suite, network, asked, size):
    frames, row = asked

    def huge(out, atoms, b):
        out.forces[atoms] = size

    model = on_frame(network, frames[row].positions, huge, dtype=torch.float64)
    task = run(model, suite, tmp_path / "run", tasks=["errors"]).tasks["errors"]
    nan = run(on_frame(network, frames[row].positions, silent, dtype=torch.float64), suite, tmp_path / "nan")
    assert nan.tasks["errors"].metrics["force_mae"].n == 40
    if task.statuses == {"ok": 1}:  # a number is a number: it is counted, exactly
        assert task.metrics["force_mae"].value == pytest.approx(size / 40, rel=1e-6)
    else:
        assert task.metrics == nan.tasks["errors"].metrics
        assert task.units[0].detail == [f"frame {row}: energy or forces are not finite"]


def test_answers_in_the_models_own_buffers_are_copied(tmp_path, suite):
    def spring(batch):
        x = batch.positions
        energy = x.new_zeros(batch.n_systems).index_add(0, batch.system_index, 0.5 * x.square().sum(-1))
        return Prediction(energy, -x)

    buffers = {}

    def static(batch):
        out = spring(batch)
        e, f = buffers.setdefault(out.forces.shape, (torch.empty_like(out.energy), torch.empty_like(out.forces)))
        return Prediction(e.copy_(out.energy), f.copy_(out.forces))

    fresh, reused = (
        run(ForceField(fn, None, None, torch.float64, card={"name": "s"}), suite, tmp_path / fn.__name__)
        for fn in (spring, static)
    )
    for task in fresh.tasks:
        assert fresh.tasks[task].metrics == reused.tasks[task].metrics


def test_scoring_that_fails_costs_its_task_and_keeps_the_report(tmp_path, suite, network, monkeypatch):
    def fails(task, results, data):
        raise FloatingPointError("a metric met a number it cannot bear")

    monkeypatch.setattr(KINDS["bsct"].module, "score", fails)
    report = run(network, suite, tmp_path / "run")
    assert report.tasks["errors"].metrics["force_mae"].n == 40
    broken = report.tasks["scans"]
    assert broken.metrics == {}
    assert broken.statuses["harness_error"] == 1
    assert "FloatingPointError: a metric met a number" in broken.units[-1].detail[0]
    assert "fails" in broken.units[-1].detail[0]
    assert Report.load(tmp_path / "run") == report
    monkeypatch.undo()
    assert run(network, suite, tmp_path / "run").tasks["scans"].metrics["fsd"].value > 0


DAMAGES = {
    "missing": "predictions.npz is missing",
    "short": "predictions.npz holds",
    "changed": "predictions.npz was changed after it was written",
    "torn": "result.json is torn",
    "empty": "result.json is torn",
    "none": "result.json is missing",
    "value": "result.json was changed after it was written",
}


def spoil(folder, damage):
    path, record = folder / "predictions.npz", folder / "result.json"
    if damage == "missing":
        path.unlink()
    elif damage == "short":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "changed":
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 1
        path.write_bytes(whole)
    elif damage == "none":
        record.unlink()
    elif damage == "value":
        raw = json.loads(record.read_text())
        record.write_text(json.dumps({**raw, "force_calls": raw["force_calls"] + 1}))
    else:
        record.write_text(record.read_text()[: {"torn": 30, "empty": 0}[damage]])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_unit_is_run_again_and_told(tmp_path, suite, network, damage, capfd):
    whole = run(network, suite, tmp_path / "run", tasks=["errors"]).tasks["errors"].metrics
    (folder,) = (tmp_path / "run" / "units").glob("errors-*")
    spoil(folder, damage)
    capfd.readouterr()
    assert run(network, suite, tmp_path / "run", tasks=["errors"]).tasks["errors"].metrics == whole
    said = [line for line in capfd.readouterr().err.splitlines() if "it is run again" in line]
    assert len(said) == 1
    assert f"unit {folder.name}: {DAMAGES[damage]}" in said[0]
    kept = json.loads((folder / "result.json").read_text())["files"]
    for name, (size, digest) in kept.items():
        content = (folder / name).read_bytes()
        assert (size, digest) == (len(content), hashlib.sha256(content).hexdigest())


MOVED = """
name: moved
version: 1.0.0
tasks:
  dynamics: {kind: molecular_dynamics, dataset: ethanol_gfn2, ensemble: nve, temperature_K: 300, time_step_fs: 0.5,
             length_ps: 0.02, save_every_fs: 5, replicas: 2, observables: [energy_drift]}
"""


def test_a_foreign_file_in_a_unit_is_left_aside(tmp_path, network, capfd):
    """Another piece of a trajectory would be read with the others, and change numbers without a word."""
    suite = tmp_path / "moved.yaml"
    suite.write_text(MOVED)
    whole = run(network, suite, tmp_path / "run").tasks["dynamics"].metrics
    (folder,) = (tmp_path / "run" / "units").glob("dynamics-*")
    piece = sorted(folder.rglob("trajectory-*.parquet"))[-1]
    more = piece.with_name(piece.name.replace("00000", "00001"))
    shutil.copy(piece, more)
    capfd.readouterr()
    assert run(network, suite, tmp_path / "run").tasks["dynamics"].metrics == whole
    said = capfd.readouterr().err
    assert f"{more.name} is none of its files and is left aside" in said
    assert "1 of 1 units are kept" in said
    assert not more.exists()


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")

    def write():
        with replacing(path) as unfinished:
            unfinished.write_text("ne")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_names_are_replaced_in_one_place_only():
    """Everything else writes through `ffbench_data.atomic`; whole folders and downloads are renamed by their own."""
    rooms = ("ffbench_data", "ffbench_metrics", "ffbench_eval", "reference_models", "leaderboard")
    found = [p.relative_to(ROOT).as_posix() for room in rooms for p in (ROOT / room).rglob("*.py")
             if "os.replace(" in p.read_text()]  # fmt: skip
    assert sorted(found) == [
        "ffbench_data/atomic.py", "ffbench_data/download.py", "ffbench_eval/engine/compiled.py",
    ]  # fmt: skip


def test_a_torn_list_of_models_costs_no_work(tmp_path, suite, network, capfd):
    whole = run(network, suite, tmp_path / "run", tasks=["errors"])
    (tmp_path / "run" / "run.json").write_text('{"name": "sch')
    capfd.readouterr()
    again = run(network, suite, tmp_path / "run", tasks=["errors"])
    said = capfd.readouterr().err
    assert "run.json cannot be read" in said
    assert "units are kept" in said
    assert again.tasks["errors"].metrics == whole.tasks["errors"].metrics


def test_what_ran_out_of_memory_is_tried_again(tmp_path, suite, network):
    room = {"frames": 0}

    def fn(batch):
        if batch.n_systems == 1 and room["frames"] == 0 and asking["now"]:
            raise torch.OutOfMemoryError("out of memory")
        if batch.n_systems > 1 and asking["now"] and room["frames"] == 0:
            raise torch.OutOfMemoryError("out of memory")
        return network.fn(batch)

    asking = {"now": False}
    work = KINDS["accuracy"].module.run_unit

    def switched(*arguments, **more):
        asking["now"] = True
        try:
            return work(*arguments, **more)
        finally:
            asking["now"] = False

    model = replace(network, fn=fn, card={"name": "large", "theory": "GFN2-xTB"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KINDS["accuracy"].module, "run_unit", switched)
        first = run(model, suite, tmp_path / "run", tasks=["errors"]).tasks["errors"]
        room["frames"] = 1
        again = run(model, suite, tmp_path / "run", tasks=["errors"]).tasks["errors"]
    assert first.statuses == {"out_of_memory": 1}
    assert again.statuses == {"ok": 1}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"parameters": "about 3M"}, "parameters is 'about 3M', which is no valid integer"),
        ({"seen_test_data": "unknown"}, "seen_test_data is 'unknown', which is no valid true or false"),
        ({"theory": 3}, "theory is 3, which is no valid text"),
    ],
)
def test_a_card_of_wrong_types_is_refused_before_the_run(tmp_path, suite, network, wrong, said):
    with pytest.raises(ValueError, match="card of model") as told:
        run(replace(network, card={"name": "m", **wrong}), suite, tmp_path / "run")
    assert said in str(told.value)
    assert not (tmp_path / "run").exists()


def test_a_card_with_a_broken_text_still_makes_a_report(tmp_path, suite, network):
    model = replace(network, card={"name": "caf\udce9", "training_data": "a\x07b", "theory": "GFN2-xTB"})
    report = run(model, suite, tmp_path / "run", tasks=["errors"])
    assert (report.model.name, report.model.training_data) == ("caf", "ab")
    assert Report.load(tmp_path / "run") == report


def test_parameters_that_nobody_knows_are_not_zero(network):
    from ffbench_eval.models.resolve import card

    def energy(batch):
        return batch.positions.square().sum()[None]

    def held(batch):
        return network.fn(batch)

    count = sum(p.numel() for p in network.fn.parameters())
    plain = {"name": "m"}
    assert card(ForceField.from_energy(energy, None, card=plain)).parameters is None
    assert card(replace(network, fn=held, card=plain)).parameters == count
    assert card(replace(network, fn=network.fn, card=plain)).parameters == count
    assert card(replace(network, fn=held, card={**plain, "parameters": 5})).parameters == 5


def same(found, expected):
    """Equal but for what the order of sums in a label's threads leaves."""
    assert list(found) == list(expected)
    for name, metric in expected.items():
        assert found[name].value == pytest.approx(metric.value, rel=1e-9)
        assert (found[name].n, found[name].uncertainty) == (metric.n, metric.uncertainty)


def test_labels_of_a_missing_package_are_made_up_for_later(tmp_path, network, monkeypatch, capfd):
    """The dynamics are not run again: the trajectory of the first run is labelled by the second."""
    from ffbench_data import potentials

    pytest.importorskip("tblite")
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: s\nversion: 1.0.0\ntasks:\n  md: {kind: molecular_dynamics, dataset: ethanol_gfn2, ensemble: nve, "
        "temperature_K: 300, time_step_fs: 0.5, length_ps: 0.05, save_every_fs: 5, replicas: 1, observables: "
        "[temperature], truth_frames: 2}\n"
    )
    whole = run(network, path, tmp_path / "whole").tasks["md"].metrics
    assert whole["on_trajectory_force_mae"].value > 0

    def missing(module, name):
        raise ValueError(f"reference({name!r}) needs {module}: pip install 'ffbench[generate]'")

    with monkeypatch.context() as patch:
        patch.setattr(potentials, "_needs", missing)
        capfd.readouterr()
        for _ in range(2):
            lacking = run(network, path, tmp_path / "run").tasks["md"].metrics
            assert "tblite" in lacking["on_trajectory_force_mae"].not_scored
            assert "md: a complete run, one that can be submitted, needs tblite" in capfd.readouterr().err
    file = next((tmp_path / "run" / "units").glob("md-*/trajectory-*.parquet"))
    before = file.stat().st_mtime_ns
    same(run(network, path, tmp_path / "run").tasks["md"].metrics, whole)
    assert file.stat().st_mtime_ns == before
    same(run(network, path, tmp_path / "run").tasks["md"].metrics, whole)  # sealed anew


def test_what_a_unit_cost_is_the_sum_over_the_processes_that_worked_on_it(tmp_path):
    from ffbench_eval.run.execute import _begun, run_unit
    from ffbench_eval.run.units import OWNER, SPENT, Unit
    from ffbench_eval.suite import Task

    unit = Unit(Task("t", KINDS["bsct"], "1", "t", "d", None, None), {}, 0, "a" * 64)
    part = unit.folder(tmp_path).with_name(unit.folder(tmp_path).name + ".part")
    assert _begun(part, unit) == 0
    (part / SPENT).write_text(json.dumps({"seconds": 12.5}))
    assert _begun(part, unit) == 0  # nothing of that work is left
    (part / "checkpoint-1").touch()
    assert _begun(part, unit) == 12.5
    (part / OWNER).write_text("b" * 64)
    assert _begun(part, unit) == 0  # another unit's
    assert not (part / "checkpoint-1").exists()

    def work(task, inputs, data, model, folder, progress, compile):
        return {"status": ["ok"], "force_calls": 7}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KINDS["bsct"].module, "run_unit", work)
        (part / "checkpoint-1").touch()
        (part / SPENT).write_text(json.dumps({"seconds": 12.5}))
        done = run_unit(unit, None, ForceField(lambda b: None, None), tmp_path)
    assert 12.5 <= done.wall_s < 13.5


SIMULATED = """
name: moved
version: 1.0.0
tasks:
  md: {kind: molecular_dynamics, dataset: ethanol_gfn2, ensemble: nve, temperature_K: 300, time_step_fs: 0.5,
       length_ps: 0.02, save_every_fs: 5, replicas: 1, observables: [energy_drift]}
  fast: {kind: speed, dataset: ethanol_gfn2, ensemble: nve, temperature_K: 300, time_step_fs: 0.5, length_ps: 0.02,
         save_every_fs: 5, replicas: 1, observables: []}
"""


@pytest.fixture
def moved(tmp_path):
    path = tmp_path / "moved.yaml"
    path.write_text(SIMULATED)
    return path


def test_what_cannot_be_compiled_is_unsupported_in_every_kind(tmp_path, moved, network):
    def untraceable(batch):
        if float(batch.positions.sum()) == 12345.0:
            raise RuntimeError
        return network.fn(batch)

    model = replace(network, fn=untraceable, card={"name": "untraceable"})
    report = evaluate(model, str(moved), out=tmp_path / "run", compile="require", quiet=True)
    for task in report.tasks.values():
        assert task.statuses == {"unsupported": 1}, task.units
        assert "require" in task.units[0].detail[0]


def test_what_another_engine_began_is_begun_again(tmp_path, moved, network):
    from ffbench_eval.engine import checkpoint

    def run():
        return evaluate(network, str(moved), tasks=["md"], out=tmp_path / "run", quiet=True)

    whole = run()
    (done,) = (tmp_path / "run" / "units").iterdir()
    part = done.rename(done.with_name(done.name + ".part"))
    (part / "address").write_text(whole.tasks["md"].units[0].address)
    key = json.loads((part / checkpoint.KEY).read_text())
    (part / checkpoint.KEY).write_text(json.dumps({**key, "engine": 1}))
    report = run()
    assert report.tasks["md"].statuses == {"ok": 1}
    assert report.tasks["md"].metrics == whole.tasks["md"].metrics
