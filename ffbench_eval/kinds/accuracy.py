"""Errors of energy and forces on labelled frames the model has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ..report import Curve, Metric, axis, rounded
from ..statistics import block_means, over_blocks

CHUNK = 250  # frames per unit
BATCH_ATOMS = 2048  # atoms per model call


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


def calls(task, inputs, data) -> tuple[int, float]:
    """(systems per call, number of calls)."""
    atoms = int(data.frames.n_atoms[0])
    per_call = max(1, BATCH_ATOMS // atoms)
    return per_call, len(inputs["rows"]) / per_call


def run_unit(task, inputs, data, model, folder, progress, compile="auto") -> dict[str, Any]:
    from ffbench_data.frames import collate

    rows = np.array(inputs["rows"])
    frames = data.frames
    energies, forces = [], []
    per_call = max(1, BATCH_ATOMS // int(frames.n_atoms[rows].max()))
    for start in range(0, len(rows), per_call):
        batch = collate(frames, indices=rows[start : start + per_call])
        out = model(batch)
        energies.append(out.energy.detach().cpu().double().numpy())
        forces.append(out.forces.detach().cpu().double().numpy())
        progress((start + per_call) / len(rows))
    energy, force = np.concatenate(energies), np.concatenate(forces)
    finite = np.isfinite(energy)
    owner = np.repeat(np.arange(len(rows)), frames.n_atoms[rows])
    np.logical_and.at(finite, owner, np.isfinite(force).all(1))
    np.savez_compressed(folder / "predictions.npz", rows=rows, energy=energy, forces=force.astype(np.float32))
    return {
        "status": ["ok" if f else "model_error" for f in finite],
        "detail": [f"frame {r}: energy or forces are not finite" for r, f in zip(rows, finite) if not f][:5],
        "force_calls": len(energies),
    }


def score(task, results, data) -> tuple[dict[str, Metric], dict[str, Curve]]:
    """Metrics over all finite frames; intervals over blocks of 20 neighbouring frames."""
    frames = data.frames
    energy_error, force_error, cosine, pairs = [], [], [], []
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
            energy_error.append((got["energy"][k] - truth.energy, len(truth.forces)))
            force_error.append(mine - truth.forces)
            norms = np.linalg.norm(mine) * np.linalg.norm(truth.forces)
            cosine.append((mine * truth.forces).sum() / norms if norms > 0 else 0.0)
            pairs.append((truth.forces, mine))
    if not force_error:
        return {}, {}
    energy = np.array([e for e, _ in energy_error])
    atoms = np.array([n for _, n in energy_error])
    per_frame = {
        "force_mae": (np.array([np.abs(f).mean() for f in force_error]), "eV/Å", "lower"),
        "energy_mae": (np.abs(energy), "eV", "lower"),
        "energy_mae_per_atom": (np.abs(energy) / atoms, "eV/atom", "lower"),
        "force_cosine": (np.array(cosine), "1", "higher"),
    }
    trivial = float(np.mean([np.abs(t).mean() for t, _ in pairs]))
    metrics = {
        name: over_blocks(block_means(values), unit=unit, better=better, n=len(values))
        for name, (values, unit, better) in per_frame.items()
    }
    force = metrics["force_mae"]
    metrics["force_mae"] = force.model_copy(
        update={"trivial": trivial, "score": float(np.clip(1 - np.mean(force.values) / trivial, 0, 1))}
    )
    squared = over_blocks(block_means(np.array([(f**2).mean() for f in force_error])), unit="", better="lower", n=0)
    ends = squared.interval
    metrics["force_rmse"] = Metric(
        value=float(np.sqrt(np.mean(squared.values))),
        unit="eV/Å",
        interval=None if ends is None else (float(np.sqrt(max(0.0, ends[0]))), float(np.sqrt(ends[1]))),
        interval_note="root of the interval of the mean square",
        n=len(force_error),
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
