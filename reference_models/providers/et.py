"""TorchMD-NET's equivariant transformer (Thölke and De Fabritiis, ICLR 2022), on our edges and trainer."""

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
    """``features``, ``layers``, ``heads``, ``cutoff`` Angstrom, ``radial`` functions. ``smooth`` weights values and
    attention with the cutoff function; the published model does it for the attention alone, and its energy jumps."""

    features: int = 64
    layers: int = 3
    heads: int = 8
    cutoff: float = 5.0
    radial: int = 24
    smooth: bool = True


# The authors' settings for MD17.
PAPER = Config(features=128, layers=6, heads=8, radial=32, smooth=True)


class ET(nn.Module):
    """``forward(batch)`` -> {"energy": [B] in units of the training scale, "embedding": [A, features]}."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = c = config
        number = seed()
        with guarded("torchmdnet"):
            torch.manual_seed(number)
            made = make(c)
        self.representation, self.output = made.representation_model, made.output_model
        # Edges come from us: no compiled neighbour search, any cell, float64 where asked for.
        self.representation.distance = nn.Identity()

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        index, r = directed_edges(batch)
        z, near = batch.atomic_numbers, self.representation.neighbor_embedding
        d = r.square().sum(-1).sqrt()
        radial = self.representation.distance_expansion(d)
        i, j = index
        weight = near.distance_proj(radial) * near.cutoff(d).unsqueeze(1)
        x = self.representation.embedding(z)
        around = torch.zeros_like(x).index_add(0, i, weight * near.embedding(z).index_select(0, j))
        x = near.combine(torch.cat([x, around], 1))
        # Attention has self-loops; the package finds edges by unequal ends, which images of an atom would break.
        loop = torch.arange(len(z), device=z.device)
        edges = torch.cat([index, loop.expand(2, -1)], 1)
        zero = r.new_zeros(len(z))
        lengths, units = torch.cat([d, zero]), torch.cat([-r / d.unsqueeze(1), r.new_zeros(len(z), 3)])
        radial = torch.cat([radial, self.representation.distance_expansion(zero)])
        v = x.new_zeros(len(z), 3, x.shape[1])
        for layer in self.representation.attention_layers:
            dx, dv = layer(x, v, edges, lengths, radial, units)
            x, v = x + dx, v + dv
        x = self.representation.out_norm(x)
        per_atom = self.output.pre_reduce(x, v, z, batch.positions, batch.system_index)
        return {"energy": total(per_atom.squeeze(-1), batch), "embedding": x}


def make(c: Config, derivative: bool = False) -> Any:
    """The package's own model."""
    from torchmdnet.models.model import create_model

    return create_model(
        {
            "model": "equivariant-transformer",
            "embedding_dimension": c.features,
            "num_layers": c.layers,
            "num_rbf": c.radial,
            "rbf_type": "expnorm",
            "trainable_rbf": False,
            "activation": "silu",
            "attn_activation": "silu",
            "cutoff_lower": 0.0,
            "cutoff_upper": c.cutoff,
            "max_z": 100,
            "max_num_neighbors": 64,
            "aggr": "add",
            "neighbor_embedding": True,
            "num_heads": c.heads,
            "distance_influence": "both",
            "prior_model": None,
            "output_model": "Scalar",
            "reduce_op": "add",
            "derivative": derivative,
            "precision": 32,
            "equivariance_invariance_group": "O(3)",
            "box_vecs": None,
            "static_shapes": False,
            "check_errors": True,
            "vector_cutoff": c.smooth,
            "atom_filter": -1,
        }
    )
