"""Allegro (Musaelian et al., Nature Communications 14, 579, 2023) from the package nequip-allegro."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from . import guarded
from .nequip import GraphNetwork


@dataclass(frozen=True)
class Config:
    """``scalars`` and ``tensors`` per edge, ``degree``, ``layers``, ``cutoff`` Angstrom, ``radial`` functions,
    ``depth`` and ``width`` of the networks, ``elements``."""

    scalars: int = 32
    tensors: int = 8
    degree: int = 2
    layers: int = 2
    cutoff: float = 5.0
    radial: int = 8
    parity: bool = True
    depth: int = 1
    width: int = 32
    elements: tuple[int, ...] = ()


# The authors' settings for revised MD17, as far as version 0.8 of the package has them.
PAPER = Config(scalars=128, tensors=32, degree=3, layers=3, cutoff=7.0, depth=3, width=256)


class Allegro(GraphNetwork):
    """Features live on edges; the embedding of an atom is the sum over its edges."""

    def _build(self, number: int) -> Any:
        with guarded("allegro"):
            from allegro.model import AllegroModel

        c = self.config
        radial = {
            "_target_": "allegro.nn.TwoBodyBesselScalarEmbed",
            "num_bessels": c.radial,
            "bessel_trainable": False,
            "polynomial_cutoff_p": 6,
        }
        return AllegroModel(
            seed=number,
            model_dtype="float32",
            r_max=c.cutoff,
            type_names=[f"Z{z}" for z in c.elements],
            l_max=c.degree,
            parity=c.parity,
            radial_chemical_embed=radial,
            num_layers=c.layers,
            num_scalar_features=c.scalars,
            num_tensor_features=c.tensors,
            scalar_embed_mlp_hidden_layers_depth=c.depth,
            scalar_embed_mlp_hidden_layers_width=c.width,
            allegro_mlp_hidden_layers_depth=c.depth,
            allegro_mlp_hidden_layers_width=c.width,
            readout_mlp_hidden_layers_width=c.width,
            avg_num_neighbors=8.0,
            per_type_energy_scales=1.0,
            per_type_energy_shifts=0.0,
            do_derivatives=False,
        )

    def _embedding(self, data: dict[str, Tensor], index: Tensor) -> Tensor:
        per_edge = data["edge_features"]
        return per_edge.new_zeros(len(data["atom_types"]), per_edge.shape[1]).index_add(0, index[0], per_edge)
