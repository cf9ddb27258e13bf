"""The front page: columns from the suites that entries have, for kinds that nobody here has heard of."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ffbench_eval.kinds import FROM_FILES, Kind, MetricSpec
from ffbench_eval.report import Interval, Metric
from leaderboard.check.lock import load_lock
from leaderboard.entry.schema import Entry
from leaderboard.site import front as front_page
from leaderboard.site.data import Row, SuiteBoard, load_board
from leaderboard.site.front import Model, front, headings, key_of, unscored
from leaderboard.site.scoring import Rank, Score
from tests.leaderboard.board import FIXTURE, real_entry, varied

TASK = "ethanol_md"


def measured(value, unit="1", better="lower"):
    half = Interval(low=0.9 * value, high=1.1 * value, method="student")
    return Metric(value=value, unit=unit, better=better, n=3, values=[value] * 3, uncertainty=half)


def board_of(kind: Kind, metrics: list[dict[str, float]], monkeypatch) -> SuiteBoard:
    """A suite of one task of ``kind``, with an entry of a universal model for each row of metrics."""
    monkeypatch.setitem(FROM_FILES, kind.name, kind)
    lock = load_lock("mini", "1.0.0", FIXTURE)
    locked = lock.tasks[TASK].model_copy(update={"kind": kind.name, "metrics": {}})
    lock = lock.model_copy(update={"suite": "theirs", "tasks": {TASK: locked}})
    rows = []
    for k, values in enumerate(metrics):
        entry = Entry.model_validate(real_entry())
        task = entry.report.tasks[TASK].model_copy(
            update={"kind": kind.name, "metrics": {name: measured(v) for name, v in values.items()}, "curves": {}}
        )
        report = entry.report.model_copy(update={"suite": "theirs", "tasks": {TASK: task}, "models": {}})
        entry = entry.model_copy(update={"model": f"model-{k}", "report": report})
        rows.append(Row(entry, {TASK: Score(None, "not_scored")}, None, "self-reported", False))
    return SuiteBoard(lock, {TASK: 0.0}, rows, [])


def kind(**more) -> Kind:
    return Kind(name="of_theirs", about="Theirs.", member="m", members="ms", work="", theory=False, **more)


def test_limits_make_a_share_of_checks(monkeypatch):
    specs = (MetricSpec("gap", "gap", "1", limit=1.0), MetricSpec("jump", "jump", "1", limit=1.0))
    board = board_of(kind(metrics=specs, subject="their law"), [{"gap": 0.5, "jump": 2.0}, {"gap": 0.1}], monkeypatch)
    (table,) = front([board])
    (head,) = [h for h in table.heads if h.shown]
    assert head.title == "their law"
    assert [str(c.text) for c in head.cells.values()] == ["1 of 2", "1 of 1"]  # of those that have a value
    assert [float(c.sort) for c in head.cells.values()] == [0.5, 1.0]
    assert [str(unscored(board, row, TASK).text) for row in board.rows] == ["1 of 2", "1 of 1"]
    assert head.link == f"suites/{key_of(board)}.html"


def test_what_has_neither_score_nor_place_nor_limit_is_shown_as_it_is(monkeypatch):
    specs = (MetricSpec("chi", "off by errors", "1", columns={"": 0}), MetricSpec("other", "other", "1"))
    board = board_of(kind(metrics=specs, subject="water"), [{"chi": 6.7, "other": 1}, {"chi": 2.5}], monkeypatch)
    (table,) = front([board])
    (head,) = [h for h in table.heads if h.shown]
    assert (head.title, head.what) == ("water", "↓ off by errors; ethanol md (theirs)")
    assert [float(c.sort) for c in head.cells.values()] == [6.7, 2.5]
    assert all("--l" in c.drawn for c in head.cells.values())  # with its interval


def test_metrics_of_one_theory_alone_are_no_column():
    """FSD is ranked within a level of theory, and never stands without the force error."""
    entries = [Entry.model_validate(varied(k)) for k in range(3)]
    heads = [h for t in front(load_board(entries, suites=FIXTURE)) for h in t.heads]
    assert any("spurious extrema" in h.what for h in heads)
    assert not any("FSD" in h.what for h in heads)


def rows_of(scores: list[float], levels: list[int]) -> list[Row]:
    entry = Entry.model_validate(real_entry())
    out = []
    for k, (score, level) in enumerate(zip(scores, levels, strict=True)):
        rank = Rank(score, (score, score), k + 1, k + 1, k + 1, False, len(scores), ("a",), level)
        named = entry.model_copy(update={"model": f"model-{k}"})
        out.append(Row(named, {"a": Score(score, "ok", draws=np.full(3, score))}, rank, "self-reported", False))
    return out


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([1] * 7, ["its one task, none surely better"]),
        ([1, 1, 1, 2, 2, 2, 3], [f"its one task, level {k} of 3" for k in (1, 2, 3)]),
        ([1, 2, 3], ["its one task, 3 levels"]),
        ([1], ["its one task"]),
    ],
)
def test_many_models_stand_under_headings_not_at_one_place(levels, expected):
    lock = load_lock("mini", "1.0.0", FIXTURE)
    board = SuiteBoard(lock, {"a": 1.0}, rows_of(list(np.linspace(1, 0, len(levels))), levels), [])
    found = headings(board)
    assert [heading for heading, _ in found] == expected
    names = [row.entry.model for _, rows in found for row in rows]
    assert names == [f"model-{k}" for k in range(len(levels))]


def test_a_model_is_one_line_whatever_suites_it_ran():
    entry = Entry.model_validate(real_entry())
    (board,) = load_board([entry], suites=FIXTURE)
    later = replace(board, lock=board.lock.model_copy(update={"version": "2.0.0"}))
    (table,) = front([board, later])
    (model,) = table.models
    assert isinstance(model, Model)
    assert len(model.rows) == 2
    assert model.done == 2 * sum(
        any(m.value is not None for m in t.metrics.values()) for t in entry.report.tasks.values()
    )


def test_further_right_is_better_whatever_the_metric():
    """The best of a column stands rightmost: 1 of 1, 2, 10 where lower is better, 10 where higher is."""
    axis = front_page._axis([1.0, 2.0, 10.0])

    def at(value, better):
        drawn = str(front_page._drawn(value, (0.9 * value, 1.1 * value), axis, better))
        return [int(part) for part in re.findall(r"--[xlw]:(-?\d+)", drawn)]

    for better, order in (("lower", (10.0, 2.0, 1.0)), ("higher", (1.0, 2.0, 10.0))):
        placed = [at(v, better) for v in order]
        assert placed == sorted(placed, key=lambda p: p[0])
        assert all(width >= 0 and left <= x <= left + width + 1 for x, left, width in placed)
