"""Frequencies: a diatomic of a known spring, ASE's Vibrations as an oracle, and what is missing said."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import constants

import reference_models
from ffbench_data import load_frames
from ffbench_data.contract import ForceField
from ffbench_eval import evaluate, from_ase
from ffbench_eval.kinds.asking import Ask
from ffbench_eval.kinds.frequencies import work
from ffbench_eval.models.guard import guarded
from ffbench_eval.suite import load_suite
from leaderboard.check.recompute import metric_faults, task_faults


def spring(k=40.0, length=1.1):
    """Two atoms on a spring of ``k`` eV/Å^2."""

    def energy(batch):
        x = batch.positions.reshape(-1, 2, 3)
        return 0.5 * k * ((x[:, 0] - x[:, 1]).norm(dim=-1) - length) ** 2

    return ForceField.from_energy(energy, None, dtype=torch.float64, card={"name": "spring"})


def test_a_diatomic_of_a_known_spring():
    from ase import Atoms

    x, found = work.vibrations(Ask(guarded(spring())), Atoms("CO", [[0, 0, 0], [0, 0.3, 1.2]]))
    assert np.linalg.norm(x[1] - x[0]) == pytest.approx(1.1, abs=1e-4)
    mu = 12.011 * 15.999 / (12.011 + 15.999) * constants.atomic_mass
    nu = np.sqrt(40 * constants.eV / constants.angstrom**2 / mu) / (2 * np.pi * constants.c * 100)
    assert found == pytest.approx([nu], rel=1e-4)  # differences of 0.005 Å of a spring that is straight


def test_ase_vibrations_agree(tmp_path):
    """EMT methane by ASE's own finite differences; its six smallest modes are translation and rotation."""
    from ase.build import molecule
    from ase.calculators.emt import EMT
    from ase.vibrations import Vibrations

    x, found = work.vibrations(Ask(guarded(from_ase(EMT()))), molecule("CH4"))
    atoms = molecule("CH4")
    atoms.positions, atoms.calc = x, EMT()
    oracle = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.005)
    oracle.run()
    modes = oracle.get_frequencies()
    signed = np.sort(modes.real - modes.imag)
    expected = np.sort(signed[np.argsort(np.abs(signed))[6:]])
    assert found == pytest.approx(expected, rel=1e-3)


def test_gfn2_against_itself_and_the_experiment():
    """The truth has its own frequencies; those of water lie within 10 % of the harmonic ones of experiment (3832, 1649,
    3943 cm^-1, Benedict, Gailar and Plyler 1956)."""
    pytest.importorskip("tblite")
    task = SimpleNamespace(name="t", dataset="ethanol_gfn2", parameters=work.Parameters(molecules=["H2O"]))
    model = guarded(reference_models.load("truth@ethanol_gfn2"))
    got = work.run_unit(task, {"molecules": ["H2O"]}, None, model, None, lambda _: None)
    assert got["status"] == ["ok"]
    assert got["frequencies"] == pytest.approx(got["reference"], abs=0.5)
    assert got["frequencies"] == pytest.approx([1649, 3832, 3943], rel=0.1)
    assert got["rmsd"] < 1e-3


SUITE = """
name: own
version: 1.0.0
tasks:
  f: {kind: frequencies, dataset: ethanol_gfn2, molecules: [H2O, HCN]}
"""


def test_a_report_follows_from_its_molecules(tmp_path):
    """A Lennard-Jones potential has minima, but none of a molecule; HCN has an element that this one does not know."""
    pytest.importorskip("tblite")
    (tmp_path / "own.yaml").write_text(SUITE)
    lj = reference_models.load("lennard_jones")
    model = ForceField(lj.fn, lj.cutoff, (1, 6, 8), lj.dtype, True, {"name": "lj of H, C, O"})
    report = evaluate(model, str(tmp_path / "own.yaml"), out=tmp_path / "run", quiet=True)
    task = report.tasks["f"]
    assert task.statuses == {"ok": 1, "unsupported": 1}
    assert task.metrics["frequency_mae"].value > 500
    assert task.metrics["frequency_mae"].values[1] is None
    faults = [f for name, m in task.metrics.items() for f in metric_faults(name, m, task)] + list(task_faults(task))
    assert faults == []


def test_without_a_reference_imaginary_modes_are_counted_still(monkeypatch):
    import ffbench_data.potentials

    def missing(name):
        raise ValueError(f"reference({name!r}) needs tblite: pip install 'ffbench[generate]'")

    monkeypatch.setattr(ffbench_data.potentials, "reference", missing)
    task = SimpleNamespace(name="t", dataset="ethanol_gfn2", parameters=work.Parameters(molecules=["CO"]))
    values = work.run_unit(task, {"molecules": ["CO"]}, None, guarded(spring()), None, lambda _: None)
    metrics, _ = work.score(task, [SimpleNamespace(values=values)], None)
    assert metrics["imaginary_modes"].values == [0]
    assert metrics["imaginary_modes"].value == 0
    assert "needs tblite" in metrics["frequency_mae"].not_scored
    assert work.lacks(task).startswith("needs tblite")


def test_a_model_without_a_minimum_is_an_error(tmp_path):
    frames = load_frames("ethanol_gfn2", None, "test")

    def fn(batch):
        return {"energy": torch.zeros(batch.n_systems), "forces": torch.full_like(batch.positions, torch.nan)}

    task = SimpleNamespace(name="t", dataset="nothing", parameters=work.Parameters(frames=1))
    model = guarded(ForceField(fn, None, None, torch.float64, True, {}))
    got = work.run_unit(task, {"molecules": [5]}, SimpleNamespace(frames=frames), model, None, lambda _: None)
    assert got["status"] == ["model_error"]


@pytest.mark.parametrize(("molecules", "said"), [("[Xyz]", "Xyz is not in"), ("[CH3]", "CH3 is an open shell")])
def test_strange_molecules_are_one_line(molecules, said, tmp_path):
    (tmp_path / "own.yaml").write_text(SUITE.replace("[H2O, HCN]", molecules))
    with pytest.raises(ValueError, match=said):
        load_suite(str(tmp_path / "own.yaml"))
