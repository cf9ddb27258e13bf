"""SchNet: continuous-filter convolutions (Schütt et al., NeurIPS 2017; J. Chem. Phys. 148, 241722, 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch

from .pairs import cosine_cutoff, gaussians, half_edges


@dataclass(frozen=True)
class Config:
    """``features`` per atom, ``layers`` of convolution, ``cutoff`` Angstrom, ``radial`` Gaussians from 0 to it."""

    features: int = 64
    layers: int = 3
    cutoff: float = 5.0
    radial: int = 24


# Fu et al. (2023) give 0.12 M parameters: six layers of 64 features on 50 Gaussians. The embedding table has a row
# for each of 100 elements here (6,400 numbers), of which a data set uses a few.
PAPER = Config(features=64, layers=6, cutoff=6.0, radial=50)


def shifted_softplus(x: Tensor) -> Tensor:
    return nn.functional.softplus(x) - math.log(2.0)


class SchNet(nn.Module):
    """``forward(batch)`` -> {"energy": [B] in units of the training scale, "embedding": [A, features]}."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        f, layers = config.features, config.layers
        self.embedding = nn.Embedding(100, f)
        # The filter networks of all layers side by side.
        self.filter_hidden = nn.Linear(config.radial, layers * f)
        self.filter_weight = nn.Parameter(torch.empty(layers, f, f).uniform_(-1, 1) * math.sqrt(3 / f))
        self.filter_bias = nn.Parameter(torch.zeros(layers, 1, f))
        self.inputs = nn.ModuleList(nn.Linear(f, f, bias=False) for _ in range(layers))
        self.hidden = nn.ModuleList(nn.Linear(f, f) for _ in range(layers))
        self.outputs = nn.ModuleList(nn.Linear(f, f) for _ in range(layers))
        self.readout = nn.ModuleList([nn.Linear(f, f // 2), nn.Linear(f // 2, 1)])
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        c = self.config
        i, j, r = half_edges(batch)
        d = r.square().sum(-1).sqrt()
        # The shift of the softplus goes into the next bias: cheaper than on the large array.
        hidden = nn.functional.softplus(self.filter_hidden(gaussians(d, c.cutoff, c.radial))).chunk(c.layers, -1)
        bias = self.filter_bias - math.log(2.0) * self.filter_weight.sum(1, keepdim=True)
        window = cosine_cutoff(d, c.cutoff).unsqueeze(-1)
        into, outof = torch.cat([i, j]), torch.cat([j, i])
        x = self.embedding(batch.atomic_numbers)
        for layer in range(c.layers):
            filter_ = torch.addmm(bias[layer], hidden[layer], self.filter_weight[layer]) * window
            sent = self.inputs[layer](x).index_select(0, outof).view(2, -1, c.features) * filter_
            received = torch.zeros_like(x).index_add(0, into, sent.view(-1, c.features))
            x = x + self.outputs[layer](shifted_softplus(self.hidden[layer](received)))
        first, second = self.readout
        per_atom = second(shifted_softplus(first(x))).squeeze(-1)
        energy = per_atom.new_zeros(batch.n_systems).index_add(0, batch.system_index, per_atom)
        return {"energy": energy, "embedding": x}
