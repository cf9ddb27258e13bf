"""Thermostats and barostat against distributions known beforehand, by independent walkers.

Every check is a z over walkers, each of which counts once (the mean over its frames), or a Kolmogorov-Smirnov test of
one frame per walker; so neither autocorrelation nor a seed decides. Walkers start from exact samples with velocities of
their own. A z above `Z_LIMIT` = 6 has a chance of 2e-9, on top of a tolerance for the finite step; with a p of 1e-8 for
each Kolmogorov-Smirnov test a test of this file fails by chance less than once in 1e6 runs. Over 24 draws of 64 walkers
each the largest |z| without the tolerance was 3.0, their spread 1. The planted faults below must fail, so that the wide
limits still notice what matters.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats

from ffbench_data.contract import ForceField, Prediction
from ffbench_eval.engine.integrators import INTEGRATORS
from ffbench_eval.engine.rule import Rule
from ffbench_eval.engine.run import Protocol, Start, simulate
from ffbench_eval.engine.system import State, System
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.engine.units import BOLTZMANN

F64 = torch.float64
ATOMS, WALKERS, MASS, QUARTIC, KELVIN = 6, 512, 24.0, 60.0, 300.0
Z_LIMIT, P_LIMIT = 6.0, 1e-8
STEP_TOLERANCE = 0.01  # of a step of 2 fs: (omega dt)^2 / 4 is 0.007 at the largest mean frequency
# Stiffness (eV/A^2) along x, y, z. Equal ones conserve the angular momentum, which a molecule does; unequal ones do
# not, which a crystal does.
STIFF = {"molecule": (2.0, 2.0, 2.0), "crystal": (1.4, 2.0, 2.9)}


def bond_energy(d, stiff):
    """k/2 d^2 + q/4 |d|^4 of bond vectors [..., 3], eV."""
    return 0.5 * (np.array(stiff) * d**2).sum(-1) + 0.25 * QUARTIC * (d**2).sum(-1) ** 2


def polymer(stiff):
    """A chain of atoms whose bond vectors are independent at equilibrium: exactly sampled, yet coupled in motion."""
    k = torch.tensor(stiff, dtype=F64)

    def answer(batch):
        d = batch.positions.view(batch.n_systems, -1, 3).diff(dim=1)
        square = d.square().sum(-1, keepdim=True)
        energy = (0.5 * k * d.square()).sum((1, 2)) + 0.25 * QUARTIC * square.square().sum((1, 2))
        pull = torch.nn.functional.pad((k + QUARTIC * square) * d, (0, 0, 1, 1))
        return Prediction(energy, pull.diff(dim=1).reshape(-1, 3))

    return ForceField(answer, dtype=F64, cutoff=None, card={"name": "polymer"})


def exact(stiff, count, rng, kelvin=KELVIN, *, no_rotation=False):
    """Canonical positions [count, N, 3] by rejection from the harmonic part.

    Where the angular momentum is held at 0 the integral over momenta leaves det(I)^-1/2 as a weight; positions are
    then drawn with that weight from 16 times as many.
    """
    kt, want = BOLTZMANN * kelvin, count * (16 if no_rotation else 1)
    bonds = np.empty((0, 3))
    while len(bonds) < want * (ATOMS - 1):
        d = rng.normal(size=(2 * want * (ATOMS - 1), 3)) * np.sqrt(kt / np.array(stiff))
        bonds = np.concatenate([bonds, d[rng.random(len(d)) < np.exp(-0.25 * QUARTIC * (d**2).sum(1) ** 2 / kt)]])
    d = bonds[: want * (ATOMS - 1)].reshape(want, ATOMS - 1, 3)
    x = np.concatenate([np.zeros((want, 1, 3)), np.cumsum(d, axis=1)], axis=1)
    x -= x.mean(1, keepdims=True)
    if not no_rotation:
        return x
    inertia = np.einsum("bia,bic->bac", x, x)
    weight = np.linalg.det(np.trace(inertia, axis1=1, axis2=2)[:, None, None] * np.eye(3) - inertia) ** -0.5
    return x[rng.choice(want, size=count, p=weight / weight.sum())]


def potential(x, stiff):
    return bond_energy(np.diff(x, axis=1), stiff).sum(1)


def walk(folder, ensemble, kind, *, seed, kelvin=KELVIN, first=None, equilibrate_ps=0.8, length_ps=1.2, fs=2.0):
    """Potential and kinetic energies [W, T] (eV) of independent walkers, through `simulate`."""
    stiff, free = STIFF[kind], INTEGRATORS[ensemble].keeps_momentum
    x = first if first is not None else exact(
        stiff, WALKERS, np.random.default_rng([seed, 1]), no_rotation=kind == "molecule" and free)  # fmt: skip
    cell = np.eye(3) * 100.0 if kind == "crystal" else np.zeros((3, 3))
    start = Start(
        x + 0.5 * cell.diagonal(), np.full(ATOMS, 6), np.full(ATOMS, MASS), cell, np.full(3, kind == "crystal")
    )
    protocol = Protocol(
        ensemble, kelvin, fs, length_ps, 100.0, relaxation_fs=40.0, friction_per_ps=20.0, equilibrate_ps=equilibrate_ps
    )
    simulate(polymer(stiff), start, protocol, folder, seed=seed, compile="off")
    runs = read_trajectories(folder)
    u = np.array([t.potential_energy for t in runs])
    return u, np.array([t.total_energy for t in runs]) - u


def over_walkers(values, expected):
    """z of the mean of [W, T] against a known number: each walker is one sample, the step's tolerance comes off."""
    each = values.mean(1)
    off = max(0.0, abs(each.mean() - expected) - STEP_TOLERANCE * abs(expected))
    return np.sign(each.mean() - expected) * off / (each.std(ddof=1) / len(each) ** 0.5)


def scores(u, k, ensemble, kind):
    """z of the means and variances of potential and kinetic energy, and p of their whole distributions."""
    free, kt = INTEGRATORS[ensemble].keeps_momentum, BOLTZMANN * KELVIN
    dof = 3 * ATOMS - (0 if not free else 3 if kind == "crystal" else 6)
    known = known_energies(kind, free and kind == "molecule")
    return {
        "mean U": over_walkers(u, known.mean()),
        "var U": over_walkers((u - known.mean()) ** 2, known.var()),
        "mean K": over_walkers(k, dof * kt / 2),
        "var K": over_walkers((k - dof * kt / 2) ** 2, dof * kt**2 / 2),
        "p of U": stats.ks_2samp(u[:, -1], known).pvalue,
        "p of K": stats.kstest(k[:, -1], stats.gamma(dof / 2, scale=kt).cdf).pvalue,
    }


def passes(found):
    return all(abs(v) < Z_LIMIT if "p of" not in name else v > P_LIMIT for name, v in found.items())


@cache
def known_energies(kind, no_rotation):
    """Exact canonical potential energies [40,000] (eV)."""
    rng = np.random.default_rng(0)
    return potential(exact(STIFF[kind], 40_000, rng, no_rotation=no_rotation), STIFF[kind])


@pytest.mark.parametrize("kind", STIFF)
@pytest.mark.parametrize("ensemble", ["langevin", "bussi", "nose_hoover"])
def test_energies_are_canonical(ensemble, kind, tmp_path):
    found = scores(*walk(tmp_path, ensemble, kind, seed=5), ensemble, kind)
    assert passes(found), found


def three_too_many(step):
    """Degrees of freedom counted that cannot move; Bussi's are in its second random number."""

    def counted(state, system, rule, force, noise):
        more = noise if noise is None else noise + torch.tensor([0.0, 3.0])
        return step(state, replace(system, dof=system.dof + 3), rule, force, more)

    return counted


def without_spread(step):
    """Rescaling towards kT without noise (Berendsen): the mean is right, the fluctuations are not."""

    def rescale(state, system, rule, force, noise):
        return step(state, system, rule, force, torch.stack([0 * noise[:, 0], 0 * noise[:, 1] + system.dof], 1))

    return rescale


def half_the_noise(step):
    return lambda state, system, rule, force, noise: step(state, system, rule, force, 0.5**0.5 * noise)


@pytest.mark.parametrize(
    ("ensemble", "kelvin", "fault"),
    [
        ("nose_hoover", 339.0, None),  # 13 % too hot
        ("langevin", 339.0, None),
        ("nose_hoover", KELVIN, three_too_many),
        ("bussi", KELVIN, three_too_many),
        ("bussi", KELVIN, without_spread),
        ("langevin", KELVIN, half_the_noise),
    ],
)
def test_planted_faults_are_noticed(ensemble, kelvin, fault, tmp_path, monkeypatch):
    if fault is not None:
        method = INTEGRATORS[ensemble]
        monkeypatch.setitem(INTEGRATORS, ensemble, replace(method, step=fault(method.step)))
    found = scores(*walk(tmp_path, ensemble, "crystal", seed=5, kelvin=kelvin), ensemble, "crystal")
    assert not passes(found), found


def test_every_replica_has_the_temperature_it_was_given(tmp_path):
    rng, half = np.random.default_rng(5), WALKERS // 2
    first = np.concatenate([exact(STIFF["crystal"], half, rng, kelvin) for kelvin in (150.0, 300.0)])
    _, k = walk(tmp_path, "langevin", "crystal", seed=5, kelvin=(150.0,) * half + (300.0,) * half, first=first)
    for part, kelvin in ((k[:half], 150.0), (k[half:], 300.0)):
        assert abs(over_walkers(part, 1.5 * ATOMS * BOLTZMANN * kelvin)) < Z_LIMIT


@pytest.mark.parametrize(("ensemble", "ergodic"), [("nose_hoover_single", False), ("nose_hoover", True)])
def test_one_oscillator_is_sampled_by_the_chain_and_not_by_the_single_thermostat(ensemble, ergodic):
    """The known fault of the published thermostat (Martyna et al., J. Chem. Phys. 97, 2635 (1992)): how far a harmonic
    oscillator swings stays as it started. Starts are a grid: nothing is drawn. Mean energies over 5000 steps of
    omega dt = 0.1 should all be kT / 2; their standard deviation over the starts is 0.2 and 0.06 of that.
    """
    walkers, k, mass, kt = 64, 2.0, 12.0, BOLTZMANN * KELVIN
    method, omega = INTEGRATORS[ensemble], (2 * k / mass) ** 0.5
    x = torch.zeros(walkers, 2, 3, dtype=F64)
    x[:, 0, 0] = 0.5 * (kt / k) ** 0.5 * torch.linspace(0.1, 3.0, walkers, dtype=F64)
    x[:, 1] = -x[:, 0]
    system = System(
        torch.full((2,), 6), torch.full((2, 1), mass, dtype=F64), torch.eye(3, dtype=F64), torch.ones(3) > 0,
        torch.full((walkers,), KELVIN, dtype=F64), 1,
    )  # fmt: skip
    rule = Rule(dt=0.1 / omega, relaxation=1 / omega)

    def force(x):
        d = x[:, 0] - x[:, 1]
        return 0.5 * k * d.square().sum(-1), torch.stack([-k * d, k * d], 1)

    energy, forces = force(x)
    # Every start has the mean kinetic energy; only how far it is stretched differs.
    v = torch.sign(x) * (kt / (2 * mass)) ** 0.5
    state = State(x, v, forces, energy, x.new_zeros(walkers, method.thermostat_size))
    total = torch.zeros(walkers, dtype=F64)
    for _ in range(5000):
        state = method.step(state, system, rule, force, None)
        total += state.energy / 5000
    spread = float((total / (kt / 2)).std())
    assert spread < 0.1 if ergodic else spread > 0.13, spread


def test_npt_gives_the_ideal_gas_its_volume(tmp_path):
    """p(V) ~ V^N exp(-P V / kT): a gamma distribution of N + 1; mean (N + 1) kT / P, relative variance 1 / (N + 1)."""

    def nothing(batch):
        flat = 0 * batch.positions.sum(-1)
        return flat.new_zeros(batch.n_systems).index_add(0, batch.system_index, flat)

    n, bar = 4, 200.0
    volume = (n + 1) * BOLTZMANN * 300 / (bar * 6.241509e-7)
    length = volume ** (1 / 3)
    x = np.random.default_rng(0).random((256, n, 3)) * length
    start = Start(x, np.full(n, 18), np.full(n, 40.0), np.eye(3) * length, np.ones(3, bool))
    protocol = Protocol(
        "npt", 300.0, 20.0, 30.0, 500.0, friction_per_ps=10.0, pressure_bar=bar, compressibility_per_bar=1 / bar,
        barostat_relaxation_fs=400.0, equilibrate_ps=6.0,
    )  # fmt: skip
    simulate(ForceField.from_energy(nothing, None, stress=True, dtype=F64), start, protocol, tmp_path, seed=0)
    v = np.array([t.cell_scale for t in read_trajectories(tmp_path)]) ** 3
    assert abs(over_walkers(v, 1.0)) < Z_LIMIT
    assert abs(over_walkers((v - 1) ** 2, 1 / (n + 1))) < Z_LIMIT
    assert stats.kstest(v[:, -1], stats.gamma(n + 1, scale=1 / (n + 1)).cdf).pvalue > P_LIMIT
    assert (v.mean(1).std() / len(v) ** 0.5) < 0.01  # 6 of these: a pressure wrong by 8 % is noticed
