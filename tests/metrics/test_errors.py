"""Errors of energies and forces, errors between distributions, violations, thermodynamics: known answers."""

import numpy as np
import pytest

from ffbench_metrics import (
    align_energies,
    element_offsets,
    energy_mae,
    energy_rmse,
    energy_violation,
    error_quantiles,
    force_cosine,
    force_mae,
    force_mae_per_element,
    force_magnitude_mae,
    force_rmse,
    force_violation,
    heat_capacity,
    histogram_error,
    jensen_shannon,
    kinetic_temperature,
    maxwell_boltzmann_test,
    net_torque,
    on_trajectory_error,
    stress_mae,
    stress_rmse,
    wasserstein,
    wright_factor,
)


def test_energies_in_float32_are_compared_in_float64():
    reference = np.array([-40000.123456, -40001.5])
    assert energy_mae(reference + [0.001, -0.003], reference) == pytest.approx(0.002, abs=1e-9)
    assert energy_rmse([3.0, 0.0], [0.0, 4.0], n_atoms=[1, 2]) == pytest.approx(np.sqrt((9 + 4) / 2))


def test_gaussian_force_noise_returns_its_moments():
    noise = np.random.default_rng(0).normal(0, 0.1, (500, 20, 3))
    reference = np.random.default_rng(1).normal(0, 1, (500, 20, 3))
    # 30,000 components: 0.41 and 0.44 % standard error, 7 of them allowed (3e-12)
    assert force_rmse(reference + noise, reference) == pytest.approx(0.1, rel=0.03)
    assert force_mae(reference + noise, reference) == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.031)
    per_element = force_mae_per_element(reference + noise * (np.arange(20) < 5)[:, None], reference, [8] * 5 + [1] * 15)
    assert list(per_element) == [1, 8]
    assert per_element[1] == 0.0


def test_cosine_and_magnitude():
    f = np.random.default_rng(2).normal(size=(5, 4, 3))
    assert force_cosine(3 * f, f) == pytest.approx(1.0)
    assert force_cosine(-f, f) == pytest.approx(-1.0)
    assert force_cosine(np.zeros((1, 3)), np.zeros((1, 3))) == 1.0
    assert force_cosine(np.zeros((1, 3)), np.ones((1, 3))) == 0.0
    assert force_magnitude_mae(-f, f) == pytest.approx(0.0)


def test_stress_uses_six_components():
    shear = np.zeros((1, 3, 3))
    shear[0, 0, 1] = shear[0, 1, 0] = 0.6
    assert stress_mae(shear, np.zeros((1, 3, 3))) == pytest.approx(0.1)
    assert stress_rmse(shear, np.zeros((1, 3, 3))) == pytest.approx(0.6 / np.sqrt(6))


def test_alignment_and_offsets_remove_constants_alone():
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 9, (50, 3))
    reference = rng.normal(size=50)
    offsets = np.array([-13.6, -1030.0, -2040.0])
    found = element_offsets(counts, reference + counts @ offsets, reference)
    np.testing.assert_allclose(found, offsets)
    aligned = align_energies(reference + np.repeat([5.0, -3.0], 25), reference, np.repeat(["a", "b"], 25))
    np.testing.assert_allclose(aligned, reference)
    np.testing.assert_allclose(error_quantiles(np.linspace(-1, 1, 2001), [0.9]), [0.9])


def test_distances_between_distributions():
    p = np.array([0.2, 0.3, 0.5])
    q = np.array([0.5, 0.3, 0.2])
    assert histogram_error(p, q, width=1.0) == pytest.approx(0.6)
    assert wright_factor(q, p) == pytest.approx(100 * np.sqrt(0.18 / 0.38))
    assert wright_factor(q, p, rooted=False) == pytest.approx(100 * 0.18 / 0.38)
    assert wasserstein(p, q, width=0.1) == pytest.approx(0.06)
    r = np.array([1.0, 2.0, 3.0])
    assert jensen_shannon(p, q, r=r) == pytest.approx(jensen_shannon(p * r**2, q * r**2))
    assert jensen_shannon(p, p) == 0.0


def test_against_scipy_distances():
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(4)
    p, q = rng.random(50), rng.random(50)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q) ** 2)
    x = np.arange(50) * 0.3
    assert wasserstein(p, q, width=0.3) == pytest.approx(wasserstein_distance(x, x, p, q))


def test_violations():
    e = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(energy_violation(e - 1000.0, e), 0.0)
    np.testing.assert_allclose(energy_violation([0.0, 1.0], [0.0, 0.0], scale=0.5), [0.0, 2.0])
    f = np.random.default_rng(5).normal(size=(4, 3, 3))
    np.testing.assert_allclose(force_violation(f, -f), 1.0)
    np.testing.assert_allclose(force_violation(3 * f, f), 0.5)
    np.testing.assert_array_equal(force_violation(0 * f, 1e-8 * f), 0.0)
    growth = on_trajectory_error(f * np.linspace(1, 2, 4)[:, None, None], f, 1.0, test_force_mae=0.1, blocks=4)
    assert growth.force_mae[0] == 0.0
    assert growth.overall == pytest.approx(growth.force_mae.mean())
    assert growth.ratio == pytest.approx(growth.overall / 0.1)


def test_maxwell_boltzmann_velocities():
    rng = np.random.default_rng(6)
    masses = np.array([15.999, 1.008, 1.008, 12.011])
    sigma = np.sqrt(8.617333262e-5 * 300 / (masses * 1.0364269652680505e-4))  # Å/ps
    v = rng.normal(size=(4000, 4, 3)) * sigma[:, None]
    temperature = kinetic_temperature(v, masses)
    result = maxwell_boltzmann_test(temperature, 300.0, degrees_of_freedom=12)
    # 4,000 samples of chi^2 with 12: 0.65 % of the mean, 2.7 % of the variance, 7 of each; p is uniform
    assert result.mean == pytest.approx(300.0, rel=0.045)
    assert result.variance_ratio == pytest.approx(1.0, rel=0.19)
    assert result.p_value > 1e-7
    assert maxwell_boltzmann_test(temperature * 1.2, 300.0, degrees_of_freedom=12).p_value < 1e-6


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: energy_mae([], []), "energy"),
        (lambda: energy_mae([1.0], [1.0], n_atoms=0), "n_atoms"),
        (lambda: force_mae(np.zeros((2, 3)), np.zeros((3, 3))), "reference_forces"),
        (lambda: force_mae(np.zeros((2, 2)), np.zeros((2, 2))), "forces"),
        (lambda: force_rmse(np.zeros((0, 3)), np.zeros((0, 3))), "forces"),
        (lambda: force_mae_per_element(np.zeros((2, 3)), np.zeros((2, 3)), [1, 2, 3]), "atomic_numbers"),
        (lambda: force_mae(np.full((1, 3), np.nan), np.zeros((1, 3))), "forces"),
        (lambda: stress_mae(np.zeros((1, 6)), np.zeros((1, 6))), "stress"),
        (lambda: align_energies([1.0], [1.0], [1, 2]), "groups"),
        (lambda: wright_factor([1.0], [0.0]), "reference"),
        (lambda: jensen_shannon([-1.0, 2.0], [1.0, 1.0]), "p must"),
        (lambda: jensen_shannon([1.0], [1.0, 1.0]), "q must"),
        (lambda: energy_violation([1.0], [1.0]), "reference_energy"),
        (lambda: energy_violation([1.0, 1.0], [1.0, 1.0]), "scale"),
        (lambda: force_violation(np.zeros((0, 1, 3)), np.zeros((0, 1, 3))), "forces"),
        (lambda: kinetic_temperature(np.zeros((1, 1, 3)), [0.0]), "masses"),
        (lambda: maxwell_boltzmann_test([300.0], 300.0, degrees_of_freedom=3), "temperature"),
        (lambda: heat_capacity([1.0], 300.0), "energy"),
        (lambda: error_quantiles([1.0], [2.0]), "levels"),
    ],
)
def test_wrong_input_names_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()


def test_net_torque_is_that_of_a_turning_body_and_none_of_a_potential():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5, 4, 3))
    axis, masses = np.array([0.3, -1.0, 2.0]), np.array([1.0, 12.0, 16.0, 1.0])
    arm = x - np.einsum("tna,n->ta", x, masses)[:, None] / masses.sum()
    turning = masses[:, None] * np.cross(axis, arm)  # accelerates every atom about one axis: inertia times axis
    inertia = np.einsum("tna,n,tna->t", arm, masses, arm)[:, None, None] * np.eye(3) - np.einsum(
        "tna,n,tnb->tab", arm, masses, arm
    )
    assert net_torque(x, turning, masses=masses) == pytest.approx(np.linalg.norm(inertia @ axis, axis=-1))
    springs = (x[:, None] - x[:, :, None]).sum(2)  # pairwise, along the lines between atoms
    assert net_torque(x, springs, masses=masses) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="4 positive numbers"):
        net_torque(x, springs, masses=[1.0, 2.0])
    with pytest.raises(ValueError, match="positions must have the shape of forces"):
        net_torque(x[:, :2], springs)
