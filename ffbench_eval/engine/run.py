"""Run one batch of replicas: integrate, watch, save, checkpoint; go on where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ffbench_data.contract import ForceField

from . import checkpoint
from .bias import Hills, MetadynamicsRule
from .forces import ModelForces
from .integrators import INTEGRATORS, Rule
from .noise import Noise
from .system import State, System, degrees_of_freedom, draw_velocities, kinetic_energy, kinetic_temperature
from .trajectory import Recorder
from .units import BOLTZMANN, FS

CHECKPOINT_STEPS = 2000  # part of the protocol: the edge list is rebuilt there
TEMPERATURE_LIMIT = 1e5  # K, where a run is stopped whatever the task says


@dataclass(frozen=True)
class Protocol:
    """How to simulate. ``bonds`` [(i, j, length)] with ``bond_tolerance`` (Angstrom) retire a replica whose bond has
    broken, checked on saved frames."""

    ensemble: str
    temperature_K: float
    time_step_fs: float
    length_ps: float
    save_every_fs: float
    relaxation_fs: float = 100.0
    friction_per_ps: float = 1.0
    equilibrate_ps: float = 0.0
    bonds: tuple[tuple[int, int, float], ...] = ()
    bond_tolerance: float = 0.5
    metadynamics: MetadynamicsRule | None = None

    @property
    def steps(self) -> int:
        return round(self.length_ps * 1000 / self.time_step_fs)

    @property
    def equilibration_steps(self) -> int:
        return round(self.equilibrate_ps * 1000 / self.time_step_fs)

    @property
    def save_every(self) -> int:
        return max(1, round(self.save_every_fs / self.time_step_fs))


@dataclass(frozen=True)
class Start:
    """``positions`` [B, N, 3] Angstrom, ``numbers`` [N], ``masses`` [N] amu, ``cell`` [3, 3], ``pbc`` [3]."""

    positions: np.ndarray
    numbers: np.ndarray
    masses: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray


@dataclass
class Outcome:
    """Per replica: ``end_ps`` simulated and ``reason`` it stopped early ("" if it did not); ``hills`` per replica
    [H, D + 1] (angles in rad, height in eV as added); ``force_calls`` made in this process."""

    end_ps: list[float]
    reason: list[str]
    hills: list[np.ndarray] | None = None
    force_calls: int = 0
    alive: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


def simulate(
    model: ForceField,
    start: Start,
    protocol: Protocol,
    folder: Path,
    *,
    seed: int,
    progress: Callable[[float], None] = lambda done: None,
) -> Outcome:
    """Simulate every replica of ``start`` with ``model``; the trajectory lands in ``folder``.

    A replica whose energy, temperature or bonds fail is frozen at its last good step; the others go on unchanged.
    ``progress`` gets the finished fraction at every saved frame. An interrupted call, repeated, continues from the
    last checkpoint and gives the same trajectory bit for bit on the CPU.
    """
    integrator = INTEGRATORS[protocol.ensemble]
    replicas, n = start.positions.shape[:2]
    device = model.device
    f64 = {"dtype": torch.float64, "device": device}
    system = System(
        numbers=torch.as_tensor(np.asarray(start.numbers, np.int64), device=device),
        masses=torch.as_tensor(start.masses, **f64)[:, None],
        cell=torch.as_tensor(start.cell, **f64),
        pbc=torch.as_tensor(start.pbc, device=device),
        temperature=torch.full((replicas,), protocol.temperature_K, **f64),
        dof=degrees_of_freedom(n, periodic=bool(np.any(start.pbc)), stochastic=integrator.stochastic),
    )
    rule = Rule(
        dt=protocol.time_step_fs * FS,
        relaxation=protocol.relaxation_fs * FS,
        friction=protocol.friction_per_ps / (1000 * FS),
    )
    model_forces = ModelForces(model, system, replicas)
    noise = Noise(seed, list(range(replicas)), n, device) if integrator.stochastic else None
    bias_rule = protocol.metadynamics
    equilibration, total = protocol.equilibration_steps, protocol.equilibration_steps + protocol.steps
    hills = Hills(bias_rule, replicas, protocol.steps // bias_rule.every + 1, device) if bias_rule else None
    recorder = Recorder(folder, start.numbers, start.cell, start.pbc)
    bonds = _bond_tensors(protocol, device)

    potential = torch.zeros(replicas, **f64)

    def force(positions):
        nonlocal potential
        potential, forces = model_forces(positions)
        if hills is not None:
            forces = forces + hills.energy_and_forces(positions)[1]
        return potential, forces

    saved = checkpoint.latest(folder)
    if saved is None:
        x = torch.as_tensor(start.positions, **f64)
        seeds = [[seed, b, 0] for b in range(replicas)]
        v = draw_velocities(x, system, seeds, momentum_free=not integrator.stochastic)
        energy, forces = force(x)
        state = State(x, v, forces, energy, torch.zeros(replicas, integrator.thermostat_size, **f64))
        alive = torch.ones(replicas, dtype=torch.bool, device=device)
        step, piece, reason, end = 0, 0, [""] * replicas, [protocol.length_ps] * replicas
    else:
        tensors, meta = saved
        tensors = {k: v.to(device) for k, v in tensors.items()}
        state = State(*(tensors[name] for name in State._fields))
        alive, step, piece = tensors["alive"], meta["step"], meta["piece"]
        reason, end = meta["reason"], meta["end_ps"]
        if hills is not None:
            hills.centres, hills.heights, hills.count = tensors["centres"], tensors["heights"], meta["hills"]
    for late in folder.glob("trajectory-*.parquet"):
        if int(late.stem.split("-")[1]) >= piece:
            late.unlink()

    while step < total and bool(alive.any()):
        new = integrator.step(state, system, rule, force, noise(step) if noise else None)
        step += 1
        kinetic = kinetic_energy(new.velocities, system.masses)
        good = torch.isfinite(new.energy + kinetic) & (kinetic < 0.5 * system.dof * BOLTZMANN * TEMPERATURE_LIMIT)
        saving = step % protocol.save_every == 0
        if saving and bonds is not None:
            broken = _worst_bond(new.positions, bonds) > protocol.bond_tolerance
        else:
            broken = None
        if not bool((good | ~alive).all()) or (broken is not None and bool((broken & alive).any())):
            fell = alive & (~good | (broken if broken is not None else ~good))
            for b in fell.nonzero().flatten().tolist():
                reason[b] = _why(new, kinetic, b, good)
                end[b] = max(0.0, (step - equilibration) * protocol.time_step_fs / 1000)
            alive = alive & ~fell
        # Retired replicas stay at their last good state; the batch keeps its shape.
        state = new if bool(alive.all()) else State(*(_keep(alive, a, b) for a, b in zip(new, state)))
        if hills is not None and step > equilibration and (step - equilibration) % bias_rule.every == 0:
            hills.deposit(state.positions, system.kt, alive)
        if saving and step > equilibration:
            recorder.add(
                step - equilibration,
                (step - equilibration) * protocol.time_step_fs / 1000,
                state.positions.cpu().numpy(),
                state.energy.cpu().numpy(),
                kinetic_energy(state.velocities, system.masses).cpu().numpy(),
                kinetic_temperature(state, system).cpu().numpy(),
                alive.cpu().numpy(),
            )
            progress(step / total)
        if step % CHECKPOINT_STEPS == 0 and step < total:
            recorder.flush(piece)
            piece += 1
            tensors = {**state._asdict(), "alive": alive}
            meta = {"piece": piece, "reason": reason, "end_ps": end}
            if hills is not None:
                tensors |= {"centres": hills.centres, "heights": hills.heights}
                meta["hills"] = hills.count
            checkpoint.save(folder, step, tensors, meta)
            model_forces.rebuild()
    recorder.flush(piece)
    progress(1.0)
    return Outcome(
        end_ps=end,
        reason=reason,
        hills=None if hills is None else _hill_rows(hills, bias_rule),
        force_calls=model_forces.calls,
        alive=alive.cpu().numpy(),
    )


def _keep(alive, new, old):
    return torch.where(alive.view(-1, *[1] * (new.ndim - 1)), new, old)


def _bond_tensors(protocol: Protocol, device):
    if not protocol.bonds:
        return None
    i, j, length = zip(*protocol.bonds)
    return (
        torch.tensor(i, device=device),
        torch.tensor(j, device=device),
        torch.tensor(length, dtype=torch.float64, device=device),
    )


def _worst_bond(positions, bonds):
    i, j, length = bonds
    return ((positions[:, i] - positions[:, j]).norm(dim=-1) - length).abs().amax(1)


def _why(new: State, kinetic, b: int, good) -> str:
    if not bool(torch.isfinite(new.energy[b])):
        return "the model's energy is not finite"
    if not bool(torch.isfinite(kinetic[b])):
        return "the velocities are not finite"
    return "a bond broke" if bool(good[b]) else f"temperature above {TEMPERATURE_LIMIT:g} K"


def _hill_rows(hills: Hills, rule: MetadynamicsRule) -> list[np.ndarray]:
    centres = hills.centres[:, : hills.count].cpu().numpy()
    heights = hills.heights[:, : hills.count, None].cpu().numpy()
    return [row[row[:, -1] > 0] for row in np.concatenate([centres, heights], -1)]
