"""Sources that learn from labels with scikit-learn; ``score`` is p(reliable)."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import features
from .cases import Cases
from .labels import one_class


def checked_labels(train: Cases) -> np.ndarray:
    """``failed`` of the training cases; ValueError if they were not labelled or hold one class."""
    if train.failed is None:
        raise ValueError("train carries no labels: use label(cases, rule) first")
    if one_class(train.failed):
        raise ValueError(f"train: {one_class(train.failed)}; nothing can be learnt, choose another rule")
    return train.failed


def _reliable(model: Any, x: np.ndarray) -> np.ndarray:
    return model.predict_proba(x)[:, list(model.classes_).index(False)]


class LinearProbe:
    """Logistic regression on the mean embedding (the atom's own at level atom), strength by cross-validation."""

    probability = True

    def fit(self, train: Cases) -> LinearProbe:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss
        from sklearn.model_selection import GroupKFold, KFold

        failed, x = checked_labels(train), features.pooled_embedding(train)
        self.mean, self.spread = features.standardised(x)
        x = (x - self.mean) / self.spread
        groups = None if train.group is None else train.per_case(train.group)
        if groups is not None and len(np.unique(groups)) < 3:
            groups = None
        folds = KFold(3) if groups is None else GroupKFold(3)

        def loss(strength: float) -> float:
            total = 0.0
            for fit, held in folds.split(x, failed, groups):
                if failed[fit].all() or not failed[fit].any():
                    return np.inf
                one = LogisticRegression(C=strength, max_iter=500).fit(x[fit], failed[fit])
                total += log_loss(failed[held], one.predict_proba(x[held])[:, 1], labels=[False, True])
            return total

        best = min((0.0003, 0.003, 0.03, 0.3), key=loss)
        self.model = LogisticRegression(C=best, max_iter=1000).fit(x, failed)
        return self

    def score(self, cases: Cases) -> np.ndarray:
        return _reliable(self.model, (features.pooled_embedding(cases) - self.mean) / self.spread)


class GradientBoosting:
    """Boosted trees on plain numbers of the answer: energy, norms of forces, size, composition; no embedding."""

    probability = True

    def fit(self, train: Cases) -> GradientBoosting:
        from sklearn.ensemble import HistGradientBoostingClassifier

        failed = checked_labels(train)
        self.elements, self.offsets = features.element_energies(train)
        x = features.answer(train, self.elements, self.offsets)
        self.model = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.05, max_leaf_nodes=8, random_state=0)
        self.model.fit(x, failed)
        return self

    def score(self, cases: Cases) -> np.ndarray:
        return _reliable(self.model, features.answer(cases, self.elements, self.offsets))


class SizeOnly:
    """The number of atoms and nothing else: how much of a score is the size of the molecule."""

    probability = True

    def fit(self, train: Cases) -> SizeOnly:
        self.model = _logistic(features.size(train), checked_labels(train))
        return self

    def score(self, cases: Cases) -> np.ndarray:
        return _reliable(self.model, features.size(cases))


class CompositionOnly:
    """The counts of the elements (at level atom also the atom's own element) and nothing else."""

    probability = True

    def fit(self, train: Cases) -> CompositionOnly:
        self.elements = np.unique(train.atomic_numbers)
        self.model = _logistic(features.composition(train, self.elements), checked_labels(train))
        return self

    def score(self, cases: Cases) -> np.ndarray:
        return _reliable(self.model, features.composition(cases, self.elements))


def _logistic(x: np.ndarray, failed: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x, failed)
