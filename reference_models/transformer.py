"""The test bed of the bond smoothness test: a graph transformer whose smoothness has switches.

After Liu et al. (arXiv 2602.04861): the neighbour graph (hard or differentiable k nearest neighbours), the envelope
that fades an edge out, the temperature of the attention, the width of the radial Gaussians, and forces from the
gradient or from a head of their own. The graph follows their public description; the attention layers are our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from ffbench_data.contract import AtomsBatch

from .pairs import both_directions, cosine_cutoff, gaussians, tracing


@dataclass(frozen=True)
class Config:
    """``graph``: ``soft`` (differentiable k nearest neighbours) or ``hard``; ``neighbours`` is k. ``envelope``: edges
    fade to weight zero where the graph drops them; without it they stop at full weight.

    ``temperature`` divides the attention scores (the published formula is not public: this is softmax(q k / (sqrt(d)
    T)), the usual one). ``radial_width`` multiplies the width of the ``radial`` Gaussians. ``direct_forces``: forces
    from a head, not the gradient. ``rank_scale`` (Angstrom) and ``edge_scale`` are s and tau of the soft graph.
    ``slots``: neighbours per atom when traced (eager calls take what is there); an atom with more answers NaN.
    """

    features: int = 48
    heads: int = 4
    layers: int = 3
    cutoff: float = 6.0
    radial: int = 32
    neighbours: int = 6
    graph: str = "soft"
    envelope: bool = True
    temperature: float = 1.0
    radial_width: float = 1.0
    direct_forces: bool = False
    rank_scale: float = 0.2
    edge_scale: float = 0.1
    slots: int = 128

    def __post_init__(self):
        if self.graph not in ("soft", "hard"):
            raise ValueError(f"graph must be 'soft' or 'hard', got {self.graph!r}")
        if self.features % self.heads:
            raise ValueError(f"features must be a multiple of heads, got {self.features} and {self.heads}")
        for name in ("temperature", "radial_width", "rank_scale", "edge_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


# k and the cutoff are published, the width of the network is not.
PAPER = Config(features=128, heads=8, layers=4, radial=64, neighbours=30)

# What is compared: each differs from the first in one choice. k = 6 of the 8 neighbours in ethanol: the graph matters.
ABLATIONS = {
    "smooth": {},
    "no_envelope": {"envelope": False},
    "hard": {"graph": "hard"},
    "cold": {"temperature": 0.25},
    "narrow": {"radial_width": 0.25},
    "direct": {"direct_forces": True},
}


class Transformer(nn.Module):
    """``forward(batch)`` -> {"energy": [B] in units of the training scale, "embedding": [A, features]}, and "forces"
    [A, 3] with ``direct_forces`` (equivariant: a sum of pair vectors, but neither conservative nor of zero sum)."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        f, layers = config.features, config.layers
        self.direct_forces = config.direct_forces
        self.embedding = nn.Embedding(100, f)
        self.norms = nn.ModuleList(nn.LayerNorm(f) for _ in range(layers))
        self.qkv = nn.ModuleList(nn.Linear(f, 3 * f) for _ in range(layers))
        # Per layer and edge: a bias for every head, and a filter on the values.
        self.edges = nn.Linear(config.radial, layers * (f + config.heads))
        self.merge = nn.ModuleList(nn.Linear(f, f) for _ in range(layers))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(f), nn.Linear(f, 2 * f), nn.SiLU(), nn.Linear(2 * f, f)) for _ in range(layers)
        )
        self.readout = nn.Sequential(nn.Linear(f, f // 2), nn.SiLU(), nn.Linear(f // 2, 1))
        if config.direct_forces:
            self.force_pair = nn.Linear(config.radial, f)
            self.force_in = nn.Linear(f, 2 * f)
            self.force_out = nn.Linear(f, 1)

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        c = self.config
        atoms, f, heads = batch.positions.shape[0], c.features, c.heads
        i, j, r = both_directions(batch)
        d = r.square().sum(-1).sqrt()
        slots = c.slots if batch.edge_shift is not None else min(c.slots, max(1, (batch.largest or atoms) - 1))
        table, place, crowded = _slots(i, atoms, slots)
        envelope = self._log_envelope(d, table, place)

        x = self.embedding(batch.atomic_numbers)
        if tracing():
            x = x * torch.where(crowded, torch.nan, 1.0).to(x.dtype).unsqueeze(-1)
        radial = gaussians(d, c.cutoff, c.radial, c.radial_width)
        per_edge = self.edges(radial).view(-1, c.layers, f + heads)
        mask = _laid_out(envelope, table, -torch.inf)  # [A, K]
        sender = _laid_out(j, table, 0).reshape(-1)
        for layer in range(c.layers):
            edge = _laid_out(per_edge[:, layer], table, 0.0)  # [A, K, f + heads]
            q, k, v = self.qkv[layer](self.norms[layer](x)).split(f, -1)
            neighbour_k = k.index_select(0, sender).view(atoms, -1, heads, f // heads)
            neighbour_v = v.index_select(0, sender).view(atoms, -1, f) * edge[..., :f]
            query = q.view(atoms, 1, heads, f // heads)
            own = (query[:, 0] * k.view(atoms, heads, -1)).sum(-1)
            scores = (query * neighbour_k).sum(-1) + edge[..., f:]
            scale = 1.0 / ((f // heads) ** 0.5 * c.temperature)
            # The atom itself always takes part, so an atom without neighbours has a defined answer.
            scores = torch.cat([(own * scale).unsqueeze(1), scores * scale + mask.unsqueeze(-1)], 1)
            weights = torch.softmax(scores, 1).unsqueeze(-1)
            values = torch.cat([v.unsqueeze(1), neighbour_v], 1).view(atoms, -1, heads, f // heads)
            x = x + self.merge[layer]((weights * values).sum(1).reshape(atoms, f))
            x = x + self.mlps[layer](x)
        atomic = self.readout(x).squeeze(-1)
        energy = atomic.new_zeros(batch.n_systems).index_add(0, batch.system_index, atomic)
        out = {"energy": energy, "embedding": x}
        if c.direct_forces:
            a, b = self.force_in(x).chunk(2, -1)
            pair = silu(a.index_select(0, i) + b.index_select(0, j) + self.force_pair(radial))
            strength = self.force_out(pair).squeeze(-1) * torch.exp(envelope) / d
            out["forces"] = torch.zeros_like(batch.positions).index_add(0, i, strength.unsqueeze(-1) * r)
        return out

    def _log_envelope(self, d: Tensor, table: Tensor, place: Tensor) -> Tensor:
        """log of the weight of every directed edge [E], -inf where there is none.

        Soft: e = tau logsumexp([rank of j for i / k, rank of i for j / k, d / rc] / tau), weight exp(-e^2 / (1-e^2))
        for e < 1, with the soft rank sum_k sigmoid((d_ij - d_ik) / s). Beyond the published description, a neighbour's
        part in the rank fades with the cosine cutoff, so that ranks do not jump when one leaves the list.
        """
        c = self.config
        distances = _laid_out(d, table, torch.inf)
        if c.graph == "soft":
            fade = cosine_cutoff(distances.clamp(max=c.cutoff), c.cutoff)
            finite = distances.clamp(max=2 * c.cutoff)
            closer = torch.sigmoid((finite.unsqueeze(2) - finite.unsqueeze(1)) / c.rank_scale)
            rank = (closer * fade.unsqueeze(1)).sum(2)
            rank = rank.reshape(-1).index_select(0, place)
            half = rank.shape[0] // 2
            reverse = torch.cat([rank[half:], rank[:half]])
            terms = torch.stack([rank / c.neighbours, reverse / c.neighbours, d / c.cutoff])
            e = c.edge_scale * torch.logsumexp(terms / c.edge_scale, 0)
            inside = e < 1
        else:
            rank = (distances.unsqueeze(2) > distances.unsqueeze(1)).sum(2)
            inside = (rank.reshape(-1).index_select(0, place) < c.neighbours) & (d < c.cutoff)
            e = d / c.cutoff
        if not c.envelope:
            return torch.where(inside, torch.zeros_like(e), -torch.inf)
        inside = inside & (e < 0.999)  # the weight is below 1e-200 there, and 0 / 0 stays out of the gradient
        square = torch.where(inside, e, torch.zeros_like(e)).square()
        return torch.where(inside, -square / (1 - square), -torch.inf)


def _laid_out(values: Tensor, table: Tensor, filler: float) -> Tensor:
    """Per-edge values [E, ...] per atom [A, K, ...]; unused places hold ``filler``."""
    last = values.new_full((1, *values.shape[1:]), filler)
    flat = torch.cat([values, last]).index_select(0, table.reshape(-1))
    return flat.view(*table.shape, *values.shape[1:])


def _slots(i: Tensor, atoms: int, slots: int) -> tuple[Tensor, Tensor, Tensor]:
    """(table [A, K] of the edges of every atom, E where there is none; place [E] of every edge in the flat table;
    whether an atom has more than K).

    K is the largest number of neighbours, or ``slots`` while tracing, when no shape may depend on values.
    """
    edges = i.shape[0]
    order = torch.argsort(i, stable=True)
    counts = torch.zeros(atoms, dtype=torch.long, device=i.device).index_add(0, i, torch.ones_like(i))
    owner = i.index_select(0, order)
    rank = torch.arange(edges, device=i.device) - (torch.cumsum(counts, 0) - counts).index_select(0, owner)
    width = slots if tracing() else max(1, int(counts.max()))
    place_sorted = owner * width + rank.clamp(max=width - 1)
    table = torch.full((atoms * width,), edges, dtype=torch.long, device=i.device).scatter(0, place_sorted, order)
    place = torch.empty_like(order).scatter(0, order, place_sorted)
    return table.view(atoms, width), place, counts > width
