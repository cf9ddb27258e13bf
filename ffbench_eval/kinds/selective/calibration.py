"""From scores to probabilities and thresholds, both chosen on the calibration part alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .labels import one_class

EDGE = 1e-6


def as_probability(score: np.ndarray, failed: np.ndarray, *, probability: bool) -> Callable[[np.ndarray], np.ndarray]:
    """A function from scores to p(reliable), fitted on scores and labels of the calibration part.

    Probabilities are rescaled in temperature (one number, Guo et al. 2017), other scores go through a logistic curve in
    their rank-free standardised value (Platt 1999). With labels of one class nothing is fitted: probabilities stay as
    they are, other scores become the share of reliable cases.
    """
    from scipy.optimize import minimize_scalar

    y = ~np.asarray(failed, bool)
    if probability:
        if one_class(failed):
            return lambda s: s
        logit = _logit(score)

        def loss(log_temperature: float) -> float:
            z = logit / np.exp(log_temperature)
            return float(np.logaddexp(0, np.where(y, -z, z)).mean())

        temperature = np.exp(minimize_scalar(loss, bounds=(-3, 5), method="bounded").x)
        return lambda s: 1 / (1 + np.exp(-_logit(s) / temperature))
    spread = score.std()
    if one_class(failed) or not spread > 0:
        share = float(y.mean())
        return lambda s: np.full(len(s), share)
    from sklearn.linear_model import LogisticRegression

    middle = score.mean()
    curve = LogisticRegression().fit(((score - middle) / spread)[:, None], y)
    if curve.coef_[0, 0] < 0:  # the order of the scores is theirs: a source that is wrong stays wrong
        share = float(y.mean())
        return lambda s: np.full(len(s), share)
    return lambda s: curve.predict_proba(np.clip((s - middle) / spread, -50, 50)[:, None])[:, 1]


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, EDGE, 1 - EDGE)
    return np.log(p / (1 - p))


def threshold_for_risk(score: np.ndarray, failed: np.ndarray, risk: float = 0.05) -> float:
    """The lowest score to accept so that at most the share ``risk`` of accepted cases failed; inf if none does it.

    >>> threshold_for_risk(np.array([4.0, 3.0, 2.0, 1.0]), np.array([False, False, True, True]), 0.4)
    2.0
    """
    if not 0 <= risk < 1:
        raise ValueError(f"risk must lie in [0, 1), got {risk}")
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    share = np.cumsum(failed[order])[ends] / (ends + 1)
    good = np.flatnonzero(share <= risk + 1e-12)
    return float(score[order][ends[good[-1]]]) if len(good) else float("inf")
