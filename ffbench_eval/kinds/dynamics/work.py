"""Molecular dynamics with the model: stability, structure, diffusion, temperature, drift, free energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ffbench_data.datacard import known

from ...engine.bias import MetadynamicsRule
from ...engine.integrators import INTEGRATORS
from ...engine.monitors import RdfPair, RdfWatch
from ...engine.run import Protocol, Start, simulate
from ...engine.trajectory import Trajectory, read_trajectories
from ...engine.units import KJ_PER_MOL
from ...report import Curve, Metric, axis, rounded, same_theory
from ..base import MetricsAndCurves, Progress, UnitValues
from ..statistics import stable_fraction, stable_time
from .criteria import R_MAX, WINDOW_FS, Criterion, criterion, first_failure
from .observables import FIXED_CELL, OBSERVABLES, OF_THE_DATA
from .systems import alike, system_of, systems_of
from .vibrations import DENSEST_FS

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField
    from ffbench_data.frames import Frame

    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task
    from .systems import System


SAME_TEMPERATURE = 0.02  # relative


class Metadynamics(BaseModel):
    """Well-tempered metadynamics on the dataset's dihedrals (phi, psi)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    height_kJ_per_mol: float = Field(gt=0)
    sigma_rad: float = Field(gt=0)
    bias_factor: float = Field(gt=1)
    every_ps: float = Field(gt=0)


class Parameters(BaseModel):
    """``skip_ps`` is left out of the observables, not of the stability; starts come from ``split``. ``truth_frames`` of
    every replica are labelled by the reference potential, where the data set has one. Times are whole numbers of time
    steps, ``length_ps`` and ``skip_ps`` of saving intervals too: nothing is rounded behind the user's back. Ensembles
    are the engine's; ``watch_rdf``: the engine stops a replica as soon as its g(r) fails the criterion, which is
    otherwise looked at afterwards; ``pressure_bar`` of npt, which needs the model's stress (1 if absent)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ensemble: str
    temperature_K: float = Field(gt=0)
    time_step_fs: float = Field(gt=0)
    length_ps: float = Field(gt=0)
    save_every_fs: float = Field(gt=0)
    replicas: int = Field(gt=0)
    skip_ps: float = Field(default=0, ge=0)
    equilibrate_ps: float = Field(default=0, ge=0)
    relaxation_fs: float = Field(default=100, gt=0)
    friction_per_ps: float = Field(default=1, gt=0)
    observables: list[str]
    truth_frames: int = Field(default=0, ge=0)
    metadynamics: Metadynamics | None = None
    split: str = "test"
    watch_rdf: bool = False
    pressure_bar: float | None = None

    @field_validator("ensemble")
    @classmethod
    def _of_the_engine(cls, name: str) -> str:
        return known(name, INTEGRATORS, "ensemble")

    @field_validator("observables")
    @classmethod
    def _observables(cls, names: list[str]) -> list[str]:
        return [known(name, OBSERVABLES, "observable") for name in names]

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """So that units, locks and reports of tasks without them stay as they are."""
        return {k: v for k, v in write(self).items() if not (k in ("watch_rdf", "pressure_bar") and v in (False, None))}

    @model_validator(mode="after")
    def _fits_the_ensemble(self) -> Parameters:
        breathes = INTEGRATORS[self.ensemble].npt
        if self.pressure_bar is not None and not breathes:
            raise ValueError(f"pressure_bar is for ensemble npt, this one is {self.ensemble}; leave it out")
        fixed = sorted(FIXED_CELL & set(self.observables)) + ["watch_rdf"] * self.watch_rdf
        if breathes and fixed:
            raise ValueError(f"ensemble npt: {', '.join(fixed)} needs a cell that does not breathe; leave it out")
        if "energy_drift" in self.observables and self.ensemble != "nve":
            raise ValueError(f"energy_drift needs ensemble nve: under {self.ensemble} the energy is no constant")
        if "vibrational_spectrum" in self.observables and self.save_every_fs > DENSEST_FS:
            said = f"save_every_fs {self.save_every_fs:g} is too long for vibrational_spectrum"
            raise ValueError(f"{said}; take at most {DENSEST_FS:g}")
        return self

    @model_validator(mode="after")
    def _times_divide(self) -> Parameters:
        step, save = ("time_step_fs", self.time_step_fs), ("save_every_fs", self.save_every_fs)
        _divides("save_every_fs", self.save_every_fs, *step)
        _divides("length_ps", self.length_ps, *save)
        _divides("skip_ps", self.skip_ps, *save)
        _divides("equilibrate_ps", self.equilibrate_ps, *step)
        if self.skip_ps >= self.length_ps:
            raise ValueError(f"skip_ps {self.skip_ps:g} leaves nothing of length_ps {self.length_ps:g}; skip less")
        if self.metadynamics:
            _divides("metadynamics.every_ps", self.metadynamics.every_ps, *step)
        elif "free_energy" in self.observables:
            raise ValueError("observables: free_energy needs metadynamics; add its parameters")
        return self


def _divides(name: str, value: float, by: str, fs: float) -> None:
    """ValueError unless ``value`` is a whole number of ``fs``."""
    scale = 1000 if name.endswith("_ps") else 1
    count = value * scale / fs
    if abs(count - round(count)) > 1e-6 * max(1.0, count):
        near = sorted({max(1, int(count)) * fs / scale, (int(count) + 1) * fs / scale})
        fix = " or ".join(f"{v:.10g}" for v in near)
        raise ValueError(f"{name} {value:g} is no whole number of {by} ({fs:g} fs); take {fix}")


def starting_rows(p: Parameters, data: TaskData) -> list[int]:
    """The frames that the replicas start from: the data set's, not the seed's."""
    facts = data.reference.facts if data.reference else {}
    rows = facts.get("minima" if p.metadynamics else "starts")
    if rows is None:
        rows = np.random.default_rng(0).permutation(len(data.frames))[: p.replicas].tolist()
    return [int(rows[k % len(rows)]) for k in range(p.replicas)]


def plan(task: Task, data: TaskData, seed: int) -> list[dict]:
    """One unit per system: replicas of the same atoms in the same cell share a batch, others cannot.

    ``ids`` keep the random numbers of a replica the same however the replicas are divided.
    """
    p = task.parameters
    if p.metadynamics and not (data.reference and "dihedrals" in data.reference.facts):
        raise ValueError(
            f"task {task.name!r}: metadynamics needs dihedrals, and {task.dataset} has no reference with them"
        )
    rows = starting_rows(p, data)
    if p.watch_rdf:
        protocol(task, data, rows[0])  # a criterion that is not there is told now
    groups = alike(data.frames, rows)
    if len(groups) == 1:
        return [{"replicas": rows}]
    return [{"replicas": [rows[k] for k in group], "ids": group} for group in groups]


def calls(task: Task, inputs: dict[str, Any], data: TaskData, model: ForceField) -> tuple[int, float]:
    p = task.parameters
    return len(inputs["replicas"]), (p.length_ps + p.equilibrate_ps) * 1000 / p.time_step_fs


def protocol(task: Task, data: TaskData, row: int | None = None) -> Protocol:
    """The engine's protocol of a task for replicas that start from frame ``row``: units converted, and the bonds that
    the engine watches (its distances are those of open systems)."""
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
    frame = data.frames[starting_rows(p, data)[0] if row is None else row]
    more: dict[str, Any] = {} if p.pressure_bar is None else {"pressure_bar": p.pressure_bar}
    if "vibrational_spectrum" in p.observables:
        more["save_velocities"] = True
    if p.watch_rdf:
        more["rdf"] = _watch(task, _criterion(data, frame, p), len(frame.atomic_numbers))
    return Protocol(
        **{k: getattr(p, k) for k in shared},
        bonds=() if frame.pbc.any() else _criterion(data, frame, p).bonds,
        metadynamics=bias,
        **more,
    )


def _watch(task: Task, rule: Criterion, n_atoms: int) -> RdfWatch:
    """The criterion on g(r) as the engine watches it. ValueError for a system that has none."""
    if rule.rdf is None:
        why = f"watch_rdf needs a limit of g(r), and {task.dataset} has none"
        raise ValueError(f"task {task.name!r}: {why}; leave it out")

    def atoms(which: Any) -> tuple[int, ...]:
        return tuple(np.arange(n_atoms)[np.asarray(which)].tolist())

    pairs = tuple(
        RdfPair(atoms(a), atoms(a if b is None else b), tuple(rule.rdf.reference[name].tolist()))
        for name, (a, b) in rule.rdf.pairs.items()
    )
    return RdfWatch(pairs, rule.rdf.limit, WINDOW_FS / 1000, R_MAX)


def _criterion(data: TaskData, like: Frame | Trajectory, p: Parameters) -> Criterion:
    """Of the system of ``like``: a frame or a trajectory."""
    return criterion(system_of(data, like), p.temperature_K, p.length_ps)


def start(inputs: dict[str, Any], data: TaskData) -> Start:
    """The starting structures of a unit, all of one system (`plan`)."""
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
        charge=first.charge,
        spin_multiplicity=first.spin_multiplicity,
    )


class Values(UnitValues, total=False):
    """``end_ps``: of every replica; ``charge_and_spin``: of their system; ``no_truth``: why the truth was not asked
    about the frames."""

    end_ps: list[float]
    charge_and_spin: list[int]
    no_truth: str


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> Values:
    from ..seeds import task_seed

    rules, seed, begin = protocol(task, data, inputs["replicas"][0]), task_seed(task.name), start(inputs, data)
    outcome = simulate(model, begin, rules, folder, seed=seed, progress=progress, compile=compile)
    if outcome.hills is not None:
        np.savez(folder / "hills.npz", *outcome.hills)
    return {
        "status": ["unstable" if reason else "ok" for reason in outcome.reason],
        "detail": [f"replica {b}: {r} at {outcome.end_ps[b]:.3f} ps" for b, r in enumerate(outcome.reason) if r]
        + _of_another_theory(task, data, model),
        "force_calls": outcome.force_calls,
        "end_ps": outcome.end_ps,
        "charge_and_spin": [int(begin.charge), int(begin.spin_multiplicity)],
        "mode": outcome.mode,
        "mode_note": outcome.mode_note,
    }


def after(task: Task, data: TaskData, model: ForceField, folder: Path, values: Values) -> dict[str, Any] | None:
    """Labels by the truth, once the trajectories are there; ``None`` if there is nothing (more) to do.

    A run without the package that holds the truth is made up for by a later one that has it."""
    from ...engine.memory import OutOfMemory
    from ...models.guard import ModelFailure
    from .on_trajectory import FILE, label_sample

    if not task.parameters.truth_frames or (folder / FILE).exists() or "end_ps" not in values:
        return None
    if values.get("no_truth") and lacks(task):
        return None
    found = read_trajectories(folder, replicas=len(values["end_ps"]))
    charge, spin = values.get("charge_and_spin", [0, 1])
    try:
        why_not, notes = label_sample(
            task.dataset, model, found, task.parameters.truth_frames, folder,
            charge=charge, spin=spin, known=data.frames,
        )  # fmt: skip
    except (ModelFailure, OutOfMemory) as error:
        return {"no_truth": f"asked about its own frames, the model failed: {str(error).splitlines()[0]}"}
    return {"no_truth": why_not, "detail": notes}


def lacks(task: Task) -> str:
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


def _of_another_theory(task: Task, data: TaskData, model: ForceField) -> list[str]:
    """What to know of the stable time where stable means a g(r) like the reference's."""
    from ffbench_data.datacard import card

    mine, theirs = str(model.card.get("theory", "")), card(task.dataset).theory
    if not mine or same_theory(mine, theirs):
        return []
    if _criterion(data, data.frames[starting_rows(task.parameters, data)[0]], task.parameters).rdf is None:
        return []
    return [
        f"stable means a g(r) near that of {theirs}; the model's theory is {mine}, whose own may lie elsewhere (a bond "
        "0.05 Å shorter is enough): the stable time is no measure of such a model"
    ]


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """Stability of every replica, then each observable on the stable part after the skip.

    Every replica is held against its own system: its atoms, its cell, its frames of the data set.
    """
    from .on_trajectory import score_sample, trusted_time

    p = task.parameters
    trajectories: list[Trajectory] = []
    folders: list[Any] = []
    hills: list[np.ndarray | None] = []
    failed: list[bool] = []
    ends: list[float] = []
    for result in results:
        if "end_ps" not in result.values:
            continue
        state = dict(zip(("charge", "spin_multiplicity"), result.values.get("charge_and_spin", [0, 1])))
        found = [replace(t, **state) for t in read_trajectories(result.folder, replicas=len(result.status))]
        trajectories += found
        folders += [result.folder] * len(found)
        values: Values = result.values
        ends += values["end_ps"]
        failed += [s != "ok" for s in result.status]
        hills += _hills(result.folder, len(found))
    if not ends:
        return {}, {}
    systems = systems_of(data, trajectories)
    wanted = {id(s): criterion(s, p.temperature_K, p.length_ps) for s in systems}
    rules = [wanted[id(s)] for s in systems]
    ends = [stable_until(t, end, c, p) for t, end, c in zip(trajectories, ends, rules)]
    failed = [f or end < p.length_ps - 1e-9 for f, end in zip(failed, ends)]
    metrics = _stability(failed, ends, rules, p.length_ps)
    no_truth = next((r.values["no_truth"] for r in results if r.values.get("no_truth")), "")
    if p.truth_frames and not no_truth:
        samples = [(r.folder, len(r.status)) for r in results if "end_ps" in r.values]
        metrics["trusted_time"] = trusted_time(samples, ends, p.length_ps, _no_forces(data), p.save_every_fs / 1000)
    curves: dict[str, Curve] = {}
    stable = [t.between(p.skip_ps, end) for t, end in zip(trajectories, ends)]
    other = _other_temperature(task, data)
    for name in p.observables:
        more, drawn = OBSERVABLES[name](stable, data, p, hills)
        if other and name in OF_THE_DATA:  # as far off as the truth itself would be: no floor, and no score
            more = {k: m.model_copy(update={"floor": None, "score": None}).noted(other) for k, m in more.items()}
        metrics |= more
        curves |= drawn
    if p.truth_frames:
        scales = {folder: _spread(system) for folder, system in zip(folders, systems)}
        more, drawn = score_sample([(r.folder, scales.get(r.folder, float("nan"))) for r in results])
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


def _other_temperature(task: Task, data: TaskData) -> str:
    """What to know where the data that a simulation is held against are of another temperature than it is."""
    from ffbench_data.datacard import card
    from ffbench_data.magnitudes import thermal_range

    wanted, table = task.parameters.temperature_K, data.frames.table
    if "temperature_K" in table.column_names:
        heats = table["temperature_K"].to_numpy().astype(float)
        known = np.unique(heats[np.isfinite(heats)])
        same = bool((np.abs(known - wanted) <= SAME_TEMPERATURE * wanted).all())
    else:  # the card may state a range, and not which frames are of what
        known = np.array(thermal_range(card(task.dataset).temperature_K) or ())
        room = SAME_TEMPERATURE * wanted
        same = not len(known) or bool(known[0] - room <= wanted <= known[1] + room)
    if same:
        return ""
    said = " to ".join(dict.fromkeys(f"{t:g}" for t in (known[0], known[-1])))
    return f"the data are of {said} K, the simulation of {wanted:g} K"


def _hills(folder: Path, replicas: int) -> list[np.ndarray | None]:
    """Hills of every replica of a unit; ``None`` where it has none, so that the lists of several units stay in step."""
    if not (folder / "hills.npz").exists():
        return [None] * replicas
    stored = np.load(folder / "hills.npz")
    return [stored[f"arr_{b}"] for b in range(replicas)]


def _spread(system: System) -> float:
    """Standard deviation of the energies of a system's own frames (eV); NaN without labels."""
    energy = system.frames.energy
    return float(np.nanstd(energy)) if np.isfinite(energy).any() else float("nan")


def _no_forces(data: TaskData) -> float:
    """What predicting no forces scores (eV/Angstrom) on the labelled frames; NaN without force labels."""
    forces = np.abs(data.frames.forces)
    return float(np.nanmean(forces)) if np.isfinite(forces).any() else float("nan")


def _stability(failed: list[bool], ends: list[float], rules: list[Criterion], length_ps: float) -> dict[str, Metric]:
    """Stable share and time; without a value where a replica that ran to its end was held against nothing."""
    unknown = [bool(c.absent) and not f for c, f in zip(rules, failed)]
    if any(unknown):
        why = next(c.absent for c, u in zip(rules, unknown) if u)
        share = [None if u else float(not f) for u, f in zip(unknown, failed)]
        time = [None if u else float(end) for u, end in zip(unknown, ends)]
        about: dict[str, Any] = {"value": None, "better": "higher", "not_scored": why}
        return {
            "stable_fraction": Metric(unit="1", values=share, **about),
            "stable_time": Metric(unit="ps", values=time, aggregate="restricted_mean", **about),
        }
    metrics = {
        "stable_fraction": stable_fraction(failed),
        "stable_time": stable_time(failed, ends, length_ps),
    }
    notes = list(dict.fromkeys(c.note for c in rules if c.note))
    return {k: m.noted(*notes) for k, m in metrics.items()}


def _padded(trajectory: Trajectory, like: Trajectory) -> np.ndarray:
    full = np.full(len(like), np.nan)
    n = min(len(trajectory), len(like))
    full[:n] = trajectory.temperature[:n]
    return full


def stable_until(trajectory: Trajectory, end_ps: float, rule: Criterion, p: Parameters) -> float:
    """Stable time (ps) of one replica: as long as it ran and no saved frame failed."""
    if not len(trajectory):
        return 0.0
    failure = first_failure(trajectory, rule, p.save_every_fs)
    return end_ps if failure is None else min(end_ps, failure)


def anchors(task: Task, data: TaskData) -> dict[str, Metric]:
    from .anchors import anchors as of_data

    return of_data(task, data)
