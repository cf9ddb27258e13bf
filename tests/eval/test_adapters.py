"""ASE calculators of every habit behind the contract, held against their closed forms; and TorchSim's version."""

import sys
import types

import numpy as np
import pytest
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ffbench_data import AtomsBatch
from ffbench_eval import from_ase
from ffbench_eval.models.resolve import resolve
from ffbench_metrics import conservativeness


def batch(x, cell=None):
    b, n = x.shape[:2]
    cells = torch.zeros(b, 3, 3).double() if cell is None else torch.tensor(cell).double().expand(b, 3, 3)
    return AtomsBatch(
        torch.tensor(x.reshape(-1, 3)),
        torch.full((b * n,), 29),
        torch.arange(b).repeat_interleave(n),
        cells,
        torch.full((b, 3), cell is not None),
    )


class Tether(Calculator):
    """E = x^2 / 2, F = -x; subclasses differ in manners only."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    calls = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        self.results = self.say(atoms)

    def say(self, atoms):
        return {"energy": 0.5 * (atoms.positions**2).sum(), "forces": -atoms.positions}


class Mover(Tether):
    def say(self, atoms):
        said = super().say(atoms)
        said["forces"] = said["forces"].copy()
        atoms.positions[:] += 7
        atoms.numbers[:] = 1
        return said


class Buffered(Tether):
    kept = np.zeros((4, 3))

    def say(self, atoms):
        self.kept[:] = -atoms.positions
        return {**super().say(atoms), "forces": self.kept}


class One(Tether):
    def say(self, atoms):
        return {**super().say(atoms), "energy": np.array([super().say(atoms)["energy"]])}


class OneByOne(Tether):
    def say(self, atoms):
        return {**super().say(atoms), "energy": np.array([[super().say(atoms)["energy"]]])}


class Graph(Tether):
    def say(self, atoms):
        x = torch.tensor(atoms.positions, requires_grad=True)
        return {"energy": 0.5 * (x**2).sum(), "forces": -x}


class Single(Tether):
    """Computes what is asked and nothing else; ``One`` in ASE's eyes has both."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        Calculator.calculate(self, atoms, properties, system_changes)
        self.calls += 1
        self.results.update({k: v for k, v in self.say(atoms).items() if k == next(iter(properties))})


class Old:
    """A calculator of the kind before `ase.calculators.calculator`."""

    def get_potential_energy(self, atoms=None, force_consistent=False):
        return 0.5 * (atoms.positions**2).sum()

    def get_forces(self, atoms):
        return -atoms.positions


@pytest.mark.parametrize("make", [Tether, Mover, Buffered, One, OneByOne, Graph, Single, Old])
def test_a_calculator_of_any_manners_gives_its_energy_and_forces(make):
    x = np.random.default_rng(0).normal(size=(3, 4, 3))
    given = batch(x.copy())
    calculator = make()
    out = from_ase(calculator)(given)
    np.testing.assert_allclose(out.energy.numpy(), 0.5 * (x**2).sum((1, 2)), rtol=1e-14)
    np.testing.assert_array_equal(out.forces.numpy().reshape(x.shape), -x)
    assert out.energy.dtype == out.forces.dtype == torch.float64
    np.testing.assert_array_equal(given.positions.numpy().reshape(x.shape), x)
    if make not in (Single, Old):
        assert calculator.calls == 3  # one calculation a structure


def test_an_energy_of_two_numbers_is_refused():
    class Two(Tether):
        def say(self, atoms):
            return {**super().say(atoms), "energy": np.ones(2)}

    with pytest.raises(ValueError, match=r"energy of shape \(2,\): one number \(eV\) is expected"):
        from_ase(Two())(batch(np.zeros((1, 4, 3))))


def test_the_force_consistent_energy_is_taken_where_there_is_one():
    """Forces of A(r) = 5 (r - 2)^2; the energy is A + TS/2, as electronic structure codes report it."""

    class Smeared(Calculator):
        implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            d = atoms.positions[1] - atoms.positions[0]
            r = np.linalg.norm(d)
            a, pull = 5 * (r - 2) ** 2, 10 * (r - 2) * d / r
            entropy = 0.4 * np.exp(-((r - 3) ** 2))
            self.results = {"free_energy": a, "energy": a + 0.5 * entropy, "forces": np.array([pull, -pull])}

    x = np.zeros((401, 2, 3))
    x[:, 1, 0] = np.linspace(1.5, 4, 401)
    out = from_ase(Smeared())(batch(x))
    np.testing.assert_allclose(out.energy, 5 * (x[:, 1, 0] - 2) ** 2)
    assert conservativeness(out.energy.numpy(), out.forces.numpy().reshape(x.shape), x) < 1e-12


def test_stress_of_periodic_systems_is_handed_on():
    from ase.build import bulk

    copper = bulk("Cu", cubic=True)
    copper.rattle(0.05, seed=1)
    out = from_ase(EMT())(batch(copper.positions[None], copper.cell.array))
    copper.calc = EMT()
    np.testing.assert_allclose(out.stress[0].numpy(), copper.get_stress(voigt=False), atol=1e-12)
    assert from_ase(EMT())(batch(copper.positions[None])).stress is None


def test_calculators_come_as_instance_class_function_mapping_or_spec(tmp_path):
    x = np.random.default_rng(0).normal(size=(1, 4, 3)) * 2
    right = from_ase(LennardJones())(batch(x)).energy
    file = tmp_path / "mine.py"
    file.write_text("from ase.calculators.lj import LennardJones\nREADY = LennardJones()\n")
    given = [LennardJones(), LennardJones, f"{file}:READY", f"{file}:LennardJones", "ase.calculators.lj:LennardJones"]
    for model in given:
        found, _ = resolve(model)
        torch.testing.assert_close(found(batch(x)).energy, right)
        assert found.name == "LennardJones"
    torch.testing.assert_close(from_ase(lambda: LennardJones())(batch(x)).energy, right)
    found, _ = resolve({"water": LennardJones(), "ethanol_gfn2": LennardJones})
    assert set(found) == {"water", "ethanol_gfn2"}
    torch.testing.assert_close(found["water"](batch(x)).energy, right)
    with pytest.raises(ValueError, match="for 'water': expected a ForceField"):
        resolve({"water": 3})


@pytest.mark.parametrize(("version", "fine"), [("0.5.2", False), ("0.6.0", True), ("0.10", True), ("1.0", True)])
def test_an_old_torchsim_is_named_with_its_version(monkeypatch, version, fine):
    from ffbench_eval.models.torchsim import from_torchsim

    class Model:
        dtype, device = torch.float64, "cpu"

        def __call__(self, state):
            return {}

    monkeypatch.setitem(sys.modules, "torch_sim", types.SimpleNamespace(SimState=object, __version__=version))
    if fine:
        assert from_torchsim(Model()).name == "Model"
        return
    with pytest.raises(ImportError, match=r"TorchSim 0\.5\.2 is too old: 0\.6 or newer"):
        from_torchsim(Model())
