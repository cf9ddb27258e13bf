"""Reports of schema version 1 load, keep their hash and are written as they were; new ones state intervals by field."""

import json

import pytest
from pydantic import ValidationError

from ffbench_eval.report import Interval, Metric, Report
from ffbench_eval.words import censored, interval_text, value_text
from leaderboard.entry.schema import ENTRIES, Entry
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def old():
    path = sorted(ENTRIES.glob("ffbench__painn/*/mini.json"))[0]
    return json.loads(path.read_text())


def test_an_entry_with_an_old_report_is_written_as_it_was(old):
    entry = Entry.model_validate_json(json.dumps(old), strict=True)
    assert entry.report.schema_version == "1"
    assert entry.report.hash() == old["report"]["content_sha256"]
    assert entry.hash() == old["content_sha256"]
    assert json.loads(entry.text()) == old
    assert json.loads(entry.report.model_dump_json()) == old["report"]


def test_a_new_report_states_method_and_censoring_and_comes_back_the_same(old, tmp_path):
    report = Report.model_validate(old["report"]).model_copy(update={"schema_version": "2"})
    path = report.to_json(tmp_path / "report.json")
    raw = json.loads(path.read_text())
    assert raw["schema_version"] == "2"
    again = Report.load(path)
    assert again == report.sealed()
    md = raw["tasks"]["ethanol_md"]["metrics"]
    assert "interval" not in md["stable_time"]
    assert "interval_note" not in md["stable_time"]
    time, fraction = md["stable_time"]["uncertainty"], md["stable_fraction"]["uncertainty"]
    assert time["method"] == "restricted_mean"
    assert fraction["method"] == "clopper_pearson"
    force = raw["tasks"]["ethanol_accuracy"]["metrics"]["force_mae"]["uncertainty"]
    assert force["method"] == "blocks"
    before = old["report"]["tasks"]["ethanol_accuracy"]["metrics"]["force_mae"]["interval"]
    assert [force["low"], force["high"]] == before


def test_both_forms_make_one_metric():
    plain = Metric(value=1.0, unit="ps", interval=(0.5, 1.5), interval_note="Student's t over replicas")
    typed = Metric(value=1.0, unit="ps", uncertainty=Interval.of((0.5, 1.5), "Student's t over replicas", "student"))
    assert plain == typed
    assert plain.interval == (0.5, 1.5)
    assert plain.model_copy(update={"interval": None}).interval is None
    assert plain.noted("more").interval_note == "Student's t over replicas; more"
    at_least = Metric(value=10.0, unit="ps", interval_note=">= 10 ps: no failure in 5 runs")
    assert censored(at_least)
    assert value_text(at_least) == ">= 10"
    said = Metric(value=10.0, unit="ps", uncertainty=Interval(reason=">= the limit of what is plotted"))
    assert not censored(said)  # a field says so, no word of a note
    assert interval_text(said).startswith("none:")


@pytest.mark.parametrize(
    "wrong",
    [
        {"low": 1.0},
        {"low": 1.0, "high": 2.0, "censored": True},
        {"method": "by eye"},
        {"low": float("nan"), "high": 1.0},
        {"ends": [1, 2]},
    ],
)
def test_an_interval_is_whole(wrong):
    with pytest.raises(ValidationError):
        Metric(value=1.0, unit="ps", uncertainty=wrong)


@pytest.mark.parametrize("ends", [[1.0], [1.0, None], [True, False], ["0", "1"], 3.0])
def test_an_old_interval_is_a_pair_of_numbers(ends):
    with pytest.raises(ValidationError):
        Metric(value=1.0, unit="ps", interval=ends, interval_note="")


def test_the_schema_of_entries_takes_both_forms():
    parts = json.loads((ROOT / "leaderboard" / "schema" / "entry.v1.schema.json").read_text())["$defs"]
    assert parts["Report"]["properties"]["schema_version"]["enum"] == ["1", "2"]
    assert {"interval", "interval_note", "uncertainty"} <= parts["Metric"]["properties"].keys()
    assert parts["Metric"]["additionalProperties"] is False
    assert parts["Metric"]["required"] == ["value", "unit"]  # neither form is asked for: a metric may have no interval
    assert parts["Interval"]["properties"].keys() == {"low", "high", "method", "censored", "reason"}
    assert "restricted_mean" in parts["Interval"]["properties"]["method"]["enum"]
