"""A run dealt to machines that know nothing of each other is the run of one."""

import shutil

import pytest
from filelock import FileLock

from ffbench_eval import evaluate
from ffbench_eval.run import shards
from ffbench_eval.run.shards import merge_shards, parse, share
from ffbench_eval.suite import load_suite
from tests.leaderboard.board import command

SUITE = """
name: dealt
version: 1.0.0
tasks:
  errors: {kind: accuracy, dataset: ethanol_gfn2, max_frames: 600}
  scans: {kind: bsct, dataset: "ethanol_gfn2:bond_scans"}
  other: {kind: accuracy, dataset: "water:1k", max_frames: 4}
"""
MODEL = "reference_models:schnet@ethanol_gfn2"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    home = tmp_path_factory.mktemp("dealt")
    (home / "dealt.yaml").write_text(SUITE)
    for part in ("1/3", "2/3", "3/3"):
        evaluate(MODEL, str(home / "dealt.yaml"), out=home / part[0], shard=part, quiet=True)
    return home


def test_parts_together_are_the_whole(parts, tmp_path):
    whole = evaluate(MODEL, str(parts / "dealt.yaml"), out=tmp_path / "whole", quiet=True)
    suite = load_suite(str(parts / "dealt.yaml"))
    merged = merge_shards([parts / "3", parts / "1", parts / "2"], tmp_path / "merged", suite)
    assert merged.tasks.keys() == whole.tasks.keys()
    for name, task in whole.tasks.items():
        assert merged.tasks[name].metrics == task.metrics
        assert merged.tasks[name].statuses == task.statuses
        assert merged.tasks[name].curves == task.curves
    assert {p.name for p in (tmp_path / "merged/units").iterdir()} == {
        p.name for p in (tmp_path / "whole/units").iterdir()
    }
    again = ["merge", "--strict", *(str(parts / p) for p in "123"), "--out", str(tmp_path / "typed")]
    assert command(*again, "--suite", str(parts / "dealt.yaml")) == 0


def test_a_part_has_no_number_of_a_task_that_is_not_whole(parts):
    report = evaluate(
        MODEL, str(parts / "dealt.yaml"), out=parts / "1", shard="1/3", quiet=True
    )  # goes on: nothing to do
    told = [t for t in report.tasks.values() if "not_run" in t.statuses]
    assert told
    assert all(not t.metrics for t in told)


def test_holes_and_units_of_others_are_refused(parts, tmp_path):
    suite = load_suite(str(parts / "dealt.yaml"))
    with pytest.raises(ValueError, match="are in no part"):
        merge_shards([parts / "1", parts / "2"], tmp_path / "a", suite)
    for p in "123":
        shutil.copytree(parts / p, tmp_path / p)
    evaluate(
        "reference_models:painn@ethanol_gfn2", str(parts / "dealt.yaml"), out=tmp_path / "x", shard="1/3", quiet=True
    )
    stranger = next((tmp_path / "x/units").iterdir())
    with pytest.raises(ValueError, match="different models"):
        merge_shards([tmp_path / "1", tmp_path / "x"], tmp_path / "b", suite)
    shutil.copytree(stranger, tmp_path / "1/units" / stranger.name)
    with pytest.raises(ValueError, match="belongs to no unit"):
        merge_shards([tmp_path / p for p in "123"], tmp_path / "c", suite)
    shutil.rmtree(tmp_path / "1/units" / stranger.name)
    file = next(f for f in (tmp_path / "2/units").rglob("*.npz"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is damaged"):
        merge_shards([tmp_path / p for p in "123"], tmp_path / "d", suite)


def test_the_merged_folder_is_a_run_and_a_merge_that_was_stopped_goes_on(parts, tmp_path, monkeypatch, capfd):
    """Stopped in a copy, and one of its units spoiled since."""
    suite, runs, out = load_suite(str(parts / "dealt.yaml")), [parts / p for p in "123"], tmp_path / "merged"
    copy, copied = shutil.copyfile, []

    def stopped(source, target):
        copied.append(target)
        if len(copied) > 3:
            raise KeyboardInterrupt
        return copy(source, target)

    monkeypatch.setattr(shards.shutil, "copyfile", stopped)
    with pytest.raises(KeyboardInterrupt):
        merge_shards(runs, out, suite)
    monkeypatch.undo()
    assert not (out / "report.json").exists()
    spoiled = next((out / "units").glob("*/result.json"))
    spoiled.write_bytes(spoiled.read_bytes()[:-9])
    report = merge_shards(runs, out, suite)
    assert command("status", out) == 0
    assert "tasks" in report.model_dump()
    capfd.readouterr()
    again = evaluate(MODEL, str(parts / "dealt.yaml"), out=out, quiet=True)
    kept = sum(any(u.address for u in t.units) * len(t.units) for t in again.tasks.values() if t.metrics)
    assert f"{kept} of {kept} units are kept" in capfd.readouterr().err
    assert {k: t.metrics for k, t in again.tasks.items()} == {k: t.metrics for k, t in report.tasks.items()}


def test_a_merge_writes_over_nothing_of_others(parts, tmp_path):
    suite, runs = load_suite(str(parts / "dealt.yaml")), [parts / p for p in "123"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for out, line in ((runs[0], "is one of the parts"), (tmp_path / "mine", "is no run of this model and suite")):
        with pytest.raises(ValueError, match=line):
            merge_shards(runs, out, suite)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    assert command("merge", runs[0], "--out", runs[0]) == 2
    (tmp_path / "busy").mkdir()
    with FileLock(tmp_path / "busy" / "lock"), pytest.raises(ValueError, match="is in use by another process"):
        merge_shards(runs, tmp_path / "busy", suite)


@pytest.mark.parametrize(
    ("change", "line"),
    [(("scans:", "skans:"), "has no task scans here"), (("max_frames: 4", "max_frames: 5"), "task other .* other par"),
     (("1.0.0", "1.0.1"), "the suite here is dealt 1.0.1, the parts are of dealt 1.0.0")],
)  # fmt: skip
def test_parts_of_another_suite_are_one_line(parts, tmp_path, change, line):
    (tmp_path / "dealt.yaml").write_text(SUITE.replace(*change))
    with pytest.raises(ValueError, match=line):
        merge_shards([parts / p for p in "123"], tmp_path / "out", load_suite(str(tmp_path / "dealt.yaml")))
    assert not (tmp_path / "out").exists()


def test_shares_are_disjoint_and_whole():
    assert parse("2/8") == (2, 8)
    dealt = [share(10, (k, 4)) for k in range(1, 5)]
    assert sorted(x for s in dealt for x in s) == list(range(10))
    for wrong in ("0/3", "4/3", "a/b", "3"):
        with pytest.raises(ValueError, match="PART/PARTS"):
            parse(wrong)
