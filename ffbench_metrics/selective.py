"""Selective prediction: does a confidence know when the model is wrong?

Confidence is high where the model is to be trusted; the residual (a loss, an absolute error, or 1 for failed) is >= 0.
"""

from typing import Any, NamedTuple

import numpy as np

from ffbench_metrics._check import checked, choice, whole


class ReliabilityDiagram(NamedTuple):
    """Calibration per non-empty bin: mean probability, observed frequency, number of samples."""

    probability: np.ndarray
    frequency: np.ndarray
    samples: np.ndarray


def risk_coverage_curve(confidence: Any, residual: Any, *, generalised: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Risk of the accepted samples as the threshold on the confidence falls; ties are accepted together.

    Args:
        confidence: [n], high = trust.
        residual: [n], at least 0.
        generalised: False: selective risk sum_accepted l / n_accepted. True: generalised risk sum_accepted l / n.

    Returns:
        coverage [k] (rising to 1) and risk [k] in the unit of the residual, one point per distinct confidence.

    Source: Geifman and El-Yaniv, NeurIPS 2017; Traub et al., NeurIPS 2024.

    Example:
        >>> risk_coverage_curve([0.9, 0.5, 0.5, 0.1], [0.0, 1.0, 0.0, 1.0])
        (array([0.25, 0.75, 1.  ]), array([0.        , 0.33333333, 0.5       ]))
    """
    c, loss = _pair(confidence, residual)
    order = np.argsort(-c, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(c[order])), len(c) - 1)
    accepted = ends + 1.0
    total = np.cumsum(loss[order])[ends]
    return accepted / len(c), total / (len(c) if generalised else accepted)


def aurc(confidence: Any, residual: Any) -> float:
    """Area under the risk-coverage curve (trapezoid; the first risk holds down to coverage 0).

    Args:
        confidence, residual: [n] as in `risk_coverage_curve`.

    Returns:
        In the unit of the residual, at least 0, best 0. For binary residuals with error rate e: a random confidence e,
        the best e + (1 - e) ln(1 - e).

    Source: Geifman, Uziel and El-Yaniv, ICLR 2019.

    Example:
        >>> aurc([0.5, 0.5, 0.5, 0.5], [0, 0, 1, 1])
        0.5
    """
    coverage, risk = risk_coverage_curve(confidence, residual)
    return float(np.trapezoid(np.concatenate([risk[:1], risk]), np.concatenate([[0.0], coverage])))


def augrc(confidence: Any, residual: Any) -> float:
    """Area under the generalised risk-coverage curve: the primary number of selective prediction.

    Args:
        confidence, residual: [n] as in `risk_coverage_curve`.

    Returns:
        In the unit of the residual, at least 0, best 0. For binary residuals with error rate e:
        (1 - AUROC_f) e (1 - e) + e^2 / 2, so e / 2 for a random confidence and e^2 / 2 for the best.

    Source: Traub et al., NeurIPS 2024.

    Example:
        >>> augrc([4, 3, 2, 1], [0, 0, 1, 1]), augrc([1, 1, 1, 1], [0, 0, 1, 1])
        (0.125, 0.25)
    """
    coverage, risk = risk_coverage_curve(confidence, residual, generalised=True)
    return float(np.trapezoid(np.concatenate([[0.0], risk]), np.concatenate([[0.0], coverage])))


def best_aurc(residual: Any) -> float:
    """The lowest AURC that a confidence can reach for these residuals.

    Args:
        residual: [n] as in `risk_coverage_curve`.

    Returns:
        In the unit of the residual. Binary residuals with error rate e: e + (1 - e) ln(1 - e), the limit of many cases
        (the trapezoids of n cases lie up to 0.03 below it at n = 2 and about 1 / (8 n^2) at e = 0.5). Other
        residuals: the AURC of the oracle's order, every case accepted on its own.

    Source: Geifman, Uziel and El-Yaniv, ICLR 2019; as fd-shifts (Traub et al., NeurIPS 2024) computes it.

    Example:
        >>> round(best_aurc([0, 0, 1, 1]), 6), best_aurc([1, 1]), best_aurc([0.0, 0.5])
        (0.153426, 1.0, 0.0625)
    """
    loss = checked("residual", residual, "n").astype(np.float64)
    if not np.isin(loss, (0.0, 1.0)).all():
        return aurc(-np.arange(len(loss)), np.sort(loss))
    e = float(loss.mean())
    return 1.0 if e == 1.0 else e + (1.0 - e) * float(np.log1p(-e))


def excess_aurc(confidence: Any, residual: Any) -> float:
    """AURC minus the lowest possible one (`best_aurc`): E-AURC, best 0.

    Args:
        confidence, residual: [n] as in `risk_coverage_curve`.

    Returns:
        In the unit of the residual. Binary residuals are compared with the limit of many cases, so that a perfect
        confidence on few scores a little below 0 (-0.028 for two cases, -5e-5 for 50); equal confidences cost even an
        otherwise perfect one, since they are accepted together.

    Example:
        >>> excess_aurc([4, 3, 2, 1], [0.0, 0.1, 0.5, 0.9])
        0.0
        >>> round(excess_aurc([1, 1, 1, 1], [0, 0, 1, 1]), 6)  # chance: -(1 - e) ln(1 - e)
        0.346574
    """
    return aurc(confidence, residual) - best_aurc(residual)


def excess_augrc(confidence: Any, residual: Any) -> float:
    """AUGRC minus the AUGRC of the best possible confidence (the negative residual): E-AUGRC, at least 0, best 0.

    Example:
        >>> excess_augrc([1, 1, 1, 1], [0, 0, 1, 1])
        0.125
    """
    return augrc(confidence, residual) - augrc(-checked("residual", residual, "n"), residual)


def auroc_failure(confidence: Any, failed: Any) -> float:
    """Area under the ROC curve for detecting failures by low confidence.

    Args:
        confidence: [n], high = trust.
        failed: [n] bool or 0/1, both classes present.

    Returns:
        0 to 1, best 1, 0.5 for a random or constant confidence: the probability that a failure has the lower
        confidence.

    Source: scikit-learn `roc_auc_score`.

    Example:
        >>> auroc_failure([0.9, 0.8, 0.3, 0.5], [0, 0, 1, 1])
        1.0
    """
    from sklearn.metrics import roc_auc_score

    c, y = _binary("failed", "confidence", confidence, failed)
    _both_classes("failed", y)
    return float(roc_auc_score(y, -c))


def auprc_failure(confidence: Any, failed: Any) -> float:
    """Average precision of detecting failures by low confidence.

    Args:
        confidence: [n]; failed: [n] bool or 0/1, both classes present.

    Returns:
        0 to 1, best 1; a random confidence scores the share of failures.

    Source: scikit-learn `average_precision_score`.

    Example:
        >>> auprc_failure([0.5, 0.5, 0.5, 0.5], [0, 1, 0, 0])
        0.25
    """
    from sklearn.metrics import average_precision_score

    c, y = _binary("failed", "confidence", confidence, failed)
    _both_classes("failed", y)
    return float(average_precision_score(y, -c))


def coverage_at_risk(confidence: Any, residual: Any, *, risk: float) -> float:
    """Largest coverage whose selective risk does not exceed a limit.

    Args:
        confidence, residual: [n] as in `risk_coverage_curve`.
        risk: the limit, in the unit of the residual.

    Returns:
        0 (no threshold does it) to 1, best 1.

    Example:
        >>> coverage_at_risk([4, 3, 2, 1], [0, 0, 1, 1], risk=0.4)
        0.75
    """
    coverage, risks = risk_coverage_curve(confidence, residual)
    inside = coverage[risks <= risk + 1e-12]
    return float(inside.max()) if len(inside) else 0.0


def accuracy_at_coverage(confidence: Any, failed: Any, *, coverage: float) -> float:
    """Share of correct predictions among the most confident ones.

    Args:
        confidence: [n]; failed: [n] bool or 0/1.
        coverage: share to accept, above 0 to 1; ties at the threshold are accepted together.

    Returns:
        0 to 1, best 1.

    Example:
        >>> accuracy_at_coverage([4, 3, 2, 1], [0, 0, 1, 1], coverage=0.5)
        1.0
    """
    if not 0.0 < coverage <= 1.0:
        raise ValueError(f"coverage must lie above 0 and at most at 1, got {coverage}")
    c, y = _binary("failed", "confidence", confidence, failed)
    covered, risks = risk_coverage_curve(c, y)
    return float(1.0 - risks[np.argmax(covered >= coverage - 1e-12)])


def expected_calibration_error(probability: Any, outcome: Any, *, bins: int = 15, scheme: str = "equal_mass") -> float:
    """Expected calibration error of a probability, sum_b n_b / n |mean p - frequency|.

    Args:
        probability: [n] in [0, 1]: the stated probability of the outcome (p(reliable)).
        outcome: [n] bool or 0/1: what happened (1 = reliable).
        bins: number of bins.
        scheme: "equal_mass": bins of (nearly) equal numbers of samples, equal probabilities kept together.
            "equal_width": bins of equal width on [0, 1].

    Returns:
        0 (best) to 1.

    Source: Naeini et al., AAAI 2015 (equal width); Nguyen and O'Connor, EMNLP 2015 (equal mass).

    Example:
        >>> expected_calibration_error([0.75, 0.75, 0.75, 0.75], [1, 1, 1, 0])
        0.0
    """
    diagram = reliability_diagram(probability, outcome, bins=bins, scheme=scheme)
    gap = np.abs(diagram.probability - diagram.frequency)
    return float((gap * diagram.samples).sum() / diagram.samples.sum())


def reliability_diagram(
    probability: Any, outcome: Any, *, bins: int = 15, scheme: str = "equal_mass"
) -> ReliabilityDiagram:
    """Stated probability against observed frequency in bins; arguments as in `expected_calibration_error`.

    Example:
        >>> reliability_diagram([0.1, 0.1, 0.9, 0.9], [0, 0, 1, 1], bins=2).frequency
        array([0., 1.])
    """
    choice("scheme", scheme, ("equal_mass", "equal_width"))
    p, y = _probability(probability, outcome)
    number = whole("bins", bins)
    if scheme == "equal_width":
        where = np.minimum((p * number).astype(int), number - 1)
    else:
        # equal probabilities share the bin of their first rank, so that the order of ties cannot matter
        first = np.searchsorted(np.sort(p), p, side="left")
        where = first * number // len(p)
    _, where = np.unique(where, return_inverse=True)
    count = np.bincount(where)
    return ReliabilityDiagram(np.bincount(where, p) / count, np.bincount(where, y) / count, count)


def brier_score(probability: Any, outcome: Any) -> float:
    """Brier score: mean squared difference between stated probability and outcome.

    Args:
        probability: [n] in [0, 1]; outcome: [n] bool or 0/1.

    Returns:
        0 (best) to 1; a constant 0.5 scores 0.25.

    Source: Brier, Mon. Weather Rev. 78, 1 (1950).

    Example:
        >>> brier_score([0.5, 1.0], [0, 1])
        0.125
    """
    p, y = _probability(probability, outcome)
    return float(np.square(p - y).mean())


def spearman(uncertainty: Any, residual: Any) -> float:
    """Spearman rank correlation of an uncertainty (NOT a confidence) with the residual.

    Args:
        uncertainty: [n]; residual: [n]; neither constant, n >= 2.

    Returns:
        -1 to 1, best 1.

    Source: scipy `spearmanr`.

    Example:
        >>> round(spearman([1.0, 2.0, 3.0], [0.1, 0.5, 0.9]), 6)
        1.0
    """
    from scipy.stats import spearmanr

    sizes: dict[str, int] = {}
    u = checked("uncertainty", uncertainty, "n", sizes)
    loss = checked("residual", residual, "n", sizes)
    for name, x in (("uncertainty", u), ("residual", loss)):
        if x.min() == x.max():
            raise ValueError(f"{name} is constant; a rank correlation is not defined")
    return float(spearmanr(u, loss).statistic)


def _pair(confidence: Any, residual: Any) -> tuple[np.ndarray, np.ndarray]:
    sizes: dict[str, int] = {}
    c = checked("confidence", confidence, "n", sizes)
    loss = checked("residual", residual, "n", sizes).astype(np.float64)
    if loss.min() < 0:
        raise ValueError("residual must not be negative (an absolute error, a loss, or 0/1)")
    return c, loss


def _binary(name: str, other: str, values: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    sizes: dict[str, int] = {}
    x = checked(other, values, "n", sizes).astype(np.float64)
    y = checked(name, labels, "n", sizes).astype(np.float64)
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError(f"{name} must hold True/False or 0/1 only")
    return x, y


def _probability(probability: Any, outcome: Any) -> tuple[np.ndarray, np.ndarray]:
    p, y = _binary("outcome", "probability", probability, outcome)
    if p.min() < 0 or p.max() > 1:
        raise ValueError(f"probability must lie in [0, 1], got {p.min()} to {p.max()}")
    return p, y


def _both_classes(name: str, y: np.ndarray) -> None:
    if y.min() == y.max():
        raise ValueError(f"{name} holds one class only; failures and successes are both needed")
