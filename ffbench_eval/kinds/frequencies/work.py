"""Minimise, take the Hessian by batched differences of the forces, and hold its modes against the reference's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.collections import g2
from ase.data import atomic_masses
from ase.optimize import BFGS
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ffbench_data.frames import Frame
from ffbench_metrics import frequency_mae, harmonic_frequencies, why_no_interval, zero_point_energy

from ...models.ase import from_ase
from ...models.guard import guarded
from ...report import Curve, Interval, Metric, axis, rounded
from ..asking import Ask, in_double
from ..base import MetricsAndCurves, Progress, UnitValues
from ..statistics import student
from . import METRICS

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField

    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task

STEP = {torch.float64: 0.005, torch.float32: 0.02}  # Å
SMALL_FORCE = {torch.float64: 1e-4, torch.float32: 2e-3}  # eV/Å, largest of a minimum
STEPS = 500
FLAT = 1e-4  # eV/Å^2: two argon atoms have 0.05


class Parameters(BaseModel):
    """``molecules`` by their names in the G2 set of ASE, ``frames`` more from ``split`` (a fixed random choice):
    there the reference's minimisation starts, and the model's at its minimum. Frames are those of neutral closed-shell
    molecules in open space."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = "test"
    molecules: list[str] = Field(default_factory=list)
    frames: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _known_molecules(self) -> Parameters:
        strange = [name for name in self.molecules if name not in g2.names]
        if strange:
            raise ValueError(f"molecules: {', '.join(strange)} is not in ase.collections.g2")
        if not (self.molecules or self.frames):
            raise ValueError("no molecules and no frames leave nothing to ask")
        open_shell = [n for n in self.molecules if molecule(n).get_initial_magnetic_moments().any()]
        if open_shell:
            raise ValueError(f"molecules: {', '.join(open_shell)} is an open shell; take closed ones")
        atoms = [n for n in self.molecules if len(molecule(n)) == 1]
        if atoms:
            raise ValueError(f"molecules: {', '.join(atoms)} is an atom, which does not vibrate")
        return self


def plan(task: Task, data: TaskData, seed: int) -> list[dict]:
    """One unit per molecule; a number is a row of the data."""
    return [{"molecules": [one]} for one in starts_of(task.parameters, data)]


def starts_of(p: Parameters, data: TaskData) -> list[str | int]:
    if not p.frames:
        return [*p.molecules]
    f = data.frames
    free = (f.n_atoms > 1) & ~f.pbc.any(1) & (np.asarray(f.charge) == 0) & (np.asarray(f.spin_multiplicity) == 1)
    rows = np.flatnonzero(free)
    if not len(rows):
        raise ValueError("frames: none is a neutral closed-shell molecule in open space, whose frequencies these are")
    return [*p.molecules, *np.sort(rows[np.random.default_rng(0).permutation(len(rows))[: p.frames]]).tolist()]


def calls(task: Task, inputs: dict[str, Any], data: TaskData, model: ForceField) -> tuple[int, float]:
    atoms = len(_start(inputs["molecules"][0], data))
    return 1, 60.0 + 6 * atoms


def lacks(task: Task) -> str:
    """What a complete run needs that is missing here."""
    from ffbench_data.potentials import reference

    try:
        reference(task.dataset)
    except ValueError as error:
        said = str(error)
        return said[said.index("needs ") :] if "needs " in said else ""
    return ""


def _start(which: str | int, data: TaskData) -> Atoms:
    if isinstance(which, str):
        return molecule(which)
    frame = data.frames[which]
    return Atoms(frame.atomic_numbers.astype(int), np.asarray(frame.positions, float))


class Values(UnitValues, total=False):
    molecule: str | int  # a name of G2, or a row of the data
    formula: str
    frequencies: list[float]  # cm^-1, imaginary ones negative
    reference: list[float]
    no_reference: str
    rmsd: float  # Å, of the two minima
    dtype: str


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> Values:
    from ffbench_data.potentials import reference

    atoms = _start(inputs["molecules"][0], data)
    if model.elements is not None and not set(atoms.numbers.tolist()) <= set(model.elements):
        return {"status": ["unsupported"], "detail": [f"{atoms.symbols}: elements that the model does not know"]}
    out: Values = {"status": [], "molecule": inputs["molecules"][0], "formula": str(atoms.symbols)}
    try:
        truth = reference(task.dataset)
    except ValueError as error:
        out["no_reference"] = str(error)
    else:
        made = vibrations(Ask(guarded(from_ase(truth))), atoms)
        if isinstance(made, str):
            out["no_reference"] = f"of the reference: {made}"
        else:
            atoms.positions, out["reference"] = made[0], made[1].tolist()
    progress(0.3)
    fine, _ = in_double(model, _frame(atoms))
    ask = Ask(fine or model)
    mine = vibrations(ask, atoms)
    progress(1.0)
    if isinstance(mine, str):
        said = [f"{atoms.symbols}: {mine}", *ask.raised[:2]]
        return {**out, "status": ["model_error"], "detail": said, "force_calls": ask.made}
    out |= {"frequencies": mine[1].tolist(), "rmsd": _rmsd(mine[0], atoms)}
    return {
        **out,
        "status": ["ok"],
        "detail": [],
        "force_calls": ask.made,
        "dtype": str(ask.model.dtype).removeprefix("torch."),
    }


def after(task: Task, data: TaskData, model: ForceField, folder: Path, values: Values) -> dict[str, Any] | None:
    """The whole of it again, once the package of a reference that was missing is there."""
    if "needs " not in values.get("no_reference", "") or lacks(task):
        return None
    made = run_unit(task, {"molecules": [values["molecule"]]}, data, model, folder, lambda _: None)
    kept = {k: v for k, v in made.items() if k not in ("status", "detail", "force_calls")}
    return {"no_reference": "", **kept}


def _frame(atoms: Atoms) -> Frame:
    """The atoms as a frame is asked about, without labels."""
    x, none = atoms.positions, np.full(atoms.positions.shape, np.nan)
    return Frame(atoms.numbers, x, np.zeros((3, 3)), np.zeros(3, bool), np.nan, none)


class _Calculator(Calculator):
    """A model as ASE's optimisers want it."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (ASE's own convention)

    def __init__(self, ask: Ask):
        super().__init__()
        self.ask = ask

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy", "forces"),
        system_changes: Any = all_changes,
    ):
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        energy, forces = self.ask(self.atoms.positions[None], self.atoms.numbers)
        if not (np.isfinite(energy).all() and np.isfinite(forces).all()):
            raise RuntimeError("energy or forces are not finite")
        self.results = {"energy": float(energy[0]), "forces": forces[0]}


def vibrations(ask: Ask, atoms: Atoms) -> tuple[np.ndarray, np.ndarray] | str:
    """(positions [N, 3] of the minimum next to ``atoms``, its wavenumbers [3N - 6 or 3N - 5] cm^-1), or why not."""
    dtype = ask.model.dtype
    found = atoms.copy()
    found.calc = _Calculator(ask)
    try:
        done = BFGS(found, logfile=None, maxstep=0.1).run(fmax=SMALL_FORCE.get(dtype, 2e-3), steps=STEPS)
    except (ValueError, np.linalg.LinAlgError, RuntimeError) as error:
        return f"the search for a minimum ended: {str(error).splitlines()[0][:120]}"
    if not done:
        return f"no minimum in {STEPS} steps"
    x = found.positions
    made = hessian(ask, found.numbers, x, STEP.get(dtype, 0.02))
    if not np.isfinite(made).all():
        return "no finite forces near the minimum"
    if np.abs(made).max() < FLAT:
        return f"no minimum: no force constant reaches {FLAT:g} eV/Å^2"
    return x, harmonic_frequencies(made, x, atomic_masses[found.numbers])


def hessian(ask: Ask, numbers: np.ndarray, x: np.ndarray, h: float) -> np.ndarray:
    """Second derivatives [3N, 3N] eV/Å^2 by central differences of the forces, one batch for all of them."""
    n = len(x)
    moves = h * np.eye(3 * n).reshape(3 * n, n, 3)
    _, f = ask(x + np.concatenate([moves, -moves]), numbers)
    f = f.reshape(2, 3 * n, 3 * n)
    return (f[1] - f[0]).T / (2 * h)


def _rmsd(x: np.ndarray, atoms: Atoms) -> float:
    from ase.build import minimize_rotation_and_translation

    moved = Atoms(atoms.numbers, x)
    minimize_rotation_and_translation(atoms, moved)
    return float(np.sqrt(((moved.positions - atoms.positions) ** 2).sum(1).mean()))


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """Means over molecules; ``None`` for one that did not run, without a minimum or without a reference."""
    values: dict[str, list[float | None]] = {m.name: [] for m in METRICS}
    why, pairs = "no molecule has a minimum", []
    every: list[Values] = [r.values for r in results]
    found = {v["molecule"]: v for v in every if "molecule" in v}
    for which in starts_of(task.parameters, data):
        got: Values = found.get(which, {"status": []})
        mine, truth = got.get("frequencies"), got.get("reference")
        why = got.get("no_reference") or why
        both = mine is not None and truth is not None and len(mine) == len(truth)
        values["imaginary_modes"].append(None if mine is None else float(np.sum(np.array(mine) < 0)))
        values["frequency_mae"].append(frequency_mae(mine, truth) if both else None)
        gap = abs(zero_point_energy(mine) - zero_point_energy(truth)) if both else None
        values["zero_point_energy_error"].append(gap)
        values["minimum_rmsd"].append(got["rmsd"] if both else None)
        if both and mine and truth:
            pairs += list(zip(sorted(truth), sorted(mine)))
    metrics = {m.name: _mean(values[m.name], m.unit, why) for m in METRICS}
    if not pairs:
        return metrics, {}
    shown = pairs[:: max(1, -(-len(pairs) // 200))]
    return metrics, {
        "frequencies": Curve(
            kind="points",
            x_label="reference frequency (cm⁻¹)",
            y_label="model frequency (cm⁻¹)",
            x=axis([t for t, _ in shown]),
            series={"model": rounded([m for _, m in shown])},
            note="imaginary ones are negative",
        )
    }


def _mean(values: list[float | None], unit: str, why: str) -> Metric:
    known = [v for v in values if v is not None]
    if not known:
        return Metric(value=None, unit=unit, values=values, not_scored=why)
    interval = student(known)
    note = "Student's t over molecules" if interval else f"molecules: {why_no_interval(known)}"
    return Metric(
        value=float(np.mean(known)),
        unit=unit,
        uncertainty=Interval.of(interval, note, "student"),
        n=len(known),
        values=values,
    )
