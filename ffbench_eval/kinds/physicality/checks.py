"""The checks of one structure, all by batched calls of the model; nothing here needs a label."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import atomic_masses, covalent_radii
from scipy.spatial.transform import Rotation

from ffbench_data.geometry import minimum_image
from ffbench_metrics import (
    energy_mae,
    equivariance_error,
    force_mae,
    gradient_error,
    jacobian_asymmetry,
    largest_jump,
    net_force,
    net_torque,
    repulsion,
)

from ...models.embedding import bare
from ...models.guard import guarded
from ..asking import Ask
from ..base import Progress
from . import LIMITS

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField
    from ffbench_data.frames import Frame

STEP = {torch.float64: 1e-3, torch.float32: 1e-2}  # Å, of differences: energies in float32 need the longer one
ROUNDING = {"energy": 8, "force": 64}  # times the spacing of numbers: what their sums over many terms may leave
FAR = 100.0  # Å
STIFFNESS = 100.0  # eV/Å², of a double bond
FINE = 1e-4  # Å, steps across a cutoff
FINE_STEPS = 20
PATH, PATH_POINTS, PATHS = 0.4, 41, 3  # Å, of one atom, in steps of 0.01 Å; the worst of these in finer ones, twice
TRANSFORMS = 4  # reflections, translations, renumberings
LINES = 8  # directions of the slope of the energy
NEAREST, SCAN_POINTS = 0.3, 30  # of repulsion
BONDED = 1.25  # times the sum of covalent radii
AXIS = np.array([1.0, 0.0, 0.0])
At = Callable[..., tuple[np.ndarray, np.ndarray]]  # energies [S] and forces [S, N, 3] at positions [S, N, 3]
SHARES = ("energy_rises", "force_rises", "repulsive")


@dataclass
class _Found:
    """Values of the checks of one structure: NaN where the model gave no answer, and why some were not asked."""

    values: dict[str, float]
    skipped: dict[str, str]

    def add(self, name: str, value: Callable[[], Any], *answers: np.ndarray) -> None:
        self.values[name] = float(value()) if all(np.isfinite(a).all() for a in answers) else float("nan")

    def beyond(self, name: str, value: Callable[[], Any], rounding: float, *answers: np.ndarray) -> None:
        """The same, 0 for what rounding may leave; where that is more than the limit, such a value says nothing."""
        self.add(name, value, *answers)
        if self.values[name] <= rounding:
            self.values[name] = 0.0
            if rounding > LIMITS[name]:
                del self.values[name]
                self.skip(f"below {rounding:.1g}, what rounding in the model's precision may leave", name)

    def skip(self, why: str, *names: str) -> None:
        self.skipped |= dict.fromkeys(names, why)


def check_structure(
    ask: Ask,
    fine: ForceField | None,
    model: ForceField,
    frame: Frame,
    x: np.ndarray,
    p: Any,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[dict[str, float], dict[str, str]]:
    found = _Found({}, {})
    z, open_system = frame.atomic_numbers.astype(int), not frame.pbc.any()
    about = {"cell": frame.cell, "pbc": frame.pbc, "charge": frame.charge, "spin": frame.spin_multiplicity}

    def at(positions: np.ndarray, **other: Any):
        return ask(positions, other.pop("numbers", z), **{**about, **other})

    if not np.isfinite(x).all():
        return {"net_force": float("nan")}, {}
    e0, f0 = at(x[None])
    e0, f0 = e0[0], f0[0]
    precision = _precision_of(f0, ask.model.dtype)
    eps, largest = torch.finfo(precision).eps, np.abs(f0).max()
    small = {
        "energy": ROUNDING["energy"] * eps * abs(e0),
        "force": ROUNDING["force"] * eps * (1 + largest),
        "far energy": eps * FAR * largest,  # positions far from the origin are rounded
        "far force": eps * FAR * STIFFNESS,
    }
    found.add("net_force", lambda: net_force(f0), f0)
    if open_system:
        found.add("net_torque", lambda: net_torque(x, f0, masses=atomic_masses[z]), f0)
    else:
        found.skip("of open systems only", "net_torque")
    if not found.values["net_force"] >= 0:  # no answer at the structure itself: nothing else to ask
        return found.values, found.skipped
    _derivatives(found, at, x, f0, frame, p, rng, STEP.get(precision, 1e-2), small)
    progress(0.3)
    _symmetries(found, at, x, e0, f0, frame, p, rng)
    progress(0.4)
    if open_system and frame.charge == 0 and frame.spin_multiplicity == 1:
        _far_away(found, ask, model, x, z, e0, f0, small, rng)
    else:
        found.skip(
            "of neutral closed-shell molecules only",
            *("size_consistency_error", "far_molecule_force_change", "far_atom_force_change"),
        )
    _across_cutoff(found, ask, at, model, x, z, frame, rng, small)
    _along_paths(found, at, x, rng, small)
    progress(0.7)
    _bonded_pairs(found, at, x, z, frame, p, rng)
    if fine is None:
        found.skip("it has one precision only", "precision_error")
    else:
        _precision(found, fine, model, x, z, about)
    progress(1.0)
    return found.values, found.skipped


def _precision_of(forces: np.ndarray, stated: torch.dtype) -> torch.dtype:
    """What the model computes in: an ASE calculator takes float64 and may hand over what its network has in float32."""
    single = np.array_equal(forces, forces.astype(np.float32)) and bool(forces.any())
    return torch.float32 if single and stated == torch.float64 else stated


def _derivatives(
    found: _Found,
    at: At,
    x: np.ndarray,
    f0: np.ndarray,
    frame: Frame,
    p: Any,
    rng: np.random.Generator,
    h: float,
    small: dict[str, float],
) -> None:
    """Jacobian of a block of neighbouring atoms, and the slope of the energy along random lines of all atoms."""
    n = len(x)
    centre = rng.integers(n)
    distance = np.linalg.norm(minimum_image(x - x[centre], frame.cell, frame.pbc), axis=1)
    block = np.sort(np.argsort(distance, kind="stable")[: p.jacobian_atoms])
    jacobians = []
    for step in (h, h / 10):
        moves = np.zeros((3 * len(block), n, 3))
        moves[np.arange(len(moves)), np.repeat(block, 3), np.tile(np.arange(3), len(block))] = step
        _, f = at(x + np.concatenate([moves, -moves]))
        f = f[:, block].reshape(2, len(moves), -1)
        jacobians.append((f[0] - f[1]).T / (2 * step))
    # Kinks of the forces (ANI's CELU has them) and higher derivatives add less with the shorter step, rounding with the
    # longer one: in float32 neither is surer than the two agree.
    longer, shorter = jacobians
    size = float(np.linalg.norm(longer))
    doubt = float(np.linalg.norm(longer - shorter)) / size if h > STEP[torch.float64] and size else 0.0
    found.beyond("jacobian_asymmetry", lambda: min(map(jacobian_asymmetry, jacobians)), doubt, *jacobians)
    lines = rng.normal(size=(LINES, n, 3))
    lines /= np.linalg.norm(lines, axis=(1, 2), keepdims=True)
    scale = 2 * h * np.array([-2.0, -1.0, 1.0, 2.0])
    e, _ = at((x + scale[:, None, None, None] * lines).reshape(-1, n, 3))
    e = e.reshape(4, LINES)
    slope = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * 2 * h)
    found.beyond("gradient_error", lambda: gradient_error(slope, f0, lines), small["energy"] / h, e)


def _symmetries(
    found: _Found, at: At, x: np.ndarray, e0: float, f0: np.ndarray, frame: Frame, p: Any, rng: np.random.Generator
) -> None:
    n = len(x)
    turn = Rotation.random(p.rotations, rng=rng).as_matrix()
    e, f = at(_turned(x, turn), cell=_turned(frame.cell, turn))
    found.add("rotation_force_error", lambda: equivariance_error(f, f0, turn), f)
    found.add("rotation_energy_error", lambda: energy_mae(e, np.full(len(e), e0), n_atoms=np.full(len(e), n)), e)
    normal = rng.normal(size=(TRANSFORMS, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    mirror = np.eye(3) - 2 * normal[:, :, None] * normal[:, None, :]
    _, g = at(_turned(x, mirror), cell=_turned(frame.cell, mirror))
    found.add("reflection_force_error", lambda: equivariance_error(g, f0, mirror), g)
    by = rng.uniform(size=(TRANSFORMS, 3))
    shift = by @ frame.cell if frame.pbc.all() else FAR * (2 * by - 1)
    _, t = at(x + shift[:, None])
    found.add("translation_force_error", lambda: equivariance_error(t, f0, np.stack([np.eye(3)] * TRANSFORMS)), t)
    order = np.stack([rng.permutation(n) for _ in range(TRANSFORMS)])
    _, r = at(x[order], numbers=frame.atomic_numbers[order])
    found.add("permutation_force_error", lambda: force_mae(r, f0[order]), r)


def _turned(x: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    return np.einsum("rab,nb->rna", matrices, x)


def _far_away(
    found: _Found,
    ask: Ask,
    model: ForceField,
    x: np.ndarray,
    z: np.ndarray,
    e0: float,
    f0: np.ndarray,
    small: dict[str, float],
    rng: np.random.Generator,
) -> None:
    """A copy of the molecule, and one of its atoms alone, 100 Å away."""
    n = len(x)
    direction = rng.normal(size=3)
    away = direction / np.linalg.norm(direction) * (FAR + 2 * np.linalg.norm(x - x.mean(0), axis=1).max())
    e, f = ask(np.concatenate([x, x + away])[None], np.concatenate([z, z]))
    found.beyond(
        "size_consistency_error", lambda: energy_mae(e, [2 * e0]), 2 * small["energy"] + small["far energy"], e
    )
    found.beyond(
        "far_molecule_force_change", lambda: np.abs(f[0, :n] - f0).max(), small["force"] + small["far force"], f
    )
    if model.cutoff is None:
        found.skip("it states no cutoff, and a lone atom is an open shell to it", "far_atom_force_change")
        return
    k, raised = rng.integers(n), len(ask.raised)
    _, g = ask(np.concatenate([x, x[k : k + 1] + away])[None], np.append(z, z[k]))
    if len(ask.raised) > raised and not np.isfinite(g).all():
        found.skip("the model refuses an atom without neighbours", "far_atom_force_change")
        return
    found.beyond("far_atom_force_change", lambda: np.abs(g[0, :n] - f0).max(), small["force"] + small["far force"], g)


def _across_cutoff(
    found: _Found,
    ask: Ask,
    at: At,
    model: ForceField,
    x: np.ndarray,
    z: np.ndarray,
    frame: Frame,
    rng: np.random.Generator,
    small: dict[str, float],
) -> None:
    """Two atoms pass each other's stated cutoff in steps of 1e-4 Å: alone, and in two copies of the molecule; in a
    periodic system an atom and one that is nearly that far away. A model may refuse two lone atoms, nothing else."""
    names = ("cutoff_energy_jump", "cutoff_force_jump")
    if model.cutoff is None:
        found.skip("it states no cutoff", *names)
        return
    gap = FINE * (np.arange(FINE_STEPS + 1) - FINE_STEPS / 2 + 0.37)  # no point at the cutoff itself
    answers = []
    if frame.pbc.any():
        d = minimum_image(x[:, None] - x[None], frame.cell, frame.pbc)
        r = np.linalg.norm(d, axis=-1)
        for k in np.argsort(np.abs(r - model.cutoff), axis=None)[: 4 * 2 : 2]:
            i, j = np.unravel_index(k, r.shape)
            moved = np.repeat(x[None], len(gap), axis=0)
            moved[:, i] += (model.cutoff - r[i, j] + gap)[:, None] * d[i, j] / r[i, j]
            answers.append(at(moved))
    elif frame.charge == 0 and frame.spin_multiplicity == 1:
        for _ in range(TRANSFORMS):
            u = rng.normal(size=3)
            u /= np.linalg.norm(u)
            turned = x @ Rotation.random(rng=rng).as_matrix().T
            i, j = int((x @ u).argmax()), int((turned @ u).argmin())
            other = turned - turned[j] + x[i] + model.cutoff * u
            moved = np.repeat(np.concatenate([x, other])[None], len(gap), axis=0)
            moved[:, len(x) + j] += gap[:, None] * u
            answers.append(ask(moved, np.concatenate([z, z])))
        kinds = np.unique(z)
        for a in kinds:
            for b in kinds[kinds >= a]:
                if (a + b) % 2 == 0:  # closed shells, for models that ask
                    pair = np.zeros((len(gap), 2, 3))
                    pair[:, 1, 0] = model.cutoff + gap
                    raised, answer = len(ask.raised), ask(pair, [a, b])
                    if len(ask.raised) == raised:
                        answers.append(answer)
    if not answers:
        found.skip("of neutral closed-shell molecules and periodic systems only", *names)
    elif not all(np.isfinite(e).all() and np.isfinite(f).all() for e, f in answers):
        found.values |= dict.fromkeys(names, float("nan"))
    else:
        _jumps(found, names, answers, {**small, "energy": 2 * small["energy"]})  # of two copies


def _jumps(
    found: _Found, names: Sequence[str], answers: Sequence[tuple[np.ndarray, np.ndarray]], small: dict[str, float]
) -> None:
    energy = max(largest_jump(e[:, None]) for e, _ in answers)
    force = max(largest_jump(f.reshape(len(f), -1)) for _, f in answers)
    found.beyond(names[0], lambda: energy, small["energy"])
    found.beyond(names[1], lambda: force, small["force"])


def _along_paths(found: _Found, at: At, x: np.ndarray, rng: np.random.Generator, small: dict[str, float]) -> None:
    """One atom moves 0.4 Å; where its forces change most unevenly, the path is walked again in ever finer steps."""
    names, answers = ("path_energy_jump", "path_force_jump"), []
    for _ in range(PATHS):
        k = int(rng.integers(len(x)))
        u = rng.normal(size=3)
        u /= np.linalg.norm(u)
        ends, points = (-PATH / 2, PATH / 2), PATH_POINTS
        for finer in (FINE_STEPS, FINE_STEPS // 2, 0):
            along = np.linspace(*ends, points)
            e, f = at(_one_moved(x, k, u, along))
            if not (np.isfinite(e).all() and np.isfinite(f).all()):
                found.values[names[1]] = float("nan")
                return
            steps = np.diff(f.reshape(len(f), -1), axis=0)
            worst = int(np.linalg.norm(steps[1:-1] - 0.5 * (steps[:-2] + steps[2:]), axis=1).argmax()) + 1
            inside = along[1] - along[0]  # so that a jump at the border is not in the first or last step
            ends, points = (along[worst] - 0.25 * inside, along[worst + 1] + 0.25 * inside), finer + 1
        answers.append((e, f))
    _jumps(found, names, answers, small)


def _one_moved(x: np.ndarray, k: int, u: np.ndarray, along: np.ndarray) -> np.ndarray:
    moved = np.repeat(x[None], len(along), axis=0)
    moved[:, k] += along[:, None] * u
    return moved


def _bonded_pairs(
    found: _Found, at: At, x: np.ndarray, z: np.ndarray, frame: Frame, p: Any, rng: np.random.Generator
) -> None:
    """The lighter atom of bonded pairs goes towards the heavier one, the rest stays."""
    names = [f"pair_{s}" for s in SHARES]
    d = minimum_image(x[:, None] - x[None], frame.cell, frame.pbc)
    r = np.linalg.norm(d, axis=-1)
    i, j = np.nonzero(np.triu(r < BONDED * (covalent_radii[z][:, None] + covalent_radii[z][None]), 1))
    chosen = np.sort(rng.permutation(len(i))[: p.pairs])
    if not len(chosen):
        found.skip("no bonded pairs", *names)
        return
    passed = []
    for a, b in zip(i[chosen], j[chosen]):
        light, heavy = (a, b) if z[a] <= z[b] else (b, a)
        u = d[light, heavy] / r[light, heavy]
        along = np.linspace(min(nearest_start(z[a], z[b]), r[a, b]), NEAREST, SCAN_POINTS)
        energy, f = scanned(partial(together, at, x, light, u, r[a, b]), along)
        passed.append(repulsion(energy, 0.5 * (f[:, light] - f[:, heavy]) @ u))
    for name, share in zip(names, np.mean(passed, axis=0)):
        found.values[name] = float(share)


def together(
    at: At, x: np.ndarray, k: int, u: np.ndarray, now: float, distances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    return at(_one_moved(x, k, u, distances - now))


def scanned(
    at: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], distances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Energies and forces at ``distances``. Where there is no answer (a cycle of self-consistency that did not
    converge) the model is asked up to three times more, each time 0.001 Å nearer."""
    energy, forces = at(distances)
    for again in range(1, 4):
        lost = np.flatnonzero(~(np.isfinite(energy) & np.isfinite(forces).all((1, 2))))
        if not len(lost):
            break
        energy[lost], forces[lost] = at(distances[lost] - 1e-3 * again)
    return energy, forces


def nearest_start(a: int, b: int) -> float:
    """Å: 0.9, or 0.9 of the sum of covalent radii where that is shorter: there every pair repels."""
    return float(min(0.9, 0.9 * (covalent_radii[a] + covalent_radii[b])))


def _precision(
    found: _Found, fine: ForceField, model: ForceField, x: np.ndarray, z: np.ndarray, about: dict[str, Any]
) -> None:
    inner = bare(model)
    single = model
    if model.dtype == torch.float64:
        if not isinstance(inner.fn, torch.nn.Module):
            found.skip("it is not a torch module that can be cast to another precision", "precision_error")
            return
        single = guarded(replace(inner, fn=copy.deepcopy(inner.fn).float(), dtype=torch.float32))
    f32, f64 = (Ask(m)(x[None], z, **about)[1] for m in (single, fine))
    if not np.isfinite(f32).all():
        found.skip("it cannot be cast to float32", "precision_error")
        return
    found.add("precision_error", lambda: force_mae(f32, f64) / max(1e-12, np.abs(f64).mean()), f64)
