"""Force smoothness deviation and its companions: known answers, the calibration on the full BSCT-SPICE reference."""

import numpy as np
import pytest

from ffbench_metrics import (
    bond_projected_force,
    bsct_lite,
    conservativeness,
    count_sign_flips,
    count_spurious_extrema,
    count_turning_points,
    energy_jump,
    energy_roughness,
    force_smoothness_deviation,
)


@pytest.fixture(scope="module")
def scans(shared_data):
    """All 485 scans: bond_length [100], forces, energy, positions, bond, fragment."""
    found = []
    for path in sorted((shared_data / "bsct_spice").glob("*.npz")):
        with np.load(path) as archive:
            data = dict(archive)
        ends = np.cumsum(data["n_atoms"])
        for s, (n, end) in enumerate(zip(data["n_atoms"], ends)):
            rows = slice(100 * (end - n), 100 * end)
            forces, positions = (data[key][rows].reshape(100, n, 3) for key in ("forces", "positions"))
            fragment = data["fragment"][end - n : end]
            bond = tuple(data["bond_index"][s])
            found.append((data["bond_length"][s], forces, data["energy"][s], positions, bond, fragment))
    assert len(found) == 485
    return found


def mean_fsd(scans, change):
    full = [force_smoothness_deviation(a, change(np.nan_to_num(f)), f, e).full for a, f, e, *_ in scans]
    return np.mean(full)


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 0.0), (0.0, 53.0), (0.5, 50.9), (0.9, 14.3), (2.0, 42.3)])
def test_calibration_on_the_full_reference(scans, factor, expected):
    assert mean_fsd(scans, lambda f: factor * f) == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize(("noise", "expected"), [(0.01, 1.1), (0.1, 19.8), (1.0, 55.0)])
def test_calibration_with_force_noise(scans, noise, expected):
    rng = np.random.default_rng(0)
    value = mean_fsd(scans, lambda f: f + noise * rng.normal(size=f.shape))
    assert value == pytest.approx(expected, rel=0.08)


def test_calibration_with_a_step_in_the_force(scans):
    step = np.where(np.arange(100) >= 66, 1.5, 1.0)[:, None, None]
    assert mean_fsd(scans, lambda f: f * step) == pytest.approx(45.0, abs=0.2)


def test_the_reference_itself_is_smooth(scans):
    conservation = []
    for _, f, e, x, bond, fragment in scans:
        ok = np.isfinite(e)
        assert count_spurious_extrema(np.where(ok, e, 0.0), e) == 0
        assert count_turning_points(e[ok]) == 1
        lowest = int(np.argmin(e[ok]))
        assert count_sign_flips(bond_projected_force(f[ok], x[ok], bond, fragment), lowest) == (0, 0)
        conservation.append(conservativeness(e[ok], f[ok], x[ok], start=lowest))
        if ok.all():
            assert energy_jump(e, e) == 0.0
            assert energy_roughness(e) < 0.01
    assert np.median(conservation) == pytest.approx(0.065, abs=0.001)


def harmonic(k=41, n=3):
    a = np.linspace(1.0, 2.0, k)
    f = np.zeros((k, n, 3))
    f[:, 0, 0] = -20.0 * (a - 1.5)
    f[:, 1, 0] = -f[:, 0, 0]
    return a, f, 10.0 * (a - 1.5) ** 2


def test_fsd_against_the_formula_written_out():
    a, reference, energy = harmonic()
    model = reference + np.random.default_rng(0).normal(0, 1, reference.shape)
    eq = int(np.argmin(energy))
    slopes = []
    for k in range(len(a) - 1):
        l = []
        for q in (k, k + 1):
            m = ((model[q] - reference[eq]) ** 2).sum()
            d = ((reference[q] - reference[eq]) ** 2).sum()
            l.append(np.log(max(m, 1.0)) - np.log(max(d, 1.0)))
        slopes.append(abs((l[1] - l[0]) / (a[k + 1] - a[k])))
    result = force_smoothness_deviation(a, model, reference, energy)
    assert result.full == pytest.approx(max(slopes))
    assert result.compress == pytest.approx(max(slopes[:eq]))
    assert result.stretch == pytest.approx(max(slopes[eq:]))
    backwards = force_smoothness_deviation(a[::-1], model[::-1], reference[::-1], energy[::-1])
    assert backwards == pytest.approx(result)


def test_unlabelled_frames_are_masked():
    a, reference, energy = harmonic()
    model = 0.8 * reference
    keep = np.arange(len(a)) != 7
    expected = force_smoothness_deviation(a[keep], model[keep], reference[keep], energy[keep])
    energy[7] = np.nan
    model[7] = np.nan
    assert force_smoothness_deviation(a, model, reference, energy) == expected


def test_minimum_at_the_end_has_no_stretched_side():
    a, reference, _ = harmonic()
    result = force_smoothness_deviation(a, 0.5 * reference, reference, -a)
    assert result.stretch is None
    assert result.full == result.compress


def test_wiggles_count_twice_each_and_small_ones_not_at_all():
    x = np.linspace(-2, 2, 401)
    smooth = x**2
    assert count_spurious_extrema(smooth) == 0
    assert count_spurious_extrema(smooth + 0.3 * np.exp(-(((x - 1) / 0.05) ** 2)), smooth) == 2
    assert count_spurious_extrema(smooth + 4e-4 * np.sin(200 * x), smooth) == 0
    assert count_spurious_extrema(x) == 0
    assert count_turning_points(np.zeros(5)) == 0


def test_a_step_of_the_energy_is_seen():
    a = np.linspace(0.8, 1.6, 81)
    energy = 10 * (a - 1.2) ** 2
    jump = np.where(a > 1.405, 0.2, 0.0)
    assert energy_jump(energy + jump, energy) == pytest.approx(0.2 / (2 * 10 * 0.01**2))
    assert energy_roughness(energy + jump) == pytest.approx(0.1)
    x = np.zeros((81, 2, 3))
    x[:, 0, 0], x[:, 1, 0] = -a / 2, a / 2
    f = np.zeros_like(x)
    f[:, 1, 0] = -20 * (a - 1.2)
    f[:, 0, 0] = -f[:, 1, 0]
    lite = bsct_lite(energy + jump, f, x, (0, 1), [0, 1])
    assert lite.conservativeness == pytest.approx(0.2)
    assert (lite.spurious_extrema, lite.sign_flips) == (0, 0)
    assert bsct_lite(energy - 3 * jump, f, x, (0, 1), [0, 1]).spurious_extrema == 2


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"bond_length": np.ones(41)}, "bond_length"),
        ({"forces": np.full((41, 3, 3), np.nan)}, "forces"),
        ({"reference_energy": np.full(41, np.nan)}, "reference_energy"),
        ({"reference_forces": np.zeros((41, 2, 3))}, "reference_forces"),
        ({"forces": np.zeros((0, 3, 3))}, "forces"),
        ({"floor": 0.0}, "floor"),
    ],
)
def test_wrong_input_names_the_argument(change, names):
    a, f, e = harmonic()
    arguments = {"bond_length": a, "forces": f, "reference_forces": f, "reference_energy": e} | change
    with pytest.raises(ValueError, match=names):
        force_smoothness_deviation(**arguments)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: count_turning_points([]), "energy"),
        (lambda: energy_jump([1.0, 2.0], [1.0, 2.0]), "energy"),
        (lambda: energy_jump([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]), "reference_energy"),
        (lambda: energy_roughness([1.0] * 4), "energy"),
        (lambda: bond_projected_force(np.ones((2, 2, 3)), np.ones((2, 2, 3)), (0, 1), [0, 0]), "fragment"),
        (lambda: count_sign_flips([1.0], 3), "equilibrium"),
        (lambda: conservativeness([1.0], np.ones((1, 1, 3)), np.ones((1, 1, 3))), "energy"),
    ],
)
def test_wrong_input_of_the_companions_names_the_argument(call, names):
    with pytest.raises(ValueError, match=names):
        call()
