"""Distance histograms, pair distribution functions and coordination: known answers."""

import numpy as np
import pytest

from ffbench_metrics import (
    angle_histogram,
    coordination_number,
    dihedrals,
    distance_counts,
    distance_histogram,
    distance_histogram_from_counts,
    number_of_pairs,
    pair_distance_counts,
    rdf,
    rdf_error,
    rdf_from_counts,
)

TRICLINIC = np.array([[11.5, 0.0, 0.0], [1.0, 11.2, 0.0], [0.5, 2.0, 11.3]])


def brute_force_counts(positions, cell, r_max, bins, images=2):
    counts = np.zeros((len(positions), bins), int)
    shifts = np.array(list(np.ndindex(*(2 * images + 1,) * 3))) - images
    for t, x in enumerate(positions):
        i, j = np.triu_indices(len(x), 1)
        d = np.linalg.norm((x[j] - x[i])[:, None] + shifts @ cell, axis=-1)
        counts[t] = np.histogram(d, bins, (0, r_max))[0]
    return counts


def fcc(edge, cells):
    base = edge * np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    grid = edge * np.array(list(np.ndindex(cells, cells, cells)))
    return (grid[:, None] + base).reshape(1, -1, 3), edge * cells * np.eye(3)


@pytest.mark.parametrize("cell", [12.0 * np.eye(3), np.diag([9.0, 11.0, 14.0]), TRICLINIC], ids=["cube", "box", "skew"])
@pytest.mark.parametrize("r_max", [4.0, 5.9, 9.0])
def test_counts_equal_brute_force_over_all_images(cell, r_max):
    x = np.random.default_rng(0).uniform(-20, 30, (2, 25, 3))
    expected = brute_force_counts(x - np.floor(x @ np.linalg.inv(cell)) @ cell, cell, r_max, 40)
    np.testing.assert_array_equal(pair_distance_counts(x, cell, r_max=r_max, bins=40), expected)


def test_counts_of_many_pairs_are_those_of_double_precision():
    x = np.random.default_rng(9).uniform(-40, 40, (30, 150, 3)).astype(np.float32)
    cell = np.array([[13.0, 0, 0], [1.5, 12.5, 0], [-2.0, 1.0, 14.0]])
    i, j = np.triu_indices(150, 1)
    f = (x[:, j].astype(float) - x[:, i]) @ np.linalg.inv(cell)
    d = np.linalg.norm((f - np.round(f)) @ cell, axis=-1)
    expected = np.stack([np.histogram(frame, 2000, (0, 6.0))[0] for frame in d])
    np.testing.assert_array_equal(pair_distance_counts(x, cell, bins=2000), expected)
    _, g = rdf(x, cell, bins=2000)
    assert (g > 0).sum() == (expected.sum(0) > 0).sum()


def test_counts_follow_a_cell_that_changes_per_frame():
    x = np.random.default_rng(1).uniform(0, 10, (3, 20, 3))
    cells = np.stack([TRICLINIC, 1.02 * TRICLINIC, 0.97 * TRICLINIC])
    together = pair_distance_counts(x, cells, r_max=9.0, bins=30)
    alone = [pair_distance_counts(x[t : t + 1], cells[t], r_max=9.0, bins=30)[0] for t in range(3)]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("normalization", ["standard", "mdsim"])
def test_ideal_gas_has_g_of_one_within_its_error(normalization):
    rng = np.random.default_rng(2)
    frames, n, length = 400, 60, 10.0
    x = rng.uniform(0, length, (frames, n, 3))
    r, g = rdf(x, length * np.eye(3), r_max=5.0, bins=20, normalization=normalization)
    expected = 1.0 if normalization == "standard" else (n - 1) / n
    counted = frames * n * (n - 1) / 2 * 4 * np.pi * r**2 * 0.25 / length**3
    # counts of Poisson, 35 in the smallest of 20 bins: 6.5 standard deviations (1e-7 for all)
    assert np.all(np.abs(g - expected) < 6.5 / np.sqrt(counted))


def test_ideal_gas_beyond_half_a_triclinic_cell():
    x = np.random.default_rng(3).uniform(0, 1, (300, 30, 3)) @ TRICLINIC
    _, g = rdf(x, TRICLINIC, r_max=9.0, bins=9)
    np.testing.assert_allclose(g[3:], 1.0, atol=0.05)  # 0.85 % of counting noise at most, 5.9 of them (2e-8)


def test_mdsim_counts_the_nearest_image_only():
    x = np.random.default_rng(4).uniform(0, 10, (50, 20, 3))
    _, nearest = rdf(x, 10 * np.eye(3), r_max=8.0, bins=16, normalization="mdsim")
    _, every = rdf(x, 10 * np.eye(3), r_max=8.0, bins=16)
    np.testing.assert_allclose(nearest[1:9], every[1:9] * 19 / 20, rtol=1e-3)
    assert nearest[-1] < 0.5 < every[-1]


@pytest.mark.parametrize(("cutoff", "neighbours"), [(3.0, 12), (4.2, 18), (5.0, 42)])
def test_fcc_shells(cutoff, neighbours):
    x, cell = fcc(4.0, 3)
    assert coordination_number(x, cell, cutoff) == neighbours
    r, g = rdf(x, cell, r_max=cutoff, bins=300)
    density = (x.shape[1] - 1) / np.linalg.det(cell)
    edges = np.linspace(0, cutoff, 301)
    assert (g * density * 4 / 3 * np.pi * np.diff(edges**3)).sum() == pytest.approx(neighbours)
    assert abs(r[g > 0][0] - 4.0 / np.sqrt(2)) < cutoff / 300


def test_partial_rdf_of_two_groups_and_overlapping_groups():
    x = np.random.default_rng(5).uniform(0, 8, (4, 12, 3))
    cell = 8 * np.eye(3)
    a, b = [0, 1, 2], [3, 4, 5, 6, 7, 8, 9, 10, 11]
    total = pair_distance_counts(x, cell, r_max=4, bins=20)
    parts = sum(
        pair_distance_counts(x, cell, index_a=p, index_b=q, r_max=4, bins=20) for p, q in ((a, None), (b, b), (a, b))
    )
    np.testing.assert_array_equal(total, parts)
    np.testing.assert_array_equal(
        pair_distance_counts(x, cell, index_a=b, index_b=a, r_max=4, bins=20),
        pair_distance_counts(x, cell, index_a=a, index_b=b, r_max=4, bins=20),
    )
    overlap = pair_distance_counts(x, cell, index_a=[0, 1], index_b=[1, 2, 3], r_max=14, bins=1)
    assert number_of_pairs(12, [0, 1], [1, 2, 3]) == 5
    assert overlap.min() >= 5


def test_water_counts_of_blocks_pool_to_the_whole():
    x = np.random.default_rng(6).uniform(0, 9, (40, 30, 3))
    cell = 9 * np.eye(3)
    oxygen = np.arange(0, 30, 3)
    counts = pair_distance_counts(x, cell, index_a=oxygen, bins=50, r_max=4.5)
    r, g = rdf(x, cell, index_a=oxygen, bins=50, r_max=4.5)
    pooled = counts.reshape(4, 10, 50).sum(1).sum(0)
    r2, g2 = rdf_from_counts(pooled, 40, volume=9.0**3, pairs=number_of_pairs(30, oxygen), r_max=4.5)
    np.testing.assert_allclose(g2, g, rtol=1e-12)
    np.testing.assert_array_equal(r, r2)


def test_distance_histogram_of_known_distances_and_from_counts():
    x = np.array([[[0, 0, 0], [3.0, 0, 0], [0, 4.0, 0]]] * 3, dtype=np.float32) + 1000.0
    r, h = distance_histogram(x, r_max=10.0, bins=20)
    np.testing.assert_allclose(r[h > 0], [3.25, 4.25, 5.25])
    np.testing.assert_allclose(h.sum() * 0.5, 1.0)
    np.testing.assert_allclose(distance_histogram_from_counts(distance_counts(x, bins=20).sum(0))[1], h)


def test_distances_beyond_the_range_are_left_out():
    x = np.array([[[0, 0, 0], [0, 0, 1.0], [0, 0, 1e6]]])
    _, h = distance_histogram(x, r_max=2.0, bins=2)
    np.testing.assert_allclose(h, [0.0, 1.0])


def test_many_frames_in_chunks_equal_few():
    x = np.random.default_rng(7).normal(0, 3, (5000, 6, 3)).astype(np.float32)
    counts = distance_counts(x, bins=50)
    assert counts.shape == (5000, 50)
    np.testing.assert_array_equal(counts[4321], distance_counts(x[4321:4322], bins=50)[0])


def test_angles_and_dihedrals():
    angle, p = angle_histogram([[[1.0, 0, 0], [0, 0, 0], [-1.0, 1e-9, 0]]], [[0, 1, 2]], bins=18)
    assert angle[p > 0] == [175.0]
    theta = np.linspace(-3, 3, 13)
    x = np.zeros((13, 4, 3))
    x[:, 0] = [1, 0, -1]
    x[:, 2] = [0, 0, 1]
    x[:, 3] = np.stack([np.cos(theta), np.sin(theta), 2 * np.ones(13)], -1)
    np.testing.assert_allclose(dihedrals(x, [[0, 1, 2, 3]])[:, 0], theta, atol=1e-12)


def test_rdf_error_of_equal_curves_is_zero():
    assert rdf_error(np.ones(5), np.ones(5)) == 0.0


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: rdf(np.zeros((0, 3, 3)), np.eye(3)), "positions"),
        (lambda: rdf(np.zeros((2, 1, 3)), np.eye(3)), "positions"),
        (lambda: rdf(np.zeros((2, 4, 3)), np.zeros((3, 3))), "cell"),
        (lambda: rdf(np.zeros((2, 4, 3)), np.zeros((5, 3, 3))), "cell"),
        (lambda: rdf(np.full((2, 4, 3), np.nan), np.eye(3)), "positions"),
        (lambda: rdf(np.zeros((2, 4, 3)), np.eye(3), index_a=[0, 9]), "index_a"),
        (lambda: rdf(np.zeros((2, 4, 3)), np.eye(3), index_b=[0]), "index_a"),
        (lambda: rdf(np.zeros((2, 4, 3)), np.eye(3), index_a=[1], index_b=[1]), "index_a"),
        (lambda: rdf(np.zeros((2, 4, 3)), np.eye(3), bins=0), "bins"),
        (lambda: rdf(np.zeros((2, 4, 3)), np.eye(3), r_max=-1), "r_max"),
        (lambda: rdf(np.zeros((2, 4, 3)), np.eye(3), normalization="x"), "normalization"),
        (lambda: distance_histogram(np.zeros((3, 1, 3))), "positions"),
        (lambda: distance_histogram([[0, 0, 0]]), "positions"),
        (lambda: distance_histogram([[[0, 0, 0], [0, 0, 50.0]]]), "r_max"),
    ],
)
def test_wrong_input_names_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
