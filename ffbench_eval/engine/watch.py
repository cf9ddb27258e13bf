"""Monitors in every step: a replica that fails is frozen at its last good state, the others go on unchanged.

Tensors only, so that they run inside a compiled step and are read once per saved frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .integrators import Integrator
from .rule import Force, Rule
from .system import State, System, kinetic_energy
from .units import BOLTZMANN

REASONS = {
    1: "the model's energy is not finite",
    2: "the velocities are not finite",
    3: "temperature above {limit:g} K",
    4: "an atom moved more than {limit:g} A in one step",
    5: "a bond broke",
    6: "the energy drifted by more than {limit:g} eV per atom",
    7: "the g(r) error exceeded {limit:g} A",
    8: "an atom moved more than {limit:g} A from its start",
}
ENERGY, VELOCITY, TEMPERATURE, STEP, BOND, DRIFT, RDF, DISPLACEMENT = REASONS


class Watch(NamedTuple):
    """``alive`` [B] bool; ``failed_at`` [B] the step in which a replica failed; ``code`` [B] its reason (`REASONS`, 0
    for none); ``clock`` [] steps done. int64."""

    alive: Tensor
    failed_at: Tensor
    code: Tensor
    clock: Tensor

    def retire(self, failed: Tensor, code: int | Tensor) -> Watch:
        """Mark replicas [B] as failed now; those already retired keep their first reason."""
        fresh = self.alive & failed
        return self._replace(
            alive=self.alive & ~failed,
            failed_at=torch.where(fresh, self.clock, self.failed_at),
            code=torch.where(fresh, code, self.code),
        )


def new_watch(replicas: int, device: torch.device | str | None = None) -> Watch:
    zeros = torch.zeros(replicas, dtype=torch.int64, device=device)
    return Watch(torch.ones(replicas, dtype=torch.bool, device=device), zeros, zeros.clone(), zeros[:1].sum())


@dataclass(frozen=True)
class Limits:
    """``temperature_K`` where a replica is stopped whatever the task says; ``step`` the largest move of an atom in
    one step (Angstrom), ``None``: any."""

    temperature_K: float = 1e5
    step: float | None = None


def watched_step(
    integrator: Integrator,
    state: State,
    watch: Watch,
    system: System,
    rule: Rule,
    force: Force,
    limits: Limits,
    noise: Tensor | None,
    *,
    traced: bool = False,
) -> tuple[State, Watch]:
    """One step of every replica that is alive, and what the monitors say about it.

    ``traced``: take no branch on a value, so that the step can be compiled.
    """
    new = integrator.step(state, system, rule, force, noise)
    clock = watch.clock + 1
    kinetic = kinetic_energy(new.velocities, system.masses)
    hottest = 0.5 * max(system.dof, 1) * BOLTZMANN * limits.temperature_K
    good = torch.isfinite(new.energy + kinetic) & (kinetic < hottest)
    if limits.step is not None:
        good = good & ((new.positions - state.positions).square().sum(-1).amax(1) <= limits.step**2)
    go_on = watch.alive & good
    if not traced and bool(go_on.all()):
        return new, watch._replace(clock=clock)
    code = torch.where(kinetic < torch.inf, torch.full_like(watch.code, STEP), VELOCITY)
    hot = torch.isfinite(kinetic) & (kinetic >= hottest)
    code = torch.where(hot, TEMPERATURE, code)
    code = torch.where(torch.isfinite(new.energy), code, ENERGY)
    kept = State(*(torch.where(go_on.view(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(new, state)))
    return kept, watch._replace(clock=clock).retire(~good, code)


def reason_texts(watch: Watch, limits: dict[int, float]) -> list[str]:
    """Why each replica stopped, "" for those that did not."""
    return ["" if c == 0 else REASONS[c].format(limit=limits.get(c, 0.0)) for c in watch.code.tolist()]
