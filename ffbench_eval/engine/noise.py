"""Counter-based random numbers: a function of (seed, replica, step) and of nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

CHUNK = 64  # steps drawn at once


class Noise:
    """``noise(step)`` -> float64 [B, ...], the same in an interrupted and an uninterrupted run.

    ``draw(generator, CHUNK, n_atoms, dof)`` gives the numbers of `CHUNK` steps of one replica.
    """

    def __init__(
        self,
        seed: int,
        replicas: list[int],
        n_atoms: int,
        device: torch.device | str | None = None,
        *,
        dof: int = 0,
        draw: Callable | None = None,
    ):
        self.seed, self.replicas, self.n_atoms, self.device = seed, replicas, n_atoms, device
        self.dof, self.draw = dof, draw or draw_atoms
        self._chunk, self._drawn = -1, torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        chunk, row = divmod(step, CHUNK)
        if chunk != self._chunk:
            drawn = [
                self.draw(self._generator(replica, chunk), CHUNK, self.n_atoms, self.dof) for replica in self.replicas
            ]
            self._drawn = torch.from_numpy(np.stack(drawn, axis=1)).to(self.device)
            self._chunk = chunk
        return self._drawn[row]

    def _generator(self, replica: int, chunk: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self.seed, replica], counter=[0, 0, 0, chunk]))


Draw = Callable[[np.random.Generator, int, int, int], np.ndarray]


def draw_atoms(generator: np.random.Generator, steps: int, n_atoms: int, dof: int) -> np.ndarray:
    """Standard normal [steps, N, 3]."""
    return generator.normal(size=(steps, n_atoms, 3))


def draw_rescaling(generator: np.random.Generator, steps: int, n_atoms: int, dof: int) -> np.ndarray:
    """A standard normal number and a chi-squared one of dof - 1 degrees of freedom [steps, 2]."""
    normal = generator.normal(size=steps)
    rest = generator.chisquare(dof - 1, size=steps) if dof > 1 else np.zeros(steps)  # chi-squared of 0 is 0
    return np.stack([normal, rest], axis=1)


def draw_barostat(generator: np.random.Generator, steps: int, n_atoms: int, dof: int) -> np.ndarray:
    """Standard normal [steps, N + 1, 3]: the atoms, then a row whose first number is the cell's."""
    return generator.normal(size=(steps, n_atoms + 1, 3))
