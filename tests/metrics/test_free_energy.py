"""Free-energy surfaces: known answers, the field's own files."""

import numpy as np
import pytest

from ffbench_metrics import (
    angle_grid,
    free_energy_error,
    free_energy_from_hills,
    free_energy_integral_error,
    free_energy_marginal,
    free_energy_surface,
    reweighting_weights,
)
from ffbench_metrics.free_energy import GAS_CONSTANT


def fes_file(path):
    return np.loadtxt(path)[:, 2].reshape(60, 60).T  # the file runs through phi first


def test_hills_of_the_example_give_its_surface_back(shared_data):
    folder = shared_data / "mdsim_examples/ala_nequip"
    hills = np.loadtxt(folder / "HILLS")
    expected = fes_file(folder / "fes.dat")
    f = free_energy_from_hills(hills, temperature=300.0, bias_factor=6.0)
    assert f.shape == (60, 60)
    assert f.min() == 0.0
    assert np.abs(f - (expected - expected.min())).max() < 0.05
    columns = dict(zip(("time", "phi", "psi", "sigma_phi", "sigma_psi", "height", "biasf"), hills.T))
    np.testing.assert_allclose(free_energy_from_hills(columns, temperature=300.0, bias_factor=6.0), f)


@pytest.mark.parametrize(("axis", "expected"), [(0, 85.1), (1, 44.2)])
def test_flat_surface_against_the_published_reference(shared_data, axis, expected):
    reference = fes_file(shared_data / "mdsim_examples/alanine_dipeptide_files/fes.dat")
    marginal = free_energy_marginal(reference, axis=axis, temperature=300.0)
    assert free_energy_integral_error(np.zeros(60), marginal) == pytest.approx(expected, abs=0.06)
    assert free_energy_error(np.zeros(60), marginal, method="integral") == pytest.approx(expected, abs=0.06)


def test_deposited_heights_are_scaled_and_plumed_heights_are_not():
    hill = [[0.5, -1.0, 0.35, 0.35, 1.2]]
    deposited = free_energy_from_hills(hill, temperature=300.0, bias_factor=6.0)
    assert deposited.max() == pytest.approx(1.44, abs=0.02)
    plumed = free_energy_from_hills([[0.0, *hill[0][:4], 1.44, 6.0]], temperature=300.0, bias_factor=6.0)
    np.testing.assert_allclose(plumed, deposited)
    plain = free_energy_from_hills(hill, temperature=300.0, bias_factor=np.inf)
    np.testing.assert_allclose(plain * 1.2, deposited)
    explicit = free_energy_from_hills(hill, temperature=300.0, bias_factor=6.0, scaled=True)
    np.testing.assert_allclose(explicit, plain)


def test_hills_are_periodic_and_indexed_phi_psi():
    f = free_energy_from_hills([[np.pi - 1e-9, 0.0, 0.3, 0.3, 1.0]], temperature=300.0, bias_factor=6.0)
    assert np.unravel_index(f.argmin(), f.shape) == (0, 30)
    np.testing.assert_allclose(f[1], f[-1], atol=1e-6)


def test_samples_of_a_known_density_return_its_surface():
    rng = np.random.default_rng(0)
    samples = rng.vonmises(0.0, 2.0, (400_000, 2))
    f = free_energy_surface(samples, temperature=300.0, bins=12)
    kt = GAS_CONSTANT * 300.0
    edges = np.linspace(-np.pi, np.pi, 13) - np.pi / 12
    from scipy.stats import vonmises

    p = np.diff(vonmises.cdf(edges, 2.0))
    expected = -kt * np.log(p[:, None] * p[None])
    expected -= expected.min()
    assert free_energy_error(f, expected, region=15.0) < 0.15
    marginal = free_energy_marginal(f, axis=0, temperature=300.0)
    np.testing.assert_allclose(marginal[3:10], (-kt * np.log(p / p.max()))[3:10], atol=0.15)  # 0.024 of the counts


def test_reweighting_recovers_the_unbiased_surface():
    rng = np.random.default_rng(1)
    x = rng.uniform(-np.pi, np.pi, 300_000)  # sampled flat: the bias is minus the free energy
    f_true = 5.0 * (1 - np.cos(x))
    weights = reweighting_weights(-f_true, temperature=300.0)
    f = free_energy_surface(x, temperature=300.0, weights=weights, bins=30)
    expected = 5.0 * (1 - np.cos(angle_grid(30)))
    assert np.abs(f - expected).max() < 0.3  # 10,000 samples per bin: 0.035 beside the deepest one


def test_error_aligns_over_the_region_and_caps():
    grid = angle_grid(60)
    reference = 15.0 * (1 - np.cos(grid))
    assert free_energy_error(reference + 7.0, reference) == pytest.approx(0.0, abs=1e-12)
    wild = reference.copy()
    wild[reference >= 20] = np.inf
    assert free_energy_error(wild, reference) == pytest.approx(0.0, abs=1e-12)
    assert free_energy_error(wild, reference, region=np.inf) > 1.0
    assert free_energy_integral_error(wild, reference, cap=40.0) > 0.0


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: free_energy_from_hills(np.zeros((0, 5)), temperature=300, bias_factor=6), "hills"),
        (lambda: free_energy_from_hills(np.zeros((3, 4)), temperature=300, bias_factor=6), "hills"),
        (lambda: free_energy_from_hills({"phi": [0.0]}, temperature=300, bias_factor=6), "psi"),
        (lambda: free_energy_from_hills(np.ones((2, 7)), temperature=300, bias_factor=6), "bias_factor"),
        (lambda: free_energy_from_hills(np.ones((2, 5)), temperature=300, bias_factor=1), "bias_factor"),
        (lambda: free_energy_from_hills(np.ones((2, 5)), temperature=0, bias_factor=6), "temperature"),
        (lambda: free_energy_surface(np.zeros((0, 2)), temperature=300), "angles"),
        (lambda: free_energy_surface([0.0], temperature=300, weights=[0.0]), "weights"),
        (lambda: free_energy_error([0.0], [0.0, 1.0]), "reference"),
        (lambda: free_energy_error([0.0, np.inf], [0.0, 1.0], cap=None), "cap"),
        (lambda: free_energy_error([0.0, np.inf], [0.0, 1.0], method="integral"), "cap"),
    ],
)
def test_wrong_input_names_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
