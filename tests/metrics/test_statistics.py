"""Intervals, correlation times, comparisons, noise floor: known answers and coverage."""

import numpy as np
import pytest

from ffbench_metrics import (
    autocorrelation_time,
    block_bootstrap,
    clopper_pearson,
    effective_sample_size,
    floor_percentile,
    floor_quantile,
    group_bootstrap,
    noise_floor,
    normalised_score,
    paired_comparison,
    rank_intervals,
    replica_floor,
    replica_interval,
    rule_of_three,
)


def autoregressive(coefficient, n, rng):
    from scipy.signal import lfilter

    return lfilter([1.0], [1.0, -coefficient], rng.normal(size=n))


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_an_autoregressive_series(coefficient):
    x = autoregressive(coefficient, 200_000, np.random.default_rng(0))
    expected = (1 + coefficient) / (1 - coefficient)
    # Sokal: sqrt(2 (2 M + 1) / n) = 3 % at M = 47 lags; 7 of these
    assert autocorrelation_time(x) == pytest.approx(expected, rel=0.22)
    assert effective_sample_size(x) == pytest.approx(len(x) / expected, rel=0.22)


def test_constant_series_is_one_sample():
    assert autocorrelation_time(np.full(20, 3.0)) == 20.0


def test_block_bootstrap_covers_the_mean_of_correlated_data():
    rng = np.random.default_rng(1)
    hits, naive = 0, 0
    for seed in range(100):
        x = autoregressive(0.8, 1000, rng)
        blocks = block_bootstrap(x, block_length=40, resamples=200, seed=seed)
        single = block_bootstrap(x, resamples=200, seed=seed)
        hits += blocks.low < 0 < blocks.high
        naive += single.low < 0 < single.high
    # coverage of 0.92 and 0.49, of which 100 repetitions show 92 +- 3 and 49 +- 5; 7 of these
    assert hits >= 72
    assert naive < 84
    assert hits - naive > 3


def test_block_bootstrap_of_a_statistic_is_deterministic():
    x = np.random.default_rng(2).normal(size=(200, 2))
    interval = block_bootstrap(x, lambda s: float(np.corrcoef(s.T)[0, 1]), block_length=5, seed=7)
    assert interval == block_bootstrap(x, lambda s: float(np.corrcoef(s.T)[0, 1]), block_length=5, seed=7)
    assert interval.low < interval.value < interval.high


def test_intervals_from_tables():
    # Student t with 4 degrees of freedom: 2.776; Clopper-Pearson tables for 0 and 3 of 10
    interval = replica_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert interval.high - interval.value == pytest.approx(2.776 * np.sqrt(2.5 / 5), abs=1e-3)
    assert clopper_pearson(0, 10).high == pytest.approx(0.3085, abs=1e-4)
    assert clopper_pearson(3, 10)[1:] == pytest.approx((0.0667, 0.6525), abs=1e-4)
    assert rule_of_three(6, 5.0) == pytest.approx(0.1)


def test_paired_comparison_sees_what_the_spread_hides():
    rng = np.random.default_rng(3)
    hard = rng.normal(0, 10, 40)
    a, b = hard + rng.normal(0, 0.5, 40), hard + 1.0 + rng.normal(0, 0.5, 40)
    result = paired_comparison(a, b, resamples=2000)
    assert result.difference.high < 0
    assert result.p_value < 0.01
    same = [paired_comparison(rng.normal(size=15), rng.normal(size=15), resamples=200).p_value for _ in range(200)]
    assert 0 < np.mean(np.array(same) < 0.1) < 0.24  # 0.1 +- 0.021 of 200 uniform p values


def test_ranks_of_clear_and_of_tied_models():
    rng = np.random.default_rng(4)
    noise = rng.normal(0, 1, (4, 50))
    noise -= noise.mean(axis=1, keepdims=True)  # differ by what is written below, whatever was drawn
    result = rank_intervals(np.array([[0.0], [3.0], [3.01], [9.0]]) + noise)
    assert result.rank[[0, 3]].tolist() == [1.0, 4.0]
    assert (result.low[1], result.high[1]) == (2.0, 3.0)
    scores = rank_intervals(-np.arange(4.0)[:, None] * np.ones((4, 5)), lower_is_better=False)
    assert scores.rank.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert rank_intervals(np.ones((3, 5))).rank.tolist() == [2.0, 2.0, 2.0]


def test_mean_rank_ignores_units():
    values = np.array([[1.0, 1.0, 1e9], [2.0, 2.0, 1.0]])
    assert rank_intervals(values, aggregate="mean_rank").rank.tolist() == [1.0, 2.0]
    assert rank_intervals(values).rank.tolist() == [2.0, 1.0]


def test_group_bootstrap_is_wider_than_a_naive_one_and_asks_for_groups():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(20), 50)
    x = rng.normal(size=20)[groups] + 0.1 * rng.normal(size=1000)
    wide = group_bootstrap(lambda i: x[i].mean(), groups, resamples=300)
    narrow = block_bootstrap(x, resamples=300)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    with pytest.raises(ValueError, match="groups"):
        group_bootstrap(lambda i: x[i].mean(), np.repeat(np.arange(5), 200))


def histograms(rng, blocks):
    return rng.poisson(200.0, (blocks, 30))


def absolute(a, b):
    return np.abs(a / a.sum() - b / b.sum()).sum()


def test_noise_floor_falls_with_length():
    rng = np.random.default_rng(6)
    runs = [histograms(rng, 50) for _ in range(6)]
    short, long = (noise_floor(runs, n, absolute, resamples=400) for n in (5, 45))
    assert np.median(short) / np.median(long) == pytest.approx(3.0, rel=0.45)  # six independent long windows: 6 %


def test_the_truth_passes_the_floor_at_its_stated_rate():
    above_median, above_mark = [], []
    for seed in range(20):  # one set of runs alone scatters by 4 % about the 5 %
        rng = np.random.default_rng(seed)
        runs = [histograms(rng, 50) for _ in range(6)]
        reference = sum(runs).sum(0)
        floor = noise_floor(runs, 5, absolute, resamples=200, seed=seed)
        errors = np.array([absolute(histograms(rng, 5).sum(0), reference) for _ in range(50)])
        above_median.append((errors > np.median(floor)).mean())
        above_mark.append((errors > floor_quantile(floor)).mean())
    # 0.5 +- 0.018 and 0.055 +- 0.01 of 20 sets of runs and 1,000 judged ones
    assert np.mean(above_median) == pytest.approx(0.5, abs=0.13)
    assert 0.0 < np.mean(above_mark) < 0.13


def test_noise_floor_beyond_the_run_length_resamples_blocks():
    rng = np.random.default_rng(7)
    runs = [histograms(rng, 10) for _ in range(5)]
    floor = noise_floor(runs, 40, absolute, resamples=200)
    assert np.median(floor) < np.median(noise_floor(runs, 2, absolute, resamples=200))


def test_noise_floor_of_several_observables_and_unequal_runs():
    rng = np.random.default_rng(8)
    runs = [rng.poisson(50.0, (n, 3, 20)) for n in (10, 20, 15)]
    floor = noise_floor(runs, 4, lambda a, b: np.abs(a - b).sum(-1), resamples=50, seed=1)
    assert floor.shape == (50, 3)
    np.testing.assert_array_equal(floor, noise_floor(runs, 4, lambda a, b: np.abs(a - b).sum(-1), resamples=50, seed=1))


def test_reference_leaves_the_judged_run_out():
    runs = [np.full((4, 1), 1.0), np.full((4, 1), 5.0)]
    np.testing.assert_array_equal(noise_floor(runs, 2, lambda a, b: float(abs(a - b)[0]), resamples=20), 4.0)


def test_scores_between_floor_and_trivial():
    assert normalised_score(0.1, 0.1, 1.0) == 1.0
    assert normalised_score(0.0, 0.1, 1.0) == 1.0
    assert normalised_score(1.0, 0.1, 1.0) == 0.0
    assert normalised_score(np.inf, 0.1, 1.0) == 0.0
    assert floor_percentile(np.inf, [1.0, 2.0]) == 100.0
    assert floor_quantile(np.linspace(0, 1, 1001), observables=5) == pytest.approx(0.99)
    np.testing.assert_allclose(replica_floor(np.eye(3), lambda a, b: np.abs(a - b).sum()), 2.0)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: block_bootstrap([], np.mean), "values"),
        (lambda: block_bootstrap([1.0, 2.0, 3.0], block_length=2), "block_length"),
        (lambda: block_bootstrap([1.0, np.nan]), "values"),
        (lambda: block_bootstrap([1.0, 2.0], level=95), "level"),
        (lambda: replica_interval([1.0]), "values"),
        (lambda: clopper_pearson(3, 2), "successes"),
        (lambda: clopper_pearson(0, 0), "trials"),
        (lambda: rule_of_three(0, 1.0), "runs"),
        (lambda: autocorrelation_time([1.0]), "values"),
        (lambda: paired_comparison([1.0], [1.0]), "errors_a"),
        (lambda: rank_intervals(np.zeros((0, 3))), "values"),
        (lambda: noise_floor([np.ones((3, 2))], 1, absolute), "block_counts"),
        (lambda: noise_floor([np.ones((3, 2)), np.ones((3, 4))], 1, absolute), "block_counts"),
        (lambda: noise_floor([np.ones((3, 2))] * 2, 0, absolute), "length"),
        (lambda: normalised_score(0.5, 2.0, 1.0), "floor_median"),
        (lambda: normalised_score(np.nan, 0.1, 1.0), "error"),
        (lambda: floor_percentile(1.0, []), "floor"),
        (lambda: replica_floor([1.0], absolute), "observables"),
    ],
)
def test_wrong_input_names_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()


def test_one_resample_has_no_interval():
    with pytest.raises(ValueError, match="resamples"):
        rank_intervals(np.eye(3), resamples=1)
    assert rank_intervals(np.eye(3), resamples=2).low.shape == (3,)
