"""The work of one structure or of all dimers, and the numbers of a report; the checks themselves: `checks`.

A check that a model cannot be asked (no cutoff stated, elements it does not know, one precision only) has no value and
the reason; a model that fails on a structure has no values for it, and one that fails within a scan does not pass it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_masses, chemical_symbols
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ffbench_data.contract import ForceField
from ffbench_metrics import (
    clopper_pearson,
    repulsion,
    why_no_interval,
)

from ...models.batching import batch_atoms
from ...report import Interval, Metric
from ..asking import Ask, in_double
from ..base import MetricsAndCurves, Progress, UnitValues
from ..statistics import student
from . import METRICS
from .checks import (
    AXIS,
    FINE_STEPS,
    NEAREST,
    PATH_POINTS,
    PATHS,
    SCAN_POINTS,
    SHARES,
    check_structure,
    nearest_start,
    scanned,
    together,
)

if TYPE_CHECKING:
    from ffbench_data.frames import Frame

    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task


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


def plan(task: Task, data: TaskData, seed: int) -> list[dict]:
    """One unit per structure, and one for all dimers."""
    p = task.parameters
    units: list[dict] = [{"members": [row]} for row in rows_of(p, data)]
    return units + ([{"members": p.dimers, "dimers": True}] if p.dimers else [])


def rows_of(p: Parameters, data: TaskData) -> list[int]:
    return np.sort(np.random.default_rng(0).permutation(len(data.frames))[: p.structures]).tolist()


def calls(task: Task, inputs: dict[str, Any], data: TaskData, model: ForceField) -> tuple[int, float]:
    p, atoms = task.parameters, int(data.frames.n_atoms[0])
    per_call = max(1, batch_atoms(model) // atoms)
    if "dimers" in inputs:
        return per_call, 2 * SCAN_POINTS * len(inputs["members"]) / (per_call * atoms)
    jacobian = 12 * min(atoms, p.jacobian_atoms)
    others = p.rotations + 12 * FINE_STEPS + PATHS * PATH_POINTS + SCAN_POINTS * min(p.pairs, atoms)
    return per_call, (jacobian + others) / per_call + p.own_ps * 2000


class Values(UnitValues, total=False):
    row: int
    dtype: str
    one_precision: str
    checks: dict[str, float]
    skipped: dict[str, str]
    dimers: list[list[float] | None]  # of the unit of dimers


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> Values:
    if "dimers" in inputs:
        return _dimers(inputs["members"], model)
    row = inputs["members"][0]
    frame, p = data.frames[row], task.parameters
    fine, why = in_double(model, frame)
    ask = Ask(fine or model)
    positions = np.asarray(frame.positions, float)
    if p.own_ps:
        positions = _moved(p, frame, model, folder, row)
    values, skipped = check_structure(ask, fine, model, frame, positions, p, np.random.default_rng([0, row]), progress)
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


def _moved(p: Parameters, frame: Frame, model: ForceField, folder: Path, row: int) -> np.ndarray:
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


def _dimers(symbols: list[str], model: ForceField) -> Values:
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
        along = np.linspace(nearest_start(z, z), NEAREST, SCAN_POINTS)
        energy, f = scanned(partial(together, partial(ask, numbers=[z, z]), np.zeros((2, 3)), 1, AXIS, 0.0), along)
        status.append("ok")
        passed.append([float(v) for v in repulsion(energy, 0.5 * (f[:, 1, 0] - f[:, 0, 0]))])
    dtype = str(model.dtype).removeprefix("torch.")
    return {"status": status, "detail": ask.raised[:2], "force_calls": ask.made, "dimers": passed, "dtype": dtype}


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """The mean of every check over the structures, and the shares of dimers; ``None`` for a member that did not run."""
    spec = {m.name: m for m in METRICS}
    every: list[Values] = [r.values for r in results]
    found = {v["row"]: v for v in every if "checks" in v}
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
    dimers = [row for v in every for row in v.get("dimers", [])]
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
