"""As `test_one_definition`, for numbers that need a system of their own; and that no metric is left out."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import ffbench_metrics as fm
import reference_models
from ffbench_data import load_frames
from ffbench_eval.engine.units import KJ_PER_MOL
from ffbench_eval.kinds import KINDS
from ffbench_eval.kinds.dynamics import work as dynamics
from ffbench_eval.kinds.dynamics.on_trajectory import FILE, trusted_time
from ffbench_eval.kinds.experiment import work as experiment
from ffbench_eval.kinds.physicality import METRICS, checks
from ffbench_eval.kinds.physicality import work as physicality
from ffbench_eval.kinds.relative_energy import work as relative_energy
from ffbench_eval.run.data import load_task_data
from ffbench_eval.suite import load_suite
from tests.conftest import ROOT
from tests.eval.dynamics_data import data, task, unit


def test_free_energies_are_those_of_the_hills(tmp_path):
    mini = next(t for t in load_suite("mini").tasks if t.name == "alanine_free_energy")
    made, p = load_task_data(mini), mini.parameters
    start, reference = made.frames[0], made.reference.free_energy
    rng = np.random.default_rng(0)
    hills = np.column_stack([rng.uniform(-np.pi, np.pi, (10, 2)), rng.uniform(0.5, 2, 10) * KJ_PER_MOL])
    x = np.tile(start.positions, (1, round(p.length_ps * 10), 1, 1))
    result = unit(tmp_path / "a", start.atomic_numbers, x, hills=[hills])
    metrics, _ = dynamics.score(mini, [result], made)
    rule = p.metadynamics
    rows = np.column_stack([hills[:, :2], np.full((10, 2), rule.sigma_rad), hills[:, 2] / KJ_PER_MOL])
    f = fm.free_energy_from_hills(rows, temperature=p.temperature_K, bias_factor=rule.bias_factor)
    expected = {"free_energy_error": fm.free_energy_error(f, reference)}
    for kept, name in enumerate(("free_energy_integral_error_phi", "free_energy_integral_error_psi")):
        mine, theirs = (fm.free_energy_marginal(s, axis=kept, temperature=p.temperature_K) for s in (f, reference))
        expected[name] = fm.free_energy_integral_error(mine, theirs)
    for name, value in expected.items():
        assert metrics[name].values == pytest.approx([value], rel=1e-6), name


def test_diffusivity_is_that_of_the_saved_positions(tmp_path):
    """Of both kinds: what the box takes off and the distance from the measured value come on top."""
    walk = np.cumsum(np.random.default_rng(0).normal(size=(600, 40, 3)), axis=0)
    rule = {"needs_ps": 50, "fit_window_ps": [1, 5], "element": "Ar"}
    cell = 40 * np.eye(3)
    made = data(([18] * 40, np.tile(walk[0], (20, 1, 1)), cell), facts={"rdf_limit": 1e9, "diffusivity": rule})
    result = unit(tmp_path / "a", [18] * 40, walk[None], cell=cell)
    metrics, _ = dynamics.score(task(length_ps=60, observables=["diffusivity"]), [result], made)
    expected = fm.diffusivity(walk.astype(np.float32).astype(float), 0.1, fit_window=(1, 5), masses=np.ones(40))
    assert metrics["diffusivity"].values == pytest.approx([expected], rel=1e-5)

    run = dynamics.read_trajectories(tmp_path / "a", replicas=1)
    p = SimpleNamespace(length_ps=60, skip_ps=0, temperature_K=300.0)
    liquid = experiment.measured("water")
    found = experiment._diffusivity(run, [True], made, p, liquid)
    whole = expected + fm.finite_size_correction(300.0, liquid.viscosity_at(300.0), 40.0)
    assert found["diffusivity_corrected"].values == pytest.approx([whole], rel=1e-5)
    error = abs(whole - liquid.diffusivity) / liquid.diffusivity
    assert found["diffusivity_error"].values == pytest.approx([error], rel=1e-5)


def test_the_trusted_time_is_a_restricted_mean(tmp_path):
    """Of three replicas one has wrong forces from its third labelled frame on, one breaks at 4 ps."""
    truth = np.ones((9, 5, 3))
    mine = truth.copy()
    mine[2] += 10.0
    np.savez(tmp_path / FILE, replica=np.repeat([0, 1, 2], 3), time=np.tile([1.0, 2.0, 3.0], 3), mine=np.zeros(9),
             theirs=np.zeros(9), f=mine, f_ref=truth)  # fmt: skip
    found = trusted_time([(tmp_path, 3)], [6.0, 4.0, 6.0], 6.0, limit=1.0)
    assert found.values == [2.0, 4.0, 6.0]
    assert found.value == pytest.approx(fm.restricted_mean([2.0, 4.0, 6.0], [True, True, False], limit=6.0).value)
    assert KINDS["molecular_dynamics"].spec("trusted_time")[0].defined_by == "restricted_mean"


def test_minima_of_curves_are_those_of_splines():
    rng = np.random.default_rng(1)
    scale = [0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0]
    reference = -4 * np.exp(-(((np.array(scale) - 1.03) / 0.3) ** 2))
    facts = {"reactions": [{"curve": "a", "parent": "a", "scale": s} for s in scale]}
    found = reference + rng.normal(0, 0.1, 8)
    metrics = relative_energy._minima(found, reference, np.ones(8, bool), facts)
    gap = np.abs(np.subtract(fm.curve_minimum(scale, found), fm.curve_minimum(scale, reference)))
    assert metrics["minimum_position_error"].value == pytest.approx(gap[0], rel=1e-12)
    assert metrics["minimum_depth_error"].value == pytest.approx(gap[1], rel=1e-12)


def test_every_check_of_a_structure_is_what_its_function_says(monkeypatch):
    """Functions that answer a number of their own: each check of a structure then has that of its spec's function."""
    answer = {
        name: 0.5 + 0.01 * k for k, name in enumerate(sorted({s.defined_by for s in METRICS} & vars(checks).keys()))
    }
    for name, value in answer.items():
        said = (value,) * 3 if name == "repulsion" else value
        monkeypatch.setattr(checks, name, lambda *_args, _said=said, **_how: _said)
    frames = load_frames("ethanol_gfn2", split="test")
    p = physicality.Parameters(structures=1, rotations=2, pairs=1)
    model = reference_models.build({"family": "painn", "features": 8, "layers": 1}, dtype=torch.float64)
    given = SimpleNamespace(parameters=p), {"members": [0]}, SimpleNamespace(frames=frames), model
    values = physicality.run_unit(*given, None, lambda _: None)["checks"]
    expected = {s.name: answer[s.defined_by] for s in METRICS if s.defined_by and not s.name.startswith("dimer_")}
    size = np.abs(checks.Ask(model).one(frames[0])[1]).mean()
    expected["precision_error"] /= size
    assert {k: v for k, v in values.items() if k in expected} == pytest.approx(expected, rel=1e-12)


OTHERS = {"selective": ("test_selective", "test_selective_metrics"), "accuracy": ("test_accuracy_metrics",)}


@pytest.mark.parametrize("kind", KINDS)
def test_no_metric_is_left_untied(kind):
    """Every metric that a function defines is named where values are held against functions; those of physicality and
    of the scans of bonds are taken from their specs and from the function's own fields."""
    files = [*(ROOT / "tests/eval").glob("test_one_definition*.py")]
    files += [ROOT / "tests/eval" / f"{name}.py" for name in OTHERS.get(kind, ())]
    text = "\n".join(f.read_text() for f in files)
    taken = {s.name for s in METRICS} if kind == "physicality" else set(fm.BsctLite._fields)
    for spec in KINDS[kind].metrics:
        if spec.defined_by and spec.name not in taken:
            said = rf"[\"']{spec.name}([\"'.]|_\{{)"
            assert re.search(said, text), f"{spec.name}: held against nothing"
