"""Relative energies against closed forms and published numbers."""

import numpy as np
import pytest

import ffbench_metrics as m


def test_the_binding_of_water_in_kcal_per_mol():
    """Two waters, each -76.4 Hartree, bound by 5.02 kcal/mol: Hartree and kcal by their CODATA values."""
    hartree, kcal = 27.211386245988, 4184 / 6.02214076e23 / 1.602176634e-19
    energy = np.array([-76.4, -152.8]) * hartree - [0, 5.02 * kcal]
    assert m.reaction_energies(energy, [[(1, 1), (-2, 0)]]) == pytest.approx([-5.02], abs=1e-9)


def test_a_missing_structure_costs_its_reactions_alone():
    found = m.reaction_energies([0.0, np.nan, 1.0], [[(1, 0), (-1, 1)], [(1, 2), (-1, 0)]])
    assert np.isnan(found[0])
    assert np.isfinite(found[1])
    with pytest.raises(ValueError, match=r"terms\[0\] must name structures from 0 to 2"):
        m.reaction_energies([0.0, 1.0, 2.0], [[(1, 3)]])


def test_errors():
    energy, reference = [1.0, -2.0, 4.0], [2.0, -2.0, 2.0]
    assert m.relative_energy_mae(energy, reference) == 1
    assert m.relative_energy_bias(energy, reference) == pytest.approx(1 / 3)
    assert m.no_difference_mae(reference) == 2
    assert m.relative_energy_mae(np.zeros(3), reference) == m.no_difference_mae(reference)


def test_order():
    assert m.rank_correlation([0, 3, 2, 1], [0, 1, 2, 3]) == pytest.approx(1 - 6 * 8 / (4 * 15))  # Spearman 1904
    with pytest.raises(ValueError, match="at least 3"):
        m.rank_correlation([0, 1], [0, 1])


def test_the_minimum_of_a_morse_curve():
    r = np.array([0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0])
    at, depth = m.curve_minimum(r, 5 * ((1 - np.exp(-4 * (r - 1.03))) ** 2 - 1))
    assert at == pytest.approx(1.03, abs=3e-3)
    assert depth == pytest.approx(-5, abs=5e-3)


def test_a_curve_without_a_minimum_is_lowest_at_its_end():
    r = np.linspace(0.9, 2, 8)
    assert m.curve_minimum(r, -r) == pytest.approx((2, -2))
    assert m.curve_minimum(r, r) == pytest.approx((0.9, 0.9))
