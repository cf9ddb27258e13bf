"""Relative energies: every structure of a set asked once, then reactions, curves and the order of conformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ffbench_metrics import (
    clopper_pearson,
    curve_minimum,
    group_bootstrap,
    no_difference_mae,
    normalised_score,
    rank_correlation,
    reaction_energies,
    relative_energy_bias,
    relative_energy_mae,
    why_no_interval,
)

from ...models.coverage import covered
from ...report import Curve, Floor, Interval, Metric, axis, rounded
from ..base import Better, MetricsAndCurves, Progress, UnitValues
from ..bsct.predict import predict
from ..statistics import student

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField

    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task

UNIT = 88  # reactions; curves of eight points stay whole
FEW = 5  # parent molecules, below which reactions are drawn one by one
RESAMPLES = 2000
TIMED, TYPICAL = 8, 18  # structures in a timed call, and atoms of one (of s66x8, the first set)
RANKED = 4  # conformers of one molecule from which on their order is compared


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = "test"


def _facts(data: TaskData) -> dict[str, Any]:
    """The reactions of the data set and what is known of them. ValueError without any."""
    facts = data.reference.facts if data.reference else {}
    if "reactions" not in facts:
        raise ValueError(f"dataset {data.used.name} has no reactions; take a config of relative_energies")
    return facts


def plan(task: Task, data: TaskData, seed: int) -> list[dict]:
    count = len(_facts(data)["reactions"])
    return [{"reactions": list(range(i, min(i + UNIT, count)))} for i in range(0, count, UNIT)]


def groups(task: Task, data: TaskData) -> list[str]:
    """The parent molecule of every reaction: what an interval draws together."""
    return [reaction["parent"] for reaction in _facts(data)["reactions"]]


def sample_rows(data: TaskData, model: ForceField, count: int) -> np.ndarray:
    """Structures of which the model takes elements, charge and spin."""
    rows = np.flatnonzero(covered(model, data.frames))
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)] if len(rows) else rows


def calls(task: Task, inputs: dict[str, Any], data: TaskData, model: ForceField) -> tuple[int, float]:
    """Timed once for all 25 sets, on few structures: that of every set would cost more than the sets themselves."""
    systems = TIMED if model.batched else 1
    return systems, float(data.frames.n_atoms[_structures(inputs, data)].sum()) / (systems * TYPICAL)


class Values(UnitValues, total=False):
    reactions: list[int]  # in the order of the states


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> Values:
    """Total energies of all structures of reactions that the model covers as a whole."""
    terms, can = _terms(data), covered(model, data.frames)
    whole = [r for r in inputs["reactions"] if all(can[k] for _, k in terms[r])]
    rows = _structures({"reactions": whole}, data)
    frames = [data.frames[int(k)] for k in rows]
    sets = [(f.atomic_numbers, f.positions[None]) for f in frames]
    states = [(f.charge, f.spin_multiplicity) for f in frames]
    out = predict(model, sets, states=states, progress=progress) if sets else None
    energy = dict(zip(rows.tolist(), [float(e[0]) for e in out.energy] if out else []))
    faults = {int(rows[at]): fault for at, fault in out.faults.items()} if out else {}
    status = []
    for r in inputs["reactions"]:
        lost = [faults.get(k, ("model_error", ""))[0] for _, k in terms[r] if not np.isfinite(energy.get(k, 0.0))]
        status.append("unsupported" if r not in whole else lost[0] if lost else "ok")
    np.savez(folder / "energies.npz", rows=rows, energy=np.array([energy[k] for k in rows.tolist()]))
    told = [f"structure {_name(data, k)}: {why}" for k, (_, why) in faults.items()]
    missing = [k for k in _structures(inputs, data).tolist() if not can[k]]
    if missing:
        shown = ", ".join(_name(data, k) for k in missing[:10]) + (
            f" and {len(missing) - 10} more" * (len(missing) > 10)
        )
        told.append(f"elements, charge or spin that the model does not take, in {len(missing)} structures: {shown}")
    calls_made = out.calls if out else 0
    return {"status": status, "detail": told, "force_calls": calls_made, "reactions": inputs["reactions"]}


def _terms(data: TaskData) -> list[list[tuple[float, int]]]:
    return [[(float(c), int(k)) for c, k in reaction["terms"]] for reaction in _facts(data)["reactions"]]


def _structures(inputs: dict[str, Any], data: TaskData) -> np.ndarray:
    terms = _terms(data)
    return np.array(sorted({k for r in inputs["reactions"] for _, k in terms[r]}), int)


def _name(data: TaskData, row: int) -> str:
    return str(data.frames.table["structure"][row].as_py())


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """Errors over the reactions that the model covers; one it failed on counts as no difference, as the note says."""
    facts = _facts(data)
    energy = np.full(len(data.frames), np.nan)
    state: dict[int, str] = {}
    for result in results:
        with np.load(result.folder / "energies.npz") as got:
            energy[got["rows"]] = got["energy"]
        values: Values = result.values
        state |= dict(zip(values["reactions"], result.status))
    reference = np.array([r["reference"] for r in facts["reactions"]], float)
    found = reaction_energies(energy, _terms(data))
    asked = np.array([state.get(r, "not_run") not in ("unsupported", "not_run") for r in range(len(reference))])
    if not any(s == "ok" for s in state.values()):
        return {}, {}
    lost = asked & ~np.isfinite(found)
    found[lost] = 0.0
    metrics = _errors(found, reference, asked, np.array(groups(task, data)), int(lost.sum()))
    mine = metrics["relative_energy_mae"]
    floor, trivial = _anchor(facts)
    score = None
    if asked.all() and mine.value is not None:
        score = normalised_score(mine.value, floor.median, trivial)
    metrics["relative_energy_mae"] = mine.model_copy(update={"floor": floor, "trivial": trivial, "score": score})
    metrics |= _order(found, reference, asked, facts) | _minima(found, reference, asked, facts)
    if not asked.all():
        metrics["supported_reactions"] = _share(asked)
    return metrics, _curves(found, reference, asked, facts)


def anchors(task: Task, data: TaskData) -> dict[str, Metric]:
    """The uncertainty of the references, and what predicting no difference scores on the whole set."""
    floor, trivial = _anchor(_facts(data))
    anchor = Metric(value=None, unit="kcal/mol", floor=floor, trivial=trivial, not_scored="-")
    return {"relative_energy_mae": anchor}


def _anchor(facts: Mapping[str, Any]) -> tuple[Floor, float]:
    known, note = float(facts["uncertainty"]), f"uncertainty of the references, {facts['uncertainty_from']}"
    trivial = no_difference_mae([r["reference"] for r in facts["reactions"]])
    return Floor(median=known, p95=2 * known, runs=0, length_ps=0.0, note=note), trivial


def _errors(
    found: np.ndarray, reference: np.ndarray, asked: np.ndarray, parents: np.ndarray, lost: int
) -> dict[str, Metric]:
    note = f"; {lost} reactions without an answer count as no difference" if lost else ""
    rows = np.flatnonzero(asked)
    signed, size, owner = (found - reference)[rows], np.abs(reference[rows]), parents[rows]
    value: dict[str, tuple[float, np.ndarray, Better]] = {
        "relative_energy_mae": (relative_energy_mae(found[rows], reference[rows]), np.abs(signed), "lower"),
        "relative_energy_bias": (relative_energy_bias(found[rows], reference[rows]), signed, "neither"),
        "no_difference_mae": (no_difference_mae(reference[rows]), size, "neither"),
    }
    return {
        k: over_parents(v, x, owner, better=b, place=rows, of=len(asked), note=note) for k, (v, x, b) in value.items()
    }


def over_parents(
    value: float,
    samples: np.ndarray,
    parents: np.ndarray,
    *,
    better: Better,
    place: np.ndarray,
    of: int,
    note: str = "",
    unit: str = "kcal/mol",
) -> Metric:
    """A mean over reactions, with the bootstrap interval over their parent molecules; ``place`` [n] among ``of``."""
    distinct = len(np.unique(parents))
    owner = parents if distinct >= FEW else np.arange(len(samples))
    said, interval = f"bootstrap over {distinct} parent molecules", None
    if distinct < FEW:
        said = (
            f"bootstrap over reactions of {distinct} parent molecule{'s' * (distinct > 1)}, which are not independent"
        )
    if len(samples) < FEW or why_no_interval(samples):
        said = f"reactions: {why_no_interval(samples) or f'only {len(samples)}'}"
    else:
        drawn = group_bootstrap(lambda k: samples[k].mean(), owner, resamples=RESAMPLES, minimum_groups=FEW)
        interval = (drawn.low, drawn.high)
    values: list[float | None] = [None] * of
    for k, v in zip(place, samples):
        values[k] = float(v)
    uncertainty = Interval.of(interval, said + note, "bootstrap")
    return Metric(value=value, unit=unit, values=values, uncertainty=uncertainty, n=len(samples), better=better)


def _order(found: np.ndarray, reference: np.ndarray, asked: np.ndarray, facts: Mapping[str, Any]) -> dict[str, Metric]:
    """Spearman over the conformers of each molecule, the one that all are measured from included."""
    if facts["group"] != "conformers":
        return {}
    ladders: dict[int, list[int]] = {}
    for r in np.flatnonzero(asked):
        ladders.setdefault(facts["reactions"][r]["terms"][0][1], []).append(int(r))
    full = [rows for rows in ladders.values() if len(rows) >= RANKED - 1]
    ordered = [np.ptp([0.0, *found[rows]]) > 0 for rows in full]  # who says that all are equal has no order: 0
    rho = [
        rank_correlation([0.0, *found[rows]], [0.0, *reference[rows]]) if apart else 0.0
        for rows, apart in zip(full, ordered)
    ]
    if not rho:
        return {}
    interval = student(rho)
    note = "Student's t over molecules" if interval else f"molecules: {why_no_interval(rho)}"
    mean = float(np.mean(rho))
    return {
        "rank_correlation": Metric(
            value=mean,
            unit="1",
            uncertainty=Interval.of(interval, note, "student"),
            n=len(rho),
            better="higher",
            values=list(rho),
        )
    }


def _lines(facts: Mapping[str, Any]) -> dict[str, list[int]]:
    lines: dict[str, list[int]] = {}
    for k, reaction in enumerate(facts["reactions"]):
        if "curve" in reaction:
            lines.setdefault(reaction["curve"], []).append(k)
    return lines


def _minima(found: np.ndarray, reference: np.ndarray, asked: np.ndarray, facts: Mapping[str, Any]) -> dict[str, Metric]:
    """Position (over that of the reference geometry) and depth of the lowest point of every curve, by cubic spline."""
    lines = list(_lines(facts).values())
    whole = np.array([k for k, rows in enumerate(lines) if asked[rows].all()], int)
    parents = np.array([facts["reactions"][lines[k][0]]["parent"] for k in whole])
    off = []
    for rows in (lines[k] for k in whole):
        r = [facts["reactions"][row]["scale"] for row in rows]
        off.append(np.abs(np.subtract(curve_minimum(r, found[rows]), curve_minimum(r, reference[rows]))))
    out = {}
    for column, (name, unit) in enumerate((("minimum_position_error", "1"), ("minimum_depth_error", "kcal/mol"))):
        if len(whole):
            x = np.array(off)[:, column]
            about: dict[str, Any] = {"better": "lower", "place": whole, "of": len(lines), "unit": unit}
            out[name] = over_parents(float(x.mean()), x, parents, **about)
    return out


def _share(asked: np.ndarray) -> Metric:
    count = int(asked.sum())
    return Metric(
        value=clopper_pearson(count, len(asked)).value,
        unit="1",
        uncertainty=Interval.of(None, "a count, not a sample"),
        n=len(asked),
        better="neither",
        aggregate="fraction",
    )


def _curves(found: np.ndarray, reference: np.ndarray, asked: np.ndarray, facts: Mapping[str, Any]) -> dict[str, Curve]:
    out = {}
    for name, rows in _lines(facts).items():
        if asked[rows].all():
            series = {"model": rounded(found[rows]), "reference": rounded(reference[rows])}
            x = axis([facts["reactions"][k]["scale"] for k in rows])
            label = "distance over that of the minimum"
            out[f"energy {name}"] = Curve(x_label=label, y_label="energy (kcal/mol)", x=x, series=series)
    return out
