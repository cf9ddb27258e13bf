"""A simulation of a liquid held against measured g(r) and diffusivity (`ffbench_data.measured`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers
from pydantic import Field, model_validator

from ffbench_data.measured import Measured, measured
from ffbench_metrics import finite_size_correction, pair_distance_counts, rdf_chi, rdf_error

from ...engine.integrators import INTEGRATORS
from ...engine.run import simulate
from ...engine.trajectory import read_trajectories
from ...report import Curve, Metric, axis, rounded
from ..base import MetricsAndCurves, Progress
from ..dynamics import work as dynamics
from ..dynamics.observables import MIN_FRAMES, OBSERVABLES, element_pairs, n_pairs
from ..statistics import over_replicas

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField

    from ...engine.trajectory import Trajectory
    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task

SHOWN = 200


class Parameters(dynamics.Parameters):
    """Those of molecular dynamics, and which liquid; g(r) is compared between ``r_min`` and ``r_max`` (Å)."""

    observables: list[str] = Field(default_factory=list)
    liquid: str = "water"
    r_min: float = Field(default=2.0, ge=0)
    r_max: float = Field(default=6.0, gt=0)

    @model_validator(mode="after")
    def _known(self) -> Parameters:
        found = measured(self.liquid)
        if INTEGRATORS[self.ensemble].npt:
            raise ValueError("ensemble npt: g(r) and D of a liquid need a cell that does not breathe")
        if not self.r_min < self.r_max <= found.r[-1]:
            raise ValueError(f"r_min {self.r_min:g} and r_max {self.r_max:g}: measured up to {found.r[-1]:g} Å")
        return self


def plan(task: Task, data: TaskData, seed: int) -> list[dict]:
    """As in dynamics; ValueError for data of another liquid, or open along a direction."""
    liquid, frames = task.parameters.liquid, data.frames
    of = {atomic_numbers[s] for pair in measured(liquid).rdf for s in pair.split("-")}
    if not frames.pbc.all() or of != set(frames.atomic_numbers.tolist()):
        raise ValueError(f"dataset {data.used.name} is no periodic {liquid}, of which g(r) was measured; name one")
    return dynamics.plan(task, data, seed)


def calls(task: Task, inputs: dict[str, Any], data: TaskData, model: ForceField) -> tuple[int, float]:
    return dynamics.calls(task, inputs, data, model)


Values = dynamics.Values


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> Values:
    """Nothing is watched but sound numbers: bonds and g(r) of a data set are those of its theory."""
    from ...kinds.seeds import task_seed

    rules = replace(dynamics.protocol(task, data, inputs["replicas"][0]), bonds=(), rdf=None)
    seed = task_seed(task.name)
    outcome = simulate(
        model, dynamics.start(inputs, data), rules, folder, seed=seed, progress=progress, compile=compile
    )
    return {
        "status": ["unstable" if reason else "ok" for reason in outcome.reason],
        "detail": [f"replica {b}: {r} at {outcome.end_ps[b]:.3f} ps" for b, r in enumerate(outcome.reason) if r],
        "force_calls": outcome.force_calls,
        "end_ps": outcome.end_ps,
        "mode": outcome.mode,
        "mode_note": outcome.mode_note,
    }


def measured_rdf(counts: np.ndarray, frames: float, volume: float, pairs: int, spacing: float) -> np.ndarray:
    """g [K] at r = spacing, 2 spacing, ..., in shells one spacing wide around each.

    ``counts`` [2 K + 1]: of bins half as wide, from 0 on; ``pairs`` per frame.
    """
    shells = counts[1:].reshape(-1, 2).sum(1)
    r = spacing * np.arange(1, len(shells) + 1)
    wide = 4 / 3 * np.pi * ((r + spacing / 2) ** 3 - (r - spacing / 2) ** 3)
    return shells * volume / (frames * pairs * wide)


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """Values per replica; one that broke before the end counts as a liquid without structure (g = 1)."""
    p, liquid = task.parameters, measured(task.parameters.liquid)
    found = [
        (t, end)
        for r in results
        if "end_ps" in r.values
        for t, end in zip(read_trajectories(r.folder, replicas=len(r.status)), r.values["end_ps"])
    ]
    if not found:
        return {}, {}
    whole = [end >= p.length_ps - 1e-9 for _, end in found]
    kept = [t.between(p.skip_ps, end) for t, end in found]
    sound = [w and len(t) >= MIN_FRAMES for w, t in zip(whole, kept)]
    metrics, curves = _structure(kept, sound, p, liquid)
    metrics |= _diffusivity(kept, sound, data, p, liquid)
    metrics |= OBSERVABLES["temperature"](kept, data, p, None)[0]
    return metrics, curves


def _window(p: Parameters, liquid: Measured) -> np.ndarray:
    return (liquid.r >= p.r_min - 1e-9) & (liquid.r <= p.r_max + 1e-9)


def _structure(kept: list[Trajectory], sound: list[bool], p: Parameters, liquid: Measured):
    metrics: dict[str, Metric] = {}
    curves: dict[str, Curve] = {}
    window, spacing = _window(p, liquid), float(liquid.r[1] - liquid.r[0])
    top = int(np.flatnonzero(window)[-1]) + 1
    groups = [element_pairs(t.numbers) for t in kept]
    for pair in (name for name in liquid.rdf if any(name in found for found in groups)):
        g0, error = (v[:top] for v in liquid.rdf[pair])
        inside = window[:top]
        curve = []
        for t, fine, found in zip(kept, sound, groups):
            if not fine:
                continue
            a, b = found[pair]
            counts = pair_distance_counts(
                t.positions.astype(float), t.cell, index_a=a, index_b=None if a is b else b,
                r_max=(top + 0.5) * spacing, bins=2 * top + 1,
            ).sum(0)  # fmt: skip
            curve.append(measured_rdf(counts, len(t), abs(np.linalg.det(t.cell)), n_pairs(a, b), spacing))
        trivial = _gaps(np.ones(top), g0, error, inside, spacing)
        waiting = iter(curve)
        gaps = [_gaps(next(waiting), g0, error, inside, spacing) if fine else trivial for fine in sound]
        for k, (name, unit) in enumerate((("rdf_chi", "1"), ("rdf_measured_error", "Å"))):
            made = over_replicas([g[k] for g in gaps], unit=unit, trivial=trivial[k])
            metrics[f"{name}_{pair}"] = made.noted(_about(p, liquid, kept, sound))
        series = {"measured": rounded(g0)}
        if curve:
            series = {"model": rounded(np.mean(curve, axis=0)), **series}
        curves[f"rdf_{pair}"] = Curve(
            x_label=f"{pair} distance r (Å)", y_label="g(r)", x=axis(liquid.r[:top]), series=series,
            note=liquid.source["rdf"],
        )  # fmt: skip
    return metrics, curves


def _gaps(g: np.ndarray, g0: np.ndarray, error: np.ndarray, inside: np.ndarray, spacing: float) -> tuple[float, float]:
    chi = float(rdf_chi(g[inside], g0[inside], error[inside]))
    return chi, float(rdf_error(g[inside], g0[inside], r_max=inside.sum() * spacing))


def _edge(t: Trajectory) -> float:
    """Of a cube as large as the cell, Å."""
    return float(abs(np.linalg.det(t.cell)) ** (1 / 3))


def _boxes(kept: Sequence[Trajectory]) -> str:
    return " and ".join(dict.fromkeys(f"{_edge(t):.2f}" for t in kept))


def _about(p: Parameters, liquid: Measured, kept: Sequence[Trajectory], sound: list[bool]) -> str:
    said = [f"{p.temperature_K:g} K in a box of {_boxes(kept)} Å against {liquid.temperature_K:g} K measured"]
    broken = len(sound) - sum(sound)
    if broken:
        said.append(f"{broken} of {len(sound)} replicas broke and count as a liquid without structure")
    return "; ".join(said)


def _diffusivity(
    kept: list[Trajectory], sound: list[bool], data: TaskData, p: Parameters, liquid: Measured
) -> dict[str, Metric]:
    """D as the dynamics kind fits it, plus what the box takes off (Yeh and Hummer) with the measured viscosity."""
    whole = [t for t, fine in zip(kept, sound) if fine]
    made = OBSERVABLES["diffusivity"](whole or kept, data, p, None)[0]
    plain = made["diffusivity"]
    why = plain.not_scored or ("" if whole else "no replica ran to the end")
    viscosity = float("nan")
    try:
        viscosity = liquid.viscosity_at(p.temperature_K)
    except ValueError as error:
        why = why or f"no viscosity to correct it with: {error}"
    if why or plain.value is None:
        return {
            "diffusivity_corrected": Metric(value=None, unit="m^2/s", better="neither", not_scored=why),
            "diffusivity_error": Metric(value=None, unit="1", not_scored=why),
        }
    more = [finite_size_correction(p.temperature_K, viscosity, _edge(t)) for t in whole]
    corrected = iter([None if v is None else v + m for v, m in zip(plain.values, more)])
    values = [next(corrected) if fine else None for fine in sound]  # a replica that broke has none
    off = [None if v is None else abs(v - liquid.diffusivity) / liquid.diffusivity for v in values]
    added = " and ".join(dict.fromkeys(f"{m:.3g}" for m in more))
    note = (
        f"with {added} m^2/s of Yeh and Hummer for {_boxes(whole)} Å and {viscosity:.3g} Pa s, the measured viscosity; "
        f"experiment {liquid.diffusivity:.3g} m^2/s at {liquid.temperature_K:g} K"
    )
    broken = len(sound) - len(whole)
    note += f"; {broken} of {len(sound)} replicas broke and have no diffusivity" if broken else ""
    return {
        "diffusivity_corrected": over_replicas(values, unit="m^2/s", better="neither").noted(note),
        "diffusivity_error": over_replicas(off, unit="1").noted(note),
    }


def anchors(task: Task, data: TaskData) -> dict[str, Metric]:
    """What a liquid without structure scores: of the measurement alone."""
    p, liquid = task.parameters, measured(task.parameters.liquid)
    inside, spacing = _window(p, liquid), float(liquid.r[1] - liquid.r[0])
    out = {}
    for pair, (g0, error) in liquid.rdf.items():
        chi, integral = _gaps(np.ones(len(g0)), g0, error, inside, spacing)
        out[f"rdf_chi_{pair}"] = Metric(value=None, unit="1", not_scored="anchor", trivial=chi)
        out[f"rdf_measured_error_{pair}"] = Metric(value=None, unit="Å", not_scored="anchor", trivial=integral)
    return out
