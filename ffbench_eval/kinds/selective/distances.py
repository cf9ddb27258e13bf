"""Sources that ask how far a structure lies from the training embeddings; they need no labels."""

from __future__ import annotations

import numpy as np

from . import features
from .cases import Cases

MOST = 5000  # training rows kept at level atom


class _Space:
    """Standardised embeddings of the training cases."""

    def __init__(self, train: Cases):
        x = features.pooled_embedding(train)
        if len(x) < 3:
            raise ValueError(f"train has {len(x)} cases; distances in embedding space need at least 3")
        self.mean, self.spread = features.standardised(x)
        x = (x - self.mean) / self.spread
        self.rows = x if len(x) <= MOST else x[np.random.default_rng(0).choice(len(x), MOST, replace=False)]

    def __call__(self, cases: Cases) -> np.ndarray:
        return (features.pooled_embedding(cases) - self.mean) / self.spread


class NearestNeighbours:
    """Minus the mean distance to the ``k`` nearest training cases."""

    probability = False

    def __init__(self, k: int = 10):
        self.k = k

    def fit(self, train: Cases) -> NearestNeighbours:
        from scipy.spatial import cKDTree

        self.space = _Space(train)
        self.tree = cKDTree(self.space.rows)
        return self

    def score(self, cases: Cases) -> np.ndarray:
        k = min(self.k, len(self.space.rows))
        distance, _ = self.tree.query(self.space(cases), k=k)
        return -distance.reshape(-1, k).mean(1)


class Mahalanobis:
    """Minus the Mahalanobis distance from the training mean, covariance shrunk after Ledoit and Wolf (2004)."""

    probability = False

    def fit(self, train: Cases) -> Mahalanobis:
        from sklearn.covariance import LedoitWolf

        self.space = _Space(train)
        self.model = LedoitWolf().fit(self.space.rows)
        return self

    def score(self, cases: Cases) -> np.ndarray:
        return -np.sqrt(self.model.mahalanobis(self.space(cases)))


class Mixture:
    """Log-likelihood under a mixture of Gaussians in the leading principal components of the training embeddings."""

    probability = False

    def __init__(self, components: int = 4, dimensions: int = 12):
        self.components, self.dimensions = components, dimensions

    def fit(self, train: Cases) -> Mixture:
        from sklearn.decomposition import PCA
        from sklearn.mixture import GaussianMixture

        self.space = _Space(train)
        x = self.space.rows
        self.pca = PCA(min(self.dimensions, *x.shape), random_state=0).fit(x)
        clusters = max(1, min(self.components, len(x) // 20))
        self.model = GaussianMixture(clusters, reg_covar=1e-3, random_state=0).fit(self.pca.transform(x))
        return self

    def score(self, cases: Cases) -> np.ndarray:
        return self.model.score_samples(self.pca.transform(self.space(cases)))
