"""Speed: steps per second of the model alone and in the engine, beside a reference kernel timed in the same job."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ..report import Metric
from . import molecular_dynamics


class Parameters(molecular_dynamics.Parameters):
    """Those of molecular dynamics; ``length_ps`` decides whether compiling pays off."""

    observables: list[molecular_dynamics.Observable] = Field(default_factory=list)


def plan(task, data, seed: int) -> list[dict]:
    return molecular_dynamics.plan(task, data, seed)


def calls(task, inputs, data, model) -> tuple[int, float]:
    return len(inputs["replicas"]), 150.0


def run_unit(task, inputs, data, model, folder, progress, compile="auto") -> dict[str, Any]:
    from ..engine.cost import measure_speed

    start, rules = molecular_dynamics.start(inputs, data), molecular_dynamics.protocol(task, data)
    speed = measure_speed(model, start, rules, compile=compile)
    values = {k: getattr(speed, k) for k in ("call_s", "step_s", "kernel_s", "steps_per_s", "ns_per_day")}
    replicas = len(inputs["replicas"])
    return {"status": ["ok"] * replicas, "force_calls": 0, "mode": speed.mode, **values}


def score(task, results, data) -> tuple[dict[str, Metric], dict]:
    """Timings belong to a machine: what compares is the last number, steps per time of the reference kernel."""
    rows = [r.values for r in results if "step_s" in r.values]
    if not rows:
        return {}, {}
    v, note = rows[0], "one job on one machine: medians of interleaved rounds"

    def metric(value: float, unit: str, better: str) -> Metric:
        return Metric(value=value, unit=unit, better=better, n=1, interval_note=note, values=[value])

    replicas = len(results[0].status)
    return {
        "steps_per_second": metric(v["steps_per_s"], "replica steps/s", "higher"),
        "ns_per_day": metric(v["ns_per_day"], "ns/day", "higher"),
        "engine_over_call": metric(v["step_s"] / v["call_s"], "1", "lower"),
        "steps_per_kernel": metric(replicas * v["kernel_s"] / v["step_s"], "1", "higher"),
    }, {}
