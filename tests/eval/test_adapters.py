"""ASE calculators of every habit behind the contract, held against their closed forms; and TorchSim's version."""

import dataclasses
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


class Bulk(Calculator):
    """E = K V0 (V / V0 - 1)^2 / 2 + M : h, with the rows of the cell h and a constant M: stress in closed form."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012
    K, V0, M = 0.7, 50.0, np.arange(9.0).reshape(3, 3) / 9
    voigt = True

    def closed(self, h):
        volume = np.linalg.det(h)
        pull = h.T @ self.M  # dE/d(strain) of the second term, h -> h (1 + strain)
        energy = self.K * self.V0 * (volume / self.V0 - 1) ** 2 / 2 + (self.M * h).sum()
        return energy, self.K * (volume / self.V0 - 1) * np.eye(3) + (pull + pull.T) / 2 / max(volume, 1e-300)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        from ase.stress import full_3x3_to_voigt_6_stress

        super().calculate(atoms, properties, system_changes)
        energy, stress = self.closed(atoms.cell.array)
        stress = full_3x3_to_voigt_6_stress(stress) if self.voigt else stress
        self.results = {"energy": energy, "forces": np.zeros((len(atoms), 3)), "stress": stress}


def strained(model, h, step=1e-5):
    """dE/d(strain) / V [3, 3] by central differences of the model's energies."""
    out = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            bend = np.zeros((3, 3))
            bend[i, j] = bend[j, i] = step * (1 if i == j else 0.5)
            up, down = (model(batch(np.zeros((1, 2, 3)), h @ (np.eye(3) + s * bend))).energy for s in (1, -1))
            out[i, j] = float(up - down) / (2 * step) / np.linalg.det(h)
    return out


SKEW = np.array([[4.0, 0.3, 0.1], [0.5, 3.9, -0.4], [-0.2, 0.7, 4.4]])


@pytest.mark.parametrize("voigt", [True, False])
def test_stress_is_the_derivative_by_strain_in_closed_form(voigt):
    """Stretched, the first term pulls together: positive, as ASE has it."""
    calculator = Bulk()
    calculator.voigt = voigt
    model = from_ase(calculator)
    got = model(batch(np.zeros((1, 2, 3)), SKEW)).stress[0].numpy()
    np.testing.assert_allclose(got, calculator.closed(SKEW)[1], atol=1e-14)
    np.testing.assert_allclose(got, strained(model, SKEW), atol=1e-7)
    calculator.M = np.zeros((3, 3))
    stretched = model(batch(np.zeros((1, 2, 3)), 1.01 * SKEW * (50 / np.linalg.det(SKEW)) ** (1 / 3))).stress[0]
    assert stretched[0, 0] == pytest.approx(0.7 * (1.01**3 - 1))


def test_a_stress_of_another_shape_is_refused():
    class Nine(Bulk):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results["stress"] = np.zeros(9)

    with pytest.raises(ValueError, match=r"stress of shape \(9,\), expected \(3, 3\) or \(6,\)"):
        from_ase(Nine())(batch(np.zeros((1, 2, 3)), SKEW))


class Rich(Tether):
    more: dict = {}  # noqa: RUF012

    def say(self, atoms):
        return {**super().say(atoms), **{k: v(atoms) if callable(v) else v for k, v in self.more.items()}}

    def get_descriptors(self, atoms):
        return np.stack([atoms.positions, 2 * atoms.positions], 1)  # [N, 2, 3]: flattened per atom


SPREAD = np.array([[0.0, 0.3, 0.4], [0.1, 0.0, 0.0], [0.0, 0.0, 0.0], [0.2, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("said", "uncertainty"),
    [
        ({}, None),
        ({"uncertainty": 0.3}, 0.3),
        ({"energy_uncertainty": np.array([0.3])}, 0.3),
        ({"energy_std": 0.3, "forces_std": SPREAD}, 0.3),  # GRACE, fairchem
        ({"energy_var": 0.09}, 0.3),  # MACE
        ({"forces_uncertainty": SPREAD}, 0.5),
        ({"forces_var": SPREAD**2}, 0.5),
        ({"forces_uncertainty": np.array([0.1, 0.7, 0.0, 0.2])}, 0.7),
        ({"uncertainty": None, "energy_std": torch.tensor([[0.3]], requires_grad=True)}, 0.3),
    ],
)
def test_an_uncertainty_is_taken_from_the_results_of_every_package(said, uncertainty):
    calculator = Rich()
    calculator.more = said
    out = from_ase(calculator)(batch(np.ones((2, 4, 3))))
    if uncertainty is None:
        assert out.uncertainty is None
        return
    np.testing.assert_allclose(out.uncertainty.numpy(), [uncertainty] * 2)
    assert from_ase(calculator, uncertainty=False)(batch(np.ones((2, 4, 3)))).uncertainty is None


def test_an_uncertainty_of_each_atom_wants_a_word():
    calculator = Rich()
    calculator.more = {"uncertainty": np.arange(4.0)}
    with pytest.raises(ValueError, match=r"uncertainty of shape \(4,\): one number .* uncertainty=lambda"):
        from_ase(calculator)(batch(np.ones((1, 4, 3))))
    largest = from_ase(calculator, uncertainty=lambda c, atoms: c.results["uncertainty"].max())
    assert largest(batch(np.ones((1, 4, 3)))).uncertainty.tolist() == [3.0]


@pytest.mark.parametrize("name", ["embedding", "descriptors", "node_feats"])
def test_an_embedding_is_taken_from_results_or_a_named_place(name):
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    calculator = Rich()
    calculator.more = {name: lambda atoms: atoms.positions**2}
    out = from_ase(calculator)(batch(x))
    np.testing.assert_allclose(out.embedding.numpy(), (x**2).reshape(8, 3))
    assert from_ase(calculator, embedding=False)(batch(x)).embedding is None
    out = from_ase(calculator, embedding="get_descriptors")(batch(x))
    np.testing.assert_allclose(out.embedding.numpy(), np.concatenate([x, 2 * x], -1).reshape(8, 6))
    out = from_ase(calculator, embedding=lambda c, atoms: c.get_descriptors(atoms)[:, 0])(batch(x))
    np.testing.assert_allclose(out.embedding.numpy(), x.reshape(8, 3))
    with pytest.raises(ValueError, match="embedding='descr': the calculator has no such result or method"):
        from_ase(calculator, embedding="descr")(batch(x))
    calculator.more = {name: np.zeros(8)}
    with pytest.raises(ValueError, match=r"an embedding of shape \(8,\): a row for each of 4 atoms"):
        from_ase(calculator)(batch(x))


def test_a_calculator_that_offers_more_than_it_has_is_asked_for_what_it_has():
    """metatomic's lists every property that ASE knows, and raises at all but energy, forces and stress."""
    from ase.calculators.calculator import PropertyNotImplementedError, all_properties

    class Boaster(Tether):
        implemented_properties = all_properties

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            if not set(properties) <= {"energy", "forces", "stress"}:
                raise PropertyNotImplementedError(f"{properties}")
            super().calculate(atoms, properties, system_changes)

    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    out = from_ase(Boaster())(batch(x))
    np.testing.assert_array_equal(out.forces.numpy().reshape(x.shape), -x)


def test_functions_that_make_calculators_are_models_alone_and_in_a_mapping():
    x = np.random.default_rng(0).normal(size=(1, 4, 3)) * 2
    right = from_ase(LennardJones())(batch(x)).energy
    found, _ = resolve(lambda: LennardJones())
    torch.testing.assert_close(found(batch(x)).energy, right)
    found, _ = resolve({"a": lambda: LennardJones(), "b": lambda: from_ase(LennardJones()), "c": LennardJones})
    for one in found.values():
        torch.testing.assert_close(one(batch(x)).energy, right)
    for wrong in (torch.nn.Linear(3, 1), lambda batch: None, lambda: 3):
        with pytest.raises(ValueError, match=r"expected a ForceField, .* ForceField\(fn, cutoff=...\)"):
            resolve(wrong)
    with pytest.raises(ValueError, match="a mapping of data sets goes to evaluate as it is"):
        from_ase({"water": LennardJones()})


@pytest.fixture
def torch_sim(monkeypatch):
    """TorchSim's state, of the release with charge and spin, as a stand-in: cells as columns."""

    @dataclasses.dataclass
    class SimState:
        positions: torch.Tensor
        masses: torch.Tensor
        cell: torch.Tensor
        pbc: torch.Tensor
        atomic_numbers: torch.Tensor
        charge: torch.Tensor = None
        spin: torch.Tensor = None
        system_idx: torch.Tensor = None

    module = types.SimpleNamespace(SimState=SimState, __version__="0.6.0")
    monkeypatch.setitem(sys.modules, "torch_sim", module)
    return module


class Sim:
    """The bulk of `Bulk` with charge and spin, as a TorchSim model: rows of the cell are columns there."""

    dtype, device, compute_stress, memory_scales_with = torch.float64, torch.device("cpu"), True, "n_atoms"

    def __call__(self, state):
        told = [Bulk().closed(h.mT.numpy()) for h in state.cell]
        energy = torch.tensor([e for e, _ in told]) + 10 * state.charge + state.spin
        return {
            "energy": energy.requires_grad_(),
            "forces": torch.zeros_like(state.positions),
            "stress": torch.tensor(np.array([s for _, s in told])),
            "node_feats": state.positions,
            "energies": None,
        }


def test_a_torchsim_model_gives_stress_embedding_and_knows_charge_and_spin(torch_sim):
    from ffbench_eval import from_torchsim

    model = from_torchsim(Sim(), uses_charge=True, uses_spin=True)
    given = batch(np.random.default_rng(0).normal(size=(2, 2, 3)), SKEW)
    out = model(dataclasses.replace(given, charge=torch.tensor([0, -1]), spin_multiplicity=torch.tensor([1, 2])))
    energy, stress = Bulk().closed(SKEW)
    np.testing.assert_allclose(out.energy.numpy() - energy, [1, -8])
    np.testing.assert_allclose(out.stress.numpy(), [stress, stress], atol=1e-14)
    torch.testing.assert_close(out.embedding, given.positions)
    np.testing.assert_allclose(out.stress[0].numpy(), strained(model, SKEW), atol=1e-7)
    assert model(batch(np.zeros((1, 2, 3)))).stress is None
    found, _ = resolve(Sim())  # as it is
    assert found.name == "Sim"
    with pytest.raises(ValueError, match="does not use the charge"):
        found(dataclasses.replace(given, charge=torch.tensor([0, -1])))
    torch_sim.SimState = types.SimpleNamespace
    with pytest.raises(ValueError, match="states of this TorchSim have no charge"):
        from_torchsim(Sim(), uses_charge=True)


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
