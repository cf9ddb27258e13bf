"""Places in metrics that need no level of theory: every pair of models is compared on the members both did.

A model's place is 1 plus the number of models that beat it in 97.5 % of paired bootstrap draws over their common
members (widened by Student's factor, since few members draw too narrowly), so that one that misses some molecules is
held against the others on the molecules it has, and nobody gains by an easier mean. The rule for partial models:
members may be missing for elements alone (``unsupported``), and at least `COVERAGE` of all members have to be there;
whoever lost members otherwise, or gives no value for a member that ended well, has no place. Coverage is shown.

FSD near the minimum of the reference feels another bond length as much as a bump, so that it is ranked among models of
the data's theory (`benchmarks/theory_floor.py`: GFN2 judged by wB97M-D3(BJ) scores far from 0, without a bump).
What no forces at all would win (spurious extrema, sign flips, jumps of dimers) ranks the models whose force error is
below that of none; where neither way is better there is no place.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np

from ffbench_eval.kinds import kind_of
from ffbench_eval.report import ModelCard, TaskReport, same_theory

from ..check.lock import TaskLock
from ..check.members import left_out, members
from .scoring import DRAWS, SURE, state_of, surely, widening

COVERAGE = 0.25
APART = 1.1  # one job's timing: speeds within ten percent of each other share a place


@dataclass(frozen=True)
class Place:
    """``rank`` is None where there is a value and no place, with the reason; ``covered`` of ``of`` members."""

    rank: int | None
    tied: bool = False
    covered: int = 0
    of: int = 0
    why: str = ""


def places(
    name: str, metric: str, locked: TaskLock, models: dict[str, tuple[TaskReport, ModelCard]]
) -> dict[str, Place]:
    """The place of every model that has the metric. How many members there are and which way is better are the lock's
    and the kind's, never an entry's."""
    out: dict[str, Place] = {}
    found: dict[str, np.ndarray] = {}
    hit = kind_of(locked.kind).spec(metric)
    lower = hit is None or hit[0].better != "higher"
    of = members(locked) or 0
    for model, (task, card) in models.items():
        m = task.metrics.get(metric)
        if m is None or m.value is None:
            continue
        values = np.array([np.nan if v is None else v for v in m.values], float)
        covered = int(np.isfinite(values).sum())
        why = _why_not(metric, task, card, locked, covered, of)
        if not why and len(values) != of:
            why = "other members than the task's"
        if not why and left_out(metric, task, locked):
            why = "values left out"
        if why or (hit is not None and hit[0].better == "neither"):
            out[model] = Place(None, covered=covered, of=of, why=why)
        else:
            found[model], out[model] = values, Place(None, covered=covered, of=of)
    names = list(found)
    wins = np.zeros((len(names), len(names)), bool)
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            wins[i, j] = i != j and beats(name, found[a], found[b], lower, one_job=kind_of(locked.kind).timed)
    met = [sum(bool(_common(found[a], found[b]).any()) for b in names) for a in names]
    for k, model in enumerate(names):
        p = out[model]
        decided = int(wins[:, k].sum() + wins[k].sum())
        out[model] = Place(1 + int(wins[:, k].sum()), decided < met[k] - 1, p.covered, p.of)
    return out


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.isfinite(a) & np.isfinite(b)


def beats(name: str, a: np.ndarray, b: np.ndarray, lower: bool = True, *, one_job: bool = False) -> bool:
    """Whether a is better than b on the members both have: by paired draws, or for timings by ten percent.

    >>> a = np.linspace(1, 2, 50)
    >>> beats("t", a, a + 0.1), beats("t", a + 0.1, a), beats("t", a, a)
    (True, False, False)
    """
    both = _common(a, b)
    if not both.any():
        return False
    if one_job:
        return bool(b[both].mean() > APART * a[both].mean() if lower else a[both].mean() > APART * b[both].mean())
    difference = (b - a)[both] if lower else (a - b)[both]
    return surely(difference_draws(name, difference))


def difference_draws(name: str, difference: np.ndarray) -> np.ndarray:
    """[DRAWS] of the mean of paired differences; one pair alone leaves both signs possible."""
    n = len(difference)
    if n < 2:
        return difference.mean() * np.linspace(-1, 1, DRAWS)
    pick = np.random.default_rng(zlib.crc32(name.encode())).integers(0, n, (DRAWS, n))
    mean = difference.mean()
    return mean + (difference[pick].mean(1) - mean) * widening(n) * few(n)


@cache
def few(n: int) -> float:
    """How much further Student's 97.5 % point of n differences lies than the normal one: draws of two, three or five
    members alone would call two equal models apart in 20, 10 or 6 % of all cases.

    >>> round(few(2), 2), round(few(5), 2), round(few(500), 2)
    (6.48, 1.42, 1.0)
    """
    from scipy.stats import norm, t

    return float(t.ppf(1 - SURE, n - 1) / norm.ppf(1 - SURE))


def _why_not(metric: str, task: TaskReport, card: ModelCard, locked: TaskLock, covered: int, of: int) -> str:
    state = state_of(task)
    kind = kind_of(locked.kind)
    unstable = state == "unstable" and metric in kind.time
    partial = kind.given and state == "partly unsupported" and covered >= COVERAGE * of
    if state != "ok" and not unstable and not partial:
        return state
    why = kind.why_other_theory(metric, locked.parameters)
    if why and not same_theory(card.theory, locked.theory):
        return why
    hit = kind.spec(metric)
    if hit and hit[0].worse_than_none and not below_no_forces(hit[0].worse_than_none, task, locked):
        return "no better than no forces"
    return ""


def below_no_forces(name: str, task: TaskReport, locked: TaskLock) -> bool:
    """Whether forces along the scans are better than none, by the metric ``name``, on the scans the model has."""
    force, anchor = task.metrics.get(name), locked.metrics.get(name)
    if force is None or force.value is None or anchor is None or anchor.trivial is None:
        return False
    mine = np.array([np.nan if v is None else v for v in force.values], float)
    none = np.array(locked.no_forces.get(name) or [anchor.trivial] * len(mine), float)
    if len(none) != len(mine):
        return False
    both = np.isfinite(mine) & np.isfinite(none)
    return bool(both.any() and mine[both].mean() < none[both].mean())
