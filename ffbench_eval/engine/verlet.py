"""Velocity Verlet, the step that every deterministic ensemble shares."""

from __future__ import annotations

from torch import Tensor

from .rule import Force, Rule, per_atom
from .system import State, System


def velocity_verlet(state: State, system: System, rule: Rule, force: Force, noise: Tensor | None = None) -> State:
    """NVE. v += dt/2 F/m; x += dt v; v += dt/2 F(x)/m (Swope et al., J. Chem. Phys. 76, 637 (1982))."""
    dt = per_atom(rule.dt)
    half = 0.5 * dt / system.masses
    v = state.velocities + half * state.forces
    x = state.positions + dt * v
    energy, forces = force(x)
    return State(x, v + half * forces, forces, energy, state.thermostat)
