"""Collective variables of a batch: dihedral angles and distances, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .images import Images


def dihedral(positions: Tensor, four: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Dihedral angle [B] (rad, IUPAC sign) of four atoms and its gradient [B, 4, 3]."""
    angle, gradient = _dihedrals(positions[:, list(four)][:, None])
    return angle[:, 0], gradient[:, 0]


def distance(positions: Tensor, two: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Distance [B] (Angstrom; of the atoms as they are, without images) of two atoms and its gradient [B, 2, 3]."""
    value, gradient = _distances(positions[:, list(two)][:, None])
    return value[:, 0], gradient[:, 0]


class Variables:
    """D collective variables: the ``dihedrals`` (periodic), then the ``distances``.

    With ``images`` every vector between two atoms is the nearest one of the periodic system, as in PLUMED.
    """

    def __init__(
        self,
        dihedrals: tuple[tuple[int, ...], ...],
        distances: tuple[tuple[int, ...], ...],
        device: torch.device | str | None = None,
        images: Images | None = None,
    ):
        self.images = images
        self.angles, self.pairs = len(dihedrals), len(distances)
        self._four = torch.tensor(dihedrals, dtype=torch.int64, device=device).view(-1, 4)
        self._two = torch.tensor(distances, dtype=torch.int64, device=device).view(-1, 2)
        self._atoms = torch.cat([self._four.flatten(), self._two.flatten()])
        turn = [2 * math.pi] * self.angles + [math.inf] * self.pairs
        self.period = torch.tensor(turn, dtype=torch.float64, device=device)

    def __len__(self) -> int:
        return self.angles + self.pairs

    def values(self, positions: Tensor) -> Tensor:
        """Values [B, D] at positions [B, N, 3]."""
        return self._evaluate(positions)[0]

    def forces(self, positions: Tensor, slope: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """(energy [B], forces [B, N, 3]) of a bias V(s) with ``slope(values [B, D]) -> (V [B], dV/ds [B, D])``."""
        values, gradients = self._evaluate(positions)
        energy, derivative = slope(values)
        parts = [
            (derivative[:, start:stop, None, None] * gradient).flatten(1, 2)
            for (start, stop), gradient in zip(((0, self.angles), (self.angles, len(self))), gradients)
            if gradient is not None
        ]
        return energy, -torch.zeros_like(positions).index_add(1, self._atoms, torch.cat(parts, 1))

    def difference(self, values: Tensor, centres: Tensor) -> Tensor:
        """values - centres, the dihedrals' into [-pi, pi]."""
        delta = values - centres
        if self.angles == 0:
            return delta
        angle = delta[..., : self.angles]
        angle = angle - 2 * math.pi * torch.round(angle / (2 * math.pi))
        return torch.cat([angle, delta[..., self.angles :]], -1) if self.pairs else angle

    def _evaluate(self, positions: Tensor) -> tuple[Tensor, tuple[Tensor | None, Tensor | None]]:
        angle = length = angle_gradient = length_gradient = None
        if self.angles:
            angle, angle_gradient = _dihedrals(positions[:, self._four], self.images)
        if self.pairs:
            length, length_gradient = _distances(positions[:, self._two], self.images)
        values = torch.cat([part for part in (angle, length) if part is not None], 1)
        return values, (angle_gradient, length_gradient)


def _dihedrals(x: Tensor, images: Images | None = None) -> tuple[Tensor, Tensor]:
    """Angles [B, D] and gradients [B, D, 4, 3] of four positions each [B, D, 4, 3].

    Gradient: Blondel and Karplus, J. Comput. Chem. 17, 1132 (1996), eq. 27.
    """
    a, b, c, d = x.unbind(2)
    f, g, h = a - b, b - c, d - c
    if images is not None:
        f, g, h = images.nearest(torch.stack([f, g, h])).unbind(0)
    m, n = torch.linalg.cross(f, g), torch.linalg.cross(h, g)
    length = g.norm(dim=-1, keepdim=True)
    angle = torch.atan2((torch.linalg.cross(n, m) * g).sum(-1) / length[..., 0], (m * n).sum(-1))
    m2, n2 = m.square().sum(-1, keepdim=True), n.square().sum(-1, keepdim=True)
    outer_a, outer_d = -length / m2 * m, length / n2 * n
    along_f = (f * g).sum(-1, keepdim=True) / (m2 * length) * m
    along_h = (h * g).sum(-1, keepdim=True) / (n2 * length) * n
    inner = along_f - along_h
    return angle, torch.stack([outer_a, -outer_a + inner, -outer_d - inner, outer_d], dim=2)


def _distances(x: Tensor, images: Images | None = None) -> tuple[Tensor, Tensor]:
    r = x[:, :, 0] - x[:, :, 1]
    r = r if images is None else images.nearest(r)
    length = r.norm(dim=-1)
    unit = r / length[..., None]
    return length, torch.stack([unit, -unit], dim=2)
