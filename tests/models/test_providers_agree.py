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


# Fu et al. (2023), and the authors' own papers. See docs/providers.md for the two that differ.
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


@pytest.mark.parametrize("family", [*SERVED, "forcenet"])
def test_a_model_can_be_copied(family):
    """The trainer's average and worker processes need it."""
    import copy

    needed(family)
    model = build(family, elements=(1, 6, 8))
    twin = dataclasses.replace(model, fn=copy.deepcopy(model.fn))
    batch = collate(load_frames("ethanol_gfn2", split="test"), indices=[0])
    torch.testing.assert_close(twin(batch).forces, model(batch).forces)


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
        family, configuration(family), data[:16], data[16:20], folder=tmp_path, recipe=recipe, log=lambda line: None
    )
    again = checkpoint.read(tmp_path / "best.safetensors")
    batch = collate(data, indices=[3])
    torch.testing.assert_close(made(batch).forces, again(batch).forces)
    assert made(batch).forces.abs().max() < 50
