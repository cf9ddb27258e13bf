"""Vibrational density of states: the spectrum of the velocities of a simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..base import MetricsAndCurves
from ..statistics import over_replicas
from .observables import MIN_FRAMES, density_curve

if TYPE_CHECKING:
    from ...engine.trajectory import Trajectory
    from ...run.data import TaskData
    from .observables import Hills
    from .work import Parameters

LONGEST_PS = 2.0  # of the autocorrelation: a resolution of 8 cm^-1
DENSEST_FS = 4.0  # between saved frames: up to 4170 cm^-1


def vibrational_spectrum(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills) -> MetricsAndCurves:
    """Mean wavenumber of the mass-weighted spectrum of every replica; the curve is the mean spectrum. Data sets hold no
    velocities to compare with."""
    from ase.data import atomic_masses

    from ffbench_metrics import velocity_autocorrelation
    from ffbench_metrics import vibrational_spectrum as of

    values: list[float | None] = []
    spectra: list[tuple[np.ndarray, np.ndarray]] = []
    for t in stable:
        if len(t) < MIN_FRAMES or t.velocities is None:
            values.append(None)
            continue
        dt = float(t.time_ps[1] - t.time_ps[0])
        lags = max(2, min(len(t) // 2, round(LONGEST_PS / dt)))
        found = velocity_autocorrelation(t.velocities, masses=atomic_masses[t.numbers], max_lag=lags)
        wavenumber, intensity = of(found, dt)
        values.append(float(np.average(wavenumber, weights=np.abs(intensity))))
        spectra.append((wavenumber, intensity))
    metrics = {"vibrational_mean": over_replicas(values, unit="cm^-1", better="neither")}
    longest = [s for s in spectra if len(s[0]) == max(len(w) for w, _ in spectra)]
    if not longest:
        return metrics, {}
    mean = np.mean([intensity for _, intensity in longest], axis=0)
    curve = density_curve(longest[0][0], {"model": mean}, "wavenumber (1/cm)", "density of states (cm)")
    return metrics, {"vibrational_spectrum": curve}
