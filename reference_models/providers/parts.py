"""What the adapters share: element numbers to positions in a list, mean degree, dtypes that packages remember."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch


class Elements(nn.Module):
    """Atomic numbers to 0..K-1. A network that has a weight per element must be told which ones there are."""

    index: Tensor

    def __init__(self, elements: tuple[int, ...], family: str):
        super().__init__()
        if not elements:
            raise ValueError(f"elements of {family} must be given: build(..., elements=(1, 6, 8)), or train it on data")
        index = torch.full((119,), -1)
        index[torch.tensor(elements)] = torch.arange(len(elements))
        self.register_buffer("index", index, persistent=False)
        self.size = len(elements)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.index.index_select(0, numbers)

    def one_hot(self, numbers: Tensor, dtype: torch.dtype) -> Tensor:
        return nn.functional.one_hot(self(numbers), self.size).to(dtype)


def directed_edges(batch: AtomsBatch) -> tuple[Tensor, Tensor]:
    """(edge_index [2, E], r_ij [E, 3]) or ValueError."""
    if batch.edge_index is None:
        raise ValueError("batch has no edges: call ffbench_data.neighbors.with_edges(batch, cutoff) first")
    return batch.edge_index, batch.edge_vectors()


def mean_degree(batch: AtomsBatch) -> float:
    """Edges per atom."""
    index, _ = directed_edges(batch)
    return index.shape[1] / len(batch.atomic_numbers)


def total(per_atom: Tensor, batch: AtomsBatch) -> Tensor:
    """Sum over the atoms of each system [B]; depends on the positions even where there is no edge."""
    start = 0.0 * batch.positions.new_zeros(batch.n_systems).index_add(0, batch.system_index, batch.positions.sum(-1))
    return start.index_add(0, batch.system_index, per_atom)


def seed() -> int:
    """A seed for packages that want a number, drawn from torch's generator, so that ``torch.manual_seed`` rules."""
    return int(torch.randint(0, 2**31 - 1, ()).item())


def set_remembered_dtype(module: nn.Module, dtype: torch.dtype) -> None:
    """Some layers store the dtype they were built in as a plain attribute, which ``Module.to`` does not reach."""
    for part in module.modules():
        state: dict[str, Any] = vars(part)
        for name in ("_output_dtype", "model_dtype"):
            if name in state:
                setattr(part, name, dtype)
