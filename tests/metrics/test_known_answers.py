"""Small cases worked out by hand, each for a choice that an average case does not show."""

import numpy as np
import pytest

from ffbench_metrics import (
    accuracy_at_coverage,
    align_energies,
    autocorrelation_function,
    autocorrelation_time,
    block_bootstrap,
    coordination_number,
    diffusivity_from_msd,
    diffusivity_single_lag,
    effective_sample_size,
    energy_stability,
    energy_violation,
    finite_size_correction,
    floor_percentile,
    floor_quantile,
    force_cosine,
    force_mae_per_element,
    free_energy_error,
    free_energy_from_counts,
    free_energy_integral_error,
    heat_capacity,
    kinetic_temperature,
    limit_stability,
    net_force,
    net_force_rounding,
    net_torque,
    net_torque_rounding,
    nve_drift,
    on_trajectory_error,
    paired_comparison,
    rdf,
    rdf_stability,
    reweighting_weights,
    velocity_autocorrelation,
)


def sokal(x, c=5.0):
    """Sokal's recipe lag by lag: stop at the first window M with M >= c tau(M) / 2."""
    x = np.asarray(x, float) - np.mean(x)
    tau = 1.0
    for lag in range(1, len(x)):
        tau += 2 * float(x[lag:] @ x[:-lag]) / float(x @ x)
        if lag >= c * tau / 2:
            break
    return max(tau, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_window_of_the_correlation_time_is_sokals(seed):
    rng = np.random.default_rng(seed)
    x = np.convolve(rng.normal(size=600), np.exp(-np.arange(40) / 8.0), mode="valid")
    assert autocorrelation_time(x) == pytest.approx(sokal(x))
    assert autocorrelation_time(x, window_factor=2.0) == pytest.approx(sokal(x, 2.0))
    assert autocorrelation_time(x) != pytest.approx(sokal(x, 10.0), rel=1e-3)
    assert effective_sample_size(x) == pytest.approx(len(x) / sokal(x))


def test_autocorrelation_of_four_values_by_hand():
    # deviations -1.5 -0.5 0.5 1.5: 5, 1.25, -1.5, -2.25 over 5, each lag divided by all n
    assert autocorrelation_function([1.0, 2.0, 3.0, 4.0]) == pytest.approx([1.0, 0.25, -0.3, -0.45])


@pytest.mark.parametrize(("window", "middle"), [((2, 8), 5.0), ((0, 1), 0.5), ((1, 9), 5.0), ((2.4, 8.6), 5.5)])
def test_every_lag_of_the_window_is_in_the_fit(window, middle):
    # the line through t^2 at equal spacing has the slope 2 <t>; lags are those inside the window, both ends included
    assert diffusivity_from_msd(np.arange(10.0) ** 2, 1.0, fit_window=window) == pytest.approx(2 * middle / 6 * 1e-8)


def test_single_lag_divides_by_six_lags():
    x = np.zeros((4, 1, 3))
    x[:, 0, 1] = [0, 1, 3, 6]  # lag 2: 3^2 and 5^2
    assert diffusivity_single_lag(x, 0.5, lag=1.0, remove_mean=False) == pytest.approx(17 / 6 * 1e-8)


def test_g_of_a_breathing_cell_is_of_the_mean_density():
    cells = np.array([10.0, 20.0])[:, None, None] * np.eye(3)
    x = np.array([[[0, 0, 0], [2.5, 0, 0]], [[0, 0, 0], [9.0, 0, 0]]])
    _, g = rdf(x, cells, r_max=5.0, bins=5)
    density = (1e-3 + 0.125e-3) / 2  # pairs per Å^3; of the mean volume it would be 1 / 4500
    shell = 4 / 3 * np.pi * (3**3 - 2**3)
    assert g == pytest.approx([0, 0, 1 / (2 * density * shell), 0, 0])
    # the criterion of stability takes a window's density the same way: no error against this g, one against another
    assert rdf_stability(x, cells, g, r_max=5.0, window=2, tolerance=1e-9).first_failure is None
    assert rdf_stability(x, cells, 1.01 * g, r_max=5.0, window=2, tolerance=1e-9).first_failure == 1


def test_free_energies_are_shifted_by_their_mean_difference():
    # differences 0, 0, 3 about their mean 1 (the median would be 0)
    assert free_energy_error([0.0, 1.0, 5.0], [0.0, 1.0, 2.0]) == pytest.approx(4 / 3)


def test_the_region_lies_below_its_edge():
    assert free_energy_error([0.0, 29.0, 10.0], [0.0, 20.0, 10.0], region=20.0) == 0.0
    assert free_energy_error([0.0, 29.0, 10.0], [0.0, 19.999, 10.0], region=20.0) > 3.0
    # the cap applies after the minimum is at 0: 45 and 50 both count as 40
    assert free_energy_error([5.0, 55.0], [0.0, 45.0], region=np.inf) == 0.0
    assert free_energy_error([5.0, 55.0], [0.0, 45.0], region=np.inf, cap=None) == pytest.approx(2.5)


def test_integrals_and_weights_of_free_energies():
    assert free_energy_integral_error([3.0, 3.0, 4.0, 3.0], [0.0, 0.0, 0.0, 2.0]) == pytest.approx(3 * np.pi / 2)
    grid = np.zeros((2, 2))
    grid[1, 1] = 4.0
    assert free_energy_integral_error(grid, np.zeros((2, 2))) == pytest.approx(4 * np.pi**2)
    kt = 8.31446261815324e-3 * 400
    assert free_energy_from_counts([1, np.e**2], temperature=400.0)[0] == pytest.approx(2 * kt)
    weights = reweighting_weights([0.0, kt], temperature=400.0)
    assert weights[1] / weights[0] == pytest.approx(np.e)


def test_torque_is_about_the_centre_of_mass():
    x, f = [[0.0, 0, 0], [4.0, 0, 0]], [[0.0, 1.0, 0], [0.0, 0, 0]]
    assert float(net_torque(x, f, masses=[1.0, 3.0])) == pytest.approx(3.0)
    assert float(net_torque(x, f)) == pytest.approx(2.0)


def test_net_force_is_per_atom_and_of_any_batch():
    f = np.zeros((2, 4, 3))
    f[0, :, 0] = 0.5
    f[1, :2, 1] = [3.0, -3.0]
    assert net_force(f) == pytest.approx([0.5, 0.0])
    assert float(net_force(f[0])) == pytest.approx(0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_rounding_stays_below_its_limit_and_forces_of_its_size_lie_above(dtype, seed):
    rng = np.random.default_rng(seed)
    for n, far in ((2, 0.0), (9, 0.0), (21, 50.0), (200, 0.0)):
        x = rng.uniform(0, 2 * n ** (1 / 3), (n, 3)) + far
        d = x[:, None] - x
        strength = rng.normal(size=(n, n))
        strength = strength + strength.T
        f = (d * (strength * np.exp(-np.linalg.norm(d, axis=-1)))[..., None]).sum(1)
        rounded = f.astype(dtype)
        assert net_force(rounded) < net_force_rounding(rounded, dtype)
        assert net_torque(x, rounded) < net_torque_rounding(x, rounded, dtype)
        limit = net_force_rounding(f, dtype)
        assert net_force(f + [2.1 * limit, 0, 0]) > limit


def test_an_atom_at_rest_in_both_counts_as_right_and_in_one_as_zero():
    f, reference = [[0.0, 0, 0], [1e-7, 0, 0], [2.0, 0, 0]], [[0.0, 0, 1e-8], [1.0, 0, 0], [0, 3.0, 0]]
    assert force_cosine(f, reference) == pytest.approx(1 / 3)
    assert force_cosine(f, reference, floor=1e-9) == pytest.approx((0 + 1 + 0) / 3)
    single = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    assert force_cosine(single, single.astype(np.float64)) <= 1.0


def test_elements_groups_and_violations_by_hand():
    got = force_mae_per_element([[[3.0, 0, 0], [0, 0, 0]], [[0, 0, 9.0], [0, 6.0, 0]]], np.zeros((2, 2, 3)), [8, 1])
    assert got == {1: 1.0, 8: 2.0}
    assert align_energies([1.0, 2.0, 9.0], [0.0, 0.0, 0.0], ["b", "b", "a"]).tolist() == [-0.5, 0.5, 0.0]
    # deviation 1 of the reference [0, 2], changes 5 against 2
    assert energy_violation([1.0, 6.0], [0.0, 2.0]).tolist() == [0.0, 3.0]
    blocks = on_trajectory_error(np.arange(5.0)[:, None, None] * np.ones((5, 1, 3)), np.zeros((5, 1, 3)), 2.0,
                                 test_force_mae=4.0, blocks=2)  # fmt: skip
    assert blocks.time.tolist() == [2.0, 7.0]
    assert blocks.force_mae.tolist() == [1.0, 3.5]
    assert (blocks.overall, blocks.ratio) == (2.0, 0.5)


def test_limits_are_passed_and_not_touched():
    assert limit_stability([1.0, 2.0, 3.0], low=1.0, high=3.0).first_failure is None
    assert limit_stability([1.0, 0.99], low=1.0, high=3.0).deviation.tolist() == pytest.approx([0.0, 0.01])
    assert energy_stability([0.0, 10.0, -10.1], 10).first_failure == 2
    assert energy_stability([0.0, 10.0, -10.1], 10).deviation.tolist() == pytest.approx([0.0, 1.0, 1.01])


def test_thermodynamics_by_hand():
    # one argon atom, 2.5 Å/ps along each axis: m v^2 = 39.948 x 18.75 amu (Å/ps)^2 of 1.0364e-4 eV, over 3 kB
    kt = 39.948 * 18.75 * 1.0364269652680505e-4 / 3
    v = np.full((1, 1, 3), 2.5)
    assert kinetic_temperature(v, [39.948])[0] == pytest.approx(kt / 8.617333262e-5)
    assert kinetic_temperature(v, [39.948], degrees_of_freedom=1)[0] == pytest.approx(3 * kt / 8.617333262e-5)
    sampled = 8.617333262e-5 * 300
    assert heat_capacity([0.0, 2 * sampled], 300.0, n_atoms=2) == pytest.approx(1.0)  # variance 2 (kT)^2
    # 2.837297 kB T / (6 pi eta L) at 300 K, 1 mPa s, 10 Å
    expected = 2.837297 * 1.380649e-23 * 300 / (6 * np.pi * 1e-3 * 1e-9)
    assert finite_size_correction(300.0, 1e-3, 10.0) == pytest.approx(expected)


def test_drift_of_three_points_by_hand():
    # 0, 1, 0 at 0, 1, 2 ps: slope 0; residuals -1/3, 2/3, -1/3
    drift = nve_drift([0.0, 1.0, 0.0], 1.0, n_atoms=2)
    assert drift.slope == pytest.approx(0.0, abs=1e-15)
    assert drift.rms_fluctuation == pytest.approx(np.sqrt(2 / 9) / 2)
    assert drift.slope_error == pytest.approx(np.sqrt(6 / 9 / 1 / 2) / 2)  # correlation time 1


def test_velocities_are_weighted_by_mass_at_every_lag():
    v = np.zeros((3, 2, 3))
    v[:, 0, 0], v[:, 1, 1] = [1, 2, 3], [2, 2, 2]
    # lag 1: (1 x 2 + 2 x 3) / 2 = 4 and 4, masses 1 and 3, two atoms: (4 + 12) / 2
    got = velocity_autocorrelation(v, masses=[1.0, 3.0], max_lag=1, normalise=False)
    assert got.tolist() == pytest.approx([(14 / 3 + 12) / 2, 8.0])


def test_neighbours_of_two_kinds_are_counted_from_the_first():
    x = [[[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]]]
    cell = 10 * np.eye(3)
    assert coordination_number(x, cell, 1.2, index_a=[0], index_b=[1, 2, 3]) == 2.0
    assert coordination_number(x, cell, 1.2, index_a=[1, 2, 3], index_b=[0]) == pytest.approx(2 / 3)
    assert coordination_number(x, cell, 1.2) == pytest.approx(1.0)


@pytest.mark.parametrize("level", [0.68, 0.95])
def test_bootstrap_intervals_have_the_width_of_their_level(level):
    # n = 400 standard normal quantiles: the mean's deviation is s / 20. The end quantiles of 20,000 draws scatter by
    # sqrt(p (1 - p) / 20,000) / density < 0.02 deviations: 8 of them allowed
    from scipy.stats import norm

    x = norm.ppf((np.arange(400) + 0.5) / 400)
    wanted = norm.ppf((1 + level) / 2) * x.std() / 20
    one = block_bootstrap(x, resamples=20_000, level=level)
    two = paired_comparison(x, np.zeros(400), resamples=20_000, level=level).difference
    for _, low, high in (one, two):
        assert high == pytest.approx(wanted, abs=0.16 * x.std() / 20)
        assert low == pytest.approx(-wanted, abs=0.16 * x.std() / 20)


def test_the_sign_flip_test_counts_all_patterns():
    # 10 equal differences: only the two patterns of equal signs are as extreme, 2 / 1,024; 100,000 draws scatter by
    # 1.4e-4 about it, six of these allowed
    result = paired_comparison(np.zeros(10), np.ones(10), resamples=100_000)
    assert result.p_value == pytest.approx(2 / 1024, abs=8.4e-4)
    assert result.share_lower == 1.0
    assert paired_comparison([1.0, 0.0], [1.0, 1.0], resamples=10).share_lower == 0.75


def test_ties_of_a_floor_count_half_and_its_mark_is_shared():
    assert floor_percentile(1.0, [1.0, 1.0, 2.0, 0.0]) == 50.0
    assert floor_quantile(np.arange(1001.0), observables=2, level=0.1) == pytest.approx(950.0)
    assert accuracy_at_coverage([1, 1, 1], [1, 0, 0], coverage=0.01) == pytest.approx(2 / 3)
