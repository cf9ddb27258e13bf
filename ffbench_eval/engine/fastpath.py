"""Which form a simulation runs in: eager, or with the whole step compiled (on a GPU: many steps captured as one graph).

Chosen once per simulation, proved equal to eager on its own start before it is trusted, compared again on the way, and
recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .captured import capturable, capture, fused
from .chunk import CapturedSteps, Steps, parted
from .compiled import CannotCompile, NotCompilable, Tensors, artefact, build, cache_folder, compiler, log, trace
from .forces import last_line
from .lists import lists_for
from .system import State
from .watch import Watch, new_watch, watched_step

if TYPE_CHECKING:
    from .run import Run

CHOICES = ("auto", "off", "require")
WORTH_TRACING_S = 20.0  # shorter simulations stay eager
COMPILE_S = 60.0  # what compilation costs, roughly
GAIN = 0.35  # of the eager time that it saves, roughly
# On a GPU (an H100, benchmarks/results): captured as it is 0.08 of the eager time, fused 0.03 and twenty seconds more.
FUSE_S = 300.0  # of eager simulation from which fusing is worth it
TOLERANCE = {torch.float64: 1e-8, torch.float32: 2e-4}  # relative error that is believed
MARGIN = 10  # times more on the way, where one structure of a million may be ill-conditioned


class CompiledDiffers(Exception):
    """A compiled form turned out wrong where the simulation has come to."""


@dataclass
class Form:
    """``mode`` eager or step; ``note`` why; ``force_error`` against eager; ``steps`` the compiled ones."""

    mode: str = "eager"
    note: str = ""
    force_error: float | None = None
    steps: Steps | None = None


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


def again(run: Run, places: dict[str, int] | None = None) -> Form:
    """The compiled form of a run that goes on, its lists with ``places`` places; or eager with the reason why not."""
    try:
        return _compiled(run, None, places)
    except NotCompilable as reason:
        return Form(note=str(reason))


def _compiled(run: Run, steps: int | None, places: dict[str, int] | None = None) -> Form:
    """Compile the step; with ``steps``, only if that pays off for so many."""
    gpu = run.model_forces.model.device.type != "cpu"
    if run.integrator.npt:
        raise NotCompilable("the cell changes")
    seconds = saving = None
    if steps is not None:
        seconds = eager_step_seconds(run) * steps
        # A step is compiled once for every size of the tensors of hills.
        saving = GAIN * seconds / (run.hills.sizes if run.hills else 1)
        if seconds < WORTH_TRACING_S:
            raise NotCompilable(f"not worth it for about {seconds:.1f} s of simulation")
        if not gpu and saving < COMPILE_S and not any(cache_folder().glob("*.pt2")):  # tracing takes seconds itself
            raise NotCompilable(f"not worth it: compiling would save about {saving:.0f} s")
    starts = _starts(run)
    lists = lists_for(run.model_forces, starts, places)
    if not gpu:
        origin: list[str] = []
        form = Form("step", steps=Steps(run, lists, partial(_machine_code, saving=saving, origin=origin), trusted))
        return _checked(run, form, starts, origin)
    if seconds is None or seconds > FUSE_S:
        try:
            form = Form("step", steps=CapturedSteps(run, lists, fused, capture, trusted=trusted))
            return _checked(run, form, starts, ["fused and captured as a CUDA graph"])
        except NotCompilable as reason:
            log.info("not fused: %s", reason)
    form = Form("step", steps=CapturedSteps(run, lists, capturable, capture, trusted=trusted))
    return _checked(run, form, starts, ["captured as a CUDA graph"])


def _checked(run: Run, form: Form, starts: list[Tensor], origin: list[str]) -> Form:
    """The form with its errors and a note, if it is right."""
    form.force_error, step_error = errors(run, form, starts)
    limit = tolerance(run)
    for what, error in (("forces", form.force_error), ("steps", step_error)):
        if not error <= limit:
            raise NotCompilable(f"the compiled {what} differ from eager by {error:.1e} (allowed {limit:.0e})")
    form.note = f"{origin[0]}, largest relative force error {form.force_error:.1e}"
    return form


def _machine_code(
    function: Callable[..., Tensors], arguments: list[Tensor], *, saving: float | None, origin: list[str]
) -> Callable[..., Tensors]:
    """The compiled function, and in ``origin`` where it comes from; NotCompilable if making it takes longer than the
    ``saving`` (s)."""
    graph = trace(function, arguments)
    path = artefact(graph, arguments)
    known = path.exists()
    if not known and saving is not None and saving < COMPILE_S:
        raise NotCompilable(f"not worth it: compiling would save about {saving:.0f} s")
    if not known and compiler() is None:
        raise NotCompilable("no C++ compiler (g++ or clang++) was found")
    begun = time.perf_counter()
    call = build(graph, arguments, path)
    origin.append("from the cache" if known else f"compiled in {time.perf_counter() - begun:.0f} s")
    return call


def eager_step_seconds(run: Run, steps: int = 3) -> float:
    """Time of one eager step at the start, the fastest of a few."""
    state, watch = run.first_state(), new_watch(len(run.start.positions), run.system.masses.device)
    best = float("inf")
    for step in range(steps):
        begun = time.perf_counter()
        state, watch = run.advance(state, watch, step)  # the last it does is to look whether all are alive
        best = min(best, time.perf_counter() - begun)
    run.model_forces.rebuild()
    return best


def tolerance(run: Run) -> float:
    return TOLERANCE.get(run.model_forces.model.dtype, 1e-2)


def errors(run: Run, form: Form, starts: list[Tensor]) -> tuple[float, float]:
    """(the largest relative error of the forces, and of the rest of the state) of compiled steps against eager ones:
    three from the first of ``starts``, one from each other. Infinite where the monitors differ."""
    assert form.steps is not None
    at_start, worst = run.first_state(), np.zeros(2)
    with _some_hill(run, starts[0]):
        for k, x in enumerate(starts):
            state = eager = at_start._replace(positions=x)
            watch = eager_watch = new_watch(len(x), x.device)
            for step in range(3 if k == 0 else 1):
                eager, eager_watch = _eager_step(run, eager, eager_watch, step)
                state, watch = form.steps.advance(state, watch, step, 1)
                forces, rest = difference(run, state, eager, x)
                worst = np.maximum(worst, (forces if step == 0 else 0.0, rest))  # later ones are at other positions
            if any(not torch.equal(a, b) for a, b in zip(watch, eager_watch, strict=True)):
                worst[1] = np.inf
            form.steps.lists.forget()
    return float(worst[0]), float(worst[1])


def trusted(steps: Steps, state: State, watch: Watch, step: int, call: Callable[..., Tensors]) -> bool:
    """Whether a step that was compiled in the middle of a run is the eager one from here."""
    run = steps.run
    noise = run.noise(step) if run.noise else None
    found, watched, flags = parted(call(*steps.function.arguments(state, watch, steps.none, noise)))
    if bool(flags.any()):  # no answer yet
        return True
    expected, expected_watch = _eager_step(run, state, watch, step)
    same = torch.equal(watched.alive, expected_watch.alive)
    return same and max(difference(run, found, expected, state.positions, watched.alive)) <= MARGIN * tolerance(run)


def check_on_the_way(run: Run, state: State, watch: Watch, step: int) -> None:
    """`CompiledDiffers` if eager forces at the positions that a compiled run has come to are others than its own.

    The start says little of where a simulation goes. One eager call, not counted, at every checkpoint and at the end;
    before a new hill changes the forces.
    """
    forces = run.model_forces
    calls = forces.calls
    forces.rebuild()
    try:
        expected = state._replace(forces=run.force(state.positions)[1])
        said = "" if not forces.raised else f"eager the model raises {next(iter(forces.raised.values()))}"
    except Exception as error:  # of a foreign model, which the compiled form does not know
        expected, said = state, f"eager the model raises {last_line(error)}"
    forces.calls = calls
    forces.rebuild()
    apart = difference(run, state, expected, state.positions, watch.alive)[0]
    if said or not apart <= MARGIN * tolerance(run):
        raise CompiledDiffers(
            f"the compiled forces differ from eager by {apart:.1e} at step {step}; {said}".rstrip("; ")
        )


def difference(
    run: Run, found: State, expected: State, before: Tensor, alive: Tensor | None = None
) -> tuple[float, float]:
    """(relative error of the forces, the largest one of the rest) over the replicas that are ``alive``.

    Forces relative to the largest of a replica, which counts as 1 eV/Angstrom at least: a perfect crystal has none.
    Displacements from ``before``, velocities and thermostat relative to the largest of each; energies in eV beyond
    rounding.
    """
    rounding = 8 * torch.finfo(run.model_forces.model.dtype).eps * expected.energy.abs()
    parts = {
        "forces": (found.forces - expected.forces, expected.forces, 1.0),
        "positions": (found.positions - expected.positions, expected.positions - before, 1e-6),
        "velocities": (found.velocities - expected.velocities, expected.velocities, 1e-6),
        # Rates of 1/100 fs are 0.1, energies of kT 0.03.
        "thermostat": (found.thermostat - expected.thermostat, expected.thermostat, 1e-3),
        "energy": ((found.energy - expected.energy).abs() - rounding, torch.ones_like(rounding), 1.0),
    }
    worst = {}
    for name, (error, size, least) in parts.items():
        error, size = error.reshape(len(error), -1), size.reshape(len(size), -1)
        if alive is not None:
            error, size = error[alive], size[alive]
        if not error.numel():
            worst[name] = 0.0
            continue
        ratio = error.abs().amax(1) / size.abs().amax(1).clamp(min=least)
        if name == "energy":
            ratio = error.amax(1).clamp(min=0.0)
        worst[name] = float(ratio.max().nan_to_num(float("inf")))
    forces = worst.pop("forces")
    return forces, max(worst.values())


def _eager_step(run: Run, state: State, watch: Watch, step: int) -> tuple[State, Watch]:
    calls = run.model_forces.calls
    run.model_forces.rebuild()
    noise = run.noise(step) if run.noise else None
    out = watched_step(run.integrator, state, watch, run.system, run.rule, run.force, run.limits, noise)
    run.model_forces.calls = calls
    run.model_forces.rebuild()
    return out


@contextmanager
def _some_hill(run: Run, positions: Tensor) -> Iterator[None]:
    """A hill at ``positions`` as long as there is none, so that the bias is checked too."""
    if run.hills is None or run.hills.count:
        yield
        return
    run.hills.deposit(positions, run.system.kt, torch.ones_like(positions[:, 0, 0], dtype=torch.bool))
    try:
        yield
    finally:
        run.hills.clear()


def _starts(run: Run) -> list[Tensor]:
    """The start and two displaced copies of it."""
    x = torch.as_tensor(np.array(run.start.positions, float), device=run.system.masses.device)
    moved = []
    for k, size in enumerate((0.0, 0.03, 0.1)):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(k), dtype=x.dtype)
        moved.append(x + size * noise.to(x.device))
    return moved
