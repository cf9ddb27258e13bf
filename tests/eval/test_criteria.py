"""An absent criterion is not a passed one: a model without forces is stable nowhere."""

import numpy as np
import pytest
import torch

from ffbench_data import build, load_frames
from ffbench_eval import ForceField, Prediction
from ffbench_eval.kinds.dynamics import work as molecular_dynamics
from ffbench_eval.kinds.dynamics.criteria import Criterion, criterion, lasting_bonds
from ffbench_eval.kinds.dynamics.systems import system_of, systems_of
from ffbench_eval.kinds.dynamics.work import _stability
from ffbench_eval.page.verdict import verdict
from ffbench_eval.report import TaskReport, UnitReport
from ffbench_eval.run.units import Result
from tests.eval.dynamics_data import USED, data, task, unit

BOX = 9.0 * np.eye(3)


def no_forces():
    def fn(batch):
        return Prediction(energy=torch.zeros(batch.n_systems).double(), forces=torch.zeros_like(batch.positions))

    return ForceField(fn, cutoff=3.0, dtype=torch.float64, card={"name": "no forces"})


def crystal(frames, *, edge=9.0, side=3, spread=0.1, seed=0):
    """Atoms that vibrate about a simple cubic lattice."""
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3) * (edge / side)
    return grid + np.random.default_rng(seed).normal(scale=spread, size=(frames, len(grid), 3))


def simulate(made, wanted, folder, model):
    """Every unit of a task, run and scored."""
    results = []
    for k, inputs in enumerate(molecular_dynamics.plan(wanted, made, 0)):
        home = folder / str(k)
        home.mkdir()
        out = molecular_dynamics.run_unit(wanted, inputs, made, model, home, lambda _: None, "off")
        values = {k: v for k, v in out.items() if k not in ("status", "detail")}
        results.append(Result(home, out["status"], out["detail"], 0.0, 0, values))
    return results, molecular_dynamics.score(wanted, results, made)[0]


def said(wanted, results, metrics):
    units = [UnitReport(address="", status=r.status, detail=r.detail, wall_s=0.0) for r in results]
    about = {"kind": wanted.kind.name, "version": "1", "title": "", "dataset": USED}
    return verdict(TaskReport(**about, parameters=wanted.parameters.model_dump(), units=units, metrics=metrics))


@pytest.mark.parametrize("frames", [1, 60])
def test_no_forces_are_not_stable_in_a_crystal(tmp_path, frames):
    made = data(([18] * 27, crystal(frames), BOX))
    wanted = task(ensemble="nose_hoover", temperature_K=2000, length_ps=4, replicas=2, save_every_fs=50)
    results, metrics = simulate(made, wanted, tmp_path, no_forces())
    assert metrics["stable_fraction"].value == 0
    assert metrics["stable_time"].value < 2
    assert "criterion made from the data" in metrics["stable_fraction"].interval_note
    assert "without breaking" not in said(wanted, results, metrics).sentence


def test_no_forces_are_not_stable_in_germanium_telluride(shared_data, tmp_path, monkeypatch):
    build("gete", shared_data / "gete", tmp_path / "data")
    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path / "data"))
    from ffbench_eval.run.data import TaskData

    made = TaskData(load_frames("gete", "blocked", "test"), None, USED)
    wanted = task(ensemble="nose_hoover", temperature_K=920, length_ps=0.5, replicas=2, save_every_fs=50)
    _, metrics = simulate(made, wanted, tmp_path, no_forces())
    assert metrics["stable_fraction"].values == [0.0, 0.0]
    frame = made.frames[0]
    rule = criterion(system_of(made, frame), 920, 5)
    assert rule.bonds == ()  # a melt has no bonds that phonons could break
    x = load_frames("gete", "blocked", "train").stacked()[1][:100]
    truth = unit(tmp_path / "truth", frame.atomic_numbers, x[None], cell=frame.cell, every_ps=0.05, temperature=920)
    metrics = molecular_dynamics.score(task(length_ps=5, save_every_fs=50, temperature_K=920), [truth], made)[0]
    assert metrics["stable_time"].values == [5.0]


def test_a_cluster_that_flies_apart(tmp_path):
    made = data(([18] * 27, crystal(30), None))  # argon: no bonds, open
    _, metrics = simulate(made, task(temperature_K=2000, length_ps=8), tmp_path, no_forces())
    assert metrics["stable_fraction"].value == 0


def test_nothing_can_be_made_for_one_atom(tmp_path):
    made = data(([18], np.zeros((30, 1, 3)), BOX))
    wanted = task()
    result = unit(tmp_path / "a", [18], np.zeros((1, 20, 1, 3)), cell=BOX)
    metrics, _ = molecular_dynamics.score(wanted, [result], made)
    for name in ("stable_fraction", "stable_time"):
        assert metrics[name].value is None
        assert metrics[name].score is None
        assert metrics[name].not_scored.startswith("no criterion of stability")
        assert metrics[name].values == [None]
    known = metrics | {"temperature_deviation": metrics["stable_time"].model_copy(update={"value": 1.0})}
    sentence = said(wanted, [result], known).sentence
    assert "nothing says whether they broke" in sentence
    assert "without breaking" not in sentence


def test_a_run_shorter_than_a_window_of_the_criterion_is_not_judged(tmp_path):
    made = data(([18] * 27, crystal(30), BOX), facts={"rdf_limit": 1.0})
    result = unit(tmp_path / "a", [18] * 27, crystal(5)[None], cell=BOX)
    metrics, _ = molecular_dynamics.score(task(length_ps=0.5), [result], made)
    assert metrics["stable_fraction"].value is None
    assert "shorter than a window" in metrics["stable_fraction"].not_scored


@pytest.mark.parametrize("listed", [None, []])
def test_an_empty_list_of_bonds_is_none(tmp_path, listed):
    """One hydrogen molecule whose atoms part: the reference's list is absent or empty."""
    x = np.zeros((20, 2, 3))
    x[:, 1, 2] = 0.74
    made = data(([1, 1], x, None), facts={"bonds": listed})
    gone = x.copy()
    gone[10:, 1, 2] = 3.0
    rules = molecular_dynamics.protocol(task(), made)
    assert rules.bonds == ((0, 1, pytest.approx(0.74)),)  # found by covalent radii: the engine watches it
    moved = data(([18, 18], 5 * x, None), facts={"bonds": listed})
    apart = unit(tmp_path / "a", [18, 18], 5 * gone[None])
    metrics, _ = molecular_dynamics.score(task(), [apart], moved)
    assert metrics["stable_time"].values == [pytest.approx(1.1)]  # the frame in which they are apart


def test_the_bonds_of_water_are_found_in_its_box_and_no_others():
    frames = load_frames("water", "1k", "test")[:40]
    from ffbench_eval.run.data import TaskData

    frame = frames[0]
    made = TaskData(frames, None, USED)
    rule = criterion(system_of(made, frame), 300, 20)
    assert len(rule.bonds) == 128
    assert all({frame.atomic_numbers[i], frame.atomic_numbers[j]} == {1, 8} for i, j, _ in rule.bonds)
    assert all(0.9 < d < 1.1 for *_, d in rule.bonds)
    assert rule.rdf is not None


def test_a_broken_bond_across_the_cell_edge_is_seen(tmp_path):
    """Hydrogen molecules on the edge of the cell: nearest images, not raw differences."""
    x = np.zeros((20, 4, 3))
    x[:, 1, 2] = 9.0 - 0.74  # bonded through the boundary
    x[:, 2:] = [4.5, 4.5, 4.5]
    x[:, 3, 2] += 0.74
    made = data(([1] * 4, x, BOX))
    whole = unit(tmp_path / "a", [1] * 4, x[None], cell=BOX)
    assert molecular_dynamics.score(task(), [whole], made)[0]["stable_fraction"].value == 1
    broken = x.copy()
    broken[7:, 1, 2] -= 0.6
    torn = unit(tmp_path / "b", [1] * 4, broken[None], cell=BOX)
    assert molecular_dynamics.score(task(), [torn], made)[0]["stable_time"].values == [pytest.approx(0.8)]


def test_small_systems_may_fluctuate():
    """The temperature of two atoms passes three times its mean often; the limit follows chi squared."""
    from scipy.stats import chi2

    made = data(([18, 18], [[[0, 0, 0], [0, 0, 3.7]]] * 20, None))
    frame = made.frames[0]
    rule = criterion(system_of(made, frame), 300, 5)
    assert chi2.sf(rule.hottest / 300, 1) == pytest.approx(1e-9, rel=1e-6)


def test_published_criteria_stay_as_they_are():
    from ffbench_eval.run.data import load_task_data
    from ffbench_eval.suite import load_suite

    for wanted in load_suite("mini").tasks:
        if wanted.kind.name != "molecular_dynamics":
            continue
        made = load_task_data(wanted)
        frame = made.frames[0]
        rule = criterion(system_of(made, frame), 300, 10)
        assert rule.note == rule.absent == ""
        assert rule.nearest is rule.apart is rule.hottest is None
        facts = made.reference.facts
        assert (rule.rdf.limit if rule.rdf else None) == facts.get("rdf_limit")
        assert [list(b) for b in rule.bonds] == facts.get("bonds", [])


def test_smooth_is_nothing_without_forces(tmp_path):
    """A model that answers zero everywhere has no false extremum: the report says that this says nothing."""
    from ffbench_eval.kinds.bsct import work as bsct
    from ffbench_eval.run.data import load_task_data
    from ffbench_eval.suite import load_suite

    wanted = next(t for t in load_suite("mini").tasks if t.kind.name == "bsct")
    made = load_task_data(wanted)
    results = []
    for k, inputs in enumerate(bsct.plan(wanted, made, 0)):
        home = tmp_path / str(k)
        home.mkdir()
        out = bsct.run_unit(wanted, inputs, made, no_forces(), home, lambda _: None)
        results.append(Result(home, out["status"], out["detail"], 0.0, 0, {"scans": out["scans"]}))
    metrics, _ = bsct.score(wanted, results, made)
    assert metrics["spurious_extrema"].value == 0
    assert metrics["scan_force_mae"].value == pytest.approx(metrics["scan_force_mae"].trivial)
    assert "smoothness says nothing" in said(wanted, results, metrics).sentence
    # the baseline is the data's, also where the model has no answer for some scans
    some = [Result(r.folder, ["model_error", *r.status[1:]], [], 0.0, 0, r.values) for r in results]
    fewer, _ = bsct.score(wanted, some, made)
    assert fewer["fsd"].trivial == metrics["fsd"].trivial


def test_two_labelled_points_turn_nowhere():
    from ffbench_eval.kinds.bsct.scans import find_scans
    from ffbench_eval.kinds.bsct.scores import score_scan

    scan = next(iter(find_scans(load_frames("ethanol_gfn2", "bond_scans", "test")).values()))
    scan.energy[:] = np.where(np.arange(len(scan.energy)) < 2, scan.energy, np.nan)
    row = score_scan(scan, np.zeros(len(scan.energy)), np.zeros(scan.positions.shape))
    assert row["spurious_extrema"] is None
    assert row["sign_flips"] is None


def test_a_flat_scan_without_a_reference_has_no_perfect_numbers(tmp_path):
    from ffbench_eval.kinds.bsct import custom

    water = custom.Molecule("water", np.array([8, 1, 1]), np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0.0]]))
    rows = custom.scan_molecule(water, custom.make_scans(water), no_forces(), None, tmp_path)
    assert {row["state"] for row in rows.values()} == {"flat"}
    assert all("spurious_extrema" not in row for row in rows.values())


def test_another_theory_is_said():
    from ffbench_eval.report import Metric

    metrics = {"force_mae": Metric(value=0.3686, unit="eV/Å", n=250, trivial=0.9, score=0.58)}
    about = {"kind": "accuracy", "version": "1", "title": "", "parameters": {}, "metrics": metrics}
    units = [UnitReport(address="", status=["ok"], wall_s=0.0)]
    task = TaskReport(**about, dataset=USED.model_copy(update={"theory": "PBE/def2-SVP"}), units=units)
    assert "level of theory is CCSD(T)/cc-pVTZ, the data's PBE/def2-SVP" in verdict(task, "CCSD(T)/cc-pVTZ").sentence
    assert "level of theory" not in verdict(task, "PBE/def2-SVP").sentence


def test_a_replica_held_against_nothing_is_neither_stable_nor_unstable():
    """Three replicas of 10 ps: one judged and whole, one without a criterion, one that broke at 4 ps without any."""
    judged, nothing = Criterion(((0, 1, 1.0),)), Criterion((), absent="no criterion of stability")
    found = _stability([False, False, True], [10.0, 10.0, 4.0], [judged, nothing, nothing], 10.0)
    assert found["stable_fraction"].values == [1.0, None, 0.0]
    assert found["stable_time"].values == [10.0, None, 4.0]
    assert found["stable_fraction"].value is found["stable_time"].value is None
    assert "no criterion" in found["stable_time"].not_scored


def test_a_replica_that_failed_counts_where_another_was_held_against_nothing():
    """Failed: 0 and its time; ran to the end without a criterion: no value; ran to the end with one: 1."""
    judged, nothing = Criterion(((0, 1, 1.0),)), Criterion((), absent="no criterion of stability")
    metrics = _stability([True, False, False], [0.5, 2.0, 2.0], [nothing, nothing, judged], 2.0)
    assert metrics["stable_fraction"].values == [0.0, None, 1.0]
    assert metrics["stable_time"].values == [0.5, None, 2.0]
    assert metrics["stable_fraction"].value is None


@pytest.mark.parametrize(("pair", "bonded"), [((14, 1), True), ((14, 14), True), ((13, 1), False), ((53, 53), True),
                                              ((52, 1), False), ((11, 17), False)])  # fmt: skip
def test_bonds_in_a_cell_are_between_elements_that_form_molecules(pair, bonded):
    """Silane, disilane and iodine hold together by bonds; aluminium, tellurium and rock salt are left to g(r)."""
    from ase.data import covalent_radii

    x = np.zeros((12, 2, 3))
    x[:, 1, 0] = covalent_radii[list(pair)].sum()
    made = data((list(pair), x, 20 * np.eye(3)))
    assert bool(lasting_bonds(systems_of(made, [made.frames[0]])[0])) == bonded
