"""Kernels that a step of the engine launches on a GPU, counted where there is none, against the budget beside it.

    python benchmarks/launches.py [case ...]        # all cases of launches.yaml; writes results/launches.json

``unfused``: operations of the traced step that compute something, each a kernel when the step is captured as it is.
``fused``: Triton kernels and library products in the code that Inductor writes for CUDA from the same graph, with
tensors that hold no numbers; this needs the package triton beside torch (any torch) and a minute a case.
``waits``: for the device, in a step (none may be there) and at its saved frame.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
import yaml
from engine import HILLS, system
from torch import Tensor, fx

from ffbench_eval.engine.captured import waits
from ffbench_eval.engine.compiled import trace
from ffbench_eval.engine.lists import lists_for
from ffbench_eval.engine.protocol import Protocol
from ffbench_eval.engine.run import Run
from ffbench_eval.engine.static import StaticStep
from ffbench_eval.engine.watch import new_watch
from reference_models import build

HERE = Path(__file__).resolve().parent
BUDGET = yaml.safe_load((HERE / "launches.yaml").read_text())
RESULT = HERE / "results" / "launches.json"

# Operations that only look at the same memory in another way.
VIEWS = {
    "_unsafe_view", "alias", "detach", "expand", "permute", "reshape", "select", "slice", "split", "squeeze", "t",
    "transpose", "unbind", "unsqueeze", "view",
}  # fmt: skip
WORKER = ("get_device_properties", "current_device")


def traced(case: str) -> tuple[fx.GraphModule, list[Tensor]]:
    """The step of ``family/system/replicas/ensemble`` and example arguments."""
    family, name, replicas, ensemble = case.split("/")
    start, protocol, _ = system(name, int(replicas))
    bias = {"metadynamics": HILLS, "length_ps": 5000.0} if name == "alanine" else {"length_ps": 1.0}
    model = build(family, elements=tuple(int(z) for z in np.unique(start.numbers)))
    run = Run(model, start, Protocol(ensemble, 300.0, protocol.time_step_fs, save_every_fs=50.0, **bias), 0)
    x = torch.as_tensor(np.array(start.positions, float))
    lists = lists_for(run.model_forces, [x])
    lists.make(x)
    step = StaticStep(run, lists)
    if run.hills is not None:
        run.hills.centres, run.hills.heights = run.hills.of_size()
    noise = run.noise(0) if run.noise else None
    flags = torch.zeros(2, dtype=torch.bool)
    arguments = step.arguments(run.first_state(), new_watch(len(x)), flags, noise)
    return trace(step, arguments), arguments


def unfused(graph: fx.GraphModule) -> int:
    """Operations that compute."""
    names = [getattr(n.target, "_opname", "") for n in graph.graph.nodes if n.op == "call_function"]
    return sum(bool(name) and name not in VIEWS for name in names)


def fused(graph: fx.GraphModule, arguments: Sequence[Tensor]) -> dict[str, int]:
    """Launches {kind: count} in what Inductor writes for CUDA."""
    from torch._inductor.debug import DebugContext
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp

    constants = _constants(graph)

    def function(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(constants, values[len(arguments) :]))
        return tuple(_With(graph, given).run(*values[: len(arguments)]))

    inputs = [*arguments, *constants.values()]
    with torch.no_grad():
        flat = make_fx(function, decomposition_table=select_decomp_table(), tracing_mode="fake")(*inputs)
    flat.graph.eliminate_dead_code()
    for node in flat.graph.nodes:
        if node.kwargs.get("device") is not None:
            node.kwargs = {**node.kwargs, "device": torch.device("cuda", 0)}
    flat.recompile()
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        there = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="cuda") for t in inputs]
    # Without the passes over patterns, which are made with real tensors on the device: they could only save launches.
    with _a_card_in_name_only(), torch.no_grad():
        with mode:
            FakeTensorProp(flat, mode).propagate_dont_convert_inputs(*there)
        lowered = GraphLowering(flat, example_inputs=there, is_inference=True)
        with (
            V.set_graph_handler(lowered),
            V.set_extern_kernel_nodes([]),
            V.set_fake_mode(mode),
            V.set_debug_handler(DebugContext()),
        ):
            lowered.run(*there)
            code = lowered.codegen()[0]
    return _calls(getattr(code, "value", code))


def _calls(code: str) -> dict[str, int]:
    """Launches in the body of Inductor's function ``call``."""
    body = code[code.index("def call(") :].partition("\ndef ")[0]
    lines = [line.strip() for line in body.splitlines()]
    return {
        "triton": sum(bool(re.match(r"triton_\w+?\.run\(", line)) for line in lines),
        "products": sum("extern_kernels." in line for line in lines),
        "other": sum("torch.ops.aten." in line for line in lines),
    }


class _With(fx.Interpreter):
    """Runs a graph with its constants given from outside."""

    def __init__(self, graph: fx.GraphModule, given: dict[str, Tensor]):
        super().__init__(graph)
        self.given = given

    def get_attr(self, target, args, kwargs):
        return self.given[target] if target in self.given else super().get_attr(target, args, kwargs)


def _constants(graph: fx.GraphModule) -> dict[str, Tensor]:
    found = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            value: object = graph
            for part in str(node.target).split("."):
                value = getattr(value, part)
            if isinstance(value, Tensor):
                found[str(node.target)] = value.detach()
    return found


@contextlib.contextmanager
def _a_card_in_name_only() -> Iterator[None]:
    """Torch believes in an H200 as long as nothing is run."""
    import torch._dynamo.device_interface as device_interface

    card = SimpleNamespace(
        name="NVIDIA H200", major=9, minor=0, multi_processor_count=132, total_memory=143771 * 2**20, warp_size=32,
        max_threads_per_multi_processor=2048, regs_per_multiprocessor=65536, max_threads_per_block=1024,
        shared_memory_per_block=49152, shared_memory_per_block_optin=232448, shared_memory_per_multiprocessor=233472,
        L2_cache_size=60 * 2**20, gcnArchName="", clock_rate=1980000, memory_clock_rate=3201000,
        memory_bus_width=6144, is_integrated=0,
    )  # fmt: skip
    cuda, worker = device_interface.CudaInterface, device_interface.CudaInterface.Worker
    says = {
        "get_device_properties": card,
        "current_device": 0,
        "device_count": 1,
        "is_available": True,
        "get_device_capability": (9, 0),
    }
    patches = [mock.patch(f"torch.cuda.{name}", return_value=value) for name, value in says.items()]
    patches += [mock.patch("torch.utils._triton.triton_hash_with_backend", return_value="")]
    patches += [mock.patch.object(cuda, name, return_value=says[name]) for name in ("is_available", "current_device")]
    patches += [mock.patch.object(cuda, "get_device_properties", return_value=card)]
    patches += [mock.patch.object(cuda, "get_compute_capability", return_value=90)]
    patches += [mock.patch.object(worker, name, return_value=says[name]) for name in WORKER]
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


def count(case: str) -> dict:
    graph, arguments = traced(case)
    row: dict = {"unfused": unfused(graph), "waits": waits(graph)}
    if importlib.util.find_spec("triton"):
        row["fused_by_kind"] = fused(graph, arguments)
        row["fused"] = sum(row["fused_by_kind"].values())
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(BUDGET), help="family/system/replicas/ensemble")
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for case in parser.parse_args().cases:
        row = count(case)
        print(case, row, "budget", BUDGET.get(case), flush=True)
        known[case] = {**known.get(case, {}), **row, "torch": torch.__version__}
        RESULT.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
