"""Analytic systems that the engine tests share."""

import numpy as np
import torch

from ffbench_data.contract import ForceField
from ffbench_eval.engine.forces import ModelForces
from ffbench_eval.engine.integrators import INTEGRATORS
from ffbench_eval.engine.run import Start
from ffbench_eval.engine.system import State, System, draw_velocities

F64 = torch.float64


def morse(depth=1.0, width=1.5, length=1.2, stress=False):
    """All pairs within the cutoff attract each other by a Morse potential, switched off smoothly at 4 Angstrom."""

    def energy(batch):
        d = batch.edge_vectors().norm(dim=-1)
        e = 0.5 * depth * ((1 - torch.exp(-width * (d - length))) ** 2 - 1) * (1 - (d / 4.0) ** 2).clamp(min=0) ** 3
        i = batch.system_index.index_select(0, batch.edge_index[0])
        return d.new_zeros(batch.n_systems).index_add(0, i, e)

    return ForceField.from_energy(energy, cutoff=4.0, dtype=F64, stress=stress, card={"name": "morse"})


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
