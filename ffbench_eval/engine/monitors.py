"""Monitors on saved frames: bonds, sliding g(r), energy drift, displacement."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .images import Images
from .system import System
from .watch import BOND, DISPLACEMENT, DRIFT, RDF, Watch

ON_EDGE = 1e-9  # in bins: distances on an edge, as in crystals, are off it by rounding


@dataclass(frozen=True)
class RdfPair:
    """Atom indices of the two species and the reference g(r) in equal bins up to `RdfWatch.r_max`."""

    a: tuple[int, ...]
    b: tuple[int, ...]
    reference: tuple[float, ...]


@dataclass(frozen=True)
class RdfWatch:
    """Retire a replica when the error sum |g - g_ref| dr (Angstrom) of any pair over a sliding window exceeds
    ``threshold``; a window counts at its end. Fixed periodic cells; all images within ``r_max``."""

    pairs: tuple[RdfPair, ...]
    threshold: float
    window_ps: float = 1.0
    r_max: float = 6.0

    def __post_init__(self):
        for name in ("threshold", "window_ps", "r_max"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"rdf: {name} must be positive and finite, got {getattr(self, name)}")
        sizes = {len(p.reference) for p in self.pairs}
        if len(sizes) != 1 or not sizes.isdisjoint({0}):
            raise ValueError("rdf: pairs must be there, and their references of one number of bins")
        if not all(np.isfinite(p.reference).all() for p in self.pairs):
            raise ValueError("rdf: a reference holds NaN or infinite values: nothing could fail it")


@dataclass(frozen=True)
class FrameLimits:
    """What `FrameMonitors` checks; ``None``: not checked. ``bonds`` [(i, j, length)], of nearest images."""

    bonds: tuple[tuple[int, int, float], ...] = ()
    bond_tolerance: float = 0.5
    rdf: RdfWatch | None = None
    drift_eV_per_atom: float | None = None
    displacement_A: float | None = None


class FrameMonitors:
    """Checks every saved frame; what it remembers (`state`) belongs in the checkpoint."""

    def __init__(self, limits: FrameLimits, system: System, start: Tensor, frame_ps: float):
        self.limits, self.system = limits, system
        self.start = start
        self.first = start.new_full((len(start),), torch.nan)
        self.drift = start.new_zeros(len(start))
        self.displacement = start.new_zeros(len(start))
        self._bonds = _bond_tensors(limits.bonds, start.device)
        self._images = Images(system.cell, system.pbc)
        self._rdf = None
        if limits.rdf is not None:
            self._rdf = SlidingRdf(limits.rdf, system, len(start), frame_ps)

    def check(
        self,
        positions: Tensor,
        conserved: Tensor | None,
        watch: Watch,
        *,
        scale: Tensor | None = None,
        regular: bool = True,
    ) -> Watch:
        """``positions`` [B, N, 3] and the conserved quantity [B] (eV) of a frame; ``scale`` [B] of the cell's edges
        where it breathes (lengths are then judged in the present cell, displacements in the starting one). A frame
        that is not ``regular`` (the last step, off the saving interval) does not enter the g(r) window."""
        size = 1.0 if scale is None else scale[:, None, None]
        reduced = positions / size
        limits = self.limits
        if self._bonds is not None:
            i, j, length = self._bonds
            found = (self._images.nearest(reduced[:, i] - reduced[:, j]) * size).norm(dim=-1)
            worst = (found - length).abs().amax(1)
            watch = watch.retire(worst > limits.bond_tolerance, BOND)
        if conserved is not None:
            self.first = torch.where(self.first.isnan(), conserved, self.first)
            self.drift = torch.where(watch.alive, (conserved - self.first) / positions.shape[1], self.drift)
            if limits.drift_eV_per_atom is not None:
                watch = watch.retire(self.drift.abs() > limits.drift_eV_per_atom, DRIFT)
        moved = reduced - self.start
        mass = self.system.masses / self.system.masses.sum()
        moved = (moved - (mass * moved).sum(1, keepdim=True)).norm(dim=-1).amax(1)
        self.displacement = torch.where(watch.alive, torch.maximum(self.displacement, moved), self.displacement)
        if limits.displacement_A is not None:
            watch = watch.retire(moved > limits.displacement_A, DISPLACEMENT)
        if regular and self._rdf is not None and limits.rdf is not None:
            watch = watch.retire(self._rdf.add(positions, watch.alive) > limits.rdf.threshold, RDF)
        return watch

    def reason_limits(self) -> dict[int, float]:
        """The limits that the texts of the reasons mention."""
        rdf = self.limits.rdf
        return {
            DRIFT: self.limits.drift_eV_per_atom or 0.0,
            DISPLACEMENT: self.limits.displacement_A or 0.0,
            RDF: rdf.threshold if rdf else 0.0,
        }

    def state(self) -> dict[str, Tensor]:
        kept = {"monitor_first": self.first, "monitor_drift": self.drift, "monitor_displacement": self.displacement}
        return kept | ({"monitor_rdf": self._rdf.window()} if self._rdf is not None else {})

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.first, self.drift = tensors["monitor_first"], tensors["monitor_drift"]
        self.displacement = tensors["monitor_displacement"]
        if self._rdf is not None:
            self._rdf.frames.extend(tensors["monitor_rdf"].cpu().numpy())


class SlidingRdf:
    """g(r) errors over the last ``window_ps``, from one histogram per saved frame."""

    def __init__(self, rule: RdfWatch, system: System, replicas: int, frame_ps: float):
        if not bool(system.pbc.all()):
            raise ValueError("the g(r) criterion needs a periodic cell in all directions")
        n = len(system.numbers)
        self.rule, self.replicas = rule, replicas
        self.cell, self.bins = system.cell.cpu().numpy(), len(rule.pairs[0].reference)
        self.frames: deque[np.ndarray] = deque(maxlen=max(1, round(rule.window_ps / frame_ps)))
        self.reference = np.array([p.reference for p in rule.pairs])
        self._in = [(np.isin(np.arange(n), p.a), np.isin(np.arange(n), p.b)) for p in rule.pairs]
        edges = np.linspace(0, rule.r_max, self.bins + 1)
        shell = 4 / 3 * np.pi * np.diff(edges**3) / abs(np.linalg.det(self.cell))
        pairs = [a.sum() * b.sum() - (a & b).sum() for a, b in self._in]
        if not all(pairs):
            raise ValueError(f"rdf: pair {pairs.index(0)} of RdfWatch.pairs has no two different atoms to judge")
        self._ideal = np.array([count * shell for count in pairs])

    def add(self, positions: Tensor, alive: Tensor) -> Tensor:
        """The largest error [B] over the pairs after this frame; 0 until the window is full."""
        counts = np.zeros((self.replicas, len(self._in), self.bins), np.int32)
        x = positions.cpu().numpy()
        for b in np.flatnonzero(alive.cpu().numpy()):
            counts[b] = self._histogram(x[b])
        self.frames.append(counts)
        if len(self.frames) < (self.frames.maxlen or 0):
            return positions.new_zeros(self.replicas)
        g = np.sum(self.frames, axis=0) / (len(self.frames) * self._ideal)
        error = np.abs(g - self.reference).sum(-1) * self.rule.r_max / self.bins
        return torch.as_tensor(error.max(-1)).to(positions)

    def window(self) -> Tensor:
        empty = np.zeros((0, self.replicas, len(self._in), self.bins), np.int32)
        return torch.from_numpy(np.stack(self.frames) if self.frames else empty)

    def _histogram(self, x: np.ndarray) -> np.ndarray:
        """As `ffbench_metrics.pair_distance_counts`: no atom with its own images, a distance on an edge in the bin
        above, none at r_max."""
        from vesin import NeighborList

        i, j, d = NeighborList(cutoff=self.rule.r_max, full_list=True).compute(x, self.cell, True, "ijd")
        which = (d * (self.bins / self.rule.r_max) + ON_EDGE).astype(np.int64)
        kept = (i != j) & (which < self.bins)
        i, j, which = i[kept], j[kept], which[kept]
        return np.stack([np.bincount(which[a[i] & b[j]], minlength=self.bins) for a, b in self._in])


def _bond_tensors(bonds: tuple[tuple[int, int, float], ...], device: torch.device | str | None):
    if not bonds:
        return None
    i, j, length = zip(*bonds)
    return (
        torch.tensor(i, device=device),
        torch.tensor(j, device=device),
        torch.tensor(length, dtype=torch.float64, device=device),
    )
