"""What does not change during a simulation, and the state that does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .units import BOLTZMANN


@dataclass(frozen=True)
class System:
    """B replicas of one system of N atoms.

    ``numbers`` [N], ``masses`` [N, 1] amu, ``cell`` [3, 3] Angstrom (fixed; zeros when open), ``pbc`` [3] bool,
    ``temperature`` [B] K (target), ``dof`` degrees of freedom (see `degrees_of_freedom`).
    """

    numbers: Tensor
    masses: Tensor
    cell: Tensor
    pbc: Tensor
    temperature: Tensor
    dof: int

    @property
    def kt(self) -> Tensor:
        """kT [B] in eV."""
        return BOLTZMANN * self.temperature


class State(NamedTuple):
    """Everything an integrator advances, float64: ``positions`` (unwrapped), ``velocities``, ``forces`` [B, N, 3],
    ``energy`` [B] (the model's potential energy, without bias) and ``thermostat`` [B, K]."""

    positions: Tensor
    velocities: Tensor
    forces: Tensor
    energy: Tensor
    thermostat: Tensor


def degrees_of_freedom(n_atoms: int, *, periodic: bool, stochastic: bool) -> int:
    """3N for Langevin; 3N - 3 for periodic and 3N - 6 for open systems when momentum is conserved."""
    if stochastic:
        return 3 * n_atoms
    return 3 * n_atoms - (3 if periodic else min(6, 3 * n_atoms - 1))


def kinetic_energy(velocities: Tensor, masses: Tensor) -> Tensor:
    """Kinetic energy [B] in eV of velocities [B, N, 3]."""
    return 0.5 * (masses * velocities.square()).flatten(1).sum(1)


def kinetic_temperature(state: State, system: System) -> Tensor:
    """Instantaneous temperature [B] in K, 2 K / (dof kB)."""
    return 2 * kinetic_energy(state.velocities, system.masses) / (system.dof * BOLTZMANN)


def draw_velocities(positions: Tensor, system: System, seeds: list[list[int]], *, momentum_free: bool) -> Tensor:
    """Maxwell-Boltzmann velocities [B, N, 3], one seed sequence per replica.

    With ``momentum_free`` the total momentum is removed, and for open systems the angular momentum too, then the
    kinetic energy is set to dof kT / 2 exactly: a frozen-in rotation would otherwise heat or cool the vibrations.
    """
    out = []
    mass = system.masses.cpu().numpy()
    for b, seed in enumerate(seeds):
        kt = float(system.kt[b])
        x = positions[b].cpu().numpy()
        v = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed))).normal(size=x.shape)
        v *= np.sqrt(kt / mass)
        if momentum_free:
            v -= (mass * v).sum(0) / mass.sum()
            if not bool(system.pbc.any()) and len(x) > 2:
                r = x - (mass * x).sum(0) / mass.sum()
                inertia = (mass * (r**2).sum(1, keepdims=True)).sum() * np.eye(3) - (mass * r).T @ r
                v -= np.cross(np.linalg.pinv(inertia) @ (mass * np.cross(r, v)).sum(0), r)
            v *= np.sqrt(system.dof * kt / (mass * v**2).sum())
        out.append(v)
    return torch.from_numpy(np.stack(out)).to(positions)
