"""Closed forms of what holds whatever the theory: asymmetry, equivariance, jumps, repulsion, harmonic modes, chi."""

import numpy as np
import pytest
from scipy import constants

from ffbench_metrics import (
    equivariance_error,
    frequency_mae,
    harmonic_frequencies,
    jacobian_asymmetry,
    largest_jump,
    rdf_chi,
    repulsion,
    zero_point_energy,
)


def test_asymmetry_of_a_spring_in_a_vortex():
    """F = -k x + a S x with S antisymmetric: J - J^T = 2 a S, and the parts are orthogonal."""
    k, a = 3.0, 0.1
    s = np.zeros((6, 6))
    s[0, 1], s[1, 0] = 1.0, -1.0
    expected = 2 * a * np.sqrt(2) / np.sqrt(6 * k**2 + 2 * a**2)
    assert jacobian_asymmetry(-k * np.eye(6) + a * s) == pytest.approx(expected, rel=1e-14)


def test_no_forces_are_a_gradient():
    assert jacobian_asymmetry(np.zeros((3, 3))) == 0.0
    with pytest.raises(ValueError, match="jacobian"):
        jacobian_asymmetry(np.zeros((3, 4)))


def test_a_constant_force_does_not_turn():
    """A field along z, turned by the angle t about x, is off by 1 - cos t along z and sin t along y."""
    angles = np.array([0.3, 1.0, 2.5])
    turn = np.array([[[1, 0, 0], [0, np.cos(t), -np.sin(t)], [0, np.sin(t), np.cos(t)]] for t in angles])
    field = np.tile([0.0, 0.0, 2.0], (4, 1))
    error = equivariance_error(np.stack([field] * 3), field, turn)
    assert error == pytest.approx(np.mean(2 * (np.abs(np.sin(angles)) + 1 - np.cos(angles))) / 3, rel=1e-13)


def test_a_jump_counts_in_full_and_curvature_does_not():
    x = 1e-4 * np.arange(30)
    smooth = np.stack([50 * x**2 + 3 * x, np.sin(x)], axis=1)
    assert largest_jump(smooth) < 1e-10
    step = np.zeros((30, 2))
    step[11:] = [3e-3, 4e-3]
    assert largest_jump(smooth + step) == pytest.approx(5e-3, abs=1e-9)


@pytest.mark.parametrize(("power", "sign", "expected"), [(12, 1, (True, True, True)), (12, -1, (False, True, False))])
def test_power_laws_repel_or_attract(power, sign, expected):
    r = np.linspace(0.9, 0.3, 30)
    assert repulsion(sign * r**-power, sign * power * r ** (-power - 1)) == expected


def test_a_core_that_softens_repels_with_a_falling_force():
    r = np.linspace(0.9, 0.3, 30)
    energy = np.exp(-0.5 * (r / 0.6) ** 2)
    assert repulsion(energy, r / 0.36 * energy) == (True, False, True)


def test_one_missing_answer_is_no_pass():
    energy, force = np.arange(5.0), np.arange(1.0, 6.0)
    assert repulsion(energy, force) == (True, True, True)
    energy[2] = np.nan
    assert repulsion(energy, force) == (False, False, False)


def water(k_bond=50.0, k_angle=4.0):
    """(Hessian, positions, masses) of a water of two springs and an angle spring at its minimum, r = 0.96 Å, 104.5°."""
    r0, theta = 0.96, np.deg2rad(104.5)
    x = np.array([[0, 0, 0], [r0, 0, 0], [r0 * np.cos(theta), r0 * np.sin(theta), 0]], float)
    u1, u2 = x[1] / r0, x[2] / r0
    side1 = (np.cos(theta) * u1 - u2) / (r0 * np.sin(theta))
    side2 = (np.cos(theta) * u2 - u1) / (r0 * np.sin(theta))
    b = np.array([[*-u1, *u1, 0, 0, 0], [*-u2, 0, 0, 0, *u2], [*-(side1 + side2), *side1, *side2]])
    return b.T @ np.diag([k_bond, k_bond, k_angle]) @ b, x, np.array([15.999, 1.008, 1.008])


def test_water_of_known_force_constants_by_wilson_s_gf_matrices():
    """The non-zero eigenvalues of M^-1/2 H M^-1/2 are those of G F, with G from bond lengths and masses alone."""
    k_bond, k_angle = 50.0, 4.0
    hessian, x, m = water(k_bond, k_angle)
    r, c, s = 0.96, np.cos(np.deg2rad(104.5)), np.sin(np.deg2rad(104.5))
    uo, uh = 1 / m[0], 1 / m[1]
    bend = 2 * (uh + uo * (1 - c)) / r**2
    g = [[uh + uo, uo * c, -uo * s / r], [uo * c, uh + uo, -uo * s / r], [-uo * s / r, -uo * s / r, bend]]
    values = np.sort(np.linalg.eigvals(np.array(g) @ np.diag([k_bond, k_bond, k_angle])).real)
    si = np.sqrt(values * constants.eV / constants.angstrom**2 / constants.atomic_mass)
    expected = si / (2 * np.pi * constants.c * 100)
    found = harmonic_frequencies(hessian, x, m)
    assert found == pytest.approx(expected, rel=1e-9)
    quanta = 0.5 * (constants.h * constants.c * 100 * expected).sum() / constants.eV
    assert zero_point_energy(found) == pytest.approx(quanta, rel=1e-9)


def test_linear_molecules_have_one_mode_more_and_atoms_none():
    assert len(harmonic_frequencies(np.zeros((9, 9)), [[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]], [16, 12, 16])) == 4
    assert len(harmonic_frequencies(np.zeros((9, 9)), water()[1], [16, 1, 1])) == 3
    assert len(harmonic_frequencies(np.zeros((3, 3)), [[0, 0, 0]], [16.0])) == 0


def test_an_imaginary_mode_is_negative_and_has_no_zero_point():
    hessian, x, m = water(k_angle=-1.0)
    found = harmonic_frequencies(hessian, x, m)
    assert found[0] < 0 < found[1]
    assert zero_point_energy(found) == pytest.approx(zero_point_energy(found[1:]), rel=1e-14)


def test_modes_do_not_depend_on_place_and_orientation():
    from scipy.spatial.transform import Rotation

    hessian, x, m = water()
    q = Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()
    wide = np.kron(np.eye(3), q)
    turned = harmonic_frequencies(wide @ hessian @ wide.T, x @ q.T + 7.0, m)
    assert turned == pytest.approx(harmonic_frequencies(hessian, x, m), rel=1e-9)


def test_frequencies_are_compared_in_order():
    assert frequency_mae([100.0, 3000.0], [3010.0, 90.0]) == pytest.approx(10.0)


def test_chi_of_gaussian_errors_is_the_mean_of_a_half_normal():
    """With g off by its own errors, chi is sqrt(2/pi); 200000 values are within six standard errors of that."""
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.01, 0.1, 200_000)
    chi = rdf_chi(1 + sigma * rng.normal(size=sigma.shape), np.ones_like(sigma), sigma)
    assert abs(chi - np.sqrt(2 / np.pi)) < 6 * np.sqrt((1 - 2 / np.pi) / len(sigma))


def test_bins_without_an_error_were_not_measured():
    assert rdf_chi([9.0, 2.0], [0.0, 1.0], [0.0, 0.5]) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="error"):
        rdf_chi([1.0], [1.0], [0.0])
