"""Molecular dynamics with the model: stability, structure, diffusion, temperature, drift, free energy."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..engine.bias import MetadynamicsRule
from ..engine.run import Protocol, Start, simulate
from ..engine.trajectory import Trajectory, read_trajectories
from ..engine.units import KJ_PER_MOL
from ..observables import OBSERVABLES
from ..report import Curve, Metric, axis, rounded, same_theory
from ..statistics import stable_fraction, stable_time

Observable = Literal["distance_histogram", "rdf", "diffusivity", "temperature", "energy_drift", "free_energy"]


class Metadynamics(BaseModel):
    """Well-tempered metadynamics on the dataset's dihedrals (phi, psi)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    height_kJ_per_mol: float = Field(gt=0)
    sigma_rad: float = Field(gt=0)
    bias_factor: float = Field(gt=1)
    every_ps: float = Field(gt=0)


class Parameters(BaseModel):
    """``skip_ps`` is left out of the observables, not of the stability; starts come from ``split``. ``truth_frames`` of
    every replica are labelled by the reference potential, where the data set has one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ensemble: Literal["nve", "nose_hoover", "langevin"]
    temperature_K: float = Field(gt=0)
    time_step_fs: float = Field(gt=0)
    length_ps: float = Field(gt=0)
    save_every_fs: float = Field(gt=0)
    replicas: int = Field(gt=0)
    skip_ps: float = Field(default=0, ge=0)
    equilibrate_ps: float = Field(default=0, ge=0)
    relaxation_fs: float = Field(default=100, gt=0)
    friction_per_ps: float = Field(default=1, gt=0)
    observables: list[Observable]
    truth_frames: int = Field(default=0, ge=0)
    metadynamics: Metadynamics | None = None
    split: str = "test"


def plan(task, data, seed: int) -> list[dict]:
    """One unit: all replicas in one batch. Starts are rows of the split, chosen by the dataset, not by the seed."""
    wanted = task.parameters.replicas
    facts = data.reference.facts if data.reference else {}
    rows = facts.get("minima" if task.parameters.metadynamics else "starts")
    if rows is None:
        rows = np.random.default_rng(0).permutation(len(data.frames))[:wanted].tolist()
    return [{"replicas": [int(rows[k % len(rows)]) for k in range(wanted)]}]


def calls(task, inputs, data, model) -> tuple[int, float]:
    p = task.parameters
    return len(inputs["replicas"]), (p.length_ps + p.equilibrate_ps) * 1000 / p.time_step_fs


def protocol(task, data) -> Protocol:
    """The engine's protocol of a task: units converted, bonds from the dataset's reference."""
    p, facts = task.parameters, data.reference.facts if data.reference else {}
    bias = None
    if p.metadynamics:
        bias = MetadynamicsRule(
            dihedrals=tuple(tuple(d) for d in facts["dihedrals"].values()),
            height=p.metadynamics.height_kJ_per_mol * KJ_PER_MOL,
            sigma=p.metadynamics.sigma_rad,
            bias_factor=p.metadynamics.bias_factor,
            every=round(p.metadynamics.every_ps * 1000 / p.time_step_fs),
        )
    shared = {"ensemble", "temperature_K", "time_step_fs", "length_ps", "save_every_fs", "relaxation_fs"}
    shared |= {"friction_per_ps", "equilibrate_ps"}
    return Protocol(
        **{k: getattr(p, k) for k in shared},
        bonds=tuple((int(i), int(j), float(d)) for i, j, d in bonds(data)),
        metadynamics=bias,
    )


def bonds(data) -> list[tuple[int, int, float]]:
    """(i, j, mean length) of the dataset's watched bonds: from its card, or found in its first frame."""
    if data.reference and "bonds" in data.reference.facts:
        return data.reference.facts["bonds"]
    if data.frames.pbc.any():
        return []
    from ffbench_data.scans import find_bonds

    numbers, positions = data.frames.stacked()
    pairs = find_bonds(numbers, positions[0])
    length = [np.linalg.norm(positions[:, i] - positions[:, j], axis=-1).mean() for i, j in pairs]
    return [(i, j, float(d)) for (i, j), d in zip(pairs, length)]


def start(inputs, data) -> Start:
    """The starting structures of a unit."""
    from ase.data import atomic_masses

    rows = inputs["replicas"]
    first = data.frames[rows[0]]
    return Start(
        positions=np.stack([data.frames[r].positions for r in rows]),
        numbers=first.atomic_numbers.astype(int),
        masses=atomic_masses[first.atomic_numbers],
        cell=first.cell.copy(),  # columns of Arrow tables are read-only
        pbc=first.pbc.copy(),
        replica_ids=tuple(inputs["ids"]) if "ids" in inputs else None,
    )


def run_unit(task, inputs, data, model, folder, progress, compile="auto") -> dict[str, Any]:
    from ..seeds import task_seed

    rules, seed = protocol(task, data), task_seed(task.name)
    outcome = simulate(model, start(inputs, data), rules, folder, seed=seed, progress=progress, compile=compile)
    if outcome.hills is not None:
        np.savez(folder / "hills.npz", *outcome.hills)
    return {
        "status": ["unstable" if reason else "ok" for reason in outcome.reason],
        "detail": [f"replica {b}: {r} at {outcome.end_ps[b]:.3f} ps" for b, r in enumerate(outcome.reason) if r]
        + _of_another_theory(task, data, model),
        "force_calls": outcome.force_calls,
        "end_ps": outcome.end_ps,
        "mode": outcome.mode,
        "mode_note": outcome.mode_note,
    }


def after(task, data, model, folder, values) -> dict[str, Any] | None:
    """Labels by the truth, once the trajectories are there; ``None`` if there is nothing (more) to do.

    A run without the package that holds the truth is made up for by a later one that has it."""
    from ..engine.memory import OutOfMemory
    from ..execute import ModelFailure
    from ..on_trajectory import FILE, label_sample

    if not task.parameters.truth_frames or (folder / FILE).exists() or "end_ps" not in values:
        return None
    if values.get("no_truth") and lacks(task):
        return None
    found = read_trajectories(folder, replicas=len(values["end_ps"]))
    try:
        return {"no_truth": label_sample(task.dataset, model, found, task.parameters.truth_frames, folder)}
    except (ModelFailure, OutOfMemory) as error:
        return {"no_truth": f"asked about its own frames, the model failed: {str(error).splitlines()[0]}"}


def lacks(task) -> str:
    """What is missing on this machine for the numbers that need the reference potential; "" if nothing is."""
    from ffbench_data.potentials import reference

    if not task.parameters.truth_frames:
        return ""
    try:
        reference(task.dataset)
    except ValueError as error:
        said = str(error)
        return said[said.index("needs ") :] if "needs " in said else ""
    return ""


def _of_another_theory(task, data, model) -> list[str]:
    """What to know of the stable time where stable means a g(r) like the reference's."""
    from ffbench_data.datacard import card

    mine, theirs = str(model.card.get("theory", "")), card(task.dataset).theory
    if not mine or same_theory(mine, theirs) or _rdf_limit(data, data.frames.pbc) is None:
        return []
    return [
        f"stable means a g(r) near that of {theirs}; the model's theory is {mine}, whose own may lie elsewhere (a bond "
        "0.05 Å shorter is enough): the stable time is no measure of such a model"
    ]


def score(task, results, data) -> tuple[dict[str, Metric], dict[str, Curve]]:
    """Stability of every replica, then each observable on the stable part after the skip."""
    from ..on_trajectory import score_sample, trusted_time

    p = task.parameters
    trajectories: list[Trajectory] = []
    hills, failed, ends = [], [], []
    for result in results:
        if "end_ps" not in result.values:
            continue
        found = read_trajectories(result.folder, replicas=len(result.status))
        trajectories += found
        ends += result.values["end_ps"]
        failed += [s != "ok" for s in result.status]
        if (result.folder / "hills.npz").exists():
            stored = np.load(result.folder / "hills.npz")
            hills += [stored[f"arr_{b}"] for b in range(len(found))]
    if not ends:
        return {}, {}
    ends = [stable_until(t, end, data, p) for t, end in zip(trajectories, ends)]
    failed = [f or end < p.length_ps - 1e-9 for f, end in zip(failed, ends)]
    metrics = {
        "stable_fraction": stable_fraction(failed, ends, p.length_ps),
        "stable_time": stable_time(failed, ends, p.length_ps),
    }
    no_truth = next((r.values["no_truth"] for r in results if r.values.get("no_truth")), "")
    if p.truth_frames and not no_truth:
        samples = [(r.folder, len(r.status)) for r in results if "end_ps" in r.values]
        no_forces = float(np.nanmean(np.abs(data.frames.forces)))
        metrics["trusted_time"] = trusted_time(samples, ends, p.length_ps, no_forces)
    curves: dict[str, Curve] = {}
    stable = [t.between(p.skip_ps, end) for t, end in zip(trajectories, ends)]
    for name in p.observables:
        more, drawn = OBSERVABLES[name](stable, data, p, hills)
        metrics |= more
        curves |= drawn
    if p.truth_frames:
        scale = float(np.nanstd(data.frames.energy))
        more, drawn = score_sample([r.folder for r in results], scale)
        if no_truth:
            more = {"on_trajectory_force_mae": Metric(value=None, unit="eV/Å", not_scored=no_truth)}
        metrics |= more
        curves |= drawn
    longest = max(trajectories, key=len)
    if len(longest):
        every = max(1, len(longest) // 100)
        curves["temperature"] = Curve(
            x_label="time (ps)",
            y_label="temperature (K)",
            x=axis(longest.time_ps[::every]),
            series={f"replica {b}": rounded(_padded(t, longest)[::every]) for b, t in enumerate(trajectories)},
        )
    return metrics, curves


def _padded(trajectory: Trajectory, like: Trajectory) -> np.ndarray:
    full = np.full(len(like), np.nan)
    n = min(len(trajectory), len(like))
    full[:n] = trajectory.temperature[:n]
    return full


def _rdf_limit(data, pbc) -> float | None:
    """How far g(r) may be from the reference's, where that is what stable means; ``None``: bonds are."""
    return data.reference.facts.get("rdf_limit") if data.reference and pbc.any() else None


def stable_until(trajectory: Trajectory, end_ps: float, data, p) -> float:
    """Stable time (ps) of one replica: bonds for molecules, sliding g(r) windows for liquids and solids."""
    if not len(trajectory):
        return 0.0
    limit = _rdf_limit(data, trajectory.pbc)
    if limit is None:
        return end_ps
    from ffbench_metrics import rdf_stability

    from ..observables import rdf_pairs, reference_rdf

    window = max(1, round(1000 / p.save_every_fs))  # frames in 1 ps
    if len(trajectory) < window:
        return end_ps
    pairs = {name: (a, None if a is b else b) for name, (a, b) in rdf_pairs(data).items()}
    found = rdf_stability(
        trajectory.positions.astype(float),
        trajectory.cell,
        {name: reference_rdf(data, name)[1] for name in pairs},
        pairs=pairs,
        window=window,
        tolerance=limit,
    )
    if found.first_failure is None:
        return end_ps
    return min(end_ps, float(trajectory.time_ps[found.first_failure]))
