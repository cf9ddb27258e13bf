"""Property-based tests: what must not change a metric does not change it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ffbench_metrics import (
    augrc,
    aurc,
    bond_stability,
    dihedrals,
    distance_counts,
    energy_mae,
    force_cosine,
    force_mae,
    force_rmse,
    force_smoothness_deviation,
    force_violation,
    jensen_shannon,
    mean_squared_displacement,
    number_of_pairs,
    pair_distance_counts,
    rdf,
    rdf_error,
    survival_curve,
    unwrap,
    wasserstein,
    wright_factor,
)

FEW = settings(max_examples=25, deadline=None, derandomize=True)
SEEDS = st.integers(0, 10_000)


def rotation(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def random_cell(rng, skew=True):
    lengths = rng.uniform(7, 12, 3)
    return np.diag(lengths) + (np.tril(rng.uniform(-2.5, 2.5, (3, 3)), -1) if skew else 0)


def close_counts(a, b):
    """Equal up to pairs that sit on a bin edge: a rounding error moves such a pair by one bin and no further."""
    difference = np.cumsum(np.asarray(a, int).sum(0) - np.asarray(b, int).sum(0))
    assert np.abs(difference).max() <= 2
    assert np.abs(difference).sum() <= 5


@FEW
@given(SEEDS)
def test_open_distances_ignore_translation_rotation_permutation_and_frame_order(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 2, (6, 9, 3))
    counts = distance_counts(x, bins=100)
    moved = (x @ rotation(rng) + rng.normal(0, 10, (6, 1, 3)))[:, rng.permutation(9)][rng.permutation(6)]
    close_counts(counts, distance_counts(moved, bins=100))
    assert counts.sum() <= 6 * 36


@FEW
@given(SEEDS)
def test_periodic_distances_ignore_wrapping_translation_permutation_and_frame_order(seed):
    rng = np.random.default_rng(seed)
    cell = random_cell(rng)
    x = rng.uniform(0, 1, (4, 12, 3)) @ cell
    counts = pair_distance_counts(x, cell, bins=60)
    images = rng.integers(-3, 4, (4, 12, 3)) @ cell
    moved = (x + images + rng.normal(0, 5, (4, 1, 3)))[rng.permutation(4)][:, rng.permutation(12)]
    close_counts(counts, pair_distance_counts(moved, cell, bins=60))


@FEW
@given(SEEDS)
def test_periodic_distances_ignore_rotation_and_the_choice_of_lattice_vectors(seed):
    rng = np.random.default_rng(seed)
    cell = random_cell(rng)
    x = rng.uniform(0, 1, (2, 10, 3)) @ cell
    counts = pair_distance_counts(x, cell, bins=40)
    turn = rotation(rng)
    close_counts(counts, pair_distance_counts(x @ turn, cell @ turn, bins=40))
    other = np.array([[1, 0, 0], [1, 1, 0], [-1, 1, 1]]) @ cell  # the same lattice
    close_counts(counts, pair_distance_counts(x, other, bins=40))


@FEW
@given(SEEDS, st.integers(1, 11))
def test_groups_partition_the_pairs(seed, first):
    rng = np.random.default_rng(seed)
    cell = random_cell(rng)
    x = rng.uniform(0, 1, (2, 12, 3)) @ cell
    a, b = np.arange(first), np.arange(first, 12)
    total = pair_distance_counts(x, cell, bins=30)
    parts = pair_distance_counts(x, cell, index_a=a, index_b=b, bins=30)
    pairs = number_of_pairs(12, a, b)
    for group in (a, b):
        if len(group) > 1:
            parts = parts + pair_distance_counts(x, cell, index_a=group, bins=30)
            pairs += number_of_pairs(12, group)
    np.testing.assert_array_equal(parts, total)
    assert pairs == 66


@FEW
@given(SEEDS)
def test_dihedrals_and_bonds_ignore_rigid_motion(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (5, 4, 3))
    moved = x @ rotation(rng) + rng.normal(0, 5, 3)
    turn = dihedrals(moved, [[0, 1, 2, 3]]) - dihedrals(x, [[0, 1, 2, 3]])
    np.testing.assert_allclose(np.cos(turn), 1.0, atol=1e-9)
    lengths = [1.0, 1.5]
    still = bond_stability(x, [[0, 1], [1, 2]], lengths)
    np.testing.assert_allclose(bond_stability(moved, [[0, 1], [1, 2]], lengths).deviation, still.deviation, atol=1e-9)


@FEW
@given(SEEDS)
def test_msd_ignores_rigid_motion_time_reversal_and_atom_order(seed):
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=(30, 5, 3)), axis=0)
    msd = mean_squared_displacement(x)
    moved = (x @ rotation(rng) + rng.normal(0, 100, (1, 5, 3)))[::-1][:, rng.permutation(5)]
    np.testing.assert_allclose(mean_squared_displacement(moved), msd, rtol=1e-8, atol=1e-8)
    assert (msd >= 0).all()


@FEW
@given(SEEDS)
def test_unwrap_undoes_any_wrapping(seed):
    rng = np.random.default_rng(seed)
    cell = random_cell(rng)
    x = np.cumsum(rng.normal(0, 0.4, (50, 4, 3)), axis=0)
    whole = unwrap(x + rng.integers(-2, 3, x.shape) @ cell, cell)
    np.testing.assert_allclose(whole - whole[0], x - x[0], atol=1e-9)


@FEW
@given(SEEDS, st.floats(0.1, 10))
def test_force_errors_ignore_rotation_and_scale_as_they_should(seed, factor):
    rng = np.random.default_rng(seed)
    f, reference = rng.normal(size=(2, 4, 6, 3))
    turn = rotation(rng)
    for metric in (force_rmse, force_cosine):
        assert metric(f @ turn, reference @ turn) == pytest.approx(metric(f, reference))
    assert force_mae(factor * f, factor * reference) == pytest.approx(factor * force_mae(f, reference))
    violation = force_violation(f, reference)
    np.testing.assert_allclose(force_violation(factor * f @ turn, factor * reference @ turn), violation)
    assert ((violation >= 0) & (violation <= 1)).all()
    assert force_mae(f, reference) <= force_rmse(f, reference) + 1e-12


@FEW
@given(arrays(float, 12, elements=st.floats(0, 5)), arrays(float, 12, elements=st.floats(0, 5)))
def test_distances_between_distributions_are_bounded_and_symmetric(p, q):
    p, q = p + 1e-3, q + 1e-3
    assert 0 <= jensen_shannon(p, q) <= np.log(2)
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p), abs=1e-12)
    assert wasserstein(p, q) == pytest.approx(wasserstein(q, p))
    assert rdf_error(p, q) == rdf_error(q, p) >= 0
    assert wright_factor(p, q) ** 2 / 100 == pytest.approx(wright_factor(p, q, rooted=False))


@FEW
@given(SEEDS, st.booleans())
def test_selective_metrics_depend_on_the_order_of_confidence_alone(seed, ties):
    rng = np.random.default_rng(seed)
    confidence = rng.normal(size=40)
    confidence = np.round(confidence) if ties else confidence
    residual = rng.exponential(size=40)
    assert aurc(np.exp(confidence), residual) == pytest.approx(aurc(confidence, residual))
    assert augrc(3 * confidence - 7, residual) == pytest.approx(augrc(confidence, residual))
    assert augrc(-residual, residual) <= augrc(confidence, residual) + 1e-12
    assert energy_mae(residual, 0 * residual) == pytest.approx(residual.mean())


@FEW
@given(SEEDS)
def test_fsd_ignores_rotation_atom_order_and_energy_zero(seed):
    rng = np.random.default_rng(seed)
    a = np.linspace(1, 2, 20)
    reference, model = rng.normal(0, 3, (2, 20, 4, 3))
    energy = (a - 1.4) ** 2
    turn, order = rotation(rng), rng.permutation(4)
    value = force_smoothness_deviation(a, model, reference, energy)
    moved = force_smoothness_deviation(a, (model @ turn)[:, order], (reference @ turn)[:, order], energy - 1e4)
    assert moved == pytest.approx(value, rel=1e-9)
    assert value.full == max(value.compress, value.stretch)


@FEW
@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=12))
def test_survival_falls_from_one_and_stays_in_its_interval(runs):
    time, failed = zip(*runs)
    curve = survival_curve(time, failed)
    assert curve.survival[0] == 1.0
    assert (np.diff(curve.survival) <= 1e-12).all()
    assert (curve.low <= curve.survival + 1e-12).all()
    assert (curve.survival <= curve.high + 1e-12).all()
    order = np.random.default_rng(0).permutation(len(runs))
    again = survival_curve(np.array(time)[order], np.array(failed)[order])
    np.testing.assert_array_equal(again.survival, curve.survival)


@FEW
@given(SEEDS)
def test_no_warning_and_no_nan_on_the_smallest_valid_input(seed):
    rng = np.random.default_rng(seed)
    with np.errstate(all="raise"):
        _, g = rdf(rng.uniform(0, 9, (1, 2, 3)), 9 * np.eye(3), r_max=9.0, bins=7)
        assert np.isfinite(g).all()
        assert np.isfinite(mean_squared_displacement(rng.normal(size=(2, 1, 3)))).all()
        assert np.isfinite(distance_counts(rng.normal(size=(1, 2, 3)))).all()
