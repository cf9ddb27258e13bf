"""`evaluate` as a user meets it: a whole tiny run, resume, refusals, and clear errors."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from filelock import FileLock

from ffbench_data import load_frames
from ffbench_data.contract import ForceField
from ffbench_eval import evaluate, from_ase, load_suite
from ffbench_eval.kinds.dynamics import work as molecular_dynamics
from ffbench_eval.report import Report, json_schema
from ffbench_eval.run import cluster
from ffbench_eval.run.data import load_task_data
from tests.conftest import ROOT
from tests.eval.dask_processes import without_times

TINY = """
name: tiny
version: 1.0.0
tasks:
  errors: {kind: accuracy, dataset: ethanol_gfn2, max_frames: 60}
  dynamics:
    kind: molecular_dynamics
    dataset: ethanol_gfn2
    ensemble: nose_hoover
    temperature_K: 500
    time_step_fs: 0.5
    length_ps: 0.1
    save_every_fs: 5
    replicas: 2
    observables: [distance_histogram, temperature]
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def spring(k=20.0, name="spring", fail_after=None):
    """Ethanol held together by springs on its bonds, and by nothing else."""
    x = torch.tensor(load_frames("ethanol_gfn2", split="test").stacked()[1])
    rest = torch.cdist(x, x).mean(0)
    strength = k * (rest < 1.7)
    calls = {"n": 0}

    def energy(batch):
        calls["n"] += 1
        if fail_after is not None and calls["n"] > fail_after:
            signal.raise_signal(signal.SIGINT)  # the user, not the model
        i, j = batch.edge_index
        d = batch.edge_vectors().norm(dim=-1)
        e = 0.25 * strength[i % 9, j % 9] * (d - rest[i % 9, j % 9]) ** 2
        return d.new_zeros(batch.n_systems).index_add(0, batch.system_index[i], e)

    return ForceField.from_energy(energy, cutoff=8.0, dtype=torch.float64, card={"name": name, "version": str(k)})


def crowded(limit):
    """`spring`, on a machine whose memory holds ``limit`` structures."""
    model = spring()

    def call(batch):
        if batch.n_systems > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return model(batch)

    return replace(model, fn=call)


def test_errors_are_measured_with_as_many_frames_as_fit_into_memory(tmp_path, suite):
    def errors(model, name):
        return evaluate(model, suite, tasks=["errors"], out=tmp_path / name, quiet=True).tasks["errors"]

    few, many = errors(crowded(4), "few"), errors(spring(), "many")
    assert set(few.statuses) == {"ok"}
    np.testing.assert_allclose(few.metrics["force_mae"].values, many.metrics["force_mae"].values, rtol=1e-10)
    assert few.units[0].force_calls == 20  # 56 frames do not fit, nor 28, 14 and 7; 3 do


def test_a_liquid_of_another_theory_is_told_that_its_stable_time_is_no_measure():
    water, ethanol = (next(t for t in load_suite("mini").tasks if t.name == n) for n in ("water_md", "ethanol_md"))
    said = {}
    for theory in ("PBE0", "SPC/Fw", ""):
        model = spring()
        model.card["theory"] = theory
        for task in (water, ethanol):
            said[theory, task.name] = molecular_dynamics._of_another_theory(task, load_task_data(task), model)
    (note,) = said.pop(("PBE0", "water_md"))
    assert "g(r) near that of SPC/Fw" in note
    assert "theory is PBE0" in note
    assert not any(said.values())


def test_a_whole_run_writes_a_report_that_loads_and_a_page(tmp_path, suite):
    report = evaluate(spring(), suite, out=tmp_path / "run", quiet=True)
    assert report == Report.load(tmp_path / "run")
    assert set(report.tasks) == {"errors", "dynamics"}
    mae = report.tasks["errors"].metrics["force_mae"]
    assert mae.n == 60
    assert mae.interval[0] < mae.value < mae.interval[1]
    md = report.tasks["dynamics"]
    assert md.statuses == {"ok": 2}
    assert md.metrics["stable_time"].interval is None
    assert ">= 0.1 ps" in md.metrics["stable_time"].interval_note
    assert md.metrics["distance_histogram_error"].floor.p95 > 0
    assert md.dataset.version == "1.0.0"
    assert len(md.curves["distance_histogram"].x) <= 200
    assert (tmp_path / "run" / "report.html").read_text().lstrip().lower().startswith("<!doctype html")
    assert (tmp_path / "run" / "report.json").stat().st_size < 1_000_000


def test_the_same_model_gives_the_same_numbers_and_finished_work_is_kept(tmp_path, suite):
    first = evaluate(spring(), suite, out=tmp_path / "a", quiet=True)
    again = evaluate(spring(), suite, out=tmp_path / "b", quiet=True)
    kept = evaluate(spring(fail_after=40), suite, out=tmp_path / "a", quiet=True)
    for name, task in first.tasks.items():
        assert task.metrics == again.tasks[name].metrics == kept.tasks[name].metrics
        assert [u.address for u in task.units] == [u.address for u in again.tasks[name].units]


def test_a_stopped_run_goes_on_to_the_same_report(tmp_path, suite, monkeypatch):
    from ffbench_eval.engine import run as engine_run

    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 50)
    whole = evaluate(spring(), suite, out=tmp_path / "whole", quiet=True)
    with pytest.raises(KeyboardInterrupt):
        evaluate(spring(fail_after=150), suite, out=tmp_path / "cut", quiet=True)
    assert list((tmp_path / "cut" / "units").glob("dynamics-*.part/checkpoint-*"))
    resumed = evaluate(spring(), suite, out=tmp_path / "cut", quiet=True)
    assert resumed.tasks["dynamics"].metrics == whole.tasks["dynamics"].metrics


def force_mae(model, out, suite, **options):
    report = evaluate(model, suite, out=out, quiet=True, tasks="errors", **options)
    return report.tasks["errors"].metrics["force_mae"].value, report.model.fingerprint


def test_a_run_folder_of_a_model_of_another_name_is_refused(tmp_path, suite):
    evaluate(spring(), suite, out=tmp_path / "run", quiet=True, tasks=["errors"])
    other = spring(k=3.0, name="another")
    with pytest.raises(ValueError, match="another model"):
        evaluate(other, suite, out=tmp_path / "run", quiet=True, tasks=["errors"])
    evaluate(other, suite, out=tmp_path / "run", quiet=True, tasks=["errors"], resume=False)


def test_a_run_goes_on_when_the_model_covers_one_more_data_set(tmp_path, suite, capfd):
    first, more = {"ethanol_gfn2": spring()}, {"ethanol_gfn2": spring(), "water": spring(k=2.0)}
    for models in (first, more, first):
        evaluate(models, suite, out=tmp_path / "run", quiet=True, tasks=["errors"])
    assert capfd.readouterr().err.count("kept from an earlier run") == 2


def lj(epsilon=0.1, sigma=1.0):
    from ase.calculators.lj import LennardJones

    return from_ase(LennardJones(epsilon=epsilon, sigma=sigma), card={"name": "lj"})


def scaled(scale, name="scaled"):
    """A network in a closure, whose answers are multiplied: weights and card do not tell two of them apart."""
    import reference_models

    base = reference_models.load("schnet@ethanol_gfn2")

    def fn(batch):
        out = base.fn(batch)
        return {"energy": out.energy * scale, "forces": out.forces * scale}

    return replace(base, fn=fn, card={"name": name})


@pytest.mark.parametrize("make", [lj, scaled, lambda k: spring(k=20 * k)])
def test_a_changed_model_never_gets_the_numbers_of_the_one_before(tmp_path, suite, capfd, make):
    """An ASE parameter, a closure around a network, a function: fresh folders say what is right."""
    right = [force_mae(make(v), tmp_path / f"fresh{v}", suite) for v in (0.1, 0.2)]
    assert right[0][0] != right[1][0]
    assert right[0][1] != right[1][1]
    capfd.readouterr()
    assert [force_mae(make(v), tmp_path / "used", suite) for v in (0.1, 0.2)] == right
    assert "does not answer on ethanol_gfn2 as it did" in capfd.readouterr().err
    assert force_mae(make(0.1), tmp_path / "used", suite) == right[0]  # what the first one left is still its own
    said = capfd.readouterr().err
    assert "2 of 2 units are kept from an earlier run of model" in said


def test_a_corrected_card_costs_nothing_and_is_shown(tmp_path, suite, capfd):
    calls = {"n": 0}

    def model(theory):
        base = spring()

        def fn(batch):
            calls["n"] += 1
            return base.fn(batch)

        return replace(base, fn=fn, card={"name": "spring", "theory": theory, "seen_test_data": False})

    evaluate(model("GFN2-xTB"), suite, out=tmp_path / "run", quiet=True)
    before, calls["n"] = calls["n"], 0
    report = evaluate(model("GFN2-xTB "), suite, out=tmp_path / "run", quiet=True)
    assert calls["n"] < 20 < before
    assert report.model.theory == "GFN2-xTB "
    assert "2 of 2 units are kept" in capfd.readouterr().err


def test_a_killed_run_of_an_edited_model_starts_anew(tmp_path, suite, monkeypatch):
    """Not a part of the trajectory comes from the model that was killed."""
    from ffbench_eval.engine import run as engine_run
    from ffbench_eval.engine.trajectory import read_trajectories

    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 50)

    def run(model, folder):
        evaluate(model, suite, out=folder, quiet=True, tasks=["dynamics"])
        return read_trajectories(next((folder / "units").glob("dynamics-*[!t]")), replicas=2)[0].positions

    alone = run(spring(k=10.0), tmp_path / "alone")
    with pytest.raises(KeyboardInterrupt):
        run(spring(k=20.0, fail_after=150), tmp_path / "cut")
    assert list((tmp_path / "cut" / "units").glob("*.part/checkpoint-*"))
    np.testing.assert_array_equal(run(spring(k=10.0), tmp_path / "cut"), alone)


def test_a_model_that_answers_differently_every_time_is_told_and_never_reused(tmp_path, suite, capfd):
    def noisy(batch):
        out = spring().fn(batch)
        return {"energy": out.energy, "forces": out.forces * (1 + 0.01 * torch.randn(()))}

    model = ForceField(noisy, 8.0, dtype=torch.float64, card={"name": "noisy"})
    values = [force_mae(model, tmp_path / "run", suite)[0] for _ in range(2)]
    said = capfd.readouterr().err
    assert "answers differently when asked the same twice" in said
    assert "are kept" not in said
    assert values[0] != values[1]


def test_an_address_holds_all_that_makes_a_result(suite):
    from ffbench_eval.run.units import make_unit

    task = load_suite(suite, tasks=["errors"]).tasks[0]
    made = {"seed": 0, "model": "m", "data": "d", "ffbench": "1", "device": "cpu", "reference": "r"}
    address = make_unit(task, {"rows": [1]}, **made).address
    for key, other in made.items():
        changed = make_unit(task, {"rows": [1]}, **{**made, key: 1 if key == "seed" else f"{other}x"})
        assert changed.address != address, key
    changed = [replace(task, name="other"), replace(task, version="2"), replace(task, dataset="water")]
    changed += [replace(task, parameters=task.parameters.model_copy(update={"max_frames": 5}))]
    assert len({address, *(make_unit(t, {"rows": [1]}, **made).address for t in changed)}) == 5
    assert make_unit(task, {"rows": [2]}, **made).address != address


def test_units_of_another_seed_or_of_changed_data_are_not_kept(tmp_path, suite, monkeypatch):
    from ffbench_eval.run import data

    def address(seed=0):
        report = evaluate(spring(), suite, out=tmp_path / "run", quiet=True, tasks=["errors"], seed=seed)
        return report.tasks["errors"].units[0].address

    first, other_seed = address(), address(seed=1)
    whole = data.used

    def changed(*about):
        return whole(*about).model_copy(update={"content_sha256": "0" * 64})

    monkeypatch.setattr(data, "used", changed)
    assert len({first, other_seed, address()}) == 3


def test_a_run_folder_serves_one_process_at_a_time(tmp_path, suite):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / "lock"), pytest.raises(ValueError, match="in use by another process"):
        evaluate(spring(), suite, out=tmp_path / "run", quiet=True, tasks=["errors"])
    evaluate(spring(), suite, out=tmp_path / "run", quiet=True, tasks=["errors"])


def test_unsupported_elements_and_missing_datasets_are_states_not_zeros(tmp_path, suite):
    limited = ForceField(spring().fn, 8.0, elements=(6, 1), dtype=torch.float64, card={"name": "no oxygen"})
    report = evaluate(limited, suite, out=tmp_path / "a", quiet=True)
    assert report.tasks["errors"].statuses == {"unsupported": 1}
    assert report.tasks["errors"].units[0].detail == ["unsupported elements: [8]"]
    assert report.tasks["errors"].metrics == {}
    report = evaluate({"water": spring()}, suite, out=tmp_path / "b", quiet=True)
    assert report.tasks["dynamics"].units[0].detail == ["no model for dataset ethanol_gfn2"]


def test_an_exception_in_a_simulation_costs_what_nan_costs_and_says_why(tmp_path, suite):
    good = spring()
    calls = {"n": 0}

    def breaks(batch):
        calls["n"] += 1
        if calls["n"] > 40:
            raise RuntimeError("lost a screw")
        return good(batch)

    model = ForceField(breaks, 8.0, dtype=torch.float64, card={"name": "breaks"})
    report = evaluate(model, suite, out=tmp_path / "run", quiet=True)
    task = report.tasks["dynamics"]
    assert task.statuses == {"unstable": 2}
    assert "lost a screw" in task.units[0].detail[0]
    assert task.metrics["stable_fraction"].value == 0
    assert report.tasks["errors"].metrics["force_mae"].value > 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda e, f: {"energy": e}, "no forces"),
        (lambda e, f: {"energy": e.new_zeros(2, 2), "forces": f}, r"energy of shape \(2, 2\), expected \(1,\)"),
        (lambda e, f: {"energy": e, "forces": f[:-1]}, r"forces of shape \(8, 3\), expected \(9, 3\)"),
        (lambda e, f: {"energy": e.long(), "forces": f}, "floating-point"),
        (lambda e, f: {"energy": e, "forces": f * float("nan")}, "not finite"),
        (lambda e, f: 3.0, "Prediction or a mapping"),
    ],
)
def test_a_wrong_answer_is_told_before_any_work(tmp_path, suite, answer, message):
    def fn(batch):
        return answer(batch.positions.new_zeros(batch.n_systems), torch.zeros_like(batch.positions))

    with pytest.raises(ValueError, match=message):
        evaluate(ForceField(fn, None, card={"name": "wrong"}), suite, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_model_that_explodes_at_once_is_unstable_not_a_crash(tmp_path, suite):
    def hot(batch):
        return {"energy": batch.positions.new_zeros(batch.n_systems), "forces": 1e6 * torch.ones_like(batch.positions)}

    model = ForceField(hot, None, dtype=torch.float64, conservative=False, card={"name": "hot"})
    task = evaluate(model, suite, out=tmp_path / "run", quiet=True, tasks=["dynamics"]).tasks["dynamics"]
    assert task.statuses == {"unstable": 2}
    assert task.metrics["stable_fraction"].value == 0
    assert task.metrics["distance_histogram_error"].not_scored == "no replica has a value"
    assert task.metrics["distance_histogram_error"].value is None


def test_a_batch_that_does_not_fit_is_replaced_by_halves_with_the_same_replicas(tmp_path, suite):
    good = spring()

    def small(batch):
        if batch.n_systems > 1 and batch.n_systems < 20:
            raise MemoryError("too wide")
        return good(batch)

    whole = evaluate(good, suite, out=tmp_path / "whole", quiet=True, tasks=["dynamics"])
    model = ForceField(small, 8.0, dtype=torch.float64, card=good.card)
    with pytest.raises(MemoryError):  # the cost estimate meets it first; a real GPU fails later
        model(batch_of_two())
    report = evaluate(model, suite, out=tmp_path / "split", quiet=True, tasks=["dynamics"])
    task = report.tasks["dynamics"]
    assert len(task.units) == 2
    assert task.statuses == {"ok": 2}
    mine, theirs = (r.tasks["dynamics"].metrics["distance_histogram_error"].values for r in (report, whole))
    assert mine == pytest.approx(theirs, rel=1e-6)


def batch_of_two():
    from ffbench_data import collate

    return collate(load_frames("ethanol_gfn2", split="test"), indices=[0, 1])


def test_unknown_names_get_the_nearest_one():
    with pytest.raises(ValueError, match="did you mean 'mini'"):
        load_suite("minni")
    with pytest.raises(ValueError, match="did you mean 'water_md'"):
        load_suite("mini", tasks=["water_mdd"])
    with pytest.raises(ValueError, match="did you mean 'ethanol_gfn2'"):
        load_frames("ethanol_gfn", split="test")
    with pytest.raises(ValueError, match="did you mean 'bond_scans'"):
        load_frames("ethanol_gfn2", "bond_scan")
    with pytest.raises(ValueError, match="unknown split 'tset'"):
        load_frames("ethanol_gfn2", split="tset")


def test_a_bad_row_in_a_suite_is_named(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(TINY.replace("ensemble: nose_hoover", "ensemble: nose_hover"))
    with pytest.raises(ValueError, match=r"task 'dynamics': ensemble"):
        load_suite(path)
    path.write_text(TINY.replace("kind: accuracy", "kind: acuracy"))
    with pytest.raises(ValueError, match="did you mean 'accuracy'"):
        load_suite(path)


def run_cli(*arguments, cwd):
    command = [sys.executable, "-m", "ffbench_eval", *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, env={**__import__("os").environ, "PYTHONPATH": str(ROOT)}
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing.py:load", "no file"),
        ("broken.py:load", "does not import"),
        ("fine.py:lod", "did you mean 'load'"),
        ("fine.py", "which function of it? Write fine.py:NAME"),
        ("no_such_package:load", "cannot import"),
        ("reference_models:painnn", "unknown reference model"),
    ],
)
def test_the_command_line_answers_a_bad_model_with_one_line_and_exit_code_2(tmp_path, spec, message):
    (tmp_path / "broken.py").write_text("import nonexistent_thing\n")
    (tmp_path / "fine.py").write_text("def load():\n    return None\n")
    done = run_cli("evaluate", spec, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_changed_byte_in_a_shard_is_refused(tmp_path):
    import shutil

    from ffbench_data.load import EMBEDDED

    shutil.copytree(EMBEDDED / "ethanol_gfn2", tmp_path / "ethanol_gfn2")
    shard = next((tmp_path / "ethanol_gfn2" / "data" / "default").glob("test-*"))
    raw = bytearray(shard.read_bytes())
    raw[len(raw) // 2] ^= 1
    shard.write_bytes(raw)
    with pytest.raises(ValueError, match="was changed"):
        load_frames("ethanol_gfn2", split="test", root=tmp_path)


def test_a_changed_report_is_refused_and_the_schema_is_closed(tmp_path, suite):
    evaluate(spring(), suite, out=tmp_path / "run", quiet=True, tasks=["errors"])
    path = tmp_path / "run" / "report.json"
    raw = json.loads(path.read_text())
    raw["tasks"]["errors"]["metrics"]["force_mae"]["value"] /= 2
    path.write_text(json.dumps(raw))
    with pytest.raises(ValueError, match="content_sha256"):
        Report.load(path)
    raw["flattery"] = 1
    path.write_text(json.dumps(raw))
    with pytest.raises(ValueError, match="flattery"):
        Report.load(path)
    assert json_schema()["additionalProperties"] is False


def test_worker_processes_give_the_same_report_to_the_last_byte(tmp_path, suite, monkeypatch):
    """In the surroundings of this run, not of the process that they are forks of, which an earlier run left."""
    cluster._loaded({})
    monkeypatch.setenv("REST", "2.0")
    model = tmp_path / "model.py"
    model.write_text(
        "import os, torch\n"
        "from ffbench_eval import ForceField\n"
        "def energy(batch):\n"
        "    d = batch.edge_vectors().norm(dim=-1)\n"
        "    owner = batch.system_index[batch.edge_index[0]]\n"
        "    return d.new_zeros(batch.n_systems).index_add(0, owner, (d - float(os.environ['REST'])) ** 2)\n"
        "def load():\n"
        "    return ForceField.from_energy(energy, cutoff=8.0, card={'name': 'plain'})\n"
    )
    alone = evaluate(f"{model}:load", suite, out=tmp_path / "a", quiet=True, compile="off")
    beside = evaluate(f"{model}:load", suite, out=tmp_path / "b", quiet=True, compile="off", workers=2)
    assert without_times(beside) == without_times(alone)


def test_replicas_of_a_calculator_are_units_that_workers_share(tmp_path, suite):
    from ase.calculators.morse import MorsePotential

    def make():
        calculator = MorsePotential(epsilon=0.2, r0=1.6, rho0=4.0)
        calculator.unpicklable = lambda: None
        return calculator

    model = from_ase(make, card={"name": "morse"})
    alone = evaluate(model, suite, out=tmp_path / "a", quiet=True)
    beside = evaluate(model, suite, out=tmp_path / "b", quiet=True, workers=2)
    dynamics = next(task for task in alone.tasks.values() if task.kind == "molecular_dynamics")
    assert len(dynamics.units) == sum(dynamics.statuses.values()) > 1
    for name in alone.tasks:
        assert alone.tasks[name].metrics == beside.tasks[name].metrics
