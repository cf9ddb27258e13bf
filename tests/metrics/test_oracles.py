"""Independent implementations as oracles, and the published formulas on the field's own trajectories."""

import numpy as np
import pytest

from ffbench_metrics import (
    bond_stability,
    diffusivity_single_lag,
    distance_histogram,
    jensen_shannon,
    mean_squared_displacement,
    pair_distance_counts,
    rdf,
    rdf_error,
    unwrap,
    wright_factor,
)

PAIRS = {"OO": (8, 8), "HH": (1, 1), "HO": (1, 8)}


def water(frames=40):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 12.43, (frames, 192, 3)).astype(np.float32), np.arange(0, 192, 3)


@pytest.mark.parametrize("skew", [False, True])
def test_rdf_against_mdtraj(skew):
    mdtraj = pytest.importorskip("mdtraj")
    x, oxygen = water()
    cell = np.diag([12.43, 13.0, 14.0])
    if skew:
        cell[1, 0], cell[2, 0], cell[2, 1] = 1.0, -1.5, 2.0
    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for _ in range(192):
        topology.add_atom("O", mdtraj.element.oxygen, residue)
    trajectory = mdtraj.Trajectory(x / 10, topology)
    trajectory.unitcell_vectors = np.tile(cell / 10, (len(x), 1, 1)).astype(np.float32)
    pairs = topology.select_pairs(oxygen, np.setdiff1d(np.arange(192), oxygen))
    # their nearest image is found in float32: compare where a pair on a bin edge weighs little
    _, theirs = mdtraj.compute_rdf(trajectory, pairs, r_range=(0, 0.58), n_bins=20)
    _, ours = rdf(x, cell, index_a=oxygen, index_b=np.setdiff1d(np.arange(192), oxygen), r_max=5.8, bins=20)
    counted = ours > 0.5
    np.testing.assert_allclose(ours[counted], theirs[counted], rtol=1e-3)
    assert rdf_error(ours[5:], theirs[5:], r_max=4.35) < 1e-4 * 4.35


def test_counts_against_ase_neighbour_list():
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    rng = np.random.default_rng(1)
    cell = np.array([[8.0, 0, 0], [2.0, 7.5, 0], [-1.0, 1.5, 9.0]])
    x = rng.uniform(0, 8, (3, 20, 3))
    counts = pair_distance_counts(x, cell, r_max=7.0, bins=14)
    for positions, ours in zip(x, counts):
        i, j, d = neighbor_list("ijd", Atoms("H20", positions, cell=cell, pbc=True), 7.0)
        theirs = np.histogram(d[i < j], 14, (0, 7.0))[0]
        np.testing.assert_array_equal(ours, theirs)


def test_msd_against_freud():
    freud = pytest.importorskip("freud")
    x = np.cumsum(np.random.default_rng(2).normal(size=(300, 10, 3)), axis=0)
    theirs = freud.msd.MSD(mode="window").compute(x).msd
    np.testing.assert_allclose(mean_squared_displacement(x), theirs, rtol=1e-4, atol=1e-4)  # float32 inside


# The formulas of MDsim's published notebook, written down independently of the library.


def notebook_rdf(x, cell, first, second, bins=500, r_max=6.0):
    """All ordered pairs, nearest image in fractional coordinates, zero distances dropped, i = i kept in the density."""
    edges = np.linspace(1e-6, r_max, bins + 1)
    counts, pairs = np.zeros(bins), 0
    fractional = x.astype(float) @ np.linalg.inv(cell)
    for frame in fractional:
        d = frame[first][:, None] - frame[second][None]
        d -= np.round(d)
        lengths = np.linalg.norm(d @ cell, axis=-1).ravel()
        pairs += len(lengths)
        counts += np.histogram(lengths[lengths != 0], edges)[0]
    density = pairs / np.linalg.det(cell)
    return counts / (density * 4 / 3 * np.pi * np.diff(edges**3))


@pytest.fixture(scope="module")
def gemnet_water(shared_data):
    with np.load(shared_data / "mdsim_examples/water-10k_gemnet-t/traj.npz") as data:
        return data["pos"], data["cell"][0].astype(float), data["z"], data["time_ps"]


@pytest.mark.parametrize("name", PAIRS)
def test_mdsim_variant_on_its_own_water(gemnet_water, name):
    x, cell, z, _ = gemnet_water
    x = x[:60]
    a, b = (np.flatnonzero(z == number) for number in PAIRS[name])
    _, ours = rdf(x, cell, index_a=a, index_b=b, normalization="mdsim")
    theirs = notebook_rdf(x, cell, a, b)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)
    assert rdf_error(ours, theirs) < 1e-6


def test_water_of_the_example_is_plausible(gemnet_water):
    x, cell, z, time = gemnet_water
    oxygen = np.flatnonzero(z == 8)
    r, g = rdf(x, cell, index_a=oxygen, bins=120)
    assert r[g.argmax()] == pytest.approx(2.75, abs=0.05)
    assert g.max() == pytest.approx(3.1, abs=0.15)
    assert np.isfinite(g).all()
    _, half = rdf(x[:90], cell, index_a=oxygen, bins=120)
    assert 0 < rdf_error(half, g) < 1.0
    assert 0 < wright_factor(half, g) < 15
    assert 0 < jensen_shannon(half, g, r=r) < 0.01
    d = diffusivity_single_lag(unwrap(x, cell), float(time[1] - time[0]), lag=5.0, index_a=oxygen)
    assert 0.5e-9 < d < 6e-9


def test_aspirin_of_the_example(shared_data):
    with np.load(shared_data / "mdsim_examples/aspirin_dimenet/traj.npz") as data:
        x, z = data["pos"], data["z"]
    r, h = distance_histogram(x)
    assert (h.sum() * 0.02, r[h.argmax()]) == (pytest.approx(1.0), pytest.approx(2.4, abs=0.3))
    edges = np.linspace(1e-6, 10, 501)  # the notebook: np.histogram over all ordered distances, density=True
    lengths = np.linalg.norm(x[:, :, None].astype(float) - x[:, None].astype(float), axis=-1).ravel()
    theirs, _ = np.histogram(lengths, edges, density=True)
    # their first edge is at 1e-6 Å, ours at 0: only distances within 1e-6 Å of an edge can differ
    assert np.abs(h - theirs).sum() * 0.02 < 1e-3
    with np.load(shared_data / "md17/aspirin_train.npz") as data:
        np.testing.assert_array_equal(data["z"], z)
        reference = data["pos"]
    radius = {1: 0.31, 6: 0.76, 8: 0.66}
    limit = 1.2 * np.add.outer([radius[n] for n in z], [radius[n] for n in z])
    d = np.linalg.norm(reference[:, :, None] - reference[:, None], axis=-1)
    bonds = np.argwhere(np.triu(d[0] < limit, 1))
    assert len(bonds) == 21
    result = bond_stability(x, bonds, d[:, bonds[:, 0], bonds[:, 1]].mean(0))
    assert not result.failed
    assert result.deviation.max() < 0.25
