"""The one input check of every metric: types, sizes, and errors that name the argument and what it should be."""

import numpy as np
import pytest

import ffbench_metrics as m
from ffbench_metrics import _check


@pytest.mark.parametrize(
    ("given", "kept"),
    [(np.float32, np.float32), (np.float16, np.float64), (np.int8, np.float64), (np.float64, np.float64)],
)
def test_single_precision_is_kept_and_all_else_becomes_double(given, kept):
    assert _check.checked("x", np.ones((2, 3), given), "N 3").dtype == kept


def test_sizes_are_those_of_the_arrays_before_and_the_message_says_so():
    sizes = {}
    _check.checked("positions", np.zeros((4, 2, 3)), "T N 3", sizes)
    assert sizes == {"T": 4, "N": 2}
    with pytest.raises(ValueError, match=r"^masses must have shape \[N\] with T=4, N=2, got \[3\]$"):
        _check.checked("masses", np.ones(3), "N", sizes)
    with pytest.raises(ValueError, match=r"^positions must have shape \[T, N, 3\], got \[4, 2\]$"):
        _check.checked("positions", np.zeros((4, 2)), "T N 3")
    with pytest.raises(ValueError, match=r"got \[4, 2, 2\]$"):
        _check.checked("positions", np.zeros((4, 2, 2)), "T N 3")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_unless_asked_for(bad):
    with pytest.raises(ValueError, match="x holds NaN or infinite"):
        _check.checked("x", [1.0, bad], "n")
    assert _check.checked("x", [1.0, bad], "n", finite=False).shape == (2,)


def test_empty_axes_are_refused():
    with pytest.raises(ValueError, match=r"x is empty: shape \[0, 3\]"):
        _check.checked("x", np.zeros((0, 3)), "N 3")


def test_too_few_are_refused_and_just_enough_are_not():
    _check.at_least("x", 3, 3, "frames")
    with pytest.raises(ValueError, match="x has 2 frames; at least 3 are needed"):
        _check.at_least("x", 2, 3, "frames")


@pytest.mark.parametrize("good", [0.5, 1, 1e-9, np.float32(0.5), np.array(0.5)])
def test_positive_numbers(good):
    assert _check.positive("dt", good) == good


@pytest.mark.parametrize("bad", [0, -0.5, np.nan, np.inf, [0.5], np.array([0.5])])
def test_other_than_positive_numbers(bad):
    with pytest.raises(ValueError, match="dt must be a positive finite number"):
        _check.positive("dt", bad)


@pytest.mark.parametrize("bad", [True, 1.5, 0, -1])
def test_other_than_whole_numbers(bad):
    with pytest.raises(ValueError, match="bins must be a whole number of at least 1"):
        _check.whole("bins", bad)
    assert (_check.whole("bins", 1), _check.whole("bins", 3.0), _check.whole("bins", 2, 2)) == (1, 3, 2)


@pytest.mark.parametrize("bad", [0.0, 1.0, 1.5, -0.1, np.nan])
def test_other_than_fractions(bad):
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        _check.fraction("level", bad)
    assert (_check.fraction("level", 0.001), _check.fraction("level", 0.999)) == (0.001, 0.999)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.array([], int), "must be a non-empty list of atom indices"),
        ([], "must be a non-empty list of atom indices"),
        ([[0, 1]], "must be a non-empty list of atom indices"),
        ([0.0, 1.0], "must be a non-empty list of atom indices"),
        ([-1, 0], "must hold indices from 0 to 3, got -1 to 0"),
        ([0, 4], "must hold indices from 0 to 3, got 0 to 4"),
        ([1, 2, 1], "names an atom twice"),
        (np.ones(3, bool), r"as a mask must have shape \[4\], got \[3\]"),
        (np.zeros(4, bool), "must be a non-empty list of atom indices"),
    ],
)
def test_atoms_that_are_not_there(given, said):
    with pytest.raises(ValueError, match=f"^index_a {said}"):
        _check.index("index_a", given, 4)


def test_atoms_that_are():
    assert _check.index("index_a", None, 3).tolist() == [0, 1, 2]
    assert _check.index("index_a", [3, 0], 4).tolist() == [3, 0]
    assert _check.index("index_a", [False, True, True, False], 4).tolist() == [1, 2]


VALUES = {  # of every door: what it takes in place of the one argument
    "force_mae": lambda x: m.force_mae(x, np.zeros((4, 3))),
    "energy_mae": lambda x: m.energy_mae(np.ravel(x), np.zeros(12)),
    "block_bootstrap": lambda x: m.block_bootstrap(x),
    "replica_interval": lambda x: m.replica_interval(np.ravel(x)),
    "why_no_interval": lambda x: m.why_no_interval(x),
    "error_quantiles": lambda x: m.error_quantiles(x),
    "free_energy_from_counts": lambda x: m.free_energy_from_counts(x, temperature=300.0),
    "free_energy_error": lambda x: m.free_energy_error(x, np.zeros((4, 3))),
    "free_energy_from_hills": lambda x: m.free_energy_from_hills(x[:, [0, 1, 2, 0, 1]], temperature=300, bias_factor=6),
    "rdf_from_counts": lambda x: m.rdf_from_counts(x, 1, volume=10.0, pairs=3),
    "noise_floor": lambda x: m.noise_floor([x, x], 1, lambda a, b: 0.0, resamples=2),
    "replica_floor": lambda x: m.replica_floor(x, lambda a, b: 0.0),
    "floor_at": lambda x: m.floor_at([1.0, 2.0, 3.0, 4.0], x, 2.5),
    "excess_augrc": lambda x: m.excess_augrc(np.ravel(x), np.ravel(x)),
    "net_torque": lambda x: m.net_torque(np.ones((4, 3)), np.ones((4, 3)), masses=x[:, 0]),
}


@pytest.mark.parametrize("door", VALUES)
def test_numbers_that_are_not_real_or_not_there_are_refused_and_not_cut_to_what_fits(door):
    """numpy drops an imaginary part with a warning and what a mask hides without one; text it reads as numbers."""
    good = np.linspace(0.5, 1.5, 12).reshape(4, 3)
    VALUES[door](good)
    for bad in (good + 1j, np.ma.masked_array(good, good > 1.1), good.astype(str)):
        with pytest.raises(ValueError, match=r"must be an array of numbers|has masked entries"):
            VALUES[door](bad)


@pytest.mark.parametrize("bad", [["False", "False"], [np.nan, 0.0], [0.5, 0.0], [False]])
def test_failures_are_flags(bad):
    assert m.restricted_mean([1.0, 2.0], [0, 1], limit=3.0).failures == 1
    for door in (m.survival_curve, lambda *a: m.restricted_mean(*a, limit=3.0)):
        with pytest.raises(ValueError, match=r"^failed must"):
            door([1.0, 2.0], bad)


@pytest.mark.parametrize("missing", [np.nan, None])
def test_a_sample_of_no_known_group_is_named(missing):
    labels = [missing, missing, *range(10)]
    with pytest.raises(ValueError, match=r"^groups holds None or NaN"):
        m.group_bootstrap(lambda rows: 0.0, labels)
    with pytest.raises(ValueError, match=r"^groups holds None or NaN"):
        m.align_energies(np.zeros(12), np.zeros(12), labels)


@pytest.mark.parametrize("bad", [0.0, -0.5, np.nan])
def test_widths_and_caps_are_positive(bad):
    h = [1.0, 2.0]
    for door in (
        lambda: m.histogram_error(h, h[::-1], width=bad),
        lambda: m.rdf_error(h, h[::-1], r_max=bad),
        lambda: m.wasserstein(h, h[::-1], width=bad),
        lambda: m.free_energy_integral_error(h, h[::-1], cap=bad),
        lambda: m.dimer_frequency_error([1, 2, 3.0], [1, 0, 1.0], [1, 2, 3.0], [2, 0, 2.0], bad),
    ):
        with pytest.raises(ValueError, match="must be a positive finite number"):
            door()


def test_hills_in_degrees_are_no_radians():
    row = [-1.2, 2.4, 0.35, 0.35, 1.2]
    good = m.free_energy_from_hills([row], temperature=300.0, bias_factor=6.0)
    assert good.max() == pytest.approx(1.2 * 6 / 5, rel=0.02)  # the centre is off the grid
    for bad in (np.degrees(row[:4]).tolist() + [1.2], [*row[:2], 20.0, 20.0, 1.2]):
        with pytest.raises(ValueError, match="due in rad"):
            m.free_energy_from_hills([bad], temperature=300.0, bias_factor=6.0)


def test_a_direction_is_one_whatever_the_size_of_the_force():
    f = np.array([[3.0, 4.0, 0.0]])
    for size in (1e-3, 1.0, 1e160, 1e300):
        assert m.force_cosine(size * f, f) == pytest.approx(1.0, abs=1e-15)
        assert m.force_cosine(-size * f, size * f) == pytest.approx(-1.0, abs=1e-15)
    assert m.force_cosine(1e-200 * f, 1e-200 * f) == 1.0  # both at rest


def test_offsets_of_energies_in_single_precision_are_found_in_double():
    counts = np.array([[2, 1], [1, 2], [3, 3]])
    e = (counts @ [-13871.25, -1029.5]).astype(np.float32)
    reference = np.zeros(3, np.float32)
    offsets = m.element_offsets(counts.astype(np.float32), e, reference)
    np.testing.assert_allclose(offsets, [-13871.25, -1029.5], rtol=1e-12)
    assert m.stress_mae(np.full((1, 3, 3), 1e-3, np.float32), np.zeros((1, 3, 3), np.float32)) == np.float32(1e-3)


def test_a_temperature_that_never_changes_is_no_canonical_one():
    for t in (np.full(1000, 300.0), 300 + np.linspace(-1, 1, 1000)):
        found = m.maxwell_boltzmann_test(t, 300.0, degrees_of_freedom=30)
        assert found.samples < 10
        assert np.isnan(found.p_value)
        assert found.variance_ratio < 1e-3


def test_elements_are_whole_numbers():
    with pytest.raises(ValueError, match="atomic_numbers must be whole numbers"):
        m.force_mae_per_element(np.zeros((2, 3)), np.zeros((2, 3)), [8, 1.5])
