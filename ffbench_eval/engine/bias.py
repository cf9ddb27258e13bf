"""Bias potentials: well-tempered metadynamics and restraints on collective variables.

V(s) = sum_h height_h prod_d exp(-(s_d - s_hd)^2 / (2 sigma_d^2)); a new hill has height
h0 exp(-V(s) / (kT (gamma - 1))) (Barducci, Bussi and Parrinello, Phys. Rev. Lett. 100, 020603 (2008)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .collective import Variables, dihedral, distance
from .images import Images

__all__ = ["Hills", "MetadynamicsRule", "Restraint", "Restraints", "dihedral", "distance"]

ROWS = 256  # of the tensors of hills at the start


@dataclass(frozen=True)
class MetadynamicsRule:
    """``dihedrals`` [D][4] and ``distances`` [D][2] are atom indices; hill ``height`` (eV); ``sigma`` (rad and
    Angstrom), one for all or one per variable, dihedrals first; ``bias_factor`` gamma; a hill every ``every`` steps.
    With ``shared`` all replicas of the batch are walkers that feel each other's hills (Raiteri et al., J. Phys.
    Chem. B 110, 3533 (2006)); otherwise each has its own bias."""

    dihedrals: tuple[tuple[int, int, int, int], ...]
    height: float
    sigma: float | tuple[float, ...]
    bias_factor: float
    every: int
    distances: tuple[tuple[int, int], ...] = ()
    shared: bool = False

    def __post_init__(self):
        if not self.dihedrals and not self.distances:
            raise ValueError("metadynamics needs at least one dihedral or distance")
        if not self.bias_factor > 1:
            raise ValueError(f"bias_factor must be above 1, got {self.bias_factor}")
        if not 0 < self.height < math.inf or self.every < 1:
            raise ValueError(f"hills need a positive height and at least one step, got {self.height}, {self.every}")
        if len(self.sigmas) != len(self.dihedrals) + len(self.distances):
            raise ValueError(f"sigma needs one value per variable, got {self.sigma}")
        if not all(0 < s < math.inf for s in self.sigmas):
            raise ValueError(f"sigma must be positive, got {self.sigma}")

    @property
    def sigmas(self) -> tuple[float, ...]:
        if isinstance(self.sigma, tuple):
            return self.sigma
        return (self.sigma,) * (len(self.dihedrals) + len(self.distances))


class Hills:
    """The hills of B walkers: ``centres`` [B, H, D] (rad, Angstrom) and ``heights`` [B, H] eV (as added, 0 in rows that
    are not used yet).

    Shared ones are kept once, [1, B H, D], in the order of the walkers within a step.
    """

    def __init__(
        self,
        rule: MetadynamicsRule,
        replicas: int,
        capacity: int,
        device: torch.device | str | None = None,
        images: Images | None = None,
    ):
        self.rule, self.replicas = rule, replicas
        self.variables = Variables(rule.dihedrals, rule.distances, device, images)
        self._most = capacity * replicas if rule.shared else capacity
        shape = (1 if rule.shared else replicas, self._rows(1))
        self.centres = torch.zeros(*shape, len(self.variables), dtype=torch.float64, device=device)
        self.heights = torch.zeros(shape, dtype=torch.float64, device=device)
        self._precision = 1 / torch.tensor(rule.sigmas, dtype=torch.float64, device=device).square()
        self.count = 0  # deposits so far, one hill per walker each

    @property
    def kept(self) -> int:
        """Hills in use along the second axis."""
        return self.count * (self.replicas if self.rule.shared else 1)

    def energy_and_forces(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Bias energy [B] (eV) and forces [B, N, 3] (eV/Angstrom) at positions [B, N, 3]."""
        if self.count == 0:
            return positions.new_zeros(len(positions)), torch.zeros_like(positions)
        return self.forces_of(positions, self.centres[:, : self.kept], self.heights[:, : self.kept])

    def forces_of(self, positions: Tensor, centres: Tensor, heights: Tensor) -> tuple[Tensor, Tensor]:
        """The same for hills that are given; one of height 0 adds nothing."""
        return self.variables.forces(positions, lambda values: self._potential(values, centres, heights))

    @property
    def sizes(self) -> int:
        """How many sizes the tensors of hills take on in the whole simulation."""
        rows, count = self._rows(1), 1
        while rows < self._most:
            rows, count = self._rows(rows + 1), count + 1
        return count

    def _rows(self, needed: int) -> int:
        """Rows of a tensor for so many hills: few sizes, because a compiled step has one, and not all from the start,
        because a step reads all of them."""
        rows = ROWS
        while rows < needed:
            rows *= 4
        return min(rows, self._most)

    def deposit(self, positions: Tensor, kt: Tensor, alive: Tensor) -> None:
        """Add one hill per walker at its present place; a retired walker gets a hill of height 0."""
        values = self.variables.values(positions)
        energy, _ = self._potential(values, self.centres[:, : self.kept], self.heights[:, : self.kept])
        height = self.rule.height * torch.exp(-energy / (kt * (self.rule.bias_factor - 1)))
        height = torch.where(alive, height, torch.zeros_like(height))
        needed = self.kept + (self.replicas if self.rule.shared else 1)
        if needed > self.heights.shape[1]:
            self.centres, self.heights = self.of_size(self._rows(needed))
        if self.rule.shared:
            new = slice(self.kept, self.kept + self.replicas)
            self.centres[0, new], self.heights[0, new] = values, height
        else:
            self.centres[:, self.count], self.heights[:, self.count] = values, height
        self.count += 1

    def of_size(self, rows: int | None = None) -> tuple[Tensor, Tensor]:
        """Centres and heights with so many rows, by default as many as they end with."""
        more = (rows or self._most) - self.heights.shape[1]
        pad = torch.nn.functional.pad
        return pad(self.centres, (0, 0, 0, more)), pad(self.heights, (0, more))

    def clear(self) -> None:
        """As if none had been added."""
        self.centres, self.heights = torch.zeros_like(self.centres), torch.zeros_like(self.heights)
        self.count = 0

    def of_walkers(self) -> tuple[Tensor, Tensor]:
        """(centres [B, H, D], heights [B, H]) that each walker itself has added."""
        centres, heights = self.centres[:, : self.kept], self.heights[:, : self.kept]
        if self.rule.shared:
            centres = centres.view(self.count, self.replicas, -1).transpose(0, 1)
            heights = heights.view(self.count, self.replicas).transpose(0, 1)
        return centres, heights

    def _potential(self, values: Tensor, centres: Tensor, heights: Tensor) -> tuple[Tensor, Tensor]:
        """V [B] and dV/ds [B, D] at values [B, D]."""
        delta = self.variables.difference(values[:, None], centres)
        scaled = delta * self._precision
        value = heights * torch.exp(-0.5 * (scaled * delta).sum(-1))
        return value.sum(1), -(value[..., None] * scaled).sum(1)


@dataclass(frozen=True)
class Restraint:
    """V = stiffness / 2 (s - centre)^2 on a distance (two ``atoms``, Angstrom) or a dihedral (four, rad).

    ``kind``: ``harmonic`` on both sides, ``upper`` a wall above the centre only, ``lower`` below it only.
    ``stiffness`` in eV/Angstrom^2 or eV/rad^2.
    """

    atoms: tuple[int, ...]
    centre: float
    stiffness: float
    kind: str = "harmonic"

    def __post_init__(self):
        if len(self.atoms) not in (2, 4):
            raise ValueError(f"a restraint acts on 2 atoms (distance) or 4 (dihedral), got {len(self.atoms)}")
        if not (math.isfinite(self.centre) and 0 < self.stiffness < math.inf):
            raise ValueError(f"a restraint needs a centre and a stiffness > 0, got {self.centre}, {self.stiffness}")
        if self.kind not in ("harmonic", "upper", "lower"):
            raise ValueError(f"a restraint's kind must be harmonic, upper or lower, got {self.kind!r}")


class Restraints:
    """All restraints of a simulation as one bias."""

    def __init__(
        self, restraints: tuple[Restraint, ...], device: torch.device | str | None = None, images: Images | None = None
    ):
        ordered = sorted(restraints, key=lambda r: -len(r.atoms))  # dihedrals first, as in Variables
        self.variables = Variables(
            tuple(r.atoms for r in ordered if len(r.atoms) == 4),
            tuple(r.atoms for r in ordered if len(r.atoms) == 2),
            device,
            images,
        )
        f64: dict[str, Any] = {"dtype": torch.float64, "device": device}
        self._centre = torch.tensor([r.centre for r in ordered], **f64)
        self._stiffness = torch.tensor([r.stiffness for r in ordered], **f64)
        inf = float("inf")
        self._low = torch.tensor([0.0 if r.kind == "upper" else -inf for r in ordered], **f64)
        self._high = torch.tensor([0.0 if r.kind == "lower" else inf for r in ordered], **f64)

    def energy_and_forces(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Bias energy [B] (eV) and forces [B, N, 3] (eV/Angstrom)."""
        return self.variables.forces(positions, self._potential)

    def _potential(self, values: Tensor) -> tuple[Tensor, Tensor]:
        delta = self.variables.difference(values, self._centre)
        delta = torch.minimum(torch.maximum(delta, self._low), self._high)
        slope = self._stiffness * delta
        return 0.5 * (slope * delta).sum(1), slope
