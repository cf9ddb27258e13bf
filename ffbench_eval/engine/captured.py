"""A tensor function as a CUDA graph: launched as one, at fixed shapes, instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .compiled import NotCompilable, Tensors

WARM_UP = 3  # calls before the capture, on a stream of their own, as torch asks for


def capture(function: Callable[..., Tensors], arguments: Sequence[Tensor]) -> Callable[..., Tensors]:
    """``function`` of tensors like ``arguments``; NotCompilable when it waits for the GPU or cannot be captured."""
    places = [value.clone() for value in arguments]
    try:
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                function(*places)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = function(*places)
    except RuntimeError as error:
        raise NotCompilable(f"no CUDA graph: {str(error).splitlines()[0][:300]}") from error

    def call(*values: Tensor) -> Tensors:
        for place, value in zip(places, values, strict=True):
            place.copy_(value)
        graph.replay()
        return tuple(result.clone() for result in results)

    return call
