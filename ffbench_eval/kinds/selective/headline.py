"""Which confidence source stands for a model: the one with the lowest AUGRC on the calibration part.

The test part says how good it is and has no say in the choice: the best of thirteen sources on the test part would be
too good by luck.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...report import Interval, Metric
from . import ELIGIBLE


def headline_source(folder: str | Path) -> str:
    """Of the folder of a finished unit of kind ``selective``; empty if no rule could be scored."""
    found = calibration_scores(folder)
    return best({n.split(".")[2]: m.value for n, m in found.items() if n.startswith("augrc.")}) if found else ""


def best(augrc: dict[str, float | None]) -> str:
    """The eligible source with the lowest value; of equals the first in `ELIGIBLE`, whatever the order of ``augrc``.

    >>> best({"oracle": 0.0, "size_only": 0.2, "mixture": 0.1, "probe": 0.1})
    'probe'
    """
    known = {s: value for s in ELIGIBLE if (value := augrc.get(s)) is not None}
    return min(known, key=lambda s: known[s]) if known else ""


def calibration_scores(folder: str | Path) -> dict[str, Metric]:
    """What the headline was chosen by: ``augrc.calibration.<source>``, ``auroc.calibration.<source>`` and the share
    that failed, under the first rule that could be scored. Sources whose confidences are not finite are left out."""
    from ffbench_metrics import augrc, auroc_failure, normalised_score

    folder = Path(folder)
    about = json.loads((folder / "about.json").read_text())
    rule = next((r for r, f in about["rules"].items() if not f.get("why_not")), None)
    if rule is None:
        return {}
    note = "of the calibration part, by which the headline source is chosen"
    out: dict[str, Metric] = {}
    with np.load(folder / "confidence.npz") as kept:
        failed = np.asarray(kept[f"{rule}|calibration|failed"], bool)
        share = float(failed.mean())
        plain: dict[str, Any] = {"unit": "1", "n": len(failed), "aggregate": "bootstrap"}
        plain["uncertainty"] = Interval(reason=note)
        out["prevalence.calibration"] = Metric(value=share, better="neither", **plain)
        for source in about["rules"][rule]["sources"]:
            confidence = kept[f"{rule}|calibration|{source}"]
            if not np.isfinite(confidence).all():
                continue
            low, value = share**2 / 2, float(augrc(confidence, failed))
            score = normalised_score(value, low, share / 2) if share / 2 > low else None
            out[f"augrc.calibration.{source}"] = Metric(value=value, trivial=share / 2, score=score, **plain)
            if source != "oracle" and 0 < share < 1:
                value = float(auroc_failure(confidence, failed))
                out[f"auroc.calibration.{source}"] = Metric(value=value, better="higher", **plain)
    return out
