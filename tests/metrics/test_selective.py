"""Selective prediction: identities, limits, scikit-learn as an oracle."""

import numpy as np
import pytest

from ffbench_metrics import (
    accuracy_at_coverage,
    augrc,
    auprc_failure,
    aurc,
    auroc_failure,
    brier_score,
    coverage_at_risk,
    excess_augrc,
    excess_aurc,
    expected_calibration_error,
    reliability_diagram,
    risk_coverage_curve,
    spearman,
)


@pytest.fixture(params=["continuous", "tied"])
def binary(request):
    rng = np.random.default_rng(0)
    failed = rng.random(500) < 0.3
    confidence = rng.normal(size=500) - 0.8 * failed
    return (np.round(confidence) if request.param == "tied" else confidence), failed


def test_augrc_identity(binary):
    confidence, failed = binary
    e = failed.mean()
    expected = (1 - auroc_failure(confidence, failed)) * e * (1 - e) + e**2 / 2
    assert augrc(confidence, failed) == pytest.approx(expected, abs=1e-12)


def test_auroc_equals_the_pair_count(binary):
    confidence, failed = binary
    gap = confidence[~failed][:, None] - confidence[failed]
    assert auroc_failure(confidence, failed) == pytest.approx((gap > 0).mean() + 0.5 * (gap == 0).mean())


def test_limits_of_the_best_and_of_a_random_confidence():
    n, e = 20_000, 0.25
    failed = np.arange(n) >= n * (1 - e)
    best = -np.arange(n, dtype=float)
    assert aurc(best, failed) == pytest.approx(e + (1 - e) * np.log(1 - e), abs=1e-4)
    assert augrc(best, failed) == pytest.approx(e**2 / 2, abs=1e-4)
    chance = np.random.default_rng(0).random(n)
    assert aurc(chance, failed) == pytest.approx(e, abs=0.04)  # +- 0.0043 and 0.0009
    assert augrc(chance, failed) == pytest.approx(e / 2, abs=0.01)
    assert (aurc(np.ones(n), failed), augrc(np.ones(n), failed)) == (pytest.approx(e), pytest.approx(e / 2))


def test_excess_is_zero_for_the_best_confidence_and_positive_otherwise():
    residual = np.random.default_rng(1).exponential(size=300)
    assert excess_aurc(-residual, residual) == 0.0
    assert excess_augrc(-residual, residual) == 0.0
    assert excess_aurc(residual, residual) > 0.0
    assert excess_augrc(residual, residual) > 0.0


def test_curve_by_definition():
    rng = np.random.default_rng(2)
    confidence, residual = rng.integers(0, 5, 60), rng.exponential(size=60)
    coverage, risk = risk_coverage_curve(confidence, residual)
    _, generalised = risk_coverage_curve(confidence, residual, generalised=True)
    for threshold, c, r, g in zip(range(4, -1, -1), coverage, risk, generalised):
        accepted = confidence >= threshold
        assert (c, r, g) == pytest.approx((accepted.mean(), residual[accepted].mean(), residual[accepted].sum() / 60))
    assert coverage_at_risk(confidence, residual, risk=1e9) == 1.0
    assert coverage_at_risk(confidence, residual, risk=0.0) == 0.0


def test_order_of_the_samples_does_not_matter(binary):
    confidence, failed = binary
    order = np.random.default_rng(3).permutation(len(failed))
    for metric in (aurc, augrc, auroc_failure, auprc_failure):
        assert metric(confidence[order], failed[order]) == pytest.approx(metric(confidence, failed))


def test_against_scikit_learn(binary):
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss

    confidence, failed = binary
    p = 1 / (1 + np.exp(-confidence))
    assert brier_score(p, ~failed) == pytest.approx(brier_score_loss(~failed, p))
    frequency, probability = calibration_curve(~failed, p, n_bins=10, strategy="uniform")
    diagram = reliability_diagram(p, ~failed, bins=10, scheme="equal_width")
    np.testing.assert_allclose(diagram.frequency, frequency)
    np.testing.assert_allclose(diagram.probability, probability)


def test_calibrated_probabilities_have_a_small_error_and_wrong_ones_their_gap():
    rng = np.random.default_rng(4)
    p = rng.random(50_000)
    outcome = rng.random(50_000) < p
    assert expected_calibration_error(p, outcome) < 0.014  # 0.006 +- 0.001 of counting
    assert expected_calibration_error(np.full(1000, 0.9), np.arange(1000) % 2) == pytest.approx(0.4)
    assert reliability_diagram(p, outcome).samples.max() <= 50_000 // 15 + 1


def test_accuracy_at_coverage_and_spearman():
    assert accuracy_at_coverage([3, 2, 2, 1], [0, 1, 0, 0], coverage=0.5) == pytest.approx(2 / 3)
    assert spearman([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: aurc([], []), "confidence"),
        (lambda: aurc([1.0], [1.0, 2.0]), "residual"),
        (lambda: augrc([1.0], [-1.0]), "residual"),
        (lambda: auroc_failure([1.0, 2.0], [1, 1]), "failed"),
        (lambda: auroc_failure([1.0, 2.0], [1, 3]), "failed"),
        (lambda: brier_score([1.5], [1]), "probability"),
        (lambda: expected_calibration_error([0.5], [1], bins=0), "bins"),
        (lambda: expected_calibration_error([0.5], [1], scheme="x"), "scheme"),
        (lambda: accuracy_at_coverage([1.0], [0], coverage=0.0), "coverage"),
        (lambda: spearman([1.0, 1.0], [1.0, 2.0]), "uncertainty"),
        (lambda: aurc([np.nan], [1.0]), "confidence"),
    ],
)
def test_wrong_input_names_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
