"""All confidence sources by name, and which of them a model allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .cases import Cases
from .distances import Mahalanobis, Mixture, NearestNeighbours
from .given import EnergySpread, ForceSpread, Oracle, OwnUncertainty, RandomScore
from .simple import CompositionOnly, GradientBoosting, LinearProbe, SizeOnly


class Source(Protocol):
    """``probability``: the score is p(reliable); otherwise only its order means something."""

    probability: bool

    def fit(self, train: Cases) -> Any: ...

    def score(self, cases: Cases) -> np.ndarray: ...


def _probe(**settings: Any) -> Any:
    from .probe import Probe

    return Probe(**settings)


# name -> (constructor, column of Cases that it needs)
SOURCES: dict[str, tuple[Callable[..., Any], str]] = {
    "probe": (_probe, "embedding"),
    "linear_probe": (LinearProbe, "embedding"),
    "gradient_boosting": (GradientBoosting, ""),
    "size_only": (SizeOnly, ""),
    "composition_only": (CompositionOnly, ""),
    "nearest_neighbours": (NearestNeighbours, "embedding"),
    "mahalanobis": (Mahalanobis, "embedding"),
    "mixture": (Mixture, "embedding"),
    "energy_spread": (EnergySpread, "energy_spread"),
    "force_spread": (ForceSpread, "force_spread"),
    "own_uncertainty": (OwnUncertainty, "uncertainty"),
    "random": (RandomScore, ""),
    "oracle": (Oracle, ""),
}
WHY_NOT = {
    "embedding": (
        "the model gives no per-atom embedding (return one, or name a layer as embedding= in its card): "
        "no {} - size, composition and gradient boosting are what is left"
    ),
    "energy_spread": "the model is no ensemble of members: no {}",
    "force_spread": "the model is no ensemble of members: no {}",
    "uncertainty": "the model states no uncertainty: no {}",
}


def available(cases: Cases) -> tuple[list[str], list[str]]:
    """(names of the sources that these cases allow, one sentence per thing the model lacks)."""
    missing: dict[str, list[str]] = {}
    names = []
    for name, (_, column) in SOURCES.items():
        if column and getattr(cases, column) is None:
            missing.setdefault(column, []).append(name)
        elif name == "own_uncertainty" and cases.energy_spread is not None:
            continue  # an ensemble's own uncertainty is its energy spread
        else:
            names.append(name)
    return names, [WHY_NOT[column].format(", ".join(which)) for column, which in missing.items()]
