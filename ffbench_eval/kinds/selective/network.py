"""The network of PROBE: self-attention over frozen per-atom embeddings, then two classes."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

HEADS, WIDTH, DROPOUT = 32, 256, 0.1


def _steps(*widths: int) -> list[nn.Module]:
    """Linear, LayerNorm, GELU, dropout between consecutive widths."""
    out: list[nn.Module] = []
    for a, b in pairwise(widths):
        out += [nn.Linear(a, b), nn.LayerNorm(b), nn.GELU(), nn.Dropout(DROPOUT)]
    return out


class ProbeNetwork(nn.Module):
    """Logits (reliable, unreliable) of structures, or of atoms.

    Atom MLP d -> 256 -> 128 -> 256, the last width only normalised; one self-attention layer of 32 heads x 8 with
    residual and LayerNorm; masked mean, max, energy and number of atoms (514) -> 256 -> 128 -> 32 -> 2. 566,434
    parameters at d = 256; ``charges`` adds a layer of 1,024 that lifts an atom's charge to the width of its features.
    ``level="atom"`` is this package's own variant: the head sees the atom's features in the place of the pooled ones.

    Source: Mehdi, Cho and Isayev, arXiv:2605.00640 (2026).

    >>> sum(p.numel() for p in ProbeNetwork(256).parameters())
    566434
    >>> sum(p.numel() for p in ProbeNetwork(256, charges=True).parameters())
    567458
    """

    def __init__(self, dimensions: int, *, charges: bool = False, level: str = "structure"):
        super().__init__()
        self.level = level
        # as published, the last layer norm is what attention and residual see: no GELU and no dropout after it
        self.atoms = nn.Sequential(*_steps(dimensions, WIDTH, 128, WIDTH)[:-2])
        self.charge = nn.Sequential(nn.Linear(1, WIDTH), nn.LayerNorm(WIDTH)) if charges else None
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, dropout=DROPOUT, batch_first=True)
        self.norm = nn.LayerNorm(WIDTH)
        pooled = (2 if level == "structure" else 1) * WIDTH + 2
        self.head = nn.Sequential(*_steps(pooled, 256, 128, 32), nn.Linear(32, 2))

    def forward(
        self, embedding: Tensor, mask: Tensor, extra: Tensor, charges: Tensor | None = None, importance: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """``embedding`` [B, N, d], ``mask`` [B, N] (True = atom), ``extra`` [B, 2] (energy, number of atoms).

        Returns logits [B, 2] ([B, N, 2] at level atom) and, on demand, the attention each atom receives [B, N], summing
        to 1.
        """
        x = self.atoms(embedding)
        if self.charge is not None:
            if charges is None:
                raise ValueError("charges: this probe was built with charges=True and needs one per atom")
            x = x + self.charge(charges[..., None])
        mixed, attention = self.attention(x, x, x, key_padding_mask=~mask, need_weights=importance)
        x = self.norm(x + mixed)
        hidden = ~mask[..., None]
        count = mask.sum(1, keepdim=True).to(x.dtype)
        received = None if attention is None else (attention * mask[..., None]).sum(1) / count
        if self.level == "atom":
            wide = extra[:, None].expand(-1, x.shape[1], -1)
            return self.head(torch.cat([x, wide], -1)), received
        mean = x.masked_fill(hidden, 0.0).sum(1) / count
        largest = x.masked_fill(hidden, -torch.inf).amax(1)
        return self.head(torch.cat([mean, largest, extra], 1)), received
