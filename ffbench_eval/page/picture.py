"""The one drawing of a task that shows its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..kinds import all_kinds, find_metric
from ..report import TaskReport
from .answer import Answer
from .svg.charts import Chart, line
from .svg.lifetimes import lifetimes


def picture(task: TaskReport, found: Answer, drawn: Sequence[Chart]) -> Chart | None:
    """For a simulation that broke or went astray how long each replica held; else the curve of the deciding metric,
    which its spec names; else the first one drawn."""
    stable, trusted = task.metrics.get("stable_time"), task.metrics.get("trusted_time")
    length = task.parameters.get("length_ps")
    if found.metric in ("stable_time", "trusted_time") and stable and isinstance(length, int | float):
        svg = lifetimes(stable.values, trusted.values if trusted else [], float(length))
        if svg:
            return Chart("lifetimes", "How long each replica held", svg)
    spec = find_metric(found.metric)
    start = spec[0].curve.format(spec[1]) if spec and spec[0].curve else ""
    shown = [c for c in drawn if c.svg]
    chosen = next((c for c in shown if start and c.name.startswith(start)), shown[0] if shown else None)
    return _of_the_lead(task, chosen) if chosen else None


def _of_the_lead(task: TaskReport, chosen: Chart) -> Chart:
    """Of many sources the one that stands for the model, between the best and the worst that a source can be."""
    kind, curve = all_kinds().get(task.kind), task.curves[chosen.name]
    if kind is None or not task.headline:
        return chosen
    lead = kind.short.get(task.headline, task.headline.replace("_", " "))
    kept = {n: curve.series[n] for n in (lead, *kind.bounds) if n in curve.series}
    if lead not in kept or len(kept) == len(curve.series):
        return chosen
    return replace(chosen, svg=line(chosen.name, curve.model_copy(update={"series": kept})), part=True)
