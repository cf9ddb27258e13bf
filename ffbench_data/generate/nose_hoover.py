"""The Nose-Hoover chain of the reference trajectories, written twice on purpose.

`openmm_integrator` is the algorithm for OpenMM, `step` the same one in numpy for potentials that are
Python functions. Both are independent of the batched engine in ``ffbench_eval`` that scores models, so
that "the truth, run as a model" compares two implementations of one definition.

Definition (Martyna, Tuckerman, Tobias and Klein, Mol. Phys. 87, 1117 (1996)): velocity Verlet between two
half steps of a chain of M = 3 thermostats that see the full-step kinetic energy; masses
Q_1 = g kT tau^2, Q_k = kT tau^2, with g degrees of freedom and relaxation time tau.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CHAIN = 3


def half_step(
    v: np.ndarray, mass: np.ndarray, eta_v: np.ndarray, kt: float, tau: float, dof: int, dt: float
) -> tuple[np.ndarray, np.ndarray]:
    """Advance the chain by dt/2; returns the scaled velocities and the new thermostat velocities."""
    q = np.full(len(eta_v), kt * tau**2)
    q[0] *= dof
    eta_v = eta_v.copy()
    kinetic2 = float((mass[:, None] * v**2).sum())

    def pull(k: int):
        return (kinetic2 - dof * kt if k == 0 else q[k - 1] * eta_v[k - 1] ** 2 - kt) / q[k]

    last = len(eta_v) - 1
    eta_v[last] += pull(last) * dt / 4
    for k in range(last - 1, -1, -1):
        drag = np.exp(-eta_v[k + 1] * dt / 8)
        eta_v[k] = (eta_v[k] * drag + pull(k) * dt / 4) * drag
    scale = np.exp(-eta_v[0] * dt / 2)
    v = v * scale
    kinetic2 *= scale**2
    for k in range(last):
        drag = np.exp(-eta_v[k + 1] * dt / 8)
        eta_v[k] = (eta_v[k] * drag + pull(k) * dt / 4) * drag
    eta_v[last] += pull(last) * dt / 4
    return v, eta_v


def step(
    x: Any,
    v: Any,
    force: Any,
    eta_v: Any,
    potential: Callable,
    *,
    mass: Any,
    kt: float,
    tau: float,
    dof: int,
    dt: float,
) -> tuple[Any, ...]:
    """(x, v, force, eta_v, energy) after dt. ``potential(x) -> (energy, force)``; any consistent unit system."""
    v, eta_v = half_step(v, mass, eta_v, kt, tau, dof, dt)
    v = v + 0.5 * dt * force / mass[:, None]
    x = x + dt * v
    energy, force = potential(x)
    v = v + 0.5 * dt * force / mass[:, None]
    v, eta_v = half_step(v, mass, eta_v, kt, tau, dof, dt)
    return x, v, force, eta_v, energy


def draw_velocities(
    rng: np.random.Generator, x: np.ndarray, mass: np.ndarray, kt: float, *, remove_rotation: bool
) -> np.ndarray:
    """Maxwell-Boltzmann velocities with P = 0 (and L = 0 for an open system), scaled to the exact temperature."""
    v = rng.normal(size=x.shape) * np.sqrt(kt / mass[:, None])
    v -= (mass[:, None] * v).sum(0) / mass.sum()
    dof = 3 * len(x) - 3
    if remove_rotation:
        r = x - (mass[:, None] * x).sum(0) / mass.sum()
        angular = (mass[:, None] * np.cross(r, v)).sum(0)
        inertia = (mass * (r**2).sum(1)).sum() * np.eye(3) - np.einsum("i,ia,ib->ab", mass, r, r)
        v -= np.cross(np.linalg.solve(inertia, angular), r)
        dof -= 3
    return v * np.sqrt(dof * kt / (mass[:, None] * v**2).sum())


def openmm_integrator(*, kt: float, tau: float, dof: int, dt: float) -> Any:
    """The same step as an OpenMM ``CustomIntegrator`` (kJ/mol, nm, ps)."""
    import openmm

    it = openmm.CustomIntegrator(dt)
    it.addGlobalVariable("kt", kt)
    it.addGlobalVariable("dof", dof)
    it.addGlobalVariable("kinetic2", dof * kt)
    it.addGlobalVariable("scale", 1.0)
    for k in range(CHAIN):
        it.addGlobalVariable(f"w{k}", 0.0)
        it.addGlobalVariable(f"q{k}", (dof if k == 0 else 1) * kt * tau**2)
    it.addUpdateContextState()

    def pull(k: int):
        return "(kinetic2-dof*kt)/q0" if k == 0 else f"(q{k - 1}*w{k - 1}^2-kt)/q{k}"

    def inner(k: int):
        drag = f"exp(-w{k + 1}*dt/8)"
        it.addComputeGlobal(f"w{k}", f"(w{k}*{drag}+{pull(k)}*dt/4)*{drag}")

    def half():
        last = CHAIN - 1
        it.addComputeSum("kinetic2", "m*v*v")
        it.addComputeGlobal(f"w{last}", f"w{last}+{pull(last)}*dt/4")
        for k in range(last - 1, -1, -1):
            inner(k)
        it.addComputeGlobal("scale", "exp(-w0*dt/2)")
        it.addComputePerDof("v", "v*scale")
        it.addComputeGlobal("kinetic2", "kinetic2*scale^2")
        for k in range(last):
            inner(k)
        it.addComputeGlobal(f"w{last}", f"w{last}+{pull(last)}*dt/4")

    half()
    it.addComputePerDof("v", "v+0.5*dt*f/m")
    it.addComputePerDof("x", "x+dt*v")
    it.addComputePerDof("v", "v+0.5*dt*f/m")
    half()
    return it
