"""GemNet-T and GemNet-dT (Gasteiger et al., NeurIPS 2021) from the package xnns, on our edges and trainer.

The package follows the authors' own code (spherical Bessel functions in the circular basis). The benchmark of
Fu et al. (2023) used a derivative with Gaussian radial functions, so that its weights do not fit here.
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
    """``features`` per atom and per edge, ``blocks``, sizes of the triplet interaction, ``cutoff`` Angstrom,
    ``radial`` and ``spherical`` functions."""

    features: int = 48
    blocks: int = 2
    triplet: int = 24
    bilinear: int = 24
    basis: int = 12
    cutoff: float = 5.0
    radial: int = 6
    spherical: int = 5


# Fu et al. (2023): 1.89 M parameters (T), 2.31 M (dT).
PAPER = Config(features=128, blocks=4, triplet=64, bilinear=64, basis=16, radial=6, spherical=7)


class GemNet(nn.Module):
    """``forward(batch)`` -> {"energy": [B], "embedding": [A, features]} and, with direct forces, {"forces": [A, 3]}."""

    direct_forces = False

    def __init__(self, config: Config):
        super().__init__()
        self.config = c = config
        number = seed()
        with guarded("xnns"):
            from xnn.gnn.models.gemnet import GemNet as Network

            torch.manual_seed(number)
            self.network = Network(
                n_features=c.features,
                n_edge_features=c.features,
                n_interactions=c.blocks,
                n_rbf=c.radial,
                n_spherical=c.spherical,
                cutoff=c.cutoff,
                n_triplet_features=c.triplet,
                n_bilinear_triplet=c.bilinear,
                n_rbf_features=c.basis,
                n_cbf_features=c.basis,
                quadruplets=False,
                direct_forces=self.direct_forces,
            )
        self.network.atom_ref.requires_grad_(False)  # energies of free atoms are ours to add

    def calibrate(self, batch: AtomsBatch) -> None:
        """Variance scaling factors, from a batch without labels (section 6 of the paper)."""
        self.network.fit_scaling_factors([graph(batch)])

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        index, r = directed_edges(batch)
        features, per_atom, forces = self.network._evaluate(batch.atomic_numbers, index, r)
        out = {"energy": total(per_atom, batch), "embedding": features}
        return {**out, "forces": forces} if self.direct_forces else out


class GemNetDirect(GemNet):
    """GemNet-dT: forces from a head of their own, equivariant, but not the gradient of the energy."""

    direct_forces = True


def graph(batch: AtomsBatch) -> Any:
    """The package's graph of a batch."""
    from xnn.common.data import AtomicGraph

    index, _ = directed_edges(batch)
    shifts = index.new_zeros(index.shape[1], 3) if batch.edge_shift is None else batch.edge_shift
    return AtomicGraph(
        pos=batch.positions,
        atomic_numbers=batch.atomic_numbers,
        edge_index=index,
        cell_shifts=shifts.to(batch.positions.dtype),
        batch=batch.system_index,
        n_atoms=batch.n_atoms,
        cell=batch.cell,
        pbc=batch.pbc,
    )
