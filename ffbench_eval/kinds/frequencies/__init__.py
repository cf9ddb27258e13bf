"""Harmonic frequencies and zero-point energies at the model's own minima, beside those of the data's theory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..base import Kind, MetricSpec

if TYPE_CHECKING:
    from ...report import TaskReport

METRICS = (
    MetricSpec(
        "frequency_mae",
        "harmonic frequencies, MAE",
        "cm^-1",
        usual=(1e-3, 1e4),
        zero=True,
        columns={"": 0},
        bare="off by {} cm⁻¹",
    ),
    MetricSpec(
        "zero_point_energy_error",
        "zero-point energy, absolute error",
        "eV",
        usual=(1e-7, 10),
        zero=True,
        columns={"": 1},
        function="zero_point_energy",
    ),
    MetricSpec(
        "imaginary_modes", "imaginary modes at a minimum", "1", usual=(0, 100), zero=True, continuous=False, function=""
    ),
    MetricSpec("minimum_rmsd", "distance of the minima, RMSD", "Å", usual=(1e-6, 10), zero=True, function=""),
)


def numbers(task: TaskReport) -> list[str]:
    """What a verdict says."""
    mae, imaginary = task.metrics.get("frequency_mae"), task.metrics.get("imaginary_modes")
    out = [f"harmonic frequencies off by {mae.value:.3g} cm⁻¹"] if mae and mae.value is not None else []
    if imaginary and imaginary.value:
        out.append(f"{sum(v or 0 for v in imaginary.values):g} imaginary modes in {imaginary.n} molecules")
    return out


KIND = Kind(
    name="frequencies",
    about="Harmonic vibrations of molecules at the model's own minimum, beside those of the data's theory.",
    member="molecule",
    members="molecules",
    tolerance=2e-3,
    work="ffbench_eval.kinds.frequencies.work",
    sentence="ffbench_eval.kinds.frequencies:numbers",
    metrics=METRICS,
    weight=0.0,  # no score between a floor and a trivial baseline
)
