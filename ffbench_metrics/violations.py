"""Errors against the truth on the model's own trajectory, where a reference potential can be asked."""

from typing import Any, NamedTuple

import numpy as np

from ffbench_metrics._check import at_least, checked, positive, whole


class OnTrajectoryError(NamedTuple):
    """Force error along a model's own trajectory: in time blocks, overall, and against the test split."""

    time: np.ndarray  # [B] ps, middle of each block
    force_mae: np.ndarray  # [B] eV/Å
    overall: float  # eV/Å
    ratio: float  # overall / error on the test split


def energy_violation(energy: Any, reference_energy: Any, *, scale: float | None = None) -> np.ndarray:
    """Energy violation (EV) per frame: error of the energy change since the first frame, in reference deviations.

    Absolute total energies would make any relative deviation vanish, so only changes are compared.

    Args:
        energy: [T] eV, the model on its own frames.
        reference_energy: [T] eV, the reference potential on the same frames.
        scale: eV, standard deviation of the reference energy in equilibrium (reference data). None: of
            `reference_energy` itself, with T >= 2.

    Returns:
        [T] dimensionless, at least 0 (0 in the first frame), best 0. Report the median with an interval.

    Source: after Bihani et al. (EGraFFBench), Digital Discovery 2024, restated on single points of the reference.

    Example:
        >>> energy_violation([0.0, 1.0, 2.0], [10.0, 11.0, 11.0], scale=0.5)
        array([0., 0., 2.])
    """
    sizes: dict[str, int] = {}
    e = checked("energy", energy, "T", sizes).astype(np.float64)
    reference = checked("reference_energy", reference_energy, "T", sizes).astype(np.float64)
    if scale is None:
        at_least("reference_energy", len(reference), 2, "frames (or give scale)")
        scale = float(reference.std())
        if scale == 0.0:
            raise ValueError("reference_energy is constant; give scale, the deviation of the reference data in eV")
    return np.abs((e - e[0]) - (reference - reference[0])) / positive("scale", scale)


def force_violation(forces: Any, reference_forces: Any) -> np.ndarray:
    """Force violation (FV) per frame: |F - F_ref| / (|F| + |F_ref|) over the 3N vector.

    Args:
        forces, reference_forces: [T, N, 3] eV/Å on the model's own frames.

    Returns:
        [T] from 0 (best) to 1; 0 where both norms are below 1e-6 eV/Å. Report the median with an interval, and the
        on-trajectory force error beside it.

    Source: after Bihani et al. (EGraFFBench), Digital Discovery 2024.

    Example:
        >>> force_violation([[[1.0, 0, 0]], [[0, 0, 0]]], [[[3.0, 0, 0]], [[0, 0, 0]]])
        array([0.5, 0. ])
    """
    f, reference = _forces(forces, reference_forces)
    norms = [np.sqrt(np.square(x).sum(axis=(1, 2))) for x in (f, reference, f - reference)]
    still = (norms[0] < 1e-6) & (norms[1] < 1e-6)
    return np.where(still, 0.0, norms[2] / np.where(still, 1.0, norms[0] + norms[1]))


def on_trajectory_error(
    forces: Any, reference_forces: Any, dt: float, *, test_force_mae: float, blocks: int = 10
) -> OnTrajectoryError:
    """Force error on frames of the model's own simulation, as a function of time and against the test split.

    Args:
        forces, reference_forces: [T, N, 3] eV/Å, model and reference on the model's frames.
        dt: time between these frames, ps.
        test_force_mae: eV/Å on the test split.
        blocks: number of time blocks (at most T).

    Returns:
        `OnTrajectoryError(time, force_mae, overall, ratio)`: a ratio near 1 means the model stays where it is good,
        growth before a failure says when trust was lost.

    Source: this benchmark.

    Example:
        >>> f = np.ones((4, 2, 3))
        >>> result = on_trajectory_error(f, 0.9 * f, 0.5, test_force_mae=0.05, blocks=2)
        >>> result.time, round(result.ratio, 6)
        (array([0.25, 1.25]), 2.0)
    """
    f, reference = _forces(forces, reference_forces)
    per_frame = np.abs(f - reference).mean(axis=(1, 2))
    time = np.arange(len(per_frame)) * positive("dt", dt)
    parts = np.array_split(np.arange(len(per_frame)), min(whole("blocks", blocks), len(per_frame)))
    overall = float(per_frame.mean())
    return OnTrajectoryError(
        np.array([time[part].mean() for part in parts]),
        np.array([per_frame[part].mean() for part in parts]),
        overall,
        overall / positive("test_force_mae", test_force_mae),
    )


def _forces(forces: Any, reference_forces: Any) -> tuple[np.ndarray, np.ndarray]:
    sizes: dict[str, int] = {}
    f = checked("forces", forces, "T N 3", sizes).astype(np.float64)
    return f, checked("reference_forces", reference_forces, "T N 3", sizes).astype(np.float64)
