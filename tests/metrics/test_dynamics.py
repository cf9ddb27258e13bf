"""Diffusion, vibration and conservation: known answers."""

import numpy as np
import pytest

from ffbench_metrics import (
    conservativeness,
    diffusivity,
    diffusivity_single_lag,
    finite_size_correction,
    mean_squared_displacement,
    nve_drift,
    unwrap,
    velocity_autocorrelation,
    vibrational_spectrum,
)


def msd_by_definition(x):
    return np.array([0.0] + [np.square(x[k:] - x[:-k]).sum(-1).mean() for k in range(1, len(x))])


def test_msd_equals_its_definition_far_from_the_origin():
    x = np.cumsum(np.random.default_rng(0).normal(size=(101, 7, 3)), axis=0) + 1000.0
    np.testing.assert_allclose(mean_squared_displacement(x), msd_by_definition(x), rtol=1e-9, atol=1e-8)


def test_random_walk_returns_its_diffusivity():
    rng = np.random.default_rng(1)
    runs = [diffusivity(np.cumsum(rng.normal(0, 0.3, (4000, 20, 3)), 0), 0.1, fit_window=(0.5, 2.0)) for _ in range(6)]
    expected = 0.3**2 / (2 * 0.1) * 1e-8
    # one run of 60 coordinates: sqrt(4 lags / (3 frames) / 60) = 1 %, a slope 2 %, the mean of six 0.8 %; 7 of these
    assert np.mean(runs) == pytest.approx(expected, rel=0.06)
    assert np.std(runs) < 0.1 * expected


def test_drift_of_the_whole_system_is_removed_when_masses_are_given():
    rng = np.random.default_rng(2)
    masses = np.array([16.0, 1.0, 1.0])
    x = rng.normal(size=(50, 3, 3))
    x -= np.einsum("tnc,n->tc", x, masses / masses.sum())[:, None]
    flow = x + np.linspace(0, 500, 50)[:, None, None]
    np.testing.assert_allclose(
        mean_squared_displacement(flow, index_a=[1, 2], masses=masses), mean_squared_displacement(x[:, 1:]), atol=1e-6
    )


def test_single_lag_and_the_published_divisor():
    x = np.cumsum(np.random.default_rng(3).normal(size=(102, 5, 3)), 0)
    right = diffusivity_single_lag(x, 1.0, lag=100.0)
    assert diffusivity_single_lag(x, 1.0, lag=100.0, divisor="mdsim") == pytest.approx(2 * right)
    centred = x - x.mean(1, keepdims=True)
    assert right == pytest.approx(msd_by_definition(centred)[100] / 600 * 1e-8)


def test_unwrap_undoes_wrapping_in_a_triclinic_cell():
    cell = np.array([[10.0, 0, 0], [2.0, 9.0, 0], [1.0, -1.0, 8.0]])
    x = np.cumsum(np.random.default_rng(4).normal(0, 0.8, (200, 6, 3)), 0)
    wrapped = x - np.floor(x @ np.linalg.inv(cell)) @ cell
    moved = unwrap(wrapped, cell)
    np.testing.assert_allclose(moved - moved[0], x - x[0], atol=1e-9)


def test_finite_size_correction_of_water():
    # 64 molecules, L = 12.43 Å, 300 K, 0.729 mPa s: 2.837297 kB T / (6 pi eta L)
    assert finite_size_correction(300.0, 0.729e-3, 12.43) == pytest.approx(0.688e-9, rel=2e-3)


def test_velocity_autocorrelation_equals_its_definition():
    v = np.random.default_rng(5).normal(size=(40, 4, 3))
    m = np.array([1.0, 2.0, 3.0, 4.0])
    expected = [np.mean((v[: 40 - k] * v[k:]).sum(-1) @ m) / 4 for k in range(6)]
    np.testing.assert_allclose(velocity_autocorrelation(v, masses=m, max_lag=5, normalise=False), expected)


def test_spectrum_has_its_peak_at_the_frequency():
    dt = 0.0005
    c = np.cos(2 * np.pi * 100.0 * np.arange(4000) * dt)  # 100 THz = 3335.6 cm^-1
    wavenumber, intensity = vibrational_spectrum(c, dt)
    assert wavenumber[intensity.argmax()] == pytest.approx(3335.64, abs=wavenumber[1])
    assert intensity.sum() * wavenumber[1] == pytest.approx(1.0)


def verlet_energy(dt, time=200.0):
    n = int(time / dt)
    x, v, energy = 1.0, 0.0, np.empty(n)
    for k in range(n):
        v -= 0.5 * dt * x
        x += dt * v
        v -= 0.5 * dt * x
        energy[k] = 0.5 * (v * v + x * x)
    return energy


def test_verlet_oscillation_scales_as_dt_squared_and_does_not_drift():
    steps = np.array([0.02, 0.04, 0.08, 0.16])
    drifts = [nve_drift(verlet_energy(dt), dt) for dt in steps]
    slope = np.polyfit(np.log(steps), np.log([d.rms_fluctuation for d in drifts]), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.1)
    for d in drifts:
        assert abs(d.slope) < 3 * d.slope_error + 1e-15


def test_planted_drift_returns_its_slope():
    time = np.arange(2000) * 0.005
    energy = 0.7 * time + 0.01 * np.sin(40 * time) - 50.0
    drift = nve_drift(energy, 0.005, n_atoms=20)
    assert drift.slope == pytest.approx(0.7 / 20, rel=1e-3)
    assert drift.rms_fluctuation == pytest.approx(0.01 / np.sqrt(2) / 20, rel=1e-2)


def test_conservativeness_sees_a_planted_curl_and_is_zero_for_a_gradient():
    x = np.linspace(0, 2, 401)
    path = np.zeros((401, 1, 3))
    path[:, 0, 0] = x
    force = np.zeros_like(path)
    force[:, 0, 0] = -2 * x
    assert conservativeness(x**2, force, path) < 1e-10
    force[:, 0, 0] += 0.1
    assert conservativeness(x**2, force, path) == pytest.approx(0.2)
    assert conservativeness(x**2, force, path, start=200) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: mean_squared_displacement(np.zeros((1, 3, 3))), "positions"),
        (lambda: mean_squared_displacement(np.zeros((0, 3, 3))), "positions"),
        (lambda: diffusivity(np.zeros((10, 3, 3)), 1.0, fit_window=(5, 50)), "fit_window"),
        (lambda: diffusivity(np.zeros((10, 3, 3)), 0.0, fit_window=(1, 5)), "dt"),
        (lambda: diffusivity(np.zeros((10, 3, 3)), 1.0, fit_window=5), "fit_window"),
        (lambda: diffusivity_single_lag(np.zeros((10, 1, 3)), 1.0, lag=2.0), "positions"),
        (lambda: diffusivity_single_lag(np.zeros((10, 2, 3)), 1.0, lag=20.0), "lag"),
        (lambda: velocity_autocorrelation(np.zeros((1, 2, 3))), "velocities"),
        (lambda: velocity_autocorrelation(np.zeros((4, 2, 3))), "velocities"),
        (lambda: nve_drift([1.0, 2.0], 1.0), "energy"),
        (lambda: unwrap(np.zeros((4, 2, 3)), np.zeros((3, 3))), "cell"),
    ],
)
def test_wrong_input_names_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
