"""Slabs, wires, images and the cutoff: one definition for open and periodic systems, static and in dynamics."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from ffbench_data.contract import AtomsBatch, ForceField
from ffbench_data.neighbors import completed_cell, near_origin, with_edges
from ffbench_eval.engine.bias import MetadynamicsRule, Restraint, Restraints, dihedral
from ffbench_eval.engine.forces import SKIN, ModelForces
from ffbench_eval.engine.images import Images
from ffbench_eval.engine.monitors import FrameLimits, FrameMonitors, RdfPair, RdfWatch, SlidingRdf
from ffbench_eval.engine.run import Protocol, Start, simulate
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.engine.watch import new_watch
from ffbench_metrics import pair_distance_counts, rdf_from_counts, unwrap
from tests.eval.engine_systems import F64, crystal, morse, system_of

SKEWED = np.array([[20, 0, 0], [19.0720403, 6.0214, 0], [11.07, 14.64, 7.94]]) / 4


def batch_of(x, cell, pbc):
    x = torch.as_tensor(np.asarray(x, float))
    zeros = torch.zeros(len(x), dtype=torch.int64)
    return AtomsBatch(x, zeros + 18, zeros, torch.as_tensor(np.asarray(cell, float))[None], torch.tensor([pbc]).bool())


def edges_of(x, cell, pbc, cutoff):
    found = with_edges(batch_of(x, cell, pbc), cutoff)
    shift = found.edge_shift if found.edge_shift is not None else torch.zeros(found.edge_index.shape[1], 3)
    return {(*pair, *s) for pair, s in zip(found.edge_index.T.tolist(), shift.long().tolist())}


@pytest.mark.parametrize("pbc", [(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)])
def test_a_pair_at_the_cutoff_is_in_whatever_is_periodic(pbc):
    cell = np.diag(np.where(pbc, 20.0, 0.0))
    assert len(edges_of([[0, 0, 0], [3.0, 0, 0]], cell, pbc, 3.0)) == 2
    assert len(edges_of([[0, 0, 0], [3.0 + 1e-12, 0, 0]], cell, pbc, 3.0)) == 0
    if pbc[0]:
        assert len(edges_of([[0.5, 0, 0], [17.5, 0, 0]], cell, pbc, 3.0)) == 2
        assert len(edges_of([[0.0, 0, 0]], np.diag(np.where(pbc, 3.0, 0.0)), pbc, 3.0)) == 2 * sum(pbc)


@pytest.mark.parametrize("pbc", [(1, 1, 0), (0, 0, 1), (0, 1, 1)])
@pytest.mark.parametrize("far", [1e3, 1e6, 1e12])
def test_an_atom_that_flew_off_an_open_side_has_no_edges_and_costs_nothing(pbc, far):
    x = np.random.default_rng(0).uniform(0, 5, (12, 3))
    away = np.array([0.0 if p else far for p in pbc])
    cell = np.diag(np.where(pbc, 5.0, 0.0))
    near = edges_of(x, cell, pbc, 3.0)
    assert edges_of(np.vstack([x, x[:1] - away]), cell, pbc, 3.0) == near
    if far < 1e9:  # digits are left for a pair that is far off together
        pair = x[0] + np.array([away, away + [0.5, 0.5, 0.5]])
        both = edges_of(np.vstack([x, pair]), cell, pbc, 3.0)
        assert near < both
        assert {e[:2] for e in both - near} <= {(i, j) for i in (12, 13) for j in (12, 13)}
        assert (12, 13, 0, 0, 0) in both


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_atoms_that_are_nowhere_have_no_edges(bad):
    x = np.random.default_rng(0).uniform(0, 5, (8, 3))
    for pbc in itertools.product((0, 1), repeat=3):
        cell = np.diag(np.where(pbc, 5.0, 0.0))
        assert edges_of(np.vstack([x, np.full((1, 3), bad)]), cell, pbc, 3.0) == edges_of(x, cell, pbc, 3.0)


def test_a_cell_that_does_not_span_its_periodic_directions_is_named():
    with pytest.raises(ValueError, match=r"periodic along \[True, True, True\] but its cell .* does not span"):
        edges_of(np.zeros((1, 3)), np.diag([5.0, 5, 0]), (1, 1, 1), 3.0)


def test_completed_cells_are_normal_to_the_periodic_rows():
    cell = torch.tensor(np.stack([SKEWED] * 8))
    pbc = torch.tensor(list(itertools.product((False, True), repeat=3)))
    full = completed_cell(cell, pbc)
    for b, row in enumerate(pbc):
        torch.testing.assert_close(full[b][row], cell[b][row])
        opened = full[b][~row]
        torch.testing.assert_close(opened @ opened.T, torch.eye(len(opened), dtype=F64))
        torch.testing.assert_close(opened @ cell[b][row].T, torch.zeros(len(opened), int(row.sum()), dtype=F64))


@pytest.mark.parametrize("pbc", [(0, 0, 0), (1, 0, 0), (0, 1, 1), (1, 1, 1)])
def test_a_float32_model_does_not_depend_on_where_a_structure_sits(pbc):
    rng = np.random.default_rng(0)
    cell = np.where(np.array(pbc)[:, None], SKEWED * 1.5, 0.0)
    x = rng.uniform(0, 5, (9, 3))
    full = completed_cell(torch.tensor(cell)[None], torch.tensor([pbc]).bool())[0].numpy()
    images = rng.integers(-1000, 1000, (9, 3)) * np.array(pbc)
    moved = x + images @ full + 12345.6 * (1 - np.array(pbc)) @ full
    model = replace(morse(), dtype=torch.float32)
    here, there = (model(batch_of(p, cell, pbc)) for p in (x, moved))
    exact = morse()(batch_of(x, cell, pbc))
    scale = exact.forces.abs().max().item()
    assert (there.forces - here.forces).abs().max() < 2e-5 * scale
    assert (here.forces - exact.forces).abs().max() < 2e-5 * scale
    torch.testing.assert_close(morse()(near_origin(batch_of(x, cell, pbc))).forces, exact.forces)


def test_open_systems_near_the_origin_are_relative_to_their_centroids():
    rng = np.random.default_rng(5)
    sizes = [9, 1, 4]
    x = rng.normal(scale=5, size=(14, 3)) + 1e4
    owner = np.repeat([0, 1, 2], sizes)
    got = near_origin(AtomsBatch(*map(torch.as_tensor, (x, np.ones(14, int), owner, np.zeros((3, 3, 3)),
                                                         np.zeros((3, 3), bool)))))  # fmt: skip
    centred = np.concatenate([part - part.mean(0) for part in np.split(x, np.cumsum(sizes)[:-1])])
    np.testing.assert_allclose(got.positions.numpy(), centred, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("pbc", "row"), [((1, 1, 0), 0.0), ((1, 1, 0), 30.0), ((1, 0, 0), 0.0)], ids=str)
def test_slabs_and_wires_run_and_conserve_their_energy_and_momenta(pbc, row, tmp_path):
    """docs/data.md: the cell is zero along open directions; a dummy row there changes nothing."""
    start = crystal()
    cell = np.diag(np.where(pbc, np.diag(start.cell), row))
    start = replace(start, cell=cell, pbc=np.array(pbc, bool), positions=start.positions + np.array([0, 0, 1e4]))
    protocol = Protocol("nve", 50.0, 0.25, 0.03, 3.0, save_velocities=True)
    outcome = simulate(morse(), start, protocol, tmp_path, seed=0)
    assert outcome.reason == ["", ""]
    assert np.abs(outcome.drift_eV_per_atom).max() < 1e-3  # the surfaces relax fast
    t = read_trajectories(tmp_path)[0]
    assert np.abs(t.velocities.mean(1)).max() < 1e-8  # equal masses
    if sum(pbc) == 1:
        r = t.positions - t.positions.mean(1, keepdims=True)
        assert np.abs(np.cross(r, t.velocities).sum(1)[:, 0]).max() < 1e-4
    x = torch.tensor(start.positions) + 0.1 * torch.randn(2, 32, 3, dtype=F64)
    for made, p in zip(ModelForces(morse(), system_of(start), 2)(x)[1], x.numpy(), strict=True):
        torch.testing.assert_close(made, morse()(batch_of(p, cell, pbc)).forces, rtol=1e-9, atol=1e-9)


def test_two_atoms_that_cross_the_skin_see_each_other_in_time():
    """From cutoff + skin + 0.02 apart, outside the list, each goes 0.6 of the skin towards the other: a list kept
    until one has moved a whole skin would miss the pair."""
    cutoff = 4.0
    cell = np.eye(3) * 30
    start = Start(
        np.array([[[5.0, 5, 5], [5 + cutoff + SKIN + 0.02, 5, 5]]]),
        np.array([6, 6]),
        np.full(2, 12.0),
        cell,
        np.ones(3, bool),
    )
    forces = ModelForces(morse(), system_of(start), 1)
    x = torch.tensor(start.positions)
    assert forces(x)[1].abs().max() == 0
    x[0, 0, 0] += 0.6 * SKIN
    x[0, 1, 0] -= 0.6 * SKIN
    expected = morse()(batch_of(x[0].numpy(), cell, (1, 1, 1))).forces
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(forces(x)[1][0], expected)


@pytest.mark.parametrize("scale", [1.0, 0.9])
def test_two_atoms_that_cross_the_skin_see_each_other_in_time_in_a_cell_that_breathes(scale):
    """As above, under a barostat: in a cell 0.9 times as wide the way left is (skin - 0.111 cutoff) / 2 each."""
    cutoff = 4.0
    cell = torch.eye(3, dtype=F64)[None] * 30
    start = Start(
        np.array([[[5.0, 5, 5], [5 + cutoff + SKIN + 0.02, 5, 5]]]),
        np.array([6, 6]),
        np.full(2, 12.0),
        cell[0].numpy(),
        np.ones(3, bool),
    )
    forces = ModelForces(morse(stress=True), system_of(start), 1)
    x = torch.tensor(start.positions)
    assert forces(x, cell)[1].abs().max() == 0
    way = 1.2 * (SKIN - cutoff * (1 / scale - 1)) / 2
    x[0, 0, 0] += way
    x[0, 1, 0] -= way
    x = x * scale
    expected = morse()(batch_of(x[0].numpy(), cell[0].numpy() * scale, (1, 1, 1))).forces
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(forces(x, cell * scale)[1][0], expected)


@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 0, 1), (0, 1, 0), (0, 0, 0)])
def test_nearest_images_are_the_shortest_of_all(pbc):
    r = np.random.default_rng(0).normal(size=(60, 3)) * 2
    cell = np.where(np.array(pbc)[:, None], SKEWED, 0.0)
    turns = [range(-15, 16) if p else (0,) for p in pbc]
    shifts = np.array(list(itertools.product(*turns)), float)
    all_images = r[:, None] + shifts @ cell
    expected = np.linalg.norm(all_images, axis=-1).min(1)
    found = Images(torch.tensor(cell), torch.tensor(pbc).bool()).nearest(torch.tensor(r))
    np.testing.assert_allclose(found.norm(dim=-1).numpy(), expected, atol=1e-12)


def test_bonds_and_variables_across_the_boundary_are_those_of_the_whole_molecule():
    rng = np.random.default_rng(2)
    whole = torch.tensor(0.5 * rng.normal(size=(2, 4, 3)))
    broken = whole + torch.tensor(rng.integers(-2, 3, (2, 4, 3)) @ (4 * SKEWED))
    images = Images(torch.tensor(4 * SKEWED), torch.ones(3, dtype=torch.bool))
    harmonic = (Restraint((0, 1, 2, 3), 0.3, 2.0), Restraint((1, 3), 1.0, 3.0))
    expected = Restraints(harmonic).energy_and_forces(whole)
    for a, b in zip(expected, Restraints(harmonic, images=images).energy_and_forces(broken), strict=True):
        torch.testing.assert_close(a, b)
    assert not torch.allclose(Restraints(harmonic).energy_and_forces(broken)[0], expected[0])
    assert dihedral(whole, (0, 1, 2, 3))[0].shape == (2,)
    start = Start(broken.numpy(), np.full(4, 6), np.full(4, 12.0), 4 * SKEWED, np.ones(3, bool))
    length = (whole[0, 0] - whole[0, 1]).norm().item()
    monitors = FrameMonitors(FrameLimits(bonds=((0, 1, length),)), system_of(start), broken.clone(), 0.01)
    watch = monitors.check(broken, None, new_watch(2))
    assert watch.alive.tolist() == [True, abs((whole[1, 0] - whole[1, 1]).norm().item() - length) < 0.5]


def test_lengths_are_judged_in_the_breathing_cell_and_displacements_in_the_first():
    """Atoms that only follow the cell have moved nowhere, however many cells away; their bonds are longer."""
    start = crystal()
    far = torch.tensor(start.positions) + 100 * torch.tensor(start.cell).sum(0)
    scale = torch.tensor([1.0, 1.1], dtype=F64)
    length = 1.8 / 2**0.5
    limits = FrameLimits(bonds=((0, 1, length),), bond_tolerance=0.1, displacement_A=0.5)
    watch = FrameMonitors(limits, system_of(start), far, 0.01).check(
        far * scale[:, None, None], None, new_watch(2), scale=scale
    )
    assert watch.alive.tolist() == [True, False]
    assert watch.code.tolist() == [0, 5]


def test_a_pair_without_two_atoms_is_no_criterion():
    watch = RdfWatch((RdfPair((3,), (3,), (1.0,) * 5),), 1.0)
    with pytest.raises(ValueError, match=r"pair 0 .* no two different atoms"):
        SlidingRdf(watch, system_of(crystal()), 2, 0.01)


@pytest.mark.parametrize(
    "what",
    [
        {"restraints": (Restraint((0, 1), 1.0, 1.0),)},
        {"metadynamics": MetadynamicsRule((), 0.1, 0.3, 6.0, 1, distances=((0, 1),))},
        {"rdf": RdfWatch((RdfPair((0,), (1,), (1.0,)),), 1.0)},
    ],
    ids=lambda what: next(iter(what)),
)
def test_what_takes_the_cell_as_fixed_is_refused_where_it_breathes(what, tmp_path):
    model = ForceField.from_energy(morse().fn.energy_fn, cutoff=4.0, dtype=F64, stress=True)
    with pytest.raises(ValueError, match=f"'npt' cannot have {next(iter(what))}"):
        simulate(model, crystal(), Protocol("npt", 300.0, 1.0, 0.01, 1.0, **what), tmp_path, seed=0)


def test_a_random_walk_in_a_breathing_cell_keeps_its_diffusion():
    """Steps of known length in a box of 1 % fluctuations, wrapped and as the engine stores them (whole cells scaled):
    <dx^2>(lag 1) = 6 D dt, here 1.38; scaling the crossed cells adds several times that."""
    rng = np.random.default_rng(0)
    frames, walkers, box, step = 4000, 64, 12.4, np.sqrt(1.38 / 3)
    scale = 1 + 0.01 * rng.normal(size=frames)
    cells = np.eye(3) * box * scale[:, None, None]
    steps = rng.normal(size=(frames, walkers, 3)) * step / box
    fractional = rng.uniform(size=(walkers, 3)) + np.cumsum(steps, 0)
    scaled = fractional * box * scale[:, None, None]
    wrapped = fractional % 1.0 * box * scale[:, None, None]
    late = slice(frames // 2, None)

    def jumps(x):
        return np.square(np.diff(x[late], axis=0)).sum(-1).mean()

    inner = 2 * 3 * (0.01 * box) ** 2 / 3 + 0.02  # wrapped places (0 to L) follow the box: at most L^2 / 3 of its noise
    assert jumps(scaled) > 2
    for given in (wrapped, scaled):
        found = unwrap(given, cells)
        assert 1.36 < jumps(found) < 1.40 + inner
        np.testing.assert_allclose(found[0], given[0])
    np.testing.assert_allclose(unwrap(wrapped, cells) - wrapped[0], unwrap(scaled, cells) - scaled[0], atol=1e-8)
    fixed = np.repeat(np.eye(3)[None] * box, frames, 0)
    one = fractional % 1.0 * box
    np.testing.assert_allclose(unwrap(one, fixed), unwrap(one, fixed[0]), atol=1e-8)


def test_a_stored_npt_trajectory_names_its_cells(tmp_path):
    model = ForceField.from_energy(morse().fn.energy_fn, cutoff=4.0, dtype=F64, stress=True)
    simulate(model, crystal(), Protocol("npt", 30.0, 1.0, 0.02, 5.0, compressibility_per_bar=1e-8), tmp_path, seed=0)
    t = read_trajectories(tmp_path)[1]
    assert t.cells.shape == (4, 3, 3)
    np.testing.assert_allclose(t.cells[:, 0, 0], 3.6 * t.cell_scale)
    still = unwrap(t.positions, t.cells)
    assert np.abs(still - t.positions).max() < 0.3


def test_the_engines_g_of_r_is_that_of_the_metrics_also_in_a_cell_smaller_than_its_reach():
    """Copper's cubic cell of 3.6 Å: an atom has 6 images of its own at 3.6 and 12 at 5.09 Å, which are no pairs, and
    distances that lie on the edges of bins."""
    cell = 3.6 * np.eye(3)
    x = 1.8 * np.array([[[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1.0]]])
    start = Start(x, np.full(4, 29), np.full(4, 63.5), cell, np.ones(3, bool))
    bins, r_max = 20, 3.6 * np.sqrt(2)
    for a, b in (((0, 1, 2, 3), (0, 1, 2, 3)), ((0, 1), (2, 3))):
        same = a == b
        counts = pair_distance_counts(x, cell, index_a=a, index_b=None if same else b, r_max=r_max, bins=bins)
        _, g = rdf_from_counts(counts[0], 1, volume=3.6**3, pairs=6 if same else 4, r_max=r_max)
        assert g.sum() > 0
        watch = RdfWatch((RdfPair(a, b, tuple(g.tolist())),), 1.0, 0.01, r_max)
        error = SlidingRdf(watch, system_of(start), 1, 0.01).add(torch.tensor(x), torch.ones(1, dtype=torch.bool))
        assert float(error) == pytest.approx(0, abs=1e-9)
