"""No crafted entry that passes the check has a higher score (5,000: `python -m tests.leaderboard.crafted`)."""

import random

import pytest

from leaderboard.check.check import check, errors
from leaderboard.entry.schema import Entry
from tests.leaderboard.board import FIXTURE, put
from tests.leaderboard.crafted import bases, consistent, run, scores


def test_no_crafted_entry_raises_a_score():
    found = run(250, seed=11)
    assert found["passed"] > 10  # the edits are not all so clumsy that nothing is tried
    assert found["rose"] == []
    assert found["overall"] == []


@pytest.mark.parametrize("k", range(3))
def test_what_it_starts_from_passes_and_is_its_own_consistent_form(k, tmp_path):
    base = bases()[k]
    assert errors(check(put(base, tmp_path, Entry.model_validate(base).key), entries=tmp_path, suites=FIXTURE)) == []
    before = scores(base)
    consistent(base)
    assert scores(base) == pytest.approx(before, abs=1e-9)


def test_the_tool_finds_a_score_that_rises(monkeypatch):
    """A forger who makes the values themselves better is found by it: the tool is not blind."""

    def better(entry, rng):
        for task in entry["report"]["tasks"].values():
            for m in task["metrics"].values():
                if m["better"] == "lower" and task["kind"] == "bsct":
                    m["values"] = [None if v is None else 0.5 * v for v in m["values"]]
        consistent(entry)
        return entry

    monkeypatch.setattr("tests.leaderboard.crafted.crafted", lambda base, rng: crafted_then(base, better, rng))
    monkeypatch.setattr("tests.leaderboard.crafted.errors", lambda found: [])
    assert run(1)["rose"]


def crafted_then(base, change, rng):
    import copy

    from tests.leaderboard.board import seal

    return seal(change(copy.deepcopy(base), random.Random(0)))
