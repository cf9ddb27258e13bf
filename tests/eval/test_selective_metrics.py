"""The vectorised bootstrap scores equal the metrics of `ffbench_metrics` on every weighting."""

import numpy as np
import pytest

from ffbench_eval.kinds.selective import resample
from ffbench_eval.kinds.selective.calibration import as_probability, threshold_for_risk
from ffbench_eval.kinds.selective.table import BETTER, score_source
from ffbench_metrics import (
    accuracy_at_coverage,
    augrc,
    auprc_failure,
    aurc,
    auroc_failure,
    brier_score,
    excess_augrc,
    excess_aurc,
    expected_calibration_error,
    spearman,
)


def cases(seed=0, n=60, ties=True):
    rng = np.random.default_rng(seed)
    residual = rng.exponential(size=n)
    confidence = -residual + rng.normal(size=n)
    return (np.round(confidence, 0 if ties else 9), residual, residual > 0.7, rng.integers(0, 12, n))


@pytest.mark.parametrize("ties", [True, False])
def test_with_weights_of_one_every_score_is_the_metric_of_that_name(ties):
    confidence, residual, failed, _ = cases(ties=ties)
    probability = 1 / (1 + np.exp(-confidence))
    w = np.ones((1, len(failed)))
    got = score_source(
        confidence, failed, residual, w, 12, unit="eV", coverage=0.3, threshold=0.0, probability=probability
    )
    assert set(got) == set(BETTER)
    wanted = {
        "augrc": augrc(confidence, failed),
        "aurc": aurc(confidence, failed),
        "residual_augrc": augrc(confidence, residual),
        "excess_augrc": excess_augrc(confidence, failed.astype(float)),
        "excess_aurc": excess_aurc(confidence, failed.astype(float)),
        "auroc": auroc_failure(confidence, failed),
        "auprc": auprc_failure(confidence, failed),
        "accuracy_at_coverage": accuracy_at_coverage(confidence, failed, coverage=0.3),
        "brier": brier_score(probability, ~failed),
        "ece": expected_calibration_error(probability, ~failed),
        "spearman": spearman(-confidence, residual),
        "prevalence": failed.mean(),
        "realised_coverage": (confidence >= 0).mean(),
        "realised_risk": failed[confidence >= 0].mean(),
    }
    for name, value in wanted.items():
        assert got[name].value == pytest.approx(value, abs=1e-12), name


def test_a_weight_is_a_repetition():
    confidence, residual, failed, group = cases(seed=3)
    w = resample.weights(group, 5, seed=1)
    order = resample.Order.of(confidence)
    accepted, lost = order.sums(w), order.sums(w * failed)
    for k in range(len(w)):
        rows = np.repeat(np.arange(len(failed)), w[k].astype(int))
        c, y = confidence[rows], failed[rows]
        assert resample.augrc(accepted, lost)[k] == pytest.approx(augrc(c, y))
        assert resample.aurc(accepted, lost)[k] == pytest.approx(aurc(c, y))
        assert resample.auroc(accepted, lost)[k] == pytest.approx(auroc_failure(c, y))
        assert resample.auprc(accepted, lost)[k] == pytest.approx(auprc_failure(c, y))
        assert resample.accuracy_at(accepted, lost, 0.4)[k] == pytest.approx(accuracy_at_coverage(c, y, coverage=0.4))
        other = resample.Order.of(-residual)
        rho = resample.correlation(resample.ranks(order, w), resample.ranks(other, w), w)[k]
        assert rho == pytest.approx(spearman(-c, residual[rows]))


def test_groups_are_drawn_whole():
    w = resample.weights(np.array([4, 4, 7, 7, 7]), 20)
    assert (w[0] == 1).all()
    assert (w[:, 0] == w[:, 1]).all()
    assert (w[:, 2] == w[:, 4]).all()
    assert (w[:, 0] + w[:, 2] == 2).all()


def test_the_identity_of_augrc_auroc_and_the_error_rate():
    confidence, _, failed, group = cases(seed=5, ties=False)
    w = resample.weights(group, 50)
    order = resample.Order.of(confidence)
    accepted, lost = order.sums(w), order.sums(w * failed)
    e = resample.mean(w, failed.astype(float))
    auroc = resample.auroc(accepted, lost)
    # draws tie copies of one case, which counts half in both
    assert resample.augrc(accepted, lost) == pytest.approx((1 - auroc) * e * (1 - e) + e**2 / 2)


@pytest.mark.parametrize("bad", ["nan", "constant", "one_class"])
def test_degenerate_confidences_and_labels_are_named_and_do_not_crash(bad):
    confidence, residual, failed, group = cases()
    if bad == "nan":
        confidence[3] = np.nan
    if bad == "constant":
        confidence[:] = 0.3
    if bad == "one_class":
        failed[:] = True
    w = resample.weights(group, 50)
    got = score_source(
        confidence, failed, residual, w, 12, unit="eV", coverage=0.25, threshold=0.0,
        probability=np.full(len(failed), 0.5),
    )  # fmt: skip
    if bad == "nan":
        assert all(s.value is None and "not finite on 1 of 60" in s.why for s in got.values())
    if bad == "constant":
        assert got["augrc"].value == pytest.approx(failed.mean() / 2)
        assert got["auroc"].value == 0.5
        assert got["spearman"].why == "the confidence is constant"
    if bad == "one_class":
        assert "all 60 cases fail: one class only" in got["auroc"].why
        assert got["augrc"].value == pytest.approx(0.5)


def test_fewer_than_ten_groups_have_no_interval_but_a_reason():
    confidence, residual, failed, group = cases()
    group = group % 8
    got = score_source(
        confidence, failed, residual, resample.weights(group, 0), 8, unit="eV", coverage=0.25, threshold=0.0,
        probability=np.full(len(failed), 0.5),
    )  # fmt: skip
    assert got["augrc"].interval is None
    assert got["augrc"].note == "8 groups, 10 needed"


def test_a_bootstrap_interval_of_a_random_score_holds_one_half():
    rng = np.random.default_rng(0)
    n = 600
    failed, confidence, group = rng.random(n) < 0.4, rng.random(n), np.repeat(np.arange(60), 10)
    got = score_source(
        confidence, failed, rng.random(n), resample.weights(group, 400), 60, unit="eV", coverage=0.25,
        threshold=0.5, probability=confidence,
    )  # fmt: skip
    low, high = got["auroc"].interval
    # sqrt(601 / 12 / 240 / 360) = 0.024 of a random score; the width of 60 groups is known to 10 %
    assert got["auroc"].value == pytest.approx(0.5, abs=0.15)
    assert low < got["auroc"].value < high
    assert 0.04 < high - low < 0.17


def test_thresholds_keep_the_risk_on_the_calibration_part():
    rng = np.random.default_rng(1)
    score = rng.random(500)
    failed = rng.random(500) > score
    limit = threshold_for_risk(score, failed, 0.05)
    assert failed[score >= limit].mean() <= 0.05
    assert threshold_for_risk(score, np.ones(500, bool), 0.05) == np.inf
    assert threshold_for_risk(score, np.zeros(500, bool), 0.05) == score.min()
    with pytest.raises(ValueError, match="risk must lie"):
        threshold_for_risk(score, failed, 1.5)


@pytest.mark.parametrize("probability", [True, False])
def test_probabilities_are_calibrated_on_their_part(probability):
    rng = np.random.default_rng(2)
    truth = rng.random(4000)
    failed = rng.random(4000) > truth
    logit = np.log(truth / (1 - truth))
    score = 1 / (1 + np.exp(-4 * logit)) if probability else 30 * logit + 7  # far too sure of itself
    curve = as_probability(score, failed, probability=probability)
    assert expected_calibration_error(curve(score), ~failed) < 0.04
    order = np.argsort(score)
    assert (np.diff(curve(score)[order]) >= 0).all()
    assert np.isfinite(curve(np.array([score.min() - 1e6, score.max() + 1e6]) if not probability else score)).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_a_perfect_confidence_has_no_excess_in_any_draw_and_chance_has_that_of_the_formula(share):
    n = 3000
    failed = np.arange(n) >= round(n * (1 - share))
    w = resample.weights(np.arange(n), 20)
    settings = {"unit": "eV", "coverage": 0.25, "threshold": 0.0, "probability": np.full(n, 0.5)}
    perfect = score_source(-np.arange(float(n)), failed, np.arange(float(n)), w, n, **settings)["excess_aurc"]
    assert perfect.value == pytest.approx(0, abs=1e-5)
    assert perfect.interval == pytest.approx((0, 0), abs=2e-4)
    constant = score_source(np.ones(n), failed, np.arange(float(n)), w, n, **settings)["excess_aurc"]
    assert constant.value == pytest.approx(-(1 - share) * np.log(1 - share))


def test_the_best_area_of_shares_without_and_with_failures_only():
    assert resample.best_aurc(np.array([0.0, 0.5, 1.0])) == pytest.approx([0.0, 0.5 - 0.5 * np.log(2), 1.0], abs=1e-15)


def test_certain_probabilities_stay_numbers_that_are_not_certain():
    """Scores of exactly 0 and 1, some of them wrong: their logits would be infinite, and so would the loss."""
    score, failed = np.array([1.0] * 10 + [0.0] * 10), np.array([False] * 9 + [True] + [True] * 9 + [False])
    p = as_probability(score, failed, probability=True)(np.array([0.0, 0.5, 1.0]))
    assert np.isfinite(p).all()
    assert p == pytest.approx([0.1, 0.5, 0.9], abs=1e-3)  # one in ten is wrong on either side


def test_a_sentence_names_the_threshold_of_every_domain():
    from ffbench_eval.kinds.selective.sentence import numbers
    from ffbench_eval.report import Metric, TaskReport

    def one(value):
        return Metric(value=value, unit="1", n=10)

    metrics = {"augrc.test.probe": one(0.1)}
    for domain, covered, risk in (("test", 0.5, 0.1), ("bond_scans", 0.25, 0.4)):
        metrics |= {f"auroc.{domain}.probe": one(0.8), f"realised_coverage.{domain}.probe": one(covered)}
        metrics[f"realised_risk.{domain}.probe"] = one(risk)
    used = {"name": "d", "config": "", "split": "test", "version": "1", "content_sha256": ""}
    about = {"kind": "selective", "version": "1", "title": "t", "dataset": used, "parameters": {}}
    said = numbers(TaskReport(**about, metrics=metrics, headline="probe"))[1:]
    assert said == [
        "on test its threshold accepts 50%, of which 10% failed",
        "on bond_scans its threshold accepts 25%, of which 40% failed",
    ]
