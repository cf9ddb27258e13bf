"""DimeNet and DimeNet++ (Gasteiger et al., ICLR 2020; NeurIPS workshop 2020): layers of torch-geometric, our graph.

The package's own forward needs compiled extensions (torch-sparse, pyg-lib) and knows no cells; its layers do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch

from . import guarded
from .parts import directed_edges, seed, total


@dataclass(frozen=True)
class Config:
    """``features`` per directed edge, ``blocks``, ``plus`` for DimeNet++, ``cutoff`` Angstrom, ``radial`` and
    ``spherical`` functions."""

    features: int = 48
    blocks: int = 2
    plus: bool = True
    cutoff: float = 5.0
    radial: int = 6
    spherical: int = 5


# Fu et al. (2023): DimeNet, 2.1 M parameters.
PAPER = Config(features=128, blocks=6, plus=False, radial=6, spherical=7)


class DimeNet(nn.Module):
    """``forward(batch)`` -> {"energy": [B] in units of the training scale, "embedding": [A, features]}."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = c = config
        number = seed()
        with guarded("pyg"):
            torch.manual_seed(number)
            made = make(c)
        self.radial, self.angular, self.embed = made.rbf, made.sbf, made.emb
        self.outputs, self.interactions = made.output_blocks, made.interaction_blocks
        with torch.no_grad():  # start with energies of order one
            for block in self.outputs:
                block.lin.weight.mul_(0.05)

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        index, r = directed_edges(batch)
        n = len(batch.atomic_numbers)
        # Messages flow j -> i: the sender is the second row.
        i, j = index
        d = r.square().sum(-1).sqrt()
        kj, ji = triplets(i, j, r, n)
        u, w = r[ji], r[kj]  # from i to j, and from j to k
        v = w if self.config.plus else u + w  # the angle against j's next edge, or at i between j and k
        cosine, sine = (u * v).sum(-1), torch.linalg.cross(u, v)
        angle = torch.atan2((sine.square().sum(-1) + 1e-18).sqrt(), cosine)
        rbf = self.radial(d)
        sbf = self.angular(d, angle, kj)
        x = self.embed(batch.atomic_numbers, rbf, i, j)
        features: list[Tensor] = []
        hook = self.outputs[-1].lin.register_forward_pre_hook(lambda _module, given: features.append(given[0]))
        per_atom = self.outputs[0](x, rbf, i, num_nodes=n)
        for block, output in zip(self.interactions, self.outputs[1:]):
            x = block(x, rbf, sbf, kj, ji)
            per_atom = per_atom + output(x, rbf, i, num_nodes=n)
        hook.remove()
        return {"energy": total(per_atom.squeeze(-1), batch), "embedding": features[-1]}


def triplets(i: Tensor, j: Tensor, r: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """(edge k -> j, edge j -> i) [T] each, of all pairs that meet at j, without the way back (k = i in its place)."""
    order = torch.argsort(i, stable=True)
    degree = torch.bincount(i, minlength=n)
    first = degree.cumsum(0) - degree
    many = degree[j]  # edges that end at j
    ji = torch.repeat_interleave(torch.arange(len(i), device=i.device), many)
    place = torch.arange(len(ji), device=i.device) - torch.repeat_interleave(many.cumsum(0) - many, many)
    kj = order[first[j[ji]] + place]
    there_and_back = (r.detach()[kj] + r.detach()[ji]).square().sum(-1) < 1e-6
    keep = ~(there_and_back & (j[kj] == i[ji]))
    return kj[keep], ji[keep]


def make(c: Config) -> Any:
    """The package's own model."""
    from torch_geometric.nn.models import dimenet

    common = {
        "hidden_channels": c.features,
        "out_channels": 1,
        "num_blocks": c.blocks,
        "num_spherical": c.spherical,
        "num_radial": c.radial,
        "cutoff": c.cutoff,
        "output_initializer": "glorot_orthogonal",
    }
    if c.plus:
        sizes = {"int_emb_size": c.features // 2, "basis_emb_size": 8, "out_emb_channels": c.features}
        return dimenet.DimeNetPlusPlus(**sizes, **common)
    return dimenet.DimeNet(num_bilinear=8, **common)
