"""MACE (Batatia et al., NeurIPS 2022) from the package mace-torch, on our edges and trainer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch

from . import guarded
from .parts import Elements, directed_edges, mean_degree, seed, total


@dataclass(frozen=True)
class Config:
    """``channels`` per irrep, message irreps up to ``degree``, spherical harmonics up to ``harmonics``, body order
    ``correlation`` + 1, ``layers``, ``cutoff`` Angstrom, ``radial`` functions, ``elements``."""

    channels: int = 16
    degree: int = 1
    harmonics: int = 2
    correlation: int = 3
    layers: int = 2
    cutoff: float = 5.0
    radial: int = 8
    radial_width: int = 32
    readout: int = 16
    elements: tuple[int, ...] = ()


# The authors' settings for revised MD17: 256 channels, degree 2, spherical harmonics to degree 3.
PAPER = Config(channels=256, degree=2, harmonics=3, radial_width=64)


class MACE(nn.Module):
    """``forward(batch)`` -> {"energy": [B] in units of the training scale, "embedding": [A, D] invariant features}."""

    neighbors: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = c = config
        self.elements = Elements(c.elements, "MACE")
        number = seed()
        with guarded("mace"):
            import e3nn
            import numpy as np
            from e3nn import o3
            from mace import modules

            e3nn.set_optimization_defaults(jit_mode="eager")  # scripted parts can be neither copied nor sent
            torch.manual_seed(number)
            hidden = o3.Irreps("+".join(f"{c.channels}x{n}{'eo'[n % 2]}" for n in range(c.degree + 1)))
            self.network = modules.MACE(
                r_max=c.cutoff,
                num_bessel=c.radial,
                num_polynomial_cutoff=5,
                max_ell=c.harmonics,
                interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
                interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
                num_interactions=c.layers,
                num_elements=len(c.elements),
                hidden_irreps=hidden,
                MLP_irreps=o3.Irreps(f"{c.readout}x0e"),
                atomic_energies=np.zeros(len(c.elements)),
                avg_num_neighbors=8.0,
                atomic_numbers=list(c.elements),
                correlation=c.correlation,
                gate=nn.functional.silu,
                radial_MLP=[c.radial_width] * 3,
            )
        self.register_buffer("neighbors", torch.tensor(8.0, dtype=torch.float64))

    def calibrate(self, batch: AtomsBatch) -> None:
        """Mean number of neighbours, by which sums over edges are normalised."""
        self.neighbors.fill_(mean_degree(batch))

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        index, r = directed_edges(batch)
        n = self.neighbors.to(r.dtype)
        for block in self.network.interactions:
            block.avg_num_neighbors = n
        counts = batch.n_atoms
        i, j = index
        data = {
            "positions": batch.positions,
            "node_attrs": self.elements.one_hot(batch.atomic_numbers, r.dtype),
            "edge_index": index,
            # Positions of the edge's ends cancel to its lattice vector, without looking at the cell again.
            "shifts": (r - (batch.positions[j] - batch.positions[i])).detach(),
            "unit_shifts": torch.zeros_like(r),
            "cell": batch.cell.reshape(-1, 3),
            "batch": batch.system_index,
            "ptr": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        }
        out = self.network(data, training=self.training, compute_force=False)
        features, c = out["node_feats"], self.config
        # Layers stand side by side: the scalars lead each, the last layer has nothing else.
        width = c.channels * (c.degree + 1) ** 2
        scalars = [features[:, k * width : k * width + c.channels] for k in range(c.layers)]
        return {"energy": total(out["node_energy"], batch), "embedding": torch.cat(scalars, 1)}
