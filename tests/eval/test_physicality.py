"""Physicality: closed forms pass, the test beds fail what they were made to fail, and what cannot be asked is said."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import reference_models
from ffbench_data import load_frames
from ffbench_data.contract import ForceField
from ffbench_eval import evaluate
from ffbench_eval.kinds import KINDS
from ffbench_eval.kinds.asking import Ask
from ffbench_eval.kinds.physicality import LIMITS, beyond, numbers
from ffbench_eval.kinds.physicality.work import Parameters, plan, run_unit, score
from ffbench_eval.models.guard import guarded
from ffbench_eval.run.reproduce import compare
from ffbench_eval.suite import load_suite
from ffbench_metrics import jacobian_asymmetry
from leaderboard.check.recompute import metric_faults, task_faults

ROW = 3


@pytest.fixture(scope="module")
def frames():
    return load_frames("ethanol_gfn2", None, "test")


def asked(model, frames, **parameters):
    """The result of one structure, with few rotations and pairs."""
    few = {"structures": 1, "rotations": 4, "pairs": 2, **parameters}
    task = SimpleNamespace(parameters=Parameters(**few), name="t")
    data = SimpleNamespace(frames=frames)
    return run_unit(task, {"members": [ROW]}, data, guarded(model), None, lambda _: None)


def field_model(vortex=0.0, well=0.0):
    """Springs to the centre of the molecule; a vortex is no gradient, a well per pair of atoms not extensive."""

    def fn(batch):
        b, x = batch.n_systems, batch.positions
        n = batch.n_atoms
        centre = x.new_zeros(b, 3).index_add(0, batch.system_index, x) / n[:, None]
        r = x - centre.index_select(0, batch.system_index)
        energy = r.new_zeros(b).index_add(0, batch.system_index, 0.5 * r.square().sum(-1)) + well * n * n
        swirl = torch.stack([-r[:, 1], r[:, 0], torch.zeros_like(r[:, 0])], 1)
        return {"energy": energy, "forces": -r + vortex * swirl}

    return ForceField(fn, None, None, torch.float64, False, {"name": "field"})


def test_a_vortex_has_the_asymmetry_of_its_closed_form(frames):
    """J = (P - 1) x (I + ...): projector of the centre times (-1 + a S), so lambda = 2 a |S| / |-1 + a S|."""
    checks = asked(field_model(vortex=0.2), frames)["checks"]
    assert checks["jacobian_asymmetry"] == pytest.approx(2 * 0.2 * np.sqrt(2) / np.sqrt(3 + 2 * 0.04), rel=1e-6)
    assert checks["rotation_force_error"] > 0.01  # the axis of the vortex does not turn with the molecule
    assert checks["rotation_energy_error"] < 1e-12
    assert checks["gradient_error"] > 1e-3
    assert checks["net_torque"] > 0.01


def test_a_kink_of_conservative_forces_is_no_asymmetry(frames):
    """E = f(n.x) whose second derivative jumps 3e-4 Å beyond the structure, as of a CELU: differences of 1e-3 Å
    cross it for some coordinates and not for others, and would call J = -f'' n n^T asymmetric."""
    rng = np.random.default_rng(0)
    n = torch.from_numpy(rng.uniform(0.1, 1.0, size=(9, 3)))
    start = torch.from_numpy(np.array(frames[ROW].positions, float))

    def energy(batch):
        if len(batch.positions) != 9 * batch.n_systems:  # a copy or an atom more
            return batch.positions.sum() * torch.zeros(batch.n_systems, dtype=torch.float64)
        s = (n * (batch.positions.reshape(-1, 9, 3) - start)).sum((1, 2)) - 3e-4
        return torch.where(s > 0, 50.0, 5.0) * s.square() / 2

    model = ForceField.from_energy(energy, None, dtype=torch.float64, card={"name": "kink"})
    assert asked(model, frames, pairs=0)["checks"]["jacobian_asymmetry"] < 1e-6
    x = start.numpy()
    moves = 1e-3 * np.eye(27).reshape(27, 9, 3)
    _, f = Ask(guarded(model))(x + np.concatenate([moves, -moves]), frames[ROW].atomic_numbers)
    f = f.reshape(2, 27, 27)
    assert jacobian_asymmetry((f[0] - f[1]).T / 2e-3) > 0.1


def test_springs_to_the_centre_are_a_gradient_and_turn_with_the_molecule(frames):
    checks = asked(field_model(), frames)["checks"]
    for name in ("jacobian_asymmetry", "rotation_force_error", "reflection_force_error", "permutation_force_error"):
        assert checks[name] < 1e-9, name
    assert checks["gradient_error"] == 0.0
    assert checks["size_consistency_error"] > 1.0  # the common centre of two copies is 50 Å away


def test_energy_that_is_not_extensive(frames):
    """(2N)^2 - 2 N^2 = 2 N^2 wells too many."""
    bare, deep = (asked(field_model(well=w), frames)["checks"]["size_consistency_error"] for w in (0.0, -1e-3))
    assert bare - deep == pytest.approx(2 * 9**2 * 1e-3, rel=1e-6)


def test_lennard_jones_passes_everything(frames):
    result = asked(reference_models.load("lennard_jones"), frames)
    assert result["status"] == ["ok"]
    assert result["checks"]["far_atom_force_change"] == 0.0
    for name, value in result["checks"].items():
        assert value >= 1.0 if name.startswith("pair_") else value <= LIMITS[name], (name, value)


def stiff(batch, width=0.6):
    """Every pair within a Gaussian well 30 eV deep and 0.6 Å wide around 1.2 Å: as stiff as a bond, gone at 10 Å."""
    i, j = batch.edge_index
    r = (batch.positions[j] - batch.positions[i]).norm(dim=-1)
    per_edge = -15.0 * torch.exp(-(((r - 1.2) / width) ** 2))
    return per_edge.new_zeros(batch.n_systems).index_add(0, batch.system_index[i], per_edge)


def test_rounding_of_a_network_in_float32_behind_a_calculator_is_no_fault(frames):
    """It takes float64 and says so; 100 Å away its coordinates are rounded to 4e-6 Å, which moves stiff bonds."""
    exact = ForceField.from_energy(stiff, 10.0, dtype=torch.float64, card={"name": "stiff"})
    single = ForceField.from_energy(stiff, 10.0, dtype=torch.float32)

    def inside(batch):
        out = single.fn(batch.to(dtype=torch.float32))
        return {"energy": out.energy.double(), "forces": out.forces.double()}

    behind = asked(ForceField(inside, 10.0, None, torch.float64, True, {"name": "behind"}), frames)
    for name, value in behind["checks"].items():
        assert name.startswith("pair_") or value <= LIMITS[name], (name, value)
    assert "rounding" in behind["skipped"]["far_molecule_force_change"]
    assert asked(exact, frames)["checks"]["far_molecule_force_change"] == 0.0


def test_differences_of_rounded_forces_are_no_asymmetry_and_a_vortex_in_float32_is_one(frames):
    """A step of 0.01 Å sees the higher derivatives of a narrow well, one of 0.001 Å the last digit of its forces."""
    narrow = ForceField.from_energy(lambda b: stiff(b, width=0.12), 10.0, dtype=torch.float64)

    def digits(batch):
        out = narrow.fn(batch)
        return {"energy": out.energy, "forces": (out.forces / 2e-3).round().mul(2e-3).float().double()}

    result = asked(ForceField(digits, 10.0, None, torch.float64, True, {"name": "digits"}), frames)
    assert result["checks"].get("jacobian_asymmetry", 0.0) <= LIMITS["jacobian_asymmetry"]
    vortex = replace(field_model(vortex=0.2), dtype=torch.float32)
    found = asked(vortex, frames)["checks"]["jacobian_asymmetry"]
    assert found == pytest.approx(2 * 0.2 * np.sqrt(2) / np.sqrt(3 + 2 * 0.04), rel=1e-2)


@pytest.mark.parametrize(
    ("family", "fails", "passes"),
    [
        ("transformer_direct", ["jacobian_asymmetry", "gradient_error"], ["rotation_force_error", "path_force_jump"]),
        ("transformer_hard", ["path_force_jump"], ["jacobian_asymmetry", "cutoff_force_jump"]),
        ("transformer_no_envelope", ["cutoff_force_jump", "cutoff_energy_jump"], ["jacobian_asymmetry"]),
    ],
)
def test_test_beds_fail_what_they_were_made_to_fail(family, fails, passes, frames):
    result = asked(reference_models.load(f"{family}@ethanol_gfn2"), frames, pairs=0)
    assert result["dtype"] == "float64"
    for name in fails:
        assert result["checks"][name] > LIMITS[name], (name, result["checks"][name])
    for name in passes:
        assert result["checks"][name] <= LIMITS[name], (name, result["checks"][name])


def test_forcenet_does_not_turn_with_the_molecule(frames):
    checks = asked(reference_models.build("forcenet", elements=[1, 6, 8]), frames, pairs=0)["checks"]
    assert checks["rotation_force_error"] > 0.1
    assert checks["reflection_force_error"] > 0.1
    assert checks["translation_force_error"] < 1e-9


def test_what_cannot_be_asked_has_no_value_and_a_reason(frames):
    result = asked(field_model(), frames, pairs=0)
    for name in ("cutoff_energy_jump", "cutoff_force_jump", "far_atom_force_change"):
        assert name not in result["checks"]
        assert "states no cutoff" in result["skipped"][name]
    assert "cast" in result["skipped"]["precision_error"]


def test_energies_too_coarse_for_a_limit_give_no_pass(frames):
    """Springs on top of -1e5 eV in float32, whose numbers there are 0.008 eV apart."""
    inner = field_model()

    def fn(batch):
        got = inner.fn(batch)
        return {"energy": got["energy"] - 1e5, "forces": got["forces"]}

    result = asked(ForceField(fn, None, None, torch.float32, True, {}), frames, pairs=0)
    assert "rounding" in result["skipped"]["gradient_error"]
    assert "gradient_error" not in result["checks"]
    assert result["checks"]["jacobian_asymmetry"] < 1e-3  # forces are fine
    exact = asked(ForceField(fn, None, None, torch.float64, True, {}), frames, pairs=0)
    assert exact["checks"]["gradient_error"] == 0.0


def test_a_model_without_an_answer_is_an_error_not_a_pass(frames):
    def fn(batch):
        return {"energy": torch.full((batch.n_systems,), torch.nan), "forces": torch.zeros_like(batch.positions)}

    nan_energy = asked(ForceField(fn, None, None, torch.float64, True, {}), frames)
    assert nan_energy["status"] == ["model_error"]
    assert nan_energy["checks"]["pair_energy_rises"] == 0.0
    assert "gradient_error" not in nan_energy["checks"]

    def raises(batch):
        raise RuntimeError("no")

    broken = asked(ForceField(raises, None, None, torch.float64, True, {}), frames)
    assert broken["status"] == ["model_error"]
    assert broken["checks"] == {}


def test_own_dynamics_moves_the_structure(frames, tmp_path):
    """The torque of a vortex is that of where the molecule is."""
    task = SimpleNamespace(parameters=Parameters(structures=1, rotations=1, pairs=0, own_ps=0.02), name="t")
    model, data = guarded(field_model(vortex=0.2)), SimpleNamespace(frames=frames)
    moved = run_unit(task, {"members": [ROW]}, data, model, tmp_path, lambda _: None)
    still = asked(field_model(vortex=0.2), frames, pairs=0)
    assert moved["status"] == ["ok"]
    assert moved["checks"]["net_torque"] != pytest.approx(still["checks"]["net_torque"], rel=1e-3)


SUITE = """
name: own
version: 1.0.0
tasks:
  p: {kind: physicality, dataset: ethanol_gfn2, structures: 2, rotations: 2, pairs: 1, dimers: [H, C, Si]}
"""


def test_a_report_follows_from_its_members(tmp_path):
    """Means and Student's t over structures, Clopper-Pearson over the dimers whose element the model knows."""
    (tmp_path / "own.yaml").write_text(SUITE)
    lj = reference_models.load("lennard_jones")
    model = ForceField(lj.fn, lj.cutoff, (1, 6, 8), lj.dtype, True, {"name": "lj of H, C, O"})
    report = evaluate(model, str(tmp_path / "own.yaml"), out=tmp_path / "run", quiet=True)
    task = report.tasks["p"]
    assert task.statuses == {"ok": 4, "unsupported": 1}
    dimers = task.metrics["dimer_repulsive"]
    assert dimers.values == [1.0, 1.0, None]
    assert dimers.interval == pytest.approx((0.025**0.5, 1.0))  # two of two: the exact interval
    faults = [f for name, m in task.metrics.items() for f in metric_faults(name, m, task)] + list(task_faults(task))
    assert faults == []
    forged = dimers.model_copy(update={"interval": (0.9, 1.0)})
    assert [where for where, _ in metric_faults("dimer_repulsive", forged, task)] == [".interval[0]"]
    fewer = task.metrics | {"net_force": task.metrics["net_force"].model_copy(update={"values": [0.0]})}
    moved = task.metrics | {"dimer_repulsive": dimers.model_copy(update={"values": [1.0, None, 1.0]})}
    for metrics, name in ((fewer, "net_force"), (moved, "dimer_repulsive")):
        found = task_faults(task.model_copy(update={"metrics": metrics}))
        assert [where for where, _ in found] == [f".metrics.{name}.values"]
    assert beyond(task) == []
    assert "within their limits" in numbers(task)[0]


def test_a_rerun_of_one_structure_is_held_against_that_one(frames):
    """As `reproduce` does: samples have places, those that did not run are missing."""
    task = SimpleNamespace(parameters=Parameters(structures=2, rotations=1, pairs=0), name="t")
    data, model = SimpleNamespace(frames=frames), guarded(field_model(vortex=0.2))
    made = [
        SimpleNamespace(values=run_unit(task, inputs, data, model, None, lambda _: None))
        for inputs in plan(task, data, 0)
    ]
    whole, part = score(task, made, data)[0], score(task, made[1:], data)[0]
    assert part["net_torque"].values == [None, whole["net_torque"].values[1]]
    kind = KINDS["physicality"]
    rows = [compare("t", kind, name, whole[name], m, whole=False) for name, m in part.items()]
    assert {row.verdict for row in rows if row} == {"identical"}
    assert sum(row is not None for row in rows) > 8


def test_verdicts_name_what_is_beyond_its_limit(tmp_path):
    (tmp_path / "own.yaml").write_text(SUITE.replace("pairs: 1, dimers: [H, C, Si]", "pairs: 0"))
    report = evaluate(field_model(vortex=0.2), str(tmp_path / "own.yaml"), out=tmp_path / "run", quiet=True)
    said = " ".join(KINDS["physicality"].say(report.tasks["p"]))
    assert "beyond its limit: asymmetry of the force Jacobian" in said
    assert "could not be asked" in said


def test_every_limit_is_of_a_metric_and_every_metric_has_one():
    assert set(LIMITS) == {m.name for m in KINDS["physicality"].metrics}


def test_strange_dimers_are_one_line(tmp_path):
    (tmp_path / "own.yaml").write_text(SUITE.replace("Si", "Xx"))
    with pytest.raises(ValueError, match="dimers: Xx is no symbol"):
        load_suite(str(tmp_path / "own.yaml"))


@pytest.mark.slow
def test_gfn2_repels_in_17_of_17_dimers():
    pytest.importorskip("tblite")
    from ffbench_eval.kinds.physicality.work import _dimers

    symbols = load_suite("physicality").tasks[0].parameters.dimers
    assert len(symbols) == 17
    found = _dimers(symbols, guarded(reference_models.load("truth@ethanol_gfn2")))["dimers"]
    assert found == [[1.0, 1.0, 1.0]] * 17


def test_rotations_are_uniform_by_scipy():
    """The mean of uniform rotation matrices is 0: each entry has variance 1/3; six standard errors."""
    q = Rotation.random(20_000, rng=np.random.default_rng(0)).as_matrix()
    assert np.abs(q.mean(0)).max() < 6 / np.sqrt(3 * 20_000)
