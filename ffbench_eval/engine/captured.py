"""A tensor function as a CUDA graph: launched as one, at fixed shapes, instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .compiled import NotCompilable, Tensors, trace
from .forces import last_line

WARM_UP = 3  # calls before the capture, on a stream of their own, as torch asks for

# Operations that make the host wait for the device, which a capture does not survive: the number of their results, or
# a value of theirs, must be known.
WAITS = {
    "_local_scalar_dense",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "_linalg_check_errors",
    "_unique2",
    "unique_consecutive",
    "unique_dim",
}
FROM_HOST = {"lift_fresh_copy"}  # a constant made on the host in every step


class DeviceInDoubt(RuntimeError):
    """A capture failed on the way: torch may still believe that it is capturing, so this process leaves the GPU."""


_doubt: list[str] = []


def capturable(function: Callable[..., Tensors], arguments: Sequence[Tensor]) -> Callable[..., Tensors]:
    """``function`` as a traced graph in which nothing waits for the device; NotCompilable names what does."""
    graph = trace(function, arguments)
    if found := waits(graph):
        raise NotCompilable(f"no CUDA graph: {', '.join(found)} would wait for the GPU")
    return graph


def fused(function: Callable[..., Tensors], arguments: Sequence[Tensor]) -> Callable[..., Tensors]:
    """The same through Inductor: a third to a fifth of the kernels (`benchmarks/launches.py`)."""
    graph = capturable(function, arguments)
    try:
        made = torch.compile(graph, fullgraph=True, dynamic=False)
        with torch.no_grad():
            made(*arguments)
    except Exception as error:  # of a compiler
        raise NotCompilable(f"Inductor failed: {last_line(error)}") from error

    def call(*values: Tensor) -> Tensors:
        with torch.no_grad():
            return tuple(made(*values))

    return call


def waits(graph: torch.fx.GraphModule) -> list[str]:
    """What in a traced graph waits for the device or copies from the host, each once."""
    found = []
    for node in graph.graph.nodes:
        name = getattr(node.target, "_opname", "") if node.op == "call_function" else ""
        host = name in FROM_HOST
        if name in WAITS or host or (name == "repeat_interleave" and node.kwargs.get("output_size") is None):
            found.append(f"{name} (a constant made in the step)" if host else name)
        if name in ("index", "index_put", "index_put_"):
            places = [place.meta.get("val") for place in node.args[1] if isinstance(place, torch.fx.Node)]
            if any(isinstance(v, Tensor) and v.dtype in (torch.bool, torch.uint8) for v in places):
                found.append("a mask as an index")
    return list(dict.fromkeys(found))


def capture(function: Callable[..., Tensors], arguments: Sequence[Tensor]) -> Callable[..., Tensors]:
    """``function`` of tensors like ``arguments``; NotCompilable where there is no GPU.

    `DeviceInDoubt` where the capture itself fails, and for every later one: what failed then may be this one's fault.
    """
    if _doubt:
        raise DeviceInDoubt(f"an earlier capture failed ({_doubt[0]}): start a new process")
    places = [value.clone() for value in arguments]
    try:
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                function(*places)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
    except RuntimeError as error:
        raise NotCompilable(f"no CUDA graph: {str(error).splitlines()[0][:300]}") from error
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            results = function(*places)
    except Exception as error:
        _doubt.append(str(error).splitlines()[0][:300])
        raise DeviceInDoubt(f"a capture failed: {_doubt[0]}; compile='off' does without") from error

    def call(*values: Tensor) -> Tensors:
        for place, value in zip(places, values, strict=True):
            place.copy_(value)
        graph.replay()
        return tuple(result.clone() for result in results)

    return call
