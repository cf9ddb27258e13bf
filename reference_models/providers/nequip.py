"""NequIP (Batzner et al., Nature Communications 13, 2453, 2022) from the package nequip, on our edges and trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch

from . import guarded
from .parts import Elements, directed_edges, mean_degree, seed, set_remembered_dtype, total


@dataclass(frozen=True)
class Config:
    """``features`` per irrep of degree up to ``degree`` (both parities if ``parity``), ``layers``, ``cutoff``
    Angstrom, ``radial`` functions (``trainable``), hidden layers of the radial network, ``elements``. ``types`` is
    the width of the element embedding that the skip connections multiply with (0: ``features``)."""

    features: int = 16
    degree: int = 2
    layers: int = 3
    cutoff: float = 5.0
    radial: int = 8
    trainable: bool = False
    parity: bool = False
    radial_depth: int = 1
    radial_width: int = 64
    types: int = 0
    elements: tuple[int, ...] = ()


# The settings of Fu et al. (2023) for MD17. They give 1.05 M parameters in the version of 2022. `types`: that version
# multiplied with a one-hot of the elements (three in ethanol), the present one by default with 32 learned numbers.
PAPER = Config(features=32, degree=3, layers=5, cutoff=4.0, trainable=True, parity=True, radial_depth=2, types=3)


class GraphNetwork(nn.Module):
    """An energy model of the nequip framework: ``forward(batch)`` -> {"energy": [B], "embedding": [A, D]}."""

    neighbors: Tensor

    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.elements = Elements(config.elements, type(self).__name__)
        with guarded("nequip"):
            from nequip.utils.global_state import set_global_state

            set_global_state()
        number = seed()
        with guarded("nequip"):
            self.network = self._build(number).model
        self.register_buffer("neighbors", torch.tensor(8.0, dtype=torch.float64))

    def _build(self, number: int) -> Any:
        raise NotImplementedError

    def calibrate(self, batch: AtomsBatch) -> None:
        """Mean number of neighbours, by which sums over edges are normalised."""
        self.neighbors.fill_(mean_degree(batch))

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        index, r = directed_edges(batch)
        set_remembered_dtype(self.network, r.dtype)
        scale = self.neighbors.rsqrt().to(r.dtype).view(1, 1)
        data = {
            "pos": batch.positions,
            "edge_index": index,
            "edge_vectors": r,
            "atom_types": self.elements(batch.atomic_numbers),
            "batch": batch.system_index,
            "num_atoms": batch.n_atoms,
            "num_nodes": batch.n_atoms,
        }
        for part in self.network.modules():
            if hasattr(part, "norm_const"):
                part.norm_const = scale
        data = self.network(data)
        per_atom = data["atomic_energy"].squeeze(-1).to(r.dtype)  # the package adds up in float64
        return {"energy": total(per_atom, batch), "embedding": self._embedding(data, index)}

    def _embedding(self, data: dict[str, Tensor], index: Tensor) -> Tensor:
        return data["node_features"]


class NequIP(GraphNetwork):
    def _build(self, number: int) -> Any:
        from nequip.model import NequIPGNNModel

        c = self.config
        return NequIPGNNModel(
            seed=number,
            model_dtype="float32",
            r_max=c.cutoff,
            type_names=[f"Z{z}" for z in c.elements],
            num_layers=c.layers,
            l_max=c.degree,
            parity=c.parity,
            num_features=c.features,
            num_bessels=c.radial,
            bessel_trainable=c.trainable,
            radial_mlp_depth=c.radial_depth,
            radial_mlp_width=c.radial_width,
            type_embed_num_features=c.types or None,
            avg_num_neighbors=8.0,
            per_type_energy_scales=1.0,
            per_type_energy_shifts=0.0,
            do_derivatives=False,
        )
