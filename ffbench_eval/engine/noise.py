"""Counter-based random numbers: a function of (seed, replica, step) and of nothing else."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CHUNK = 64  # steps drawn at once


class Noise:
    """``noise(step)`` -> standard normal [B, N, 3] float64, the same in an interrupted and an uninterrupted run."""

    def __init__(self, seed: int, replicas: list[int], n_atoms: int, device=None):
        self.seed, self.replicas, self.n_atoms, self.device = seed, replicas, n_atoms, device
        self._chunk, self._drawn = -1, torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        chunk, row = divmod(step, CHUNK)
        if chunk != self._chunk:
            drawn = [
                np.random.Generator(np.random.Philox(key=[self.seed, replica], counter=[0, 0, 0, chunk])).normal(
                    size=(CHUNK, self.n_atoms, 3)
                )
                for replica in self.replicas
            ]
            self._drawn = torch.from_numpy(np.stack(drawn, axis=1)).to(self.device)
            self._chunk = chunk
        return self._drawn[row]
