"""The same sums in every run on a GPU, where torch can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def deterministic(wanted: bool, device: str) -> Iterator[None]:
    """The same sums in every run on a GPU, where torch can; an operation of the model that cannot raises and says so.

    On the CPU they are the same anyway.
    """
    if not wanted or torch.device(device).type == "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    ask_for_determinism(True)
    try:
        yield
    finally:
        ask_for_determinism(before)


def ask_for_determinism(wanted: bool) -> None:
    """In this process, from now on."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the GPU first multiplies matrices
    if torch.are_deterministic_algorithms_enabled() != wanted:  # saying it imports torch's compiler, for seconds
        torch.use_deterministic_algorithms(wanted)
