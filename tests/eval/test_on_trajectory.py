"""The trusted time: bonds may hold where the truth would not go."""

import numpy as np
import pytest

from ffbench_eval.kinds.dynamics.on_trajectory import FILE, score_sample, trusted_time

LENGTH, LIMIT = 10.0, 0.5


def sample(folder, errors):
    """Labelled frames at 2.5, 5, 7.5 and 10 ps of replicas whose force errors are given."""
    folder.mkdir()
    rows = [(b, 2.5 * (k + 1), e) for b, one in enumerate(errors) for k, e in enumerate(one)]
    replica, time, error = (np.array(column) for column in zip(*rows))
    truth = np.zeros((len(rows), 3, 3))
    np.savez(folder / FILE, replica=replica, time=time, f=truth + error[:, None, None], f_ref=truth)
    return folder, len(errors)


def test_it_ends_before_the_first_frame_that_is_wrong(tmp_path):
    good, late = [0.01] * 4, [0.01, 0.02, 0.6, 0.01]  # it stays lost, whatever comes later
    metric = trusted_time([sample(tmp_path / "a", [good, late])], [10.0, 10.0], LENGTH, LIMIT)
    assert metric.values == [10.0, 5.0]
    assert metric.value == 7.5
    assert metric.better == "higher"


def test_wrong_from_the_start_and_not_finite(tmp_path):
    unit = sample(tmp_path / "a", [[0.7] * 4, [0.01, np.nan, 0.01, 0.01]])
    assert trusted_time([unit], [10.0, 10.0], LENGTH, LIMIT).values == [0.0, 2.5]


def test_never_longer_than_stable_and_units_in_order(tmp_path):
    units = [sample(tmp_path / "a", [[0.01], [0.01]]), sample(tmp_path / "b", [[0.01] * 4])]
    metric = trusted_time(units, [3.1, 10.0, 4.0], LENGTH, LIMIT)
    assert metric.values == [3.1, 10.0, 4.0]


def test_nothing_failed_is_censored(tmp_path):
    metric = trusted_time([sample(tmp_path / "a", [[0.01] * 4] * 5)], [10.0] * 5, LENGTH, LIMIT)
    assert metric.interval is None
    assert metric.interval_note.startswith(">= 10 ps")


@pytest.mark.parametrize("stable", [[0.0], [0.04]])
def test_a_replica_without_a_saved_frame(tmp_path, stable):
    (tmp_path / "a").mkdir()
    assert trusted_time([(tmp_path / "a", 1)], stable, LENGTH, LIMIT).values == stable


def test_a_replica_without_labels_is_not_trusted_for_free(tmp_path):
    """It left frames, nobody asked the truth about them: there is no trusted time."""
    unit = sample(tmp_path / "a", [[0.01] * 4])
    metric = trusted_time([(unit[0], 2)], [10.0, 10.0], LENGTH, LIMIT)
    assert metric.value is None
    assert metric.values == [10.0, None]
    assert "no frame labelled" in metric.not_scored


def test_without_force_labels_there_is_no_limit(tmp_path):
    metric = trusted_time([sample(tmp_path / "a", [[0.01] * 4])], [10.0], LENGTH, float("nan"))
    assert metric.value is None
    assert "no force labels" in metric.not_scored


def test_a_replica_with_a_wrong_number_has_none_and_is_counted(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    f = np.zeros((4, 3, 3))
    f[2] = np.nan
    about = {"replica": np.array([0, 0, 1, 1]), "time": np.array([1.0, 2, 1, 2]), "f": f, "f_ref": np.ones((4, 3, 3))}
    np.savez(folder / FILE, **about, mine=np.zeros(4), theirs=np.zeros(4))
    metrics, _ = score_sample([folder], 1.0)
    assert metrics["on_trajectory_force_mae"].values == [1.0, None]
    assert metrics["on_trajectory_force_mae"].n == 1
    assert score_sample([folder], float("nan"))[0]["energy_violation"].value is None
