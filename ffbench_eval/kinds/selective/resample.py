"""Selective scores of many weightings of the same cases at once: a bootstrap over groups is one matrix of weights.

Every function takes ``w`` [R, n] (how often each case was drawn, row by row) and returns [R]. With weights of 1 they
equal the functions of `ffbench_metrics` (tested).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEWEST_GROUPS = 10


def weights(group: np.ndarray, resamples: int, seed: int = 0) -> np.ndarray:
    """[resamples + 1, n]: ones, then draws of whole groups with replacement."""
    names, at = np.unique(group, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return np.vstack([np.ones((1, len(group))), drawn[:, at].astype(float)])


@dataclass(frozen=True)
class Order:
    """Cases sorted by falling confidence; ``ends``: last place of each distinct confidence."""

    order: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, confidence: np.ndarray) -> Order:
        order = np.argsort(-confidence, kind="stable")
        return cls(order, np.append(np.flatnonzero(np.diff(confidence[order])), len(order) - 1))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums of ``values`` [R, n] over all accepted cases, per distinct confidence [R, K]."""
        return np.cumsum(values[:, self.order], axis=1)[:, self.ends]


def augrc(accepted: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """From running sums of weights and of losses [R, K]."""
    total = accepted[:, -1:]
    return _area(accepted / total, lost / total, np.zeros(len(total)))


def aurc(accepted: np.ndarray, lost: np.ndarray) -> np.ndarray:
    rows = np.arange(len(accepted))
    risk = np.divide(lost, accepted, out=np.zeros_like(lost), where=accepted > 0)
    first = risk[rows, (accepted > 0).argmax(1)]
    risk = np.where(accepted > 0, risk, first[:, None])
    return _area(accepted / accepted[:, -1:], risk, first)


def best_aurc(share: np.ndarray) -> np.ndarray:
    """The lowest AURC where this share [R] of the cases failed: e + (1 - e) ln(1 - e)."""
    right = 1 - share
    return share + right * np.log(np.where(right > 0, right, 1.0))


def _area(coverage: np.ndarray, risk: np.ndarray, start: np.ndarray) -> np.ndarray:
    steps = np.diff(coverage, axis=1, prepend=0.0)
    before = np.concatenate([start[:, None], risk[:, :-1]], axis=1)
    return (steps * (risk + before)).sum(1) / 2


def auroc(accepted: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Of detecting failures by low confidence; NaN where a draw holds one class."""
    good = accepted - lost
    failures = np.diff(lost, axis=1, prepend=0.0)
    between = good - np.diff(good, axis=1, prepend=0.0) / 2
    pairs = lost[:, -1] * good[:, -1]
    return np.divide((failures * between).sum(1), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def auprc(accepted: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Average precision of detecting failures by low confidence."""
    failures = np.diff(lost, axis=1, prepend=0.0)
    found = lost[:, -1:] - lost + failures
    flagged = accepted[:, -1:] - accepted + np.diff(accepted, axis=1, prepend=0.0)
    precision = np.divide(found, flagged, out=np.zeros_like(found), where=flagged > 0)
    total = lost[:, -1]
    return np.divide((failures * precision).sum(1), total, out=np.full(len(total), np.nan), where=total > 0)


def accuracy_at(accepted: np.ndarray, lost: np.ndarray, coverage: float) -> np.ndarray:
    share = accepted / accepted[:, -1:]
    at = (share >= coverage - 1e-12).argmax(1)
    rows = np.arange(len(at))
    return 1 - lost[rows, at] / accepted[rows, at]


def mean(w: np.ndarray, values: np.ndarray) -> np.ndarray:
    total = w.sum(1)
    return np.divide(w @ values, total, out=np.full(len(w), np.nan), where=total > 0)


def ranks(order: Order, w: np.ndarray) -> np.ndarray:
    """Mid ranks [R, n] of the values that made ``order``, in each draw."""
    running = order.sums(w)
    middle = running - np.diff(running, axis=1, prepend=0.0) / 2
    size = np.diff(order.ends, prepend=-1)
    out = np.empty_like(w)
    out[:, order.order] = np.repeat(middle, size, axis=1)
    return -out


def correlation(a: np.ndarray, b: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Weighted Pearson correlation of [R, n] and [R, n]; of ranks it is Spearman's."""
    total = w.sum(1, keepdims=True)
    a = a - (w * a).sum(1, keepdims=True) / total
    b = b - (w * b).sum(1, keepdims=True) / total
    size = np.sqrt((w * a * a).sum(1) * (w * b * b).sum(1))
    return np.divide((w * a * b).sum(1), size, out=np.full(len(w), np.nan), where=size > 0)


def calibration_error(p: np.ndarray, reliable: np.ndarray, w: np.ndarray, bins: int = 15) -> np.ndarray:
    """ECE over equal-mass bins of p(reliable); the bins are those of the whole sample."""
    where = np.searchsorted(np.sort(p), p, side="left") * bins // len(p)
    _, where = np.unique(where, return_inverse=True)
    member = np.eye(where.max() + 1)[where]
    return np.abs((w * (p - reliable)) @ member).sum(1) / w.sum(1)


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """95 % of the resampled values (all but the first); ``None`` if more than a tenth is not defined."""
    drawn = values[1:]
    known = drawn[np.isfinite(drawn)]
    if len(known) < 0.9 * len(drawn) or not len(known):
        return None
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
