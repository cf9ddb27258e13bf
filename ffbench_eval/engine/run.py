"""Run one batch of replicas: integrate, watch, save, checkpoint; go on where an earlier run stopped."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffbench_data.contract import ForceField

from . import checkpoint
from .barostat import scaled_cell
from .bias import Hills, Restraints
from .checkpoint import OtherSimulation
from .chunk import Keep
from .fastpath import CompiledDiffers, Form, again, check_on_the_way, choose
from .forces import ModelForces
from .images import Images
from .integrators import Integrator, integrator, langevin
from .internal import internal_temperature
from .memory import memory_guard
from .monitors import FrameLimits, FrameMonitors
from .noise import Noise
from .protocol import BAR, Outcome, Protocol, Start
from .rule import Rule
from .system import (
    State,
    System,
    at_temperature,
    conserved_rotations,
    draw_velocities,
    is_straight,
    kinetic_energy,
    kinetic_temperature,
)
from .trajectory import Recorder
from .turns import wait_for
from .units import FS
from .watch import ENERGY, STEP, TEMPERATURE, Limits, Watch, new_watch, reason_texts, watched_step

__all__ = ["OtherSimulation", "Outcome", "Protocol", "Start", "simulate"]

CHECKPOINT_STEPS = 2000  # part of the protocol: the edge list is rebuilt there
TAIL = 32  # consecutive steps kept of a replica before it failed
BENDING_FS = 500.0  # of Langevin at BENDING_PER_FS before a straight molecule starts, see `Run.bent`
BENDING_PER_FS = 0.05
APART = 2**40  # steps from which the random numbers of that are drawn, far from those of the simulation
Tail = deque[tuple[int, Callable[[], State]]]  # (steps done, the state after them)
log = logging.getLogger("ffbench.engine")


def simulate(
    model: ForceField,
    start: Start,
    protocol: Protocol,
    folder: Path,
    *,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
    compile: str = "auto",
    identity: str | None = None,
) -> Outcome:
    """Simulate every replica of ``start`` with ``model``; the trajectory lands in ``folder`` (made if absent).

    A replica that fails is frozen at its last good step; the others go on unchanged, and its last steps are kept
    (`read_failures`). ``progress`` gets the finished fraction at every saved frame. An interrupted call, repeated,
    continues from the last checkpoint and gives the same trajectory bit for bit on the CPU. Another call (protocol,
    start, seed, replica numbers, model) on a used folder is refused with one line that says what differs
    (`OtherSimulation`, a ValueError): ``identity`` says which model this is; without it the model is asked about the
    start, and its answer must be that of the model which began.

    A model that raises costs what one that answers NaN costs: the replica for which it raises, from that step on.

    ``compile``: "auto" compiles the step when that pays off for this length and is possible,
    "require" raises ValueError when it is not possible, "off" never does. A compiled form is checked against eager on
    the start before it is trusted; the choice is made once per simulation and recorded in the outcome. One that turns
    out wrong on the way (compared at every checkpoint and at the end) starts the simulation again without it.

    `OutOfMemory` says how to split a batch that does not fit.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    with memory_guard(len(start.positions)):
        try:
            return Run(model, start, protocol, seed, identity).to_the_end(Path(folder), progress, compile)
        except CompiledDiffers as reason:
            log.warning("started again without compilation: %s", reason)
            checkpoint.clear(Path(folder))
            outcome = Run(model, start, protocol, seed, identity).to_the_end(Path(folder), progress, "off")
            return replace(outcome, mode_note=f"restarted without compilation: {reason}")


class Run:
    """A simulation being set up and advanced; `simulate` is its front."""

    def __init__(self, model: ForceField, start: Start, protocol: Protocol, seed: int, identity: str | None = None):
        self.start, self.protocol, self.seed, self.identity = start, protocol, seed, identity
        self.integrator = integrator(protocol.ensemble)
        self.system = make_system(start, protocol, self.integrator, model.device)
        self.rule = make_rule(protocol, model.device)
        self.limits = Limits(step=protocol.step_limit_A)
        replicas, n = start.positions.shape[:2]
        if self.integrator.npt and not bool(self.system.pbc.all()):
            raise ValueError("ensemble 'npt' needs a cell that is periodic in all directions")
        for name in ("metadynamics", "restraints", "rdf"):
            if self.integrator.npt and getattr(protocol, name):
                raise ValueError(f"ensemble 'npt' cannot have {name}, which takes the cell as fixed: use 'langevin'")
        self.model_forces = ModelForces(model, self.system, replicas)
        draw, ids = self.integrator.draw, list(start.ids)
        self.noise = Noise(seed, ids, n, model.device, dof=self.system.dof, draw=draw) if draw else None
        rule = protocol.metadynamics
        images = Images(self.system.cell, self.system.pbc)
        self.hills = Hills(rule, replicas, protocol.steps // rule.every + 1, model.device, images) if rule else None
        self.form = Form()
        self._first: State | None = None
        self.restraints = Restraints(protocol.restraints, model.device, images) if protocol.restraints else None

    def force(self, positions: Tensor, cell: Tensor | None = None) -> tuple[Tensor, ...]:
        """The model's energy and the forces of model and bias; at constant pressure the model's stress too."""
        energy, forces, *stress = self.model_forces(positions, cell)
        for bias in (self.hills, self.restraints):
            if bias is not None:
                forces = forces + bias.energy_and_forces(positions)[1]
        return (energy, forces, *stress)

    def first_state(self) -> State:
        x = torch.as_tensor(np.array(self.start.positions, float), device=self.system.masses.device)
        seeds = [[self.seed, b, 0] for b in self.start.ids]
        v = draw_velocities(x, self.system, seeds, momentum_free=self.integrator.keeps_momentum)
        thermostat = x.new_zeros(len(x), self.integrator.thermostat_size)
        if self.integrator.npt:
            energy, forces, stress = self.force(x, scaled_cell(self.system, thermostat[:, 0]))
            thermostat[:, 1] = stress.diagonal(dim1=-2, dim2=-1).mean(-1)
        else:
            energy, forces = self.force(x)
        return State(x, v, forces, energy, thermostat)

    def bent(self, state: State) -> State:
        """A straight molecule as it is at its temperature, where momenta are conserved; every other as it is.

        On a line there is no angular momentum about the line, and none ever comes: two bending modes would share one
        degree of freedom, and the stretches would get the energy of the other. And the one vibration of a diatomic
        takes very long to come to its temperature from a minimum. A little Langevin before the start, and the removal
        of the momenta that are conserved (all but the one about the line), draws both from the ensemble.
        """
        start = self.start
        if not self.integrator.keeps_momentum or not is_straight(start.positions, start.masses, start.cell, start.pbc):
            return state
        noise = Noise(self.seed, list(start.ids), state.positions.shape[1], state.positions.device)
        rule = replace(self.rule, friction=BENDING_PER_FS / FS)
        bent = state
        for step in range(math.ceil(BENDING_FS / self.protocol.longest_step_fs)):
            bent = langevin(bent, self.system, rule, self.force, noise(APART + step))
        mass = self.system.masses / self.system.masses.sum()
        moved = (mass * (bent.positions - state.positions)).sum(1, keepdim=True)
        sound = (bent.positions + bent.velocities).isfinite().all(2).all(1)[:, None, None]
        x = torch.where(sound, bent.positions - moved, state.positions)
        v = at_temperature(x, torch.where(sound, bent.velocities, state.velocities), self.system, exactly=False)
        energy, forces = self.force(x)
        return state._replace(positions=x, velocities=v, energy=energy, forces=forces)

    def answer(self) -> dict[str, list]:
        """What the model says about the start: which model it is, for a caller who does not say it."""
        self._first = self.first_state()
        return {"energy": self._first.energy.tolist(), "forces": self._first.forces.flatten().tolist()}

    def advance(self, state: State, watch: Watch, step: int) -> tuple[State, Watch]:
        """One step of all replicas."""
        return self.chunk(state, watch, step, 1)

    def chunk(
        self, state: State, watch: Watch, first: int, n: int, keep: Keep = lambda *_: None
    ) -> tuple[State, Watch]:
        """``n`` steps of all replicas from step ``first`` on; ``keep`` gets the state after each, as a function."""
        if self.form.steps is not None:
            return self.form.steps.advance(state, watch, first, n, keep)
        for step in range(first, first + n):
            noise = self.noise(step) if self.noise else None
            settings = (self.system, self.rule, self.force, self.limits, noise)
            state, watch = watched_step(self.integrator, state, watch, *settings)
            keep(step + 1, partial(_same, state))
        return state, watch

    def resume_form(self, folder: Path, option: str, steps: int) -> None:
        """Choose the form, or take the one that the checkpoint was made with; a form that is gone restarts the run."""
        saved = checkpoint.latest(folder)
        if saved is None:
            self.form = choose(self, option, steps)
            return
        mode, note = saved[1]["mode"], saved[1]["note"]
        self.form = Form(note=note) if mode == "eager" else again(self, saved[1].get("places"))
        if self.form.mode != mode:
            log.warning(
                "started again: the checkpoint was made in the form %r, here only %r works", mode, self.form.mode
            )
            checkpoint.clear(folder)
            self.form.note = f"restarted, was {mode}: {self.form.note}"

    def to_the_end(self, folder: Path, progress: Callable[[float], None], option: str) -> Outcome:
        begun = time.perf_counter()
        protocol, system = self.protocol, self.system
        skip, total = protocol.equilibration_steps, protocol.equilibration_steps + protocol.steps
        step_ps = np.broadcast_to(np.asarray(protocol.time_step_fs, float) / 1000, len(self.start.positions))
        optional = ("velocities",) * protocol.save_velocities + ("cell_scale",) * self.integrator.npt
        about = (folder, self.start.numbers, self.start.cell, self.start.pbc)
        recorder = Recorder(*about, optional=optional)

        key = checkpoint.make_key(self.start, protocol, self.seed, self.identity)
        checkpoint.claim(folder, key, self.answer)
        self.resume_form(folder, option, total)
        saved = checkpoint.latest(folder)
        earlier_s = 0.0
        first = self._first if self.model_forces.calls == 1 and self.form.mode == "eager" else None
        if saved is not None or first is None:
            self.model_forces.forget()  # what the choice of a form cost is not the simulation's
        if saved is None:
            state = self.bent(self.first_state() if first is None else first)
            watch = new_watch(len(self.start.positions), system.masses.device)
            watch = watch.retire(~state.energy.isfinite(), ENERGY)
            step = piece = 0
        else:
            tensors = {k: v.to(system.masses.device) for k, v in saved[0].items()}
            state = State(*(tensors[name] for name in State._fields))
            watch = Watch(*(tensors[name] for name in Watch._fields))
            step, piece = saved[1]["step"], saved[1]["piece"]
            self.model_forces.calls, earlier_s = saved[1]["calls"], saved[1]["wall_s"]
            self.model_forces.restore(tensors, {int(b): said for b, said in saved[1]["raised"].items()})
        files: dict[str, str] = {} if saved is None else saved[1]["files"]
        monitors = self._monitors()
        if saved is not None:
            monitors.restore(tensors)
            if self.hills is not None:
                self.hills.centres, self.hills.heights = tensors["centres"], tensors["heights"]
                self.hills.count = saved[1]["hills"]
        for late in folder.glob("trajectory-*.parquet"):
            if int(late.stem.split("-")[1]) >= piece:
                late.unlink()
        for late in folder.glob("failure-*.parquet"):
            if bool(watch.alive[int(late.stem.split("-")[1])]):
                late.unlink()

        every = protocol.metadynamics.every if protocol.metadynamics else 0
        tail: Tail = deque(maxlen=TAIL + protocol.save_every)
        stride = max(1, protocol.save_every * state.positions.nbytes // 2**23)  # at most tens of MB

        def keep(step: int, made: Callable[[], State]) -> None:
            if step % stride == 0:
                tail.append((step, made))

        alive = watch.alive.cpu().numpy()
        while step < total and alive.any():
            n = self.until_next_event(step)
            state, watch = self.chunk(state, watch, step, n, keep)
            wait_for(system.masses.device)
            step += n
            if self.form.steps is not None and (step % CHECKPOINT_STEPS == 0 or step == total):
                check_on_the_way(self, state, watch, step)
            if every and step > skip and (step - skip) % every == 0:
                assert self.hills is not None
                self.hills.deposit(state.positions, system.kt, watch.alive)
            saving = (step - skip) % protocol.save_every == 0
            checkpointing = step % CHECKPOINT_STEPS == 0 and step < total
            if saving or checkpointing or step == total:
                if saving or step == total:
                    scale = torch.exp(state.thermostat[:, 0] / 3) if self.integrator.npt else None
                    conserved = self._conserved(state)
                    watch = monitors.check(state.positions, conserved, watch, scale=scale, regular=saving)
                before, alive = alive, watch.alive.cpu().numpy()
                for b in np.flatnonzero(before & ~alive).tolist():
                    self._keep_tail(Recorder(*about, f"failure-{b:04d}", optional), tail, b, int(watch.failed_at[b]))
                if step > skip and saving:
                    self._record(recorder, state, step - skip, step_ps, alive)
                    progress(step / total)
            if checkpointing:
                recorder.flush(piece)
                piece += 1
                kept = {**state._asdict(), **watch._asdict(), **monitors.state(), **self.model_forces.state()}
                meta = {"piece": piece, "mode": self.form.mode, "note": self.form.note}
                written = {p.name for stem in ("trajectory", "failure") for p in folder.glob(f"{stem}-*.parquet")}
                files |= checkpoint.hashes(folder, written - files.keys())
                meta["files"] = files
                if self.form.steps is not None:
                    meta["places"] = self.form.steps.places
                    self.form.steps.lists.forget()
                meta |= {"calls": self.model_forces.calls, "raised": self.model_forces.raised}
                meta["wall_s"] = earlier_s + time.perf_counter() - begun
                if self.hills is not None:
                    kept |= {"centres": self.hills.centres, "heights": self.hills.heights}
                    meta["hills"] = self.hills.count
                checkpoint.save(folder, step, kept, meta)
                self.model_forces.rebuild()
                tail.clear()  # a resumed run cannot know it either
        recorder.flush(piece)
        progress(1.0)

        ended = np.where(watch.alive.cpu(), total, watch.failed_at.cpu()) - skip
        texts = self.reasons(watch, monitors.reason_limits())
        has_conserved = self.integrator.conserved is not None
        return Outcome(
            end_ps=[min(max(0.0, float(t)), protocol.length_ps) for t in ended * step_ps],
            reason=texts,
            hills=None if self.hills is None else _hill_rows(self.hills),
            force_calls=self.model_forces.calls,
            wall_s=earlier_s + time.perf_counter() - begun,
            alive=watch.alive.cpu().numpy(),
            mode=self.form.mode,
            mode_note=self.form.note,
            force_error=self.form.force_error,
            drift_eV_per_atom=monitors.drift.cpu().numpy() if has_conserved else np.full(len(ended), math.nan),
            displacement_A=monitors.displacement.cpu().numpy(),
        )

    def reasons(self, watch: Watch, limits: Mapping[int, float] | None = None) -> list[str]:
        """Why each replica stopped, "" for those that did not; ``limits`` are those of the frame monitors."""
        texts = reason_texts(
            watch, {TEMPERATURE: self.limits.temperature_K, STEP: self.limits.step or 0.0, **(limits or {})}
        )
        for b, said in self.model_forces.raised.items():
            if int(watch.code[b]) == ENERGY:
                texts[b] = f"the model raised {said}"
        return texts

    def until_next_event(self, step: int) -> int:
        """Steps that can be done without a look: up to a saved frame, a hill, a checkpoint or the end."""
        p, skip = self.protocol, self.protocol.equilibration_steps
        ends = [skip + p.steps, (step // CHECKPOINT_STEPS + 1) * CHECKPOINT_STEPS]
        for every in (p.save_every, p.metadynamics.every if p.metadynamics else p.save_every):
            ends.append(skip + ((step - skip) // every + 1) * every)
        return min(ends) - step

    def _monitors(self) -> FrameMonitors:
        p = self.protocol
        if p.drift_limit_eV_per_atom is not None and self.integrator.conserved is None:
            raise ValueError(f"drift_limit_eV_per_atom: ensemble {p.ensemble!r} has no conserved quantity")
        limits = FrameLimits(p.bonds, p.bond_tolerance, p.rdf, p.drift_limit_eV_per_atom, p.displacement_limit_A)
        start = torch.as_tensor(np.array(self.start.positions, float), device=self.system.masses.device)
        return FrameMonitors(limits, self.system, start, p.save_every * p.longest_step_fs / 1000)

    def _conserved(self, state: State) -> Tensor | None:
        quantity = self.integrator.conserved
        return None if quantity is None else quantity(state, self.system, self.rule)

    def _record(self, recorder: Recorder, state: State, step: int, step_ps: np.ndarray, alive: np.ndarray) -> None:
        columns = {
            "positions": state.positions,
            "potential": state.energy,
            "kinetic": kinetic_energy(state.velocities, self.system.masses),
            "temperature": kinetic_temperature(state, self.system),
            "internal": internal_temperature(state, self.system),
        }
        if "velocities" in recorder.optional:
            columns["velocities"] = state.velocities * FS
        if "cell_scale" in recorder.optional:
            columns["cell_scale"] = torch.exp(state.thermostat[:, 0] / 3)
        # One copy from the device, not one for each.
        sizes = [part[0].numel() for part in columns.values()]
        flat = torch.cat([part.detach().reshape(len(alive), -1) for part in columns.values()], 1).cpu().numpy()
        parts = np.split(flat, np.cumsum(sizes)[:-1], axis=1)
        host = {name: part.reshape(columns[name].shape) for name, part in zip(columns, parts)}
        recorder.add(step, step * step_ps, alive=alive, **host)

    def _keep_tail(self, recorder: Recorder, tail: Tail, replica: int, failed_at: int) -> None:
        only = np.arange(len(self.start.positions)) == replica
        step_ps = np.broadcast_to(np.asarray(self.protocol.time_step_fs, float) / 1000, len(only))
        for step, made in [entry for entry in tail if entry[0] <= failed_at][-TAIL:]:
            self._record(recorder, made(), step - self.protocol.equilibration_steps, step_ps, only)
        recorder.flush(0)


def _same(state: State) -> State:
    return state


def make_system(start: Start, protocol: Protocol, integrator: Integrator, device: torch.device | str | None) -> System:
    """The constants of a simulation as tensors on ``device``. ValueError when the protocol does not fit the batch."""
    replicas, n = start.positions.shape[:2]
    for name in ("temperature_K", "time_step_fs"):
        value = np.asarray(getattr(protocol, name))
        if value.ndim and len(value) != replicas:
            raise ValueError(f"{name} needs one number or one per replica ({replicas}), got {len(value)}")
    positions, cell, pbc = np.array(start.positions, float), np.array(start.cell, float), np.array(start.pbc, bool)
    rotations = conserved_rotations(positions, start.masses, cell, pbc)
    f64: dict[str, Any] = {"dtype": torch.float64, "device": device}
    return System(
        # Copies: arrays from a file are read-only, and tensors that share them warn.
        numbers=torch.as_tensor(np.array(start.numbers, np.int64), device=device),
        masses=torch.as_tensor(np.array(start.masses, float), **f64)[:, None],
        cell=torch.as_tensor(np.array(start.cell, float), **f64),
        pbc=torch.as_tensor(np.array(start.pbc, bool), device=device),
        temperature=torch.as_tensor(np.broadcast_to(protocol.temperature_K, replicas).copy(), **f64),
        dof=integrator.dof(n, bool(pbc.any()), rotations),
        rotations=rotations,
        charge=start.charge,
        spin_multiplicity=start.spin_multiplicity,
    )


def make_rule(protocol: Protocol, device: torch.device | str | None) -> Rule:
    """The protocol's times and rates in engine units."""
    step = protocol.time_step_fs
    dt = torch.tensor(step, dtype=torch.float64, device=device) * FS if isinstance(step, tuple) else float(step) * FS
    return Rule(
        dt=dt,
        relaxation=20 * dt if protocol.ensemble == "nose_hoover_mdsim" else protocol.relaxation_fs * FS,
        friction=protocol.friction_per_ps / (1000 * FS),
        pressure=protocol.pressure_bar * BAR,
        compressibility=protocol.compressibility_per_bar / BAR,
        barostat_relaxation=protocol.barostat_relaxation_fs * FS,
    )


def _hill_rows(hills: Hills) -> list[np.ndarray]:
    centres, heights = (part.cpu().numpy() for part in hills.of_walkers())
    return [row[row[:, -1] > 0] for row in np.concatenate([centres, heights[..., None]], -1)]
