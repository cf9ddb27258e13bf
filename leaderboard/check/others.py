"""An entry beside those of the board: copied numbers, one fingerprint under two theories, names easily confused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ffbench_eval.report import same_theory

from ..entry.schema import Entry
from .bounds import bound
from .findings import Finding, error, warning


def check_duplicates(entry: Entry, others: dict[str, Any]) -> Iterator[Finding]:
    mine = _samples(json.loads(entry.report.model_dump_json()))
    for key, other in others.items():
        if key.rpartition("/")[0] == entry.key.rpartition("/")[0] or not isinstance(other, dict):
            continue  # suites share frames: a model has the same errors in two of them
        report = other.get("report")
        if not isinstance(report, dict):
            continue
        if report.get("content_sha256") == entry.report.content_sha256:
            yield error("$.report", f"is the same report as {key}", "submit a model once")
            continue
        same = [where for where, values in _samples(report).items() if mine.get(where) == values]
        if same:
            where = "$.report.tasks." + same[0]
            yield error(where, f"has the very numbers of {key} (in {len(same)} metrics)", "submit your own run")


def check_fingerprints(entry: Entry, others: dict[str, Any]) -> Iterator[Finding]:
    """The same weights have one level of theory, here and in every other entry."""
    mine = {c.fingerprint: c.theory for c in (entry.report.model, *entry.report.models.values()) if c.fingerprint}
    for key, other in others.items():
        report = other.get("report") if isinstance(other, dict) else None
        for card in _cards_of(report) if key != entry.key else ():
            theory = mine.get(str(card.get("fingerprint")))
            if theory is not None and theory != card.get("theory") and not same_theory(theory, str(card.get("theory"))):
                text = f"is {theory!r}, {key} has the same fingerprint and {card.get('theory')!r}"
                yield error("$.report.model.theory", text, "state the theory the weights were trained on")
                return


def _cards_of(report: Any) -> list[dict[str, Any]]:
    if not isinstance(report, dict):
        return []
    models = report.get("models")
    found = [report.get("model"), *(models.values() if isinstance(models, dict) else ())]
    return [c for c in found if isinstance(c, dict)]


def check_names(entry: Entry, others: dict[str, Any]) -> Iterator[Finding]:
    """Names that are easily taken for those of somebody else."""
    for key in others:
        org, _, model = key.split("/")[0].partition("__")
        if org != entry.org and (likeness(org) == likeness(entry.org) or likeness(model) == likeness(entry.model)):
            what = f"{entry.org}__{entry.model} is easily taken for {org}__{model}"
            yield warning("$.model", what, "maintainers: make sure that it is who it says")
            return


def likeness(name: str) -> str:
    """What is left of a name for a hasty eye.

    >>> likeness("pa1nn") == likeness("painn"), likeness("mace2") == likeness("MACE"), likeness("so3lr")
    (True, True, 'soeir')
    """
    bare = re.sub(r"[^a-z0-9]", "", name.lower()).rstrip("0123456789") or name.lower()
    return bare.translate(str.maketrans("0135l8", "oiesib")).replace("rn", "m").replace("vv", "w")


def _samples(report: dict[str, Any]) -> dict[str, tuple]:
    """Per-member values of continuous metrics: two models never share them, but for those that predict no forces."""
    out = {}
    try:
        for task, row in report["tasks"].items():
            force = row["metrics"].get("force_mae") or row["metrics"].get("scan_force_mae") or {}
            value, trivial = force.get("value"), force.get("trivial")
            nothing = value is not None and trivial is not None and abs(value - trivial) <= 1e-6 * trivial
            for name, metric in row["metrics"].items():
                limits, values = bound(name), tuple(metric["values"])
                if limits and limits.continuous and len({v for v in values if v}) > 1 and not nothing:
                    out[f"{task}.metrics.{name}"] = values
    except (KeyError, TypeError, AttributeError):
        return out
    return out
