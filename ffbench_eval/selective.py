"""Does a model know when it is wrong? Confidence sources with one interface, and what is needed to fit them.

Every source has ``fit(train) -> self`` and ``score(cases) -> [n]`` (high = trust); see docs/selective.md.

>>> from ffbench_eval.selective import Probe, ask, label  # doctest: +SKIP
>>> train = label(ask(model, frames), "energy_quantile")  # doctest: +SKIP
>>> Probe().fit(train).score(ask(model, new_frames))  # doctest: +SKIP
"""

import importlib

_WHERE = {
    "Cases": ".kinds.selective.cases",
    "ask": ".kinds.selective.cases",
    "cases_of": ".kinds.selective.cases",
    "with_embedding": ".models.embedding",
    "Probe": ".kinds.selective.probe",
    "ProbeNetwork": ".kinds.selective.network",
    "LinearProbe": ".kinds.selective.simple",
    "GradientBoosting": ".kinds.selective.simple",
    "SizeOnly": ".kinds.selective.simple",
    "CompositionOnly": ".kinds.selective.simple",
    "NearestNeighbours": ".kinds.selective.distances",
    "Mahalanobis": ".kinds.selective.distances",
    "Mixture": ".kinds.selective.distances",
    "EnergySpread": ".kinds.selective.given",
    "ForceSpread": ".kinds.selective.given",
    "OwnUncertainty": ".kinds.selective.given",
    "RandomScore": ".kinds.selective.given",
    "Oracle": ".kinds.selective.given",
    "SOURCES": ".kinds.selective.catalogue",
    "available": ".kinds.selective.catalogue",
    "RULES": ".kinds.selective.labels",
    "Rule": ".kinds.selective.labels",
    "label": ".kinds.selective.labels",
    "groups_of": ".kinds.selective.groups",
    "deal": ".kinds.selective.groups",
    "check_no_leak": ".kinds.selective.groups",
    "threshold_for_risk": ".kinds.selective.calibration",
    "as_probability": ".kinds.selective.calibration",
    "score_table": ".kinds.selective.table",
}
__all__ = list(_WHERE)


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module 'ffbench_eval.selective' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name], "ffbench_eval"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
