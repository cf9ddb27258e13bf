"""The commands as typed, and what stands behind `merge`, `compare` and `status`."""

import json
from pathlib import Path

import pytest

from ffbench_eval.report import Report
from ffbench_eval.run.folder import columns, merge, side_by_side, status
from leaderboard.check.lock import all_locks, make_lock
from leaderboard.entry.schema import ENTRIES, Entry
from tests.leaderboard.board import command, put, real_entry, varied

REPORT = Report.model_validate(real_entry()["report"])


def part(*names):
    return REPORT.model_copy(update={"tasks": {n: REPORT.tasks[n] for n in names}})


def test_parts_of_a_run_merge_to_the_whole():
    whole = merge([part("ethanol_accuracy"), part("water_md", "ethanol_accuracy")])
    assert list(whole.tasks) == ["ethanol_accuracy", "water_md"]
    assert whole.content_sha256 == whole.hash()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 3}, "seed"),
        ({"suite_version": "2"}, "suite_version"),
        ({"models": {}, "model": REPORT.model.model_copy(update={"fingerprint": "x"})}, "different models"),
        ({"tasks": {"water_md": REPORT.tasks["ethanol_md"]}}, "different results"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        merge([part("water_md"), part("water_md").model_copy(update=change)])


def test_models_side_by_side():
    other = Report.model_validate(varied(1)["report"])
    rows = side_by_side([REPORT, other], "water_md")
    assert all(task == "water_md" and len(cells) == 2 for task, _, cells in rows)
    with pytest.raises(ValueError, match="suites differ"):
        side_by_side([REPORT, other.model_copy(update={"suite": "desk"})])


def test_columns_of_one_model_are_told_apart_and_what_ran_without_a_value_from_what_did_not_run():
    task = REPORT.tasks["water_md"]
    key = next(iter(task.metrics))
    less = {k: m for k, m in task.metrics.items() if k != key}
    one = REPORT.model_copy(update={"tasks": REPORT.tasks | {"water_md": task.model_copy(update={"metrics": less})}})
    none = REPORT.model_copy(update={"tasks": {k: t for k, t in REPORT.tasks.items() if k != "water_md"}})
    rows = side_by_side([REPORT, one, none], "water_md")
    assert rows[0][2][1:] == ["no value", "not run"]
    other = Report.model_validate(varied(1)["report"])
    heads = columns([REPORT, REPORT, other], [Path("a"), Path("b"), Path("c")])
    assert [h.split("\n")[-1] for h in heads[:2]] == ["a", "b"]
    assert "\n" not in heads[2]


def test_status_counts_finished_and_stopped_units(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    for name in ("a-1", "a-2.part"):
        (tmp_path / "units" / name).mkdir(parents=True)
    (tmp_path / "units/a-1/result.json").write_text('{"status": ["ok", "unstable"], "wall_s": 2.0}')
    (row,) = status(tmp_path)
    assert (row.finished, row.stopped, row.states, row.seconds) == (1, 1, {"ok": 1, "unstable": 1}, 2.0)
    with pytest.raises(ValueError, match="not a run folder"):
        status(tmp_path / "units")


def test_commands_run_and_say_where(tmp_path, capsys):
    entries = tmp_path / "entries"
    path = put(json.loads((ENTRIES / "ffbench__painn/1/mini.json").read_text()), entries)  # today's lock and entry
    assert command("leaderboard", "check", "--entries", entries) == 0
    assert "1 entry, 0 errors" in capsys.readouterr().out
    assert command("leaderboard", "check", "--entries", entries) == 0
    quiet = capsys.readouterr()
    assert command("leaderboard", "check", "--entries", entries, "--warnings") == 0
    told = capsys.readouterr()
    assert "warning: " not in quiet.out + quiet.err  # counted, and not the submitter's to read
    assert (told.out + told.err).count("warning: ") >= 1
    assert command("leaderboard", "check", path, "--entries", entries) == 0
    mine = capsys.readouterr()
    assert "warning: " in mine.out + mine.err  # of a named entry always
    assert command("export", "hub", entries / "none.json") == 2
    assert "none.json is no file" in capsys.readouterr().err
    assert command("leaderboard", "build", "--entries", entries, "--out", tmp_path / "site") == 0
    assert command("export", "hub", path, "--out", tmp_path / "hub") == 0
    assert (tmp_path / "hub/.eval_results/ffbench.yaml").exists()
    capsys.readouterr()
    assert command("compare", path, path) == 0  # a task has two lines: its answer and the number that decides
    short = capsys.readouterr().out
    assert command("compare", path, path, "--all") == 0
    long = capsys.readouterr().out
    assert "like the truth" in short
    assert "force RMSE" in long
    assert "force RMSE" not in short
    path.write_text("{}")
    assert command("leaderboard", "check", path, "--entries", entries) == 1
    assert command("export", "hub", path) == 2
    assert "ffbench: " in capsys.readouterr().err


def test_an_old_export_command_still_reaches_the_trajectories(tmp_path, capsys):
    assert command("export", tmp_path / "no-unit") == 2
    assert "no-unit" in capsys.readouterr().err


@pytest.mark.parametrize("lock", all_locks(), ids=lambda k: f"{k.suite}-{k.version}")
def test_locks_agree_with_the_shipped_suites(lock):
    """A suite that changed needs a new version, or (before any entry) `ffbench leaderboard lock`."""
    shipped = make_lock(lock.suite)
    if shipped.version != lock.version:
        pytest.skip("an old version, kept for its entries")
    for name, task in shipped.tasks.items():
        mine = lock.tasks[name]
        assert (mine.parameters, mine.version) == (task.parameters, task.version), name
        if task.dataset.version and mine.dataset.version:  # else it is not built here, or was not where it was locked
            assert mine.dataset == task.dataset, name
        assert (mine.dataset.name, mine.dataset.config) == (task.dataset.name, task.dataset.config), name


def test_the_entry_of_this_repository_passes_its_own_check():
    from leaderboard.check.check import check, errors
    from leaderboard.entry.schema import entry_paths

    for path in entry_paths():
        assert errors(check(path)) == [], path
        Entry.model_validate_json(path.read_text())
