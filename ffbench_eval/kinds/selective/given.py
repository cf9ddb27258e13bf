"""Sources that need no fitting: the spread of an ensemble, the model's own uncertainty, and the two bounds."""

from __future__ import annotations

import numpy as np

from .cases import Cases


def _needed(value: np.ndarray | None, what: str) -> np.ndarray:
    if value is None:
        raise ValueError(f"the model gives no {what}")
    return value


class EnergySpread:
    """Minus the standard deviation of the members' energies (eV)."""

    probability = False

    def fit(self, train: Cases) -> EnergySpread:
        return self

    def score(self, cases: Cases) -> np.ndarray:
        return -cases.per_case(_needed(cases.energy_spread, "members: an ensemble is needed"))


class ForceSpread:
    """Minus the largest standard deviation of a force over the members (eV/Angstrom); at level atom the atom's own."""

    probability = False

    def fit(self, train: Cases) -> ForceSpread:
        return self

    def score(self, cases: Cases) -> np.ndarray:
        spread = _needed(cases.force_spread, "members: an ensemble is needed")
        return -(spread if cases.level == "atom" else np.maximum.reduceat(spread, cases.offsets[:-1]))


class OwnUncertainty:
    """Minus what the model itself states."""

    probability = False

    def fit(self, train: Cases) -> OwnUncertainty:
        return self

    def score(self, cases: Cases) -> np.ndarray:
        return -cases.per_case(_needed(cases.uncertainty, "uncertainty"))


class RandomScore:
    """Random numbers: the lower bound."""

    probability = False

    def __init__(self, seed: int = 0):
        self.seed = seed

    def fit(self, train: Cases) -> RandomScore:
        return self

    def score(self, cases: Cases) -> np.ndarray:
        return np.random.default_rng(self.seed).random(cases.number)


class Oracle:
    """Minus the true error: the upper bound, which nothing can beat."""

    probability = False

    def fit(self, train: Cases) -> Oracle:
        return self

    def score(self, cases: Cases) -> np.ndarray:
        return -_needed(cases.residual, "known error: label the cases first")
