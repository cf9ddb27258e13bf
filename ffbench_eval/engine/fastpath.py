"""Which form a simulation runs in: eager, with a compiled force call, or with the whole step compiled (on a GPU:
captured as a CUDA graph).

Chosen once per simulation, proved equal to eager on its own start before it is trusted, and recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .captured import capture
from .compiled import CannotCompile, NotCompilable, Tensors, artefact, build, cache_folder, compiler, log, trace
from .static import Padded, capacity_for, listed_call, open_call
from .system import State
from .watch import Watch, new_watch, watched_step

if TYPE_CHECKING:
    from .run import Run

CHOICES = ("auto", "off", "require")
WORTH_TRACING_S = 20.0  # shorter simulations stay eager
COMPILE_S = 60.0  # what compilation costs, roughly
GAIN = 0.35  # of the eager time that it saves, roughly
TOLERANCE = {torch.float64: 1e-8, torch.float32: 2e-4}  # relative force error that is believed


@dataclass
class Form:
    """``mode`` eager, force or step; ``note`` why; ``force_error`` against eager; ``advance`` the compiled step."""

    mode: str = "eager"
    note: str = ""
    force_error: float | None = None
    advance: Callable[[State, Watch, Tensor | None], tuple[State, Watch]] | None = None


def choose(run: Run, option: str, steps: int) -> Form:
    """The form of a simulation of ``steps`` steps; with "require" `CannotCompile` says why it cannot be compiled."""
    if option not in CHOICES:
        raise ValueError(f"compile must be one of {', '.join(CHOICES)}, got {option!r}")
    if option == "off":
        return Form(note="compilation is off")
    try:
        form = _compiled(run, steps if option == "auto" else None)
    except NotCompilable as reason:
        if option == "require":
            raise CannotCompile(f"compile='require', but {reason}") from reason
        form = Form(note=str(reason))
    log.info("engine runs %s: %s", form.mode, form.note)
    return form


def again(run: Run) -> Form:
    """The compiled form of a run that goes on, or eager with the reason why it cannot be had again."""
    try:
        return _compiled(run, None)
    except NotCompilable as reason:
        return Form(note=str(reason))


def _compiled(run: Run, steps: int | None) -> Form:
    """Compile what can be; with ``steps``, only what pays off for so many."""
    gpu = run.model_forces.model.device.type != "cpu"
    if gpu and steps is not None:
        raise NotCompilable("on a GPU only compile='require' captures CUDA graphs: nobody has measured them yet")
    if run.integrator.npt:
        raise NotCompilable("the cell changes")
    saving = None
    if steps is not None:
        seconds = eager_step_seconds(run) * steps
        saving = GAIN * seconds
        if seconds < WORTH_TRACING_S:
            raise NotCompilable(f"not worth it for about {seconds:.1f} s of simulation")
        if saving < COMPILE_S and not any(cache_folder().glob("*.pt2")):  # tracing takes seconds itself
            raise NotCompilable(f"not worth it: compiling would save about {saving:.0f} s")
    whole = not run.model_forces.periodic and run.hills is None
    function, arguments = (_whole_step if whole else _force_call)(run)
    if gpu:
        call, origin = capture(function, arguments), "captured as a CUDA graph"
    else:
        call, origin = _machine_code(function, arguments, saving)
    form = _step_form(run, call, arguments) if whole else _force_form(run, call)
    form.force_error = force_error(run, form)
    limit = TOLERANCE.get(run.model_forces.model.dtype, 1e-2)
    if not form.force_error <= limit:
        run.model_forces.compiled = None
        raise NotCompilable(f"the compiled forces differ from eager by {form.force_error:.1e} (allowed {limit:.0e})")
    form.note = f"{origin}, largest relative force error {form.force_error:.1e}"
    return form


def _machine_code(function: Callable[..., Tensors], arguments: list[Tensor], saving: float | None):
    """(the compiled function, where it comes from); NotCompilable if making it takes longer than the ``saving`` (s)."""
    graph = trace(function, arguments)
    path = artefact(graph, arguments)
    known = path.exists()
    if not known and saving is not None and saving < COMPILE_S:
        raise NotCompilable(f"not worth it: compiling would save about {saving:.0f} s")
    if not known and compiler() is None:
        raise NotCompilable("no C++ compiler (g++ or clang++) was found")
    begun = time.perf_counter()
    call = build(graph, arguments, path)
    return call, "from the cache" if known else f"compiled in {time.perf_counter() - begun:.0f} s"


def eager_step_seconds(run: Run, steps: int = 3) -> float:
    """Time of one eager step at the start, the fastest of a few."""
    state, watch = run.first_state(), new_watch(len(run.start.positions), run.system.masses.device)
    best = float("inf")
    for step in range(steps):
        begun = time.perf_counter()
        state, watch = run.advance(state, watch, step)
        best = min(best, time.perf_counter() - begun)
    run.model_forces.rebuild()
    return best


def force_error(run: Run, form: Form) -> float:
    """max |F - F_eager| / max |F_eager| of the compiled form, at the start and at two displaced copies of it.

    The largest force counts as 1 eV/Angstrom at least: a perfect crystal has none.
    """
    worst = 0.0
    x = _start(run)
    for k, size in enumerate((0.0, 0.03, 0.1)):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(k), dtype=x.dtype)
        moved = x + size * noise.to(x.device)
        compiled, run.model_forces.compiled = run.model_forces.compiled, None
        run.model_forces.rebuild()
        expected = run.force(moved)[1]
        run.model_forces.compiled = compiled
        if form.mode == "force":
            found = run.force(moved)[1]
        else:
            found = _forces_after_a_step_to(run, form, moved)
        error = (found - expected).abs().amax((1, 2)) / expected.abs().amax((1, 2)).clamp(min=1.0)
        worst = max(worst, float(error.max().nan_to_num(float("inf"))))
    run.model_forces.rebuild()
    return worst


def _forces_after_a_step_to(run: Run, form: Form, positions: Tensor) -> Tensor:
    """Forces that the compiled step finds at ``positions``, where a step without forces and noise stays."""
    zero = torch.zeros_like(positions)
    creep = torch.full_like(positions, 1e-9)  # not zero: a thermostat may divide by the kinetic energy
    thermostat = zero.new_zeros(len(zero), run.integrator.thermostat_size)
    state = State(positions, creep, zero, zero[:, 0, 0].clone(), thermostat)
    assert form.advance is not None
    noise = None if run.noise is None else torch.zeros_like(run.noise(0))
    return form.advance(state, new_watch(len(positions), positions.device), noise)[0].forces


def _start(run: Run) -> Tensor:
    return torch.as_tensor(np.array(run.start.positions, float), device=run.system.masses.device)


def _force_call(run: Run) -> tuple[Callable[..., Tensors], list[Tensor]]:
    forces, x = run.model_forces, _start(run)
    if not forces.periodic or forces.model.cutoff is None:
        return open_call(forces), [forces.prepare(x)[0]]
    flat, half, shift = forces.prepare(x)
    assert half is not None
    assert shift is not None
    capacity = capacity_for(half.shape[1])
    return listed_call(forces), [flat, half.new_zeros(2, capacity), shift.new_zeros(capacity, 3)]


def _force_form(run: Run, call: Callable[..., Tensors]) -> Form:
    forces = run.model_forces
    if forces.periodic and forces.model.cutoff is not None:
        half = forces.prepare(_start(run))[1]
        assert half is not None
        forces.compiled = Padded(call, forces, capacity_for(half.shape[1]))
    else:
        forces.compiled = lambda x, half, shift: call(x)
    return Form(mode="force")


def _whole_step(run: Run) -> tuple[Callable[..., Tensors], list[Tensor]]:
    evaluate, replicas = open_call(run.model_forces), len(run.start.positions)

    def force(positions: Tensor) -> tuple[Tensor, Tensor]:
        flat = (positions - positions.mean(1, keepdim=True)).reshape(-1, 3)
        energy, forces = evaluate(flat)
        forces = forces.view_as(positions)
        if run.restraints is not None:
            forces = forces + run.restraints.energy_and_forces(positions)[1]
        return energy, forces

    def step(*values: Tensor) -> Tensors:
        state, watch = State(*values[:5]), Watch(*values[5:9])
        noise = values[9] if len(values) > 9 else None
        settings = (run.system, run.rule, force, run.limits, noise)
        new, watch = watched_step(run.integrator, state, watch, *settings, traced=True)
        return (*new, *watch)

    zero = torch.zeros_like(_start(run))
    state = State(zero, zero, zero, zero[:, 0, 0], zero.new_zeros(replicas, run.integrator.thermostat_size))
    arguments = [t.clone().contiguous() for t in (*state, *new_watch(replicas, zero.device))]
    if run.noise is not None:
        arguments.append(run.noise(0).clone())
    return step, arguments


def _step_form(run: Run, call: Callable[..., Tensors], arguments: list[Tensor]) -> Form:
    def advance(state: State, watch: Watch, noise: Tensor | None) -> tuple[State, Watch]:
        out = call(*state, *watch) if noise is None else call(*state, *watch, noise)
        run.model_forces.calls += 1
        return State(*out[:5]), Watch(*out[5:])

    return Form(mode="step", advance=advance)
