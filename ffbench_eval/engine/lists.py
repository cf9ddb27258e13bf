"""Edge lists of a fixed length, made inside the step: no shape and no branch depends on a value.

So a step with such a list can be traced, compiled and, on a GPU, captured. Half lists: one edge of every pair. Places
that no pair within the cutoff needs hold the edge of the two ghosts (see `static.haunted`).

- `AllPairs`, open systems: every pair has its place.
- `NearestImages`, periodic, where the cutoff is below half of the cell's smallest height: a pair then has at most one
  image within the cutoff, and rounding finds it. Exact, without a skin, never outdated.
- `SkinList`, every other cell: candidates from the host, up to the cutoff and a skin.

A list is called with the positions [B, N, 3] and who is alive [B]; it gives the positions [A, 3] near the origin, the
half list [2, E], its shifts [E, 3] or ``None``, and two flags [2]: too old (an atom has left half the skin behind), too
long (more pairs than places). Where a flag is set the answer is no answer. Who is not alive has no edges and sets none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ffbench_data.neighbors import completed_cell, edges

from .forces import SKIN, ModelForces, half_of

BUCKET = 512  # numbers of places are multiples of this
MANY_PAIRS = 100_000  # of one replica, from which looking at all of them costs more than a list
OLD, LONG = 0, 1  # the flags

Listed = tuple[Tensor, Tensor | None, Tensor | None, Tensor]


class NoList:
    """For a model without a cutoff: positions near the origin, no edges."""

    fallible = False
    ready = True

    def __init__(self, forces: ModelForces):
        self.system, self.replicas = forces.system, forces.replicas
        self.periodic = forces.periodic
        cell, pbc = self.system.cell[None], self.system.pbc[None]
        self.full = completed_cell(cell, pbc)[0] if self.periodic else cell[0]
        self.inverse = torch.linalg.inv(self.full) if self.periodic else self.full
        self.capacity = 0

    @property
    def kind(self) -> str:
        return type(self).__name__

    def tensors(self) -> list[Tensor]:
        """What the step needs from outside."""
        return []

    def make(self, positions: Tensor) -> None:
        """A fresh list for these positions, where it comes from outside."""

    def forget(self) -> None:
        """Let the next list depend on the next positions only."""

    def grow(self) -> None:
        """More places, after the list was too long."""

    def near_origin(self, positions: Tensor) -> Tensor:
        """Positions [A, 3] as a float32 model should get them: wrapped, along open directions about the middle."""
        if not self.periodic:
            return (positions - positions.mean(1, keepdim=True)).reshape(-1, 3)
        return (positions - self.turns(positions) @ self.full).reshape(-1, 3)

    def turns(self, positions: Tensor) -> Tensor:
        fractional = positions @ self.inverse
        middle = fractional.mean(1, keepdim=True)
        return torch.where(self.system.pbc, torch.floor(fractional), middle)

    def __call__(self, positions: Tensor, alive: Tensor, tensors: Sequence[Tensor] = ()) -> Listed:
        return self.near_origin(positions), None, None, torch.zeros_like(alive[:1]).expand(2)


class AllPairs(NoList):
    """Open systems: all pairs."""

    def __init__(self, forces: ModelForces):
        super().__init__(forces)
        self.cutoff = float(forces.model.cutoff or 0.0)
        self.pairs, self.owner = _pairs(forces)
        self.ghosts = _ghosts(forces)
        self.capacity = self.pairs.shape[1]

    def __call__(self, positions: Tensor, alive: Tensor, tensors: Sequence[Tensor] = ()) -> Listed:
        x = self.near_origin(positions)
        r = x.index_select(0, self.pairs[1]) - x.index_select(0, self.pairs[0])
        half = torch.where(r.square().sum(-1) <= self.cutoff**2, self.pairs, self.ghosts)
        return x, half, None, torch.zeros_like(alive[:1]).expand(2)


class NearestImages(AllPairs):
    """Periodic systems whose cutoff is below half of the smallest height of the cell."""

    fallible = True

    def __init__(self, forces: ModelForces, capacity: int):
        super().__init__(forces)
        self.capacity = min(capacity, self.pairs.shape[1])

    def grow(self) -> None:
        self.capacity = min(grown(self.capacity), self.pairs.shape[1])

    def __call__(self, positions: Tensor, alive: Tensor, tensors: Sequence[Tensor] = ()) -> Listed:
        x = self.near_origin(positions)
        r = x.index_select(0, self.pairs[1]) - x.index_select(0, self.pairs[0])
        image = -torch.round(r @ self.inverse) * self.system.pbc
        near = (r + image @ self.full).square().sum(-1) <= self.cutoff**2
        near = near & alive.index_select(0, self.owner)
        half, shift, long = _placed(near, self.pairs, image.to(torch.int64), self.ghosts, self.capacity)
        return x, half, shift, torch.stack([torch.zeros_like(long), long])


class SkinList(NoList):
    """Any periodic cell: candidates within the cutoff and a skin, as long as nobody has moved by half the skin."""

    fallible = True

    def __init__(self, forces: ModelForces, capacity: int, candidates: int):
        super().__init__(forces)
        self.cutoff = float(forces.model.cutoff or 0.0)
        self.ghosts = _ghosts(forces)
        self.capacity, self.candidates, self.batch = capacity, candidates, forces.batch
        self.made: list[Tensor] = []

    @property
    def ready(self) -> bool:  # type: ignore[override]
        return bool(self.made)

    def tensors(self) -> list[Tensor]:
        return self.made

    def forget(self) -> None:
        self.made = []

    def grow(self) -> None:
        self.capacity = min(grown(self.capacity), self.candidates)

    def make(self, positions: Tensor) -> None:
        offset = (self.turns(positions) @ self.full).reshape(-1, 3)
        flat = positions.reshape(-1, 3) - offset
        index, shift = half_of(*edges(replace(self.batch, positions=flat), self.cutoff + SKIN))
        while index.shape[1] > self.candidates:
            self.candidates = grown(self.candidates)
        held = self.ghosts.repeat(1, self.candidates)
        held[:, : index.shape[1]] = index
        shifts = shift.new_zeros(self.candidates, 3)
        shifts[: index.shape[1]] = shift
        self.made = [held, shifts, offset, positions.clone()]

    def __call__(self, positions: Tensor, alive: Tensor, tensors: Sequence[Tensor] = ()) -> Listed:
        candidates, shift, offset, reference = tensors
        x = positions.reshape(-1, 3) - offset
        moved = (positions - reference).square().sum(-1).amax(1) > (SKIN / 2) ** 2
        atoms = len(x)
        first, second = candidates.clamp(max=atoms - 1).unbind(0)
        r = x.index_select(0, second) - x.index_select(0, first) + shift.to(x.dtype) @ self.system.cell
        near = (r.square().sum(-1) <= self.cutoff**2) & (candidates[0] < atoms)
        near = near & alive.index_select(0, first // (atoms // self.replicas))
        half, shifts, long = _placed(near, candidates, shift, self.ghosts, self.capacity)
        return x, half, shifts, torch.stack([(moved & alive).any(), long])


def lists_for(forces: ModelForces, positions: Sequence[Tensor], places: dict[str, int] | None = None) -> NoList:
    """The list of a system, with room for the pairs of each of ``positions`` [B, N, 3] and a twentieth more.

    ``places``: the numbers of places that an earlier process had arrived at.
    """
    if forces.model.cutoff is None:
        return NoList(forces)
    if not forces.periodic:
        return AllPairs(forces)
    places = places or {}
    capacity = places.get("edges") or max(room(_count(forces, x, forces.model.cutoff)) for x in positions)
    if nearest_is_enough(forces):
        return NearestImages(forces, capacity)
    candidates = places.get("candidates") or max(room(_count(forces, x, forces.model.cutoff + SKIN)) for x in positions)
    return SkinList(forces, capacity, candidates)


def nearest_is_enough(forces: ModelForces) -> bool:
    """Whether a pair has at most one image within the cutoff, and looking at all pairs is not too much.

    |r| < h/2, with h the smallest height along a periodic direction, means that every fractional coordinate of r along
    one is below 1/2: rounding finds it, in skewed cells too.
    """
    system, n = forces.system, len(forces.system.numbers)
    full = completed_cell(system.cell[None], system.pbc[None])[0]
    heights = 1 / torch.linalg.inv(full).norm(dim=0)[system.pbc]
    return float(forces.model.cutoff or 0.0) < float(heights.min()) / 2 and n * (n - 1) // 2 <= MANY_PAIRS


def room(pairs: int) -> int:
    """Places for a list that holds ``pairs``: 5 % more, up to a multiple of `BUCKET`."""
    return -(-int(pairs * 1.05 + 1) // BUCKET) * BUCKET


def grown(places: int) -> int:
    return -(-places * 5 // (4 * BUCKET)) * BUCKET


def _count(forces: ModelForces, positions: Tensor, cutoff: float) -> int:
    flat = positions.reshape(-1, 3)
    return edges(replace(forces.batch, positions=flat), cutoff)[0].shape[1] // 2


def _pairs(forces: ModelForces) -> tuple[Tensor, Tensor]:
    """(every pair i < j within a replica [2, P], the replica of each [P])."""
    n, device = len(forces.system.numbers), forces.system.masses.device
    i, j = torch.triu_indices(n, n, 1, device=device)
    base = torch.arange(forces.replicas, device=device)[:, None] * n
    pairs = torch.stack([(base + i).reshape(-1), (base + j).reshape(-1)])
    return pairs, pairs[0] // n


def _ghosts(forces: ModelForces) -> Tensor:
    """The edge [2, 1] of the two ghosts, who come after the atoms."""
    return torch.arange(2, device=forces.system.masses.device)[:, None] + len(forces.batch.positions)


def _placed(near: Tensor, pairs: Tensor, shift: Tensor, ghosts: Tensor, capacity: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs that are ``near``, in their order, in ``capacity`` places; whether there are more."""
    place = torch.cumsum(near, 0)  # 1 for the first
    # What is not near, or finds no place, goes to a last row that is cut off.
    slot = torch.where(near & (place <= capacity), place - 1, capacity)
    half = ghosts.repeat(1, capacity + 1).scatter(1, slot.expand(2, -1), pairs)
    shifts = shift.new_zeros(capacity + 1, 3).scatter(0, slot[:, None].expand(-1, 3), shift)
    return half[:, :capacity], shifts[:capacity], place[-1] > capacity
