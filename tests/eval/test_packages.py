"""Batched calls of packages against their own ASE calculators, one structure after the other, with random weights.

MACE, ORB and metatomic (PET) by themselves where they are installed; fairchem, AIMNet2, MatterSim and GRACE by
stand-ins of the same interface, a tether whose energies and forces are known.
"""

import sys
import types
import typing

import numpy as np
import pytest
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.units import GPa

from ffbench_data import AtomsBatch
from ffbench_eval import from_ase
from ffbench_eval.models.packages import KNOWN

SKEW = torch.tensor([[5.0, 0.3, 0.1], [0.5, 4.9, -0.4], [-0.2, 0.7, 5.4]]).double()


def batch(sizes, periodic, charge=None, spin=None):
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    grid = torch.cartesian_prod(*3 * [torch.arange(2.0)])[: max(sizes)].double() * 1.6
    x = torch.cat([grid[:n] for n in sizes])
    x = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(3)).double()
    z = torch.tensor([1, 6, 8])[torch.arange(len(owner)) % 3]
    cells = SKEW.expand(len(sizes), 3, 3) if periodic else torch.zeros(len(sizes), 3, 3).double()
    more = {"charge": charge, "spin_multiplicity": spin}
    more = {k: torch.tensor(v) for k, v in more.items() if v is not None}
    return AtomsBatch(x, z, owner, cells.contiguous(), torch.full((len(sizes), 3), periodic), **more)


def agree(calculator, periodic, tolerance, **uses):
    """The batched road against the serial one, on structures of different sizes."""
    given = batch([5, 8, 2], periodic)
    slow = from_ase(calculator, **uses)(given)
    model = from_ase(calculator, batched=True, **uses)
    fast = model(given)
    assert model.batched
    for name in ("energy", "forces", "stress"):
        one, other = getattr(slow, name), getattr(fast, name)
        assert (one is None) == (other is None), name
        if one is not None:
            torch.testing.assert_close(other.double(), one, atol=tolerance, rtol=tolerance)
    assert float(slow.forces.abs().max()) > 10 * tolerance
    return model, fast


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("members", [1, 2])
def test_mace_answers_a_batch_as_its_calculator_does(periodic, members):
    pytest.importorskip("mace")
    from reference_models.providers import guarded

    with guarded("mace"):
        from e3nn import o3
        from mace import modules
        from mace.calculators import MACECalculator

        torch.set_default_dtype(torch.float64)
        networks = []
        for seed in range(members):
            torch.manual_seed(seed)
            networks.append(modules.ScaleShiftMACE(
                r_max=4.0, num_bessel=4, num_polynomial_cutoff=5, max_ell=2, num_interactions=2, num_elements=3,
                interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
                interaction_cls_first=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
                hidden_irreps=o3.Irreps("8x0e+8x1o"), MLP_irreps=o3.Irreps("8x0e"), gate=torch.nn.functional.silu,
                atomic_energies=np.array([-1.0, -2.0, -3.0]), avg_num_neighbors=6.0, atomic_numbers=[1, 6, 8],
                correlation=2, atomic_inter_scale=[1.0], atomic_inter_shift=[0.0], radial_MLP=[16, 16]))  # fmt: skip
        calculator = MACECalculator(models=networks, device="cpu", default_dtype="float64")
    model, out = agree(calculator, periodic, 1e-9)
    assert model.cutoff == 4.0
    assert model.elements == (1, 6, 8)
    assert out.embedding.shape[0] == 15
    assert (out.uncertainty is None) == (members == 1)
    if members > 1:  # the variance of its own results
        torch.testing.assert_close(out.uncertainty, from_ase(calculator)(batch([5, 8, 2], periodic)).uncertainty)


@pytest.mark.parametrize("periodic", [False, True])
def test_orb_answers_a_batch_as_its_calculator_does(periodic):
    pytest.importorskip("orb_models")
    from orb_models.forcefield import pretrained
    from orb_models.forcefield.atomic_system import SystemConfig
    from orb_models.forcefield.calculator import ORBCalculator

    torch.manual_seed(0)
    network = pretrained.orb_v3_conservative_architecture(
        latent_dim=32, base_mlp_hidden_dim=32, head_mlp_hidden_dim=32, num_message_passing_steps=2, device="cpu",
        has_charge_spin_cond=True, system_config=SystemConfig(radius=6.0, max_num_neighbors=20)
    )  # fmt: skip
    uses = {"uses_charge": True, "uses_spin": True}
    model, out = agree(ORBCalculator(network.eval(), device="cpu"), periodic, 2e-4, **uses)
    ion = model(batch([5, 8, 2], periodic, charge=[1, 0, 0], spin=[2, 1, 1])).energy - out.energy
    assert ion[0].abs() > 1e-3 > ion[1:].abs().max()


@pytest.mark.parametrize("periodic", [False, True])
def test_metatomic_answers_a_batch_as_its_calculator_does(periodic):
    """A tether to the origin as a metatomic model: energies in closed form too."""
    mta = pytest.importorskip("metatomic.torch")
    calculator = pytest.importorskip("metatomic_ase").MetatomicCalculator
    _, out = agree(calculator(metatomic_tether(mta)), periodic, 1e-9)
    given = batch([5, 8, 2], periodic)
    energy = torch.zeros(3).double().index_add(0, given.system_index, 0.5 * (given.positions**2).sum(1))
    torch.testing.assert_close(out.energy, energy)
    with pytest.raises(ValueError, match="hands no charge and spin on"):
        from_ase(calculator(metatomic_tether(mta)), batched=True, uses_charge=True)(batch([2], False, charge=[1]))


def metatomic_tether(mta):
    from metatensor.torch import Labels, TensorBlock, TensorMap

    class Tether(torch.nn.Module):
        def forward(
            self,
            systems: typing.List[mta.System],  # noqa: UP006  # read by torch.jit
            outputs: typing.Dict[str, mta.ModelOutput],  # noqa: UP006
            selected_atoms: typing.Optional[Labels] = None,  # noqa: UP045
        ) -> typing.Dict[str, TensorMap]:  # noqa: UP006
            energies = torch.stack([0.5 * (s.positions**2).sum() for s in systems]).reshape(-1, 1)
            block = TensorBlock(
                energies, Labels("system", torch.arange(len(systems)).reshape(-1, 1)), [], Labels.range("energy", 1)
            )
            return {"energy": TensorMap(Labels.single(), [block])}

    can = mta.ModelCapabilities(
        outputs={"energy": mta.ModelOutput(quantity="energy", unit="eV")}, atomic_types=[1, 6, 8],
        interaction_range=0.0, length_unit="angstrom", supported_devices=["cpu"], dtype="float64",
    )  # fmt: skip
    return mta.AtomisticModel(Tether().eval(), mta.ModelMetadata(), can)


# Stand-ins ------------------------------------------------------------------------------------------------------------


class Tethered(Calculator):
    """E = x^2 / 2 + 10 charge + multiplicity; stress K (V - 100) of the same six numbers for all."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": energy(atoms), "forces": -atoms.positions, "stress": stress(atoms)}


def energy(atoms):
    return 0.5 * (atoms.positions**2).sum() + 10 * atoms.info["charge"] + atoms.info["spin"]


def stress(atoms):
    return 0.01 * (atoms.cell.volume - 100) * np.arange(1.0, 7)


def full(voigt):
    from ase.stress import voigt_6_to_full_3x3_stress

    return voigt_6_to_full_3x3_stress(voigt)


def module(monkeypatch, name, **content):
    for k in range(1, len(name.split(".")) + 1):
        part = ".".join(name.split(".")[:k])
        if part not in sys.modules:
            monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    for key, value in content.items():
        monkeypatch.setattr(sys.modules[name], key, value, raising=False)


class Data:
    def __init__(self, atoms):
        self.atoms = atoms


@pytest.mark.parametrize("periodic", [False, True])
def test_fairchem_is_asked_about_a_collated_batch(monkeypatch, periodic):
    module(monkeypatch, "fairchem.core.datasets.atomic_data", atomicdata_list_to_batch=lambda rows: rows)

    class FAIRChemCalculator(Tethered):
        calls = 0

        def a2g(self, atoms):
            return atoms.copy()

        @property
        def predictor(self):
            return self

        def predict(self, rows):
            self.calls += 1
            return {
                "energy": torch.tensor([energy(a) for a in rows]),
                "forces": torch.cat([torch.tensor(-a.positions) for a in rows]),
                "stress": torch.tensor(np.array([full(stress(a)).reshape(9) for a in rows])),
            }

    calculator = FAIRChemCalculator()
    model, _ = agree(calculator, periodic, 1e-12, uses_charge=True, uses_spin=True)
    assert calculator.calls == 1
    ions = model(batch([2, 2], periodic, charge=[-1, 1], spin=[2, 1])).energy - model(batch([2, 2], periodic)).energy
    assert ions.tolist() == pytest.approx([-9, 10])


def test_aimnet2_is_asked_about_molecules_told_apart_by_their_index():
    class AIMNet2ASE(Tethered):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012
        implemented_species = np.array([1, 6, 8])

        def base_calc(self, data, forces=False):
            assert forces
            x, owner = data["coord"], data["mol_idx"]
            e = torch.zeros(len(data["charge"])).double().index_add(0, owner, 0.5 * (x**2).sum(1))
            return {"energy": e + 10 * data["charge"] + data["mult"], "forces": -x, "charges": x[:, 0]}

        def set_charge(self, value):
            pass

        def set_mult(self, value):
            pass

    model, _ = agree(AIMNet2ASE(), False, 1e-12, uses_charge=True, uses_spin=True)
    assert model.elements == (1, 6, 8)
    ions = model(batch([2, 2], False, charge=[-1, 1], spin=[2, 1])).energy - model(batch([2, 2], False)).energy
    assert ions.tolist() == pytest.approx([-9, 10])
    with pytest.raises(ValueError, match="for molecules: ask about periodic systems with batched=False"):
        model(batch([2], True))


@pytest.mark.parametrize("periodic", [False, True])
def test_mattersim_gives_stresses_in_gigapascal(monkeypatch, periodic):
    asked = {}

    def build_dataloader(atoms, **how):
        asked.update(how)
        return [atoms]

    module(monkeypatch, "mattersim.datasets.utils.build", build_dataloader=build_dataloader)

    class MatterSimCalculator(Tethered):
        args_dict = {"cutoff": 5.0}  # noqa: RUF012

        @property
        def potential(self):
            return self

        def predict_properties(self, loader, include_forces, include_stresses):
            atoms = [a for part in loader for a in part]
            for a in atoms:
                a.info = {"charge": 0, "spin": 1}
            energies, forces = [energy(a) for a in atoms], [-a.positions for a in atoms]
            return energies, forces, [full(stress(a)) / GPa for a in atoms] if include_stresses else []

    agree(MatterSimCalculator(), periodic, 1e-12)
    assert asked == {"cutoff": 5.0, "batch_size": 3, "only_inference": True, "shuffle": False}


def test_grace_joins_structures_and_its_committee_has_an_uncertainty(monkeypatch):
    module(monkeypatch, "tensorflow", convert_to_tensor=np.asarray)

    class Builder:
        def extract_from_ase_atoms(self, atoms):
            return {"x": atoms.positions, "n": len(atoms)}

        def join_to_batch(self, rows):
            owner = np.repeat(np.arange(len(rows)), [r["n"] for r in rows])
            return {"x": np.concatenate([r["x"] for r in rows]), "owner": owner, "unused": 0}

    class Model:
        def __init__(self, stiffness):
            self.stiffness = stiffness

        def compute(self, data):
            assert set(data) == {"x", "owner"}
            each = self.stiffness * 0.5 * (data["x"] ** 2).sum(1)
            said = {"total_energy": np.bincount(data["owner"], each)[:, None], "total_f": -self.stiffness * data["x"]}
            return {k: types.SimpleNamespace(numpy=lambda v=v: v) for k, v in said.items()}

    class TPCalculator(Tethered):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012
        element_map = {"H": 0, "C": 1, "O": 2}  # noqa: RUF012
        data_keys = ("x", "owner")
        data_builders = (Builder(),)
        models = (Model(0.5), Model(1.5))

        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results.pop("stress")
            self.results["energy"] -= 1

    model, out = agree(TPCalculator(), True, 1e-12)
    assert model.elements == (1, 6, 8)
    torch.testing.assert_close(out.uncertainty, 0.5 * out.energy)


def test_a_package_without_a_batched_call_is_told_and_subclasses_count():
    with pytest.raises(ValueError, match="no batched call is known for Tethered; known are MACECalculator"):
        from_ase(Tethered(), batched=True)
    assert set(KNOWN) == {
        "MACECalculator", "ORBCalculator", "FAIRChemCalculator", "AIMNet2ASE", "MetatomicCalculator",
        "MatterSimCalculator", "TPCalculator",
    }  # fmt: skip
