"""Diatomic metrics against closed forms; the published values of whole models are in benchmarks/results."""

import numpy as np
import pytest

import ffbench_metrics as m

R = np.geomspace(0.7, 6.0, 200)


def lennard_jones(r, depth=0.5, sigma=1.2):
    six = (sigma / r) ** 6
    return 4 * depth * (six * six - six), 24 * depth * (2 * six * six - six) / r


def forces(along):
    out = np.zeros((len(along), 2, 3))
    out[:, 1, 0], out[:, 0, 0] = along, -along
    return out


def test_lennard_jones_is_as_smooth_as_can_be():
    e, f = lennard_jones(R)
    assert m.dimer_tortuosity(e) == pytest.approx(1, abs=1e-12)
    assert (m.dimer_energy_flips(e), m.dimer_force_flips(forces(f))) == (1, 1)
    low = f.min()  # the force falls to its minimum and rises again, to nearly nothing
    assert m.dimer_force_variation(forces(f)) == pytest.approx((f[0] - low) + (f[-1] - low), rel=1e-12)


def test_a_step_is_a_jump_on_both_of_its_sides():
    """Downhill by 0.1 a step, once uphill by 2: two turns, each with a step of 2 and one of 0.1."""
    e = -0.1 * np.arange(20.0)
    e[10:] += 2.1
    assert m.dimer_energy_flips(e) == 2
    assert m.dimer_energy_jump(e) == pytest.approx(2 * (2.0 + 0.1))
    assert m.dimer_force_jump(forces(e)) == pytest.approx(2 * (2.0 + 0.1))
    assert m.dimer_tortuosity(e) == pytest.approx((0.9 + 2.0 + 0.9) / (0.9 + 1.1))  # ends at 0.2, minimum -0.9


def test_wiggles_below_a_milli_electronvolt_do_not_count():
    e = np.where(np.arange(50) % 2, 0.0005, 0.0) - 0.01 * (np.arange(50) > 25)
    assert m.dimer_energy_flips(e) == 0
    assert m.dimer_energy_flips(10 * e) > 10


def test_errors_of_a_shifted_well():
    """A parabola moved by 0.03 Å and deepened by 0.2 eV, on another grid than the reference's."""
    a, b = np.linspace(1.0, 2.0, 41), np.linspace(1.0, 2.0, 67)

    def well(r, at, depth, k=40.0):
        return np.minimum(0.5 * k * (r - at) ** 2 - depth, 0.0)

    e, mine = well(a, 1.3, 0.5), well(b, 1.33, 0.7)
    assert m.dimer_bond_length_error(a, e, b, mine) == pytest.approx(0.03, abs=1e-9)
    assert m.dimer_well_error(e, mine) == pytest.approx(0.2, abs=2e-3)  # the lowest point of a grid
    assert m.dimer_frequency_error(a, e, b, mine, 12.0) == pytest.approx(0, abs=1e-6)
    assert m.dimer_energy_mae(a, e, a, e - 7.0) == pytest.approx(0, abs=1e-12)
    assert np.isnan(m.dimer_bond_length_error(a, 0.01 * e, b, mine))  # nothing binds there


def test_the_frequency_of_hydrogen():
    """Force constant 5.75 mdyn/Å (575 N/m) and mass 1.00783 u: 4401 1/cm (Herzberg)."""
    r = np.linspace(0.70, 0.78, 9)
    k = 575.0 / 16.02176634
    e = 0.5 * k * (r - 0.741) ** 2
    flat = 0.5 * 1e-9 * (r - 0.741) ** 2
    wide = np.r_[r, 6.0], np.r_[e, 4.75]
    found = m.dimer_frequency_error(*wide, np.r_[r, 6.0], np.r_[flat, 4.75], 1.00783)
    assert found == pytest.approx(4401, abs=5)


def test_a_wall_that_the_model_never_reaches_costs_its_distance():
    wall = 30 * np.maximum(0, 1.2 - R) - 0.2 * np.exp(-((R - 1.5) ** 2))
    flat = np.where(R < 1.5, 0.0, 1e-3) * 0.01
    assert m.dimer_wall_error(R, wall, R, flat) == pytest.approx(
        np.mean([1.2 - h / 30 for h in (1, 5, 10)]), abs=0.05
    )  # 20 eV and more the reference does not reach either
    e, _ = lennard_jones(R)
    assert m.dimer_wall_error(R, e, R, e) == 0


def test_force_errors_count_every_component():
    """Only two of six components of a dimer are not zero: an error of 0.6 along the bond is a mean of 0.2."""
    assert m.dimer_force_mae(R, forces(0 * R), R, forces(0 * R + 0.6)) == pytest.approx(0.2)


def test_what_cannot_be_compared_is_said():
    with pytest.raises(ValueError, match="no common range"):
        m.dimer_energy_mae([1.0, 2.0], [0.0, 0.0], [3.0, 4.0], [0.0, 0.0])
    with pytest.raises(ValueError, match="increasing"):
        m.dimer_energy_mae([2.0, 1.0], [0.0, 0.0], [3.0, 4.0], [0.0, 0.0])
