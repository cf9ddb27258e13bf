"""What the scores of selective classification say about each other.

They are no means over members, and a report holds no samples for them; but AUGRC, AUROC and prevalence fix one another,
AURC and E-AURC too, and shares are whole numbers of cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ffbench_eval.kinds.selective import ELIGIBLE, NEVER
from ffbench_eval.kinds.selective.headline import best
from ffbench_eval.report import Metric, TaskReport

from .faults import RELATIVE, Fault, close

OF_THE_LEAD = (
    *("augrc", "auroc", "aurc", "excess_augrc", "excess_aurc", "residual_augrc", "auprc", "accuracy_at_coverage"),
    *("accuracy", "ece", "brier", "spearman", "realised_risk", "realised_coverage"),
)
TOGETHER = (  # what a model with embeddings, with several members, and any model at all has
    {"probe", "linear_probe", "nearest_neighbours", "mahalanobis", "mixture"},
    {"force_spread", "energy_spread"},
    {"size_only", "composition_only", "gradient_boosting"},
)


def selective_score(name: str, metric: Metric, value: float, task: TaskReport) -> float | None:
    """1 for the oracle, which knows every failure, 0 for chance; only AUGRC has a score."""
    parts = name.split(".")
    if parts[0] != "augrc" or len(parts) < 3 or metric.trivial is None:
        return None
    oracle = task.metrics.get(".".join([*parts[:2], "oracle", *parts[3:]]))
    if oracle is None or oracle.value is None or metric.trivial <= oracle.value:
        return None
    return float(np.clip((metric.trivial - value) / (metric.trivial - oracle.value), 0, 1))


def selective_faults(task: TaskReport) -> Iterator[Fault]:
    """What the scores of one domain under one rule say about each other, with the share that failed, e, of n cases.

    AUGRC = (1 - AUROC) e (1 - e) + e^2 / 2; the oracle's is e^2 / 2, chance is e / 2. E-AUGRC is AUGRC without the
    oracle's e^2 / 2, E-AURC is AURC without the lowest possible, e + (1 - e) ln(1 - e) (Geifman et al. 2019). AUROC
    counts pairs, shares count cases.
    """
    yield from _complete(task)
    counts: dict[tuple[str, str], int] = {}
    value = {name: m.value for name, m in task.metrics.items() if m.value is not None}
    for name, metric in task.metrics.items():
        first, domain, source, rule = [*name.split("."), "", "", ""][:4]
        v, n = metric.value, metric.n
        if source and not rule and source not in (*ELIGIBLE, *NEVER) and v is not None:
            yield f".metrics.{name}", f"{source!r} is no confidence source"
            continue
        if v is None or domain == "":
            continue
        if counts.setdefault((domain, rule), n) != n:
            yield f".metrics.{name}.n", f"is {n}, other scores of {domain} have {counts[domain, rule]}"
        e = value.get(f"prevalence.{domain}") if not rule else None
        if rule and metric.trivial is not None:
            e = 2 * metric.trivial
        if e is None or not 0 <= e <= 1:
            yield f".metrics.{name}", "has no share that failed beside it"
            continue
        fault = _against_share(first, source, rule, v, metric, e, n, value, domain)
        if fault:
            yield f".metrics.{name}.{fault[0]}", fault[1]
        said = _count_of_cases(first, v, n, value.get(f"realised_coverage.{domain}.{source}"), task)
        if said:
            yield f".metrics.{name}.value", said
    yield from _probabilities(value)


def _complete(task: TaskReport) -> Iterator[Fault]:
    """The headline source is the best on the calibration part, and all its scores are there for every domain."""
    domains = {n.split(".")[1] for n in task.metrics if n.startswith("prevalence.")} - {"calibration"}
    yield from _sources(task, domains)
    lead = task.headline
    chosen = best({n.split(".")[2]: m.value for n, m in task.metrics.items() if n.startswith("augrc.calibration.")})
    if domains and lead not in ELIGIBLE:
        yield ".headline", f"is {lead!r}: name one of {', '.join(ELIGIBLE)}"
        return
    if domains and lead != chosen:
        yield ".headline", f"is {lead!r}, the best source on the calibration part is {chosen!r}"
    for domain in domains:
        for first in OF_THE_LEAD:
            if f"{first}.{domain}.{lead}" not in task.metrics:
                yield ".metrics", f"{first}.{domain}.{lead} is missing: all scores of the headline source belong here"


def _sources(task: TaskReport, domains: set[str]) -> Iterator[Fault]:
    """A source is there for the calibration part and every domain, and so are all that need what it needs: the best on
    the calibration part is the best of all."""

    def known(domain: str) -> set[str]:
        parts = [n.split(".") for n, m in task.metrics.items() if m.value is not None]
        return {p[2] for p in parts if p[:2] == ["augrc", domain] and len(p) == 3 and p[2] in ELIGIBLE}

    chosen_from = known("calibration")
    if not domains or not chosen_from:
        return
    for group in TOGETHER:
        there = {s for d in domains for s in group & known(d)} | (group & chosen_from)
        for missing in sorted(group - chosen_from if there else ()):
            yield ".metrics", f"augrc.calibration.{missing} is missing, {sorted(there)[0]} is there"
    for domain in sorted(domains):
        for missing in sorted(
            chosen_from - {n.split(".")[2] for n in task.metrics if n.startswith(f"augrc.{domain}.")}
        ):
            yield ".metrics", f"augrc.{domain}.{missing} is missing, the calibration part has it"


def _against_share(
    first: str, source: str, rule: str, v: float, metric: Metric, e: float, n: int, value: dict[str, Any], domain: str
) -> Fault | None:
    if first == "majority_accuracy" and not close(v, max(e, 1 - e), 1.0):
        return "value", "is not the larger share"
    lowest = e * e / 2
    for excess, whole, optimum in (("excess_augrc", "augrc", lowest), ("excess_aurc", "aurc", lowest_aurc(e))):
        base = value.get(f"{whole}.{domain}.{source}")
        if first == excess and (base is None or not close(v, base - optimum, 1.0)):
            return "value", f"is not {whole.upper()} minus its lowest possible value, {optimum!r}"
    if first == "auroc" and not _whole(v * 2 * _pairs(e, n)):
        return "value", f"{v!r} is no share of the pairs of {n} cases"
    if first != "augrc":
        return None if metric.trivial is None else ("trivial", "is given for a score that has none")
    if metric.trivial is None or not close(metric.trivial, e / 2, 1.0):
        return "trivial", f"is {metric.trivial!r}, half the share that failed is {e / 2!r}"
    if rule and not _whole(e * n):
        return "trivial", f"{metric.trivial!r} is half of no share of {n} cases"
    if source == "oracle" or e in (0.0, 1.0):
        rank = 1.0
    elif rule:
        rank = 1 - (v - lowest) / (e * (1 - e))
        if not -1e-9 <= rank <= 1 + 1e-9 or not _whole(rank * 2 * _pairs(e, n)):
            return "value", f"{v!r} is not possible for {n} cases of which {e:.4g} failed"
    else:
        found = value.get(f"auroc.{domain}.{source}")
        if found is None:
            return "value", "has no AUROC beside it"
        rank = found
    if not close(v, (1 - rank) * e * (1 - e) + lowest, 1.0):
        return "value", f"is {v!r}, AUROC {rank!r} and the share that failed {e!r} give another"
    return None


def lowest_aurc(e: float) -> float:
    """AURC of a confidence that puts all failures last, in the limit of many cases.

    >>> lowest_aurc(0.0), round(lowest_aurc(0.5), 6), lowest_aurc(1.0)
    (0.0, 0.153426, 1.0)
    """
    return e + (1 - e) * math.log1p(-e) if e < 1 else 1.0


def _pairs(e: float, n: int) -> float:
    failed = round(e * n)
    return float(failed * (n - failed))


def _whole(x: float) -> bool:
    return math.isfinite(x) and abs(x - round(x)) <= RELATIVE * max(1.0, abs(x))


def _count_of_cases(first: str, v: float, n: int, coverage: float | None, task: TaskReport) -> str:
    if first in ("prevalence", "accuracy", "realised_coverage") and not _whole(v * n):
        return f"{v!r} is no share of {n} cases"
    if first == "realised_risk" and not (
        coverage is not None and 0 <= coverage <= 1 and _whole(v * round(coverage * n))
    ):
        return f"{v!r} is no share of the accepted cases"
    if first == "accuracy_at_coverage" and n < 1:
        return "rests on no case"
    if first == "accuracy_at_coverage":
        stated = task.parameters.get("coverage")
        least = float(stated) if isinstance(stated, int | float) else 0.0
        accepted = np.arange(max(1, math.ceil(least * n - 1e-9)), n + 1)
        wrong = (1 - v) * accepted
        if not (np.abs(wrong - np.round(wrong)) <= 1e-9 * n).any():
            return f"{v!r} is no share of any {accepted[0]} to {n} cases"
    return ""


def _probabilities(value: dict[str, float]) -> Iterator[Fault]:
    """Brier score, calibration error and accuracy of the same probabilities bound each other."""
    for name, brier in value.items():
        first, _, rest = name.partition(".")
        accuracy, ece = value.get(f"accuracy.{rest}"), value.get(f"ece.{rest}")
        if first != "brier":
            continue
        if accuracy is not None and not 0.25 * (1 - accuracy) - 1e-9 <= brier <= 1 - 0.75 * accuracy + 1e-9:
            yield f".metrics.{name}.value", f"{brier!r} is not possible with an accuracy of {accuracy!r}"
        if ece is not None and ece > math.sqrt(brier) + 1e-9:
            yield f".metrics.ece.{rest}.value", f"{ece!r} is not possible with a Brier score of {brier!r}"
