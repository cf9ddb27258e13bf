"""Published weights behind the contract; each skips with the reason where its package is absent."""

import dataclasses
import math

import pytest
import torch

import reference_models
from ffbench_data import AtomsBatch, collate, load_frames
from ffbench_data.theory import theory
from reference_models.providers import pretrained, published


@pytest.fixture(scope="module", params=sorted(published()))
def model(request):
    try:
        return pretrained(request.param)
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def frames():
    return load_frames("ethanol_gfn2", split="test")[:3]


def test_forces_are_minus_the_gradient(model, frames):
    batch = collate(frames, indices=[0])
    forces = model(batch).forces
    h = 0.01  # float32 networks: a wide step, four points
    for atom, axis in ((0, 0), (3, 1)):

        def energy(k, atom=atom, axis=axis):
            x = batch.positions.clone()
            x[atom, axis] += k * h
            return model(dataclasses.replace(batch, positions=x)).energy[0].item()

        slope = (8 * (energy(1) - energy(-1)) - (energy(2) - energy(-2))) / (12 * h)
        assert forces[atom, axis].item() == pytest.approx(-slope, abs=4e-3)


def test_turned_and_moved_molecules_agree(model, frames):
    from scipy.spatial.transform import Rotation

    batch = collate(frames, indices=[0])
    turn = torch.tensor(Rotation.random(random_state=1).as_matrix())
    a, b = model(batch), model(dataclasses.replace(batch, positions=batch.positions @ turn.T + 3.0))
    torch.testing.assert_close(a.energy.double(), b.energy.double(), atol=2e-4, rtol=0)
    torch.testing.assert_close(a.forces.double() @ turn.T, b.forces.double(), atol=1e-3, rtol=0)


def test_a_batch_equals_its_members(model, frames):
    whole = model(collate(frames))
    for k in range(3):
        one = model(collate(frames, indices=[k]))
        torch.testing.assert_close(whole.energy[k], one.energy[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(whole.forces[9 * k : 9 * k + 9], one.forces, atol=1e-4, rtol=0)
        if one.embedding is not None:
            torch.testing.assert_close(whole.embedding[9 * k : 9 * k + 9], one.embedding, atol=1e-3, rtol=1e-3)


def test_water_does_not_depend_on_the_image(model):
    if model.name in ("sevennet_l3i5", "gfn1", "gfn2"):
        pytest.skip("20 s a call, or minutes")
    batch = collate(load_frames("water", split="test"), indices=[0])
    other = dataclasses.replace(batch, positions=batch.positions + batch.cell[0, 0])
    a, b = model(batch), model(other)
    torch.testing.assert_close(a.forces, b.forces, atol=5e-3, rtol=0)
    assert a.forces.sum(0).abs().max() < 0.02


def test_the_card_says_where_it_comes_from(model):
    fitted = () if model.card["family"] == "xtb" else ("parameters",)
    for key in ("training_data", "theory", "licence", "reference", "version", *fitted):
        assert model.card[key], key
    assert theory(model.card["theory"]) is not None
    assert 1 in model.elements
    assert 6 in model.elements


def own_calculator(name):
    """The package's own way of calling it."""
    from reference_models.providers import guarded

    with guarded(published()[name].provider):
        if name == "so3lr":
            from so3krates_torch.calculator.so3 import SO3LRCalculator

            return SO3LRCalculator(default_dtype="float32", device="cpu")
        if name == "chgnet":
            from chgnet.model import CHGNetCalculator

            return CHGNetCalculator(use_device="cpu")
        if name.startswith("sevennet"):
            from sevenn.calculator import SevenNetCalculator

            if name == "sevennet_mf_0":
                return SevenNetCalculator("7net-mf-0", modal="R2SCAN", device="cpu")
            return SevenNetCalculator({"sevennet_0": "7net-0", "sevennet_l3i5": "7net-l3i5"}[name], device="cpu")
        if name.startswith("gfn"):
            from tblite.ase import TBLite

            return TBLite(method=f"{name.upper()}-xTB", verbosity=0)
        from torchani import neurochem

        from reference_models.providers.ani import folder, info

        monkey = pytest.MonkeyPatch()
        monkey.setenv("TORCHANI_DATA_DIR", str(folder()))
        made = neurochem.load_model_from_info_file(info(name))
        monkey.undo()
        return made.ase()


def test_it_answers_as_the_package_itself(model, frames):
    from ase import Atoms

    atoms = Atoms(frames.atomic_numbers[:9], frames.positions[:9])
    if model.name == "chgnet":
        atoms.set_cell([20.0] * 3)
        atoms.center()
        atoms.pbc = True
    atoms.calc = own_calculator(model.name)
    mine = model(collate(frames, indices=[0]))
    assert mine.energy[0].item() == pytest.approx(atoms.get_potential_energy(), abs=2e-3)
    assert mine.forces.numpy() == pytest.approx(atoms.get_forces(), abs=2e-3)


def test_ani_states_an_uncertainty(frames):
    try:
        model = reference_models.load("ani1x")
    except ValueError as error:
        pytest.skip(str(error))
    answer = model(collate(frames))
    assert (answer.uncertainty > 0).all()
    # Ethanol in wB97X/6-31G(d); the value of the published package, eV.
    assert answer.energy[0].item() == pytest.approx(-4217, abs=2)


def test_ani_1ccx_is_another_model_of_higher_theory(frames):
    """Both were fitted to total energies: those of CCSD(T)/CBS lie 1 eV or more apart from wB97X/6-31G(d)."""
    try:
        one, other = reference_models.load("ani1x"), reference_models.load("ani1ccx")
    except ValueError as error:
        pytest.skip(str(error))
    energy = [m(collate(frames)).energy for m in (one, other)]
    assert (energy[1] - energy[0]).min() > 1
    assert other.card["theory"] == "CCSD(T)/CBS"


def test_gfn2_as_a_model_is_the_truth_of_the_data(frames):
    try:
        model = reference_models.load("gfn2")
    except ValueError as error:
        pytest.skip(str(error))
    answer = model(collate(frames))
    assert answer.energy.numpy() == pytest.approx(frames.energy, abs=1e-6)
    assert answer.forces.numpy() == pytest.approx(frames.forces, abs=1e-5)


def test_gfn_uses_charge_and_spin():
    """Hydronium against tblite's own door. O2: GFN2 has no term of spin, so that what a singlet of two half-filled
    orbitals gains over the triplet is the entropy of its four spin orbitals at 300 K, 4 kT ln 2."""
    try:
        model = reference_models.load("gfn2")
    except ValueError as error:
        pytest.skip(str(error))
    from tblite.interface import Calculator

    x = torch.tensor([[0.0, 0, 0], [0.0, 0.98, 0], [0.85, -0.49, 0], [-0.85, -0.49, 0]], dtype=torch.float64)

    def batch(positions, numbers, charge, spin):
        return AtomsBatch(
            positions=positions,
            atomic_numbers=torch.tensor(numbers),
            system_index=torch.zeros(len(numbers), dtype=torch.long),
            cell=torch.zeros(1, 3, 3, dtype=torch.float64),
            pbc=torch.zeros(1, 3, dtype=torch.bool),
            charge=torch.tensor([charge]),
            spin_multiplicity=torch.tensor([spin]),
        )

    ion = model(batch(x, [8, 1, 1, 1], 1, 1)).energy.item()
    own = Calculator("GFN2-xTB", [8, 1, 1, 1], x.numpy() / 0.529177210903, charge=1.0)
    own.set("verbosity", 0)
    assert ion == pytest.approx(own.singlepoint()["energy"] * 27.211386245988, abs=1e-5)
    o2 = torch.tensor([[0.0, 0, 0], [1.21, 0, 0]], dtype=torch.float64)
    triplet, singlet = (model(batch(o2, [8, 8], 0, spin)).energy.item() for spin in (3, 1))
    assert triplet - singlet == pytest.approx(4 * 8.617333e-5 * 300 * math.log(2), abs=2e-4)


def test_sevennet_mf_0_has_two_theories():
    try:
        model, other = pretrained("sevennet_mf_0"), pretrained("sevennet_mf_0", modal="PBE")
    except ValueError as error:
        pytest.skip(str(error))
    assert (model.card["theory"], other.card["theory"][:3]) == ("r2SCAN", "PBE")
    frame = collate(load_frames("ethanol_gfn2", split="test")[:1])
    assert abs(model(frame).energy.item() - other(frame).energy.item()) > 0.1
    with pytest.raises(ValueError, match="modal must be 'R2SCAN' or 'PBE'"):
        pretrained("sevennet_mf_0", modal="LDA")


def test_an_absent_package_is_named_with_its_command(monkeypatch):
    from reference_models import providers

    monkeypatch.setattr(providers.util, "find_spec", lambda module: None)
    with pytest.raises(ValueError, match="needs the package chgnet, which is not installed: pip install"):
        pretrained("chgnet")


def test_process_state_comes_back_after_a_provider():
    import os

    from reference_models.providers import guarded, providers

    ready = [p.name for p in providers().values() if p.installed]
    if not ready:
        pytest.skip("no provider installed: see `ffbench models list`")
    before, seed = dict(os.environ), torch.initial_seed()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with guarded(ready[0]):
        os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(123)
    assert dict(os.environ) == before
    assert torch.get_default_dtype() == torch.float32
    torch.testing.assert_close(torch.rand(3), expected)
    torch.manual_seed(seed)


@pytest.mark.parametrize("name", sorted(published()))
def test_it_answers_on_the_device_it_was_put_on(name, frames):
    from tests.other_device import DEVICE, OtherDevice

    try:
        model = pretrained(name)
    except ValueError as error:
        pytest.skip(str(error))
    batch = collate(frames, indices=[0, 1])
    here = model(batch).forces
    with OtherDevice():
        far = model.to(DEVICE)(batch).forces
        assert far.device == DEVICE
        torch.testing.assert_close(far.to("cpu"), here, atol=1e-4, rtol=1e-4)
