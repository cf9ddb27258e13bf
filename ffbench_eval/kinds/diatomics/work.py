"""Dimers as matbench-discovery scores them: its grid, its window by element, its means (see `ffbench_metrics`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_masses, covalent_radii
from ase.data.vdw_alvarez import vdw_radii
from pydantic import BaseModel, ConfigDict

import ffbench_metrics as m
from ffbench_metrics.diatomics import ENERGY_STEP, FORCE_SIZE

from ...models.batching import batch_atoms
from ...report import Curve, Metric, axis, rounded
from ..base import MetricsAndCurves, Progress, UnitValues
from ..bsct.predict import predict
from ..bsct.scans import find_scans, supported
from ..statistics import over_replicas
from . import METRICS

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField

    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task
    from ..bsct.scans import LabelledScan

GRID = np.geomspace(0.1, 6.0, 119)  # Angstrom
LEFT_OUT = ("Po-Po", "At-At", "Rn-Rn", "Fr-Fr", "Ra-Ra")  # of the published means: not in the Materials Project
WALL = 0.8  # covalent radii: where the window of the wall begins; that of all else at 0.9
ROUGH = 1.5, 3  # a reference that jumps by so many eV in so many turns is none
DRAWN, UNIT = 12, 23  # curves in the report, dimers per unit


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = "test"


def plan(task: Task, data: TaskData, seed: int) -> list[dict]:
    names = [n for n in find_scans(data.frames) if n not in LEFT_OUT]
    return [{"dimers": names[i : i + UNIT]} for i in range(0, len(names), UNIT)]


def groups(task: Task, data: TaskData) -> list[str]:
    """The dimers, in the order of the states."""
    return [n for n in find_scans(data.frames) if n not in LEFT_OUT]


def sample_rows(data: TaskData, model: ForceField, count: int) -> np.ndarray:
    return np.array([s.rows[s.equilibrium] for s in find_scans(data.frames).values() if supported(s, model)], int)


def calls(task: Task, inputs: dict[str, Any], data: TaskData, model: ForceField) -> tuple[int, float]:
    per_call = batch_atoms(model) // 2 if model.batched else 1
    return per_call, len(inputs["dimers"]) * (len(GRID) + 50) / per_call


class Values(UnitValues, total=False):
    dimers: list[str]  # in the order of the states


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> Values:
    """Energy and forces on the common grid, and at the distances of the reference."""
    chosen = [s for n, s in find_scans(data.frames).items() if n in inputs["dimers"] and supported(s, model)]
    x = np.zeros((len(GRID), 2, 3))
    x[:, 1, 0] = GRID
    out = predict(model, [(s.numbers, where) for s in chosen for where in (x, s.positions)], progress=progress)
    state: dict[str, str] = dict.fromkeys(inputs["dimers"], "unsupported")
    kept: dict[str, Any] = {}
    for at, (e, f) in enumerate(zip(out.energy, out.forces)):
        scan = chosen[at // 2]
        answer = kept[f"{scan.name} {at % 2}"] = np.column_stack([e, f.reshape(-1, 6)])
        fine = np.isfinite(answer[inside(scan, scan.bond_length if at % 2 else GRID, WALL)]).all()
        if at % 2 == 0 or state[scan.name] == "ok":
            state[scan.name] = "ok" if fine else out.faults.get(at, ("model_error",))[0]
    np.savez(folder / "curves.npz", **kept)
    told = [f"dimer {chosen[at // 2].name}: {why}" for at, (_, why) in out.faults.items()]
    return {"status": list(state.values()), "detail": told, "force_calls": out.calls, "dimers": inputs["dimers"]}


def inside(scan: LabelledScan, r: np.ndarray, first: float = 0.9) -> np.ndarray:
    """[K]: from ``first`` covalent radii (to rounding) to 3.1 van der Waals radii."""
    z = int(scan.numbers[0])
    return (r >= first * covalent_radii[z] - 1e-12) & ~(r > 3.1 * vdw_radii[z])  # some have no such radius


def score_dimer(
    scan: LabelledScan, energy: np.ndarray, forces: np.ndarray, forces_there: np.ndarray
) -> dict[str, float]:
    """Every number of one dimer, but for how smooth an energy or a force is that does not change: ``energy``,
    ``forces`` on the grid, ``forces_there`` at the reference's distances."""
    window, wall, near, deep = (inside(scan, r, k) for r in (GRID, scan.bond_length) for k in (0.9, WALL))
    e, f, truth, a = energy[window], forces[window], scan.energy[near], scan.bond_length
    row: dict[str, float] = {}
    if np.ptp(e) >= ENERGY_STEP:  # a curve that goes nowhere would be the smoothest
        row |= {
            "dimer_tortuosity": m.dimer_tortuosity(e),
            "dimer_energy_flips": m.dimer_energy_flips(e),
            "dimer_energy_jump": m.dimer_energy_jump(e),
        }
    if np.abs(f).max() >= FORCE_SIZE:
        row |= {
            "dimer_force_flips": m.dimer_force_flips(f),
            "dimer_force_variation": m.dimer_force_variation(f),
            "dimer_force_jump": m.dimer_force_jump(f),
        }
    if m.dimer_energy_jump(truth) >= ROUGH[0] and m.dimer_energy_flips(truth) >= ROUGH[1]:
        return row
    both = a[near], truth, GRID[window], e
    return row | {
        "dimer_force_mae": m.dimer_force_mae(a[near], scan.forces[near], GRID[window], f),
        "dimer_energy_mae": m.dimer_energy_mae(*both),
        "dimer_wall_error": m.dimer_wall_error(a[deep], scan.energy[deep], GRID[wall], energy[wall]),
        "dimer_well_error": m.dimer_well_error(truth, e),
        "dimer_bond_length_error": m.dimer_bond_length_error(*both),
        "dimer_frequency_error": m.dimer_frequency_error(*both, float(atomic_masses[int(scan.numbers[0])])),
        "dimer_fsd": m.force_smoothness_deviation(a, forces_there, scan.forces, scan.energy).full,
    }


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """Plain means over dimers, as published; what a dimer does not have is left out. The worst by force are drawn."""
    found, curves = find_scans(data.frames), {}
    rows: dict[str, dict[str, float]] = {}
    for result in results:
        kept = np.load(result.folder / "curves.npz")
        values: Values = result.values
        for name, state in zip(values["dimers"], result.status):
            rows[name] = {}
            if state == "ok":
                got, there = kept[f"{name} 0"], kept[f"{name} 1"]
                forces = (x[:, 1:].reshape(-1, 2, 3) for x in (got, there))
                rows[name] = score_dimer(found[name], got[:, 0], *forces)
                curves[name] = _curve(found[name], there[:, 0])
    if not curves:
        return {}, {}
    still = {name: a.trivial for name, a in anchors(task, data).items()}
    metrics = {
        s.name: over_replicas(
            [row.get(s.name) for row in rows.values()],
            unit=s.unit, better=s.better, trivial=still.get(s.name), what="dimer",
        )
        for s in METRICS
    }  # fmt: skip
    worst = sorted(curves, key=lambda n: -rows[n].get("dimer_force_mae", 0.0))
    return metrics, {f"energy {n}": curves[n] for n in worst[:DRAWN]}


def anchors(task: Task, data: TaskData) -> dict[str, Metric]:
    """What no forces and equal energies score."""
    scans, none = (s for n, s in find_scans(data.frames).items() if n not in LEFT_OUT), np.zeros((len(GRID), 2, 3))
    rows = [score_dimer(s, 0 * GRID, none, 0 * s.forces) for s in scans]
    means = {
        k: float(np.mean([r[k] for r in rows if k in r])) for k in ("dimer_force_mae", "dimer_energy_mae", "dimer_fsd")
    }
    return {k: Metric(value=None, unit="", trivial=v, not_scored="-") for k, v in means.items()}


def _curve(scan: LabelledScan, energy: np.ndarray) -> Curve:
    r, shown = scan.bond_length, inside(scan, scan.bond_length)
    series = {k: rounded((e - e[-1])[shown]) for k, e in (("model", energy), ("reference", scan.energy))}
    return Curve(x_label="distance (Å)", y_label="energy (eV)", x=axis(r[shown]), series=series)
