"""What every model family must satisfy, present and future: one parametrised file."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
import torch

import reference_models
from ffbench_data import collate, load_frames
from ffbench_data.contract import AtomsBatch
from ffbench_data.neighbors import with_edges
from reference_models import FAMILIES, build, configuration, controls
from reference_models.providers import providers
from reference_models.scaled import ensemble
from reference_models.transformer import ABLATIONS

F64 = torch.float64
ELEMENTS = (1, 6, 8)
FOREIGN = {family: provider for provider in providers().values() for family in provider.families}
OURS = [name for name in FAMILIES if name not in FOREIGN]


def small(family, **changes):
    return build({"family": family, "cutoff": 4.0, **changes}, elements=ELEMENTS, dtype=F64)


# The transformer without envelope or with the hard graph jumps by design and has no place among the smooth ones.
MAKERS = {
    **{name: lambda name=name: small(name) for name in FAMILIES},
    "transformer_cold": lambda: small("transformer", **ABLATIONS["cold"]),
    "transformer_narrow": lambda: small("transformer", **ABLATIONS["narrow"]),
    "transformer_direct": lambda: small("transformer", **ABLATIONS["direct"]),
    "deeppot_se_two_sided": lambda: small("deeppot_se", one_side=False),
    "ensemble": lambda: ensemble(
        build({"family": "painn", "cutoff": 4.0, "features": 8}, seed=k, dtype=F64) for k in range(3)
    ),
    "lennard_jones": lambda: controls.lennard_jones(cutoff=4.0),
    "morse": lambda: controls.morse(cutoff=4.0),
    "zero": controls.zero,
}


@functools.cache
def made(name):
    """Packages take seconds to import and to build with."""
    return MAKERS[name]()


@pytest.fixture(params=MAKERS)
def model(request):
    provider = FOREIGN.get(request.param)
    if provider and not provider.installed:
        pytest.skip(f"{provider.package} is not installed: {provider.get}")
    if provider:
        return made(request.param)
    return MAKERS[request.param]()


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
    if not getattr(getattr(model.fn, "network", None), "equivariant", True):
        pytest.skip("says itself that it is not rotation-equivariant")
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
    if not model.conservative:
        pytest.skip("says itself that its forces are not the gradient of its energy")
    batch = request.getfixturevalue(which)
    forces = model(batch).forces
    h = 1e-4
    for atom, axis in ((0, 0), (3, 1), (7, 2)):
        ends = []
        for sign in (1, -1):
            x = batch.positions.clone()
            x[atom, axis] += sign * h
            ends.append(model(moved(batch, x)).energy[0])
        assert forces[atom, axis] == pytest.approx(-(ends[0] - ends[1]).item() / (2 * h), abs=2e-6, rel=1e-5)


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
    if model.conservative:
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
    embedding = model(molecule).embedding
    assert embedding is None or embedding.shape[0] == 9
    assert (embedding is None) == (model.name in controls.CONTROLS)


def test_atoms_out_of_reach_of_each_other_have_no_forces(model):
    x = torch.tensor([[0.0, 0, 0], [30.0, 0, 0]], dtype=F64)
    cell = torch.zeros(1, 3, 3, dtype=F64)
    out = model(AtomsBatch(x, torch.tensor([6, 1]), torch.zeros(2, dtype=torch.long), cell, torch.zeros(1, 3) > 0))
    assert torch.isfinite(out.energy).all()
    assert (out.forces == 0).all()


def test_an_atom_sees_its_own_images(model):
    """One atom in a cell smaller than the cutoff is the same crystal as two atoms in the doubled cell."""
    cell = torch.diag(torch.tensor([3.0, 3.2, 3.5], dtype=F64))[None]
    periodic = torch.ones(1, 3) > 0
    one = AtomsBatch(torch.zeros(1, 3, dtype=F64), torch.tensor([8]), torch.tensor([0]), cell, periodic)
    x = torch.tensor([[0.0, 0, 0], [3.0, 0, 0]], dtype=F64)
    double = cell * torch.tensor([2.0, 1.0, 1.0], dtype=F64)[:, None]
    two = AtomsBatch(x, torch.tensor([8, 8]), torch.tensor([0, 0]), double, periodic)
    torch.testing.assert_close(2 * model(one).energy, model(two).energy)


@pytest.mark.parametrize("family", OURS)
def test_the_engine_can_trace_it_and_gets_the_same_answer(family, molecule):
    from ffbench_eval.engine.compiled import trace

    call, positions = as_function(small(family), molecule)
    graph = trace(call, [positions])
    moved = positions + 0.01 * torch.randn(9, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    for traced, eager in zip(graph(moved), call(moved)):
        torch.testing.assert_close(traced, eager)


def as_function(model, batch):
    """(energy and forces as a function of the positions, the positions), on a fixed half list."""
    full = with_edges(batch, model.cutoff)
    half = full.edge_index[:, full.edge_index[0] < full.edge_index[1]]
    batch = dataclasses.replace(full, edge_index=torch.cat([half, half.flip(0)], 1), paired=True)

    def call(x):
        out = model.fn(dataclasses.replace(batch, positions=x))
        return out.energy, out.forces

    return call, batch.positions


def test_a_traced_transformer_says_when_its_slots_are_too_few(molecule):
    from ffbench_eval.engine.compiled import trace

    call, positions = as_function(small("transformer", slots=4), molecule)
    energy, forces = trace(call, [positions])(positions)
    assert energy.isnan().all()
    assert forces.isnan().any()
    assert torch.isfinite(call(positions)[0]).all()


def test_a_traced_transformer_ranks_the_neighbours_of_a_system_and_not_of_the_batch():
    """[A, K, K] places: K of the largest system, whatever else is in the batch."""
    from ffbench_eval.engine.compiled import trace

    model = small("transformer")
    frames = load_frames("ethanol_gfn2", split="test")[:3]
    batch = dataclasses.replace(collate(frames).to(dtype=F64), largest=9)
    call, positions = as_function(model, batch)
    graph = trace(call, [positions])
    shapes = [node.meta["val"].shape for node in graph.graph.nodes if isinstance(node.meta.get("val"), torch.Tensor)]
    assert {s[1] for s in shapes if len(s) == 3 and s[0] == 27 and s[1] == s[2]} == {8}
    torch.testing.assert_close(graph(positions)[0], model(batch).energy, rtol=1e-5, atol=1e-5)


def test_total_energies_keep_their_digits_in_float32():
    model = build("schnet", elements=ELEMENTS)
    model.fn.shift[6] = -1000.0
    frames = load_frames("ethanol_gfn2", split="test")[:1]
    batch = collate(frames)
    exact = build("schnet", elements=ELEMENTS, dtype=F64)
    exact.fn.shift[6] = -1000.0
    assert model(batch).energy.item() == pytest.approx(exact(batch).energy.item(), abs=2e-5)
    assert model(batch).energy.item() < -1900


PUBLISHED = {"schnet": 0.12e6, "deeppot_se": 1.04e6, "painn": 0.6e6}


@pytest.mark.parametrize("family", PUBLISHED)
def test_paper_size_has_the_published_number_of_parameters(family):
    model = build(f"{family}:paper", elements=(1, 8))
    count = sum(p.numel() for p in model.fn.parameters())
    if hasattr(model.fn.network.embedding, "weight"):  # rows of elements that no data set of ours has
        count -= model.fn.network.embedding.weight.numel()
    assert count == pytest.approx(PUBLISHED[family], rel=0.04)


def test_differentiable_graph_does_not_jump_where_the_hard_one_does():
    """The third neighbour overtakes the second, where two are kept."""

    def jump(graph):
        model = small("transformer", graph=graph, neighbours=2, cutoff=6.0)

        def energy(d):
            x = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [0, 1.5, 0], [0, 0, d]], dtype=F64)
            cell = torch.zeros(1, 3, 3, dtype=F64)
            open_ = torch.zeros(1, 3) > 0
            batch = AtomsBatch(x, torch.tensor([6, 1, 8, 1]), torch.zeros(4, dtype=torch.long), cell, open_)
            return model(batch).energy.item()

        return abs(energy(1.5 - 1e-6) - energy(1.5 + 1e-6))

    assert jump("soft") < 1e-6
    assert jump("hard") > 1e-4


def test_ablations_differ_from_the_first_in_one_choice():
    first = vars(configuration("transformer"))
    assert ABLATIONS["smooth"] == {}
    for changes in ABLATIONS.values():
        assert len(changes) <= 1
        assert all(first[k] != v for k, v in changes.items())
    for a, b in itertools.combinations(ABLATIONS.values(), 2):
        assert a != b


def test_without_envelope_an_edge_stops_at_full_weight():
    """Two atoms pull apart through the cutoff."""

    def jump(envelope):
        model = small("transformer", envelope=envelope)

        d = torch.linspace(2.0, 4.1, 4001, dtype=F64)
        x = torch.zeros(len(d), 2, 3, dtype=F64)
        x[:, 1, 2] = d
        cell, pbc = torch.zeros(len(d), 3, 3, dtype=F64), torch.zeros(len(d), 3, dtype=torch.bool)
        index = torch.arange(len(d)).repeat_interleave(2)
        batch = AtomsBatch(x.reshape(-1, 3), torch.tensor([6, 8]).repeat(len(d)), index, cell, pbc)
        return float(model(batch).energy.diff().abs().max())

    assert jump(True) < 5e-3
    assert jump(False) > 5e-2


def test_ensemble_states_its_spread(molecule):
    members = [build({"family": "painn", "features": 8}, seed=k) for k in range(3)]
    out = ensemble(members)(molecule)
    energies = torch.stack([m(molecule).energy for m in members])
    torch.testing.assert_close(out.energy, energies.mean(0))
    torch.testing.assert_close(out.uncertainty, energies.std(0))
    with pytest.raises(ValueError, match="at least two models"):
        ensemble(members[:1])
    with pytest.raises(ValueError, match="share cutoff"):
        ensemble([members[0], build({"family": "painn", "cutoff": 4.0})])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("painnn", "unknown family 'painnn'; did you mean 'painn'"),
        ("painn:large", "unknown preset 'large'"),
        ({"features": 8}, "names no family"),
        ({"family": "painn", "width": 8}, "unknown setting 'width' of painn"),
        ({"family": "transformer", "graph": "fuzzy"}, "graph must be 'soft' or 'hard'"),
        ({"family": "transformer", "features": 10}, "multiple of heads"),
        ("deeppot_se", "set elements"),
        ({"family": "schnet", "layers": "two"}, "settings .* of schnet"),
    ],
)
def test_wrong_configurations_are_told_in_one_line(config, message):
    with pytest.raises(ValueError, match=message) as caught:
        build(config)
    assert "\n" not in str(caught.value)


def test_unknown_elements_are_told(molecule):
    model = build("deeppot_se:small", elements=(1, 8))
    with pytest.raises(ValueError, match=r"elements 6 .* knows 1, 8"):
        model(molecule)


def test_controls_by_name(molecule):
    assert reference_models.load("zero")(molecule).forces.abs().max() == 0
    with pytest.raises(ValueError, match="same for every dataset"):
        reference_models.load("zero@water")
    with pytest.raises(ValueError, match="noise must be positive"):
        controls.noisy_truth("ethanol_gfn2", noise=-1)
    with pytest.raises(ValueError, match="unknown reference potential"):
        reference_models.load("truth@lips")


def test_truth_has_no_error_and_noisy_truth_the_stated_one():
    pytest.importorskip("openmm")
    frames = load_frames("alanine_dipeptide_obc", split="test")[:20]
    batch, labels = collate(frames), torch.from_numpy(frames.forces.astype(float))
    exact = reference_models.load("truth@alanine_dipeptide_obc")
    torch.testing.assert_close(exact(batch).forces, labels, atol=1e-4, rtol=0)
    assert np.abs(exact(batch).energy.numpy() - frames.energy).max() < 1e-4
    noisy = controls.noisy_truth("alanine_dipeptide_obc", noise=0.1)
    error = noisy(batch).forces - labels
    assert error.std().item() == pytest.approx(0.1, rel=0.1)
    torch.testing.assert_close(noisy(batch).forces, noisy(batch).forces, rtol=0, atol=0)
    assert not noisy.conservative
