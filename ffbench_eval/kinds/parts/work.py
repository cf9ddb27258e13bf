"""Accuracy's work, and its errors by element, group, temperature and system of the same answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ffbench_data.load import load_frames
from ffbench_metrics import energy_mae, force_mae

from ...models.coverage import covered
from ...report import Metric
from ..accuracy import alignment
from ..accuracy import work as whole
from ..accuracy.work import Answers, Parameters, Values, answers_of, calls, plan, plan_for_model
from ..base import MetricsAndCurves, Progress, UnitValues
from ..dynamics.systems import formula
from ..statistics import over_frames

if TYPE_CHECKING:
    from pathlib import Path

    from ffbench_data.contract import ForceField
    from ffbench_data.frames import Frame, Frames

    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task

__all__ = ["Parameters", "Values", "calls", "plan", "plan_for_model", "run_unit", "sample_rows", "score"]

MOST = 20  # parts of one kind, those with most frames


def sample_rows(data: TaskData, model: ForceField, count: int) -> np.ndarray:
    """``count`` frames that the model covers; none if there are none."""
    return np.flatnonzero(covered(model, data.frames))[:count]


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> UnitValues:
    """As in accuracy. A frame with elements, charge or spin that the model does not take is ``unsupported`` and costs
    itself alone."""
    split, rows = inputs.get("fit_offsets_on"), np.array(inputs["rows"])
    frames = data.frames if split is None else load_frames(task.dataset, task.config, split)
    fine = covered(model, frames)[rows]
    if fine.all():
        return whole.run_unit(task, inputs, data, model, folder, progress, compile)
    if not fine.any():
        return {"status": ["unsupported"] * len(rows)}
    out = whole.run_unit(task, {**inputs, "rows": rows[fine].tolist()}, data, model, folder, progress, compile)
    ended = iter(out["status"])
    return {**out, "status": [next(ended) if asked else "unsupported" for asked in fine]}


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """Those of accuracy, then the same functions on parts of the frames, or on the atoms of an element.

    As in the whole, forces of a frame without an answer count as zero, and its energy is left out. Frames that the
    model was not asked about are in no number, which a note says.
    """
    metrics, curves = whole.score(task, results, data)
    scored = [r.status for r in results if (r.folder / whole.FILE).exists() or set(r.status) == {"unsupported"}]
    left_out, frames = sum(s.count("unsupported") for s in scored), sum(map(len, scored))
    if left_out:
        note = f"{left_out} of {frames} frames have elements, charge or spin that the model does not take: left out"
        metrics = {k: m if m.value is None else m.noted(note) for k, m in metrics.items()}
    got = answers_of(results, data.frames)
    if got is None or not got.answered.any():
        return metrics, curves
    with np.errstate(over="ignore", invalid="ignore"):
        metrics |= _by_element(got)
        energy = _aligned(got, results)
        for kind, keys in groups(got.structures).items():
            names, counts = np.unique(keys[keys != ""], return_counts=True)
            if len(names) < 2:
                continue
            chosen = names[np.argsort(-counts, kind="stable")][:MOST].tolist()
            for name, slug in zip(chosen, _slugs(chosen)):
                metrics |= _of_part(got, energy, np.flatnonzero(keys == name), f"{kind}.{slug}")
    return metrics, curves


def groups(frames: Frames) -> dict[str, np.ndarray]:
    """What each frame [T] belongs to, as text, "" for nothing: its group, temperature and system."""
    columns, found = frames.table.column_names, {}
    if "config_type" in columns:
        found["config_type"] = np.array([v or "" for v in frames.table["config_type"].to_pylist()])
    if "temperature_K" in columns:
        kelvin = frames.table["temperature_K"].to_numpy().astype(float)
        found["temperature"] = np.array([f"{v:g} K" if np.isfinite(v) else "" for v in kelvin])
    first = np.unique(frames.species, return_index=True)[1]
    found["system"] = np.array([_name(frames[row]) for row in first])[frames.species]
    return found


def _name(frame: Frame) -> str:
    """Its formula, with charge and spin multiplicity where it is no neutral singlet."""
    charge, spin = int(frame.charge), int(frame.spin_multiplicity)
    more = (f" charge {charge:+d}" if charge else "") + (f" spin {spin}" if spin != 1 else "")
    return formula(frame.atomic_numbers) + more


def _by_element(got: Answers) -> dict[str, Metric]:
    from ase.data import chemical_symbols

    labelled = [k for k, label in enumerate(got.true_forces) if np.isfinite(label).all()]
    kinds = [got.structures[k].atomic_numbers for k in labelled]
    mine = [got.forces[k] if got.answered[k] else np.zeros_like(got.true_forces[k]) for k in labelled]
    truth = [got.true_forces[k] for k in labelled]
    elements = np.unique(np.concatenate(kinds)) if kinds else np.zeros(0, int)
    if len(elements) < 2:
        return {}
    out = {}
    for z in elements:
        rows = [n for n, numbers in enumerate(kinds) if (numbers == z).any()]
        pairs = [(mine[n][kinds[n] == z], truth[n][kinds[n] == z]) for n in rows]
        out[f"force_mae_by.element.{chemical_symbols[z]}"] = _forces(pairs)
    return out


def _of_part(got: Answers, energy: np.ndarray | None, rows: np.ndarray, name: str) -> dict[str, Metric]:
    out = {}
    labelled = [k for k in rows if np.isfinite(got.true_forces[k]).all()]
    if labelled:
        mine = [got.forces[k] if got.answered[k] else np.zeros_like(got.true_forces[k]) for k in labelled]
        out[f"force_mae_by.{name}"] = _forces(list(zip(mine, [got.true_forces[k] for k in labelled])))
    known = rows[got.answered[rows] & np.isfinite(got.true_energy[rows])]
    if energy is not None and len(known):
        error, atoms = np.abs(energy[known] - got.true_energy[known]), got.structures.n_atoms[known]
        out[f"energy_mae_per_atom_by.{name}"] = over_frames(
            error / atoms, _mean(energy[known], got.true_energy[known], atoms), unit="eV/atom"
        )
    return out


def _mean(mine: np.ndarray, truth: np.ndarray, atoms: np.ndarray) -> Callable[[], float]:
    return lambda: float(energy_mae(mine, truth, n_atoms=atoms))


def _forces(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Metric:
    """Force MAE over all atoms of the pairs (mine, truth); a frame counts by its atoms."""
    return over_frames(
        [force_mae(f, t) for f, t in pairs],
        lambda: force_mae(np.concatenate([f for f, _ in pairs]), np.concatenate([t for _, t in pairs])),
        unit="eV/Å",
        weights=[len(t) for _, t in pairs],
    )


def _aligned(got: Answers, results: Sequence[Result]) -> np.ndarray | None:
    """Energies [T] without the offsets, where some were fitted; ``None`` if the fit does not reach these frames."""
    paths = [r.folder / alignment.FILE for r in results if (r.folder / alignment.FILE).exists()]
    offsets = alignment.read(paths[0]) if paths else None
    if offsets is None:
        return got.energy
    try:
        return got.energy - offsets.shift(got.structures)
    except ValueError:
        return None


def _slugs(names: Sequence[str]) -> list[str]:
    """A part of a key for each name; names that differ have keys that differ.

    >>> _slugs(["bulk T=300", "bulk T 300", "slab"])
    ['bulk_T_300', 'bulk_T_300_2', 'slab']
    """
    out: list[str] = []
    for name in names:
        slug, count = _slug(name), 1
        while slug in out:
            count += 1
            slug = f"{_slug(name)}_{count}"
        out.append(slug)
    return out


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-+_" else "_" for c in text)[:60]
