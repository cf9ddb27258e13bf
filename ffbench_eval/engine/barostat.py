"""Constant pressure: BAOAB with stochastic cell rescaling. For preparing systems, never for scores."""

from __future__ import annotations

import torch
from torch import Tensor

from .rule import Force, Rule, decay, per_atom
from .system import State, System, kinetic_energy


def npt(state: State, system: System, rule: Rule, force: Force, noise: Tensor | None = None) -> State:
    """Isotropic NPT: BAOAB and stochastic cell rescaling (Bernetti and Bussi, J. Chem. Phys. 153, 114107 (2020)).

    d(ln V) = -(beta / tau) (P_0 - P) dt + sqrt(2 kT beta dt / (V tau)) noise, with P = (2 K - V tr(stress)) / (3 V)
    of the last complete step; positions scale with the cell, velocities inversely. beta is
    ``rule.compressibility``, tau ``rule.barostat_relaxation``, P_0 ``rule.pressure``.
    ``force(positions, cell [B, 3, 3]) -> (energy, forces, stress [B, 3, 3])``; ``noise`` [B, N + 1, 3] for the atoms
    and, in the first number of its last row, for the cell. ``thermostat`` [B, 2]: ln(V / V_0) and tr(stress) / 3.
    """
    if noise is None:
        raise ValueError("npt needs noise [B, N + 1, 3]")
    swell, mean_stress = state.thermostat.unbind(1)
    volume = system.volume * torch.exp(swell)
    pressure = 2 * kinetic_energy(state.velocities, system.masses) / (3 * volume) - mean_stress
    rate = rule.compressibility / rule.barostat_relaxation * rule.dt
    change = rate * (pressure - rule.pressure) + (2 * system.kt * rate / volume).sqrt() * noise[:, -1, 0]
    scale = torch.exp(change / 3)[:, None, None]

    dt = per_atom(rule.dt)
    half = 0.5 * dt / system.masses
    keep = per_atom(decay(rule.dt, rule.friction))
    spread = ((1 - keep**2) * system.kt[:, None, None] / system.masses).sqrt()
    v = state.velocities + half * state.forces
    x = state.positions + 0.5 * dt * v
    v = keep * v + spread * noise[:, :-1]
    x, v = (x + 0.5 * dt * v) * scale, v / scale
    swell = swell + change
    energy, forces, stress = force(x, scaled_cell(system, swell))
    mean_stress = stress.diagonal(dim1=-2, dim2=-1).mean(-1)
    return State(x, v + half * forces, forces, energy, torch.stack([swell, mean_stress], 1))


def scaled_cell(system: System, swell: Tensor) -> Tensor:
    """Cells [B, 3, 3] at ln(V / V_0) = ``swell`` [B]."""
    return system.cell * torch.exp(swell / 3)[:, None, None]
