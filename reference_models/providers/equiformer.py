"""Equiformer (Liao and Smidt, ICLR 2023) from the package xnns, on our edges and trainer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch

from . import guarded
from .parts import directed_edges, seed, total


@dataclass(frozen=True)
class Config:
    """``channels`` of degree 0 (half of them for degree 1, a quarter for degree 2), ``blocks``, ``heads``,
    ``cutoff`` Angstrom, ``radial`` functions, width of the last features. ``smooth``: messages end at the cutoff; the
    published model's do not, and its energy jumps there."""

    channels: int = 32
    blocks: int = 2
    heads: int = 2
    cutoff: float = 5.0
    radial: int = 16
    width: int = 64
    smooth: bool = True


# The authors' MD17 model of degree 2: 3.5 M parameters; not smooth.
PAPER = Config(channels=128, blocks=6, heads=4, radial=32, width=512, smooth=False)


class Equiformer(nn.Module):
    """``forward(batch)`` -> {"energy": [B] in units of the training scale, "embedding": [A, width]}."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = c = config
        number = seed()
        with guarded("xnns"):
            from xnn.trfnn.models import Equiformer as Network

            torch.manual_seed(number)

            def irreps(n: int) -> str:
                return f"{n}x0e+{n // 2}x1e+{n // 4}x2e"

            self.network = Network(
                irreps(c.channels),
                n_interactions=c.blocks,
                cutoff=c.cutoff,
                n_rbf=c.radial,
                irreps_feature=f"{c.width}x0e",
                irreps_head=irreps(c.channels // 4),
                num_heads=c.heads,
                irreps_mlp_mid=irreps(3 * c.channels),
                smooth_cutoff=c.smooth,
            )
        self.network.atom_ref.requires_grad_(False)  # energies of free atoms are ours to add

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        index, r = directed_edges(batch)
        features, per_atom = self.network._evaluate(batch.atomic_numbers, index, r, batch.system_index, batch.n_systems)
        return {"energy": total(per_atom, batch), "embedding": features[:, : self.network.node_feature_dim]}
