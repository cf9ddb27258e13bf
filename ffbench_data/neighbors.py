"""Edge lists for batches: all pairs for open systems, vesin for periodic ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from .contract import AtomsBatch


def with_edges(batch: AtomsBatch, cutoff: float) -> AtomsBatch:
    """``batch`` with every directed pair (i, j) with 0 < |r_ij| <= cutoff (Angstrom), sorted by i within a system.

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
    cell = batch.cell.detach().to("cpu", torch.float64).numpy()
    pbc = batch.pbc.cpu().numpy()
    starts = np.concatenate([[0], np.cumsum(batch.n_atoms.cpu().numpy())])
    pairs, shifts = [], []
    for b in range(batch.n_systems):
        part = positions[starts[b] : starts[b + 1]]
        i, j, s = _periodic_edges(part, cell[b], pbc[b], cutoff)
        pairs.append(np.stack([i, j]) + starts[b])
        shifts.append(s)
    index = torch.from_numpy(np.concatenate(pairs, axis=1)).to(device)
    return index, torch.from_numpy(np.concatenate(shifts)).to(device)


def _periodic_edges(positions, cell, pbc, cutoff):
    from vesin import NeighborList

    i, j, s = NeighborList(cutoff=cutoff, full_list=True, sorted=True).compute(
        points=positions, box=cell, periodic=pbc.tolist() if pbc.any() and not pbc.all() else bool(pbc.all()),
        quantities="ijS",
    )  # fmt: skip
    return i.astype(np.int64), j.astype(np.int64), s.astype(np.int64)


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
    x = batch.positions.detach()
    squared = (x[index[1]] - x[index[0]]).square().sum(-1)
    return index[:, squared <= cutoff**2]
