"""Crafted entries: several edits at once, hashes, values, intervals and scores made to fit, as a forger would who owns
this code but has run nothing again. No edit makes a member's value better: that is what a forger without samples has.

    python -m tests.leaderboard.crafted 5000     # how many pass the check, and whether any score rose
"""

from __future__ import annotations

import copy
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from leaderboard.check.check import check, errors
from leaderboard.check.lock import load_lock
from leaderboard.check.recompute import RULES, aggregate, expected_score
from leaderboard.entry.schema import Entry
from leaderboard.site.scoring import card_for, score_task, task_weights
from tests.leaderboard.board import FIXTURE, put, seal, varied, with_command

LOST = ("not_run", "out_of_memory", "harness_error", "model_error", "unsupported", "unstable")
LOCK = load_lock("mini", "1.0.0", FIXTURE)
Task = dict[str, Any]


def _metric(task: Task, rng: random.Random) -> tuple[str, dict[str, Any]]:
    name = rng.choice(list(task["metrics"]))
    return name, task["metrics"][name]


def lose_members(task: Task, rng: random.Random) -> None:
    """Members said to be lost; the values of the worst of them are left out, or all but the best ones."""
    share = rng.choice((0.2, 0.5, 0.8))
    for unit in task["units"]:
        n = len(unit["status"])
        for k in rng.sample(range(n), max(1, int(share * n))):
            unit["status"][k] = rng.choice(LOST)
    counts = {len(m["values"]) for m in task["metrics"].values() if m["values"]}
    for n in counts:
        lowest = rng.random() < 0.7
        mine = [m for m in task["metrics"].values() if len(m["values"]) == n]
        lead = rng.choice(mine)
        order = sorted(range(n), key=lambda k: (lead["values"][k] or 0.0) * (1 if lead["better"] == "lower" else -1))
        keep = set(order[: max(1, int((1 - share) * n))] if lowest else rng.sample(range(n), max(1, n // 2)))
        null = rng.random() < 0.5
        for m in mine:
            if null:
                m["values"] = [v if k in keep else None for k, v in enumerate(m["values"])]
            else:
                m["values"] = [v for k, v in enumerate(m["values"]) if k in keep]
            m["n"] = int(m["n"] * len(keep) / n)


def null_metrics(task: Task, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        _, m = _metric(task, rng)
        m.update(value=None, interval=None, score=None, floor=None, trivial=None, n=0, not_scored="not possible here")
        m["values"] = rng.choice(([], [None] * len(m["values"])))


def drop_metrics(task: Task, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        if len(task["metrics"]) > 1:
            task["metrics"].pop(_metric(task, rng)[0])


def drop_values(task: Task, rng: random.Random) -> None:
    _, m = _metric(task, rng)
    if m["values"]:
        k = max(range(len(m["values"])), key=lambda k: m["values"][k] or 0.0)
        if rng.random() < 0.5:
            m["values"].pop(k)
        else:
            m["values"][k] = None


def reorder(task: Task, rng: random.Random) -> None:
    for key in ("metrics", "parameters", "curves"):
        items = list(task[key].items())
        rng.shuffle(items)
        task[key] = dict(items)


def change_types(task: Task, rng: random.Random) -> None:
    for name, value in list(task["parameters"].items()):
        if isinstance(value, bool | str | dict | list) or value is None or rng.random() < 0.5:
            continue
        task["parameters"][name] = rng.choice((float(value), str(value), [value], bool(value)))


def move_anchors(task: Task, rng: random.Random) -> None:
    for m in task["metrics"].values():
        if m["trivial"] is not None and rng.random() < 0.8:
            m["trivial"] *= rng.choice((1.5, 100.0, 1e6, 0.5))
        if m["floor"] is not None and rng.random() < 0.8:
            m["floor"]["median"] *= rng.choice((1.5, 10.0))
            m["floor"]["p95"] = max(m["floor"]["p95"], m["floor"]["median"])
        if m["trivial"] is None and rng.random() < 0.1:
            m["trivial"] = 1e6


def move_headline(task: Task, rng: random.Random) -> None:
    if task["kind"] == "selective":
        task["headline"] = rng.choice(("oracle", "random", "mine", "probe", "size_only", "mixture", ""))


def narrow_intervals(task: Task, rng: random.Random) -> None:
    for m in task["metrics"].values():
        if m["interval"] and rng.random() < 0.7:
            m["interval"] = [m["value"], m["value"]]


def parameters_of_the_task(task: Task, rng: random.Random) -> None:
    for name in ("length_ps", "replicas", "coverage", "skip_ps"):
        value = task["parameters"].get(name)
        if isinstance(value, int | float) and rng.random() < 0.6:
            task["parameters"][name] = value * rng.choice((0.5, 2)) or 1


def units_of_the_task(task: Task, rng: random.Random) -> None:
    if rng.random() < 0.5:
        task["units"] = task["units"][: max(1, len(task["units"]) // 2)]
    for unit in task["units"]:
        if len(unit["status"]) > 1 and rng.random() < 0.5:
            unit["status"] = unit["status"][: rng.randint(1, len(unit["status"]))]


def counts_of_samples(task: Task, rng: random.Random) -> None:
    for m in task["metrics"].values():
        if rng.random() < 0.3:
            m["n"] = max(0, int(m["n"] * rng.choice((0, 0.5, 2, 10))))


def add_members(task: Task, rng: random.Random) -> None:
    """More members than the task has, as good as the best one; one that never ran, in a unit of its own."""
    n = sum(len(u["status"]) for u in task["units"])
    more = rng.randint(1, 2 * n)
    task["units"][0]["status"] += [rng.choice(("ok", "ok", "ok", "unstable"))] * more
    if rng.random() < 0.5:
        last = task["units"][0]["status"].pop()
        task["units"].append(task["units"][0] | {"status": [rng.choice(("not_run", last))], "address": "0" * 64})
        more -= 1
    for m in task["metrics"].values():
        known = [v for v in m["values"] if v is not None]
        if known and len(m["values"]) == n:
            best = max(known) if m["better"] == "higher" else min(known)
            whole = all(v == int(v) for v in known)
            m["values"] = m["values"] + [best if whole else best * (1 + 1e-9 * k) for k in range(more)]
            m["n"] = len(m["values"])


def warn_often(task: Task, rng: random.Random) -> None:
    """Metrics that the board does not know, each a warning: no number of them may hide an error."""
    if rng.random() < 0.9:  # they cost time
        return
    name, m = _metric(task, rng)
    task["metrics"] = {f"{name}_x{k}_unknown": m for k in range(250)} | task["metrics"]


EDITS = (
    *(lose_members, null_metrics, drop_metrics, drop_values, reorder, change_types, move_anchors, move_headline),
    *(narrow_intervals, parameters_of_the_task, units_of_the_task, counts_of_samples, add_members, warn_often),
)


def crafted(base: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A partial entry of one to three tasks after one to four edits in each, made consistent with high odds."""
    names = rng.sample(list(base["report"]["tasks"]), rng.randint(1, 3))
    tasks = {name: copy.deepcopy(base["report"]["tasks"][name]) for name in names}
    entry = base | {"report": base["report"] | {"tasks": tasks}}
    for name in names:
        for edit in rng.sample(EDITS, rng.randint(1, 4)):
            edit(tasks[name], rng)
    if rng.random() < 0.9:
        consistent(entry)
    try:
        return seal(with_command(entry))
    except ValueError:
        return seal(entry)


def consistent(entry: dict[str, Any]) -> None:
    """Values, intervals and scores worked out again from what the edits left."""
    for raw in entry["report"]["tasks"].values():
        states = [s for u in raw["units"] for s in u["status"]]
        ran = [s for s in states if s in ("ok", "unstable")]
        if raw["kind"] == "molecular_dynamics" and "stable_fraction" in raw["metrics"]:
            for name in ("stable_fraction", "stable_time"):
                m = raw["metrics"].get(name)
                if m and m["values"]:
                    m["values"] = m["values"][: len(ran)]
        for m in raw["metrics"].values():
            known = [v for v in m["values"] if v is not None]
            if known and raw["kind"] not in ("accuracy", "selective"):
                m["n"] = len(known)
    try:
        built = Entry.model_validate(entry)
    except ValueError:
        return
    for task_name, task in built.report.tasks.items():
        scans = LOCK.tasks[task_name].scans
        for name, metric in task.metrics.items():
            raw = entry["report"]["tasks"][task_name]["metrics"][name]
            known = [v for v in metric.values if v is not None]
            if metric.value is None or metric.aggregate not in RULES or (metric.values and not known):
                continue
            try:
                value, interval = (metric.value, metric.interval)
                if known:
                    value, interval = aggregate(name, metric, known, task, scans)
                raw.update(value=value, interval=interval, score=expected_score(name, metric, value, task))
                if interval is None and not raw["interval_note"]:
                    raw["interval_note"] = "none"
            except (KeyError, ValueError, ZeroDivisionError, OverflowError):
                continue


def scores(entry: dict[str, Any]) -> dict[str, float]:
    """Score by task."""
    made = Entry.model_validate(entry)
    found = {}
    for name, task in made.report.tasks.items():
        locked = LOCK.tasks[name]
        found[name] = score_task(name, task, locked, card_for(made.report, locked.dataset.name, locked.dataset.config))
    return {n: s.value for n, s in found.items() if s.value is not None}


def mean(found: dict[str, float], tasks: set[str]) -> float:
    """The weighted mean over ``tasks``, as the board ranks by."""
    weights = task_weights(LOCK)
    total = sum(weights[t] for t in tasks)
    return sum(weights[t] * found[t] for t in tasks) / total if total else 0.0


def bases() -> list[dict[str, Any]]:
    """Entries to start from: good and bad ones, without curves, which no score uses."""
    out = [varied(seed) for seed in (1, 2, 3)]
    for entry in out:
        for task in entry["report"]["tasks"].values():
            task["curves"] = {}
        seal(entry)
    return out


def run(count: int, seed: int = 0) -> dict[str, Any]:
    """How many of ``count`` crafted entries pass the check, and every score that rose by more than rounding."""
    rng = random.Random(seed)
    starts = [(b, scores(b)) for b in bases()]
    passed, rose, whole = 0, [], []
    with tempfile.TemporaryDirectory() as folder:
        for k in range(count):
            base, before = starts[k % len(starts)]
            entry = crafted(base, rng)
            path = put(json.dumps(entry), Path(folder), f"{base['org']}__{base['model']}/{base['version']}/mini")
            if errors(check(path, entries=Path(folder), suites=FIXTURE, others={})):
                continue
            passed += 1
            after = scores(entry)
            rose += [(k, n, before[n], v) for n, v in after.items() if v > before.get(n, 0.0) + 1e-7]
            if mean(after, set(after)) > mean(before, set(after)) + 1e-7:
                whole.append((k, mean(before, set(after)), mean(after, set(after))))
    return {"crafted": count, "passed": passed, "rose": rose, "overall": whole}


if __name__ == "__main__":
    found = run(int(sys.argv[1]) if len(sys.argv) > 1 else 5000, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(json.dumps(found, indent=1))
    sys.exit(bool(found["rose"] or found["overall"]))
