"""Does a model know when it is wrong? Confidence sources with one interface, and what is needed to fit them.

Every source has ``fit(train) -> self`` and ``score(cases) -> [n]`` (high = trust); see docs/selective.md.

>>> from ffbench_eval.selective import Probe, ask, label  # doctest: +SKIP
>>> train = label(ask(model, frames), "energy_quantile")  # doctest: +SKIP
>>> Probe().fit(train).score(ask(model, new_frames))  # doctest: +SKIP
"""

import importlib

_WHERE = {
    "Cases": ".cases",
    "ask": ".cases",
    "cases_of": ".cases",
    "with_embedding": ".hooks",
    "Probe": ".probe",
    "ProbeNetwork": ".network",
    "LinearProbe": ".simple",
    "GradientBoosting": ".simple",
    "SizeOnly": ".simple",
    "CompositionOnly": ".simple",
    "NearestNeighbours": ".distances",
    "Mahalanobis": ".distances",
    "Mixture": ".distances",
    "EnergySpread": ".given",
    "ForceSpread": ".given",
    "OwnUncertainty": ".given",
    "RandomScore": ".given",
    "Oracle": ".given",
    "SOURCES": ".catalogue",
    "available": ".catalogue",
    "RULES": ".labels",
    "Rule": ".labels",
    "label": ".labels",
    "groups_of": ".groups",
    "deal": ".groups",
    "check_no_leak": ".groups",
    "threshold_for_risk": ".calibration",
    "as_probability": ".calibration",
    "score_table": ".table",
}
__all__ = list(_WHERE)


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module 'ffbench_eval.selective' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name], __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
