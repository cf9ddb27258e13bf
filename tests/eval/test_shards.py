"""A run dealt to machines that know nothing of each other is the run of one."""

import shutil

import pytest

from ffbench_eval import evaluate
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


def test_shares_are_disjoint_and_whole():
    assert parse("2/8") == (2, 8)
    dealt = [share(10, (k, 4)) for k in range(1, 5)]
    assert sorted(x for s in dealt for x in s) == list(range(10))
    for wrong in ("0/3", "4/3", "a/b", "3"):
        with pytest.raises(ValueError, match="PART/PARTS"):
            parse(wrong)
