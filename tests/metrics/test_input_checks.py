"""The one input check of every metric: types, sizes, and errors that name the argument and what it should be."""

import numpy as np
import pytest

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
