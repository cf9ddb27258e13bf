"""Errors of energy and forces on labelled frames the model has not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ffbench_data.frames import Frames, collate
from ffbench_data.load import load_frames
from ffbench_metrics import (
    energy_mae,
    force_cosine,
    force_mae,
    force_rmse,
    net_force,
    net_force_rounding,
    net_torque,
    net_torque_rounding,
    normalised_score,
)

from ...models.batching import batch_atoms, in_parts
from ...models.finite import usable
from ...models.guard import ModelFailure
from ...report import Curve, Metric, axis, rounded
from ..base import MetricsAndCurves, Progress, UnitValues
from ..statistics import over_frames
from . import alignment

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField

    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task

CHUNK = 250  # frames per unit
FILE = "predictions.npz"
NAMED = 5  # frames that a unit's report names


class Parameters(BaseModel):
    """``max_frames``: a fixed random choice of that many frames (by the task's own seed), all if absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = "test"
    max_frames: int | None = Field(default=None, gt=0)


def plan(task: Task, data: TaskData, seed: int) -> list[dict]:
    frames = len(data.frames)
    rows = np.arange(frames)
    wanted = task.parameters.max_frames
    if wanted and wanted < frames:
        rows = np.sort(np.random.default_rng(0).permutation(frames)[:wanted])
    return [{"rows": rows[i : i + CHUNK].tolist()} for i in range(0, len(rows), CHUNK)]


def plan_for_model(task: Task, model: ForceField) -> list[dict]:
    """One more unit for a model that does not state the data's theory: its energies have another zero."""
    return alignment.plan(task, model)


def calls(task: Task, inputs: dict[str, Any], data: TaskData, model: ForceField) -> tuple[int, float]:
    """(systems per call, number of calls)."""
    per_call = max(1, batch_atoms(model) // int(data.frames.n_atoms[0]))
    return per_call, len(inputs["rows"]) / per_call


class Values(UnitValues, total=False):
    pass  # the answers lie in a file


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> UnitValues:
    rows = np.array(inputs["rows"])
    split = inputs.get("fit_offsets_on")
    frames = data.frames if split is None else load_frames(task.dataset, task.config, split)
    energy, force, made, raised = _predict(model, frames, rows, progress)
    if split is not None:
        out = alignment.fit(frames[rows], np.where(usable(energy), energy, np.nan), split, folder / alignment.FILE)
        return {**out, "detail": [*_named(raised), *out.get("detail", [])], "force_calls": made}
    kept = force.astype(np.float64 if model.dtype.itemsize > 4 else np.float32)  # as the model gave them
    finite = usable(energy)
    np.logical_and.at(finite, np.repeat(np.arange(len(rows)), frames.n_atoms[rows]), usable(kept).all(1))
    np.savez_compressed(folder / FILE, rows=rows, energy=energy, forces=kept)
    silent = [r for r, f in zip(rows.tolist(), finite) if not f and r not in raised]
    return {
        "status": ["ok" if f else "model_error" for f in finite],
        "detail": _named(raised) + [f"frame {r}: energy or forces are not finite" for r in silent][:NAMED],
        "force_calls": made,
    }


def _named(raised: dict[int, str]) -> list[str]:
    """The frames on which the model raised, each with the message; equal tracebacks are told once."""
    told, said = [], set()
    for row, text in raised.items():
        first, _, frames = text.partition("\n")
        told.append(f"frame {row}: {first if frames in said else text}")
        said.add(frames)
    more = len(told) - NAMED
    return told[:NAMED] + (
        [f"the model raised on {more} more frames: {sorted(raised)[:200]} in all"] if more > 0 else []
    )


def _predict(
    model: ForceField, frames: Frames, rows: np.ndarray, progress: Progress
) -> tuple[np.ndarray, np.ndarray, int, dict[int, str]]:
    """Energies [T] and forces [A, 3], NaN where the model raised, how many calls that took, {row: what it raised}."""
    done = made = 0
    raised: dict[int, str] = {}

    def moved(count: int):
        nonlocal done
        done += count
        progress(done / len(rows))

    def ask(part: np.ndarray):
        nonlocal made
        out = model(collate(frames, indices=part))
        made += 1
        moved(len(part))
        return out.energy.detach().cpu().double().numpy().copy(), out.forces.detach().cpu().double().numpy().copy()

    def failed(row: int, error: ModelFailure):
        raised[row] = str(error)
        moved(1)
        return np.full(1, np.nan), np.full((int(frames.n_atoms[row]), 3), np.nan)

    at_most = max(1, batch_atoms(model) // int(frames.n_atoms[rows].max()))
    energies, forces = zip(*in_parts(ask, rows, at_most, failed))
    return np.concatenate(energies), np.concatenate(forces), made, raised


@dataclass(frozen=True)
class Answers:
    """Archived predictions of the frames ``rows`` [T] of a data set, beside their labels.

    ``forces`` and ``true_forces`` hold one [N, 3] per frame, the former in the dtype they were archived in;
    ``answered`` [T] is false for frames the model failed on.
    """

    structures: Frames
    energy: np.ndarray
    true_energy: np.ndarray
    forces: list[np.ndarray]
    true_forces: list[np.ndarray]
    answered: np.ndarray


def answers_of(results: Sequence[Result], frames: Frames) -> Answers | None:
    """Every frame that a finished unit asked about; ``None`` if there is none."""
    rows, energy, forces, answered = [], [], [], []
    for result in results:
        if not (result.folder / FILE).exists():
            continue
        with np.load(result.folder / FILE) as got:
            rows.append(got["rows"])
            energy.append(got["energy"])
            forces += np.split(got["forces"], np.cumsum(frames.n_atoms[got["rows"]])[:-1])
        answered += [status == "ok" for status in result.status if status != "unsupported"]  # these were not asked
    if not rows:
        return None
    chosen = np.concatenate(rows)
    true_forces = [frames.forces[frames.offsets[row] : frames.offsets[row + 1]] for row in chosen]
    return Answers(
        frames[chosen], np.concatenate(energy), frames.energy[chosen], forces, true_forces, np.array(answered)
    )


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """Metrics over the frames that have the label, each by the function of `ffbench_metrics` of its name; intervals
    over blocks of 20 neighbouring frames.

    Forces of a frame without an answer count as zero, the trivial answer: a model cannot improve by leaving out what
    it finds hard. Its energy has no trivial value and is left out, which the note says.
    """
    got = answers_of(results, data.frames)
    if got is None or not got.answered.any():
        return {}, {}
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is said, not warned of
        metrics = {**_force_metrics(got), **_energy_metrics(got, got.energy), **_aligned(got, results)}
        metrics |= _conserved(got)
    curves = {"force_parity": _parity(got)} if metrics["force_mae"].value is not None else {}
    return metrics, curves


def _force_metrics(got: Answers) -> dict[str, Metric]:
    labelled = [k for k, label in enumerate(got.true_forces) if np.isfinite(label).all()]
    truth = [got.true_forces[k] for k in labelled]
    mine = [got.forces[k] if got.answered[k] else np.zeros_like(got.true_forces[k]) for k in labelled]
    lost = int((~got.answered[labelled]).sum())
    note = f"{lost} of {len(labelled)} frames without an answer count as zero forces" if lost else ""

    def metric(function: Callable[..., float], unit: str, **how: Any) -> Metric:
        square = 2 if how.get("root") else 1
        return over_frames(
            [function(f, t) ** square for f, t in zip(mine, truth)],
            lambda: function(np.concatenate(mine), np.concatenate(truth)),
            unit=unit,
            weights=[len(t) for t in truth],
            note=note,
            **how,
        )

    out = {
        "force_mae": metric(force_mae, "eV/Å"),
        "force_rmse": metric(force_rmse, "eV/Å", root=True),
        "force_cosine": metric(force_cosine, "1", better="higher"),
    }
    error = out["force_mae"].value
    if error is not None:
        trivial = force_mae(np.zeros_like(np.concatenate(truth)), np.concatenate(truth))
        score = normalised_score(error, 0.0, trivial) if trivial > 0 else None  # without forces nothing is trivial
        out["force_mae"] = out["force_mae"].model_copy(update={"trivial": trivial, "score": score})
    return out


def _energy_metrics(got: Answers, energy: np.ndarray, suffix: str = "") -> dict[str, Metric]:
    """Errors of ``energy`` [T]; the note says where they are as small as the steps of the model's energies."""
    known = got.answered & np.isfinite(got.true_energy)
    mine, truth, atoms = energy[known], got.true_energy[known], got.structures.n_atoms[known]
    lost = int((np.isfinite(got.true_energy) & ~got.answered).sum())
    notes = [f"{lost} frames without an answer left out"] if lost else []
    step = _step(got.energy[known])
    if len(mine) and energy_mae(mine, truth) < step:
        notes.append(f"not known below {step:.1g} eV: the model's energies are float32")
    note = "; ".join(notes)
    return {
        f"energy_mae{suffix}": over_frames(np.abs(mine - truth), lambda: energy_mae(mine, truth), unit="eV", note=note),
        f"energy_mae_per_atom{suffix}": over_frames(
            np.abs(mine - truth) / atoms, lambda: energy_mae(mine, truth, n_atoms=atoms), unit="eV/atom", note=note
        ),
    }


def _step(energy: np.ndarray) -> float:
    """Spacing of float32 at the largest energy if all energies [n] are float32 numbers, else 0."""
    single = energy.astype(np.float32)
    if not len(energy) or not np.isfinite(single).all() or (single != energy).any():
        return 0.0
    return float(np.spacing(np.abs(single).max()))


def _aligned(got: Answers, results: Sequence[Result]) -> dict[str, Metric]:
    """The energy errors without the offsets that one unit was fitted for; none for a model of the data's theory."""
    paths = [r.folder / alignment.FILE for r in results if (r.folder / alignment.FILE).exists()]
    offsets = alignment.read(paths[0]) if paths else None
    if offsets is None:
        return {}
    try:
        made = _energy_metrics(got, got.energy - offsets.shift(got.structures), "_aligned")
    except ValueError as why:
        units = {"energy_mae_aligned": "eV", "energy_mae_per_atom_aligned": "eV/atom"}
        return {name: Metric(value=None, unit=unit, not_scored=str(why)) for name, unit in units.items()}
    taken = f"offsets fitted on {offsets.frames} frames of {offsets.split} count as known"
    return {name: m if m.value is None else m.noted(taken) for name, m in made.items()}


def _conserved(got: Answers) -> dict[str, Metric]:
    """Net force per atom, and net torque of open systems: what no energy that ignores translation and rotation has.

    A frame whose value is within the rounding of the archived forces counts as 0.
    """
    from ase.data import atomic_masses

    force, torque, limits = [], [], {"net_force": 0.0, "net_torque": 0.0}
    for k in np.flatnonzero(got.answered):
        frame, f = got.structures[int(k)], got.forces[k]
        size, limit = float(net_force(f)), float(net_force_rounding(f, f.dtype))
        force.append(size if size > limit else 0.0)
        limits["net_force"] = max(limits["net_force"], limit)
        if not frame.pbc.any():
            where = {"positions": frame.positions, "masses": atomic_masses[frame.atomic_numbers]}
            size = float(net_torque(forces=f, **where))
            limit = float(net_torque_rounding(forces=f, dtype=f.dtype, **where))
            torque.append(size if size > limit else 0.0)
            limits["net_torque"] = max(limits["net_torque"], limit)
    out = {}
    for name, values, unit in (("net_force", force, "eV/Å"), ("net_torque", torque, "eV")):
        if not values:
            continue
        kind = got.forces[0].dtype
        note = "" if any(values) else f"below {limits[name]:.1g} {unit}, what rounding in {kind} may leave"
        out[name] = over_frames(values, partial(_mean, values), unit=unit, note=note)
    return out


def _parity(got: Answers) -> Curve:
    rows = [k for k in np.flatnonzero(got.answered) if np.isfinite(got.true_forces[k]).all()]
    truth = np.concatenate([got.true_forces[k].ravel() for k in rows])
    mine = np.concatenate([got.forces[k].ravel() for k in rows]).astype(float)
    shown = np.random.default_rng(0).permutation(len(truth))[:200]
    return Curve(
        kind="points",
        x_label="reference force (eV/Å)",
        y_label="model force (eV/Å)",
        x=axis(truth[shown]),
        series={"model": rounded(mine[shown])},
        note=f"{len(shown)} of {len(truth)} force components",
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
