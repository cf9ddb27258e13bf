"""Entries of the board after an edit that its submitter could make by hand, with hashes and aggregates that fit."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from leaderboard.check.check import Finding, check, errors, known_entries
from leaderboard.check.lock import SuiteLock, load_lock
from leaderboard.check.recompute import RULES, UNKNOWN, aggregate, expected_score
from leaderboard.entry.schema import ENTRIES, Entry
from leaderboard.entry.submit import command_of
from leaderboard.site.data import Row, SuiteBoard, load_board
from tests.leaderboard.board import put

known = cache(known_entries)  # all of the board: seconds


def of_board(key: str) -> dict[str, Any]:
    """One of them."""
    return json.loads((ENTRIES / f"{key}.json").read_text())


def lock_of(entry: dict[str, Any]) -> SuiteLock:
    found = load_lock(entry["report"]["suite"], entry["report"]["suite_version"])
    assert found is not None
    return found


def edited(key: str, change) -> dict[str, Any]:
    """The entry ``key`` of the board after ``change(entry)``; nothing is invented: values are those that are left."""
    entry = of_board(key)
    change(entry)
    return fitting(entry)


def fitting(entry: dict[str, Any]) -> dict[str, Any]:
    lock, made = lock_of(entry), Entry.model_validate(entry)
    for task_name, task in made.report.tasks.items():
        for name, metric in task.metrics.items():
            values = [v for v in metric.values if v is not None]
            if metric.value is None or not values or metric.aggregate not in RULES:
                continue
            value, ends = aggregate(name, metric, values, task, lock.tasks[task_name].scans)
            raw = entry["report"]["tasks"][task_name]["metrics"][name]
            raw.update(value=value, score=expected_score(name, metric, value, task))
            if task.kind != "accuracy":
                raw["n"] = len(values)
            if ends is not UNKNOWN:
                reason = metric.interval_note or ("" if ends else "too few")
                for old in ("interval", "interval_note"):
                    raw.pop(old, None)
                low, high = ends or (None, None)
                raw["uncertainty"] = metric.uncertainty.model_dump() | {"low": low, "high": high, "reason": reason}
    made = Entry.model_validate(entry)
    made = made.model_copy(update={"command": command_of(made.report, lock), "report": made.report.sealed()})
    return json.loads(made.sealed().model_dump_json())


def findings(entry: dict[str, Any], folder, others: dict[str, Any] | None = None) -> list[Finding]:
    key = Entry.model_validate(entry).key
    beside = {k: v for k, v in (others or {}).items() if k != key}
    return check(put(entry, folder, key), entries=folder, others=beside)


def said(entry: dict[str, Any], folder, others: dict[str, Any] | None = None) -> list[str]:
    """Errors as "path message"."""
    return [f"{f.path} {f.message}" for f in errors(findings(entry, folder, others))]


def on_board(*entries: dict[str, Any]) -> tuple[SuiteBoard, dict[str, Row]]:
    (board,) = load_board([Entry.model_validate(e) for e in entries])
    return board, {r.entry.key: r for r in board.rows}


def null(metric: dict[str, Any]) -> None:
    """A number taken out, with a reason."""
    for old in ("interval", "interval_note"):
        metric.pop(old, None)
    gone = {"value": None, "score": None, "floor": None, "trivial": None, "n": 0, "not_scored": "it could not be asked"}
    metric.update(gone, values=[None] * len(metric["values"]), uncertainty={})
