"""Scores with intervals of every source, rule and domain, from the confidences a finished run left behind."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ffbench_metrics import clopper_pearson

from ...report import Method
from ..base import Better
from ..domains import known_interval
from . import resample
from .calibration import as_probability, threshold_for_risk
from .labels import one_class

RESAMPLES = 400
CELLS = 4_000_000  # of a matrix of weights; more cases get fewer draws
FEWEST_DRAWS = 100


@dataclass(frozen=True)
class Scored:
    """One number: value, 95 % interval and how many cases and groups it rests on; ``why`` says what is missing."""

    value: float | None
    interval: tuple[float, float] | None
    note: str
    n: int
    groups: int
    unit: str
    better: Better
    why: str = ""
    method: Method = ""


BETTER: dict[str, Better] = {
    "augrc": "lower",
    "excess_augrc": "lower",
    "aurc": "lower",
    "excess_aurc": "lower",
    "residual_augrc": "lower",
    "auroc": "higher",
    "auprc": "higher",
    "accuracy_at_coverage": "higher",
    "accuracy": "higher",
    "ece": "lower",
    "brier": "lower",
    "spearman": "higher",
    "realised_risk": "lower",
    "realised_coverage": "higher",
    "prevalence": "neither",
    "majority_accuracy": "neither",
}


SHARES = ("accuracy_at_coverage", "accuracy", "realised_risk", "realised_coverage", "prevalence", "majority_accuracy")


def score_source(
    confidence: np.ndarray,
    failed: np.ndarray,
    residual: np.ndarray,
    w: np.ndarray,
    groups: int,
    *,
    unit: str,
    coverage: float,
    threshold: float,
    probability: np.ndarray,
) -> dict[str, Scored]:
    """All scores of one source on one domain. ``w`` [R, n] from `resample.weights`: the first row is the sample."""
    n = len(failed)
    if not np.isfinite(confidence).all():
        bad = int((~np.isfinite(confidence)).sum())
        why = f"the confidence is not finite on {bad} of {n} cases"
        return {k: Scored(None, None, "", n, groups, _unit(k, unit), b, why) for k, b in BETTER.items()}
    order, best = resample.Order.of(confidence), resample.Order.of(-residual)
    y = failed.astype(float)
    accepted, lost, costs = order.sums(w), order.sums(w * y), order.sums(w * residual)
    perfect = resample.Order.of(-y)
    at_best = perfect.sums(w), perfect.sums(w * y)
    inside = (confidence >= threshold).astype(float)
    values = {
        "augrc": resample.augrc(accepted, lost),
        "aurc": resample.aurc(accepted, lost),
        "residual_augrc": resample.augrc(accepted, costs),
        "auroc": resample.auroc(accepted, lost),
        "auprc": resample.auprc(accepted, lost),
        "accuracy_at_coverage": resample.accuracy_at(accepted, lost, coverage),
        "accuracy": resample.mean(w, ((probability < 0.5) == failed).astype(float)),
        "ece": resample.calibration_error(probability, 1 - y, w),
        "brier": resample.mean(w, (probability - (1 - y)) ** 2),
        "realised_risk": resample.mean(w * inside, y),
        "realised_coverage": resample.mean(w, inside),
        "prevalence": resample.mean(w, y),
    }
    values["excess_augrc"] = np.maximum(values["augrc"] - resample.augrc(*at_best), 0.0)  # not below by rounding
    values["excess_aurc"] = values["aurc"] - resample.best_aurc(values["prevalence"])
    values["majority_accuracy"] = np.maximum(values["prevalence"], 1 - values["prevalence"])
    reasons = dict.fromkeys(("auroc", "auprc"), one_class(failed))
    if len(order.ends) == 1 or len(best.ends) == 1:
        which = "confidence" if len(order.ends) == 1 else "error"
        values["spearman"], reasons["spearman"] = np.full(len(w), np.nan), f"the {which} is constant"
    else:
        values["spearman"] = resample.correlation(resample.ranks(order, w), resample.ranks(best, w), w)
    if not inside.any():
        reasons["realised_risk"] = "no case lies above the threshold: nothing is accepted"
    # shares of accepted cases rest on the groups that these would fill
    accepting = {"realised_risk": float(values["realised_coverage"][0]), "accuracy_at_coverage": coverage}
    return {
        k: _scored(k, v, reasons.get(k, ""), n, groups, _unit(k, unit), accepting.get(k, 1.0))
        for k, v in values.items()
    }


def _unit(name: str, unit: str) -> str:
    return unit if name == "residual_augrc" else "1"


def _scored(name: str, values: np.ndarray, why: str, n: int, groups: int, unit: str, accepted: float) -> Scored:
    value, better = float(values[0]), BETTER[name]
    if why or not np.isfinite(value):
        return Scored(None, None, "", n, groups, unit, better, why or "not defined on these cases")
    if groups < resample.FEWEST_GROUPS:
        note = f"{groups} groups, {resample.FEWEST_GROUPS} needed"
        return Scored(value, None, note, n, groups, unit, better)
    drawn = resample.interval(values)
    if drawn is None:
        note = "not defined in more than a tenth of the resamples"
        return Scored(value, None, note, n, groups, unit, better)
    found, note = known_interval(name, value, drawn), f"bootstrap over {groups} groups"
    method: Method = "bootstrap"
    if found is None and name in SHARES and value in (0.0, 1.0):
        trials = max(1, int(groups * accepted))
        _, low, high = clopper_pearson(round(value) * trials, trials)
        method = "clopper_pearson"
        found, note = (low, high), f"Clopper-Pearson over {trials} groups, which are all the same"
    elif found is None:
        note += "; no interval: all resamples are equal"
    return Scored(value, found, note, n, groups, unit, better, method=method)


def score_table(folder: str | Path, *, coverage: float = 0.25, target_risk: float = 0.05) -> dict[str, Any]:
    """{rule: {domain: {source: {score: Scored}}}} of the folder of a finished unit of kind ``selective``.

    Domains are ``test`` and the out-of-distribution parts. Thresholds and probabilities come from the calibration part.
    """
    folder = Path(folder)
    about = json.loads((folder / "about.json").read_text())
    out: dict[str, Any] = {}
    with np.load(folder / "confidence.npz") as kept:
        for rule, facts in about["rules"].items():
            if facts.get("why_not"):
                continue
            domains = out.setdefault(rule, {})
            column = {k.split("|", 1)[1]: kept[k] for k in kept.files if k.startswith(f"{rule}|")}
            failures, states = column["calibration|failed"], facts["probability"]
            calibrated = {
                s: _calibrated(column[f"calibration|{s}"], failures, states[s], target_risk) for s in facts["sources"]
            }
            for domain in facts["domains"]:
                failed, residual = column[f"{domain}|failed"], column[f"{domain}|residual"]
                group = column[f"{domain}|sample"]
                draws = int(np.clip(CELLS // max(1, len(failed)), FEWEST_DRAWS, RESAMPLES))
                groups = len(np.unique(group))
                w = resample.weights(group, draws if groups >= resample.FEWEST_GROUPS else 0)
                for source in facts["sources"]:
                    threshold, curve = calibrated[source]
                    confidence = column[f"{domain}|{source}"]
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", RuntimeWarning)
                        probability = np.nan_to_num(curve(confidence), nan=0.5)
                    domains.setdefault(domain, {})[source] = score_source(
                        confidence,
                        failed,
                        residual,
                        w,
                        groups,
                        unit=facts["unit"],
                        coverage=coverage,
                        threshold=threshold,
                        probability=probability,
                    )
    return out


def _calibrated(score: np.ndarray, failed: np.ndarray, probability: bool, risk: float):
    """(threshold for the risk, function to p(reliable)); a score with NaN is not calibrated."""
    if not np.isfinite(score).all():
        return float("inf"), lambda s: np.full(len(s), 0.5)
    return threshold_for_risk(score, failed, risk), as_probability(score, failed, probability=probability)
