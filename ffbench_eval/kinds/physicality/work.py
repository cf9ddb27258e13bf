"""The checks of one structure or one dimer, all by batched calls of the model; nothing here needs a label.

A check that a model cannot be asked (no cutoff stated, elements it does not know, one precision only) has no value and
the reason; a model that fails on a structure has no values for it, and one that fails within a scan does not pass it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import atomic_masses, chemical_symbols, covalent_radii
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.spatial.transform import Rotation

from ffbench_data.contract import AtomsBatch, ForceField
from ffbench_data.geometry import minimum_image
from ffbench_metrics import (
    clopper_pearson,
    energy_mae,
    equivariance_error,
    force_mae,
    jacobian_asymmetry,
    largest_jump,
    net_force,
    net_torque,
    repulsion,
    why_no_interval,
)

from ...models.batching import batch_atoms, in_parts
from ...models.finite import usable
from ...models.guard import guarded
from ...report import Curve, Interval, Metric
from ..statistics import student
from . import LIMITS, METRICS

STEP = {torch.float64: 1e-3, torch.float32: 1e-2}  # Å, of differences: energies in float32 need the longer one
ROUNDING = {"energy": 4, "force": 64}  # times the spacing of numbers: what their sums over many terms may leave
FAR = 100.0  # Å
FINE = 1e-4  # Å, steps across a cutoff
FINE_STEPS = 20
PATH, PATH_POINTS, PATHS = 0.4, 41, 3  # Å, of one atom, in steps of 0.01 Å; the worst of these in finer ones, twice
TRANSFORMS = 4  # reflections, translations, renumberings
LINES = 8  # directions of the slope of the energy
NEAREST, SCAN_POINTS = 0.3, 30  # of repulsion
BONDED = 1.25  # times the sum of covalent radii
AXIS = np.array([1.0, 0.0, 0.0])
SHARES = ("energy_rises", "force_rises", "repulsive")


class Parameters(BaseModel):
    """``structures`` frames of ``split`` (a fixed random choice), ``dimers`` by symbol of their element; ``pairs`` of
    bonded atoms per structure are pushed together. Of larger structures the Jacobian is that of ``jacobian_atoms``
    neighbouring atoms. With ``own_ps`` each structure is where the model's own Langevin dynamics at ``temperature_K``
    takes the frame in that time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = "test"
    structures: int = Field(default=8, ge=0)
    dimers: list[str] = Field(default_factory=list)
    rotations: int = Field(default=32, ge=1)
    pairs: int = Field(default=12, ge=0)
    jacobian_atoms: int = Field(default=24, ge=1)
    own_ps: float = Field(default=0.0, ge=0)
    temperature_K: float = Field(default=300.0, gt=0)

    @model_validator(mode="after")
    def _known_elements(self) -> Parameters:
        strange = [s for s in self.dimers if s not in chemical_symbols[1:]]
        if strange:
            raise ValueError(f"dimers: {', '.join(strange)} is no symbol of an element")
        if not (self.structures or self.dimers):
            raise ValueError("structures 0 and no dimers leave nothing to ask")
        return self


def plan(task, data, seed: int) -> list[dict]:
    """One unit per structure, and one for all dimers."""
    p = task.parameters
    units: list[dict] = [{"members": [row]} for row in rows_of(p, data)]
    return units + ([{"members": p.dimers, "dimers": True}] if p.dimers else [])


def rows_of(p: Parameters, data) -> list[int]:
    return np.sort(np.random.default_rng(0).permutation(len(data.frames))[: p.structures]).tolist()


def calls(task, inputs, data, model) -> tuple[int, float]:
    p, atoms = task.parameters, int(data.frames.n_atoms[0])
    per_call = max(1, batch_atoms(model) // atoms)
    if "dimers" in inputs:
        return per_call, 2 * SCAN_POINTS * len(inputs["members"]) / (per_call * atoms)
    jacobian = 12 * min(atoms, p.jacobian_atoms)
    others = p.rotations + 12 * FINE_STEPS + PATHS * PATH_POINTS + SCAN_POINTS * min(p.pairs, atoms)
    return per_call, (jacobian + others) / per_call + p.own_ps * 2000


def run_unit(task, inputs, data, model, folder, progress, compile="auto") -> dict[str, Any]:
    if "dimers" in inputs:
        return _dimers(inputs["members"], model)
    row = inputs["members"][0]
    frame, p = data.frames[row], task.parameters
    fine, why = in_double(model, frame)
    ask = Ask(fine or model)
    positions = np.asarray(frame.positions, float)
    if p.own_ps:
        positions = _moved(p, frame, model, folder, row)
    values, skipped = _structure(ask, fine, model, frame, positions, p, np.random.default_rng([0, row]), progress)
    broken = sorted(name for name, v in values.items() if not np.isfinite(v))
    return {
        "row": row,
        "status": ["model_error" if broken else "ok"],
        "detail": [f"structure {row}: no finite answer for {', '.join(broken)}", *ask.raised[:2]] if broken else [],
        "force_calls": ask.made,
        "dtype": str(ask.model.dtype).removeprefix("torch."),
        "one_precision": why,
        "checks": {name: float(v) for name, v in values.items() if np.isfinite(v)},
        "skipped": skipped,
    }


def in_double(model: ForceField, frame) -> tuple[ForceField | None, str]:
    """(the model in float64, "") or (``None``, why it cannot be): a torch module that answers there as it does in its
    own precision, to a thousandth."""
    if model.dtype == torch.float64:
        return model, ""
    inner = getattr(model.fn, "__wrapped__", model)
    if not isinstance(inner.fn, torch.nn.Module):
        return None, "it is not a torch module that can be cast to another precision"
    try:
        made = guarded(replace(inner, fn=copy.deepcopy(inner.fn).double(), dtype=torch.float64))
        mine, double = (Ask(m).one(frame)[1] for m in (model, made))
        if np.abs(double - mine).max() <= 1e-3 * (1 + np.abs(mine).max()):
            return made, ""
        return None, "cast to float64 it answers otherwise"
    except Exception as error:  # whatever a foreign module does when it is cast
        return None, f"it cannot be cast to float64: {str(error).splitlines()[0][:120]}"


class Ask:
    """Asks a model about many structures of one size at once; NaN where it raises."""

    def __init__(self, model: ForceField):
        self.model, self.made, self.raised = model, 0, []  # type: ignore[var-annotated]

    def __call__(self, positions, numbers, cell=None, pbc=None, charge=0, spin=1) -> tuple[np.ndarray, np.ndarray]:
        """Energies [K] and forces [K, N, 3] at ``positions`` [K, N, 3]; ``numbers`` [N] or [K, N], ``cell`` [3, 3] or
        [K, 3, 3]."""
        x = np.asarray(positions, float)
        k, n = x.shape[:2]
        z = np.broadcast_to(numbers, (k, n))
        cells = np.broadcast_to(np.zeros((3, 3)) if cell is None else cell, (k, 3, 3))
        periodic = np.broadcast_to(np.zeros(3, bool) if pbc is None else pbc, (k, 3))

        def part(rows):
            self.made += 1
            b = len(rows)
            out = self.model(
                AtomsBatch(
                    positions=torch.from_numpy(x[rows].reshape(-1, 3)),
                    atomic_numbers=torch.from_numpy(z[rows].reshape(-1).astype(np.int64)),
                    system_index=torch.arange(b).repeat_interleave(n),
                    cell=torch.from_numpy(cells[rows].astype(float)),
                    pbc=torch.from_numpy(periodic[rows].copy()),
                    charge=torch.full((b,), int(charge)),
                    spin_multiplicity=torch.full((b,), int(spin)),
                )
            )
            energy, forces = (v.detach().cpu().double().numpy() for v in (out.energy, out.forces))
            return energy, forces.reshape(b, n, 3)

        def failed(_row, error):
            self.raised.append(error.line)
            return np.full(1, np.nan), np.full((1, n, 3), np.nan)

        energy, forces = zip(*in_parts(part, np.arange(k), max(1, batch_atoms(self.model) // n), failed))
        e, f = np.concatenate(energy), np.concatenate(forces)
        return np.where(usable(e), e, np.nan), np.where(usable(f), f, np.nan)

    def one(self, frame) -> tuple[float, np.ndarray]:
        e, f = self(
            frame.positions[None],
            frame.atomic_numbers,
            frame.cell,
            frame.pbc,
            frame.charge,
            frame.spin_multiplicity,
        )
        return float(e[0]), f[0]


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


def _structure(ask, fine, model, frame, x, p, rng, progress) -> tuple[dict[str, float], dict[str, str]]:
    found = _Found({}, {})
    z, open_system = frame.atomic_numbers.astype(int), not frame.pbc.any()
    about = {"cell": frame.cell, "pbc": frame.pbc, "charge": frame.charge, "spin": frame.spin_multiplicity}

    def at(positions, **other):
        return ask(positions, other.pop("numbers", z), **{**about, **other})

    if not np.isfinite(x).all():
        return {"net_force": float("nan")}, {}
    e0, f0 = at(x[None])
    e0, f0 = e0[0], f0[0]
    eps = torch.finfo(ask.model.dtype).eps
    small = {"energy": ROUNDING["energy"] * eps * abs(e0), "force": ROUNDING["force"] * eps * (1 + np.abs(f0).max())}
    found.add("net_force", lambda: net_force(f0), f0)
    if open_system:
        found.add("net_torque", lambda: net_torque(x, f0, masses=atomic_masses[z]), f0)
    else:
        found.skip("of open systems only", "net_torque")
    if not found.values["net_force"] >= 0:  # no answer at the structure itself: nothing else to ask
        return found.values, found.skipped
    _derivatives(found, at, x, f0, frame, p, rng, STEP.get(ask.model.dtype, 1e-2), small)
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


def _derivatives(found, at, x, f0, frame, p, rng, h, small) -> None:
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
    # Kinks of the forces (ANI's CELU has them) add less with the shorter step, rounding with the longer one.
    found.add("jacobian_asymmetry", lambda: min(map(jacobian_asymmetry, jacobians)), *jacobians)
    lines = rng.normal(size=(LINES, n, 3))
    lines /= np.linalg.norm(lines, axis=(1, 2), keepdims=True)
    scale = 2 * h * np.array([-2.0, -1.0, 1.0, 2.0])
    e, _ = at((x + scale[:, None, None, None] * lines).reshape(-1, n, 3))
    e = e.reshape(4, LINES)
    slope = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * 2 * h)
    error = np.abs(slope + (lines * f0).sum((1, 2)))
    found.beyond("gradient_error", error.mean, small["energy"] / h, e)


def _symmetries(found, at, x, e0, f0, frame, p, rng) -> None:
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


def _far_away(found, ask, model, x, z, e0, f0, small, rng) -> None:
    """A copy of the molecule, and one of its atoms alone, 100 Å away."""
    n = len(x)
    direction = rng.normal(size=3)
    away = direction / np.linalg.norm(direction) * (FAR + 2 * np.linalg.norm(x - x.mean(0), axis=1).max())
    e, f = ask(np.concatenate([x, x + away])[None], np.concatenate([z, z]))
    found.beyond("size_consistency_error", lambda: abs(e[0] - 2 * e0), 2 * small["energy"], e)
    found.beyond("far_molecule_force_change", lambda: np.abs(f[0, :n] - f0).max(), small["force"], f)
    if model.cutoff is None:
        found.skip("it states no cutoff, and a lone atom is an open shell to it", "far_atom_force_change")
        return
    k = rng.integers(n)
    _, g = ask(np.concatenate([x, x[k : k + 1] + away])[None], np.append(z, z[k]))
    if ask.raised and not np.isfinite(g).all():
        found.skip("the model refuses an atom without neighbours", "far_atom_force_change")
        return
    found.beyond("far_atom_force_change", lambda: np.abs(g[0, :n] - f0).max(), small["force"], g)


def _across_cutoff(found, ask, at, model, x, z, frame, rng, small) -> None:
    """Two atoms pass each other's stated cutoff in steps of 1e-4 Å: alone, and in two copies of the molecule; in a
    periodic system an atom and one that is nearly that far away."""
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
                    answers.append(ask(pair, [a, b]))
    known = [(e, f) for e, f in answers if np.isfinite(e).all() and np.isfinite(f).all()]
    if not known:
        found.skip("no finite answer near the cutoff", *names)
        return
    _jumps(found, names, known, small)


def _jumps(found, names, answers, small) -> None:
    energy = max(largest_jump(e[:, None]) for e, _ in answers)
    force = max(largest_jump(f.reshape(len(f), -1)) for _, f in answers)
    found.beyond(names[0], lambda: energy, small["energy"])
    found.beyond(names[1], lambda: force, small["force"])


def _along_paths(found, at, x, rng, small) -> None:
    """One atom moves 0.4 Å; where its forces change most unevenly, the path is walked again in ever finer steps."""
    names, answers = ("path_energy_jump", "path_force_jump"), []
    for _ in range(PATHS):
        k = rng.integers(len(x))
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


def _bonded_pairs(found, at, x, z, frame, p, rng) -> None:
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
        along = np.linspace(min(_start(z[a], z[b]), r[a, b]), NEAREST, SCAN_POINTS)
        energy, f = _scan(partial(_together, at, x, light, u, r[a, b]), along)
        passed.append(repulsion(energy, 0.5 * (f[:, light] - f[:, heavy]) @ u))
    for name, share in zip(names, np.mean(passed, axis=0)):
        found.values[name] = float(share)


def _together(at, x: np.ndarray, k: int, u: np.ndarray, now: float, distances) -> tuple[np.ndarray, np.ndarray]:
    return at(_one_moved(x, k, u, distances - now))


def _scan(at: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], distances) -> tuple[np.ndarray, np.ndarray]:
    """Energies and forces at ``distances``. Where there is no answer (a cycle of self-consistency that did not
    converge) the model is asked up to three times more, each time 0.001 Å nearer."""
    energy, forces = at(distances)
    for again in range(1, 4):
        lost = np.flatnonzero(~(np.isfinite(energy) & np.isfinite(forces).all((1, 2))))
        if not len(lost):
            break
        energy[lost], forces[lost] = at(distances[lost] - 1e-3 * again)
    return energy, forces


def _start(a: int, b: int) -> float:
    """Å: 0.9, or 0.9 of the sum of covalent radii where that is shorter: there every pair repels."""
    return float(min(0.9, 0.9 * (covalent_radii[a] + covalent_radii[b])))


def _precision(found, fine, model, x, z, about) -> None:
    inner = getattr(model.fn, "__wrapped__", model)
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


def _moved(p, frame, model, folder: Path, row: int) -> np.ndarray:
    """Where the model's own dynamics takes a frame in ``own_ps``, or its last sound frame; NaN if there is none."""
    from ...engine.run import Protocol, Start, simulate
    from ...engine.trajectory import read_trajectories

    start = Start(
        positions=np.asarray(frame.positions, float)[None],
        numbers=frame.atomic_numbers.astype(int),
        masses=atomic_masses[frame.atomic_numbers],
        cell=frame.cell.copy(),
        pbc=frame.pbc.copy(),
        replica_ids=(row,),
        charge=frame.charge,
        spin_multiplicity=frame.spin_multiplicity,
    )
    rules = Protocol("langevin", p.temperature_K, 0.5, p.own_ps, 10.0, friction_per_ps=5.0)
    simulate(model, start, rules, folder, seed=0, compile="off")
    saved = read_trajectories(folder, replicas=1)[0].positions
    return np.asarray(saved[-1], float) if len(saved) else np.full(frame.positions.shape, np.nan)


def _dimers(symbols: list[str], model: ForceField) -> dict[str, Any]:
    """Two atoms of one element, pushed together from within their bond length."""
    ask = Ask(model)
    status: list[str] = []
    passed: list[list[float] | None] = []
    for symbol in symbols:
        z = chemical_symbols.index(symbol)
        if model.elements is not None and z not in model.elements:
            status.append("unsupported")
            passed.append(None)
            continue
        along = np.linspace(_start(z, z), NEAREST, SCAN_POINTS)
        energy, f = _scan(partial(_together, partial(ask, numbers=[z, z]), np.zeros((2, 3)), 1, AXIS, 0.0), along)
        status.append("ok")
        passed.append([float(v) for v in repulsion(energy, 0.5 * (f[:, 1, 0] - f[:, 0, 0]))])
    dtype = str(model.dtype).removeprefix("torch.")
    return {"status": status, "detail": ask.raised[:2], "force_calls": ask.made, "dimers": passed, "dtype": dtype}


def score(task, results, data) -> tuple[dict[str, Metric], dict[str, Curve]]:
    """The mean of every check over the structures, and the shares of dimers; ``None`` for a member that did not run."""
    spec = {m.name: m for m in METRICS}
    found = {r.values["row"]: r.values for r in results if "checks" in r.values}
    structures = list(found.values())
    metrics: dict[str, Metric] = {}
    names = {n for v in structures for n in (*v["checks"], *v["skipped"])}
    for name in (n for n in spec if n in names):
        values = [found[k]["checks"].get(name) if k in found else None for k in rows_of(task.parameters, data)]
        known = [v for v in values if v is not None]
        about: dict[str, Any] = {"unit": spec[name].unit, "better": spec[name].better, "values": values}
        if not known:
            why = next((v["skipped"][name] for v in structures if name in v["skipped"]), "no finite answer")
            metrics[name] = Metric(value=None, not_scored=why, **about)
            continue
        interval = student(known)
        said = "Student's t over structures" if interval else f"structures: {why_no_interval(known)}"
        dtype = "/".join(sorted({v["dtype"] for v in structures}))
        metrics[name] = Metric(
            value=float(np.mean(known)),
            uncertainty=Interval.of(interval, f"{said}; in {dtype}", "student"),
            n=len(known),
            **about,
        )
    dimers = [row for r in results for row in r.values.get("dimers", [])]
    for k, share in enumerate(SHARES if dimers else ()):
        values = [None if row is None else row[k] for row in dimers]
        known = [v for v in values if v is not None]
        about = {"unit": "1", "better": "higher", "aggregate": "share", "values": values}
        if not known:
            metrics[f"dimer_{share}"] = Metric(value=None, not_scored="knows none of the elements", **about)
            continue
        value, low, high = clopper_pearson(int(sum(known)), len(known))
        metrics[f"dimer_{share}"] = Metric(
            value=value,
            uncertainty=Interval.of((low, high), "Clopper-Pearson", "clopper_pearson"),
            n=len(known),
            **about,
        )
    return metrics, {}
