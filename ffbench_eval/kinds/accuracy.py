"""Errors of energy and forces on labelled frames the model has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ffbench_data.frames import collate
from ffbench_data.load import load_frames

from .. import alignment
from ..batching import batch_atoms, in_parts
from ..finite import usable
from ..report import Curve, Metric, axis, rounded
from ..statistics import block_means, over_blocks

CHUNK = 250  # frames per unit
NAMED = 5  # frames that a unit's report names


class Parameters(BaseModel):
    """``max_frames``: a fixed random choice of that many frames (by the task's own seed), all if absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = "test"
    max_frames: int | None = None


def plan(task, data, seed: int) -> list[dict]:
    frames = len(data.frames)
    rows = np.arange(frames)
    wanted = task.parameters.max_frames
    if wanted and wanted < frames:
        rows = np.sort(np.random.default_rng(0).permutation(frames)[:wanted])
    return [{"rows": rows[i : i + CHUNK].tolist()} for i in range(0, len(rows), CHUNK)]


def plan_for_model(task, model) -> list[dict]:
    """One more unit for a model that does not state the data's theory: its energies have another zero."""
    return alignment.plan(task, model)


def calls(task, inputs, data, model) -> tuple[int, float]:
    """(systems per call, number of calls)."""
    per_call = max(1, batch_atoms(model) // int(data.frames.n_atoms[0]))
    return per_call, len(inputs["rows"]) / per_call


def run_unit(task, inputs, data, model, folder, progress, compile="auto") -> dict[str, Any]:
    rows = np.array(inputs["rows"])
    split = inputs.get("fit_offsets_on")
    frames = data.frames if split is None else load_frames(task.dataset, task.config, split)
    energy, force, made, raised = _predict(model, frames, rows, progress)
    if split is not None:
        out = alignment.fit(frames[rows], np.where(usable(energy), energy, np.nan), split, folder / alignment.FILE)
        return out | {"detail": [*_named(raised), *out.get("detail", [])], "force_calls": made}
    kept = force.astype(np.float64 if model.dtype.itemsize > 4 else np.float32)  # as the model gave them
    finite = usable(energy)
    np.logical_and.at(finite, np.repeat(np.arange(len(rows)), frames.n_atoms[rows]), usable(kept).all(1))
    np.savez_compressed(folder / "predictions.npz", rows=rows, energy=energy, forces=kept)
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


def _predict(model, frames, rows, progress) -> tuple[np.ndarray, np.ndarray, int, dict[int, str]]:
    """Energies [T] and forces [A, 3], NaN where the model raised, how many calls that took, {row: what it raised}."""
    done = made = 0
    raised: dict[int, str] = {}

    def moved(count):
        nonlocal done
        done += count
        progress(done / len(rows))

    def ask(part):
        nonlocal made
        out = model(collate(frames, indices=part))
        made += 1
        moved(len(part))
        return out.energy.detach().cpu().double().numpy().copy(), out.forces.detach().cpu().double().numpy().copy()

    def failed(row, error):
        raised[row] = str(error)
        moved(1)
        return np.full(1, np.nan), np.full((int(frames.n_atoms[row]), 3), np.nan)

    at_most = max(1, batch_atoms(model) // int(frames.n_atoms[rows].max()))
    energies, forces = zip(*in_parts(ask, rows, at_most, failed))
    return np.concatenate(energies), np.concatenate(forces), made, raised


def score(task, results, data) -> tuple[dict[str, Metric], dict[str, Curve]]:
    """Metrics over all finite frames that have the label; intervals over blocks of 20 neighbouring frames."""
    from ase.data import atomic_masses

    from ffbench_metrics import net_torque

    frames = data.frames
    rows, energy_error, force_error, cosine, torque, pairs = [], [], [], [], [], []
    for result in results:
        if not (result.folder / "predictions.npz").exists():
            continue
        got = np.load(result.folder / "predictions.npz")
        starts = np.concatenate([[0], np.cumsum(frames.n_atoms[got["rows"]])])
        for k, row in enumerate(got["rows"]):
            if result.status[k] != "ok":
                continue
            truth = frames[int(row)]
            mine = got["forces"][starts[k] : starts[k + 1]].astype(float)
            rows.append(int(row))
            energy_error.append(got["energy"][k] - truth.energy)
            force_error.append(mine - truth.forces)
            norms = np.linalg.norm(mine) * np.linalg.norm(truth.forces)
            cosine.append(0.0 if norms == 0 else (mine * truth.forces).sum() / norms)
            if not truth.pbc.any():
                mass = atomic_masses[truth.atomic_numbers]
                torque.append(float(net_torque(truth.positions, mine, masses=mass)))
            pairs.append((truth.forces, mine))
    if not rows:
        return {}, {}
    energy = np.array(energy_error)
    metrics = {
        "force_mae": _mean([np.abs(f).mean() for f in force_error], "eV/Å"),
        **_energy_metrics(energy, frames.n_atoms[rows]),
        **_aligned(energy, frames, rows, results),
        "force_cosine": _mean(cosine, "1", "higher"),
    }
    if torque:
        metrics["net_torque"] = _mean(torque, "eV")
    force = metrics["force_mae"]
    if force.value is None:
        return metrics, {}
    trivial = float(np.nanmean([np.abs(t).mean() for t, _ in pairs]))
    metrics["force_mae"] = force.model_copy(
        update={"trivial": trivial, "score": float(np.clip(1 - np.mean(force.values) / trivial, 0, 1))}
    )
    squared = _mean([(f**2).mean() for f in force_error], "")
    ends = squared.interval
    metrics["force_rmse"] = Metric(
        value=float(np.sqrt(np.mean(squared.values))),
        unit="eV/Å",
        interval=None if ends is None else (float(np.sqrt(max(0.0, ends[0]))), float(np.sqrt(ends[1]))),
        interval_note="root of the interval of the mean square",
        n=squared.n,
        aggregate="root_mean",
        values=squared.values,
    )
    truth = np.concatenate([t.ravel() for t, _ in pairs])
    mine = np.concatenate([m.ravel() for _, m in pairs])
    shown = np.random.default_rng(0).permutation(len(truth))[:200]
    parity = Curve(
        kind="points",
        x_label="reference force (eV/Å)",
        y_label="model force (eV/Å)",
        x=axis(truth[shown]),
        series={"model": rounded(mine[shown])},
        note=f"200 of {len(truth)} force components",
    )
    return metrics, {"force_parity": parity}


def _mean(values, unit: str, better: str = "lower") -> Metric:
    """The mean over frames that have the label."""
    values = np.asarray(values, float)
    known = values[np.isfinite(values)]
    if not len(known):
        return Metric(value=None, unit=unit, better=better, not_scored="the data set has no such label")
    return over_blocks(block_means(known), unit=unit, better=better, n=len(known))


def _energy_metrics(error: np.ndarray, atoms: np.ndarray, suffix: str = "") -> dict[str, Metric]:
    return {
        f"energy_mae{suffix}": _mean(np.abs(error), "eV"),
        f"energy_mae_per_atom{suffix}": _mean(np.abs(error) / atoms, "eV/atom"),
    }


def _aligned(error: np.ndarray, frames, rows, results) -> dict[str, Metric]:
    """The energy errors without the offsets that one unit was fitted for; none for a model of the data's theory."""
    paths = [r.folder / alignment.FILE for r in results if (r.folder / alignment.FILE).exists()]
    offsets = alignment.read(paths[0]) if paths else None
    if offsets is None:
        return {}
    try:
        made = _energy_metrics(error - offsets.shift(frames[np.array(rows)]), frames.n_atoms[rows], "_aligned")
    except ValueError as why:
        units = {"energy_mae_aligned": "eV", "energy_mae_per_atom_aligned": "eV/atom"}
        return {name: Metric(value=None, unit=unit, not_scored=str(why)) for name, unit in units.items()}
    taken = f"offsets fitted on {offsets.frames} frames of {offsets.split} count as known"
    return {
        name: m.model_copy(update={"interval_note": f"{m.interval_note}; {taken}"}) if m.value is not None else m
        for name, m in made.items()
    }
