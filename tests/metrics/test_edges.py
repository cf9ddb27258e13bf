"""Answers worked out by hand at edges: one vector, a cell per frame, the last window."""

import numpy as np
import pytest

from ffbench_metrics import force_mae, rdf_stability


def test_one_vector_is_not_a_list_of_forces():
    with pytest.raises(ValueError, match="forces"):
        force_mae([0.1, 0.0, 0.0], [0.0, 0.0, 0.0])


def test_a_cell_per_frame_ends_with_the_positions():
    """The last windows of g(r) end before the frame that is lost, whether the cell is one or one per frame."""
    x = np.random.default_rng(0).uniform(0, 10, (12, 30, 3))
    x[9] = np.nan
    cells = np.broadcast_to(10 * np.eye(3), (12, 3, 3))
    one = rdf_stability(x, 10 * np.eye(3), np.ones(10), r_max=5.0, window=4, tolerance=100.0)
    each = rdf_stability(x, cells, np.ones(10), r_max=5.0, window=4, tolerance=100.0)
    assert one.first_failure == each.first_failure == 9
    np.testing.assert_allclose(each.deviation, one.deviation)
    assert len(each.deviation) == 6
