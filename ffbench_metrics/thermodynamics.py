"""Temperature and heat capacity: is the simulated ensemble the one that was asked for?"""

from typing import Any, NamedTuple

import numpy as np

from ffbench_metrics._check import at_least, checked, positive, whole

BOLTZMANN = 8.617333262e-5  # eV/K
_KINETIC_UNIT = 1.0364269652680505e-4  # eV per amu (Å/ps)^2


class TemperatureTest(NamedTuple):
    """Mean and variance of the kinetic temperature against the canonical ones, and a Kolmogorov-Smirnov p value."""

    mean: float  # K
    variance_ratio: float  # sampled variance / (2 T^2 / dof)
    p_value: float  # NaN for fewer than 10 samples
    samples: int  # effectively independent samples behind the p value


def kinetic_temperature(velocities: Any, masses: Any, *, degrees_of_freedom: int | None = None) -> np.ndarray:
    """Kinetic temperature of every frame, 2 E_kin / (dof kB).

    Args:
        velocities: [T, N, 3] Å/ps.
        masses: [N] amu.
        degrees_of_freedom: None: 3 N. 3 N - 3 with the total momentum removed, 3 N - 6 with the rotation too.

    Returns:
        [T] K.

    Example:
        >>> kinetic_temperature(np.full((1, 1, 3), 2.5), [39.948]).round(1)
        array([300.3])
    """
    sizes: dict[str, int] = {}
    v = checked("velocities", velocities, "T N 3", sizes).astype(np.float64)
    m = checked("masses", masses, "N", sizes).astype(np.float64)
    if m.min() <= 0:
        raise ValueError("masses must all be positive")
    dof = 3 * len(m) if degrees_of_freedom is None else whole("degrees_of_freedom", degrees_of_freedom)
    return np.einsum("tnc,tnc,n->t", v, v, m) * (_KINETIC_UNIT / (dof * BOLTZMANN))


def maxwell_boltzmann_test(temperature: Any, target: float, *, degrees_of_freedom: int) -> TemperatureTest:
    """Kinetic temperatures of a run against the canonical distribution: T dof / T_0 follows chi^2 with dof degrees.

    Args:
        temperature: [T] K, kinetic temperature of frames at equal spacing.
        target: K.
        degrees_of_freedom: as the thermostat counts them.

    Returns:
        `TemperatureTest(mean, variance_ratio, p_value, samples)`: best target, 1, and a p value that is not small. The
        frames are thinned by their autocorrelation time first, since the test needs independent samples; of fewer than
        10 the p value is NaN (constant temperatures, of one sample, would pass it).

    Source: Shirts, J. Chem. Theory Comput. 9, 909 (2013); scipy `kstest`.

    Example:
        >>> t = 300 * np.random.default_rng(0).chisquare(30, 2000) / 30
        >>> maxwell_boltzmann_test(t, 300.0, degrees_of_freedom=30).p_value > 0.01
        True
    """
    from scipy.stats import chi2, kstest

    from ffbench_metrics.statistics import autocorrelation_time

    t = checked("temperature", temperature, "T").astype(np.float64)
    at_least("temperature", len(t), 10, "frames")
    positive("target", target)
    dof = whole("degrees_of_freedom", degrees_of_freedom)
    thin = t[:: int(np.ceil(autocorrelation_time(t)))]
    p_value = float(kstest(thin * dof / target, chi2(dof).cdf).pvalue) if len(thin) >= 10 else float("nan")
    return TemperatureTest(float(t.mean()), float(t.var() / (2.0 * target**2 / dof)), p_value, len(thin))


def heat_capacity(energy: Any, temperature: float, *, n_atoms: int = 1) -> float:
    """Heat capacity at constant volume from the fluctuations of the total energy in a canonical run.

    Args:
        energy: [T] total energy, eV.
        temperature: K.
        n_atoms: to divide by.

    Returns:
        In kB per atom, var(E) / (kB T)^2 / N; 3 for a classical harmonic crystal.

    Source: Allen and Tildesley, eq. 2.80. Intervals: `block_bootstrap`.

    Example:
        >>> kt = 8.617333262e-5 * 300
        >>> e = np.random.default_rng(0).gamma(30, kt, 200_000)  # 10 harmonic atoms
        >>> round(heat_capacity(e, 300.0, n_atoms=10), 1)
        3.0
    """
    e = checked("energy", energy, "T").astype(np.float64)
    at_least("energy", len(e), 2, "frames")
    kt = BOLTZMANN * positive("temperature", temperature)
    return float(e.var(ddof=1) / kt**2 / whole("n_atoms", n_atoms))
