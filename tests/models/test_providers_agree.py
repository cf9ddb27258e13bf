"""Families of other people's packages: our call gives what the package's own way of calling it gives."""

import dataclasses
from pathlib import Path

import pytest
import torch

from benchmarks.providers import WAYS, ours, own_way, structures
from ffbench_data import collate, load_frames
from reference_models import build, configuration
from reference_models.providers import guarded, providers

F64 = torch.float64
SERVED = {family: provider for provider in providers().values() for family in provider.families}


def needed(family):
    provider = SERVED.get(family)
    if provider and not provider.installed:
        pytest.skip(f"{provider.package} is not installed: {provider.get}")
    return provider


@pytest.mark.parametrize("family", WAYS)
def test_same_weights_same_answer(family):
    provider = needed(family)
    model = build(family, elements=(1, 6, 8))
    model.fn.network.neighbors = torch.tensor(8.0, dtype=F64) if hasattr(model.fn.network, "neighbors") else None
    given = structures(3)
    with guarded(provider.name):
        own = own_way(family, model.fn.network)
        theirs = own(given, False)
    mine = ours(model)(given, False)
    torch.testing.assert_close(mine[0].float(), theirs[0].detach().float(), atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(mine[1], theirs[1].detach().float(), atol=2e-5, rtol=2e-4)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("preset", ["small", "paper"])
def test_et_is_torchmd_net_to_the_last_digits(preset, smooth):
    """Float64, where nothing hides: what is left of the difference in float32 (2e-7 to 8e-7 here) is rounding."""
    provider = needed("et")
    model = build({"family": "et", "preset": preset, "smooth": smooth}, elements=(1, 6, 8), dtype=F64)
    network = model.fn.network
    batch = collate(load_frames("ethanol_gfn2", split="test"), indices=range(3))
    with guarded(provider.name):
        from reference_models.providers.et import make

        theirs = make(network.config, derivative=True)
        # Theirs has a neighbour search of its own, ours gets edges: everything else is one set of weights.
        theirs.representation_model.load_state_dict(network.representation.state_dict(), strict=False)
        theirs.output_model.load_state_dict(network.output.state_dict())
        energy, forces = theirs.to(F64)(batch.atomic_numbers, batch.positions.clone(), batch=batch.system_index)
    mine = model(batch)
    torch.testing.assert_close(mine.energy, energy.detach().reshape(-1), atol=1e-13, rtol=0)
    torch.testing.assert_close(mine.forces, forces.detach(), atol=1e-13, rtol=0)
    assert forces.detach().abs().max() > 0.1


def test_botnet_agrees_with_mace_0_3_12():
    """Weights, energies and forces written by mace-torch 0.3.12, the last one that has a BOTNet."""
    from safetensors.torch import load_file

    needed("botnet")
    stored = load_file(Path(__file__).parent / "fixtures" / "botnet.safetensors")
    config = {"family": "botnet", "channels": 4, "layers": 3, "cutoff": 4.0, "radial": 6, "width": 8, "readout": 5}
    model = build(config, elements=(1, 6, 8), dtype=F64)
    network = model.fn.network
    weights = {k.removeprefix("weight."): v for k, v in stored.items() if k.startswith("weight.")}
    assert set(weights) == {name for name, _ in network.named_parameters()}
    network.load_state_dict(weights, strict=False)
    network.neighbors.fill_(7.5)
    out = model(collate(load_frames("ethanol_gfn2", split="test"), indices=range(2)))
    torch.testing.assert_close(out.energy, stored["energy"], atol=1e-9, rtol=0)
    torch.testing.assert_close(out.forces, stored["forces"], atol=1e-9, rtol=0)


# Fu et al. (2023), and the authors' own papers. NequIP has a test of its own.
PUBLISHED = {
    "forcenet": 11.37e6,
    "dimenet": 2.1e6,
    "gemnet_t": 1.89e6,
    "gemnet_dt": 2.31e6,
    "et": 1.34e6,
    "equiformer": 3.5e6,
}


@pytest.mark.parametrize("family", PUBLISHED)
def test_paper_size_has_the_published_number_of_parameters(family):
    needed(family)
    model = build(f"{family}:paper", elements=(1, 6, 8))
    assert model.card["parameters"] == pytest.approx(PUBLISHED[family], rel=0.005)


def nequip_of_2022(layers=5, degree=3, features=32, types=3, radial=8, width=64, depth=2):
    """Parameters of each layer, and of the rest, by the rules of nequip 0.3 to 0.6 with both parities."""
    from e3nn import o3

    sphere = o3.Irreps.spherical_harmonics(degree, p=-1)
    hidden = [o3.Irrep(l, p) for l in range(degree + 1) for p in (-1, 1)]
    x, per_layer = o3.Irreps(f"{features}x0e"), []
    for _ in range(layers):
        reached = {out for _, a in x for _, b in sphere for out in a * b}
        kept = [ir for ir in hidden if ir in reached]
        gates = features * sum(ir.l > 0 for ir in kept)  # every feature that is no scalar has a gate, an even scalar
        conv = o3.Irreps([(features, ir) for ir in kept] + [(gates, o3.Irrep("0e"))]).sort()[0].simplify()
        paths = [(mul, out) for mul, a in x for _, b in sphere for out in a * b if out in conv]
        weights = sum(mul for mul, _ in paths)
        network = radial * width + (depth - 1) * width * width + width * weights
        message = o3.Linear(o3.Irreps(paths).sort()[0].simplify(), conv).weight_numel
        skip = o3.FullyConnectedTensorProduct(x, f"{types}x0e", conv).weight_numel
        per_layer.append(o3.Linear(x, x).weight_numel + network + message + skip)
        x = o3.Irreps([(features, ir) for ir in kept])
    readout = o3.Linear(x, f"{features // 2}x0e").weight_numel + features // 2
    return per_layer, types * features + radial + readout


def test_nequip_has_the_published_number_but_for_what_its_package_no_longer_has():
    """Three middle layers are equal; the last one no longer makes what the energy does not read."""
    needed("nequip")
    before, rest = nequip_of_2022()
    assert sum(before) + rest == 1_053_816  # 1.05 M in Fu et al. (2023)
    network = build("nequip:paper", elements=(1, 6, 8)).fn.network.network
    names = {name: value.numel() for name, value in network.named_parameters()}
    now = [sum(n for name, n in names.items() if f".layer{k}_" in name) for k in range(5)]
    assert now[1:4] == before[1:4]
    assert (before[0] - now[0], before[4] - now[4]) == (27_223, 261_120)
    assert rest - (sum(names.values()) - sum(now)) == 583


def test_the_published_equiformer_jumps_at_its_cutoff_and_ours_does_not():
    needed("equiformer")

    def jump(smooth):
        model = build({"family": "equiformer", "cutoff": 3.0, "smooth": smooth}, dtype=F64)
        batch = collate(load_frames("ethanol_gfn2", split="test"), indices=[0])

        def energy(d):
            from ffbench_data.contract import AtomsBatch

            x = torch.tensor([[0.0, 0, 0], [0, 0, d]], dtype=F64)
            pair = AtomsBatch(x, torch.tensor([6, 8]), torch.zeros(2).long(), batch.cell, batch.pbc)
            return model(pair).energy.item()

        return abs(energy(3.0 - 1e-6) - energy(3.0 + 1e-6))

    assert jump(True) < 1e-8
    assert jump(False) > 1e-3


@pytest.mark.parametrize("family", ["forcenet", "gemnet_dt"])
def test_direct_forces_are_stated(family):
    needed(family)
    assert not build(family, elements=(1, 6, 8)).conservative


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_forcenet_sees_a_bond_stretch(preset):
    """Forces come from distances that differ by hundredths of an Angstrom; a basis that hardly moves cannot learn."""
    from reference_models.forcenet import sines

    config = configuration("forcenet", preset)
    before, after = sines(torch.tensor([[1.10], [1.15]]) / config.cutoff, config.frequencies)
    assert (after - before).abs().max() > 0.5


@pytest.mark.parametrize("family", [*SERVED, "forcenet"])
def test_a_model_can_be_copied(family):
    """The trainer's average and worker processes need it."""
    import copy

    needed(family)
    model = build(family, elements=(1, 6, 8))
    twin = dataclasses.replace(model, fn=copy.deepcopy(model.fn))
    batch = collate(load_frames("ethanol_gfn2", split="test"), indices=[0])
    torch.testing.assert_close(twin(batch).forces, model(batch).forces)


@pytest.mark.parametrize("family", SERVED)
def test_it_answers_on_the_device_it_was_put_on(family):
    from tests.other_device import DEVICE, OtherDevice

    needed(family)
    model = build(family, elements=(1, 6, 8))
    batch = collate(load_frames("ethanol_gfn2", split="test"), indices=[0, 1])
    here = model(batch).forces
    with OtherDevice():
        far = model.to(DEVICE)(batch).forces
        assert far.device == DEVICE
        torch.testing.assert_close(far.to("cpu"), here, atol=1e-5, rtol=1e-4)


def test_weights_per_element_need_the_elements():
    needed("mace")
    with pytest.raises(ValueError, match="elements of MACE must be given"):
        build("mace")
    assert configuration("mace", elements="1,8").elements == (1, 8)


@pytest.mark.parametrize("family", ["nequip", "mace", "gemnet_dt", "botnet", "forcenet", "et"])
def test_it_trains_and_its_checkpoint_reads_back(family, tmp_path):
    """Thirty steps: the loss falls, a second process would read the same model (calibrated numbers included)."""
    needed(family)
    from reference_models import checkpoint
    from reference_models.train import Recipe, train

    data = load_frames("ethanol_gfn2", split="train")
    recipe = Recipe(minutes=5, batch=2, validate_every=15, max_steps=30)
    made = train(
        family, configuration(family), data[:16], data[16:20], folder=tmp_path, recipe=recipe, log=lambda _: None
    )
    again = checkpoint.read(tmp_path / "best.safetensors")
    batch = collate(data, indices=[3])
    torch.testing.assert_close(made(batch).forces, again(batch).forces)
    assert made(batch).forces.abs().max() < 50
