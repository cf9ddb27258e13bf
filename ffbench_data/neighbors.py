"""Edge lists for batches (all pairs for open systems, vesin for periodic ones) and places near the origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from .contract import AtomsBatch


def with_edges(batch: AtomsBatch, cutoff: float) -> AtomsBatch:
    """``batch`` with every directed pair (i, j) with |r_ij| <= cutoff (Angstrom), sorted by i within a system.

    One rule for open and periodic systems, in float64: a pair exactly at the cutoff is in. No atom has an edge to
    itself in the same cell; two atoms at one place do have one (of length 0); one without a finite position has none.

    >>> import torch
    >>> pair = AtomsBatch(torch.tensor([[0., 0, 0], [1, 0, 0]]), torch.tensor([1, 1]), torch.tensor([0, 0]),
    ...                   torch.zeros(1, 3, 3), torch.zeros(1, 3, dtype=torch.bool))
    >>> with_edges(pair, 2.0).edge_index
    tensor([[0, 1],
            [1, 0]])
    """
    index, shift = edges(batch, cutoff)
    return replace(batch, edge_index=index, edge_shift=shift)


def edges(batch: AtomsBatch, cutoff: float) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(edge_index [2, E], edge_shift [E, 3] or None when no system is periodic)."""
    if not bool(batch.pbc.any()):
        return _open_edges(batch, cutoff), None
    device = batch.positions.device
    positions = batch.positions.detach().to("cpu", torch.float64).numpy()
    cell = batch.cell.detach().to("cpu", torch.float64)
    pbc = batch.pbc.cpu()
    full = completed_cell(cell, pbc).numpy()
    starts = np.concatenate([[0], np.cumsum(batch.n_atoms.cpu().numpy())])
    pairs, shifts = [], []
    for b in range(batch.n_systems):
        part = positions[starts[b] : starts[b + 1]]
        i, j, s = _periodic_edges(part, cell[b].numpy(), pbc[b].numpy(), full[b], cutoff)
        pairs.append(np.stack([i, j]) + starts[b])
        shifts.append(s)
    index = torch.from_numpy(np.concatenate(pairs, axis=1)).to(device)
    return index, torch.from_numpy(np.concatenate(shifts)).to(device)


def completed_cell(cell: torch.Tensor, pbc: torch.Tensor) -> torch.Tensor:
    """Cells [B, 3, 3] whose rows along open directions are unit vectors normal to the periodic rows and each other.

    Whatever the row along an open direction was (data have zeros there), fractional coordinates along the periodic
    directions are then those of the lattice, and along the open ones Angstrom. ValueError where a direction is said
    to be periodic and the cell has no vector of its own there.
    """
    full = cell.clone()
    count = pbc.sum(-1)
    eye = torch.eye(3, dtype=cell.dtype, device=cell.device)
    full[count == 0] = eye
    for k in range(3):
        after, last = (k + 1) % 3, (k + 2) % 3
        slab = (count == 2) & ~pbc[:, k]
        full[slab, k] = _unit(torch.linalg.cross(cell[slab, after], cell[slab, last]))
        wire = (count == 1) & pbc[:, k]
        along = cell[wire, k]
        side = _unit(torch.linalg.cross(along, eye[along.abs().argmin(-1)]))
        full[wire, after], full[wire, last] = side, _unit(torch.linalg.cross(along, side))
    lengths = full.norm(dim=-1).prod(-1)
    flat = ~(torch.linalg.det(full).abs() > 1e-10 * lengths)
    if bool(flat.any()):
        b = int(flat.nonzero()[0])
        raise ValueError(
            f"system {b} is periodic along {pbc[b].tolist()} but its cell {cell[b].tolist()} does not span these "
            "directions: give a lattice vector for each, or set pbc to False there"
        )
    return full


def near_origin(batch: AtomsBatch) -> AtomsBatch:
    """``batch`` with every system moved near the origin, which changes no distance: wrapped into the cell along
    periodic directions, relative to the centroid along open ones. For batches without edges."""
    x, b = batch.positions, batch.system_index
    if not bool(batch.pbc.any()):  # the same numbers as below, without cells of unit vectors to solve for
        sums = x.new_zeros(batch.n_systems, 3).index_add(0, b, x.detach())
        return replace(batch, positions=x - (sums / batch.n_atoms.clamp(min=1)[:, None]).index_select(0, b))
    full = completed_cell(batch.cell, batch.pbc)
    fractional = torch.einsum("aj,ajk->ak", x.detach(), torch.linalg.inv(full).to(x.dtype).index_select(0, b))
    mean = fractional.new_zeros(batch.n_systems, 3).index_add(0, b, fractional)
    mean = mean / batch.n_atoms.clamp(min=1)[:, None]
    turns = torch.where(batch.pbc.index_select(0, b), torch.floor(fractional), mean.index_select(0, b))
    offset = torch.einsum("aj,ajk->ak", turns, full.to(x.dtype).index_select(0, b))
    return replace(batch, positions=x - offset)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-300)


def _periodic_edges(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, full: np.ndarray, cutoff: float):
    from vesin import NeighborList

    with np.errstate(invalid="ignore", over="ignore"):
        turns = np.abs(np.where(pbc, positions @ np.linalg.inv(full), positions - positions)).max(1, initial=0)
    here = np.flatnonzero(turns < 1e9)  # not NaN; vesin counts cells in integers and its grid has no place for the rest
    x = _without_gaps(positions[here], pbc, full, 2 * cutoff)
    some = bool(pbc.any() and not pbc.all())
    # A little more than asked for, so that vesin's own rounding does not decide about pairs at the cutoff.
    i, j, s = NeighborList(cutoff=cutoff * (1 + 1e-9) + 1e-9, full_list=True, sorted=True).compute(
        points=x, box=cell, periodic=pbc.tolist() if some else bool(pbc.all()), quantities="ijS"
    )  # fmt: skip
    i, j, s = here[i.astype(np.int64)], here[j.astype(np.int64)], s.astype(np.int64)
    r = positions[j] - positions[i] + s @ cell
    keep = (r**2).sum(1) <= cutoff**2
    return i[keep], j[keep], s[keep]


def _without_gaps(x: np.ndarray, pbc: np.ndarray, full: np.ndarray, widest: float):
    """Positions whose empty stretches along open directions are cut to ``widest`` (above the cutoff): the same pairs,
    and no grid over 1e6 Angstrom for one atom that flew off, which takes all memory or ends Python."""
    for k in np.flatnonzero(~pbc):
        along = x @ full[k]
        order = np.argsort(along)
        excess = np.maximum(np.diff(along[order]) - widest, 0)
        if excess.any() or np.abs(along).max(initial=0) > 1e3 * widest:
            back = np.empty(len(x))
            back[order] = along[order[0]] + np.concatenate([[0], np.cumsum(excess)])
            x = x - back[:, None] * full[k]
    return x


def all_pairs(n_atoms: torch.Tensor) -> torch.Tensor:
    """Every ordered pair of different atoms within each system [2, E], for systems of ``n_atoms`` [B] atoms."""
    blocks, start = [], 0
    for n in n_atoms.tolist():
        a = torch.arange(n)
        i, j = torch.meshgrid(a, a, indexing="ij")
        keep = i != j
        blocks.append(torch.stack([i[keep], j[keep]]) + start)
        start += n
    return torch.cat(blocks, 1).to(n_atoms.device) if blocks else torch.zeros(2, 0, dtype=torch.long)


def _open_edges(batch: AtomsBatch, cutoff: float) -> torch.Tensor:
    index = all_pairs(batch.n_atoms)
    x = batch.positions.detach().to(torch.float64)
    squared = (x[index[1]] - x[index[0]]).square().sum(-1)
    return index[:, squared <= cutoff**2]
