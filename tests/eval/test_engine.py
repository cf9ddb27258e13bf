"""The engine on analytic potentials: conservation, resume, retirement of a failed replica."""

import numpy as np
import pytest
import torch

from ffbench_data.contract import ForceField
from ffbench_eval.engine import run as engine_run
from ffbench_eval.engine.bias import Hills, MetadynamicsRule, dihedral
from ffbench_eval.engine.forces import ModelForces
from ffbench_eval.engine.integrators import INTEGRATORS, Rule, nose_hoover_conserved
from ffbench_eval.engine.run import Protocol, Start, simulate
from ffbench_eval.engine.system import State, System, draw_velocities, kinetic_energy
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.engine.units import FS

F64 = torch.float64


def morse(depth=1.0, width=1.5, length=1.2):
    """All pairs within the cutoff attract each other by a Morse potential, switched off smoothly at 4 Angstrom."""

    def energy(batch):
        d = batch.edge_vectors().norm(dim=-1)
        e = 0.5 * depth * ((1 - torch.exp(-width * (d - length))) ** 2 - 1) * (1 - (d / 4.0) ** 2).clamp(min=0) ** 3
        i = batch.system_index.index_select(0, batch.edge_index[0])
        return d.new_zeros(batch.n_systems).index_add(0, i, e)

    return ForceField.from_energy(energy, cutoff=4.0, dtype=F64, card={"name": "morse"})


def cluster(replicas=3, n=5, seed=0):
    rng = np.random.default_rng(seed)
    shape = np.array([[0, 0, 0], [1.2, 0, 0], [0.6, 1.04, 0], [0.6, 0.35, 0.98], [1.7, 1.0, 0.7]])[:n]
    x = shape + rng.normal(size=(replicas, n, 3)) * 0.02
    return Start(x, np.full(n, 6), np.full(n, 12.0), np.zeros((3, 3)), np.zeros(3, bool))


def crystal(replicas=2):
    """A periodic 2 x 2 x 2 FCC cell whose cell is smaller than twice the cutoff."""
    a = 1.8
    base = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    sites = np.stack(np.meshgrid(*[range(2)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    x = ((sites + base).reshape(-1, 3) * a)[None].repeat(replicas, 0)
    return Start(x, np.full(32, 18), np.full(32, 40.0), np.eye(3) * 2 * a, np.ones(3, bool))


def system_of(start, temperature=300.0, dof=None):
    n = start.positions.shape[1]
    periodic = bool(start.pbc.any())
    return System(
        torch.tensor(start.numbers),
        torch.tensor(start.masses, dtype=F64)[:, None],
        torch.tensor(start.cell),
        torch.tensor(start.pbc),
        torch.full((len(start.positions),), temperature, dtype=F64),
        dof or 3 * n - (3 if periodic else 6),
    )


def started(start, ensemble, temperature=300.0):
    system = system_of(start, temperature)
    force = ModelForces(morse(), system, len(start.positions))
    x = torch.tensor(start.positions)
    v = draw_velocities(x, system, [[1, b] for b in range(len(x))], momentum_free=True)
    energy, forces = force(x)
    size = INTEGRATORS[ensemble].thermostat_size
    return State(x, v, forces, energy, torch.zeros(len(x), size, dtype=F64)), system, force


@pytest.mark.parametrize("start", [cluster(), crystal()], ids=["open", "periodic"])
def test_nve_energy_fluctuation_scales_as_the_square_of_the_time_step(start):
    spread = []
    steps = [0.5, 1.0, 2.0]
    for dt in steps:
        state, system, force = started(start, "nve")
        totals = []
        for _ in range(round(100 / dt)):
            state = INTEGRATORS["nve"].step(state, system, Rule(dt * FS), force, None)
            totals.append(state.energy + kinetic_energy(state.velocities, system.masses))
        spread.append(torch.stack(totals).std(0).mean().item())
    slope = np.polyfit(np.log(steps), np.log(spread), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("start", [cluster(), crystal()], ids=["open", "periodic"])
def test_nose_hoover_conserves_its_quantity_to_second_order_and_momentum_exactly(start):
    spread = []
    for dt in (0.5, 1.0):
        state, system, force = started(start, "nose_hoover")
        rule = Rule(dt=dt * FS, relaxation=30 * FS)
        conserved = []
        for _ in range(round(200 / dt)):
            state = INTEGRATORS["nose_hoover"].step(state, system, rule, force, None)
            conserved.append(nose_hoover_conserved(state, system, rule))
        spread.append(torch.stack(conserved).std(0).mean().item())
    assert spread[1] / spread[0] == pytest.approx(4.0, rel=0.1)
    momentum = (system.masses * state.velocities).sum(1)
    assert momentum.abs().max() < 1e-10
    if not system.pbc.any():
        angular = torch.linalg.cross(state.positions, system.masses * state.velocities).sum(1)
        assert angular.abs().max() < 1e-9


def test_velocities_have_no_momentum_and_the_exact_temperature():
    system = system_of(cluster(replicas=4), 500.0)
    x = torch.tensor(cluster(replicas=4).positions)
    v = draw_velocities(x, system, [[7, b] for b in range(4)], momentum_free=True)
    assert (system.masses * v).sum(1).abs().max() < 1e-12
    assert torch.linalg.cross(x, system.masses * v).sum(1).abs().max() < 1e-10
    torch.testing.assert_close(2 * kinetic_energy(v, system.masses) / system.dof, system.kt)
    assert not torch.equal(v[0], v[1])


@pytest.mark.parametrize("ensemble", ["nve", "nose_hoover", "langevin"])
@pytest.mark.parametrize("start", [cluster(), crystal()], ids=["open", "periodic"])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, monkeypatch, ensemble, start):
    monkeypatch.setattr(engine_run, "CHECKPOINT_STEPS", 20)
    bias = MetadynamicsRule(((0, 1, 2, 3),), 0.01, 0.35, 6.0, 7) if start.pbc.sum() == 0 else None
    protocol = Protocol(ensemble, 300.0, 1.0, 0.09, 5.0, metadynamics=bias)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    expected = simulate(morse(), start, protocol, whole, seed=3)

    class Killed(Exception):
        pass

    def kill(done):
        if done > 0.55:
            raise Killed

    with pytest.raises(Killed):
        simulate(morse(), start, protocol, cut, seed=3, progress=kill)
    resumed = simulate(morse(), start, protocol, cut, seed=3)
    for a, b in zip(read_trajectories(whole), read_trajectories(cut)):
        assert len(a) == 18
        for name in ("positions", "potential_energy", "total_energy", "temperature", "time_ps"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert expected.end_ps == resumed.end_ps
    if bias is not None:
        np.testing.assert_array_equal(np.stack(expected.hills), np.stack(resumed.hills))


def test_a_failed_replica_is_retired_and_the_others_are_untouched(tmp_path):
    start = cluster()
    calls = 0

    def fails(batch):
        nonlocal calls
        calls += 1
        out = morse()(batch)
        if calls > 30:
            energy = out.energy.clone()
            energy[1] = float("nan")
            return {"energy": energy, "forces": out.forces}
        return out

    protocol = Protocol("nose_hoover", 300.0, 1.0, 0.06, 10.0)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    outcome = simulate(ForceField(fails, 4.0, dtype=F64), start, protocol, tmp_path / "a", seed=0)
    simulate(morse(), start, protocol, tmp_path / "b", seed=0)
    assert outcome.reason == ["", "the model's energy is not finite", ""]
    assert outcome.end_ps == [0.06, pytest.approx(0.030), 0.06]
    for b, (one, clean) in enumerate(zip(read_trajectories(tmp_path / "a"), read_trajectories(tmp_path / "b"))):
        if b != 1:
            np.testing.assert_array_equal(one.positions, clean.positions)
        else:
            assert one.time_ps.max() < 0.031


def test_a_broken_bond_retires_the_replica(tmp_path):
    start = cluster()
    protocol = Protocol("nve", 300.0, 1.0, 0.05, 5.0, bonds=((0, 1, 0.2),), bond_tolerance=0.5)
    outcome = simulate(morse(), start, protocol, tmp_path, seed=0)
    assert outcome.reason == ["a bond broke"] * 3
    assert outcome.end_ps == [0.005] * 3


def test_langevin_samples_the_canonical_temperature(tmp_path):
    start = crystal(replicas=4)
    protocol = Protocol("langevin", 120.0, 4.0, 8.0, 40.0, friction_per_ps=20.0, equilibrate_ps=0.4)
    simulate(morse(), start, protocol, tmp_path, seed=5)
    temperatures = np.concatenate([t.temperature for t in read_trajectories(tmp_path)])
    assert temperatures.mean() == pytest.approx(120.0, rel=0.02)
    # Kinetic temperature of 3N degrees of freedom: relative variance 2 / 3N.
    assert temperatures.var() / temperatures.mean() ** 2 == pytest.approx(2 / 96, rel=0.25)


def test_dihedral_gradient_and_bias_force_match_autograd():
    torch.manual_seed(0)
    x = torch.randn(3, 6, 3, dtype=F64, requires_grad=True)
    angle, gradient = dihedral(x, (0, 2, 3, 5))
    (expected,) = torch.autograd.grad(angle.sum(), x)
    torch.testing.assert_close(expected[:, [0, 2, 3, 5]], gradient)
    hills = Hills(MetadynamicsRule(((0, 1, 2, 3), (1, 2, 3, 5)), 0.1, 0.35, 6.0, 1), 3, 8)
    for _ in range(4):
        hills.deposit(torch.randn(3, 6, 3, dtype=F64), torch.full((3,), 0.025, dtype=F64), torch.ones(3) > 0)
    energy, force = hills.energy_and_forces(x)
    (expected,) = torch.autograd.grad(energy.sum(), x)
    torch.testing.assert_close(-expected, force)


def test_skin_list_gives_the_same_forces_as_a_fresh_list():
    start = crystal()
    system = system_of(start)
    kept = ModelForces(morse(), system, 2)
    x = torch.tensor(start.positions)
    torch.manual_seed(0)
    for step in range(8):
        x = x + 0.12 * torch.randn_like(x) + (5.0 if step == 4 else 0.0)
        fresh = ModelForces(morse(), system, 2)
        for a, b in zip(kept(x), fresh(x)):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
