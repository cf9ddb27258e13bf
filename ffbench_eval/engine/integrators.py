"""Integrators as pure functions: ``step(state, system, rule, force, noise) -> State``.

``force(positions) -> (energy [B], forces [B, N, 3])``; ``noise`` are the standard random numbers of this step for the
stochastic ones (see `Integrator.draw`), ``None`` for the others. One name per ensemble in `INTEGRATORS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .barostat import npt
from .noise import draw_atoms, draw_barostat, draw_rescaling
from .rule import Force, Rule, decay, per_atom
from .system import State, System, degrees_of_freedom, kinetic_energy
from .thermostats import (
    bussi,
    bussi_conserved,
    nose_hoover,
    nose_hoover_conserved,
    nose_hoover_mdsim,
    nose_hoover_mdsim_conserved,
)
from .verlet import velocity_verlet

Step = Callable[[State, System, Rule, Force, Tensor | None], State]
Draw = Callable[[np.random.Generator, int, int, int], np.ndarray]  # (generator, steps, atoms, dof)


@dataclass(frozen=True)
class Integrator:
    """``thermostat_size`` columns of `State.thermostat`; ``draw`` the random numbers of a step, if any;
    ``keeps_momentum``: the momentum is conserved, so it is removed at the start and not counted in ``dof``;
    ``conserved`` the quantity [B] (eV) that stays constant, if there is one; ``npt``: the cell breathes."""

    step: Step
    thermostat_size: int = 0
    draw: Draw | None = None
    keeps_momentum: bool = True
    conserved: Callable[[State, System, Rule], Tensor] | None = None
    npt: bool = False

    def dof(self, n_atoms: int, periodic: bool, rotations: int | None = None) -> int:
        stochastic = not self.keeps_momentum
        return degrees_of_freedom(n_atoms, periodic=periodic, stochastic=stochastic, rotations=rotations)


def total_energy(state: State, system: System, rule: Rule) -> Tensor:
    """Potential plus kinetic energy [B], eV."""
    return state.energy + kinetic_energy(state.velocities, system.masses)


def langevin(state: State, system: System, rule: Rule, force: Force, noise: Tensor | None = None) -> State:
    """NVT by BAOAB (Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34 (2013)).

    B: v += dt/2 F/m; A: x += dt/2 v; O: v = c v + sqrt((1 - c^2) kT/m) noise with c = exp(-friction dt); A; B.
    """
    if noise is None:
        raise ValueError("langevin needs noise [B, N, 3]")
    dt = per_atom(rule.dt)
    half = 0.5 * dt / system.masses
    keep = per_atom(decay(rule.dt, rule.friction))
    spread = ((1 - keep**2) * system.kt[:, None, None] / system.masses).sqrt()
    v = state.velocities + half * state.forces
    x = state.positions + 0.5 * dt * v
    v = keep * v + spread * noise
    x = x + 0.5 * dt * v
    energy, forces = force(x)
    return State(x, v + half * forces, forces, energy, state.thermostat)


INTEGRATORS = {
    "nve": Integrator(velocity_verlet, conserved=total_energy),
    "nose_hoover": Integrator(nose_hoover, 6, conserved=nose_hoover_conserved),
    "nose_hoover_single": Integrator(nose_hoover, 2, conserved=nose_hoover_conserved),
    "nose_hoover_mdsim": Integrator(nose_hoover_mdsim, 2, keeps_momentum=False, conserved=nose_hoover_mdsim_conserved),
    "bussi": Integrator(bussi, 1, draw_rescaling, conserved=bussi_conserved),
    "langevin": Integrator(langevin, draw=draw_atoms, keeps_momentum=False),
    "npt": Integrator(npt, 2, draw_barostat, keeps_momentum=False, npt=True),
}


def integrator(name: str) -> Integrator:
    """The integrator of an ensemble; ValueError lists the known names."""
    if name not in INTEGRATORS:
        raise ValueError(f"ensemble must be one of {', '.join(INTEGRATORS)}, got {name!r}")
    return INTEGRATORS[name]
