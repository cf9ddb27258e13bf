"""Replicas of other atoms, cells or sizes: each runs in its own cell and is held against its own frames."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ffbench_data import build, load_frames
from ffbench_data.frames import Frames
from ffbench_data.magnitudes import energy_spread
from ffbench_data.schema import to_table
from ffbench_data.validate import _outliers
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.kinds import KINDS
from ffbench_eval.kinds.dynamics import work as molecular_dynamics
from ffbench_eval.kinds.dynamics.systems import alike, systems_of
from ffbench_eval.kinds.dynamics.work import _spread
from ffbench_eval.kinds.parts.work import groups
from ffbench_eval.kinds.selective.groups import _trajectories
from ffbench_eval.kinds.speed import work as speed
from ffbench_eval.run.data import TaskData
from ffbench_eval.suite import Task
from ffbench_metrics import rdf
from tests.eval.dynamics_data import USED, data, task, unit
from tests.eval.test_criteria import crystal, no_forces, simulate

SMALL, LARGE = 9.0 * np.eye(3), np.diag([10.0, 12.0, 11.0])


def parts():
    """Two cells of one composition, another order of its species, and another size; one structure each, many times."""
    argon = np.repeat(crystal(1, seed=1), 12, 0)
    stretched = argon @ np.linalg.inv(SMALL) @ LARGE
    mixed, swapped = [18] * 13 + [10] * 14, [10] * 14 + [18] * 13
    tiny = np.repeat(crystal(1, side=2, edge=9.0, seed=2), 12, 0)
    return [(mixed, argon, SMALL), (mixed, stretched, LARGE), (swapped, argon, SMALL), ([18] * 8, tiny, SMALL)]


def everything(replicas=8, **how):
    made = data(*parts())
    wanted = task(replicas=replicas, temperature_K=1e-9, **how)
    return made, wanted, molecular_dynamics.starting_rows(wanted.parameters, made)


def test_replicas_that_cannot_share_a_batch_are_units_of_their_own():
    made, wanted, rows = everything()
    planned = molecular_dynamics.plan(wanted, made, 0)
    assert sorted(k for inputs in planned for k in inputs["ids"]) == list(range(8))
    assert len(planned) == len({row // 12 for row in rows}) > 1
    for inputs in planned:
        begin = molecular_dynamics.start(inputs, made)
        assert [rows[k] for k in inputs["ids"]] == inputs["replicas"]
        for x, row in zip(begin.positions, inputs["replicas"]):
            frame = made.frames[row]
            assert np.array_equal(begin.numbers, frame.atomic_numbers)
            assert np.array_equal(begin.cell, frame.cell)
            assert np.array_equal(x, frame.positions)


def test_one_system_is_one_unit_with_the_inputs_it_had():
    made = data(parts()[0])
    wanted = task(replicas=3)
    rows = molecular_dynamics.starting_rows(wanted.parameters, made)
    assert molecular_dynamics.plan(wanted, made, 0) == [{"replicas": rows}]


def test_every_replica_is_held_against_its_own_system(tmp_path):
    """Frozen replicas in frozen data: each has the g(r) of its own frames, so every error is 0."""
    made, wanted, rows = everything(observables=["rdf", "temperature"], length_ps=1.2)
    results, metrics = simulate(made, wanted, tmp_path, no_forces())
    found = [t for r in results for t in read_trajectories(r.folder)]
    order = [k for inputs in molecular_dynamics.plan(wanted, made, 0) for k in inputs["ids"]]
    for t, k in zip(found, order):
        frame = made.frames[rows[k]]
        assert np.array_equal(t.numbers, frame.atomic_numbers)
        assert np.array_equal(t.cell, frame.cell)
        assert t.positions[-1] == pytest.approx(frame.positions, abs=1e-3)
    assert metrics["stable_fraction"].values == [1.0] * 8
    errors = metrics["rdf_error_Ar-Ar"].values
    assert errors == pytest.approx([0.0] * 8, abs=0.3)  # a distance on the edge of a bin may change sides
    neon = metrics["rdf_error_Ne-Ne"].values
    assert [v is None for v in neon] == [len(made.frames[rows[k]].atomic_numbers) == 8 for k in order]


def test_g_of_r_of_each_replica_is_that_of_its_own_cell(tmp_path):
    """Against the public function, replica by replica."""
    made = data(*parts()[:2])
    moved = [crystal(15, seed=3), crystal(15, seed=4) @ np.linalg.inv(SMALL) @ LARGE]
    numbers, cells = [18] * 13 + [10] * 14, [SMALL, LARGE]
    results = [unit(tmp_path / str(k), numbers, x[None], cell=c) for k, (x, c) in enumerate(zip(moved, cells))]
    metrics, curves = molecular_dynamics.score(task(observables=["rdf"], replicas=2), results, made)
    argon = np.arange(13)
    for k, (x, c) in enumerate(zip(moved, cells)):
        g = rdf(x.astype(np.float32).astype(float), c, index_a=argon)[1]
        own = rdf(parts()[k][1], c, index_a=argon)[1]
        assert metrics["rdf_error_Ar-Ar"].values[k] == pytest.approx(np.abs(g - own).sum() * 6 / 500, rel=1e-9)
    assert len([name for name in curves if name.startswith("rdf_Ar-Ar")]) == 2


def test_open_molecules_of_several_sizes(tmp_path):
    hydrogen = np.zeros((12, 2, 3))
    hydrogen[:, 1, 2] = 0.73
    water = np.repeat([[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]], 12, 0)
    made = data(([1, 1], hydrogen, None), ([8, 1, 1], water, None), ([1, 1, 8], water[:, [1, 2, 0]], None))
    wanted = task(replicas=6, temperature_K=1e-9, observables=["distance_histogram"], length_ps=1.2)
    rows = molecular_dynamics.starting_rows(wanted.parameters, made)
    assert len({row // 12 for row in rows}) == 3
    _, metrics = simulate(made, wanted, tmp_path, no_forces())
    assert metrics["stable_fraction"].values == [1.0] * 6
    assert metrics["distance_histogram_error"].values == pytest.approx([0.0] * 6)
    for inputs in molecular_dynamics.plan(wanted, made, 0):
        rules = molecular_dynamics.protocol(wanted, made, inputs["replicas"][0])
        x = made.frames[inputs["replicas"][0]].positions
        assert len(rules.bonds) == len(x) - 1
        for i, j, d in rules.bonds:
            assert d == pytest.approx(np.linalg.norm(x[i] - x[j]))


def test_random_numbers_do_not_depend_on_the_division(tmp_path):
    """A unit run alone gives what it gave beside the others, and every replica draws its own velocities."""
    made, hot = data(*parts()), task(replicas=4, temperature_K=300, length_ps=0.1)
    (tmp_path / "all").mkdir()
    (tmp_path / "alone").mkdir()
    results, _ = simulate(made, hot, tmp_path / "all", no_forces())
    inputs = molecular_dynamics.plan(hot, made, 0)[-1]
    molecular_dynamics.run_unit(hot, inputs, made, no_forces(), tmp_path / "alone", lambda _: None, "off")
    first, second = read_trajectories(results[-1].folder), read_trajectories(tmp_path / "alone")
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(first, second))


def test_cells_that_breathe_are_one_system_and_polymorphs_are_not():
    x = crystal(6)
    made = data(*[([18] * 27, x[k : k + 1], (9 + 0.05 * k) * np.eye(3)) for k in range(6)], ([18] * 27, x, LARGE))

    first, last = systems_of(made, [made.frames[0], made.frames[8]])
    assert (len(first.frames), len(last.frames)) == (6, 6)
    assert first.label != last.label
    assert alike(made.frames, [0, 1, 7, 8]) == [[0], [1], [2, 3]]  # a batch has one cell, to the digit


def test_speed_of_several_systems_counts_all_of_them(tmp_path):
    from ffbench_eval.run.units import Result

    values = {"step_s": 0.01, "call_s": 0.005, "kernel_s": 0.002}
    done = [Result(tmp_path, ["ok"] * n, [], 0.0, 0, values) for n in (3, 1)]
    lost = Result(tmp_path, ["harness_error"] * 2, [], 0.0, 0, {})
    p = speed.Parameters(**task(replicas=6).parameters.model_dump())
    metrics, _ = speed.score(Task("s", KINDS["speed"], "1", "s", "water", None, p), [lost, *done], None)
    assert metrics["steps_per_second"].value == pytest.approx(4 / 0.02)
    assert metrics["steps_per_kernel"].value == pytest.approx(4 * 0.002 / 0.02)
    assert metrics["engine_over_call"].value == pytest.approx(2)


def test_lips20_starts_in_its_own_cells(shared_data, tmp_path, monkeypatch):
    """Two polymorphs of Li32P16S48: in the other's cell one of them has atoms 0.40 Å apart, in its own 1.80 Å."""
    from ase import Atoms
    from ase.geometry import get_distances

    from ffbench_eval.run.data import TaskData

    build("lips20", shared_data / "lips20", tmp_path)
    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path))
    made = TaskData(load_frames("lips20", "composition", "test"), None, USED)
    wanted = task(replicas=8)
    seen = set()
    for inputs in molecular_dynamics.plan(wanted, made, 0):
        begin = molecular_dynamics.start(inputs, made)
        seen.add(json.dumps(begin.cell.tolist()))
        for x in begin.positions:
            atoms = Atoms(begin.numbers, x, cell=begin.cell, pbc=begin.pbc)
            d = get_distances(x, cell=atoms.cell, pbc=True)[1]
            assert d[~np.eye(len(x), dtype=bool)].min() > 1.2
    assert len(seen) > 1


def test_internal_temperature_knows_no_motion_of_the_whole():
    from ffbench_eval.engine.internal import internal_temperature
    from ffbench_eval.engine.system import State, System
    from ffbench_eval.engine.units import BOLTZMANN

    rng = np.random.default_rng(0)

    def told(x, v, mass, periodic=False):
        n = len(mass)
        system = System(
            numbers=torch.ones(n, dtype=torch.int64),
            masses=torch.as_tensor(mass)[:, None],
            cell=torch.eye(3).double(),
            pbc=torch.full((3,), periodic),
            temperature=torch.tensor([300.0]).double(),
            dof=3 * n,
        )
        x, v = torch.as_tensor(x)[None], torch.as_tensor(v)[None]
        zero = torch.zeros(1, dtype=torch.float64)
        return float(internal_temperature(State(x, v, torch.zeros_like(x), zero, zero[:, None]), system)[0])

    x, mass = rng.normal(size=(9, 3)), rng.uniform(1, 16, 9)
    v = rng.normal(size=(9, 3))
    turning = np.cross([0.3, -0.2, 0.5], x) + [4.0, 5.0, 6.0]
    assert told(x, v + turning, mass) == pytest.approx(told(x, v, mass))
    assert told(x, turning, mass) == pytest.approx(0, abs=1e-6)
    assert told(x, v + [4.0, 5.0, 6.0], mass, True) == pytest.approx(told(x, v, mass, True))
    # a diatomic: one degree of freedom, along the bond; K = mu u^2 / 2 = kT / 2
    line, along = np.array([[0, 0, 0], [0, 0, 1.1]]), np.array([[0.3, 0.1, 0.2], [-0.2, 0.4, 0.7]])
    assert told(line, along, np.array([1.0, 3.0])) == pytest.approx(0.75 * 0.5**2 / BOLTZMANN)
    assert np.isnan(told(x[:1], v[:1], mass[:1]))
    # Maxwell-Boltzmann at 300 K: 20,000 draws of 3N - 6 = 3 degrees, 0.6 % of error, six of them allowed
    three, masses = x[:3], mass[:3]
    drawn = rng.normal(size=(4000, 3, 3)) * np.sqrt(BOLTZMANN * 300 / masses)[:, None]
    mean = np.mean([told(three, one, masses) for one in drawn])
    assert mean == pytest.approx(300, rel=6 * (2 / 3 / 4000) ** 0.5)


def test_a_push_of_the_whole_is_said():
    """Findings F15: of 521 K, 420 K are motion of the centre of mass, while every bond holds."""
    from ffbench_eval.page.verdict import verdict
    from ffbench_eval.report import Metric, TaskReport, UnitReport

    def report(total, inner):
        metrics = {
            "stable_fraction": Metric(value=1, unit="1", values=[1.0] * 3),
            "stable_time": Metric(value=4, unit="ps", interval_note=">= 4 ps", values=[4.0] * 3),
            "temperature_deviation": Metric(value=np.mean(total), unit="K", values=total),
            "internal_temperature_deviation": Metric(value=np.mean(inner), unit="K", values=inner),
        }
        unit = UnitReport(address="", status=["ok"] * 3, wall_s=0.0)
        p = task(temperature_K=500, replicas=3, length_ps=4).parameters.model_dump()
        return verdict(
            TaskReport(
                kind="molecular_dynamics",
                version="1",
                title="",
                dataset=USED,
                parameters=p,
                units=[unit],
                metrics=metrics,
            )
        )

    found = report([15.0, 22.0, 26.0], [-400.0, -395.0, -402.0])
    assert found.label == "astray"
    assert "521 K in total the atoms have 101 K" in found.sentence
    assert "motion of the whole" not in report([15.0, 22.0, 26.0], [5.0, 30.0, 10.0]).sentence


def ions(scale=1.0):
    """OH as a neutral doublet of 1.01 A and as an anion of 1.21 A: one formula, two systems."""
    x = np.zeros((24, 2, 3))
    x[:12, 1, 2], x[12:, 1, 2] = 1.01, 1.21  # in the middle of a bin
    energy = np.where(np.arange(24) < 12, -100.0, -102.0) + scale * np.tile([-1.0, 1.0], 12)
    zero = np.zeros_like(x)
    table = to_table([8, 1], x, energy, zero, charge=[0] * 12 + [-1] * 12, spin_multiplicity=[2] * 12 + [1] * 12)
    return TaskData(Frames(table), None, USED)


def test_frames_of_another_charge_are_of_another_system(tmp_path):
    """Replicas that stand still have the distances of their own frames, so every error is 0; pooled it would be 1."""
    made = ions()
    wanted = task(replicas=6, temperature_K=1e-9, observables=["distance_histogram"], length_ps=1.2)
    rows = molecular_dynamics.starting_rows(wanted.parameters, made)
    assert {row < 12 for row in rows} == {True, False}
    model = replace(no_forces(), uses_charge=True, uses_spin=True)
    _, metrics = simulate(made, wanted, tmp_path, model)
    assert metrics["distance_histogram_error"].values == pytest.approx([0.0] * 6, abs=1e-9)
    anion, neutral = made.frames[12], made.frames[0]
    assert len(systems_of(made, [anion])[0].frames) == 12
    assert len({id(s) for s in systems_of(made, [anion, neutral, made.frames[13]])}) == 2
    with pytest.raises(ValueError, match="charge 2, spin multiplicity 1"):
        systems_of(made, [replace(neutral, charge=2, spin_multiplicity=1)])


def test_energies_on_a_trajectory_are_held_against_the_spread_of_their_own_system():
    """One of the ions spreads by 0.5 eV, both together by 1.1: their mean distance is none of the spread."""
    assert [_spread(s) for s in systems_of(ions(0.5), [*ions(0.5).frames])][::12] == pytest.approx([0.5, 0.5])


def test_what_shares_an_energy_scale_is_numbered():
    """Elements in any order, charge and spin; not sums of powers of the elements (12^3 + 1^3 = 10^3 + 9^3)."""
    z = [[12, 1], [10, 9], [1, 12], [12, 1], [12, 1], [12, 1, 1]]
    x = [np.zeros((len(k), 3)) for k in z]
    table = to_table(z, x, np.zeros(6), x, charge=[0, 0, 0, 1, 0, 0], spin_multiplicity=[2, 2, 2, 1, 4, 1])
    number = Frames(table).species
    assert number[0] == number[2]
    assert len(set(number.tolist())) == 5


def test_ions_are_no_outliers_of_each_other_and_no_spread():
    """Half of the frames 30 eV away with one electron less: what is looked at is each state's own spread."""
    x = np.zeros((120, 2, 3))
    x[:, 1, 2] = 1.0
    energy = np.random.default_rng(0).normal(scale=0.01, size=120)
    energy[:10] += 30.0
    charge = (np.arange(120) < 10).astype(int)
    apart = Frames(to_table([8, 1], x, energy, np.zeros_like(x), charge=charge, spin_multiplicity=2 - charge))
    alone = Frames(to_table([8, 1], x, energy, np.zeros_like(x)))
    assert [_outliers(f, "")[0].value for f in (apart, alone)] == [0, 10]
    assert [energy_spread(f, "", (300, 300))[0].value < 0.1 for f in (apart, alone)] == [True, False]


def test_parts_name_the_charge_of_what_is_charged():
    names = groups(ions().frames)["system"]
    assert sorted(set(names)) == ["HO charge -1", "HO spin 2"]


def test_trajectories_of_two_charges_are_two(monkeypatch):
    """Interleaved in a file, each in order of its own time."""
    made = ions().frames
    time = np.arange(24) // 2 * 1.0
    order = np.arange(24).reshape(2, 12).T.ravel()
    frames = made[order]
    frames.__dict__["time_fs"] = time
    found = _trajectories(frames, np.zeros(24, int))
    assert sorted(tuple(rows % 2) for rows in found) == [(0,) * 12, (1,) * 12]
