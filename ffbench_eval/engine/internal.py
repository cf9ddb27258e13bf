"""Temperature of the atoms' motion against one another, without that of the whole."""

from __future__ import annotations

import torch
from torch import Tensor

from .system import LINEAR, State, System, kinetic_energy
from .units import BOLTZMANN

FLAT = 1e-2  # of the largest moment of inertia: an axis with less is that of a linear molecule


def internal_temperature(state: State, system: System) -> Tensor:
    """[B] in K, 2 K_int / (f kB): K_int without the motion of the centre of mass and without the rigid rotation, in
    open systems about all axes, in wires about their own; f degrees of freedom are left (3N - 3 periodic, 3N - 4 in a
    wire, 3N - 6 or 3N - 5 open). NaN where f is 0.

    At equilibrium it equals the temperature in every ensemble. A net force or torque of the model feeds the motion of
    the whole, which a thermostat then takes from the atoms ("flying ice cube"; Harvey, Tan and Cheatham, J. Comput.
    Chem. 19, 726 (1998)).
    """
    m = system.masses
    n = len(system.numbers)
    v = state.velocities - (m * state.velocities).sum(1, keepdim=True) / m.sum()
    kinetic = kinetic_energy(v, m)
    left = torch.full_like(kinetic, 3.0 * n - 3)
    periodic = int(system.pbc.sum())
    if periodic < 2:
        x = state.positions - (m * state.positions).sum(1, keepdim=True) / m.sum()
        spin = (m * torch.linalg.cross(x, v)).sum(1)
    if periodic == 1:
        axis = torch.nn.functional.normalize(system.cell[system.pbc], dim=-1)[0]
        square = (m * x.square().sum(-1, keepdim=True)).sum((1, 2))
        moment = square - (m * (x @ axis)[..., None].square()).sum((1, 2))
        turns = moment > LINEAR * torch.maximum(square, m.sum())
        along = 0.5 * (spin @ axis).square() / moment.clamp(min=1e-12)
        kinetic, left = kinetic - torch.where(turns, along, 0.0), left - turns.to(left)
    if periodic == 0:
        square = (m * x.square().sum(-1, keepdim=True)).sum(1)[..., None] * torch.eye(3, dtype=x.dtype, device=x.device)
        inertia = square - torch.einsum("na,bnx,bny->bxy", m, x, x)
        usable = torch.isfinite(inertia).all((1, 2))
        moment, axes = torch.linalg.eigh(torch.where(usable[:, None, None], inertia, torch.zeros_like(inertia)))
        turns = moment > FLAT * moment[:, -1:].clamp(min=1e-12)
        along = torch.einsum("bxk,bx->bk", axes, spin)
        kinetic = kinetic - torch.where(turns, 0.5 * along.square() / moment.clamp(min=1e-12), 0.0).sum(1)
        left = left - turns.sum(1)
    return torch.where(left > 0, 2 * kinetic / (left.clamp(min=1.0) * BOLTZMANN), torch.full_like(kinetic, torch.nan))
