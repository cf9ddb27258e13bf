"""What every model family must satisfy, present and future: one parametrised file."""

import dataclasses

import numpy as np
import pytest
import torch

from ffbench_data import collate, load_frames
from ffbench_data.contract import AtomsBatch
from ffbench_data.neighbors import with_edges
from reference_models import FAMILIES, family
from reference_models.scaled import Scaled, force_field

F64 = torch.float64


@pytest.fixture(params=sorted(FAMILIES))
def model(request):
    torch.manual_seed(0)
    config_class, network_class = family(request.param)[:2]
    config = dataclasses.replace(config_class(), cutoff=4.0)
    module = Scaled(network_class(config).double())
    return force_field(module, cutoff=4.0, elements=(1, 6, 8), card={"name": request.param}, dtype=F64)


@pytest.fixture(scope="module")
def molecule():
    return collate(load_frames("ethanol_gfn2", split="test"), indices=[0])


@pytest.fixture(scope="module")
def liquid():
    return collate(load_frames("water", split="test"), indices=[0])


def moved(batch, positions, **changes):
    return dataclasses.replace(batch, positions=positions, **changes)


def turn():
    from scipy.spatial.transform import Rotation

    return torch.tensor(Rotation.random(random_state=1).as_matrix())


def test_energy_is_invariant_and_forces_turn_with_the_molecule(model, molecule):
    r = turn()
    a, b = model(molecule), model(moved(molecule, molecule.positions @ r.T + 3.0))
    torch.testing.assert_close(a.energy, b.energy)
    torch.testing.assert_close(a.forces @ r.T, b.forces, atol=1e-10, rtol=1e-8)


def test_the_order_of_atoms_does_not_matter(model, molecule):
    order = torch.tensor([4, 2, 0, 8, 1, 3, 7, 5, 6])
    shuffled = moved(molecule, molecule.positions[order], atomic_numbers=molecule.atomic_numbers[order])
    a, b = model(molecule), model(shuffled)
    torch.testing.assert_close(a.energy, b.energy)
    torch.testing.assert_close(a.forces[order], b.forces)


def test_a_batch_equals_its_members(model):
    frames = load_frames("ethanol_gfn2", split="test")[:4]
    together = model(collate(frames))
    for k in range(4):
        alone = model(collate(frames, indices=[k]))
        torch.testing.assert_close(together.energy[k], alone.energy[0])
        torch.testing.assert_close(together.forces[9 * k : 9 * k + 9], alone.forces)


@pytest.mark.parametrize("which", ["molecule", "liquid"])
def test_forces_are_minus_the_gradient(model, which, request):
    batch = request.getfixturevalue(which)
    forces = model(batch).forces
    h = 1e-4
    for atom, axis in ((0, 0), (3, 1), (7, 2)):
        ends = []
        for sign in (1, -1):
            x = batch.positions.clone()
            x[atom, axis] += sign * h
            ends.append(model(moved(batch, x)).energy[0])
        assert forces[atom, axis] == pytest.approx(-(ends[0] - ends[1]).item() / (2 * h), abs=2e-6)


def test_nothing_jumps_when_an_atom_crosses_the_cutoff(model):
    def pair(d):
        x = torch.tensor([[0.0, 0, 0], [1.2, 0, 0], [0.4 + d, 0.3, 0]], dtype=F64)
        z = torch.zeros(1, 3, 3, dtype=F64)
        batch = AtomsBatch(x, torch.tensor([6, 8, 1]), torch.zeros(3, dtype=torch.long), z, torch.zeros(1, 3) > 0)
        out = model(batch)
        return torch.cat([out.energy, out.forces.flatten()])

    d = np.sqrt(16 - 0.09) + 0.8  # the third atom leaves the reach of the second
    step = (pair(d - 1e-5) - pair(d + 1e-5)).abs().max()
    assert step < 1e-6


def test_periodic_images_are_equal(model, liquid):
    cell = liquid.cell[0]
    whole = torch.round(torch.randn(len(liquid.positions), 1, dtype=F64, generator=torch.Generator().manual_seed(0)))
    a, b = model(liquid), model(moved(liquid, liquid.positions + whole * cell[0] - whole * cell[2]))
    torch.testing.assert_close(a.energy, b.energy)
    torch.testing.assert_close(a.forces, b.forces, atol=1e-9, rtol=1e-7)
    assert a.forces.sum(0).abs().max() < 1e-9


def test_paired_edges_give_the_same_answer(model, molecule):
    full = with_edges(molecule, 4.0)
    i, j = full.edge_index
    half = i < j
    edges = torch.cat([full.edge_index[:, half], full.edge_index[:, half].flip(0)], 1)
    a, b = model(full), model(dataclasses.replace(full, edge_index=edges, paired=True))
    torch.testing.assert_close(a.energy, b.energy)
    torch.testing.assert_close(a.forces, b.forces)


def test_embedding_is_one_row_per_atom(model, molecule):
    assert model(molecule).embedding.shape[0] == 9
