"""The free energy of two dihedrals, from the hills of metadynamics, against the reference's surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...engine.units import KJ_PER_MOL
from ...report import Curve, Floor, axis, rounded
from ..base import MetricsAndCurves
from ..statistics import over_replicas
from .observables import Hills, density_curve

if TYPE_CHECKING:
    from ...engine.trajectory import Trajectory
    from ...run.data import TaskData
    from .work import Parameters


def free_energy(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills) -> MetricsAndCurves:
    """F(phi, psi) from the hills before failure: mean |F - F_ref| where F_ref < 20 kJ/mol, per replica and marginal."""
    from ffbench_metrics import (
        free_energy_error,
        free_energy_from_hills,
        free_energy_integral_error,
        free_energy_marginal,
    )

    bias, truth = p.metadynamics, data.reference
    assert bias is not None  # `Parameters` asks for it
    assert truth is not None  # `plan` does
    reference = truth.free_energy

    def surface(rows: np.ndarray):
        width = np.full((len(rows), 2), bias.sigma_rad)
        return free_energy_from_hills(
            np.column_stack([rows[:, :2], width, rows[:, 2]]), temperature=p.temperature_K, bias_factor=bias.bias_factor
        )

    surfaces: list[np.ndarray | None] = []
    for t, rows in zip(stable, hills):
        if rows is None:
            surfaces.append(None)
            continue
        end = t.time_ps[-1] if len(t) else 0.0
        before = rows[: int(end / bias.every_ps + 1e-9)]
        scaled = np.column_stack([before[:, :2], before[:, 2] / KJ_PER_MOL])
        surfaces.append(surface(scaled) if len(before) else None)
    errors = [None if s is None else float(free_energy_error(s, reference)) for s in surfaces]
    count = int(p.length_ps / bias.every_ps + 1e-9)
    try:
        runs = [h[:count] for h in truth.hills if len(h) >= count]
    except FileNotFoundError:
        runs = []
    limits = None
    if len(runs) >= 20:
        spread = [float(free_energy_error(surface(h), reference)) for h in runs]
        limits = Floor(
            median=float(np.median(spread)),
            p95=float(np.quantile(spread, 0.95)),
            runs=len(spread),
            length_ps=p.length_ps,
        )
    metrics = {
        "free_energy_error": over_replicas(
            errors, unit="kJ/mol", floor=limits, trivial=float(free_energy_error(np.zeros_like(reference), reference))
        )
    }
    known = [s for s in surfaces if s is not None]
    grid = -np.pi + np.arange(len(reference)) * (2 * np.pi / len(reference))
    curves = {"free_energy_surface_reference": _surface(grid, reference)}
    mean = np.mean(known, axis=0) if known else None
    if mean is not None:
        mean = mean - mean.min()
        curves["free_energy_surface"] = _surface(grid, mean)
    for kept, name in enumerate(("phi", "psi")):

        def marginal(f: np.ndarray, kept: int = kept):
            return free_energy_marginal(f, axis=kept, temperature=p.temperature_K)

        series = {"reference": marginal(reference)}
        if mean is not None:
            series = {"model": marginal(mean), **series}
            published = [
                None if s is None else free_energy_integral_error(marginal(s), series["reference"]) for s in surfaces
            ]
            metrics[f"free_energy_integral_error_{name}"] = over_replicas(published, unit="kJ/mol rad")
        curves[f"free_energy_{name}"] = density_curve(grid, series, f"{name} (rad)", f"F({name}) (kJ/mol)")
    return metrics, curves


def _surface(grid: np.ndarray, values: np.ndarray) -> Curve:
    """Every other grid point, one series per psi."""
    return Curve(
        kind="surface",
        x_label="phi (rad)",
        y_label="psi (rad)",
        x=axis(grid[::2], 4),
        series={f"{grid[k]:.4g}": rounded(values[::2, k], 4) for k in range(0, len(grid), 2)},
        note="F in kJ/mol",
    )
