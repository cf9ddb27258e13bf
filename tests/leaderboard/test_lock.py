"""Locks from partial runs: what each of them adds, what must agree, what never comes from a run with losses."""

import pytest

from ffbench_eval.report import Metric
from leaderboard.check.check import check, errors
from leaderboard.check.lock import make_lock, not_locked, write_lock
from leaderboard.entry.schema import ENTRIES, Entry
from tests.leaderboard.board import put, seal

REPORT = Entry.model_validate_json((ENTRIES / "ffbench__painn/1/mini.json").read_text()).report


def part(*names, **tasks):
    return REPORT.model_copy(update={"tasks": {n: REPORT.tasks[n] for n in names} | tasks})


def changed(name, metric, **update):
    task = REPORT.tasks[name]
    new = task.metrics[metric].model_copy(update=update)
    return task.model_copy(update={"metrics": task.metrics | {metric: new}})


def names(lock):
    return {name for name, task in lock.tasks.items() if task.metrics}


def test_two_partial_runs_make_the_lock_of_both():
    lock = make_lock("mini", [part("ethanol_accuracy", "ethanol_md"), part("water_md")])
    assert names(lock) == {"ethanol_accuracy", "ethanol_md", "water_md"}
    assert lock.tasks["water_md"] == make_lock("mini", [REPORT]).tasks["water_md"]
    assert any("water_accuracy" in line for line in not_locked(lock, []))


def test_a_later_run_adds_its_tasks_and_keeps_the_others():
    first = make_lock("mini", [part("ethanol_accuracy")])
    second = make_lock("mini", [part("water_md")], first)
    assert names(second) == {"ethanol_accuracy", "water_md"}
    assert make_lock("mini", [], second) == second
    assert names(make_lock("mini", [part("water_md")])) == {"water_md"}


def test_runs_that_disagree_are_refused_by_name():
    floor = REPORT.tasks["water_md"].metrics["rdf_error_O-O"].floor
    other = changed("water_md", "rdf_error_O-O", floor=floor.model_copy(update={"median": 2 * floor.median}))
    with pytest.raises(ValueError, match=r"water_md, metric rdf_error_O-O: floor is .* --anew"):
        make_lock("mini", [part("water_md"), part(water_md=other)])
    with pytest.raises(ValueError, match="in the lock"):
        make_lock("mini", [part(water_md=other)], make_lock("mini", [part("water_md")]))
    task = REPORT.tasks["water_md"].model_copy(update={"parameters": {"length_ps": 1}})
    with pytest.raises(ValueError, match="other parameters"):
        make_lock("mini", [part(water_md=task)])
    with pytest.raises(ValueError, match="not of desk"):
        make_lock("desk", [REPORT])


def test_a_run_with_losses_gives_no_anchors_and_an_unstable_one_its_floors():
    task = REPORT.tasks["water_md"]

    def ended(state):
        first = task.units[0].model_copy(update={"status": [state, *task.units[0].status[1:]]})
        return part(water_md=task.model_copy(update={"units": [first, *task.units[1:]]}))

    lost = make_lock("mini", [ended("out_of_memory")])
    assert names(lost) == set()
    assert "nothing taken from painn (1 out_of_memory" in not_locked(lost, [ended("out_of_memory")])[0]
    whole = make_lock("mini", [REPORT]).tasks["water_md"].metrics
    shaky = make_lock("mini", [ended("unstable")]).tasks["water_md"].metrics
    assert all(m.n is None and m.optional and m.floor == whole[k].floor for k, m in shaky.items())
    for order in ([ended("unstable"), REPORT], [REPORT, ended("unstable")]):
        assert make_lock("mini", order).tasks["water_md"].metrics == whole


def test_a_metric_that_only_one_run_has_is_optional():
    task = REPORT.tasks["water_accuracy"]
    extra = Metric(value=1.0, unit="eV", values=[1.0, 1.0], n=2, interval_note="none")
    lock = make_lock("mini", [part("water_accuracy"), part(water_accuracy=task.model_copy(
        update={"metrics": task.metrics | {"energy_mae_aligned": extra}}))])  # fmt: skip
    metrics = lock.tasks["water_accuracy"].metrics
    assert [n for n, m in metrics.items() if m.optional] == ["energy_mae_aligned"]


def test_a_metric_that_a_model_cannot_be_asked_for_is_optional():
    """GFN2-xTB states no cutoff and has one precision: four of the 23 checks of physicality have no value."""
    names = ("gfn2/gfn2-xtb-tblite-accuracy-0.01", "lennard_jones/1")
    entries = [Entry.model_validate_json((ENTRIES / f"ffbench__{n}/physicality.json").read_text()) for n in names]
    reports = [entry.report for entry in entries]
    silent = {n for n, m in reports[0].tasks["ethanol_physicality"].metrics.items() if m.value is None}
    assert silent == {"far_atom_force_change", "cutoff_energy_jump", "cutoff_force_jump", "precision_error"}
    for order in (reports, reports[::-1]):
        metrics = make_lock("physicality", order).tasks["ethanol_physicality"].metrics
        assert {n for n, m in metrics.items() if m.optional} == silent
        assert all(metrics[n].n == 8 for n in silent)


def test_a_selective_lock_asks_for_no_embedding():
    metrics = make_lock("mini", [REPORT]).tasks["ethanol_selective"].metrics
    assert all(m.trivial is None for m in metrics.values())  # half the share that failed: the model's own
    needed = {n.split(".")[2] for n, m in metrics.items() if not m.optional and n.startswith("augrc")}
    assert needed == {"size_only", "composition_only", "gradient_boosting", "random", "oracle"}


def test_anchors_that_the_board_does_not_hold_are_an_error(tmp_path):
    entry = Entry.model_validate_json((ENTRIES / "ffbench__painn/1/mini.json").read_text()).model_dump(mode="json")
    path = put(seal(entry), tmp_path / "entries")
    (tmp_path / "suites").mkdir()
    write_lock(make_lock("mini"), tmp_path / "suites")
    bare = errors(check(path, entries=tmp_path / "entries", suites=tmp_path / "suites"))
    assert bare
    assert all("the board does not hold yet" in f.message for f in bare)
    write_lock(make_lock("mini", [REPORT]), tmp_path / "suites")
    assert errors(check(path, entries=tmp_path / "entries", suites=tmp_path / "suites")) == []


def test_a_changed_list_of_metrics_asks_for_a_new_version():
    task, locked = REPORT.tasks["water_md"], make_lock("mini", [part("water_md")])
    more = task.model_copy(update={"metrics": task.metrics | {"new_number": task.metrics["stable_time"]}})
    with pytest.raises(ValueError, match=r"water_md: painn has also new_number.*raise the versions"):
        make_lock("mini", [part(water_md=more)], locked)
    less = task.model_copy(update={"metrics": {k: m for k, m in task.metrics.items() if k != "rdf_error_O-O"}})
    with pytest.raises(ValueError, match=r"lacks rdf_error_O-O"):
        make_lock("mini", [part(water_md=less)], locked)
    assert "new_number" in make_lock("mini", [part(water_md=more)]).tasks["water_md"].metrics  # anew
