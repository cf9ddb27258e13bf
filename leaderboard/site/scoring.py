"""Scores, their uncertainty and ranks. A score is 1 at the noise floor and 0 at a trivial baseline.

What a score is made of comes from the suite's lock: anchors, how many members a task has, its length, its parameters.
An entry gives the members' values and states, nothing else. What is missing is never neutral.

- A member (replica, scan, block of frames) scores max(0, (trivial - value) / (trivial - floor)); one that was lost, or
  that has no value, scores 0. A metric scores the mean over all members of the task, at most 1.
- Accuracy and bond scans: the mean over the anchored metrics. Errors on given frames can be 0: that is their floor.
- Molecular dynamics: the mean share of the time that can be trusted, times the mean over the anchored observables, in
  which every replica weighs its trusted time (observables only see the stable part).
- Selective classification: AUGRC of the entry's headline source on the test part, 1 at the oracle's and 0 at chance,
  times the share of the cases that were answered.
- Overall: the weighted mean over the suite's tasks (``weights.yaml``).
- Uncertainty: members are drawn with replacement, the same draw for every model, deviations widened by
  sqrt(n / (n - 1)). Few equal values are no certainty: observables carry the scatter that runs of the truth have among
  each other, shares of time the uncertainty of a share that was seen n times, one member says nothing.
- A model ranks behind those that beat it in 97.5 % of the draws; others tie. Only models that ran the same tasks are
  ranked with each other.

- Another level of theory than the data's: no score, since errors and observables are then no errors of the model.
  What needs no theory (`leaderboard.site.pairs`) is ranked among all models, metric by metric.

What did not run at all has no score: it is never a zero.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ffbench_eval.kinds import kind_of
from ffbench_eval.kinds.statistics import BLOCK
from ffbench_eval.report import Metric, ModelCard, Report, TaskReport, same_theory

from ..check.lock import MetricLock, SuiteLock, TaskLock
from ..check.members import size
from ..check.recompute import rules_of
from ..entry.schema import ROOM

DRAWS = 1000
SURE = 0.025  # a model beats another if the other is better in less than this share of the draws
LOST = ("harness_error", "out_of_memory", "model_error", "unsupported", "not_run")


@dataclass(frozen=True)
class Score:
    """``value`` is None with the ``state`` as its reason; ``draws`` [DRAWS] are bootstrap repetitions."""

    value: float | None
    state: str
    interval: tuple[float, float] | None = None
    draws: np.ndarray | None = field(default=None, repr=False, compare=False)
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Rank:
    """Place among ``of`` models that have these ``tasks``; ``low`` to ``high`` is the 95 % interval of the place.

    ``level``: 1 for the best and all it does not beat, and so on: how many models are really apart.
    """

    score: float
    interval: tuple[float, float]
    rank: int
    low: int
    high: int
    tied: bool
    of: int
    tasks: tuple[str, ...]
    level: int = 1


@cache
def read_yaml(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))


def task_weights(lock: SuiteLock, rules: dict[str, Any] | None = None) -> dict[str, float]:
    """Weight of every task of a suite; ValueError for a negative one."""
    rules = rules if rules is not None else read_yaml(ROOM / "weights.yaml")
    out = {}
    for name, task in lock.tasks.items():
        usual = 0 if task.indicative else (rules.get("kinds") or {}).get(task.kind, kind_of(task.kind).weight)
        weight = (rules.get("tasks") or {}).get(name, usual)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise ValueError(f"weights: {name}: {weight!r} is not a number of at least 0")
        out[name] = float(weight)
    return out


def card_for(report: Report, dataset: str, config: str) -> ModelCard:
    return report.models.get(f"{dataset}:{config}") or report.models.get(dataset) or report.model


def score_task(name: str, task: TaskReport, locked: TaskLock, card: ModelCard) -> Score:
    """The score of one task, or why there is none."""
    state = state_of(task)
    if not any(m.value is not None for m in task.metrics.values()):
        return Score(None, state if state != "ok" else "not_scored")
    kind = kind_of(locked.kind)
    if kind.compares(locked.parameters) and not same_theory(card.theory, locked.theory):
        return Score(None, "different_theory")
    if kind.time:
        return _dynamics(name, task, locked, state)
    if kind.leads:
        return _selective(task, locked, state)
    return _errors(name, task, locked, state)


def _errors(name: str, task: TaskReport, locked: TaskLock, state: str) -> Score:
    """Errors on given frames or scans: the mean over all members that the task has."""
    parts, drawn = {}, []
    for key, anchor in anchored(locked).items():
        members = _members(task, locked, key, anchor)
        if members is None:
            return Score(None, state if state != "ok" else "not_scored")
        parts[key], draws = _mean_score(members, _draw(name, len(members)))
        drawn.append(draws + _scatter(anchor, members, task.metrics.get(key)))
    if not parts:
        return Score(None, "not_scored" if state == "ok" else state)
    return _score(float(np.mean(list(parts.values()))), np.clip(np.mean(drawn, axis=0), 0, 1), state, parts)


def _members(task: TaskReport, locked: TaskLock, key: str, anchor: MetricLock) -> np.ndarray | None:
    """[N] score of every member that the task has, 0 for those without a value; None if N is not known."""
    metric = task.metrics.get(key)
    known = [] if metric is None or metric.value is None else [v for v in metric.values if v is not None]
    scores = _scale(np.array(known, float), anchor)
    if kind_of(locked.kind).frames:
        if not anchor.n:
            return None
        blocks = max(1, min(anchor.n, max(2, anchor.n // BLOCK)))
        out = np.zeros(max(blocks, len(scores)))
        answered = min(1.0, (metric.n if metric else 0) / anchor.n, len(scores) / blocks)  # no block is left out
        if len(scores):
            out[: len(scores)] = scores * answered * len(out) / len(scores)
        return out
    count = anchor.n if rules_of(locked.kind).each else size(locked) or anchor.n
    if not count:
        return None
    out = np.zeros(max(count, len(scores)))
    if metric is not None and len(metric.values) == count:  # each member keeps its place: draws are the same for all
        out[[k for k, v in enumerate(metric.values) if v is not None]] = scores
    else:
        out[: len(scores)] = scores
    return out


def _scale(values: np.ndarray, anchor: MetricLock) -> np.ndarray:
    assert anchor.trivial is not None
    floor = anchor.floor.median if anchor.floor else 0.0
    scores = np.maximum(0.0, (anchor.trivial - values) / (anchor.trivial - floor))
    return scores if anchor.floor else np.minimum(scores, 1.0)  # no error is better than none


def _dynamics(name: str, task: TaskReport, locked: TaskLock, state: str) -> Score:
    """The trusted share of the time, times what the observables of that time are worth."""
    whole, count = float(locked.parameters["length_ps"]), size(locked)
    if not locked.metrics or count is None:
        return Score(None, "not_scored" if state == "ok" else state)
    times = kind_of(locked.kind).time
    named = next((t for t in times if t in locked.metrics), times[-1])
    metric = task.metrics.get(named)
    values = [] if metric is None or metric.value is None else [v or 0.0 for v in metric.values]
    share = np.zeros(max(count, len(values)))
    share[: len(values)] = np.clip(np.array(values, float) / whole, 0, 1)
    pick = _draw(name, len(share))
    time, time_draws = _mean_score(share, pick)
    low, high = _unseen(name, len(share))
    parts, drawn = {named: time}, []
    for key, anchor in anchored(locked).items():
        found = task.metrics.get(key)
        scores = np.zeros(len(share))
        listed = [] if found is None or found.value is None else found.values[: len(share)]
        for k, v in enumerate(listed):
            scores[k] = 0.0 if v is None else float(_scale(np.array(v, float), anchor))
        parts[key], draws = _mean_score(scores, pick, share)
        drawn.append(draws + _scatter(anchor, scores, found))
    worth = float(np.mean([v for k, v in parts.items() if k != named])) if drawn else 1.0
    spread = np.clip(np.mean(drawn, axis=0), 0, 1) if drawn else 1.0
    time_draws = time_draws * (1 - low) + (1 - time_draws) * high
    return _score(time * worth, np.clip(time_draws, 0, 1) * spread, state, parts)


def _unseen(name: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """What a share of 1 may still hide, and one of 0: n members seen leave Beta(1/2, n + 1/2), for all models alike."""
    rng = np.random.default_rng(zlib.crc32(f"{name} unseen".encode()))
    return rng.beta(0.5, n + 0.5, DRAWS), rng.beta(0.5, n + 0.5, DRAWS)


def _scatter(anchor: MetricLock, scores: np.ndarray, metric: Metric | None) -> np.ndarray:
    """[DRAWS] of the noise that even runs of the truth have among each other: no few values are surer than those."""
    known = int(np.count_nonzero(scores))
    if anchor.floor is None or not known or metric is None:
        return np.zeros(DRAWS)
    assert anchor.trivial is not None
    one = (anchor.floor.p95 - anchor.floor.median) / 1.645 / (anchor.trivial - anchor.floor.median)
    rng = np.random.default_rng(zlib.crc32(repr(sorted(v or 0.0 for v in metric.values)).encode()))  # models apart
    return max(0.0, one) / math.sqrt(known) * rng.normal(size=DRAWS)


def _draw(name: str, n: int) -> np.ndarray:
    """[DRAWS, n] members drawn with replacement, the same for every model."""
    return np.random.default_rng(zlib.crc32(name.encode())).integers(0, max(1, n), (DRAWS, max(1, n)))


def _mean_score(scores: np.ndarray, pick: np.ndarray, weight: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """The (weighted) mean of member scores, at most 1, and its draws; one member alone leaves everything possible."""
    n = len(scores)
    weight = np.ones(n) if weight is None else weight
    if not weight.sum() > 0:
        return 0.0, np.zeros(len(pick))
    mean = float(np.clip((scores * weight).sum() / weight.sum(), 0, 1))
    if n < 2:
        return mean, np.random.default_rng(zlib.crc32(repr(scores.tolist()).encode())).random(len(pick))
    total = weight[pick].sum(1)
    drawn = np.divide((scores * weight)[pick].sum(1), total, out=np.zeros(len(pick)), where=total > 0)
    return mean, np.clip(mean + (np.minimum(drawn, 1) - mean) * widening(n), 0, 1)


def widening(n: int) -> float:
    """How much wider than its draws the error of a mean of n members is: sqrt(n / (n - 1)).

    >>> widening(2) ** 2
    2.0000000000000004
    """
    return math.sqrt(n / (n - 1))


def headline(task: TaskReport) -> str:
    """The confidence source that stands for a model in a selective task; empty if it names none that may."""
    return task.headline if task.headline in kind_of(task.kind).leads else ""


def _selective(task: TaskReport, locked: TaskLock, state: str) -> Score:
    """From AUGRC and the share that failed alone: chance is half that share, the oracle half its square."""
    name = f"augrc.test.{headline(task)}"
    m, base = task.metrics.get(name), task.metrics.get("prevalence.test")
    if m is None or base is None or m.value is None or base.value is None or not 0 < base.value < 1:
        return Score(None, "not_scored" if state == "ok" else state)
    e = base.value
    cases = locked.metrics.get("prevalence.test")
    answered = min(1.0, base.n / cases.n) if cases is not None and cases.n else 1.0
    slope = 2 / (e * (1 - e))
    score = answered * float(np.clip(slope * (e / 2 - m.value), 0, 1))
    stated = 0.0 if m.interval is None else slope * (m.interval[1] - m.interval[0]) / 3.92
    width = max(stated, 2 * _auroc_error((score + 1) / 2, e, base.n))
    seed = zlib.crc32(repr((name, m.value)).encode())  # models are drawn apart
    draws = np.clip(score + width * np.random.default_rng(seed).normal(size=DRAWS), 0, 1)
    return _score(score, draws, state, {name: score})


def _auroc_error(auroc: float, e: float, n: int) -> float:
    """Standard error of an area from n independent cases (Hanley and McNeil 1982): no stated interval is surer."""
    failed = max(1.0, round(e * n))
    good = max(1.0, n - failed)
    q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    spread = auroc * (1 - auroc) + (failed - 1) * (q1 - auroc**2) + (good - 1) * (q2 - auroc**2)
    return math.sqrt(max(spread, 0.25 / max(failed, good)) / (failed * good))


def _score(value: float, draws: np.ndarray, state: str, parts: dict[str, float]) -> Score:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Score(value, state, (float(min(low, value)), float(max(high, value))), draws, parts)


def anchored(locked: TaskLock) -> dict[str, MetricLock]:
    """Metrics with a trivial baseline and a floor; errors on given frames can be 0."""
    out = {}
    for name, m in locked.metrics.items():
        if m.better == "neither" or m.trivial is None:
            continue
        floor = m.floor.median if m.floor else 0.0
        if (m.floor is not None or kind_of(locked.kind).given) and m.trivial > floor:
            out[name] = m
    return out


def state_of(task: TaskReport) -> str:
    """One word for a task: the worst that happened to its members, with instability seen in the numbers too."""
    states = set(task.states)
    fraction = task.metrics.get("stable_fraction")
    if fraction is not None and fraction.value is not None and fraction.value < 1:
        states.add("unstable")
    for state in LOST:
        if state in states:
            return state if states == {state} else f"partly {state}"
    return "unstable" if "unstable" in states else "ok"


def rank(scores: dict[str, dict[str, Score]], weights: dict[str, float]) -> dict[str, Rank]:
    """Ranks of models by name, among those with scores for the very same tasks.

    ``scores[model][task]``; tasks of weight 0 do not count.
    """
    counted = [t for t, w in weights.items() if w > 0]
    groups: dict[tuple[str, ...], list[str]] = {}
    for model, mine in scores.items():
        tasks = tuple(t for t in counted if t in mine and mine[t].value is not None)
        if tasks:
            groups.setdefault(tasks, []).append(model)
    return {m: r for tasks, models in groups.items() for m, r in _places(models, tasks, scores, weights).items()}


def _places(models: list[str], tasks: tuple[str, ...], scores: Any, weights: Mapping[str, float]) -> dict[str, Rank]:
    share = np.array([weights[t] for t in tasks])
    share = share / share.sum()
    value = np.array([[scores[m][t].value for t in tasks] for m in models]) @ share
    draws = np.array([[scores[m][t].draws for t in tasks] for m in models]).transpose(0, 2, 1) @ share  # [M, DRAWS]
    wins = np.array([[surely(a - b) for b in draws] for a in draws])  # [M, M]
    beaten, beats = wins.sum(0), wins.sum(1)
    place = 1 + (draws[:, None] < draws[None]).sum(1)  # [M, DRAWS]
    low, high = np.quantile(place, [0.025, 0.975], axis=1, method="nearest")
    ends = np.quantile(draws, [0.025, 0.975], axis=1)
    level = levels(value, wins)
    return {
        m: Rank(
            score=float(value[k]),
            interval=(float(min(ends[0, k], value[k])), float(max(ends[1, k], value[k]))),
            rank=1 + int(beaten[k]),
            low=int(min(low[k], 1 + beaten[k])),
            high=int(max(high[k], 1 + beaten[k])),
            tied=bool(beaten[k] + beats[k] < len(models) - 1),
            of=len(models),
            tasks=tasks,
            level=level[k],
        )
        for k, m in enumerate(models)
    }


def surely(difference: np.ndarray) -> bool:
    """Whether a difference is above 0 in 97.5 % of its draws.

    >>> draws = np.arange(1000)
    >>> surely(draws - 24.5), surely(draws - 25.5)
    (True, False)
    """
    return bool(np.mean(difference > 0) >= 1 - SURE)


def levels(value: np.ndarray, wins: np.ndarray) -> list[int]:
    """Levels of models that are really apart: one begins with the best model that the leader of the last one beats."""
    order = np.argsort(-value, kind="stable")
    out, leader, level = [0] * len(value), None, 0
    for k in order:
        if leader is None or wins[leader, k]:
            leader, level = k, level + 1
        out[k] = level
    return out
