"""Selective scores against closed forms, definitions written out case by case, and scikit-learn; with ties, few cases
and error rates of 0 and 1."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from ffbench_metrics import (
    accuracy_at_coverage,
    augrc,
    auprc_failure,
    aurc,
    auroc_failure,
    best_aurc,
    brier_score,
    coverage_at_risk,
    excess_augrc,
    excess_aurc,
    expected_calibration_error,
    reliability_diagram,
    risk_coverage_curve,
    spearman,
)


def area_by_threshold(confidence, residual, generalised):
    """Every distinct confidence as a threshold, accepted cases counted one by one; trapezoids from the right."""
    points = []
    for limit in sorted(set(confidence)):
        accepted = [r for c, r in zip(confidence, residual) if c >= limit]
        points.append(
            (len(accepted) / len(residual), sum(accepted) / (len(residual) if generalised else len(accepted)))
        )
    points.append((0.0, 0.0 if generalised else points[-1][1]))
    return sum((a[0] - b[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))


def random_cases(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 12))
    confidence = rng.integers(0, 5, n).astype(float) if seed % 2 else rng.normal(size=n)
    residual = (rng.random(n) < rng.random()).astype(float) if seed % 3 else rng.integers(0, 4, n) / 2.0
    return confidence, residual


@pytest.mark.parametrize("seed", range(60))
def test_areas_are_those_of_the_curve_drawn_threshold_by_threshold(seed):
    confidence, residual = random_cases(seed)
    assert aurc(confidence, residual) == pytest.approx(area_by_threshold(confidence, residual, False), abs=1e-13)
    assert augrc(confidence, residual) == pytest.approx(area_by_threshold(confidence, residual, True), abs=1e-13)


@pytest.mark.parametrize("seed", range(60))
def test_excess_is_what_fd_shifts_subtracts(seed):
    # fd-shifts: analytic optimum where all residuals are 0 or 1, else residuals in order, each with its own confidence
    confidence, residual = random_cases(seed)
    if set(residual) <= {0.0, 1.0}:
        e = residual.mean()
        best = e + (1 - e) * np.log(1 - e + np.finfo(float).eps)
        best_generalised = e**2 / 2
    else:
        distinct = np.linspace(1, 0, len(residual))
        best = area_by_threshold(distinct, np.sort(residual), False)
        best_generalised = area_by_threshold(distinct, np.sort(residual), True)
    assert excess_aurc(confidence, residual) == pytest.approx(aurc(confidence, residual) - best, abs=1e-13)
    assert excess_augrc(confidence, residual) == pytest.approx(
        augrc(confidence, residual) - best_generalised, abs=1e-13
    )


@pytest.mark.parametrize("e", [0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
def test_a_perfect_confidence_has_no_excess_and_a_constant_one_that_of_chance(e):
    n = 2000
    failed = np.arange(n) >= round(n * (1 - e))
    assert excess_aurc(-np.arange(n), failed) == pytest.approx(0.0, abs=2e-6)
    assert excess_augrc(-np.arange(n), failed) == pytest.approx(0.0, abs=1e-12)
    best = e + (1 - e) * np.log(1 - e) if e < 1 else 1.0
    assert best_aurc(failed) == pytest.approx(best, abs=1e-14)
    assert excess_aurc(np.ones(n), failed) == pytest.approx(e - best, abs=1e-14)
    assert excess_augrc(np.ones(n), failed) == pytest.approx(e / 2 - e**2 / 2, abs=1e-14)


@pytest.mark.parametrize("n", [2, 4, 10, 100])
def test_a_perfect_confidence_on_few_cases_lies_below_the_limit_by_the_error_of_its_trapezoids(n):
    # risk 1 - m / k at k >= m = n / 2 accepted cases; the area of its corners against its integral
    m = n // 2
    corners = np.array([0.0, *(1 - m / k for k in range(m + 1, n + 1))])
    area = (corners[1:] + corners[:-1]).sum() / 2 / n
    failed = np.arange(n) >= m
    assert excess_aurc(-np.arange(n), failed) == pytest.approx(area - (0.5 + 0.5 * np.log(0.5)), abs=1e-14)


@pytest.mark.parametrize("seed", range(30))
def test_rank_scores_with_ties_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    failed = np.r_[True, False, rng.random(n - 2) < 0.3]
    confidence = rng.integers(0, 6, n).astype(float)
    assert auroc_failure(confidence, failed) == pytest.approx(sklearn_metrics.roc_auc_score(failed, -confidence))
    assert auprc_failure(confidence, failed) == pytest.approx(
        sklearn_metrics.average_precision_score(failed, -confidence)
    )
    gap = confidence[~failed][:, None] - confidence[failed]
    assert auroc_failure(confidence, failed) == pytest.approx((gap > 0).mean() + 0.5 * (gap == 0).mean())
    # average precision: mean over failures of the share of failures among all cases at most as confident
    precision = [failed[confidence <= c].mean() for c in confidence[failed]]
    assert auprc_failure(confidence, failed) == pytest.approx(np.mean(precision))
    probability = rng.integers(0, 11, n) / 10
    assert brier_score(probability, ~failed) == pytest.approx(sklearn_metrics.brier_score_loss(~failed, probability))


def test_the_curve_of_tied_cases_has_one_point_per_confidence():
    coverage, risk = risk_coverage_curve([2.0, 2.0, 1.0, 0.0, 0.0], [1, 0, 0, 1, 1])
    assert coverage.tolist() == pytest.approx([0.4, 0.6, 1.0])
    assert risk.tolist() == pytest.approx([0.5, 1 / 3, 0.6])
    generalised = risk_coverage_curve([2.0, 2.0, 1.0, 0.0, 0.0], [1, 0, 0, 1, 1], generalised=True)[1]
    assert generalised.tolist() == pytest.approx([0.2, 0.2, 0.6])


def test_coverage_at_a_risk_may_lie_beyond_a_stretch_that_exceeds_it():
    failed = [1, 0, 0, 0, 1]
    assert coverage_at_risk([5, 4, 3, 2, 1], failed, risk=0.25) == pytest.approx(0.8)
    assert coverage_at_risk([5, 4, 3, 2, 1], failed, risk=0.2) == 0.0
    assert coverage_at_risk([1, 1, 1, 1, 1], failed, risk=0.4) == 1.0
    assert coverage_at_risk([1.0], [0], risk=0.0) == 1.0


def test_accuracy_at_coverage_takes_whole_ties():
    failed = [0, 1, 0, 0, 1]
    assert accuracy_at_coverage([3, 2, 2, 1, 0], failed, coverage=0.2) == 1.0
    assert accuracy_at_coverage([3, 2, 2, 1, 0], failed, coverage=0.4) == pytest.approx(2 / 3)
    assert accuracy_at_coverage([3, 2, 2, 1, 0], failed, coverage=1.0) == pytest.approx(0.6)


def test_calibration_error_by_hand():
    p, y = [0.0, 0.2, 0.2, 0.6, 0.9, 1.0], [0, 0, 1, 1, 1, 1]
    # two bins of equal mass: |0.4/3 - 1/3| and |2.5/3 - 1|
    assert expected_calibration_error(p, y, bins=2) == pytest.approx(0.5 * (0.2 + 0.5 / 3))
    # equal width: [0, 0.5) as before, [0.5, 1] with 1 in the last bin
    assert expected_calibration_error(p, y, bins=2, scheme="equal_width") == pytest.approx(0.5 * (0.2 + 0.5 / 3))
    assert reliability_diagram(p, y, bins=5, scheme="equal_width").samples.tolist() == [1, 2, 1, 2]
    # equal probabilities stay in one bin, whatever the number of bins: nobody is split from its twin
    assert reliability_diagram([0.3] * 7, [1, 0, 0, 0, 0, 1, 0], bins=5).samples.tolist() == [7]
    assert expected_calibration_error([0.3], [1]) == pytest.approx(0.7)


@pytest.mark.parametrize("seed", range(10))
def test_spearman_is_the_correlation_of_mid_ranks(seed):
    rng = np.random.default_rng(seed)
    u, r = rng.integers(0, 4, 12).astype(float), rng.integers(0, 4, 12).astype(float)
    u[:2], r[:2] = (0, 1), (1, 0)

    def mid_ranks(x):
        return [np.sum(x < v) + (np.sum(x == v) + 1) / 2 for v in x]

    assert spearman(u, r) == pytest.approx(np.corrcoef(mid_ranks(u), mid_ranks(r))[0, 1])
