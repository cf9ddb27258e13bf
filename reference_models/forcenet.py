"""ForceNet (Hu et al., arXiv:2103.01436, 2021): forces straight from atom features, neither conservative nor
rotation-equivariant; it learns the symmetry from data, or not.

Choices that differ from the authors' code, with the same number of parameters: layer normalisation in place of batch
normalisation (answers must not depend on the other structures of a batch, and averages of weights must work); nine
atomic properties out of ASE's tables in place of the authors' nine; a window without slope at the cutoff; distances
between surfaces may be negative, where theirs are cut at nearly zero, which every bond reaches; an atom without
neighbours has no force. With these exchanged the authors' code gives the same answers (tests/models/test_agreement.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch

from .pairs import both_directions, cosine_cutoff

HARMONICS = 9  # degrees 0 to 2
PERIODS = (0, 2, 10, 18, 36, 54, 86, 118)


@dataclass(frozen=True)
class Config:
    """``features`` per atom and in the decoder, ``layers``, ``cutoff`` Angstrom, ``frequencies`` of the sine basis.

    The frequencies are 1.1^k: fewer of them lack the highest, and a bond that stretches by 0.05 Angstrom, 0.008 of
    the cutoff, then moves no input. With 16 nothing was learnt in the time in which 50 reach a quarter of the error
    of predicting none.
    """

    features: int = 96
    layers: int = 3
    cutoff: float = 6.0
    frequencies: int = 50


# Fu et al. (2023): 11.37 M parameters.
PAPER = Config(features=512, layers=5)


class ForceNet(nn.Module):
    """``forward(batch)`` -> {"energy": [B], "forces": [A, 3], "embedding": [A, features]}; see `direct_forces`."""

    direct_forces = True
    equivariant = False
    properties: Tensor
    radii: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = c = config
        properties, radii = atomic_properties()
        self.register_buffer("properties", properties, persistent=False)
        self.register_buffer("radii", radii, persistent=False)
        self.embedding = nn.Linear(properties.shape[1] * c.frequencies, c.features)
        self.distances = nn.Linear(4 * c.frequencies, 4)
        self.layers = nn.ModuleList(Interaction(c.features, 4 * HARMONICS) for _ in range(c.layers))
        self.last = nn.Linear(c.features, c.features)
        self.decoder = nn.Sequential(
            nn.Linear(c.features, c.features), nn.LayerNorm(c.features), nn.SiLU(), nn.Linear(c.features, 3)
        )
        self.energy = nn.Linear(c.features, 1)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        c = self.config
        i, j, r = both_directions(batch)
        d = r.square().sum(-1).sqrt()
        z = batch.atomic_numbers
        mine, other = self.radii[z[i]], self.radii[z[j]]
        # Distances between centres and between surfaces, and their angles in one product.
        lengths = torch.stack([d, d - mine - other, d - mine, d - other], 1) / c.cutoff
        basis = self.distances(sines(lengths, c.frequencies))
        edges = (basis.unsqueeze(2) * harmonics(r / d.unsqueeze(1)).unsqueeze(1)).flatten(1)
        window = cosine_cutoff(d, c.cutoff).unsqueeze(1)
        h = self.embedding(sines(self.properties[z], c.frequencies))
        for layer in self.layers:
            h = h + layer(h, i, j, edges, window)
        h = nn.functional.silu(self.last(h))
        per_atom = self.energy(h).squeeze(-1)
        energy = per_atom.new_zeros(batch.n_systems).index_add(0, batch.system_index, per_atom)
        # A lone atom feels nothing, whatever the decoder's bias has become.
        bound = torch.zeros_like(per_atom).index_add(0, i, window.squeeze(1))
        forces = self.decoder(h) * torch.tanh(bound).unsqueeze(1)
        return {"energy": energy, "forces": forces, "embedding": h}


class Interaction(nn.Module):
    """Messages filtered by a network of the edge and both its atoms, then a network of the sum."""

    def __init__(self, f: int, edge: int):
        super().__init__()
        self.edge = nn.Linear(edge, f)
        self.filter = nn.Sequential(
            nn.Linear(3 * f, f), nn.SiLU(), nn.Linear(f, f), nn.SiLU(), nn.Linear(f, f)
        )  # fmt: skip
        self.lin = nn.Linear(f, f)
        self.transform = nn.Sequential(nn.Linear(f, f), nn.LayerNorm(f), nn.SiLU(), nn.Linear(f, f))
        self.centre = nn.Parameter(torch.empty(1, f).uniform_(-1, 1) * math.sqrt(6 / (f + 1)))

    def forward(self, h: Tensor, i: Tensor, j: Tensor, edges: Tensor, window: Tensor) -> Tensor:
        about = torch.cat([self.edge(edges), h.index_select(0, j), h.index_select(0, i)], 1)
        weight = self.filter(about) * window
        x = self.lin(h)
        received = torch.zeros_like(x).index_add(0, i, x.index_select(0, j) * weight)
        return self.transform(received + self.centre * x)


def sines(x: Tensor, frequencies: int) -> Tensor:
    """sin(1.1^k x) for k = 0.. of every column, side by side [n, columns * frequencies]."""
    k = 1.1 ** torch.arange(frequencies, dtype=x.dtype, device=x.device)
    return torch.sin(x.unsqueeze(-1) * k).flatten(1)


def harmonics(u: Tensor) -> Tensor:
    """Real spherical harmonics of degrees 0 to 2 of unit vectors [n, 9], each of mean square one."""
    x, y, z = u.unbind(1)
    a, b, c = math.sqrt(3), math.sqrt(15), math.sqrt(5) / 2
    return torch.stack(
        [torch.ones_like(x), a * x, a * y, a * z, b * x * y, b * y * z, c * (3 * z * z - 1), b * x * z,
         b / 2 * (x * x - y * y)], 1
    )  # fmt: skip


def atomic_properties() -> tuple[Tensor, Tensor]:
    """([100, 9] properties scaled to 0..1, [100] covalent radii in Angstrom), from ASE's tables."""
    from ase.data import atomic_masses, covalent_radii
    from ase.data.vdw import vdw_radii

    z = np.arange(100)
    period = np.searchsorted(PERIODS, z)
    outer = z - np.array(PERIODS)[np.maximum(period - 1, 0)]  # electrons beyond the last noble gas
    missing = np.array(PERIODS)[period] - z  # and those to the next
    vdw = np.nan_to_num(vdw_radii[:100], nan=2.0)
    table = np.stack(
        [z, period, outer, missing, np.minimum(outer, missing), covalent_radii[:100], vdw, atomic_masses[:100],
         np.log1p(atomic_masses[:100])], 1
    )  # fmt: skip
    low, high = table[1:].min(0), table[1:].max(0)
    scaled = (table - low) / (high - low)
    return torch.tensor(scaled, dtype=torch.float32), torch.tensor(covalent_radii[:100], dtype=torch.float32)
