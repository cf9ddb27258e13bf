"""Thermostats around velocity Verlet: Nose-Hoover chain, the single Nose-Hoover of MDsim, Bussi's rescaling."""

from __future__ import annotations

import torch
from torch import Tensor

from .rule import Force, Rule, decay, per_atom
from .system import State, System, kinetic_energy
from .verlet import velocity_verlet


def nose_hoover(state: State, system: System, rule: Rule, force: Force, noise: Tensor | None = None) -> State:
    """NVT by a chain of M Nose-Hoover thermostats that see the full-step kinetic energy.

    Half a chain step, velocity Verlet, half a chain step (Martyna et al., Mol. Phys. 87, 1117 (1996)).
    ``thermostat`` [B, 2 M] holds the chain's velocities, then its positions (for the conserved quantity); M is 3 for
    the ensemble ``nose_hoover`` and 1 for ``nose_hoover_single``, which is not ergodic on stiff or small systems.
    Masses Q_1 = g kT tau^2, Q_k = kT tau^2 with g = ``system.dof`` and tau = ``rule.relaxation``.
    """
    if system.dof == 0:  # nothing to keep at a temperature
        return velocity_verlet(state, system, rule, force)
    v, chain = _chain_half_step(state.velocities, state.thermostat, system, rule)
    state = velocity_verlet(state._replace(velocities=v), system, rule, force)
    v, chain = _chain_half_step(state.velocities, chain, system, rule)
    return state._replace(velocities=v, thermostat=chain)


def nose_hoover_conserved(state: State, system: System, rule: Rule) -> Tensor:
    """The quantity [B] (eV) that `nose_hoover` conserves: E + K + sum Q w^2 / 2 + g kT eta_1 + kT (eta_2 + ...)."""
    w, eta = state.thermostat.chunk(2, dim=1)
    q = torch.stack(_chain_masses(system, rule, w.shape[1]), 1)
    chain = 0.5 * (q * w.square()).sum(1) + system.kt * (system.dof * eta[:, 0] + eta[:, 1:].sum(1))
    return state.energy + kinetic_energy(state.velocities, system.masses) + chain


def _chain_masses(system: System, rule: Rule, length: int) -> list[Tensor]:
    q = system.kt * rule.relaxation**2
    return [system.dof * q] + [q] * (length - 1)


def _chain_half_step(velocities: Tensor, thermostat: Tensor, system: System, rule: Rule) -> tuple[Tensor, Tensor]:
    w, eta = (list(part.unbind(1)) for part in thermostat.chunk(2, dim=1))
    q = _chain_masses(system, rule, len(w))
    dt, kt, last = rule.dt, system.kt, len(w) - 1
    twice_kinetic = 2 * kinetic_energy(velocities, system.masses)

    def pull(k: int):
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


def nose_hoover_mdsim(state: State, system: System, rule: Rule, force: Force, noise: Tensor | None = None) -> State:
    """The published variant: one Nose-Hoover thermostat on all 3N degrees of freedom (Fu et al., TMLR 2023).

    v' = v + dt/2 (F/m - zeta v); x += dt v'; zeta += dt/(2 Q) (K(v) + K(v') - 3N kT);
    v = (v' + dt/2 F(x)/m) / (1 + dt/2 zeta); Q = 3N kT tau^2, published with tau = 20 dt.
    ``thermostat`` [B, 2]: zeta and its time integral. Use it to compare with published numbers only: the momentum is
    not removed and a single thermostat is not ergodic.
    """
    dt, m = per_atom(rule.dt), system.masses
    zeta, eta = state.thermostat.unbind(1)
    half_rate, g = 0.5 * rule.dt / _mdsim_mass(system, rule), system.dof
    v = state.velocities + 0.5 * dt * (state.forces / m - zeta[:, None, None] * state.velocities)
    x = state.positions + dt * v
    energy, forces = force(x)
    gain = kinetic_energy(state.velocities, m) + kinetic_energy(v, m) - g * system.kt
    new = zeta + half_rate * gain
    v = (v + 0.5 * dt * forces / m) / (1 + 0.5 * dt * new[:, None, None])
    return State(x, v, forces, energy, torch.stack([new, eta + 0.5 * rule.dt * (zeta + new)], 1))


def nose_hoover_mdsim_conserved(state: State, system: System, rule: Rule) -> Tensor:
    """The quantity [B] (eV) that `nose_hoover_mdsim` conserves: E + K + Q zeta^2 + g kT eta.

    zeta' = (K - g kT / 2) / Q, so the thermostat's energy is Q zeta^2 (not half of it).
    """
    zeta, eta = state.thermostat.unbind(1)
    kinetic = kinetic_energy(state.velocities, system.masses)
    return state.energy + kinetic + _mdsim_mass(system, rule) * zeta.square() + system.dof * system.kt * eta


def _mdsim_mass(system: System, rule: Rule) -> Tensor:
    return system.dof * system.kt * rule.relaxation**2


def bussi(state: State, system: System, rule: Rule, force: Force, noise: Tensor | None = None) -> State:
    """NVT by stochastic velocity rescaling (Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007), A7).

    Velocities are scaled by alpha, then one velocity Verlet step, with
    alpha^2 = c + (1 - c) K_0 / (g K) (R^2 + S) + 2 R sqrt(c (1 - c) K_0 / (g K)), c = exp(-dt / tau),
    K_0 = g kT / 2; ``noise`` [B, 2] is R (normal) and S (chi-squared of g - 1 degrees of freedom).
    ``thermostat`` [B, 1] is the energy that the thermostat has put in.
    """
    if noise is None:
        raise ValueError("bussi needs noise [B, 2]")
    if system.dof == 0:
        return velocity_verlet(state, system, rule, force)
    normal, rest = noise.unbind(1)
    kinetic = kinetic_energy(state.velocities, system.masses)
    keep = decay(rule.dt, 1 / rule.relaxation)
    share = (1 - keep) * 0.5 * system.kt / kinetic
    square = keep + share * (normal.square() + rest) + 2 * normal * (keep * share).sqrt()
    heat = state.thermostat + ((square - 1) * kinetic)[:, None]
    scaled = state._replace(velocities=state.velocities * square.sqrt()[:, None, None], thermostat=heat)
    return velocity_verlet(scaled, system, rule, force)


def bussi_conserved(state: State, system: System, rule: Rule) -> Tensor:
    """Total energy minus what the thermostat has put in [B], eV."""
    return state.energy + kinetic_energy(state.velocities, system.masses) - state.thermostat[:, 0]
