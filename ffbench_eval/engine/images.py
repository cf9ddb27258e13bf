"""Nearest images: differences of unwrapped positions as a periodic system has them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Images:
    """``nearest(r [..., 3])`` -> the shortest of r + lattice vectors; in an open system r itself.

    Exact in every cell, skewed ones too: rounding in the Minkowski-reduced lattice leaves the shortest vector among
    the 27 neighbours of the one found (fewer in slabs and wires, whose open directions have no images).
    """

    def __init__(self, cell: Tensor, pbc: Tensor):
        self.periodic = bool(pbc.any())
        if not self.periodic:
            return
        from ase.geometry import minkowski_reduce

        # Reduction may reorder the periodic vectors; they are taken as rows [P, 3], whatever they are called.
        where = pbc.cpu().numpy()
        reduced = np.asarray(minkowski_reduce(np.where(where[:, None], cell.cpu().numpy(), 0.0), where)[0])[where]
        steps = np.array(list(itertools.product((-1, 0, 1), repeat=len(reduced))), float)
        f64: dict[str, Any] = {"dtype": torch.float64, "device": cell.device}
        self._rows = torch.as_tensor(reduced, **f64)
        self._inverse = torch.as_tensor(np.linalg.pinv(reduced), **f64)
        self._near = torch.as_tensor(steps @ reduced, **f64)

    def nearest(self, r: Tensor) -> Tensor:
        if not self.periodic:
            return r
        r = r - torch.round(r @ self._inverse) @ self._rows
        around = r[..., None, :] + self._near
        best = around.square().sum(-1).argmin(-1)
        return around.gather(-2, best[..., None, None].expand(*best.shape, 1, 3)).squeeze(-2)
