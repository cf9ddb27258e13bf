"""Relative energies and dimers on the board: locked from a run, worked out again, and tampering is found."""

import pytest
import torch

from ffbench_data import ForceField
from ffbench_eval import evaluate
from ffbench_eval.kinds import KINDS
from ffbench_eval.report import same_theory
from leaderboard.check.lock import make_lock
from leaderboard.check.recompute import metric_faults, not_recomputed, task_faults
from leaderboard.site.scoring import score_task

TASKS = ["s66x8", "aconf", "water27", "rse43"]


def model(charged=True):
    """Energies that mean nothing, smooth in the positions."""

    def energy(batch):
        x = batch.positions
        per_atom = 0.01 * torch.cos(x @ torch.tensor([0.3, 0.7, 1.1], dtype=x.dtype)) + 0.02 * batch.atomic_numbers
        return per_atom.new_zeros(batch.n_systems).index_add(0, batch.system_index, per_atom)

    return ForceField.from_energy(
        energy, None, dtype=torch.float64, uses_charge=charged, uses_spin=charged, card={"name": "m", "theory": "PBE"}
    )


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    return {
        charged: evaluate(model(charged), "chemistry", tasks=TASKS, out=run / str(charged), quiet=True)
        for charged in (True, False)
    }


@pytest.fixture(scope="module")
def lock(reports):
    return make_lock("chemistry", [reports[True]])


def faults(task, locked):
    found = [f for name, m in task.metrics.items() for f in metric_faults(name, m, task, locked.scans)]
    return found + list(task_faults(task))


@pytest.mark.parametrize("charged", [True, False])
@pytest.mark.parametrize("name", TASKS)
def test_every_number_is_worked_out_again(reports, lock, name, charged):
    task, locked = reports[charged].tasks[name], lock.tasks[name]
    assert faults(task, locked) == []
    assert {k: not_recomputed(task.kind, k, m, locked.scans) for k, m in task.metrics.items()} == dict.fromkeys(
        task.metrics, ""
    )


def test_the_board_scores_every_theory(reports, lock):
    task, locked = reports[True].tasks["aconf"], lock.tasks["aconf"]
    assert len(locked.molecules) == 15
    assert not same_theory(reports[True].model.theory, locked.theory)
    scored = score_task("aconf", task, locked, reports[True].model)
    anchor = locked.metrics["relative_energy_mae"]
    span = anchor.trivial - anchor.floor.median
    each = [max(0.0, (anchor.trivial - v) / span) for v in task.metrics["relative_energy_mae"].values]
    assert scored.value == pytest.approx(min(1.0, sum(each) / 15))
    part = score_task("water27", reports[False].tasks["water27"], lock.tasks["water27"], reports[False].model)
    assert part.state == "unsupported" or "unsupported" in part.state
    assert KINDS["diatomics"].theory


def changed(task, name, **update):
    metrics = {**task.metrics, name: task.metrics[name].model_copy(update=update)}
    return task.model_copy(update={"metrics": metrics})


def test_tampering_is_found(reports, lock):
    task, locked = reports[True].tasks["s66x8"], lock.tasks["s66x8"]
    mae = task.metrics["relative_energy_mae"]
    low, high = mae.interval
    better = [0.5 * v for v in mae.values]
    for fake in (
        changed(task, "relative_energy_mae", value=0.9 * mae.value),
        changed(task, "relative_energy_mae", interval=(0.99 * low, high)),
        changed(task, "relative_energy_mae", score=1.0),
        changed(task, "relative_energy_mae", values=better),
        changed(task, "relative_energy_mae", values=better, value=mae.value / 2, interval=(low / 2, high / 2)),
        changed(task, "no_difference_mae", values=[None, *task.metrics["no_difference_mae"].values[1:]]),
    ):
        assert faults(fake, locked)
    left_out = reports[False].tasks["water27"]
    assert faults(changed(left_out, "relative_energy_mae", score=0.9), lock.tasks["water27"])


def test_dimers_are_worked_out_again(tmp_path):
    suite = tmp_path / "diatomics.yaml"
    suite.write_text("name: d\nversion: 1.0.0\ntasks:\n  dimers: {kind: diatomics, dataset: diatomics_pbe}\n")
    few = ForceField(model().fn, None, (1, 6, 7, 8, 9, 26), torch.float64)
    task = evaluate(few, str(suite), out=tmp_path / "run", quiet=True).tasks["dimers"]
    assert task.metrics["dimer_force_mae"].n == 6
    found = [f for name, m in task.metrics.items() for f in metric_faults(name, m, task, None)]
    assert found + list(task_faults(task)) == []


@pytest.mark.parametrize(
    ("trivial", "value", "score"), [(2.0, 1.0, 0.5), (2.0, 3.0, 0.0), (0.5, 0.2, 1.0), (0.5, 0.5, None)]
)
def test_the_score_of_a_set_runs_from_no_difference_to_the_references_uncertainty(trivial, value, score):
    """With a floor as high as the baseline nothing can be told, and nothing is divided by zero."""
    from ffbench_eval.report import Floor, Metric, TaskReport
    from leaderboard.check.recompute_reactions import reaction_score

    floor = 0.5 if score is None else 0.0 if trivial == 2.0 else 0.25
    used = {"name": "d", "config": "", "split": "test", "version": "1", "content_sha256": ""}
    about = Floor(median=floor, p95=1.0, runs=0, length_ps=0.0)
    task = TaskReport(kind="relative_energy", version="1", title="t", dataset=used, parameters={})
    metric = Metric(value=value, unit="kcal/mol", trivial=trivial, floor=about)
    assert reaction_score("relative_energy_mae", metric, value, task) == (
        None if score is None else pytest.approx(score)
    )
