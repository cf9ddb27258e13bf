"""Entries brought to a new version of their suite: new anchors, new runs, and what cannot be kept."""

import numpy as np
import pytest

from leaderboard.check.check import check, errors
from leaderboard.check.lock import SuiteLock, latest_before, write_lock
from leaderboard.entry.rescore import rescore
from leaderboard.entry.schema import Entry
from tests.leaderboard.board import FIXTURE, command, put, real_entry

ENTRY = Entry.model_validate(real_entry())
LOCK = SuiteLock.model_validate_json((FIXTURE / "mini-1.0.0.json").read_text())


def raised(**tasks):
    """The lock of a next version; ``tasks``: what changed in them."""
    new = {n: t.model_copy(update=tasks.get(n, {})) for n, t in LOCK.tasks.items()}
    return LOCK.model_copy(update={"version": "1.1.0", "tasks": new})


def anchored(task, metric, **update):
    metrics = LOCK.tasks[task].metrics
    return {task: {"metrics": metrics | {metric: metrics[metric].model_copy(update=update)}}}


def test_kept_tasks_are_scored_by_the_new_anchors_and_pass_the_check(tmp_path):
    lock = raised(**anchored("ethanol_md", "distance_histogram_error", trivial=1.0))
    made, said = rescore(ENTRY, lock)
    old, new = (e.report.tasks["ethanol_md"].metrics["distance_histogram_error"] for e in (ENTRY, made))
    assert (new.values, new.trivial) == (old.values, 1.0)
    assert new.score == pytest.approx(np.clip((1.0 - new.value) / (1.0 - new.floor.median), 0, 1))
    assert any("distance_histogram_error: trivial" in line and "-> 1" in line for line in said)
    (tmp_path / "suites").mkdir()
    write_lock(lock, tmp_path / "suites")
    path = put(made.model_dump_json(), tmp_path / "entries")
    assert errors(check(path, entries=tmp_path / "entries", suites=tmp_path / "suites")) == []


def test_what_changed_its_meaning_has_to_be_run_again():
    with pytest.raises(ValueError, match="water_md: version 1 became 2; run it again"):
        rescore(ENTRY, raised(water_md={"version": "2"}))
    assert (
        rescore(ENTRY, raised(water_md={"version": "2"}), same=("water_md",))[0].report.tasks["water_md"].version == "2"
    )
    longer = LOCK.tasks["water_md"].parameters | {"length_ps": 4.0}
    with pytest.raises(ValueError, match="parameters changed"):
        rescore(ENTRY, raised(water_md={"parameters": longer}), same=("all",))
    with pytest.raises(ValueError, match="force_cosine: its definition changed"):
        rescore(ENTRY, raised(**anchored("ethanol_accuracy", "force_cosine", version="2")))
    other = LOCK.tasks["water_md"].dataset.model_copy(update={"content_sha256": "0" * 64})
    with pytest.raises(ValueError, match="its data changed"):
        rescore(ENTRY, raised(water_md={"dataset": other}))


def test_tasks_of_a_new_run_replace_the_old_ones():
    lock = raised(ethanol_accuracy={"version": "2"})
    new = ENTRY.report.tasks["ethanol_accuracy"].model_copy(update={"version": "2", "title": "theirs"})
    run = ENTRY.report.model_copy(update={"suite_version": "1.1.0", "tasks": {"ethanol_accuracy": new}})
    made, said = rescore(ENTRY, lock, run)
    assert "ethanol_accuracy: run again, score on the board 0.99" in "\n".join(said)
    assert made.report.tasks["ethanol_accuracy"].title == LOCK.tasks["ethanol_accuracy"].title
    assert set(made.report.tasks) == set(ENTRY.report.tasks)
    assert made.content_sha256 == made.hash()
    card = run.model.model_copy(update={"fingerprint": "other"})
    other = run.model_copy(update={"model": card, "models": dict.fromkeys(run.models, card)})
    with pytest.raises(ValueError, match="--trust"):
        rescore(ENTRY, lock, other)
    assert rescore(ENTRY, lock, other, trust=True)[0].report.model.fingerprint == "other"
    named = run.model_copy(update={"model": run.model.model_copy(update={"name": "schnet"})})
    with pytest.raises(ValueError, match="of the model 'painn 1'"):
        rescore(ENTRY, lock, named, trust=True)


def test_the_last_version_is_found_by_number(tmp_path):
    for version in ("1.0.0", "1.10.0", "1.9.0", "2.0.0"):
        write_lock(LOCK.model_copy(update={"version": version}), tmp_path)
    assert latest_before("mini", "2.0.0", tmp_path).version == "1.10.0"
    assert latest_before("mini", "1.0.0", tmp_path) is None


def test_rescore_as_typed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "leaderboard.check.lock.load_lock", lambda suite, version: raised() if version == "1.1.0" else None
    )
    path = put(ENTRY.model_dump_json(), tmp_path)
    assert command("leaderboard", "rescore", path, "--to", "1.1.0") == 0
    assert "1.0.0 -> 1.1.0" in capsys.readouterr().out
    assert Entry.model_validate_json(path.read_text()).report.suite_version == "1.1.0"
    assert command("leaderboard", "rescore", path, "--to", "9") == 2
