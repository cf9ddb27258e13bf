"""What does not change during a simulation, and the state that does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .units import BOLTZMANN


@dataclass(frozen=True)
class System:
    """B replicas of one system of N atoms.

    ``numbers`` [N], ``masses`` [N, 1] amu, ``cell`` [3, 3] Angstrom (fixed; zeros when open), ``pbc`` [3] bool,
    ``temperature`` [B] K (target), ``dof`` degrees of freedom (see `degrees_of_freedom`), ``rotations`` how many
    components of the angular momentum are conserved and so removed at the start (``None``: found where needed).
    ``charge`` and ``spin_multiplicity`` (2S+1) of each replica.
    """

    numbers: Tensor
    masses: Tensor
    cell: Tensor
    pbc: Tensor
    temperature: Tensor
    dof: int
    rotations: int | None = None
    charge: int = 0
    spin_multiplicity: int = 1

    @property
    def kt(self) -> Tensor:
        """kT [B] in eV."""
        return BOLTZMANN * self.temperature

    @cached_property
    def volume(self) -> Tensor:
        """Volume [] (Angstrom^3) of the starting cell."""
        return torch.linalg.det(self.cell).abs()


class State(NamedTuple):
    """Everything an integrator advances, float64: ``positions`` (unwrapped), ``velocities``, ``forces`` [B, N, 3],
    ``energy`` [B] (the model's potential energy, without bias) and ``thermostat`` [B, K]."""

    positions: Tensor
    velocities: Tensor
    forces: Tensor
    energy: Tensor
    thermostat: Tensor


LINEAR = 1e-5  # share of the largest moment of inertia below which a moment is none: 0.003 A off a line of 1 A


def degrees_of_freedom(n_atoms: int, *, periodic: bool, stochastic: bool, rotations: int | None = None) -> int:
    """3N for Langevin; where momenta are conserved 3N - 3 - ``rotations`` (see `conserved_rotations`; by default none
    when periodic, otherwise those of a molecule that is not linear). A single atom has 0."""
    if stochastic:
        return 3 * n_atoms
    if rotations is None:
        rotations = 0 if periodic else min(3, n_atoms if n_atoms > 1 else 0)
    return 3 * n_atoms - 3 - rotations


def conserved_rotations(positions: np.ndarray, masses: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> int:
    """How many components of the angular momentum are conserved by, and possible in, all replicas [B, N, 3].

    Open: the rank of the inertia tensor, 3, of linear molecules 2, of an atom 0. Periodic along one direction (a
    wire): 1 about it, 0 if all atoms lie on one line along it. Periodic along two or three: none.
    """
    return max(axes.shape[0] for axes in (_rotation_axes(x, masses, cell, pbc)[0] for x in positions))


def is_straight(positions: np.ndarray, masses: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> bool:
    """Whether there are atoms, and all of them lie on one line about which they could rotate otherwise."""
    periodic, n = int(np.sum(pbc)), positions.shape[1]
    if periodic > 1 or n < 2:
        return False
    return conserved_rotations(positions, masses, cell, pbc) < (1 if periodic else 3)


def _rotation_axes(x: np.ndarray, masses: np.ndarray, cell: np.ndarray, pbc: np.ndarray, most: int = 3):
    """(axes [R, 3], moments [R]) of the rotations of one structure, largest moment first, at most ``most``."""
    mass = np.asarray(masses, float).reshape(-1, 1)
    r = x - (mass * x).sum(0) / mass.sum()
    inertia = (mass * (r**2).sum(1, keepdims=True)).sum() * np.eye(3) - (mass * r).T @ r
    periodic = int(np.sum(pbc))
    if periodic > 1:
        return np.zeros((0, 3)), np.zeros(0)
    if periodic == 1:
        axis = cell[np.flatnonzero(pbc)[0]]
        axes = (axis / np.linalg.norm(axis))[None]
        moments = np.array([axes[0] @ inertia @ axes[0]])
        scale = max(np.trace(inertia) / 2, mass.sum())  # one atom off the others by LINEAR of an Angstrom is none
    else:
        moments, columns = np.linalg.eigh(inertia)
        moments, axes = moments[::-1], columns.T[::-1]
        scale = moments[0]
    real = (moments > LINEAR * scale) & (np.arange(len(moments)) < most)
    return axes[real], moments[real]


def without_momentum(
    x: np.ndarray, v: np.ndarray, masses: np.ndarray, cell: np.ndarray, pbc: np.ndarray, rotations: int
) -> np.ndarray:
    """Velocities [N, 3] without the conserved momenta: the total one and ``rotations`` components of the angular one.

    A linear molecule that is bent keeps what it has about its own axis: that is a vibration.
    """
    mass = np.asarray(masses, float).reshape(-1, 1)
    v = v - (mass * v).sum(0) / mass.sum()
    axes, moments = _rotation_axes(x, mass, cell, pbc, rotations)
    r = x - (mass * x).sum(0) / mass.sum()
    angular = axes @ (mass * np.cross(r, v)).sum(0)
    spin = (angular / moments) @ axes
    return v - np.cross(spin, r)


def kinetic_energy(velocities: Tensor, masses: Tensor) -> Tensor:
    """Kinetic energy [B] in eV of velocities [B, N, 3]."""
    return 0.5 * (masses * velocities.square()).flatten(1).sum(1)


def kinetic_temperature(state: State, system: System) -> Tensor:
    """Instantaneous temperature [B] in K, 2 K / (dof kB); NaN where nothing can move (a single atom)."""
    kinetic = kinetic_energy(state.velocities, system.masses)
    return 2 * kinetic / (system.dof * BOLTZMANN) if system.dof else torch.full_like(kinetic, torch.nan)


def draw_velocities(positions: Tensor, system: System, seeds: list[list[int]], *, momentum_free: bool) -> Tensor:
    """Maxwell-Boltzmann velocities [B, N, 3], one seed sequence per replica.

    With ``momentum_free`` the conserved momenta are removed (`without_momentum`), then the kinetic energy is set to
    dof kT / 2 exactly: a frozen-in rotation would otherwise heat or cool the vibrations.
    """
    mass = system.masses.cpu().numpy()
    drawn = []
    for b, seed in enumerate(seeds):
        v = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed))).normal(size=positions[b].shape)
        drawn.append(v * np.sqrt(float(system.kt[b]) / mass))
    velocities = torch.from_numpy(np.stack(drawn)).to(positions)
    return at_temperature(positions, velocities, system) if momentum_free else velocities


def at_temperature(positions: Tensor, velocities: Tensor, system: System, *, exactly: bool = True) -> Tensor:
    """``velocities`` without the conserved momenta, scaled to a kinetic energy of dof kT / 2 if ``exactly``."""
    x, v = (part.cpu().numpy() for part in (positions, velocities))
    mass, cell, pbc = (part.cpu().numpy() for part in (system.masses, system.cell, system.pbc))
    rotations = conserved_rotations(x, mass, cell, pbc) if system.rotations is None else system.rotations
    kt = system.kt.cpu().numpy()
    out = []
    for b in range(len(x)):
        free = without_momentum(x[b], v[b], mass, cell, pbc, rotations)
        if exactly:
            kinetic = 0.5 * (mass * free**2).sum()
            free = free * np.sqrt(0.5 * system.dof * kt[b] / kinetic) if system.dof else np.zeros_like(free)
        out.append(free)
    return torch.from_numpy(np.stack(out)).to(positions)
