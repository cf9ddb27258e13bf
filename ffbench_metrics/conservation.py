"""Does the simulation conserve what it should? Energy drift in NVE, and forces against the energy along a path."""

from typing import Any, NamedTuple

import numpy as np

from ffbench_metrics._check import at_least, checked, positive, whole


class EnergyDrift(NamedTuple):
    """Drift of a conserved energy: a line through it, and what is left after the line."""

    slope: float  # eV per ps per atom
    slope_error: float  # one standard error of the slope, eV per ps per atom, for correlated residuals
    rms_fluctuation: float  # eV per atom, about the line


def nve_drift(energy: Any, dt: float, *, n_atoms: int = 1) -> EnergyDrift:
    """Drift and fluctuation of the total energy of an NVE run.

    Velocity Verlet's energy oscillation scales as dt^2 while its secular drift is zero for conservative forces: a slope
    beyond its error tells of non-conservative forces, a cutoff that is not smooth, or too large a time step.

    Args:
        energy: [T] total (potential + kinetic) or otherwise conserved energy, eV.
        dt: time between samples, ps.
        n_atoms: number of atoms to divide by.

    Returns:
        `EnergyDrift(slope, slope_error, rms_fluctuation)`: eV/ps/atom, eV/ps/atom and eV/atom; best 0.

    Raises:
        ValueError: fewer than three samples.

    Source: least-squares line; its error is scaled by the correlation time of the residuals (`autocorrelation_time`).

    Example:
        >>> drift = nve_drift(0.5 * np.arange(100) * 0.01, 0.01, n_atoms=10)
        >>> round(drift.slope, 6), round(drift.rms_fluctuation, 6)
        (0.05, 0.0)
    """
    from ffbench_metrics.statistics import autocorrelation_time

    e = checked("energy", energy, "T").astype(np.float64)
    at_least("energy", len(e), 3, "samples")
    atoms = whole("n_atoms", n_atoms)
    time = np.arange(len(e)) * positive("dt", dt)
    centred = time - time.mean()
    e = e - e.mean()
    slope = float(centred @ e / (centred @ centred))
    rest = e - slope * centred
    rms = float(np.sqrt(np.mean(rest**2)))
    correlated = autocorrelation_time(rest) if rms > 1e-13 * np.abs(e).max() else 1.0
    variance = np.sum(rest**2) / (len(e) - 2) / float(centred @ centred) * correlated
    return EnergyDrift(slope / atoms, float(np.sqrt(variance)) / atoms, rms / atoms)


def conservativeness(energy: Any, forces: Any, positions: Any, *, start: int = 0) -> float:
    """Largest disagreement between the energy change along a path and the work of the forces.

    max_k |E_k - E_start + integral from start to k of F . dx|, with the trapezoid rule on the given points.

    Args:
        energy: [K] eV.
        forces: [K, N, 3] eV/Å.
        positions: [K, N, 3] Å along the path (a bond scan, a trajectory).
        start: point where both are set equal (the minimum of a scan).

    Returns:
        eV, at least 0, best 0. The rule's own error falls with the square of the spacing: use a fine path (for BSCT
        four
        times the published 100 points) and show the reference's own value beside it (DFT at 100 points: 0.065 eV).

    Example:
        >>> x = np.linspace(-1, 1, 101)
        >>> path = np.zeros((101, 1, 3)); path[:, 0, 0] = x
        >>> conservativeness(x**2, -2 * path, path) < 1e-12
        True
    """
    sizes: dict[str, int] = {}
    e = checked("energy", energy, "K", sizes).astype(np.float64)
    f = checked("forces", forces, "K N 3", sizes).astype(np.float64)
    x = checked("positions", positions, "K N 3", sizes).astype(np.float64)
    at_least("energy", len(e), 2, "points")
    if not 0 <= start < len(e):
        raise ValueError(f"start must lie between 0 and {len(e) - 1}, got {start}")
    steps = 0.5 * ((f[1:] + f[:-1]) * np.diff(x, axis=0)).sum(axis=(1, 2))
    work = np.concatenate([[0.0], np.cumsum(steps)])
    total = e + work
    return float(np.abs(total - total[start]).max())
