"""Scans of the bonds of a data set's open molecules, scored by `ffbench_metrics.bsct_lite`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ffbench_data.scans import Scan, scan_all
from ffbench_metrics import bsct_lite

from ...models.batching import batch_atoms
from ...models.coverage import covered
from ...report import Curve, axis, rounded
from ..base import MetricsAndCurves, Progress, UnitValues
from ..bsct.custom import FLAT
from ..bsct.predict import predict
from ..bsct.scores import over_molecules
from ..dynamics.systems import formula

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField

    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task

NUMBERS = {"spurious_extrema": "1", "energy_roughness": "eV", "conservativeness": "eV", "sign_flips": "1"}
DRAWN = 6  # scans whose curves are in the report
SHOWN = 200


class Parameters(BaseModel):
    """``molecules``: how many of the split's open molecules, those with most frames; ``bonds``: at most so many of
    each, in the order of the atoms. The structure is the frame of the lowest energy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = "test"
    molecules: int = Field(default=3, gt=0)
    bonds: int = Field(default=12, gt=0)


def plan(task: Task, data: TaskData, seed: int) -> list[dict]:
    """One unit per molecule that has a bond outside rings."""
    found = []
    for row in _rows(data.frames, task.parameters.molecules):
        if names := list(_scans(data.frames, row, task.parameters.bonds)):
            found.append({"row": row, "scans": names})
    return found


def _rows(frames: Any, most: int) -> list[int]:
    """The frame of the lowest energy of each of the most frequent open molecules."""
    keys: dict[tuple, list[int]] = {}
    for row in np.flatnonzero(~frames.pbc.any(1)):
        z = frames.atomic_numbers[frames.offsets[row] : frames.offsets[row + 1]]
        state = (z.tobytes(), int(frames.charge[row]), int(frames.spin_multiplicity[row]))
        keys.setdefault(state, []).append(int(row))
    chosen = sorted(keys.values(), key=lambda rows: -len(rows))[:most]
    lowest = []
    for rows in chosen:
        energy = np.nan_to_num(np.asarray(frames.energy)[rows], nan=np.inf)
        lowest.append(rows[int(np.argmin(energy))])
    return lowest


def _scans(frames: Any, row: int, bonds: int) -> dict[str, Scan]:
    from ase.data import chemical_symbols

    frame = frames[row]
    z = frame.atomic_numbers
    name = formula(z)
    made = scan_all(z, frame.positions)[:bonds]
    return {f"{name}_{chemical_symbols[z[s.i]]}{s.i}-{chemical_symbols[z[s.j]]}{s.j}": s for s in made}


def sample_rows(data: TaskData, model: ForceField, count: int) -> np.ndarray:
    """Frames of open molecules that the model covers: to ask it once and to time it."""
    return np.flatnonzero(covered(model, data.frames) & ~data.frames.pbc.any(1))[:count]


def calls(task: Task, inputs: dict[str, Any], data: TaskData, model: ForceField) -> tuple[int, float]:
    atoms = int(data.frames.n_atoms[inputs["row"]])
    per_call = max(1, batch_atoms(model) // atoms)
    return per_call, max(1.0, 100 * len(inputs["scans"]) / per_call)


class Values(UnitValues, total=False):
    scans: list[str]  # in the order of the states
    rows: dict[str, dict[str, float]]  # of the scans that have numbers
    molecule: str


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> Values:
    """Answers along every scan of one molecule, and its numbers."""
    names, frame = inputs["scans"], data.frames[inputs["row"]]
    if not covered(model, data.frames[[inputs["row"]]])[0]:
        why = f"{formula(frame.atomic_numbers)}: elements, charge or spin that the model does not cover"
        return {"status": ["unsupported"] * len(names), "detail": [why], "force_calls": 0}
    scans = _scans(data.frames, inputs["row"], task.parameters.bonds)
    chosen = [scans[name] for name in names]
    answers = predict(
        model, [(frame.atomic_numbers, s.positions) for s in chosen],
        states=[(frame.charge, frame.spin_multiplicity)] * len(chosen), progress=progress,
    )  # fmt: skip
    status, detail, rows = [], [], {}
    for k, (name, s) in enumerate(zip(names, chosen)):
        energy, forces = answers.energy[k], answers.forces[k]
        bad = ~(np.isfinite(energy) & np.isfinite(forces).all(axis=(1, 2)))
        if k in answers.faults or bad.any():
            state, why = answers.faults.get(k, ("model_error", f"not finite on {bad.sum()} of {len(bad)} frames"))
            status.append(state)
            detail.append(f"scan {name}: {why}")
            continue
        status.append("ok")
        if np.ptp(energy) < FLAT:
            detail.append(f"scan {name}: the energy changes by less than {FLAT:g} eV: nothing to judge")
            continue
        found = bsct_lite(energy, forces, s.positions, (s.i, s.j), s.fragment)
        rows[name] = {key: float(v) for key, v in found._asdict().items()}
    np.savez_compressed(folder / "scans.npz", names=np.array(names, str), energy=np.stack(answers.energy),
                        length=np.stack([s.bond_length for s in chosen]))  # fmt: skip
    return {"status": status, "detail": detail, "force_calls": answers.calls, "rows": rows, "scans": names,
            "molecule": formula(frame.atomic_numbers)}  # fmt: skip


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """Means over scans, resampled by molecule; curves of the roughest."""
    done = [r for r in results if "rows" in r.values]
    values_of: list[Values] = [r.values for r in done]
    # isomers, and charges of one molecule, share their formula and with it the names of their scans
    names = [((u, name), f"{v['molecule']} {u}") for u, v in enumerate(values_of) for name in v["scans"]]
    rows = {(u, name): row for u, v in enumerate(values_of) for name, row in v["rows"].items()}
    if not names:
        return {}, {}
    metrics = {}
    for key, unit in NUMBERS.items():
        values = np.array([rows.get(name, {}).get(key, np.nan) for name, _ in names], float)
        metrics[key] = over_molecules(values, [molecule for _, molecule in names], unit=unit)
    worst = sorted(rows, key=lambda n: (-rows[n]["spurious_extrema"], -rows[n]["energy_roughness"]))[:DRAWN]
    curves: dict[str, Curve] = {}
    for u, r in enumerate(done):
        kept = np.load(r.folder / "scans.npz")
        for k, name in enumerate(kept["names"].tolist()):
            if (u, name) in worst:
                step = -(-len(kept["length"][k]) // SHOWN)
                energy = kept["energy"][k] - np.min(kept["energy"][k])
                label = f"scan_energy_{name}" if f"scan_energy_{name}" not in curves else f"scan_energy_{name}_{u}"
                curves[label] = Curve(
                    x_label=f"bond length {name} (Å)", y_label="energy from its lowest (eV)",
                    x=axis(kept["length"][k][::step]), series={"model": rounded(energy[::step])},
                )  # fmt: skip
    return metrics, curves
