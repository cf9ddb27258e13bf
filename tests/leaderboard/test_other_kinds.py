"""A kind of another package on the board: by its specs where it is installed, as it is where it is not."""

import json

import pytest

from ffbench_eval.kinds import FROM_FILES, Kind, MetricSpec, find_metric, kind_of
from leaderboard.check.check import check, errors
from leaderboard.check.lock import load_lock
from leaderboard.site.build import build
from leaderboard.site.data import main_metric
from leaderboard.site.scoring import task_weights
from tests.leaderboard.board import FIXTURE, put, real_entry, seal

THEIRS = "curves_of_theirs"
TASK = "ethanol_bond_scans"


@pytest.fixture
def board(tmp_path):
    """An entry and a lock in which bond scans are another package's kind, with a metric of its own."""
    suites, entries = tmp_path / "suites", tmp_path / "entries"
    suites.mkdir()
    entry = real_entry()
    name = f"{entry['report']['suite']}-{entry['report']['suite_version']}.json"
    lock = json.loads((FIXTURE / name).read_text())
    own = {  # as reports of schema version 1 have it
        **{"value": 3.0, "unit": "furlong", "interval": [2.5, 3.5], "interval_note": "of their own", "n": 2},
        **{"better": "lower", "aggregate": "mean", "version": "1", "values": [2.0, 4.0]},
        **{"floor": None, "trivial": None, "score": None, "not_scored": ""},
    }
    for side in (lock["tasks"], entry["report"]["tasks"]):
        side[TASK]["kind"] = THEIRS
    entry["report"]["tasks"][TASK]["metrics"] = {"their_number": own}
    lock["tasks"][TASK] |= {"metrics": {"their_number": {"unit": "furlong", "better": "lower", "aggregate": "mean",
                            "version": "1", "n": 2}}, "molecules": [], "bond_types": [], "no_forces": {}}  # fmt: skip
    (suites / name).write_text(json.dumps(lock))
    entry = seal(entry)
    put(entry, entries)
    return entry, suites, entries


def task_page(board, out):
    _, suites, entries = board
    site = build(out, entries=entries, suites=suites)
    assert site.aside == {}
    return (out / "models" / "ffbench__painn__1.html").read_text(), next(out.glob(f"tasks/*{TASK}.html")).read_text()


def test_numbers_of_an_unknown_kind_are_shown_and_said_not_to_be_recomputed(board, tmp_path):
    entry, suites, entries = board
    found = check(put(entry, entries), entries=entries, suites=suites)
    assert errors(found) == []
    said = [f.message for f in found if TASK in f.path]
    assert any("a kind the board does not know" in m for m in said)
    assert any("1 values and 1 intervals are taken as reported" in m for m in said)
    model, page = task_page(board, tmp_path / "site")
    assert "their number" in model
    assert "3.00 furlong†" in model
    assert "their number (furlong)" in page


def test_a_mean_that_is_none_is_found_for_any_kind(board):
    entry, suites, entries = board
    entry["report"]["tasks"][TASK]["metrics"]["their_number"]["value"] = 3.3
    found = errors(check(put(seal(entry), entries), entries=entries, suites=suites))
    assert [f.path for f in found] == [f"$.report.tasks.{TASK}.metrics.their_number.value"]


def test_a_known_kind_of_another_package_works_by_its_specs(board, tmp_path, monkeypatch):
    spec = MetricSpec("their_number", "length of a curve", "furlong", low=0, ranked=True, columns={"": 0})
    kind = Kind(name=THEIRS, about="Their curves.", member="curve", members="curves", work="",
                metrics=(spec,), weight=3)  # fmt: skip
    monkeypatch.setitem(FROM_FILES, THEIRS, kind)
    entry, suites, entries = board
    lock = load_lock(entry["report"]["suite"], entry["report"]["suite_version"], suites)
    assert task_weights(lock, {})[TASK] == 3
    assert main_metric(lock.tasks[TASK]) == ["their_number"]
    assert errors(check(put(entry, entries), entries=entries, suites=suites)) == []
    model, page = task_page(board, tmp_path / "site")
    assert "length of a curve" in model
    assert "Their curves." in page
    (suite,) = (tmp_path / "site" / "suites").glob("*.html")
    assert "length of a curve (furlong)" in suite.read_text()  # a column of any theory
    front = (tmp_path / "site" / "index.html").read_text()
    assert "length of a curve, furlong" in front
    assert f'<span class="h">{kind.about_what}</span>' in front


def test_what_a_spec_says_of_parts():
    kind = kind_of("selective")
    names = ["augrc.test.probe", "augrc.ood.probe", "augrc.calibration.probe", "augrc.test.oracle", "aurc.test.probe"]
    assert kind.columns(names, "probe") == [
        "augrc.test.probe", "auroc.test.probe", "augrc.test.size_only", "prevalence.test",
    ]  # fmt: skip
    assert [n for n in names if kind.shows(n, "probe")] == ["augrc.test.probe", "augrc.ood.probe", "augrc.test.oracle"]
    assert kind.always_there("prevalence.test")
    assert kind.always_there("augrc.test.size_only")
    assert not kind.always_there("augrc.test.probe")
    assert find_metric("augrc.test.probe", "selective") == (kind.metrics[0], "test.probe")
