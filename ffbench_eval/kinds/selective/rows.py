"""Rows and curves of a report from a finished unit of kind ``selective``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ffbench_metrics import normalised_score, reliability_diagram, risk_coverage_curve

from ...report import Curve, Interval, Metric, axis, rounded
from . import SHORT
from .calibration import as_probability
from .headline import calibration_scores, headline_source
from .table import Scored, score_table

EVERY_SOURCE = ("augrc", "auroc")
OF_THE_DOMAIN = ("prevalence", "majority_accuracy")
SHOWN = 200


def metrics(folder: Path, p: Any) -> dict[str, Metric]:
    """``score.domain.source`` under the first rule that could be scored, ``score.domain.source.rule`` under the others.

    AUGRC and AUROC of every source, all scores of the headline source; prevalence and majority accuracy per domain;
    AUGRC and AUROC of the calibration part, by which the headline source is chosen.
    Under the other rules AUGRC alone, out of distribution of the headline source and the oracle only: `score_table`
    has the rest.
    """
    about = json.loads((folder / "about.json").read_text())
    table = score_table(folder, coverage=p.coverage, target_risk=p.target_risk)
    out: dict[str, Metric] = {}
    lead = headline_source(folder)
    for rank, (rule, domains) in enumerate(table.items()):
        end = "" if rank == 0 else f".{rule}"
        for domain, sources in domains.items():
            base = next(iter(sources.values()))["prevalence"].value
            for name in EVERY_SOURCE if rank == 0 else EVERY_SOURCE[:1]:
                for source, scores in sources.items():
                    if (name == "auroc" and source == "oracle") or (
                        rank and domain != "test" and source not in (lead, "oracle")
                    ):
                        continue
                    bound = sources["oracle"][name].value if "oracle" in sources else None
                    out[f"{name}.{domain}.{source}{end}"] = _metric(name, scores[name], base, bound)
            if rank == 0 and lead:
                for name, scored in sources[lead].items():
                    key = f"{name}.{domain}" if name in OF_THE_DOMAIN else f"{name}.{domain}.{lead}"
                    out.setdefault(key, _metric(name, scored, base, None))
    out |= calibration_scores(folder)
    for rule, facts in about["rules"].items():
        if facts.get("why_not"):
            out[f"augrc.test.{rule}"] = Metric(value=None, unit="1", not_scored=facts["why_not"])
    if about.get("cost") and (cost := _cost(about)) is not None:
        out["probe_cost"] = cost
    return out


def _metric(name: str, scored: Scored, base: float | None, bound: float | None) -> Metric:
    """AUGRC has a trivial value, half the prevalence (random), and a score of 1 at the oracle's."""
    trivial = score = None
    if name == "augrc" and scored.value is not None and base is not None:
        trivial = base / 2
        if bound is not None and trivial > bound:
            score = normalised_score(scored.value, bound, trivial)
    return Metric(
        value=scored.value,
        unit=scored.unit,
        uncertainty=Interval.of(scored.interval, scored.note, scored.method),
        n=scored.n,
        better=scored.better,
        aggregate="bootstrap",
        trivial=trivial,
        score=score,
        not_scored=scored.why,
    )


def _cost(about: dict[str, Any]) -> Metric | None:
    seconds = next((f["probe_score_s"] for f in about["rules"].values() if "probe_score_s" in f), None)
    model = about["cost"]["model_s"]
    if seconds is None or not model > 0:
        return None
    note = "processor time of the probe over that of one evaluation of the model, per structure, in one job"
    return Metric(
        value=seconds / model,
        unit="1",
        uncertainty=Interval(method="one_job", reason=note),
        n=1,
        values=[seconds / model],
    )


def curves(folder: Path) -> dict[str, Curve]:
    """Risk against coverage per domain; reliability, error against confidence and a molecule for the headline."""
    about = json.loads((folder / "about.json").read_text())
    rule = next((r for r, f in about["rules"].items() if not f.get("why_not")), None)
    if rule is None:
        return {}
    facts = about["rules"][rule]
    lead = headline_source(folder)
    out = {}
    with np.load(folder / "confidence.npz") as kept:
        for domain in facts["domains"]:
            failed = kept[f"{rule}|{domain}|failed"]
            grid = np.linspace(0.02, 1, 50)
            series = {}
            for source in facts["sources"]:
                confidence = kept[f"{rule}|{domain}|{source}"]
                if np.isfinite(confidence).all():
                    coverage, risk = risk_coverage_curve(confidence, failed)
                    series[SHORT.get(source, source.replace("_", " "))] = rounded(np.interp(grid, coverage, risk))
            out[f"risk_coverage_{domain}"] = Curve(
                x_label="coverage (share of cases accepted)",
                y_label="share of accepted that failed",
                x=axis(grid),
                series=series,
                note=f"{len(failed)} cases; failed: {_quantity(rule)} above {facts['threshold']:.3g} {facts['unit']}",
            )
        if not lead:
            return out
        calibration = kept[f"{rule}|calibration|{lead}"]
        score, failed = kept[f"{rule}|test|{lead}"], kept[f"{rule}|test|failed"]
        error = kept[f"{rule}|test|residual"]
        if np.isfinite(calibration).all() and np.isfinite(score).all():
            curve = as_probability(
                calibration, kept[f"{rule}|calibration|failed"], probability=facts["probability"][lead]
            )
            trust = curve(score)
            bins = reliability_diagram(trust, ~failed)
            out["reliability_parity"] = Curve(
                kind="points",
                x_label="stated p(reliable)",
                y_label="share that was reliable",
                x=axis(bins.probability),
                series={"model": rounded(bins.frequency)},
                note=f"{lead.replace('_', ' ')}, equal-mass bins, after calibration on its own part",
            )
            shown = np.random.default_rng(0).permutation(len(trust))[:SHOWN]
            out["error_confidence"] = Curve(
                kind="points",
                x_label="stated p(reliable)",
                y_label=f"{_quantity(rule)} (m{facts['unit']})",
                x=axis(trust[shown]),
                series={"model": rounded(1000 * error[shown])},
                note=f"{len(shown)} of {len(trust)} cases, {lead.replace('_', ' ')}",
            )
    if "molecule" in about and len(about["molecule"]["numbers"]) <= SHOWN:
        out["atom_importance"] = _molecule(about["molecule"])
    return out


def _quantity(rule: str) -> str:
    kind = rule.rsplit("_", 1)[0]
    return {"energy": "energy error", "force": "largest force error", "atom_force": "force error of an atom"}[kind]


def _molecule(m: dict[str, Any]) -> Curve:
    """Seen along its thinnest direction; ``x`` and the series are per atom."""
    x = np.array(m["positions"], float)
    x = x - x.mean(0)
    _, _, axes = np.linalg.svd(x, full_matrices=False)
    turned = x @ axes.T
    return Curve(
        kind="points",
        x_label="x (Å)",
        y_label="y (Å)",
        x=axis(turned[:, 0]),
        series={
            "y": rounded(turned[:, 1]),
            "z": rounded(turned[:, 2] if turned.shape[1] > 2 else np.zeros(len(x))),
            "element": [float(z) for z in m["numbers"]],
            "importance": rounded(m["importance"]),
        },
        note=f"the test structure PROBE trusts least, p(reliable) {m['confidence']:.2f}",
    )
