"""TorchMD-NET's equivariant transformer (Thölke and De Fabritiis, ICLR 2022), on our edges and trainer."""

from __future__ import annotations

from dataclasses import dataclass

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
            from torchmdnet.models.model import create_model

            torch.manual_seed(number)
            made = create_model(
                dict(
                    model="equivariant-transformer",
                    embedding_dimension=c.features,
                    num_layers=c.layers,
                    num_rbf=c.radial,
                    rbf_type="expnorm",
                    trainable_rbf=False,
                    activation="silu",
                    attn_activation="silu",
                    cutoff_lower=0.0,
                    cutoff_upper=c.cutoff,
                    max_z=100,
                    max_num_neighbors=64,
                    aggr="add",
                    neighbor_embedding=True,
                    num_heads=c.heads,
                    distance_influence="both",
                    prior_model=None,
                    output_model="Scalar",
                    reduce_op="add",
                    derivative=False,
                    precision=32,
                    equivariance_invariance_group="O(3)",
                    box_vecs=None,
                    static_shapes=False,
                    check_errors=True,
                    vector_cutoff=c.smooth,
                    atom_filter=-1,
                )
            )
        self.representation, self.output = made.representation_model, made.output_model
        # Edges come from us: no compiled neighbour search, any cell, float64 where asked for.
        self.representation.distance = GivenEdges()

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        index, r = directed_edges(batch)
        if bool((index[0] == index[1]).any()):
            raise ValueError(
                f"an atom has its own image within {self.config.cutoff} A: the equivariant transformer of torchmd-net "
                "cannot tell it from a self-loop; use a larger cell"
            )
        self.representation.distance.edges = index, r
        system, z = batch.system_index, batch.atomic_numbers
        x, v, *_ = self.representation(z, batch.positions, system)
        self.representation.distance.edges = None
        per_atom = self.output.pre_reduce(x, v, z, batch.positions, system)
        return {"energy": total(per_atom.squeeze(-1), batch), "embedding": x}


class GivenEdges(nn.Module):
    """Stands where torchmd-net searches neighbours: returns given edges, with the self-loops it expects."""

    edges: tuple[Tensor, Tensor] | None = None

    def forward(self, pos: Tensor, batch: Tensor, box: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        assert self.edges is not None
        index, r = self.edges
        loop = torch.arange(len(pos), device=pos.device)
        # Their vectors point from j (second row) to i (first row).
        vectors = torch.cat([-r, r.new_zeros(len(pos), 3)])
        lengths = torch.cat([r.square().sum(-1).sqrt(), r.new_zeros(len(pos))])
        return torch.cat([index, loop.expand(2, -1)], 1), lengths, vectors
