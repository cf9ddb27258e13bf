"""Well-tempered metadynamics on periodic dihedral angles.

V(s) = sum_h height_h prod_d exp(-(s_d - s_hd)^2 / (2 sigma^2)); a new hill has height
h0 exp(-V(s) / (kT (gamma - 1))) (Barducci, Bussi and Parrinello, Phys. Rev. Lett. 100, 020603 (2008)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MetadynamicsRule:
    """``dihedrals`` [D][4] atom indices; hill ``height`` (eV), ``sigma`` (rad); ``bias_factor`` gamma; a hill every
    ``every`` steps."""

    dihedrals: tuple[tuple[int, int, int, int], ...]
    height: float
    sigma: float
    bias_factor: float
    every: int


class Hills:
    """The hills of B independent walkers: ``centres`` [B, H, D] rad and ``heights`` [B, H] eV (as added)."""

    def __init__(self, rule: MetadynamicsRule, replicas: int, capacity: int, device=None):
        self.rule = rule
        shape = (replicas, capacity)
        self.centres = torch.zeros(*shape, len(rule.dihedrals), dtype=torch.float64, device=device)
        self.heights = torch.zeros(shape, dtype=torch.float64, device=device)
        self.count = 0

    def energy_and_forces(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Bias energy [B] (eV) and forces [B, N, 3] (eV/Angstrom) at positions [B, N, 3]."""
        forces = torch.zeros_like(positions)
        if self.count == 0:
            return positions.new_zeros(len(positions)), forces
        angles, gradients = zip(*(dihedral(positions, four) for four in self.rule.dihedrals))
        energy, slope = self._potential(torch.stack(angles, 1))
        for d, four in enumerate(self.rule.dihedrals):
            forces[:, list(four)] -= slope[:, d, None, None] * gradients[d]
        return energy, forces

    def deposit(self, positions: Tensor, kt: Tensor, alive: Tensor) -> None:
        """Add one hill per walker at its present angles; a retired walker gets a hill of height 0."""
        angles = torch.stack([dihedral(positions, four)[0] for four in self.rule.dihedrals], 1)
        energy, _ = self._potential(angles)
        height = self.rule.height * torch.exp(-energy / (kt * (self.rule.bias_factor - 1)))
        self.centres[:, self.count] = angles
        self.heights[:, self.count] = torch.where(alive, height, torch.zeros_like(height))
        self.count += 1

    def _potential(self, angles: Tensor) -> tuple[Tensor, Tensor]:
        """V [B] and dV/ds [B, D] at angles [B, D]."""
        delta = angles[:, None] - self.centres[:, : self.count]
        delta = delta - 2 * math.pi * torch.round(delta / (2 * math.pi))
        variance = self.rule.sigma**2
        value = self.heights[:, : self.count] * torch.exp(-delta.square().sum(-1) / (2 * variance))
        return value.sum(1), -(value[..., None] * delta).sum(1) / variance


def dihedral(positions: Tensor, four: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Dihedral angle [B] (rad, IUPAC sign) of four atoms and its gradient [B, 4, 3].

    Gradient: Blondel and Karplus, J. Comput. Chem. 17, 1132 (1996), eq. 27.
    """
    a, b, c, d = (positions[:, i] for i in four)
    f, g, h = a - b, b - c, d - c
    m, n = torch.linalg.cross(f, g), torch.linalg.cross(h, g)
    length = g.norm(dim=-1, keepdim=True)
    angle = torch.atan2((torch.linalg.cross(n, m) * g).sum(-1) / length[:, 0], (m * n).sum(-1))
    m2, n2 = m.square().sum(-1, keepdim=True), n.square().sum(-1, keepdim=True)
    outer_a, outer_d = -length / m2 * m, length / n2 * n
    along_f = (f * g).sum(-1, keepdim=True) / (m2 * length) * m
    along_h = (h * g).sum(-1, keepdim=True) / (n2 * length) * n
    inner = along_f - along_h
    return angle, torch.stack([outer_a, -outer_a + inner, -outer_d - inner, outer_d], dim=1)
