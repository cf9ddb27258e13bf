"""Speed: steps per second of the model alone and in the engine, beside a reference kernel timed in the same job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from ...report import Interval, Metric
from ..base import Better, MetricsAndCurves, Progress, UnitValues
from ..dynamics import work as molecular_dynamics

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField

    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task


class Parameters(molecular_dynamics.Parameters):
    """Those of molecular dynamics; ``length_ps`` decides whether compiling pays off."""

    observables: list[str] = Field(default_factory=list)


def plan(task: Task, data: TaskData, seed: int) -> list[dict]:
    return molecular_dynamics.plan(task, data, seed)


def calls(task: Task, inputs: dict[str, Any], data: TaskData, model: ForceField) -> tuple[int, float]:
    return len(inputs["replicas"]), 150.0


class Values(UnitValues, total=False):
    call_s: float
    step_s: float
    kernel_s: float
    steps_per_s: float
    ns_per_day: float


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> Values:
    from ...engine.cost import measure_speed

    start, rules = (
        molecular_dynamics.start(inputs, data),
        molecular_dynamics.protocol(task, data, inputs["replicas"][0]),
    )
    speed = measure_speed(model, start, rules, compile=compile)
    broken = [f"replica {b}: {why}" for b, why in enumerate(speed.reason) if why]
    if broken:
        said = "the steps that were to be timed broke, and one that stands still has no speed"
        return {"status": ["model_error"] * len(inputs["replicas"]), "detail": [said, *broken], "force_calls": 0}
    return {
        "status": ["ok"] * len(inputs["replicas"]),
        "force_calls": 0,
        "mode": speed.mode,
        "call_s": speed.call_s,
        "step_s": speed.step_s,
        "kernel_s": speed.kernel_s,
        "steps_per_s": speed.steps_per_s,
        "ns_per_day": speed.ns_per_day,
    }


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """Timings belong to a machine: what compares is the last number, steps per time of the reference kernel.

    Several units (replicas of several systems, or one at a time) are one after the other.
    """
    timed = [r for r in results if "step_s" in r.values]
    done: list[Values] = [r.values for r in timed]
    if not done:
        return {}, {}
    replicas = sum(len(r.status) for r in timed)
    step, call = sum(v["step_s"] for v in done), sum(v["call_s"] for v in done)
    kernel = float(np.mean([v["kernel_s"] for v in done]))
    rate = replicas / step
    note = "one job on one machine: medians of interleaved rounds"

    def metric(value: float, unit: str, better: Better) -> Metric:
        return Metric(
            value=value,
            unit=unit,
            better=better,
            n=1,
            uncertainty=Interval(method="one_job", reason=note),
            values=[value],
        )

    return {
        "steps_per_second": metric(rate, "replica steps/s", "higher"),
        "ns_per_day": metric(rate * task.parameters.time_step_fs * 86400e-6, "ns/day", "higher"),
        "engine_over_call": metric(step / call, "1", "lower"),
        "steps_per_kernel": metric(rate * kernel, "1", "higher"),
    }, {}
