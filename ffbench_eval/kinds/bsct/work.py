"""Bond Smoothness Characterization Test: energy and forces along rigid bond scans, against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ...models.batching import batch_atoms
from ...report import Curve, Metric
from ..base import MetricsAndCurves, Progress, UnitValues
from . import pictures, scores
from .predict import predict
from .scans import LabelledScan, find_scans, refined, supported

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField

    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task
    from .predict import Answers

SCANS = 50  # per unit
DRAWN = 20  # the worst scans, whose curves go into the report


class Parameters(BaseModel):
    """``fine_scans`` scans, evenly over the data set, are also asked on a grid ``fine_grid`` times finer for
    `conservativeness` (all scans if absent, none for 0); ``batch_atoms`` per model call, by device if absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = "test"
    fine_grid: int = Field(default=4, ge=1)
    fine_scans: int | None = Field(default=None, ge=0)
    batch_atoms: int | None = Field(default=None, gt=0)


def plan(task: Task, data: TaskData, seed: int) -> list[dict]:
    names = list(find_scans(data.frames))
    return [{"scans": names[i : i + SCANS]} for i in range(0, len(names), SCANS)]


def sample_rows(data: TaskData, model: ForceField, count: int) -> np.ndarray:
    """``count`` frames near equilibrium of scans that the model covers, to ask it once and to time it; none if it
    covers no scan."""
    found = [s for s in find_scans(data.frames).values() if supported(s, model) and s.labelled.any()]
    rows = np.array([s.rows[s.equilibrium] for s in found], int)
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)] if len(rows) else rows


def calls(task: Task, inputs: dict[str, Any], data: TaskData, model: ForceField) -> tuple[int, float]:
    found = find_scans(data.frames)
    chosen = [found[name] for name in inputs["scans"]]
    fine = _fine(task, found)
    extra = task.parameters.fine_grid - 1
    atoms = sum(len(s.numbers) * len(s.energy) * (1 + extra * (s.name in fine)) for s in chosen)
    budget = task.parameters.batch_atoms or batch_atoms(model)
    per_call = max(1, budget // max(1, int(np.mean([len(s.numbers) for s in chosen]))))
    return per_call, atoms / budget


class Values(UnitValues, total=False):
    scans: list[str]  # in the order of the states


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> Values:
    """Predictions on all frames, and on the finer grid where it is asked for."""
    found = find_scans(data.frames)
    fine, factor = _fine(task, found), task.parameters.fine_grid
    chosen = [found[name] for name in inputs["scans"] if supported(found[name], model)]
    finer = [s for s in chosen if s.name in fine]
    sets = [(s.numbers, s.positions) for s in chosen]
    states = [(s.charge, s.spin_multiplicity) for s in [*chosen, *finer]]
    between = np.arange(1, factor)
    for s in finer:  # only the points that are new
        x = refined(s.positions, factor)
        new = (np.arange(len(s.energy) - 1)[:, None] * factor + between).ravel()
        sets.append((s.numbers, x[new]))
    answers = predict(model, sets, states=states, at_most=task.parameters.batch_atoms, progress=progress)
    faults = dict(answers.faults)
    between_faults = {}
    for k, s in enumerate(finer):
        state_there, why = faults.get(len(chosen) + k, ("", ""))
        if state_there == "out_of_memory":
            faults.setdefault(chosen.index(s), (state_there, why))
        elif state_there:  # costs what NaN costs there: the number that needs the finer grid
            between_faults[s.name] = why

    state, detail = dict.fromkeys(inputs["scans"], "unsupported"), []
    conserved = np.full(len(chosen), np.nan)
    for k, s in enumerate(chosen):
        finite = np.isfinite(answers.energy[k]) & np.isfinite(answers.forces[k]).all(axis=(1, 2))
        state[s.name] = "ok"
        if k in faults:
            state[s.name], why = faults[k]
            detail.append(f"scan {s.name}: {why}")
        elif not finite.all():
            state[s.name] = "model_error"
            detail.append(
                f"scan {s.name}: energy or forces are not finite on {(~finite).sum()} of {len(finite)} frames"
            )
    for k, s in enumerate(finer):
        at = chosen.index(s)
        if state[s.name] == "ok":
            conserved[at] = _conservativeness(s, answers, at, len(chosen) + k, factor)
            if np.isnan(conserved[at]):
                why = between_faults.get(s.name, "energy or forces are not finite")
                detail.append(f"scan {s.name}: no conservativeness, on the finer grid {why}")
    missing = [name for name, what in state.items() if what == "unsupported"]
    if missing:
        detail.append(
            f"{len(missing)} scans with elements, charge or spin the model does not cover, {missing[0]} the first"
        )
    kind = np.float64 if model.dtype.itemsize > 4 else np.float32
    flat = [f.reshape(-1, 3) for f in answers.forces[: len(chosen)]]
    np.savez(
        folder / "predictions.npz",
        scans=np.array([s.name for s in chosen], str),
        energy=np.concatenate([np.zeros(0), *answers.energy[: len(chosen)]]),
        forces=np.concatenate([np.zeros((0, 3), kind), *flat]),
        conservativeness=conserved,
    )
    return {"status": list(state.values()), "detail": detail, "force_calls": answers.calls, "scans": inputs["scans"]}


def _fine(task: Task, found: dict[str, LabelledScan]) -> set[str]:
    """The scans that get the finer grid."""
    names, count = list(found), task.parameters.fine_scans
    if task.parameters.fine_grid == 1:
        return set()
    if count is None or count >= len(names):
        return set(names)
    return {names[k] for k in (np.arange(count) * len(names) // max(1, count)).tolist()}


def _conservativeness(scan: LabelledScan, answers: Answers, coarse: int, fine: int, factor: int) -> float:
    from ffbench_metrics import conservativeness

    x = refined(scan.positions, factor)
    energy, forces = np.empty(len(x)), np.empty(x.shape)
    energy[::factor], forces[::factor] = answers.energy[coarse], answers.forces[coarse]
    new = np.arange(len(x)) % factor > 0
    energy[new], forces[new] = answers.energy[fine], answers.forces[fine]
    if not (np.isfinite(energy).all() and np.isfinite(forces).all()):
        return float("nan")
    return conservativeness(energy, forces, x, start=scan.equilibrium * factor)


def predictions(results: Sequence[Result], data: TaskData) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """(energy [K], forces [K, N, 3], conservativeness) of every scan that ended ``ok``."""
    found = find_scans(data.frames)
    out = {}
    for result in results:
        path = result.folder / "predictions.npz"
        if not path.exists():
            continue
        got = np.load(path)
        energy, forces, conserved = got["energy"], got["forces"], got["conservativeness"]
        names = got["scans"].tolist()
        frame = atom = 0
        state = [s for s in result.status if s != "unsupported"]
        for k, (name, status) in enumerate(zip(names, state)):
            frames, n = found[name].positions.shape[:2]
            if status == "ok":
                block = forces[atom : atom + frames * n].reshape(frames, n, 3)
                out[name] = (energy[frame : frame + frames], block, float(conserved[k]))
            frame, atom = frame + frames, atom + frames * n
    return out


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """Every number per scan and over scans; curves of the worst scans by FSD."""
    found = find_scans(data.frames)
    got = predictions(results, data)
    rows = per_scan(found, got)
    metrics = scores.summarise(list(rows.values()), list(found.values()))
    for key, value in scores.without_forces(list(found.values())).items():  # of the data, whatever the model covers
        if key in metrics:
            metrics[key] = metrics[key].model_copy(update={"trivial": value})
    states = [s for r in results for s in r.status]
    if states and set(states) != {"ok"}:
        metrics["supported_share"] = scores.supported_share(states)
    if any(not s.labelled.all() for s in found.values()):
        metrics["masked_labels"] = scores.masked_labels(list(found.values()))
    curves: dict[str, Curve] = {}
    for name in worst(rows)[:DRAWN]:
        curves |= pictures.curves(found[name], *got[name][:2])
    return metrics, curves


def anchors(task: Task, data: TaskData) -> dict[str, Metric]:
    """What no forces score on all scans."""
    found = scores.without_forces(list(find_scans(data.frames).values()))
    return {name: Metric(value=None, unit=scores.UNITS[name], trivial=v, not_scored="-") for name, v in found.items()}


def per_scan(
    found: dict[str, LabelledScan], got: dict[str, tuple[np.ndarray, np.ndarray, float]]
) -> dict[str, dict[str, float | None] | None]:
    """{scan: its numbers, or ``None`` without predictions}, in the data set's order."""
    rows: dict[str, dict[str, float | None] | None] = {}
    for name, scan in found.items():
        rows[name] = None
        if name in got:
            row = scores.score_scan(scan, *got[name][:2])
            fine = got[name][2]
            rows[name] = row | {"conservativeness": fine if np.isfinite(fine) else None}
    return rows


def worst(rows: dict[str, dict[str, float | None] | None]) -> list[str]:
    """Names of scans by falling FSD."""
    known = {name: row["fsd"] for name, row in rows.items() if row is not None and row["fsd"] is not None}
    return sorted(known, key=lambda name: -known[name])


def write_files(task: Task, results: Sequence[Result], data: TaskData, run: Path, title: str) -> None:
    """``<task>.html`` (the index of the worst scans) and ``<task>.csv`` (every number of every scan)."""
    found = find_scans(data.frames)
    got = predictions(results, data)
    rows = per_scan(found, got)
    states = {name: s for r in results for name, s in zip(r.values.get("scans", []), r.status)}
    pictures.write_table(run / f"{task.name}.csv", found, rows, states)
    chosen = worst(rows)[:DRAWN]
    pictures.write_page(run / f"{task.name}.html", title, found, rows, {n: got[n][:2] for n in chosen})
