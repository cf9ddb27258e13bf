"""Which form a simulation runs in: eager, with a compiled force call, or with the whole step compiled (on a GPU:
captured as a CUDA graph).

Chosen once per simulation, proved equal to eager on its own start before it is trusted, compared again on the way, and
recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .captured import capture
from .compiled import CannotCompile, NotCompilable, Tensors, artefact, build, cache_folder, compiler, log, trace
from .forces import last_line
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
MARGIN = 10  # times more on the way, where one structure of a million may be ill-conditioned


class CompiledDiffers(Exception):
    """A compiled form turned out wrong where the simulation has come to."""


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
    limit = tolerance(run)
    for what, error in (("forces", form.force_error), ("steps", step_error(run, form))):
        if not error <= limit:
            run.model_forces.compiled = None
            raise NotCompilable(f"the compiled {what} differ from eager by {error:.1e} (allowed {limit:.0e})")
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


def tolerance(run: Run) -> float:
    return TOLERANCE.get(run.model_forces.model.dtype, 1e-2)


def check_on_the_way(run: Run, form: Form, state: State, step: int) -> None:
    """`CompiledDiffers` if eager forces at the positions that a compiled run has come to are others than its own.

    The start says little of where a simulation goes. One eager call, not counted, at every checkpoint and at the end.
    """
    forces = run.model_forces
    calls = forces.calls
    with _eagerly(run):
        try:
            expected = run.force(state.positions)[1]
            said = "" if not forces.raised else f"eager the model raises {next(iter(forces.raised.values()))}"
        except Exception as error:  # of a foreign model, which the compiled form does not know
            expected, said = state.forces, f"eager the model raises {last_line(error)}"
    found = state.forces if form.mode == "step" else run.force(state.positions)[1]
    forces.calls = calls
    error = _difference(found, expected)
    if said or not error <= MARGIN * tolerance(run):
        raise CompiledDiffers(
            f"the compiled forces differ from eager by {error:.1e} at step {step}; {said}".rstrip("; ")
        )


def step_error(run: Run, form: Form, steps: int = 3) -> float:
    """Largest difference between compiled and eager after a few steps from the start: of displacements, velocities and
    thermostat relative to the largest of each, of the energy in eV beyond rounding. Infinite where monitors differ."""
    with _eagerly(run):
        state = eager = run.first_state()
    watch = eager_watch = new_watch(len(state.positions), state.positions.device)
    for step in range(steps):
        noise = run.noise(step) if run.noise else None
        settings = (run.system, run.rule, run.force, run.limits, noise)
        with _eagerly(run):
            eager, eager_watch = watched_step(run.integrator, eager, eager_watch, *settings)
        advance = form.advance
        if advance is not None:
            state, watch = advance(state, watch, noise)
        else:
            state, watch = watched_step(run.integrator, state, watch, *settings)
    run.model_forces.rebuild()
    if any(not torch.equal(a, b) for a, b in zip(watch, eager_watch)):
        return float("inf")
    worst, start = 0.0, _start(run)
    for found, expected, least in (
        (state.positions - start, eager.positions - start, 1e-6),
        (state.velocities, eager.velocities, 1e-6),
        (state.thermostat, eager.thermostat, 1e-3),  # rates of 1/100 fs are 0.1, energies of kT 0.03
    ):
        if expected.numel():
            relative = (found - expected).abs().max() / expected.abs().max().clamp(min=least)
            worst = max(worst, float(relative.nan_to_num(float("inf"))))
    rounding = 8 * torch.finfo(run.model_forces.model.dtype).eps * eager.energy.abs()
    energy = (state.energy - eager.energy).abs() - rounding
    return max(worst, float(energy.max().nan_to_num(float("inf"))))


@contextmanager
def _eagerly(run: Run) -> Iterator[None]:
    """Without the compiled force call."""
    compiled, run.model_forces.compiled = run.model_forces.compiled, None
    try:
        yield
    finally:
        run.model_forces.compiled = compiled


def _difference(found: Tensor, expected: Tensor) -> float:
    """max |F - F_expected| / max |F_expected| over the replicas; the largest force counts as 1 eV/Angstrom at least: a
    perfect crystal has none."""
    error = (found - expected).abs().amax((1, 2)) / expected.abs().amax((1, 2)).clamp(min=1.0)
    return float(error.max().nan_to_num(float("inf")))


def force_error(run: Run, form: Form) -> float:
    """max |F - F_eager| / max |F_eager| of the compiled form, at the start and at two displaced copies of it."""
    worst = 0.0
    x = _start(run)
    for k, size in enumerate((0.0, 0.03, 0.1)):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(k), dtype=x.dtype)
        moved = x + size * noise.to(x.device)
        run.model_forces.rebuild()
        with _eagerly(run):
            expected = run.force(moved)[1]
        if form.mode == "force":
            found = run.force(moved)[1]
        else:
            found = _forces_after_a_step_to(run, form, moved)
        worst = max(worst, _difference(found, expected))
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
