"""How many atoms a model is asked about in one call, outside dynamics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ffbench_data.contract import ForceField

from ..engine.memory import OutOfMemory, memory_guard

if TYPE_CHECKING:
    from .guard import ModelFailure

BATCH_ATOMS = {"cpu": 512, "cuda": 16384}  # the edges of 512 atoms stay in a CPU's cache; a GPU wants more at once


def batch_atoms(model: ForceField) -> int:
    """Atoms per call on the model's device.

    >>> batch_atoms(ForceField(lambda batch: None, None, None, torch.float32, True, {}))
    512
    """
    return BATCH_ATOMS.get(torch.device(model.device).type, BATCH_ATOMS["cpu"])


def in_parts(
    ask: Callable[[np.ndarray], Any],
    rows: np.ndarray,
    at_most: int,
    failed: Callable[[int, ModelFailure], Any] | None = None,
) -> list[Any]:
    """``ask`` of every ``at_most`` rows, in their order; of fewer once a part did not fit into memory.

    A part on which the model raises is asked row by row, and ``failed(row, error)`` stands for the answer on a row on
    which it raises again. `OutOfMemory` if a single row does not fit.

    >>> in_parts(len, np.arange(5), 2)
    [2, 2, 1]
    """
    from .guard import ModelFailure

    answers, start = [], 0
    while start < len(rows):
        part = rows[start : start + at_most]
        try:
            with memory_guard(len(part)):
                answers.append(ask(part))
        except OutOfMemory:
            if len(part) == 1:
                raise
            at_most = len(part) // 2
            continue
        except ModelFailure as error:
            if failed is None:
                raise
            if len(part) == 1:
                answers.append(failed(int(part[0]), error))
            else:
                answers += in_parts(ask, part, 1, failed)
        start += len(part)
    return answers
