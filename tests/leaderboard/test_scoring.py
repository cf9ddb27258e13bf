"""Scores against known answers: anchors, ties, partial entries, states that are no zeros."""

import numpy as np
import pytest

from ffbench_eval.report import Metric, ModelCard, TaskReport
from leaderboard.data import load_board
from leaderboard.entry import Entry
from leaderboard.key_figures import normalised_cost
from leaderboard.lock import SuiteLock
from leaderboard.scoring import DRAWS, Score, metric_places, rank, score_task, state_of, task_weights
from tests.leaderboard.board import FIXTURE, real_entry, seal, varied

CARD = ModelCard(name="m", theory="PBE")
USED = {"name": "d", "config": "default", "split": "test", "version": "1", "content_sha256": "0"}


def task(kind="molecular_dynamics", status=("ok",) * 3, **metrics):
    return TaskReport(
        kind=kind,
        version="1",
        title="t",
        dataset=USED,
        parameters={"length_ps": 10.0, "replicas": len(status)},
        units=[{"address": "a", "status": list(status), "wall_s": 1.0}],
        metrics={k: Metric.model_validate(v) for k, v in metrics.items()},
    )


def metric(values, **more):
    return {"value": float(np.mean(values)), "unit": "1", "values": values, "n": len(values), **more}


FLOOR = {"median": 0.1, "p95": 0.2, "runs": 6, "length_ps": 9}


@pytest.mark.parametrize(("error", "score"), [(0.1, 1.0), (1.1, 0.0), (0.6, 0.5), (0.05, 1.0), (3.0, 0.0)])
def test_the_floor_is_one_and_the_trivial_baseline_zero(error, score):
    one = task(kind="other", error=metric([error] * 3, floor=FLOOR, trivial=1.1))
    assert score_task("t", one, "PBE", CARD).value == pytest.approx(score)


def test_an_observable_of_the_stable_part_counts_for_the_stable_share():
    good = metric([0.1] * 3, floor=FLOOR, trivial=1.1)
    half = task(status=("unstable",) * 3, stable_time=metric([5.0] * 3), error=good)
    assert score_task("t", half, "PBE", CARD).value == pytest.approx(0.5)
    assert score_task("t", half, "PBE", CARD).state == "unstable"


def test_an_accuracy_is_anchored_at_no_error_and_no_forces():
    one = task(kind="accuracy", force_mae=metric([0.2, 0.4], trivial=1.2))
    assert score_task("t", one, "PBE", CARD).value == pytest.approx(0.75)


def test_another_theory_has_no_score():
    one = task(kind="accuracy", force_mae=metric([0.2, 0.4], trivial=1.2))
    assert score_task("t", one, "wB97X", CARD) == Score(None, "different_theory")
    assert score_task("t", one, "PBE", ModelCard(name="m")).state == "different_theory"


def test_a_task_without_a_reference_is_scored_for_any_theory():
    drift = metric([0.1, 0.2, 0.1], unit="meV/atom/ps")
    one = task(stable_time=metric([10.0] * 3), energy_drift=drift)
    nve = one.model_copy(update={"parameters": one.parameters | {"observables": ["energy_drift"]}})
    assert score_task("t", nve, "wB97X", CARD).value == 1
    assert score_task("t", one, "wB97X", CARD).state == "different_theory"
    assert score_task("t", task(kind="speed", steps_per_kernel=metric([2.0])), "wB97X", CARD).state == "not_scored"


def test_metrics_that_need_no_theory_are_ranked_among_all_models():
    drifts = {"good": [0.1, 0.11, 0.1], "same": [0.11, 0.1, 0.1], "bad": [0.9, 1.0, 0.9]}
    reports = {m: task(energy_drift=metric(v, better="lower")) for m, v in drifts.items()}
    reports["broken"] = task(status=("unstable",) * 3, energy_drift=metric([0.01] * 3), stable_time=metric([1.0] * 3))
    reports["lost"] = task(status=("ok", "harness_error", "ok"), energy_drift=metric([0.01] * 3))
    assert metric_places("t", "energy_drift", reports) == {"good": (1, True), "same": (1, True), "bad": (3, False)}
    assert metric_places("t", "stable_time", reports) == {"broken": (1, False)}
    assert metric_places("t", "fsd", reports) == {}


def test_a_liquid_of_another_theory_has_no_place_in_stability():
    other = varied(1)
    for card in (other["report"]["model"], *other["report"]["models"].values()):
        card["theory"] = "another"
    entries = [Entry.model_validate(e) for e in (real_entry(), seal(other))]
    (board,) = load_board(entries, suites=FIXTURE)
    placed = {c.task: set(c.places) for c in board.columns if c.metric == "stable_time"}
    assert placed["ethanol_md"] == {e.key for e in entries}
    assert placed["water_md"] == {entries[0].key}


@pytest.mark.parametrize("state", ["not_run", "unsupported", "out_of_memory", "model_error", "harness_error"])
def test_what_did_not_run_has_a_state_and_no_score(state):
    assert score_task("t", task(status=(state,)), "PBE", CARD) == Score(None, state)


def test_losses_are_told_apart_from_instability():
    assert state_of(task(status=("ok", "harness_error"))) == "partly harness_error"
    assert state_of(task(status=("ok", "unstable"))) == "unstable"


def scores(means, spread=0.01, tasks=("a", "b")):
    rng = np.random.default_rng(0)
    return {m: {t: Score(v, "ok", draws=v + spread * rng.normal(size=DRAWS)) for t in tasks} for m, v in means.items()}


def test_clear_differences_are_ranks_and_noise_is_a_tie():
    places = rank(scores({"best": 0.9, "twin": 0.901, "worst": 0.2}), {"a": 1.0, "b": 1.0})
    assert (places["best"].rank, places["twin"].rank, places["worst"].rank) == (1, 1, 3)
    assert places["best"].tied
    assert not places["worst"].tied
    assert (places["best"].low, places["best"].high) == (1, 2)
    assert (places["worst"].low, places["worst"].high) == (3, 3)


def test_identical_models_tie():
    one = scores({"a": 0.5})["a"]
    places = rank({"x": one, "y": one}, {"a": 1.0, "b": 1.0})
    assert places["x"].rank == places["y"].rank == 1
    assert places["x"].tied


def test_a_partial_model_is_ranked_on_its_tasks_among_all_that_did_them():
    found = scores({"full": 0.5, "other": 0.4})
    found["partial"] = {"a": Score(0.9, "ok", draws=np.full(DRAWS, 0.9)), "b": Score(None, "model_error")}
    places = rank(found, {"a": 1.0, "b": 1.0})
    assert (places["partial"].rank, places["partial"].of, places["partial"].tasks) == (1, 3, ("a",))
    assert (places["full"].rank, places["full"].of) == (1, 2)


def test_weights_change_the_order_and_zero_leaves_a_task_out():
    found = {
        "x": {"a": Score(0.9, "ok", draws=np.full(DRAWS, 0.9)), "b": Score(0.1, "ok", draws=np.full(DRAWS, 0.1))},
        "y": {"a": Score(0.5, "ok", draws=np.full(DRAWS, 0.5)), "b": Score(0.6, "ok", draws=np.full(DRAWS, 0.6))},
    }
    assert rank(found, {"a": 1, "b": 1})["y"].rank == 1
    assert rank(found, {"a": 3, "b": 1})["x"].rank == 1
    assert rank(found, {"a": 1, "b": 0})["x"].score == 0.9


def test_weights_of_a_suite_come_from_names_and_kinds():
    lock = SuiteLock.model_validate_json((FIXTURE / "mini-1.0.0.json").read_text())
    weights = task_weights(lock)
    assert weights["ethanol_md"] == 2
    assert weights["ethanol_nve"] == weights["alanine_free_energy"] == 0  # named; indicative
    with pytest.raises(ValueError, match="at least 0"):
        task_weights(lock, {"tasks": {"ethanol_md": -1}})


def test_a_model_that_saw_the_test_data_is_ranked_apart():
    raw = varied(1)
    for card in raw["report"]["models"].values():
        card["seen_test_data"] = True
    entries = [Entry.model_validate(real_entry()), Entry.model_validate(seal(raw))]
    (board,) = load_board(entries, suites=FIXTURE)
    assert [r.seen for r in board.rows] == [False, True]
    assert board.rows[1].rank is None
    assert board.rows[0].rank.of == 1


def test_the_cost_of_a_simulation_does_not_depend_on_how_its_replicas_were_split():
    entry = Entry.model_validate(real_entry())
    ran = entry.report.tasks["ethanol_md"]
    (batch,) = ran.units
    n = len(batch.status)
    assert n == 5
    whole = normalised_cost(entry, ran)
    assert whole == pytest.approx(batch.wall_s / batch.force_calls / n / entry.report.environment.kernel_s)
    one = batch.model_copy(update={"status": batch.status[:1], "wall_s": batch.wall_s / n})
    assert normalised_cost(entry, ran.model_copy(update={"units": [one] * n})) == pytest.approx(whole)
    assert normalised_cost(entry, ran.model_copy(update={"units": []})) is None
