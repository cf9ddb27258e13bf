"""Integrators as pure functions: ``step(state, system, rule, force, noise) -> State``.

``force(positions) -> (energy [B], forces [B, N, 3])``; ``noise`` [B, N, 3] are standard normal numbers for the
stochastic ones, ``None`` for the others. One name per ensemble in `INTEGRATORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .system import State, System, kinetic_energy

Force = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Rule:
    """``dt`` time step; ``relaxation`` tau of the thermostat chain; ``friction`` of Langevin (engine units)."""

    dt: float
    relaxation: float = 1.0
    friction: float = 0.0


@dataclass(frozen=True)
class Integrator:
    step: Callable[[State, System, Rule, Force, Tensor | None], State]
    thermostat_size: int = 0
    stochastic: bool = False


def velocity_verlet(state: State, system: System, rule: Rule, force: Force, noise: Tensor | None = None) -> State:
    """NVE. v += dt/2 F/m; x += dt v; v += dt/2 F(x)/m (Swope et al., J. Chem. Phys. 76, 637 (1982))."""
    half = 0.5 * rule.dt / system.masses
    v = state.velocities + half * state.forces
    x = state.positions + rule.dt * v
    energy, forces = force(x)
    return State(x, v + half * forces, forces, energy, state.thermostat)


def nose_hoover(state: State, system: System, rule: Rule, force: Force, noise: Tensor | None = None) -> State:
    """NVT by a Nose-Hoover chain of three thermostats that see the full-step kinetic energy.

    Half a chain step, velocity Verlet, half a chain step (Martyna et al., Mol. Phys. 87, 1117 (1996)).
    ``thermostat`` [B, 2 x 3] holds the chain's velocities, then its positions (for the conserved quantity).
    Masses Q_1 = g kT tau^2, Q_k = kT tau^2 with g = ``system.dof`` and tau = ``rule.relaxation``.
    """
    v, chain = _chain_half_step(state.velocities, state.thermostat, system, rule)
    state = velocity_verlet(state._replace(velocities=v), system, rule, force)
    v, chain = _chain_half_step(state.velocities, chain, system, rule)
    return state._replace(velocities=v, thermostat=chain)


def nose_hoover_conserved(state: State, system: System, rule: Rule) -> Tensor:
    """The quantity [B] (eV) that `nose_hoover` conserves: E + K + sum Q w^2 / 2 + g kT eta_1 + kT (eta_2 + ...)."""
    w, eta = state.thermostat.chunk(2, dim=1)
    q = _chain_masses(system, rule, w.shape[1])
    chain = 0.5 * (q * w.square()).sum(1) + system.kt * (system.dof * eta[:, 0] + eta[:, 1:].sum(1))
    return state.energy + kinetic_energy(state.velocities, system.masses) + chain


def _chain_masses(system: System, rule: Rule, length: int) -> Tensor:
    q = (system.kt * rule.relaxation**2)[:, None].repeat(1, length)
    q[:, 0] *= system.dof
    return q


def _chain_half_step(velocities: Tensor, thermostat: Tensor, system: System, rule: Rule) -> tuple[Tensor, Tensor]:
    w, eta = (list(part.unbind(1)) for part in thermostat.chunk(2, dim=1))
    q = _chain_masses(system, rule, len(w)).unbind(1)
    dt, kt, last = rule.dt, system.kt, len(w) - 1
    twice_kinetic = 2 * kinetic_energy(velocities, system.masses)

    def pull(k):
        return (twice_kinetic - system.dof * kt if k == 0 else q[k - 1] * w[k - 1].square() - kt) / q[k]

    w[last] = w[last] + pull(last) * (dt / 4)
    for k in range(last - 1, -1, -1):
        drag = torch.exp(w[k + 1] * (-dt / 8))
        w[k] = (w[k] * drag + pull(k) * (dt / 4)) * drag
    scale = torch.exp(w[0] * (-dt / 2))
    twice_kinetic = twice_kinetic * scale.square()
    eta = [e + wk * (dt / 2) for e, wk in zip(eta, w)]
    for k in range(last):
        drag = torch.exp(w[k + 1] * (-dt / 8))
        w[k] = (w[k] * drag + pull(k) * (dt / 4)) * drag
    w[last] = w[last] + pull(last) * (dt / 4)
    return velocities * scale[:, None, None], torch.stack(w + eta, dim=1)


def langevin(state: State, system: System, rule: Rule, force: Force, noise: Tensor | None = None) -> State:
    """NVT by BAOAB (Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34 (2013)).

    B: v += dt/2 F/m; A: x += dt/2 v; O: v = c v + sqrt((1 - c^2) kT/m) noise with c = exp(-friction dt); A; B.
    """
    if noise is None:
        raise ValueError("langevin needs noise [B, N, 3]")
    dt = rule.dt
    half = 0.5 * dt / system.masses
    keep = torch.exp(torch.tensor(-rule.friction * dt, dtype=state.positions.dtype))
    spread = ((1 - keep**2) * system.kt[:, None, None] / system.masses).sqrt()
    v = state.velocities + half * state.forces
    x = state.positions + 0.5 * dt * v
    v = keep * v + spread * noise
    x = x + 0.5 * dt * v
    energy, forces = force(x)
    return State(x, v + half * forces, forces, energy, state.thermostat)


INTEGRATORS = {
    "nve": Integrator(velocity_verlet),
    "nose_hoover": Integrator(nose_hoover, thermostat_size=6),
    "langevin": Integrator(langevin, stochastic=True),
}
