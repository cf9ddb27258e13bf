"""Edges once per pair: radial filters depend on the distance alone, so both directions share them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ffbench_data.contract import AtomsBatch


def half_edges(batch: AtomsBatch) -> tuple[Tensor, Tensor, Tensor]:
    """(i [P], j [P], r_ij [P, 3]): every undirected pair once, out of the batch's full directed list.

    Of an atom and its own periodic image, the one with a lexicographically positive shift is kept.
    """
    if batch.edge_index is None:
        raise ValueError("batch has no edges: call ffbench_data.neighbors.with_edges(batch, cutoff) first")
    i, j = batch.edge_index
    if batch.paired:  # the engine's lists: the first half is what we want, and no branch on a value is needed
        half = i.shape[0] // 2
        return i[:half], j[:half], batch.edge_vectors()[:half]
    first = i < j
    if batch.edge_shift is not None:
        s = batch.edge_shift
        order = (torch.sign(s) * s.new_tensor([9, 3, 1])).sum(-1)  # a GPU has no products of integer matrices
        first = first | ((i == j) & (order > 0))
    rows = first.nonzero().squeeze(1)
    i, j = i.index_select(0, rows), j.index_select(0, rows)
    r = batch.positions.index_select(0, j) - batch.positions.index_select(0, i)
    if batch.edge_shift is not None:
        shift = batch.edge_shift.index_select(0, rows).to(r.dtype)
        cell = batch.cell.index_select(0, batch.system_index.index_select(0, i))
        r = r + torch.einsum("pa,pab->pb", shift, cell)
    return i, j, r


def both_directions(batch: AtomsBatch) -> tuple[Tensor, Tensor, Tensor]:
    """(i [E], j [E], r_ij [E, 3]) of all directed edges, the second half the reverse of the first, edge by edge."""
    i, j, r = half_edges(batch)
    return torch.cat([i, j]), torch.cat([j, i]), torch.cat([r, -r])


def gaussians(d: Tensor, cutoff: float, size: int, width: float = 1.0) -> Tensor:
    """exp(-(d - mu_n)^2 / 2 w^2) [P, size], mu_n even from 0 to rc, w = ``width`` times their spacing."""
    spacing = cutoff / (size - 1)
    mu = torch.arange(size, dtype=d.dtype, device=d.device) * spacing
    return torch.exp((d.unsqueeze(-1) - mu).square() * (-0.5 / (width * spacing) ** 2))


def bessel(d: Tensor, cutoff: float, size: int) -> Tensor:
    """Radial basis sin(n pi d / rc) / d for n = 1..size [P, size] (Gasteiger et al., ICLR 2020, eq. 7)."""
    n = torch.arange(1, size + 1, dtype=d.dtype, device=d.device)
    return torch.sin(d.unsqueeze(-1) * (n * (math.pi / cutoff))) / d.unsqueeze(-1)


def cosine_cutoff(d: Tensor, cutoff: float) -> Tensor:
    """(1 + cos(pi d / rc)) / 2, zero with zero slope at rc."""
    return 0.5 * (torch.cos(d * (math.pi / cutoff)) + 1.0) * (d < cutoff)


def tracing() -> bool:
    """Whether shapes and branches are being recorded (torch.compile, make_fx), so that none may depend on values."""
    from torch.fx.experimental.proxy_tensor import get_proxy_mode

    return torch.compiler.is_compiling() or get_proxy_mode() is not None
