"""Every aggregate, interval and score of a report, worked out again from its per-member values.

A second implementation on purpose: a check that called the functions which wrote a number would share their faults.
`RULES` has one function per name of aggregate: a new one needs a line there before entries may use it; `OF_KIND`
says what is particular to a kind.

Scores of selective classification have no samples in a report: `recompute_selective` says what is checked.
`not_recomputed` says of every number what is taken as reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ffbench_eval.kinds import find_metric
from ffbench_eval.kinds.statistics import BLOCK
from ffbench_eval.report import Metric, ModelCard, TaskReport

from .faults import RELATIVE, UNKNOWN, Expected, Fault, close, same
from .recompute_reactions import over_parents, reaction_faults, reaction_score
from .recompute_scans import ROUNDED, Scans, bond_type, dimer_faults, over_molecules, scan_faults
from .recompute_selective import selective_faults, selective_score
from .recompute_tasks import accuracy_faults, dynamics_faults, not_to_be_asked, structure_faults, structures_or_dimers

MAX_WIDTH = 1e3  # of an interval that cannot be worked out again, in units of its value
SAMPLELESS = {"bootstrap", "median", "quantile_0.9", "fraction", "sum"}
LOOSE = {  # selective scores that no other number of an entry fixes; shares of cases are at least whole counts
    *("auprc", "ece", "brier", "spearman", "residual_augrc"),
    *("accuracy", "accuracy_at_coverage", "realised_risk", "realised_coverage"),
}


def metric_faults(name: str, metric: Metric, task: TaskReport, scans: Scans | None = None) -> Iterator[Fault]:
    """What does not follow from ``metric.values``; ``scans``: of the task's data, where it is about scans."""
    known = [v for v in metric.values if v is not None]
    if metric.value is None:
        yield from _missing(metric, known, rules_of(task.kind))
        return
    if metric.not_scored:
        yield ".not_scored", "gives a reason although there is a value"
    own = rules_of(task.kind)
    if own.known and bool(known) == (metric.aggregate in SAMPLELESS):
        yield ".values", f"{len(known)} samples for an aggregate {metric.aggregate!r}"
        return
    if not own.known:
        yield from _plain(metric, known)
        return
    if metric.aggregate not in RULES:
        yield ".aggregate", f"unknown aggregate {metric.aggregate!r}; known: {', '.join(RULES)}"
        return
    try:
        value, interval = aggregate(name, metric, known, task, scans)
    except (KeyError, ValueError, OverflowError, FloatingPointError) as error:
        yield ".values", f"cannot be aggregated: {error}"
        return
    tolerance = own.tolerance
    if not close(metric.value, value, tolerance=tolerance):
        yield ".value", f"is {metric.value!r}, its values give {value!r}"
    yield from _interval(metric, interval, tolerance, name)
    yield from _count(name, metric, known, task)
    score = expected_score(name, metric, value, task)
    if not same(metric.score, score):
        yield ".score", f"is {metric.score!r}, its values and anchors give {score!r}"
    if metric.floor is not None and not 0 <= metric.floor.median <= metric.floor.p95:
        yield ".floor", "needs 0 <= median <= p95"


def _missing(metric: Metric, known: list[float], own: KindRules) -> Iterator[Fault]:
    if known:
        yield ".value", "is null although there are values"
    if not metric.not_scored:
        yield ".not_scored", "is empty: a missing value needs its reason"
    for field in ("interval", "score", "floor"):
        if getattr(metric, field) is not None:
            yield f".{field}", "is given although there is no value"
    if metric.n and own.sampled:  # else cases there are, but a score not defined on them
        yield ".n", "counts samples although there is no value"


def _plain(metric: Metric, known: list[float]) -> Iterator[Fault]:
    """Of a kind without rules: a plain mean is one, an interval has two ends and holds it, or a reason is given."""
    assert metric.value is not None
    if metric.aggregate == "mean" and known and not close(metric.value, float(np.mean(known)), tolerance=ROUNDED):
        yield ".value", f"is {metric.value!r}, the mean of its values is {float(np.mean(known))!r}"
    yield from _interval(metric, UNKNOWN, ROUNDED, "")


def _interval(metric: Metric, expected: tuple[float, float] | None, tolerance: float, name: str) -> Iterator[Fault]:
    if expected is UNKNOWN:
        low, high = metric.interval or (metric.value, metric.value)
        biased = name.startswith(("ece", "excess_", "majority_", "aurc", "realised_"))
        assert metric.value is not None
        assert low is not None
        assert high is not None
        if high - low > MAX_WIDTH * max(1.0, abs(metric.value)):
            yield ".interval", f"is {metric.interval}, far too wide to mean anything"
        elif low > high or (not biased and not low - 1e-9 <= metric.value <= high + 1e-9):
            yield ".interval", f"is {metric.interval}, which does not hold {metric.value!r}"
    elif (metric.interval is None) != (expected is None):
        yield ".interval", f"is {metric.interval}, its values give {expected}"
    elif metric.interval is not None and expected is not None:
        for k in (0, 1):
            if not close(metric.interval[k], expected[k], abs(expected[1] - expected[0]), tolerance):
                yield f".interval[{k}]", f"is {metric.interval[k]!r}, its values give {expected[k]!r}"
    if metric.interval is None and not metric.interval_note:
        yield ".interval_note", "is empty: a missing interval needs its reason"


def _count(name: str, metric: Metric, known: list[float], task: TaskReport) -> Iterator[Fault]:
    if metric.aggregate in ("median", "quantile_0.9"):
        base = task.metrics[_base(name)]
        if metric.n != base.n:
            yield ".n", f"is {metric.n}, {_base(name)} has {base.n}"
    elif metric.aggregate in SAMPLELESS:
        if metric.n < 1:
            yield ".n", "is not positive"
    elif metric.uncertainty.method in ("blocks", "root_of_blocks") or metric.aggregate == "root_mean":
        blocks = max(1, min(metric.n, max(2, metric.n // BLOCK)))
        if blocks != len(metric.values) or len(known) != len(metric.values):
            yield ".n", f"{metric.n} frames make {blocks} blocks, there are {len(metric.values)} values"
    elif metric.n != len(known):
        yield ".n", f"is {metric.n}, there are {len(known)} values"


def _mean(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    if name == "stable_fraction":
        if any(v not in (0.0, 1.0) for v in known) or len(known) != len(metric.values):
            raise ValueError("a replica is stable (1) or not (0)")
        return float(np.mean(known)), _exact(int(sum(known)), len(known))
    kind = bond_type(name, scans)
    base = task.metrics.get(name.removesuffix(f"_{kind}")) if kind else None
    if scans and base and len(base.values) == len(scans.bond_types):
        mine = [v for v, t in zip(base.values, scans.bond_types) if t == kind]
        if mine != metric.values:
            raise ValueError(f"they are not those of the {kind} scans")
    if metric.uncertainty.method == "bootstrap":
        own = rules_of(task.kind).over_molecules
        if own is None:
            raise ValueError("a mean of this kind of task has no bootstrap interval")
        return own(name, metric.values, scans)
    return float(np.mean(known)), None if metric.uncertainty.method == "one_job" else _student(known)


def _base(name: str) -> str:
    return name.removesuffix("_median").removesuffix("_p90")


def _median(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    return over_molecules(name, task.metrics[_base(name)].values, scans, 0.5)


def _ninetieth(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    return over_molecules(name, task.metrics[_base(name)].values, scans, 0.9)


def _fraction(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    states = task.states
    if metric.n != len(states):
        raise ValueError(f"{metric.n} members, the units have {len(states)}")
    return sum(s != "unsupported" for s in states) / len(states), None


def _sum(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    value = float(metric.value or 0.0)
    if value != int(value) or not 0 <= value <= metric.n:
        raise ValueError(f"{value!r} is no count out of {metric.n}")
    return value, None


def _stated(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    if rules_of(task.kind).sampled:
        raise ValueError("only scores of selective classification are given without samples")
    return float(metric.value or 0.0), UNKNOWN


def _root_mean(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    if np.mean(known) < 0:  # samples of blocks may be: they are first-order terms of a weighted mean
        raise ValueError("a mean square is not negative")
    ends = _student(known)
    return (
        math.sqrt(float(np.mean(known))),
        None if ends is None else (math.sqrt(max(0.0, ends[0])), math.sqrt(ends[1])),
    )


def _share(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    if any(v not in (0.0, 1.0) for v in known):
        raise ValueError("a member passes (1) or not (0)")
    return float(np.mean(known)), _exact(int(sum(known)), len(known))


def _restricted_mean(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    length = task.parameters.get("length_ps")
    if not isinstance(length, int | float) or isinstance(length, bool) or length <= 0:
        raise ValueError("the task has no length_ps to restrict to")
    if min(known) < 0 or max(known) > length * (1 + 1e-9) or len(known) != len(metric.values):
        raise ValueError(f"stable times lie between 0 and {length:g} ps")
    fraction = task.metrics.get("stable_fraction") if name == "stable_time" else None
    failed = [not v for v in fraction.values] if fraction else [v < length - 1e-9 for v in known]
    times = np.minimum(known, length)  # nothing is censored before the length, so that Kaplan-Meier's area is the mean
    ends = _student(times) if any(failed) else None  # else all are censored
    return float(times.mean()), None if ends is None else (max(ends[0], 0.0), min(ends[1], float(length)))


def _student(values: Any) -> tuple[float, float] | None:
    """95 % interval of a mean; none from fewer than two samples or from equal ones."""
    from scipy.stats import t

    v = np.asarray(values, float)
    if len(v) < 2 or np.ptp(v) <= 1e-12 * np.abs(v).max() or not np.isfinite(v.var()):
        return None
    low, high = t.interval(0.95, len(v) - 1, loc=v.mean(), scale=v.std(ddof=1) / math.sqrt(len(v)))
    return float(low), float(high)


def _exact(count: int, n: int) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share, from quantiles of the beta distribution."""
    from scipy.stats import beta

    low = 0.0 if count == 0 else float(beta.ppf(0.025, count, n - count + 1))
    return low, 1.0 if count == n else float(beta.ppf(0.975, count + 1, n - count))


def _in_domain(name: str, value: float, ends: tuple[float, float] | None) -> tuple[float, float] | None:
    """Ends cut at what the metric can be; none of width zero, which no number of samples can know."""
    found = find_metric(name)
    low, high = found[0].domain if found else (-math.inf, math.inf)
    if ends is None:
        return None
    a, b = (min(max(end, low), high) for end in ends) if low <= value <= high else ends
    return None if b - a <= 1e-12 * max(abs(a), abs(b)) else (a, b)


RULES: dict[str, Callable[[str, Metric, list[float], TaskReport, Scans | None], Expected]] = {
    "mean": _mean,
    "share": _share,
    "median": _median,
    "quantile_0.9": _ninetieth,
    "fraction": _fraction,
    "sum": _sum,
    "bootstrap": _stated,
    "root_mean": _root_mean,
    "restricted_mean": _restricted_mean,
}


def aggregate(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    """Value and interval of a metric from its samples; KeyError, ValueError where they make none."""
    value, interval = RULES[metric.aggregate](name, metric, known, task, scans)
    return value, interval if interval is UNKNOWN else _in_domain(name, value, interval)


def expected_score(name: str, metric: Metric, value: float, task: TaskReport | None = None) -> float | None:
    """1 at the floor's median (for AUGRC: the oracle's), 0 at the trivial baseline; the stable share is a score."""
    own = rules_of(task.kind).score if task is not None else None
    if own is not None and task is not None:
        return own(name, metric, value, task)
    if name == "stable_fraction":
        return value
    if metric.floor is not None and metric.trivial is not None and metric.trivial > metric.floor.median:
        return float(np.clip((metric.trivial - value) / (metric.trivial - metric.floor.median), 0, 1))
    if metric.floor is None and name == "force_mae" and metric.trivial:
        return float(np.clip(1 - value / metric.trivial, 0, 1))
    return None


def task_faults(task: TaskReport) -> Iterator[Fault]:
    """What the metrics of a task and the states of its members say about each other."""
    own = rules_of(task.kind)
    if own.faults is not None:
        yield from own.faults(task)
    ran = any(s in ("ok", "unstable") for s in task.states)
    some = ran or any(s == "model_error" for s in task.states)  # on some frames of a chunk
    if ran and not task.metrics and own.sampled:
        yield ".metrics", "is empty although members finished"
    told = [m for k, m in task.metrics.items() if m.value is not None and k not in COUNTED]
    if told and not (some if own.in_part else ran):
        yield ".metrics", "has numbers although no member finished"


COUNTED = ("supported_share", "masked_labels")  # of the data and the states: there is a number without any answer


@dataclass(frozen=True)
class KindRules:
    """How entries of one kind are checked.

    ``faults``: what its metrics say about each other; ``score``: of a metric, where it is not of its anchors;
    ``sampled``: metrics have samples; ``in_part``: a member that failed has numbers all the same; ``over_molecules``:
    a mean with the interval of a bootstrap over molecules, where means have such; ``known``: entries can be worked
    out again at all. ``each``: a metric has a sample per member; ``undefined``: metrics that a member may lack although
    it ended ok, because they are not defined for every answer; ``about``: the states of the members that a metric is
    about, where not all; ``unasked``: whether a model states that it cannot be asked for a metric.
    """

    faults: Callable[[TaskReport], Iterator[Fault]] | None = None
    score: Callable[[str, Metric, float, TaskReport], float | None] | None = None
    tolerance: float = RELATIVE
    sampled: bool = True
    in_part: bool = False
    over_molecules: Callable[[str, list[float | None], Scans | None], Expected] | None = None
    known: bool = True
    each: bool = False
    undefined: tuple[str, ...] = ()
    about: Callable[[str, TaskReport], Sequence[str]] | None = None
    unasked: Callable[[str, ModelCard], bool] | None = None


# not defined for a flat curve
FLAT = ("dimer_tortuosity", "dimer_wall_error", "dimer_bond_length_error", "dimer_frequency_error")
NO_MINIMUM = ("frequency_mae", "zero_point_energy_error", "imaginary_modes", "minimum_rmsd")

# The one place of the board that names kinds: a second implementation has to know what it implements.
OF_KIND = {
    "accuracy": KindRules(accuracy_faults, in_part=True),
    "molecular_dynamics": KindRules(dynamics_faults),
    "bsct": KindRules(scan_faults, tolerance=ROUNDED, over_molecules=over_molecules, undefined=("energy_jump",)),
    "diatomics": KindRules(dimer_faults, each=True, undefined=FLAT),
    "relative_energy": KindRules(reaction_faults, reaction_score, over_molecules=over_parents),
    "selective": KindRules(selective_faults, selective_score, sampled=False, in_part=True),
    "speed": KindRules(),
    "physicality": KindRules(
        structure_faults,
        about=structures_or_dimers,
        unasked=not_to_be_asked,
        undefined=("cutoff_energy_jump", "cutoff_force_jump"),
    ),
    "experiment": KindRules(),
    "frequencies": KindRules(undefined=NO_MINIMUM),
    "accuracy_in_parts": KindRules(accuracy_faults, in_part=True),
    "bond_smoothness": KindRules(tolerance=ROUNDED, over_molecules=over_molecules),
}


def rules_of(kind: str) -> KindRules:
    """Of a kind without rules of its own nothing can be worked out again: `not_recomputed` says so."""
    return OF_KIND.get(kind, KindRules(known=False))


def not_recomputed(kind: str, name: str, metric: Metric, scans: Scans | None = None) -> str:
    """What of a number the check takes as reported: "", "interval", "value" or "value and interval".

    >>> not_recomputed("accuracy", "force_mae", Metric(value=1, unit="eV/Å", interval=(0, 2)))
    ''
    >>> not_recomputed("selective", "ece.test.probe", Metric(value=0.1, unit="1", interval=(0, 0.2)))
    'value and interval'
    """
    if metric.value is None:
        return ""
    own = rules_of(kind)
    loose = ["value"] if not own.known or (not own.sampled and name.split(".")[0] in LOOSE) else []
    if metric.aggregate == "sum" and own.known:
        loose.append("value")
    sampled = not (own.known and own.sampled)
    sampled = sampled or (own.over_molecules is not None and scans is None and metric.uncertainty.method == "bootstrap")
    if metric.interval is not None and sampled:
        loose.append("interval")
    return " and ".join(loose)
