"""The floor at lengths that are no whole number of blocks, against the closed form for normal counts."""

import numpy as np
import pytest

from ffbench_metrics import floor_at, noise_floor


def test_a_line_in_the_inverse_root_of_the_length_is_followed_between_and_beyond():
    def floor(length):
        return np.array([0.02, 0.1]) + np.array([0.7, 1.3]) / np.sqrt(length)

    known = [2.0, 10.0, 20.0, 50.0]
    for length in (0.3, 2.0, 7.5, 14.0, 18.0, 49.0, 50.0, 80.0):
        assert floor_at(known, [floor(n) for n in known], length) == pytest.approx(floor(length), rel=1e-12)
    assert floor_at([8.0], [0.3], 18.0) == pytest.approx(0.3 * np.sqrt(8 / 18))
    # only the two nearest lengths count
    assert floor_at([1.0, 4.0, 16.0], [99.0, 0.5, 0.25], 9.0) == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", range(2))
def test_the_floor_of_a_run_of_a_fraction_of_blocks_is_that_of_normal_means(seed):
    # |mean of L standard normal blocks - mean of the other runs|: the median is 0.6745 sqrt(1 / L + 1 / rest).
    # Windows of 40 runs of 60 blocks: about 40 * 60 / L independent ones, and the density at the median gives
    # the standard error 0.79 / sqrt(windows) of the median in units of its own; 6 of them (1e-9) are allowed.
    rng = np.random.default_rng(seed)
    runs = [rng.normal(size=(60, 1)) for _ in range(40)]
    for length in (1.8, 2.5, 4.0):
        draws = noise_floor(runs, length, lambda a, b: abs(a - b)[0], resamples=4000, seed=seed)
        expected = 0.6745 * np.sqrt(1 / length + 1 / (39 * 60))
        allowed = 6 * 1.17 * np.sqrt(length / (40 * 60) + 1 / 4000)
        assert abs(np.median(draws) / expected - 1) < allowed


def test_a_whole_number_of_blocks_is_not_interpolated():
    runs = [np.arange(12.0).reshape(6, 2), np.ones((5, 2))]

    def error(a, b):
        return np.abs(a - b)

    np.testing.assert_array_equal(
        noise_floor(runs, 2.0, error, resamples=9, seed=4), noise_floor(runs, 2, error, resamples=9, seed=4)
    )
    between = noise_floor(runs, 2.5, error, resamples=300)
    assert between.shape == (300, 2)
    for level in (0.1, 0.5, 0.95):
        ends = [np.quantile(noise_floor(runs, n, error, resamples=300), level, axis=0) for n in (2, 3)]
        share = (2.5**-0.5 - 3**-0.5) / (2**-0.5 - 3**-0.5)
        np.testing.assert_allclose(np.quantile(between, level, axis=0), ends[1] + share * (ends[0] - ends[1]))


@pytest.mark.parametrize(
    ("lengths", "floors", "length", "names"),
    [
        ([], [], 1.0, "lengths"),
        ([2.0, 1.0], [0.1, 0.2], 1.5, "lengths"),
        ([0.0, 1.0], [0.1, 0.2], 1.5, "lengths"),
        ([1.0, 2.0], [0.1], 1.5, "floors"),
        ([1.0, 2.0], [0.2, 0.1], 0.0, "length"),
    ],
)
def test_wrong_input_names_the_argument(lengths, floors, length, names):
    with pytest.raises(ValueError, match=names):
        floor_at(lengths, floors, length)
