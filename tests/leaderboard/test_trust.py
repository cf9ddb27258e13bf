"""Submitting, recomputing from archived files, rerunning units: on a real run of two quick tasks."""

import functools
import json
import shutil

import numpy as np
import pytest

from ffbench_eval import evaluate
from ffbench_eval.kinds import KINDS
from ffbench_eval.kinds.bsct import work as bsct
from ffbench_eval.report import Metric, Report
from ffbench_eval.run.reproduce import Compared, compare, reproduce
from leaderboard.check.check import check, errors
from leaderboard.check.lock import make_lock, write_lock
from leaderboard.entry.archives import recompute
from leaderboard.entry.schema import About, Entry
from leaderboard.entry.submit import make_entry, submit
from leaderboard.entry.trust import level, record, records
from tests.leaderboard.board import command

TASKS = ["ethanol_accuracy", "ethanol_bond_scans"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "painn"
    evaluate("reference_models:painn", "mini", tasks=TASKS, out=out, quiet=True)
    return out


@pytest.fixture
def entry(run):
    return make_entry(run, org="My Group", archive_url="https://example.org/painn")


def test_submit_writes_an_entry_that_passes_and_a_card(run, tmp_path):
    locks = tmp_path / "suites"
    locks.mkdir()
    write_lock(make_lock("mini", [Report.load(run)]), locks)
    made = make_entry(run, org="My Group", model="PaiNN small", version="v1.0")
    path, _ = submit(made, tmp_path / "entries")
    assert path.relative_to(tmp_path / "entries").as_posix() == "my-group__painn-small/v1.0/mini.json"
    assert errors(check(path, entries=tmp_path / "entries", suites=locks)) == []
    card = path.with_name("card.md").read_text()
    parts = "".join(f" --task {name}" for name in TASKS)  # what makes this report again, no more
    assert f"ffbench evaluate reference_models:painn --suite mini --seed 0{parts}\n" in card
    path.with_name("card.md").write_text("mine")
    submit(made, tmp_path / "entries")
    assert path.with_name("card.md").read_text() == "mine"


def test_archives_name_files_by_hash_and_never_a_pickle(entry):
    assert {a.file for a in entry.archives} == {"predictions.npz", "result.json"}
    assert all(a.url.startswith("https://example.org/painn/ethanol_") for a in entry.archives)
    with pytest.raises(ValueError, match="file"):
        type(entry.archives[0]).model_validate(entry.archives[0].model_dump() | {"file": "weights.pkl"})


def test_metrics_follow_from_the_archived_files(run, entry, tmp_path):
    shutil.copytree(run / "units", tmp_path / "any layout")
    said = recompute(entry, tmp_path / "any layout")
    assert [line.split(":")[0] for line in said] == TASKS


def test_files_that_are_missing_changed_or_of_another_entry_are_refused(run, entry, tmp_path):
    with pytest.raises(ValueError, match="no file here has sha256"):
        recompute(entry, tmp_path)
    better = entry.model_dump(mode="json")
    values = better["report"]["tasks"]["ethanol_accuracy"]["metrics"]["force_mae"]["values"]
    better["report"]["tasks"]["ethanol_accuracy"]["metrics"]["force_mae"]["values"] = [0.9 * v for v in values]
    with pytest.raises(ValueError, match="force_mae does not follow"):
        recompute(Entry.model_validate(better), run / "units")
    with pytest.raises(ValueError, match="no archived files"):
        recompute(entry.model_copy(update={"archives": []}), run / "units")


@pytest.mark.parametrize("field", ["trivial", "score", "value", "n"])
def test_every_field_that_a_score_uses_is_recomputed(field, run, entry):
    """A model with an honest 0.0 got 1.0 and the badge by a large trivial value."""
    forged = entry.model_dump(mode="json")
    m = forged["report"]["tasks"]["ethanol_accuracy"]["metrics"]["force_mae"]
    m[field] = 2 * m[field] + 1
    with pytest.raises(ValueError, match=f"{field} of force_mae"):
        recompute(Entry.model_validate(forged), run / "units", ["ethanol_accuracy"])


def test_a_metric_left_out_is_missed(run, entry):
    less = entry.model_dump(mode="json")
    del less["report"]["tasks"]["ethanol_bond_scans"]["metrics"]["fsd"]
    with pytest.raises(ValueError, match="also give fsd"):
        recompute(Entry.model_validate(less), run / "units", ["ethanol_bond_scans"])


def exchanged(entry, path, change):
    """The entry that names the changed file in place of the former one."""
    import hashlib

    before = hashlib.sha256(path.read_bytes()).hexdigest()
    change(path)
    now = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
    archives = [a.model_copy(update=now) if a.sha256 == before else a for a in entry.archives]
    return entry.model_copy(update={"archives": archives})


@pytest.mark.parametrize("text", ["[]", "3", '{"status": 1}', '{"odd": 1}', '{"status": ["ok"], "detail": [], "x": 1}'])
def test_odd_json_in_an_archive_is_said_and_no_crash(text, run, entry, tmp_path):
    folder = tmp_path / "files"
    shutil.copytree(run / "units", folder)
    path = next(folder.glob("ethanol_bond_scans-*/result.json"))
    odd = exchanged(entry, path, lambda p: p.write_text(text))
    with pytest.raises(ValueError, match="is no result of a unit"):
        recompute(odd, folder, ["ethanol_bond_scans"])


def test_a_parquet_file_that_grows_is_refused(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from leaderboard.entry import archives

    path = tmp_path / "trajectory-0.parquet"
    pq.write_table(pa.table({"x": pa.array(np.zeros(2_000_000))}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    archives._parquet_fits(path)
    monkeypatch.setattr(archives, "UNPACKED", 10_000_000)
    with pytest.raises(ValueError, match="grows to 16000000 bytes"):
        archives._parquet_fits(path)
    pq.write_table(pa.table({"x": ["a" * 10] * 5}), path)
    with pytest.raises(ValueError, match="holds text"):
        archives._parquet_fits(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="is no Parquet file"):
        archives._parquet_fits(path)


def test_submit_never_replaces_an_entry(run, tmp_path):
    made = make_entry(run, org="My Group++", model="PaiNN", version="1")
    path, _ = submit(made, tmp_path)
    before = path.read_text()
    other = make_entry(run, org="my group", model="painn", version="1", about=About(summary="another"))
    with pytest.raises(ValueError, match="is there already: give another --version"):
        submit(other, tmp_path)
    assert path.read_text() == before


def test_predictions_of_other_frames_are_refused(run, entry, tmp_path):
    import hashlib

    folder = tmp_path / "files"
    shutil.copytree(run / "units", folder)
    (path, *_) = sorted(folder.glob("ethanol_accuracy-*/predictions.npz"))
    stored = dict(np.load(path))
    stored["rows"] = stored["rows"][::-1]
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    np.savez_compressed(path, **stored)
    now = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
    archives = [a.model_copy(update=now) if a.sha256 == before else a for a in entry.archives]
    with pytest.raises(ValueError, match="other frames"):
        recompute(entry.model_copy(update={"archives": archives}), folder)


def test_pickles_inside_npz_are_not_opened(run, entry, tmp_path):
    import hashlib

    folder = tmp_path / "files"
    shutil.copytree(run / "units", folder)
    (path,) = folder.glob("ethanol_bond_scans-*/predictions.npz")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    np.savez_compressed(path, **{**np.load(path), "energy": np.array([{"a": 1}], dtype=object)})
    now = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
    archives = [a.model_copy(update=now) if a.sha256 == before else a for a in entry.archives]
    with pytest.raises(ValueError, match="allow_pickle"):
        recompute(entry.model_copy(update={"archives": archives}), folder, ["ethanol_bond_scans"])


def test_units_rerun_give_the_same_numbers(run, tmp_path):
    rows = reproduce(Report.load(run), units=2, seed=0, out=tmp_path)
    assert {r.task for r in rows} == set(TASKS)
    assert {r.verdict for r in rows} <= {"identical", "agrees"}


def test_a_forged_report_does_not_reproduce(run, tmp_path):
    raw = json.loads((run / "report.json").read_text())
    mae = raw["tasks"]["ethanol_accuracy"]["metrics"]["force_mae"]
    mae["values"] = [0.9 * v for v in mae["values"]]
    rows = reproduce(Report.model_validate(raw), units=2, seed=0, out=tmp_path)
    assert [r.metric for r in rows if r.verdict == "differs"] == ["force_mae"]


def test_a_part_of_the_scans_is_held_against_its_own_values(tmp_path, monkeypatch):
    monkeypatch.setattr(bsct, "SCANS", 3)  # three units of the eight scans
    task = "ethanol_bond_scans"
    report = evaluate("reference_models:schnet", "mini", tasks=[task], out=tmp_path / "run", quiet=True)
    forged = report.model_copy(deep=True)
    fsd = forged.tasks[task].metrics["fsd"].values
    fsd[3:6] = [0.9 * v for v in fsd[3:6]]
    hit = []
    for seed in (0, 1, 5):  # these draw each unit once
        again = reproduce(report, units=1, seed=seed, out=tmp_path / f"again{seed}", tasks=[task])
        assert {r.verdict for r in again} == {"identical"}
        again = reproduce(forged, units=1, seed=seed, out=tmp_path / f"again{seed}", tasks=[task])
        hit.append(bool(next(r.rerun for r in again if r.metric == "fsd") == pytest.approx(np.mean(fsd[3:6]) / 0.9)))
        assert [r.metric for r in again if r.verdict == "differs"] == (["fsd"] if hit[-1] else [])
    assert hit.count(True) == 1


SIMULATION = """
name: short
version: 1.0.0
tasks:
  md:
    {kind: molecular_dynamics, dataset: ethanol_gfn2, ensemble: nose_hoover, temperature_K: 500, time_step_fs: 0.5,
     replicas: 4, length_ps: 0.1, save_every_fs: 10, observables: [distance_histogram]}
"""


def test_other_seeds_show_a_picked_one(tmp_path):
    (tmp_path / "short.yaml").write_text(SIMULATION)
    suite = str(tmp_path / "short.yaml")
    report = evaluate("reference_models:schnet", suite, out=tmp_path / "run", quiet=True)
    report = report.model_copy(update={"suite": suite})
    rows = reproduce(report, units=1, seed=0, out=tmp_path / "again", other_seeds=1)
    own = {r.metric for r in rows if "(other seed)" not in r.metric}
    other = [r for r in rows if "(other seed)" in r.metric]
    assert len(other) == len(own) > 0
    assert [r.rerun for r in other] != [r.rerun for r in rows if "(other seed)" not in r.metric]
    picked = Metric(value=0.5, unit="1", values=[0.5, 0.501, 0.499, 0.5])
    again = Metric(value=1.0, unit="1", values=[1.0, 1.01, 0.99, 1.0])
    assert compare("md", KINDS["molecular_dynamics"], "m", picked, again).verdict == "differs"


def test_another_model_is_refused(run, tmp_path):
    with pytest.raises(ValueError, match="other weights"):
        reproduce(Report.load(run), model="reference_models:zero", out=tmp_path)


def samples(values):
    return Metric(value=float(np.mean(values)), unit="1", values=list(values))


def score(value, interval=None):
    return Metric(value=value, unit="1", interval=interval)


@pytest.mark.parametrize(
    ("theirs", "mine", "verdict"),
    [
        (score(0.20, (0.18, 0.22)), score(0.20), "identical"),
        (score(0.20, (0.18, 0.22)), score(0.215), "agrees"),
        (score(0.15, (0.13, 0.17)), score(0.20), "differs"),
        (score(0.20), score(0.201), "agrees"),
        (score(0.20), score(0.25), "cannot tell"),
    ],
)
def test_scores_without_samples_stand_for_themselves(theirs, mine, verdict):
    assert compare("t", KINDS["selective"], "augrc.test.probe", theirs, mine).verdict == verdict


def test_a_scan_that_failed_in_one_of_the_runs_differs():
    theirs = Metric(value=1.0, unit="1/Å", values=[1.0, None, 1.0])
    mine = Metric(value=1.0, unit="1/Å", values=[1.0, 1.0, None])
    assert compare("t", KINDS["bsct"], "fsd", theirs, mine, whole=False).verdict == "differs"
    assert (
        compare("t", KINDS["bsct"], "fsd", theirs, mine.model_copy(update={"values": [None] * 3}), whole=False) is None
    )


@pytest.mark.parametrize(
    ("name", "theirs", "mine", "verdict"),
    [
        ("rdf_error_O-O", [0.30, 0.32, 0.31], [0.31, 0.30, 0.33], "agrees"),
        ("rdf_error_O-O", [0.10, 0.11, 0.10], [0.31, 0.30, 0.33], "differs"),
        ("rdf_error_O-O", [0.30], [0.31], "cannot tell"),
        ("stable_fraction", [1.0] * 5, [1.0, 1.0, 1.0, 1.0, 0.0], "agrees"),
        ("stable_fraction", [1.0] * 5, [0.0] * 5, "differs"),
    ],
)
def test_simulations_are_compared_as_samples(name, theirs, mine, verdict):
    assert compare("t", KINDS["molecular_dynamics"], name, samples(theirs), samples(mine)).verdict == verdict


def test_reproduce_as_typed_records_what_it_could_tell(run, entry, tmp_path, monkeypatch):
    monkeypatch.setattr("leaderboard.entry.trust.record", functools.partial(record, checks=tmp_path / "checks"))
    path = entry.write(tmp_path / "entries")
    words = ["reproduce", path, "--task", "ethanol_bond_scans", "--units", "1", "--record", "--by", "me"]
    assert command(*words, "--out", tmp_path / "again") == 0
    (row,) = records(entry, tmp_path / "checks")
    assert (row.level, row.by, row.what) == ("reproduced", "me", ["ethanol_bond_scans rerun"])
    nothing = [Compared("ethanol_md", "stable_time", 1.0, 1.0, "cannot tell")]
    monkeypatch.setattr("ffbench_eval.run.reproduce.reproduce", lambda *a, **k: nothing)
    assert command(*words) == 2
    assert len(records(entry, tmp_path / "checks")) == 1


def test_trust_belongs_to_one_content_hash(entry, tmp_path):
    assert level(entry, tmp_path) == "self-reported"
    record(entry, "recomputed", ["all"], checks=tmp_path)
    record(entry, "reproduced", ["3 units"], checks=tmp_path)
    assert level(entry, tmp_path) == "reproduced"
    assert level(entry.model_copy(update={"command": "ffbench evaluate x"}).sealed(), tmp_path) == "self-reported"
    with pytest.raises(ValueError, match="choose"):
        record(entry, "self-reported", [], checks=tmp_path)
