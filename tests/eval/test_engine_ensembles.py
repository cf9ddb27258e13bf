"""Canonical checks on a strongly anharmonic crystal, and what the single Nose-Hoover fails."""

import numpy as np
import pytest
import torch
from scipy import stats

from ffbench_data.contract import ForceField
from ffbench_eval.engine.integrators import INTEGRATORS
from ffbench_eval.engine.noise import Noise
from ffbench_eval.engine.rule import Rule
from ffbench_eval.engine.run import Protocol, Start, simulate
from ffbench_eval.engine.system import State, System, draw_velocities, kinetic_energy
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.engine.units import BOLTZMANN, FS

F64 = torch.float64
ATOMS, WALKERS, STIFF, QUARTIC = 8, 96, 2.0, 60.0


def lattice(quartic=QUARTIC):
    """A ring of atoms held to their neighbours by k/2 d^2 + q/4 d^4 in the difference d of displacements."""

    def force(x):
        d = x - x.roll(1, dims=1)
        square = d.square().sum(-1, keepdim=True)
        energy = (0.5 * STIFF * square + 0.25 * quartic * square.square()).sum((1, 2))
        pull = (STIFF + quartic * square) * d
        return energy, pull.roll(-1, dims=1) - pull

    return force


def sample(ensemble, temperatures, steps, skip, every, force, *, dt=2.0, atoms=ATOMS):
    """Energies (potential, kinetic) [2, T, B], degrees of freedom and positions [T, B, N, 3] of one replica per
    temperature."""
    method = INTEGRATORS[ensemble]
    dof = method.dof(atoms, periodic=True)
    system = System(
        torch.full((atoms,), 6),
        torch.full((atoms, 1), 12.0, dtype=F64),
        torch.eye(3, dtype=F64),
        torch.ones(3, dtype=torch.bool),
        torch.as_tensor(temperatures, dtype=F64),
        dof,
    )
    x = torch.zeros(len(temperatures), atoms, 3, dtype=F64)
    v = draw_velocities(x, system, [[11, b] for b in range(len(x))], momentum_free=method.keeps_momentum)
    energy, forces = force(x)
    state = State(x, v, forces, energy, x.new_zeros(len(x), method.thermostat_size))
    noise = Noise(5, list(range(len(x))), atoms, dof=dof, draw=method.draw) if method.draw else None
    rule = Rule(dt=dt * FS, relaxation=20 * FS, friction=0.02 / FS)
    kept, positions = [], []
    for step in range(steps):
        state = method.step(state, system, rule, force, noise(step) if noise else None)
        if step >= skip and step % every == 0:
            kept.append(torch.stack([state.energy, kinetic_energy(state.velocities, system.masses)]))
            positions.append(state.positions)
    return torch.stack(kept, 1).numpy(), dof, torch.stack(positions).numpy()


def slope_between(cold, hot):
    """b in ln p_hot(E) / p_cold(E) = a + b E by maximum likelihood (Shirts, J. Chem. Theory Comput. 9, 909 (2013))."""
    energy = np.concatenate([cold, hot])
    label = np.repeat([0.0, 1.0], [len(cold), len(hot)])
    centre, width = energy.mean(), energy.std()
    design = np.column_stack([np.ones_like(energy), (energy - centre) / width])
    beta = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ beta))
        beta += np.linalg.solve((design.T * (p * (1 - p))) @ design, design.T @ (label - p))
    return beta[1] / width


@pytest.mark.parametrize("ensemble", ["langevin", "bussi", "nose_hoover"])
def test_energies_are_canonical(ensemble):
    cold, hot = 300.0, 360.0
    temperatures = [cold] * WALKERS + [hot] * WALKERS
    (potential, kinetic), dof, _ = sample(ensemble, temperatures, 2400, 400, 50, lattice())
    expected = 1 / (BOLTZMANN * cold) - 1 / (BOLTZMANN * hot)
    a, b = potential[:, :WALKERS].T, potential[:, WALKERS:].T
    whole = slope_between(a.ravel(), b.ravel())
    groups = [np.delete(np.arange(WALKERS), np.arange(g, WALKERS, 12)) for g in range(12)]
    left_out = np.array([slope_between(a[keep].ravel(), b[keep].ravel()) for keep in groups])
    error = np.sqrt(11 / 12 * ((left_out - left_out.mean()) ** 2).sum())  # jackknife over groups of walkers
    p = 2 * stats.t.sf(abs(whole - expected) / error, df=11)
    assert p > 0.01, f"slope {whole:.3f} +- {error:.3f}, expected {expected:.3f} 1/eV"
    assert error < 0.1 * expected  # the check has teeth
    for last, temperature in ((kinetic[-1, :WALKERS], cold), (kinetic[-1, WALKERS:], hot)):
        ideal = stats.gamma(dof / 2, scale=BOLTZMANN * temperature)
        assert stats.kstest(last, ideal.cdf).pvalue > 0.01


def test_single_nose_hoover_is_not_ergodic_on_a_harmonic_crystal():
    """A known fault of the published thermostat: how the energy is shared between modes stays as it started."""
    shares = {}
    for ensemble in ("nose_hoover_single", "langevin"):
        _, _, states = sample(ensemble, [300.0] * 32, 6000, 1000, 10, lattice(quartic=0.0), atoms=2)
        stretch = states[..., 0, :] - states[..., 1, :]  # three vibrations of the same frequency
        energy = STIFF * np.square(stretch).mean(0)
        shares[ensemble] = energy / (0.5 * BOLTZMANN * 300)
    assert abs(shares["langevin"] - 1).max() < 0.5
    assert shares["nose_hoover_single"].min() < 0.1
    assert shares["nose_hoover_single"].max() > 1.8


def test_langevin_samples_the_canonical_temperature_through_simulate(tmp_path):
    def energy(batch):
        x = batch.positions.view(batch.n_systems, -1, 3)
        return lattice()(x)[0]

    model = ForceField.from_energy(energy, None, dtype=F64)
    start = Start(np.zeros((32, 8, 3)), np.full(8, 6), np.full(8, 12.0), np.zeros((3, 3)), np.zeros(3, bool))
    protocol = Protocol(
        "langevin", (120.0,) * 16 + (240.0,) * 16, 2.0, 2.0, 40.0, friction_per_ps=20.0, equilibrate_ps=0.4
    )
    simulate(model, start, protocol, tmp_path, seed=5)
    temperature = np.array([t.temperature for t in read_trajectories(tmp_path)])
    assert temperature[:16].mean() == pytest.approx(120.0, rel=0.03)
    assert temperature[16:].mean() == pytest.approx(240.0, rel=0.03)
    # Kinetic temperature of 3N degrees of freedom: relative variance 2 / 3N.
    assert temperature[:16].var() / temperature[:16].mean() ** 2 == pytest.approx(2 / 24, rel=0.25)


def test_npt_gives_the_ideal_gas_its_volume(tmp_path):
    """p(V) ~ V^N exp(-P V / kT): mean (N + 1) kT / P, relative variance 1 / (N + 1)."""

    def nothing(batch):
        flat = 0 * batch.positions.sum(-1)
        return flat.new_zeros(batch.n_systems).index_add(0, batch.system_index, flat)

    n, bar = 4, 200.0
    volume = (n + 1) * BOLTZMANN * 300 / (bar * 6.241509e-7)
    length = volume ** (1 / 3)
    x = np.random.default_rng(0).random((128, n, 3)) * length
    start = Start(x, np.full(n, 18), np.full(n, 40.0), np.eye(3) * length, np.ones(3, bool))
    protocol = Protocol(
        "npt", 300.0, 20.0, 30.0, 500.0, friction_per_ps=10.0, pressure_bar=bar, compressibility_per_bar=1 / bar,
        barostat_relaxation_fs=400.0, equilibrate_ps=4.0,
    )  # fmt: skip
    simulate(ForceField.from_energy(nothing, None, stress=True, dtype=F64), start, protocol, tmp_path, seed=0)
    v = np.array([t.cell_scale for t in read_trajectories(tmp_path)]) ** 3
    assert v.mean() == pytest.approx(1.0, abs=0.03)
    assert v.var() == pytest.approx(1 / (n + 1), rel=0.1)
