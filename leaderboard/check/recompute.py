"""Every aggregate, interval and score of a report, worked out again from its per-member values.

A second implementation on purpose: a check that called the functions which wrote a number would share their faults.
`RULES` has one function per name of aggregate: a new one needs a line there before entries may use it; `OF_KIND` says
what is particular to a kind. Where intervals are drawn by a seeded bootstrap the evaluator's own function is called,
since no other repeats the draws.

Scores of selective classification have no samples in a report: `recompute_selective` says what is checked.
`not_recomputed` says of every number what is taken as reported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ffbench_eval.kinds import find_metric
from ffbench_eval.kinds.statistics import BLOCK
from ffbench_eval.report import Metric, ModelCard, TaskReport

from .faults import RELATIVE, UNKNOWN, Fault, close, same
from .recompute_reactions import over_parents, reaction_faults, reaction_score
from .recompute_selective import selective_faults, selective_score

MAX_WIDTH = 1e3  # of an interval that cannot be worked out again, in units of its value
ROUNDED = 1e-7  # values of scans are written with nine digits
SAMPLELESS = {"bootstrap", "median", "quantile_0.9", "fraction", "sum"}
LOOSE = {  # selective scores that no other number of an entry fixes; shares of cases are at least whole counts
    *("auprc", "ece", "brier", "spearman", "residual_augrc"),
    *("accuracy", "accuracy_at_coverage", "realised_risk", "realised_coverage"),
}
Expected = tuple[float, tuple[float, float] | None]


@dataclass(frozen=True)
class Scans:
    """Molecule and bond type of every scan of a data set, in its order: what intervals of bond scans resample."""

    molecules: tuple[str, ...]
    bond_types: tuple[str, ...]


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
    kind = _bond_type(name, scans)
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


def _over_molecules(
    name: str, values: list[float | None], scans: Scans | None, quantile: float | None = None
) -> Expected:
    """Mean or quantile over scans with the evaluator's own bootstrap over molecules."""
    from ffbench_eval.kinds.bsct.scores import over_molecules

    v = np.array([np.nan if x is None else x for x in values], float)
    if scans is None:
        known = v[np.isfinite(v)]
        return float(known.mean() if quantile is None else np.quantile(known, quantile)), UNKNOWN
    molecules = scans.molecules
    kind = _bond_type(name, scans)
    if kind is not None:
        molecules = tuple(m for m, t in zip(molecules, scans.bond_types) if t == kind)
    if len(molecules) != len(v):
        raise ValueError(f"{len(v)} values for {len(molecules)} scans")
    again = over_molecules(v, molecules, unit="1", quantile=quantile)
    if again.value is None:
        raise ValueError("no scan has a value")
    return again.value, again.interval


def _bond_type(name: str, scans: Scans | None) -> str | None:
    return next((t for t in dict.fromkeys(scans.bond_types) if name.endswith(f"_{t}")), None) if scans else None


def _base(name: str) -> str:
    return name.removesuffix("_median").removesuffix("_p90")


def _median(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    return _over_molecules(name, task.metrics[_base(name)].values, scans, 0.5)


def _ninetieth(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    return _over_molecules(name, task.metrics[_base(name)].values, scans, 0.9)


def _fraction(name: str, metric: Metric, known: list[float], task: TaskReport, scans: Scans | None) -> Expected:
    states = [s for u in task.units for s in u.status]
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
    ran = any(s in ("ok", "unstable") for u in task.units for s in u.status)
    some = ran or any(s == "model_error" for u in task.units for s in u.status)  # on some frames of a chunk
    if ran and not task.metrics and own.sampled:
        yield ".metrics", "is empty although members finished"
    told = [m for k, m in task.metrics.items() if m.value is not None and k not in COUNTED]
    if told and not (some if own.in_part else ran):
        yield ".metrics", "has numbers although no member finished"


def _accuracy_faults(task: TaskReport) -> Iterator[Fault]:
    mae, rmse = task.metrics.get("force_mae"), task.metrics.get("force_rmse")
    if mae and rmse and mae.value and rmse.value and rmse.value < mae.value * (1 - 1e-6):
        yield ".metrics.force_rmse.value", "is smaller than the mean absolute error, which cannot be"


def _dynamics_faults(task: TaskReport) -> Iterator[Fault]:
    finished = [s for u in task.units if set(u.status) <= {"ok", "unstable"} for s in u.status]
    fraction, time = task.metrics.get("stable_fraction"), task.metrics.get("stable_time")
    replicas = task.parameters.get("replicas")
    members = [s for u in task.units for s in u.status]
    whole = "not_run" not in members and set(members) != {"unsupported"}
    if isinstance(replicas, int) and whole and len(members) != replicas:
        yield ".units", f"hold {len(members)} replicas, the task has {replicas}"
    if fraction is None or time is None:
        if finished:
            yield ".metrics", "needs stable_fraction and stable_time for the replicas that ran"
        return
    if not len(fraction.values) == len(time.values) == len(finished):
        yield (
            ".metrics.stable_fraction.values",
            f"{len(fraction.values)} and {len(time.values)} stable_time values for {len(finished)} replicas that ran",
        )
        return
    length = task.parameters.get("length_ps")
    for k, (state, share, end) in enumerate(zip(finished, fraction.values, time.values)):
        if state == "unstable" and share:
            yield f".metrics.stable_fraction.values[{k}]", "is 1 for a replica whose state is unstable"
        if isinstance(length, int | float) and end is not None:
            short = end < length * (1 - 1e-9)
            if short and share:
                yield f".metrics.stable_time.values[{k}]", f"ends before {length:g} ps for a replica counted as stable"
            if not short and not share and state != "unstable":
                yield f".metrics.stable_time.values[{k}]", "reaches the whole length for a replica counted as unstable"
    trusted = task.metrics.get("trusted_time")
    for k, (until, end) in enumerate(zip(trusted.values, time.values) if trusted else ()):
        if until is not None and end is not None and until > end * (1 + 1e-9):
            yield f".metrics.trusted_time.values[{k}]", f"is longer than the replica was stable ({end:g} ps)"
    for name, metric in task.metrics.items():
        if len(metric.values) > len(finished):
            yield f".metrics.{name}.values", f"{len(metric.values)} values for {len(finished)} replicas that ran"


def _structure_faults(task: TaskReport) -> Iterator[Fault]:
    """One value per structure, and per dimer one that is there unless its element is not supported."""
    dimers = task.parameters.get("dimers")
    states = [s for u in task.units for s in u.status]
    if not isinstance(dimers, list) or "not_run" in states or set(states) == {"unsupported"}:
        return
    for name, metric in task.metrics.items():
        mine = structures_or_dimers(name, task)
        if len(metric.values) != len(mine):
            yield f".metrics.{name}.values", f"{len(metric.values)} values for {len(mine)} members"
        elif name.startswith("dimer_") and [v is None for v in metric.values] != [s != "ok" for s in mine]:
            yield f".metrics.{name}.values", "are not those of the dimers that ended ok"


def structures_or_dimers(name: str, task: TaskReport) -> list[str]:
    """The states of what a metric is about: dimers come last."""
    dimers = task.parameters.get("dimers")
    states: list[str] = [s for u in task.units for s in u.status]
    first = len(states) - (len(dimers) if isinstance(dimers, list) else 0)
    return states[first:] if name.startswith("dimer_") else states[:first]


def not_to_be_asked(name: str, card: ModelCard) -> bool:
    """Whether a model states that it has nothing to be asked about: no cutoff to cross, no single precision."""
    if name in ("cutoff_energy_jump", "cutoff_force_jump", "far_atom_force_change"):
        return card.cutoff_angstrom is None
    return name == "precision_error" and card.dtype == "float64"


def _scan_faults(task: TaskReport) -> Iterator[Fault]:
    states = [s for u in task.units for s in u.status]
    ok = [s == "ok" for s in states]
    for name, metric in task.metrics.items():
        known = [v is not None for v in metric.values]
        each = name in EVERY_SCAN and (known != ok if len(known) == len(ok) else sum(known) != sum(ok))
        if sum(known) > sum(ok) or len(known) > len(ok) or each:
            yield f".metrics.{name}.values", f"{sum(known)} values for {sum(ok)} of {len(ok)} scans that ended ok"


def _dimer_faults(task: TaskReport) -> Iterator[Fault]:
    """One place per dimer, empty for one that did not end ok."""
    ok = [s == "ok" for u in task.units for s in u.status]
    for name, metric in task.metrics.items():
        known = [v is not None for v in metric.values]
        if len(known) != len(ok) or any(a and not b for a, b in zip(known, ok)):
            yield f".metrics.{name}.values", f"{sum(known)} values for {sum(ok)} of {len(ok)} dimers that ended ok"
    parts = [task.metrics.get(k) for k in ("fsd", "fsd_compress", "fsd_stretch")]
    if all(parts):
        for k, (full, left, right) in enumerate(zip(*(p.values for p in parts if p))):
            if None not in (full, left, right) and not close(full, max(left, right), tolerance=ROUNDED):
                yield f".metrics.fsd.values[{k}]", "is not the larger of its compressed and stretched sides"


COUNTED = ("supported_share", "masked_labels")  # of the data and the states: there is a number without any answer
EVERY_SCAN = ("fsd", "scan_force_mae", "scan_energy_mae_aligned", "spurious_extrema", "sign_flips")


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
    about: Callable[[str, TaskReport], list[str]] | None = None
    unasked: Callable[[str, ModelCard], bool] | None = None


FLAT = ("dimer_tortuosity", "dimer_wall_error", "dimer_bond_length_error", "dimer_frequency_error")  # none of these
NO_MINIMUM = ("frequency_mae", "zero_point_energy_error", "imaginary_modes", "minimum_rmsd")

# The one place of the board that names kinds: a second implementation has to know what it implements.
OF_KIND = {
    "accuracy": KindRules(_accuracy_faults, in_part=True),
    "molecular_dynamics": KindRules(_dynamics_faults),
    "bsct": KindRules(_scan_faults, tolerance=ROUNDED, over_molecules=_over_molecules, undefined=("energy_jump",)),
    "diatomics": KindRules(_dimer_faults, each=True, undefined=FLAT),
    "relative_energy": KindRules(reaction_faults, reaction_score, over_molecules=over_parents),
    "selective": KindRules(selective_faults, selective_score, sampled=False, in_part=True),
    "speed": KindRules(),
    "physicality": KindRules(
        _structure_faults,
        about=structures_or_dimers,
        unasked=not_to_be_asked,
        undefined=("cutoff_energy_jump", "cutoff_force_jump"),
    ),
    "experiment": KindRules(),
    "frequencies": KindRules(undefined=NO_MINIMUM),
    "accuracy_in_parts": KindRules(_accuracy_faults, in_part=True),
    "bond_smoothness": KindRules(tolerance=ROUNDED, over_molecules=_over_molecules),
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
