"""Stability criteria and censored stability times: known answers."""

import numpy as np
import pytest

from ffbench_metrics import (
    bond_stability,
    energy_stability,
    limit_stability,
    rdf,
    rdf_error,
    rdf_stability,
    reference_bond_lengths,
    restricted_mean,
    survival_curve,
)


def stretched(lengths):
    x = np.zeros((len(lengths), 2, 3))
    x[:, 1, 2] = lengths
    return x


def test_bond_beyond_half_an_angstrom_fails_at_its_frame():
    result = bond_stability(stretched([1.0, 1.5, 1.51, 1.0]), [[0, 1]], [1.0])
    assert (result.first_failure, result.stable_frames, result.failed, result.frames) == (2, 2, True, 4)
    np.testing.assert_allclose(result.deviation, [0.0, 0.5, 0.51, 0.0])


def test_bond_that_never_breaks_is_censored():
    result = bond_stability(stretched([1.0, 1.2]), [[0, 1]], [1.0])
    assert (result.first_failure, result.stable_frames, result.failed) == (None, 2, False)


def test_nan_frame_counts_as_a_failure():
    x = stretched([1.0, 1.0, 1.0])
    x[1, 0, 0] = np.nan
    assert bond_stability(x, [[0, 1]], [1.0]).first_failure == 1


def test_bond_across_the_cell_boundary():
    x = stretched([9.0, 1.0])
    assert not bond_stability(x, [[0, 1]], [1.0], cell=10 * np.eye(3)).failed
    np.testing.assert_allclose(reference_bond_lengths(x, [[0, 1]], cell=10 * np.eye(3)), [1.0])


def test_sliding_window_equals_recomputing_every_window():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 9, (40, 24, 3))
    cells = 9 * np.eye(3) * (1 + 0.01 * rng.random(40))[:, None, None]
    reference = np.ones(25)
    result = rdf_stability(x, cells, reference, window=10, r_max=4.5, tolerance=1e9)
    for k in (0, 7, 30):
        _, g = rdf(x[k : k + 10], cells[k : k + 10], r_max=4.5, bins=25)
        assert result.deviation[k] == pytest.approx(rdf_error(g, reference, r_max=4.5), rel=1e-9)
    assert result.frame[0] == 9
    assert result.frame[-1] == 39


def test_window_counts_at_its_last_frame_and_the_worst_pair_decides():
    """Atoms on the points of a grid, 20 of each kind, those of kind a drawn together from frame 30."""
    grid = np.stack(np.meshgrid(*[np.arange(4) * 2.25 + 0.5] * 3, indexing="ij"), -1).reshape(-1, 3)[:40]
    x = np.tile(grid, (60, 1, 1))
    x[30:, :20] *= 0.2
    pairs = {"aa": (range(20), None), "bb": (range(20, 40), None)}
    reference = {n: rdf(x[:1], 9 * np.eye(3), index_a=list(a), r_max=4.5, bins=9)[1] for n, (a, _) in pairs.items()}
    result = rdf_stability(x, 9 * np.eye(3), reference, pairs=pairs, window=5, r_max=4.5, tolerance=1.0)
    assert result.first_failure == 30
    only = {"bb": pairs["bb"]}
    calm = rdf_stability(x, 9 * np.eye(3), {"bb": reference["bb"]}, pairs=only, window=5, r_max=4.5, tolerance=1.0)
    assert not calm.failed
    assert calm.deviation.max() == pytest.approx(0.0, abs=1e-12)


def test_frame_that_is_not_finite_ends_the_run():
    x = np.random.default_rng(2).uniform(0, 9, (30, 10, 3))
    x[25] = np.inf
    assert rdf_stability(x, 9 * np.eye(3), np.ones(4), r_max=4.5, window=5, tolerance=50.0).first_failure == 25


def test_limits_of_temperature_and_energy():
    assert limit_stability([300.0, np.nan, 300.0], low=0.1, high=1e5).first_failure == 1
    assert limit_stability([300.0, 310.0], low=0.1, high=1e5).first_failure is None
    assert energy_stability([-100.0, -99.0, -70.0], 10, tolerance=1.0).first_failure == 2


def test_kaplan_meier_textbook_remission_times():
    # Freireich et al. (1963), treated arm: the survival table printed in every textbook on the subject
    time = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    failed = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    curve = survival_curve(time, failed)
    at = dict(zip(curve.time, curve.survival))
    for t, s in {6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448}.items():
        assert at[t] == pytest.approx(s, abs=6e-4)
    assert np.all(curve.low <= curve.survival)
    assert np.all(curve.survival <= curve.high)


def test_restricted_mean_without_censoring_is_the_mean_and_its_t_interval():
    from scipy.stats import t

    time = np.array([10.0, 20.0, 30.0, 40.0, 100.0])
    result = restricted_mean(time, [True, True, True, True, False], limit=100.0)
    assert result.value == pytest.approx(40.0)
    assert (result.at_least, result.failures, result.runs) == (False, 4, 5)
    half = t.ppf(0.975, 4) * time.std(ddof=1) / np.sqrt(5)
    assert result.high - result.value == pytest.approx(half)
    assert result.low == max(0.0, result.value - half)


def test_never_failed_is_a_lower_bound_not_a_measurement():
    result = restricted_mean([300.0] * 5, [False] * 5, limit=300.0)
    assert (result.value, result.low, result.high, result.at_least) == (300.0, None, None, True)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: bond_stability(np.zeros((0, 2, 3)), [[0, 1]], [1.0]), "positions"),
        (lambda: bond_stability(np.zeros((1, 2, 3)), [[0, 2]], [1.0]), "bonds"),
        (lambda: bond_stability(np.zeros((1, 2, 3)), np.zeros((0, 2), int), []), "bonds"),
        (lambda: bond_stability(np.zeros((1, 2, 3)), [[0, 1]], [1.0, 2.0]), "reference_lengths"),
        (lambda: rdf_stability(np.zeros((3, 4, 3)), np.eye(3), np.ones(5), window=10), "window"),
        (lambda: rdf_stability(np.zeros((30, 4, 3)), np.eye(3), {"a": np.ones(5)}), "reference"),
        (lambda: survival_curve([], []), "time"),
        (lambda: survival_curve([1.0], [True, False]), "failed"),
        (lambda: restricted_mean([1.0], [True], limit=0), "limit"),
        (lambda: limit_stability([], low=0, high=1), "values"),
    ],
)
def test_wrong_input_names_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
