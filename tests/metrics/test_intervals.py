"""Intervals stay in the domain of their metric and claim nothing that the samples cannot know."""

import numpy as np
import pytest
from scipy import stats

from ffbench_metrics import (
    Interval,
    block_bootstrap,
    clopper_pearson,
    group_bootstrap,
    paired_comparison,
    rank_intervals,
    replica_interval,
    restricted_mean,
    rule_of_three,
    survival_curve,
    why_no_interval,
    within,
)


@pytest.mark.parametrize("seed", range(5))
def test_student_is_scipys(seed):
    values = np.random.default_rng(seed).normal(3, 2, 2 + seed)
    got = replica_interval(values, level=0.9)
    theirs = stats.t.interval(0.9, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    assert got == pytest.approx((values.mean(), *theirs))


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 5), (5, 5), (3, 10), (499, 500)])
def test_clopper_pearson_has_its_tails(successes, trials):
    value, low, high = clopper_pearson(successes, trials, level=0.9)
    assert value == successes / trials
    assert (low == 0.0) == (successes == 0)
    assert (high == 1.0) == (successes == trials)
    if successes:
        assert stats.binom.sf(successes - 1, trials, low) == pytest.approx(0.05)
    if successes < trials:
        assert stats.binom.cdf(successes, trials, high) == pytest.approx(0.05)


def test_the_rule_of_three_is_the_exact_limit_of_many_runs():
    # no failure in n runs of one unit: the exact 95 % limit of the chance is 1 - 0.05^(1 / n)
    assert rule_of_three(1000, 1.0) == pytest.approx(1 - 0.05 ** (1 / 1000), rel=0.01)


@pytest.mark.parametrize(
    "interval",
    [
        lambda v: replica_interval(v),
        lambda v: block_bootstrap(v, resamples=50),
        lambda v: group_bootstrap(lambda i: v[i].mean(), np.arange(len(v)), resamples=50, minimum_groups=2),
        lambda v: paired_comparison(v, np.zeros(len(v)), resamples=50).difference,
    ],
)
@pytest.mark.parametrize("value", [0.0, 0.1 + 0.2, -4e8])
def test_equal_samples_have_no_interval_of_width_zero(interval, value):
    for n in (2, 5, 40):
        got = interval(np.full(n, value))
        assert got.value == pytest.approx(value)
        assert np.isnan(got[1:]).all()


def test_reasons_for_no_interval():
    assert why_no_interval([]) == "no sample"
    assert why_no_interval([2.0]) == "one sample"
    assert why_no_interval([1.0, 1.0, 1.0 + 1e-15]) == "all 3 samples are equal"
    assert why_no_interval([1e200, 3e200]) == "the spread of the samples is beyond the range of numbers"
    assert why_no_interval([0.0, 1e-30]) == ""


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 1.0), (0.0, np.inf)])
def test_intervals_do_not_leave_their_domain(bounds):
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = np.clip(rng.normal(rng.uniform(-1, 2), 0.5, 3), *bounds)
        if why_no_interval(values):
            continue
        value, low, high = replica_interval(values, bounds=bounds)
        assert bounds[0] <= low <= value <= high <= bounds[1]
    assert within(Interval(0.5, -1.0, 2.0), (0.0, 1.0)) == (0.5, 0.0, 1.0)
    assert within(Interval(-0.5, -1.0, 2.0), (0.0, 1.0)) == (-0.5, -1.0, 2.0)  # a fitted slope may lie outside


def test_a_constant_difference_in_few_samples_does_not_rank_two_models():
    few = rank_intervals([[1.0, 2.0], [1.5, 2.5], [9.0, 12.0]])
    assert (few.low.tolist(), few.high.tolist()) == ([1, 1, 3], [2, 2, 3])
    one = rank_intervals([[1.0], [2.0], [3.0]])
    assert (one.low.tolist(), one.high.tolist()) == ([1, 1, 1], [3, 3, 3])
    # six signs that agree have a chance of 2^-5 = 3 % under no difference
    many = rank_intervals(np.array([[0.0], [1.0]]) + np.arange(6.0))
    assert (many.low.tolist(), many.high.tolist()) == ([1, 2], [1, 2])


@pytest.mark.parametrize("seed", range(10))
def test_without_censoring_the_restricted_mean_is_the_mean_with_students_interval(seed):
    rng = np.random.default_rng(seed)
    time = rng.exponential(100, 8)
    failed = time < 150
    got = restricted_mean(np.minimum(time, 150), failed, limit=150.0)
    cut = np.minimum(time, 150.0)
    if failed.any():
        ends = replica_interval(cut, bounds=(0.0, 150.0))
        assert got[:3] == pytest.approx(ends)
    else:
        assert got.at_least


def test_runs_that_all_failed_at_once_have_no_interval():
    got = restricted_mean([3.0, 3.0, 3.0], [True] * 3, limit=10.0)
    assert got == (3.0, None, None, False, 3, 3)


def test_the_survival_curve_knows_how_little_a_full_or_empty_sample_says():
    curve = survival_curve([1.0, 2.0, 3.0, 3.0, 3.0], [False, False, False, True, False])
    at = dict(zip(curve.time, zip(curve.survival, curve.low, curve.high)))
    assert at[0.0] == (1.0, 1.0, 1.0)
    assert at[2.0] == pytest.approx((1.0, 0.025 ** (1 / 4), 1.0))  # four at risk: exact limit of no failure
    assert at[3.0][0] == pytest.approx(2 / 3)
    empty = survival_curve([1.0, 2.0], [True, True])
    assert (empty.survival[-1], empty.low[-1]) == (0.0, 0.0)
    assert empty.high[-1] == pytest.approx(1 - 0.025 ** (1 / 2))
