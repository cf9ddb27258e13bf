"""Exports read back by huggingface-hub's own parsers, without a network."""

import re

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results

from leaderboard.check.lock import SuiteLock
from leaderboard.entry.schema import Entry
from leaderboard.site.hub import dataset_side, export, task_id
from leaderboard.site.scoring import score_task
from tests.leaderboard.board import FIXTURE, real_entry, seal

LOCK = SuiteLock.model_validate_json((FIXTURE / "mini-1.0.0.json").read_text())
ENTRY = Entry.model_validate(real_entry())


@pytest.fixture
def written(tmp_path, monkeypatch):
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *a: pytest.fail("the export used the network"))
    export(ENTRY, LOCK, tmp_path)
    return tmp_path


def test_results_round_trip_and_are_scores_where_higher_is_better(written):
    rows = parse_eval_result_entries(yaml.safe_load((written / ".eval_results/ffbench.yaml").read_text()))
    assert {r.task_id for r in rows} <= {task_id("mini", t) for t in ENTRY.report.tasks}
    by_id = {r.task_id: r for r in rows}
    water = by_id["mini_water_accuracy"]
    expected = score_task(
        "water_accuracy",
        ENTRY.report.tasks["water_accuracy"],
        LOCK.tasks["water_accuracy"],
        ENTRY.report.models["water"],
    )
    assert water.value == pytest.approx(100 * expected.value, abs=0.01)
    assert all(0 <= r.value <= 100 and r.source_url and r.dataset_id == "ffbench/ffbench" for r in rows)
    assert re.search(r"force MAE 0\.0\d+ eV/Å \(0\.0\d+ to 0\.0\d+\)", water.notes)
    assert by_id["mini_alanine_free_energy"].notes.startswith("indicative only")


def test_the_dates_stay_strings(written):
    rows = yaml.safe_load((written / ".eval_results/ffbench.yaml").read_text())
    assert all(isinstance(r["date"], str) for r in rows)


def test_model_index_round_trips_with_units_in_the_names(written):
    index = yaml.safe_load((written / "model-index.yaml").read_text())["model-index"]
    name, results = model_index_to_eval_results(index)
    assert name == "painn"
    found = {r.metric_name: r for r in results}
    mae = found["mini_water_accuracy: force MAE (eV/Å)"]
    assert mae.metric_value == pytest.approx(ENTRY.report.tasks["water_accuracy"].metrics["force_mae"].value, rel=1e-5)
    assert mae.dataset_type == "water"
    assert len(found) == len(results)


def test_the_data_set_side_names_every_task_once(written):
    side = yaml.safe_load((written / "eval.yaml").read_text())
    assert side == dataset_side(LOCK)
    ids = [t["id"] for t in side["tasks"]]
    assert len(set(ids)) == len(ids) == len(LOCK.tasks)
    exported = yaml.safe_load((written / ".eval_results/ffbench.yaml").read_text())
    assert {r["dataset"]["task_id"] for r in exported} <= set(ids)


def test_an_entry_without_scores_is_not_exported(tmp_path):
    raw = real_entry()
    for card in raw["report"]["models"].values():
        card["theory"] = "another"
    del raw["report"]["tasks"]["ethanol_nve"]  # a drift needs no theory
    with pytest.raises(ValueError, match="nothing to export"):
        export(Entry.model_validate(seal(raw)), LOCK, tmp_path)
