"""Scores, their uncertainty and ranks. A score is 1 at the noise floor and 0 at a trivial baseline.

- A metric's score: clip((trivial - value) / (trivial - floor), 0, 1) with the anchors of the report, which the suite's
  lock fixes; exact answers are possible for errors on given frames, so their floor is 0.
- A task's score: the mean over its anchored metrics; in molecular dynamics times the stable share of the time, because
  observables only see the stable part.
- Selective classification: AUGRC of the model's best kind of confidence on the test part, 1 at the oracle's and 0 at
  chance; its draws are normal with the width of its interval.
- Overall: the weighted mean over the suite's tasks (``weights.yaml``).
- Uncertainty: members (replicas, scans, blocks of frames) are drawn with replacement, the same draw for every model,
  deviations widened by sqrt(n / (n - 1)). A model ranks behind those that beat it in 97.5 % of the draws; others tie.

- Another level of theory than the data's: no score, since errors and observables are then no errors of the model.
  Stability, drift, smoothness and speed (`NO_THEORY`) are ranked among all models, metric by metric.

What did not run has no score: it is never a zero.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ffbench_eval.report import Metric, ModelCard, Report, TaskReport, same_theory

from .entry import ROOM
from .lock import SuiteLock, TaskLock

DRAWS = 1000
NO_THEORY = {  # metrics that need no level of theory, by kind of task; in this order in tables
    "molecular_dynamics": ("stable_time", "energy_drift"),
    "bsct": ("fsd", "spurious_extrema"),
    "speed": ("steps_per_kernel",),
}
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
    """Place among ``of`` models on ``tasks``; ``low`` to ``high`` is the 95 % interval of the place."""

    score: float
    interval: tuple[float, float]
    rank: int
    low: int
    high: int
    tied: bool
    of: int
    tasks: tuple[str, ...]


@cache
def read_yaml(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8"))


def task_weights(lock: SuiteLock, rules: dict[str, Any] | None = None) -> dict[str, float]:
    """Weight of every task of a suite; ValueError for a negative one."""
    rules = rules if rules is not None else read_yaml(ROOM / "weights.yaml")
    out = {}
    for name, task in lock.tasks.items():
        usual = 0 if task.indicative else (rules.get("kinds") or {}).get(task.kind, 1)
        weight = (rules.get("tasks") or {}).get(name, usual)
        if not isinstance(weight, int | float) or weight < 0:
            raise ValueError(f"weights: {name}: {weight!r} is not a number of at least 0")
        out[name] = float(weight)
    return out


def card_for(report: Report, dataset: str, config: str) -> ModelCard:
    return report.models.get(f"{dataset}:{config}") or report.models.get(dataset) or report.model


def score_task(name: str, task: TaskReport, theory: str, card: ModelCard) -> Score:
    """The score of one task, or why there is none."""
    state = state_of(task)
    if not any(m.value is not None for m in task.metrics.values()):
        return Score(None, state)
    comparable = same_theory(card.theory, theory) or not _needs_theory(task)
    length = max((len(m.values) for m in task.metrics.values()), default=0)
    pick = np.random.default_rng(zlib.crc32(name.encode())).integers(0, max(1, length), (DRAWS, max(1, length)))
    anchored = _anchored(task) if comparable else {}
    parts, drawn = {}, []
    for key, (metric, floor, trivial) in anchored.items():
        value, draws = _mean(metric, pick)
        parts[key] = float(np.clip((trivial - value) / (trivial - floor), 0, 1))
        drawn.append(np.clip((trivial - draws) / (trivial - floor), 0, 1))
    time = task.metrics.get("stable_time")
    if time is not None and time.value is not None:
        whole = float(task.parameters["length_ps"])
        if not comparable:
            return Score(None, "different_theory", parts={"stable_time": _mean(time, pick)[0] / whole})
        trusted = task.metrics.get("trusted_time")
        named, time = ("trusted_time", trusted) if trusted and trusted.value is not None else ("stable_time", time)
        value, draws = _mean(time, pick)
        score = value / whole * float(np.mean(list(parts.values()) or [1.0]))
        total = np.clip(draws / whole, 0, 1) * (np.mean(drawn, axis=0) if drawn else 1.0)
        return _score(score, total, state, {named: value / whole, **parts})
    if not comparable:
        return Score(None, "different_theory")
    if task.kind == "selective":
        return _selective(task, state)
    if not parts:
        known = {k: m.score for k, m in task.metrics.items() if m.score is not None}
        if not known:
            return Score(None, "not_scored" if state == "ok" else state)
        score = float(np.mean(list(known.values())))
        return _score(score, np.full(DRAWS, score), state, known)
    return _score(float(np.mean(list(parts.values()))), np.mean(drawn, axis=0), state, parts)


def _needs_theory(task: TaskReport) -> bool:
    """Whether a task compares with labels or a reference simulation: speed and energy drift do not."""
    if task.kind == "molecular_dynamics":
        observables = task.parameters.get("observables")
        return observables is None or not set(observables) <= {"energy_drift", "temperature"}
    return task.kind != "speed"


def metric_places(task: str, name: str, reports: dict[str, TaskReport]) -> dict[str, tuple[int, bool]]:
    """(place, tied) by model in one metric, by the same bootstrap as scores.

    Without a place: models of which members were lost, and, but for the stable time, unstable ones.
    """
    found: dict[str, np.ndarray] = {}
    for model, report in reports.items():
        metric, state = report.metrics.get(name), state_of(report)
        if metric is None or metric.value is None or not any(v is not None for v in metric.values):
            continue
        if state == "ok" or (state == "unstable" and name == "stable_time"):
            length = len(metric.values)
            pick = np.random.default_rng(zlib.crc32(task.encode())).integers(0, length, (DRAWS, length))
            sign = -1.0 if metric.better == "lower" else 1.0
            found[model] = sign * _mean(metric, pick)[1]
    if not found:
        return {}
    draws = np.array(list(found.values()))
    beaten = [int((np.quantile(draws - row, 0.025, axis=1) > 0).sum()) for row in draws]
    beats = [int((np.quantile(row - draws, 0.025, axis=1) > 0).sum()) for row in draws]
    return {m: (1 + beaten[k], beaten[k] + beats[k] < len(draws) - 1) for k, m in enumerate(found)}


def lead_source(task: TaskReport | TaskLock) -> str:
    """The confidence source that stands for a model in a selective task: the one all scores are given for."""
    return next((n.split(".")[2] for n in task.metrics if n.startswith("aurc.test.")), "")


def _selective(task: TaskReport, state: str) -> Score:
    name = f"augrc.test.{lead_source(task)}"
    m = task.metrics.get(name)
    if m is None or m.score is None or m.value is None:
        return Score(None, "not_scored" if state == "ok" else state)
    draws = np.full(DRAWS, m.score)
    if m.interval is not None and m.score > 0 and m.trivial is not None:
        slope = m.score / (m.trivial - m.value)
        width = slope * (m.interval[1] - m.interval[0]) / 3.92
        seed = zlib.crc32(repr((name, m.value)).encode())  # models are drawn apart
        draws = np.clip(m.score + width * np.random.default_rng(seed).normal(size=DRAWS), 0, 1)
    return _score(m.score, draws, state, {name: m.score})


def _score(value: float, draws: np.ndarray, state: str, parts: dict[str, float]) -> Score:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Score(value, state, (float(min(low, value)), float(max(high, value))), draws, parts)


def _anchored(task: TaskReport) -> dict[str, tuple[Metric, float, float]]:
    """Metrics with a trivial baseline and a floor; errors on given frames can be 0."""
    out = {}
    for name, m in task.metrics.items():
        if m.value is None or m.better == "neither" or not m.values:
            continue
        if m.trivial is not None and (m.floor is not None or task.kind in ("accuracy", "bsct")):
            floor = m.floor.median if m.floor else 0.0
            if m.trivial > floor:
                out[name] = (m, floor, m.trivial)
    return out


def _mean(metric: Metric, pick: np.ndarray) -> tuple[float, np.ndarray]:
    """The mean over members and its bootstrap draws."""
    values = np.array([np.nan if v is None else v for v in metric.values], float)
    known = np.isfinite(values)
    mean = float(values[known].mean())
    n = int(known.sum())
    if n < 2:
        return mean, np.full(len(pick), mean)
    if len(values) != pick.shape[1] or not known.all():
        values, pick = values[known], pick[:, :n] % n
    return mean, mean + (values[pick].mean(1) - mean) * np.sqrt(n / (n - 1))


def state_of(task: TaskReport) -> str:
    """One word for a task: the worst that happened to its members, with instability seen in the numbers too."""
    states = {s for u in task.units for s in u.status}
    fraction = task.metrics.get("stable_fraction")
    if fraction is not None and fraction.value is not None and fraction.value < 1:
        states.add("unstable")
    for state in LOST:
        if state in states:
            return state if states == {state} else f"partly {state}"
    return "unstable" if "unstable" in states else "ok"


def rank(scores: dict[str, dict[str, Score]], weights: dict[str, float]) -> dict[str, Rank]:
    """Ranks of models by name: complete ones among each other, a partial one among all that did its tasks.

    ``scores[model][task]``; tasks of weight 0 do not count.
    """
    counted = [t for t, w in weights.items() if w > 0]
    done = {m: tuple(t for t in counted if t in s and s[t].value is not None) for m, s in scores.items()}
    out: dict[str, Rank] = {}
    groups: dict[tuple[str, ...], dict[str, Rank]] = {}
    for model, tasks in done.items():
        if not tasks:
            continue
        if tasks not in groups:
            peers = [m for m, t in done.items() if set(tasks) <= set(t)]
            groups[tasks] = _places(peers, tasks, scores, weights)
        out[model] = groups[tasks][model]
    return out


def _places(models: list[str], tasks: tuple[str, ...], scores, weights) -> dict[str, Rank]:
    share = np.array([weights[t] for t in tasks])
    share = share / share.sum()
    value = np.array([[scores[m][t].value for t in tasks] for m in models]) @ share
    draws = np.array([[scores[m][t].draws for t in tasks] for m in models]).transpose(0, 2, 1) @ share  # [M, DRAWS]
    beaten = np.array([(np.quantile(draws - row, 0.025, axis=1) > 0).sum() for row in draws])
    beats = np.array([(np.quantile(row - draws, 0.025, axis=1) > 0).sum() for row in draws])
    place = 1 + (draws[:, None] < draws[None]).sum(1)  # [M, DRAWS]
    low, high = np.quantile(place, [0.025, 0.975], axis=1, method="nearest")
    ends = np.quantile(draws, [0.025, 0.975], axis=1)
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
        )
        for k, m in enumerate(models)
    }
