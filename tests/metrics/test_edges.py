"""Answers worked out by hand at edges: one vector, a cell per frame, the last window."""

import itertools

import numpy as np
import pytest

from ffbench_metrics import (
    bond_stability,
    diffusivity_single_lag,
    distance_histogram,
    energy_violation,
    error_quantiles,
    force_cosine,
    force_mae,
    force_violation,
    free_energy_error,
    free_energy_surface,
    kinetic_temperature,
    maxwell_boltzmann_test,
    net_torque,
    net_torque_rounding,
    noise_floor,
    number_of_pairs,
    on_trajectory_error,
    pair_distance_counts,
    paired_comparison,
    rank_intervals,
    rdf,
    rdf_error,
    rdf_from_counts,
    rdf_stability,
    reference_bond_lengths,
    restricted_mean,
    reweighting_weights,
    survival_curve,
)
from ffbench_metrics.statistics import Interval, autocorrelation_function, within


def test_one_vector_is_not_a_list_of_forces():
    with pytest.raises(ValueError, match="forces"):
        force_mae([0.1, 0.0, 0.0], [0.0, 0.0, 0.0])


def test_a_cell_per_frame_ends_with_the_positions():
    """The last windows of g(r) end before the frame that is lost, whether the cell is one or one per frame."""
    x = np.random.default_rng(0).uniform(0, 10, (12, 30, 3))
    x[9] = np.nan
    cells = np.broadcast_to(10 * np.eye(3), (12, 3, 3))
    one = rdf_stability(x, 10 * np.eye(3), np.ones(10), r_max=5.0, window=4, tolerance=100.0)
    each = rdf_stability(x, cells, np.ones(10), r_max=5.0, window=4, tolerance=100.0)
    assert one.first_failure == each.first_failure == 9
    np.testing.assert_allclose(each.deviation, one.deviation)
    assert len(each.deviation) == 6


def test_a_norm_at_the_limit_is_not_below_it():
    f = np.array([[[1e-6, 0, 0]]])
    assert np.sqrt(np.square(f).sum()) == 1e-6
    assert force_violation(f, 0 * f).tolist() == [1.0]
    assert force_cosine([[1.0, 0, 0]], [[1.0, 0, 0]], floor=1.0) == 1.0
    assert force_cosine([[1.0, 0, 0]], [[-1.0, 0, 0]], floor=1.0) == -1.0


def test_forces_count_as_still_where_both_are_whatever_their_difference():
    f = np.array([[[1.5e-6, 0, 0]], [[0.9e-6, 0, 0]]])
    reference = np.array([[[0.9e-6, 0, 0]], [[-0.9e-6, 0, 0]]])
    np.testing.assert_allclose(force_violation(f, reference), [0.25, 0.0])


def test_one_resting_side_is_a_full_violation():
    f = np.array([[[0.5, 0, 0]]])
    assert force_violation(0 * f, f).tolist() == force_violation(f, 0 * f).tolist() == [1.0]


def test_bonds_name_atoms_by_their_number_and_never_from_the_end():
    x = np.array([[[0, 0, 0], [0, 0, 1.1]]])
    for bonds in ([[-1, 0]], [[0, 2]]):
        with pytest.raises(ValueError, match="from 0 to 1"):
            bond_stability(x, bonds, [1.1])
    assert not bond_stability(x, [[0, 1]], [1.1]).failed


def test_the_energy_scale_of_a_constant_reference_is_asked_for():
    with pytest.raises(ValueError, match="reference_energy is constant; give scale"):
        energy_violation([0.0, 1.0], [2.0, 2.0])
    assert energy_violation([0.0, 1.0], [2.0, 2.0], scale=0.5).tolist() == [0.0, 2.0]


def test_blocks_in_time_are_ten():
    f = np.ones((40, 1, 3))
    found = on_trajectory_error(f, 0 * f, 1.0, test_force_mae=1.0)
    assert found.time.tolist() == [1.5 + 4 * k for k in range(10)]


def test_a_constant_series_correlates_for_ever_whatever_its_value():
    for value in (0.0, 3.0):
        assert autocorrelation_function(np.full(4, value)).tolist() == [1.0] * 4


def test_an_end_at_the_edge_of_the_domain_is_cut_there():
    assert within(Interval(1.0, 0.9, 1.1), (-1.0, 1.0)) == (1.0, 0.9, 1.0)
    assert within(Interval(-1.0, -1.2, 0.1), (-1.0, 1.0)) == (-1.0, -1.0, 0.1)
    assert within(Interval(1.5, 0.9, 1.8), (-1.0, 1.0)) == (1.5, 0.9, 1.8)


def test_defaults_are_the_documented_ones():
    assert free_energy_surface(np.linspace(-3, 3, 5000), temperature=300.0).shape == (60,)
    assert error_quantiles(np.arange(101.0)).tolist() == [50.0, 90.0, 95.0, 99.0]
    assert rdf_error([2.0, 2.0], [1.0, 1.0]) == pytest.approx(6.0)
    # the region ends at 20, the cap at 40 kJ/mol: the point at 19.5 counts, that at 20.5 does not
    reference = [0.0, 19.5, 20.5, 60.0]
    assert free_energy_error([0.0, 25.5, 99.0, 60.0], reference) == pytest.approx(3.0)
    assert free_energy_error([0.0, 99.0, 20.5, 60.0], reference) == pytest.approx(20.5 / 2)


def test_surfaces_without_bins_are_refused_for_their_shape():
    with pytest.raises(ValueError, match=r"must have shape \[bins\]"):
        free_energy_error([], [])


def test_weights_of_large_biases_do_not_overflow():
    weights = reweighting_weights([3000.0, 3000.0, 0.0], temperature=300.0)
    assert weights.tolist() == [0.5, 0.5, 0.0]


def test_ten_frames_are_enough_for_a_temperature_and_nine_are_not():
    t = np.tile([290.0, 310.0], 5)
    assert maxwell_boltzmann_test(t, 300.0, degrees_of_freedom=9).mean == 300.0
    with pytest.raises(ValueError, match="at least 10"):
        maxwell_boltzmann_test(t[:9], 300.0, degrees_of_freedom=9)


def test_light_masses_are_masses():
    # m v^2 / (3 kB) with m = 0.5 amu, v^2 = 3 (Å/ps)^2: 0.5 * 1.66054e-27 * 1e4 / 1.380649e-23
    assert kinetic_temperature(np.ones((1, 1, 3)), [0.5])[0] == pytest.approx(0.601359, rel=1e-5)
    with pytest.raises(ValueError, match="masses"):
        kinetic_temperature(np.ones((1, 1, 3)), [0.0])


def test_rounding_of_a_torque_is_per_structure():
    x = np.array([[3.0, 0, 0], [1.0, 0, 0]])
    both = net_torque_rounding(np.stack([x, x, x]), np.zeros((3, 2, 3)), np.float64)
    # 8 eps (1 eV/Å) sqrt(3^2 + 1^2) Å
    np.testing.assert_allclose(both, np.full(3, 8 * np.finfo(float).eps * np.sqrt(10)))


def test_single_atoms_of_two_groups_are_a_pair():
    assert number_of_pairs(3, [0], [1]) == 1
    with pytest.raises(ValueError, match="index_a has 1 atoms; at least 2"):
        number_of_pairs(3, [1], [1])


def test_runs_of_other_shapes_are_named():
    runs = [np.ones((4, 3)), np.ones((4, 2)), np.ones((4, 2))]
    with pytest.raises(ValueError, match=r"block_counts\[1\] has shape \[4, 2\]"):
        noise_floor(runs, 2, lambda a, b: float(np.abs(a - b).mean()))


def test_a_run_may_be_one_block_and_not_none():
    def error(a, b):
        return float(np.abs(a - b).mean())

    # every pair of runs of one block differs by 2
    assert set(noise_floor([np.zeros((1, 3)), np.full((1, 3), 2.0)], 1, error, resamples=50)) <= {0.0, 2.0}
    with pytest.raises(ValueError, match=r"block_counts\[1\] has shape \[0, 3\]"):
        noise_floor([np.zeros((1, 3)), np.zeros((0, 3))], 1, error)


@pytest.mark.parametrize("edges", list(itertools.permutations((7.0, 9.0, 9.0))))
def test_nearest_images_in_cells_with_two_equal_edges(edges):
    x = np.array([[[0.2, 0.2, 0.2], [edges[0] - 0.3, edges[1] - 0.4, edges[2] - 0.9]]])
    distance = np.sqrt(0.5**2 + 0.6**2 + 1.1**2)
    counts = pair_distance_counts(x, np.diag(edges), r_max=2.0, bins=200, nearest_image=True)[0]
    assert np.flatnonzero(counts).tolist() == [int(distance / 0.01)]
    far = np.array([[[0.0, 0, 0], [3.4, 0, 0]]])[:, :, [0, 1, 2]]
    counts = pair_distance_counts(far, np.diag(edges), r_max=3.45, bins=345, nearest_image=True)[0]
    assert np.flatnonzero(counts).tolist() == [340]


def test_greenwood_on_the_log_log_scale():
    """Six runs that fail one after the other: S = 5/6, 4/6 ...; var log S = sum d / (n (n - d)) (Kalbfleisch and
    Prentice, 1.4), so that log(-log S) has the error sqrt(var) / |log S|."""
    curve = survival_curve(np.arange(1.0, 7), [True] * 6)
    variance = 0.0
    for k in range(1, 6):
        variance += 1 / ((7 - k) * (6 - k))
        s = 1 - k / 6
        width = 1.959964 * np.sqrt(variance) / np.log(s)
        assert curve.survival[k] == pytest.approx(s)
        assert curve.low[k] == pytest.approx(s ** np.exp(-width), rel=1e-6)
        assert curve.high[k] == pytest.approx(s ** np.exp(width), rel=1e-6)
    assert (curve.survival[6], curve.low[6]) == (0.0, 0.0)
    assert curve.high[6] == pytest.approx(1 - 0.025 ** (1 / 6))


def test_two_runs_have_an_interval_and_may_fail_at_the_start():
    found = restricted_mean([100.0, 300.0], [True, False], limit=300.0)
    # the mean 200 of 100 and 300, with the error sqrt(2) 100 / sqrt(2) and Student's 12.7 for one degree of freedom
    assert (found.value, found.low, found.high) == (200.0, 0.0, 300.0)
    near = restricted_mean([299.0, 300.0], [True, False], limit=300.0)
    assert near.low == pytest.approx(299.5 - 12.7062 * 0.5, rel=1e-5)
    assert restricted_mean([0.0, 300.0], [True, False], limit=300.0).value == 150.0
    with pytest.raises(ValueError, match="negative"):
        survival_curve([-1.0, 2.0], [True, True])


def test_one_resample_is_no_interval():
    with pytest.raises(ValueError, match="resamples"):
        rank_intervals([[1.0, 2.0], [2.0, 3.0]], resamples=1)
    with pytest.raises(ValueError, match="resamples"):
        paired_comparison([1.0, 2.0], [2.0, 3.5], resamples=1)


def test_the_published_average_over_one_origin_less_needs_two():
    """MDsim divides by the number of origins less one: with a single origin there is nothing to divide by."""
    x = np.zeros((5, 2, 3))
    x[:, 1, 0] = np.arange(5.0)
    assert diffusivity_single_lag(x, 1.0, lag=4.0) > 0
    assert diffusivity_single_lag(x, 1.0, lag=3.0, divisor="mdsim") > 0
    with pytest.raises(ValueError, match="does not fit"):
        diffusivity_single_lag(x, 1.0, lag=4.0, divisor="mdsim")


def test_a_torque_is_about_the_centre_of_mass_wherever_that_is():
    """Force 2 on one of two equal atoms a distance 2 apart: 2 x 1 about their middle, here and far away."""
    x, f = np.array([[0.0, 0, 0], [2.0, 0, 0]]), np.array([[0.0, 0, 0], [0, 2.0, 0]])
    for shift in ([0.0, 0, 0], [3.0, -4.0, 5.0]):
        assert net_torque(x + shift, f) == pytest.approx(2.0)
    heavy = net_torque(x + [3.0, 0, 0], f, masses=[3.0, 1.0])  # the centre is 1.5 from the light atom
    assert heavy == pytest.approx(3.0)


def test_grids_are_the_published_ones():
    """Fu et al. 2023: distances from 0 to 10 A in 500 bins, g(r) from 0 to 6 A in 500."""
    r, _ = distance_histogram(np.array([[[0.0, 0, 0], [1.0, 0, 0]]]))
    assert (len(r), r[0], r[-1]) == (500, pytest.approx(0.01), pytest.approx(9.99))
    r, _ = rdf(np.array([[[0.0, 0, 0], [1.0, 0, 0]]]), 12 * np.eye(3))
    assert (len(r), r[0], r[-1]) == (500, pytest.approx(0.006), pytest.approx(5.994))


def test_stored_counts_give_the_published_normalisation_of_the_trajectory():
    x, cell = np.random.default_rng(0).uniform(0, 13, (4, 30, 3)), 13 * np.eye(3)
    counts = pair_distance_counts(x, cell, index_a=np.arange(30), r_max=6.0, bins=50).sum(0)
    known = rdf(x, cell, bins=50, normalization="mdsim")[1]
    about = {"frames": 4, "volume": 13.0**3, "pairs": number_of_pairs(30), "normalization": "mdsim"}
    np.testing.assert_allclose(rdf_from_counts(counts, **about, self_pairs=30)[1][1:], known[1:], rtol=1e-12)


def test_a_cell_per_frame_has_as_many_as_the_frames():
    x = np.zeros((2, 2, 3))
    x[:, 1, 0] = 1.0
    with pytest.raises(ValueError, match="cell"):
        bond_stability(x, [[0, 1]], [1.0], cell=np.stack([9 * np.eye(3)] * 3))
    with pytest.raises(ValueError, match="cell has 3 frames, positions have 2"):
        rdf_stability(x, np.stack([9 * np.eye(3)] * 3), np.ones(4), r_max=4.5, window=1)
    with pytest.raises(ValueError, match="cell"):
        reference_bond_lengths(x, [[0, 1]], cell=np.stack([9 * np.eye(3)] * 3))
