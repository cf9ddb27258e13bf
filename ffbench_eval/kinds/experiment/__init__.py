"""The model's liquid beside what was measured: whatever its theory, nature is the same."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from ..base import Kind, MetricSpec
from ..dynamics import TEMPERATURES

if TYPE_CHECKING:
    from ...report import TaskReport

METRICS = (
    MetricSpec(
        "rdf_chi",
        "g(r) off by experimental errors",
        "1",
        usual=(0.1, 1e4),
        parts={},
        join=" ",
        nothing="a liquid without structure",
        curve="rdf_{}",
        columns={"*": 0},
    ),
    MetricSpec(
        "rdf_measured_error",
        "g(r) against experiment, integral",
        "Å",
        usual=(1e-4, 1e2),
        parts={},
        join=" ",
        nothing="a liquid without structure",
        function="rdf_error",
    ),
    MetricSpec(
        "diffusivity_corrected",
        "diffusivity of an infinite box",
        "m^2/s",
        "neither",
        usual=(-1e-7, 1e-6),
        low=-inf,
        zero=True,
        function="finite_size_correction",
    ),
    MetricSpec(
        "diffusivity_error",
        "diffusivity against experiment, relative",
        "1",
        usual=(0, 1e3),
        zero=True,
        columns={"": 1},
        function="diffusivity",
    ),
    *TEMPERATURES,
)


def numbers(task: TaskReport) -> list[str]:
    """What a verdict says."""
    chi = {name.removeprefix("rdf_chi_"): m.value for name, m in task.metrics.items() if name.startswith("rdf_chi_")}
    said = ", ".join(f"{value:.3g} ({pair})" for pair, value in chi.items() if value is not None)
    out = [f"g(r) is off by {said} experimental errors on average"] if said else []
    d = task.metrics.get("diffusivity_corrected")
    return [*out, f"D of an infinite box {d.value:.3g} m²/s"] if d and d.value is not None else out


KIND = Kind(
    name="experiment",
    about="The model's liquid beside what was measured, so for every theory. Nuclei move classically here: what their "
    "quantum motion broadens (bonds, hydrogen at contact) is out of reach.",
    member="replica",
    members="replicas",
    theory=False,
    simulation=True,
    compiled=True,
    subject="water",
    work="ffbench_eval.kinds.experiment.work",
    sentence="ffbench_eval.kinds.experiment:numbers",
    metrics=METRICS,
    weight=0.0,  # no score between a floor and a trivial baseline
)
