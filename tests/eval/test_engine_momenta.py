"""Degrees of freedom: linear molecules, single atoms, wires and slabs, by equipartition and by counting."""

import numpy as np
import pytest
import torch

from ffbench_data.contract import ForceField
from ffbench_eval.engine.integrators import INTEGRATORS
from ffbench_eval.engine.internal import internal_temperature
from ffbench_eval.engine.noise import draw_rescaling
from ffbench_eval.engine.run import Protocol, Run, Start, make_system, simulate
from ffbench_eval.engine.system import (
    State,
    conserved_rotations,
    draw_velocities,
    is_straight,
    kinetic_temperature,
    without_momentum,
)
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.engine.units import BOLTZMANN
from tests.eval.engine_systems import F64

OPEN = (np.zeros((3, 3)), np.zeros(3, bool))
LINE = np.array([[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]])
BENT = np.array([[0.76, 0.59, 0], [0, 0, 0], [-0.76, 0.59, 0]])
TURN = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]


def springs(bonds, angles):
    """0.5 K (r - r0)^2 of the bonds (exactly harmonic) and BEND (1 + cos) of straight angles."""

    def stretch(x):
        return sum(0.5 * 5.0 * ((x[:, i] - x[:, j]).norm(dim=-1) - r) ** 2 for i, j, r in bonds)

    def bend(x):
        total = 0 * x[:, 0, 0]
        for i, j, k in angles:
            u, v = x[:, i] - x[:, j], x[:, k] - x[:, j]
            total = total + 4.0 * (1 + (u * v).sum(-1) / u.norm(dim=-1) / v.norm(dim=-1))
        return total

    def energy(batch):
        x = batch.positions.view(batch.n_systems, -1, 3)
        return stretch(x) + bend(x)

    return ForceField.from_energy(energy, None, dtype=F64), stretch, bend


MOLECULES = {
    "CO2": (LINE, [8, 6, 8], [16.0, 12.0, 16.0], [(0, 1, 1.16), (1, 2, 1.16)], [(0, 1, 2)], 2, 2),
    "N2": (np.array([[0, 0, 0], [0, 0, 1.1]]), [7, 7], [14.0, 14.0], [(0, 1, 1.1)], [], 1, 0),
    "H2O": (BENT, [1, 8, 1], [2.0, 16.0, 2.0], [(0, 1, 0.962), (1, 2, 0.962), (0, 2, 1.52)], [], 3, 0),
}


@pytest.mark.parametrize(
    ("name", "ensemble"),
    [("CO2", "nose_hoover"), ("CO2", "bussi"), ("N2", "bussi"), ("N2", "nose_hoover"), ("H2O", "nose_hoover")],
)
def test_every_vibration_has_half_a_kt(name, ensemble, tmp_path):
    """Means of independent replicas: six standard errors and 3 % for the step and what is not harmonic."""
    x, z, m, bonds, angles, stretches, bends = MOLECULES[name]
    model, stretch, bend = springs(bonds, angles)
    replicas = 96
    start = Start(np.repeat((x @ TURN)[None], replicas, 0), np.array(z), np.array(m), *OPEN)
    protocol = Protocol(ensemble, 300.0, 2.0, 3.0, 16.0, relaxation_fs=30.0, equilibrate_ps=0.2)
    simulate(model, start, protocol, tmp_path, seed=1, compile="off")
    found = read_trajectories(tmp_path)
    for term, modes in ((stretch, stretches), (bend, bends)):
        if modes:
            mean = np.array([term(torch.tensor(t.positions).double()).mean().item() for t in found])
            ratio = mean / (modes * BOLTZMANN * 300 / 2)
            assert abs(ratio.mean() - 1) < 6 * ratio.std(ddof=1) / np.sqrt(replicas) + 0.03
            assert ratio.std(ddof=1) / np.sqrt(replicas) < 0.05  # else the line above says nothing
    temperature = np.array([t.temperature.mean() for t in found])
    assert abs(temperature.mean() / 300 - 1) < 6 * temperature.std() / 300 / np.sqrt(replicas) + 0.03


def test_what_is_conserved_is_what_the_symmetry_says():
    rng = np.random.default_rng(0)
    mass, cloud, wire = np.ones((3, 1)), rng.normal(size=(1, 3, 3)), np.array([[3.0, 1.0, 0.5], [0] * 3, [0] * 3])
    on_axis = np.array([[0.0], [1.0], [2.1]]) * wire[0] / 3
    cases = [
        (cloud, OPEN[0], (0, 0, 0), 3, False),
        ((LINE @ TURN)[None], OPEN[0], (0, 0, 0), 2, True),
        ((LINE @ TURN)[None] + 1e-6 * cloud, OPEN[0], (0, 0, 0), 2, True),  # float32 coordinates of a straight one
        (LINE[None, :2], OPEN[0], (0, 0, 0), 2, True),
        (LINE[None, :1], OPEN[0], (0, 0, 0), 0, False),
        (cloud, wire, (1, 0, 0), 1, False),
        (on_axis[None], wire, (1, 0, 0), 0, True),
        (cloud, np.diag([5.0, 5, 0]), (1, 1, 0), 0, False),
        (cloud, 5 * np.eye(3), (1, 1, 1), 0, False),
    ]
    for x, cell, pbc, rotations, straight in cases:
        about = (mass[: x.shape[1]], cell, np.array(pbc, bool))
        assert conserved_rotations(x, *about) == rotations
        assert is_straight(x, *about) == straight
    assert INTEGRATORS["nve"].dof(3, False, 2) == 4
    assert INTEGRATORS["nve"].dof(1, False) == INTEGRATORS["bussi"].dof(1, True) == 0
    assert INTEGRATORS["langevin"].dof(1, False) == 3


def test_a_wire_starts_without_momentum_and_without_spin_about_its_axis():
    rng = np.random.default_rng(1)
    x, v, mass = rng.normal(size=(6, 3)), rng.normal(size=(6, 3)), rng.uniform(1, 20, (6, 1))
    cell = np.array([[0, 0, 0], [0, 0, 0], [2.0, 3.0, 6.0]])
    out = without_momentum(x, v, mass, cell, np.array([False, False, True]), 1)
    axis = cell[2] / 7
    np.testing.assert_allclose((mass * out).sum(0), 0, atol=1e-12)
    r = x - (mass * x).sum(0) / mass.sum()
    assert abs((mass * np.cross(r, out)).sum(0) @ axis) < 1e-12
    changed = v - (mass * v).sum(0) / mass.sum() - out
    np.testing.assert_allclose(changed @ axis, 0, atol=1e-12)  # nothing else was taken away


@pytest.mark.parametrize(
    "ensemble", ["nve", "nose_hoover", "nose_hoover_single", "nose_hoover_mdsim", "bussi", "langevin"]
)
@pytest.mark.parametrize("periodic", [False, True])
def test_a_single_atom_is_no_failure_of_the_model(ensemble, periodic, tmp_path):
    model = ForceField.from_energy(lambda b: 0 * b.positions.view(b.n_systems, -1).sum(1), None, dtype=F64)
    start = Start(np.ones((2, 1, 3)), np.array([18]), np.array([40.0]), 5 * np.eye(3) * periodic, np.full(3, periodic))
    outcome = simulate(model, start, Protocol(ensemble, 300.0, 1.0, 0.05, 5.0), tmp_path, seed=0)
    assert outcome.reason == ["", ""]
    (t, _) = read_trajectories(tmp_path)
    if INTEGRATORS[ensemble].keeps_momentum:
        assert np.isnan(t.temperature).all()  # there is none
        np.testing.assert_array_equal(t.positions, np.ones((10, 1, 3), np.float32))
    else:
        assert (t.temperature > 0).all()


def test_a_chi_squared_number_of_no_degrees_of_freedom_is_zero():
    assert (draw_rescaling(np.random.default_rng(0), 5, 2, 1)[:, 1] == 0).all()


def test_a_straight_start_is_bent_once_and_the_same_in_every_run():
    model = springs([(0, 1, 1.16), (1, 2, 1.16)], [(0, 1, 2)])[0]
    start = Start(np.repeat(LINE[None], 3, 0), np.array([8, 6, 8]), np.array([16.0, 12.0, 16.0]), *OPEN)
    protocol = Protocol("nose_hoover", 300.0, 1.0, 0.1, 10.0)
    one, two = (Run(model, start, protocol, 3) for _ in range(2))
    assert one.system.dof == 4
    a, b = one.bent(one.first_state()), two.bent(two.first_state())
    assert torch.equal(a.positions, b.positions)
    mass = one.system.masses
    momentum = torch.linalg.cross(
        a.positions - (mass * a.positions).sum(1, keepdim=True) / 44, mass * a.velocities
    ).sum(1)
    axis = torch.nn.functional.normalize(a.positions[:, 2] - a.positions[:, 0], dim=-1)
    along = (momentum * axis).sum(-1)
    assert (along.abs() > 1e-4).all()  # of the bending modes
    assert (momentum - along[:, None] * axis).norm(dim=-1).max() < 0.05 * along.abs().max()
    reversed_order = Run(model, start.part(slice(1, 3)), protocol, 3)
    part = reversed_order.bent(reversed_order.first_state())
    torch.testing.assert_close(part.positions, a.positions[1:])


@pytest.mark.parametrize("pbc", [(0, 0, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("straight", [False, True])
def test_the_temperature_of_internal_motion_counts_what_is_conserved(pbc, straight):
    """Velocities without the conserved momenta, at exactly 300 K: both temperatures are 300 K, also in a wire."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 3)) * [0 if straight else 1, 0 if straight else 1, 1]
    pbc = np.array(pbc, bool)
    start = Start(x, np.full(4, 6), np.full(4, 12.0), 8 * np.diag(pbc.astype(float)), pbc)
    system = make_system(start, Protocol("nve", 300.0, 1.0, 1.0, 1.0), INTEGRATORS["nve"], "cpu")
    v = draw_velocities(torch.tensor(x), system, [[1, b] for b in range(2)], momentum_free=True)
    state = State(torch.tensor(x), v, torch.zeros_like(v), v.new_zeros(2), v.new_zeros(2, 0))
    for found in (kinetic_temperature(state, system), internal_temperature(state, system)):
        np.testing.assert_allclose(found.numpy(), 300.0, rtol=1e-9)
