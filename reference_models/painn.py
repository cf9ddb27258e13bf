"""PaiNN: scalar and vector features with equivariant messages (Schütt, Unke and Gastegger, ICML 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ffbench_data.contract import AtomsBatch

from .pairs import bessel, cosine_cutoff, half_edges


@dataclass(frozen=True)
class Config:
    """``features`` per atom, ``layers`` of message and update, ``cutoff`` Angstrom, ``radial`` basis functions."""

    features: int = 48
    layers: int = 3
    cutoff: float = 5.0
    radial: int = 16


# The published size: Schütt et al. give 0.6 M parameters.
PAPER = Config(features=128, layers=3, cutoff=5.0, radial=20)


class PaiNN(nn.Module):
    """``forward(batch)`` -> {"energy": [B] in units of the training scale, "embedding": [A, features]}."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        f = config.features
        self.embedding = nn.Embedding(100, f)
        self.filters = nn.Linear(config.radial, 3 * f * config.layers)
        self.messages = nn.ModuleList(
            nn.Sequential(nn.Linear(f, f), nn.SiLU(), nn.Linear(f, 3 * f)) for _ in range(config.layers)
        )
        self.mixers = nn.ModuleList(nn.Linear(f, 2 * f, bias=False) for _ in range(config.layers))
        self.updates = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * f, f), nn.SiLU(), nn.Linear(f, 3 * f)) for _ in range(config.layers)
        )
        self.readout = nn.Sequential(nn.Linear(f, f // 2), nn.SiLU(), nn.Linear(f // 2, 1))

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        f = self.config.features
        i, j, r = half_edges(batch)
        d = r.square().sum(-1).sqrt()
        direction = (r / d.unsqueeze(-1)).unsqueeze(-1)
        # Filters have one row per pair; both directions use the same row. (W x + b) c is computed as [W, b] [x c, c],
        # which spares the product of the cutoff with the large array.
        window = cosine_cutoff(d, self.config.cutoff).unsqueeze(-1)
        basis = bessel(d, self.config.cutoff, self.config.radial) * window
        matrix = torch.cat([self.filters.weight, self.filters.bias.unsqueeze(-1)], -1)
        basis = torch.cat([basis, window], -1)
        s = self.embedding(batch.atomic_numbers)
        v = s.new_zeros(s.shape[0], 3, f)
        into, outof = torch.cat([i, j]), torch.cat([j, i])
        both = torch.stack([direction, -direction])
        last = self.config.layers - 1
        for layer, rows in enumerate(matrix.chunk(self.config.layers)):
            message: Any = self.messages[layer]
            hidden, last_step = message[:2](s), message[2]
            if layer == 0:  # the vectors are zero before the first layer
                m = linear(hidden, last_step.weight[: 2 * f], last_step.bias[: 2 * f])
                m = m.index_select(0, outof).view(2, -1, 2 * f) * (basis @ rows[: 2 * f].T)
                ds, along = m.split(f, dim=-1)
                dv = both * along.unsqueeze(2)
            else:
                m = last_step(hidden).index_select(0, outof).view(2, -1, 3 * f) * (basis @ rows.T)
                ds, along, carry = m.split(f, dim=-1)
                dv = both * along.unsqueeze(2) + v.index_select(0, outof).view(2, -1, 3, f) * carry.unsqueeze(2)
            s = s.index_add(0, into, ds.reshape(-1, f))
            v = v.index_add(0, into, dv.view(-1, 3, f))
            a, b = self.mixers[layer](v).chunk(2, dim=-1)
            norm = (b.square().sum(1) + 1e-8).sqrt()
            dss, dvv, dsv = self.updates[layer](torch.cat([s, norm], dim=-1)).chunk(3, dim=-1)
            s = s + dss + dsv * (a * b).sum(1)
            if layer < last:  # and unused after the last
                v = v + a * dvv.unsqueeze(1)
        per_atom = self.readout(s).squeeze(-1)
        energy = per_atom.new_zeros(batch.n_systems).index_add(0, batch.system_index, per_atom)
        return {"energy": energy, "embedding": s}
