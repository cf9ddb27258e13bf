"""What a simulation costs here, and how fast the model is on any machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ffbench_data.contract import ForceField

from .memory import memory_guard
from .protocol import Protocol, Start
from .run import Run
from .watch import new_watch


@dataclass(frozen=True)
class Cost:
    """``setup_s`` before the first step, ``step_s`` per step of the whole batch, ``total_s`` of the simulation."""

    setup_s: float
    step_s: float
    total_s: float
    steps: int


def probe(model: ForceField, start: Start, protocol: Protocol, *, steps: int = 20) -> Cost:
    """Cost of a simulation from its first ``steps`` eager steps, without writing anything.

    The first call of the model (imports, allocation) counts as setup; ``step_s`` is the median of the steps, so it
    is an upper bound where the engine then compiles. `OutOfMemory` as in `simulate`.
    """
    with memory_guard(len(start.positions)):
        begun = time.perf_counter()
        run = Run(model, start, protocol, seed=0)
        state, watch = run.first_state(), new_watch(len(start.positions), run.system.masses.device)
        state, watch = run.advance(state, watch, 0)
        setup = time.perf_counter() - begun
        times = []
        for step in range(1, steps + 1):
            begun = time.perf_counter()
            state, watch = run.advance(state, watch, step)
            _finish(model.device)
            times.append(time.perf_counter() - begun)
    step_s = float(np.median(times))
    total = protocol.equilibration_steps + protocol.steps
    return Cost(setup, step_s, setup + total * step_s, total)


@dataclass(frozen=True)
class Speed:
    """``call_s`` of the model alone (energy and forces of the batch), ``step_s`` of the engine around it (in the form
    ``mode``), ``kernel_s`` of the reference kernel in the same process. ``steps_per_s`` and ``ns_per_day`` count the
    steps of one replica; ``steps_per_kernel`` = kernel_s / step_s x replicas compares between machines. ``reason`` why
    each replica broke on the way ("" if it did not): steps of one that stands still are no steps."""

    call_s: float
    step_s: float
    kernel_s: float
    replicas: int
    mode: str
    steps_per_s: float
    ns_per_day: float
    steps_per_kernel: float
    reason: tuple[str, ...] = ()


def measure_speed(
    model: ForceField, start: Start, protocol: Protocol, *, rounds: int = 5, steps: int = 10, compile: str = "auto"
) -> Speed:
    """Speed of a model alone and in the engine, beside a reference kernel timed in turn with them.

    Medians over ``rounds``; the three are interleaved so that a busy machine slows all of them alike.
    """
    from .fastpath import choose

    with memory_guard(len(start.positions)):
        run = Run(model, start, protocol, seed=0)
        run.form = choose(run, compile, protocol.equilibration_steps + protocol.steps)
        state, watch = run.first_state(), new_watch(len(start.positions), run.system.masses.device)
        x, half, shift = run.model_forces.prepare(state.positions)
        from dataclasses import replace

        from .forces import with_pairs

        batch = with_pairs(replace(run.model_forces.batch, positions=x), half, shift)
        kernel = reference_kernel(model.device)
        clock = 0

        def step() -> None:
            nonlocal state, watch, clock
            state, watch = run.advance(state, watch, clock)
            clock += 1

        actions: tuple[Callable[[], object], ...] = (lambda: model(batch), step, kernel)
        times: list[list[float]] = [[], [], []]
        for _ in range(rounds + 1):
            for action, taken in zip(actions, times):
                begun = time.perf_counter()
                for _ in range(steps):
                    action()
                _finish(model.device)
                taken.append((time.perf_counter() - begun) / steps)
    call_s, step_s, kernel_s = (float(np.median(taken[1:])) for taken in times)  # the first round warms up
    replicas = len(start.positions)
    return Speed(
        call_s,
        step_s,
        kernel_s,
        replicas,
        run.form.mode,
        replicas / step_s,
        replicas / step_s * protocol.longest_step_fs * 1e-6 * 86400,
        kernel_s / step_s * replicas,
        tuple(run.reasons(watch)),
    )


def reference_kernel(device: torch.device | str = "cpu") -> Callable[[], torch.Tensor]:
    """A fixed piece of float32 work shaped like a small message-passing layer: 2048 edges, 64 features, 256 atoms.

    Version 1; a change of it needs a new number, because normalised speeds are compared across reports.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 64, generator=generator).to(device)
    w = (torch.randn(64, 64, generator=generator) / 8).to(device)
    basis = torch.rand(2048, 64, generator=generator).to(device)
    i, j = (torch.randint(256, (2048,), generator=generator).to(device) for _ in range(2))

    def kernel() -> torch.Tensor:
        with torch.no_grad():
            h = x
            for _ in range(3):
                message = torch.nn.functional.softplus(basis @ w) * (h @ w).index_select(0, j)
                h = x + torch.zeros_like(x).index_add(0, i, message) / 8
            return h

    return kernel


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
