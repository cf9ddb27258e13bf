"""Free-energy surfaces of one or two dihedral angles: from samples, from metadynamics hills; marginals and errors.

Grid points lie at -pi + k 2 pi / bins, energies are in kJ/mol with a minimum of 0, surfaces are indexed [phi, psi].
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ffbench_metrics._check import checked, choice, positive, real, whole

GAS_CONSTANT = 8.31446261815324e-3  # kJ/mol/K
_TWO_PI = 2.0 * np.pi
_HILL_FIELDS = ("phi", "psi", "sigma_phi", "sigma_psi", "height")
_PLUMED_COLUMNS = ("time", *_HILL_FIELDS, "biasf")


def angle_grid(bins: int = 60) -> np.ndarray:
    """Grid points [bins] rad, -pi + k 2 pi / bins.

    Example:
        >>> angle_grid(4)
        array([-3.14159265, -1.57079633,  0.        ,  1.57079633])
    """
    return -np.pi + np.arange(whole("bins", bins)) * (_TWO_PI / bins)


def free_energy_surface(
    angles: Any, *, temperature: float, bins: int = 60, weights: Any = None, empty: float | None = None
) -> np.ndarray:
    """Free-energy surface F = -kT ln p from samples of one or two angles.

    Args:
        angles: [n, 2] (phi, psi) or [n] rad, any period; each sample is counted at its nearest grid point.
        temperature: K.
        bins: grid points per angle.
        weights: [n] at least 0 (`reweighting_weights`), None: equal.
        empty: kJ/mol for grid points without a sample; None: infinite, as the logarithm says.

    Returns:
        [bins, bins] or [bins] kJ/mol, indexed [phi, psi], minimum 0.

    Example:
        >>> f = free_energy_surface([-np.pi, -np.pi, -np.pi, 0.0], temperature=300.0, bins=2)
        >>> f.round(3)  # kT ln 3
        array([0.  , 2.74])
    """
    ndim = np.ndim(angles)
    x = checked("angles", angles, "n" if ndim == 1 else "n 2").astype(np.float64).reshape(len(angles), -1)
    points = whole("bins", bins)
    w = None if weights is None else checked("weights", weights, "n", {"n": len(x)}).astype(np.float64)
    if w is not None and (w.min() < 0 or w.sum() <= 0):
        raise ValueError("weights must not be negative and not all 0")
    cells = np.round((x + np.pi) * (points / _TWO_PI)).astype(np.int64) % points
    flat = np.ravel_multi_index(tuple(cells.T), (points,) * x.shape[1])
    histogram = np.bincount(flat, weights=w, minlength=points ** x.shape[1]).reshape((points,) * x.shape[1])
    return free_energy_from_counts(histogram, temperature=temperature, empty=empty)


def free_energy_from_counts(counts: Any, *, temperature: float, empty: float | None = None) -> np.ndarray:
    """F = -kT ln p, kJ/mol with minimum 0, from a histogram of any shape; arguments as in `free_energy_surface`.

    Example:
        >>> free_energy_from_counts([1, 3, 0], temperature=300.0, empty=40.0).round(3)
        array([ 2.74,  0.  , 40.  ])
    """
    histogram = real("counts", counts).astype(np.float64)
    if histogram.size == 0 or not np.isfinite(histogram).all() or histogram.min() < 0 or histogram.max() <= 0:
        raise ValueError("counts must be a histogram: finite, not negative, with at least one sample")
    kt = GAS_CONSTANT * positive("temperature", temperature)
    filled = histogram > 0
    f = np.full(histogram.shape, np.inf if empty is None else float(empty))
    f[filled] = kt * (np.log(histogram.max()) - np.log(histogram[filled]))
    return f


def free_energy_from_hills(
    hills: Any, *, temperature: float, bias_factor: float, bins: int = 60, scaled: bool | None = None
) -> np.ndarray:
    """Free-energy surface of phi and psi from the Gaussians of a well-tempered metadynamics run.

    F(s) = - gamma / (gamma - 1) sum_k h_k exp(-sum_i (s_i - s_ki)^2 / (2 sigma_ki^2)) with the heights h_k that were
    ADDED TO THE POTENTIAL. PLUMED's HILLS file already holds gamma / (gamma - 1) h_k; such heights are summed as they
    are.

    Args:
        hills: one of
            - [n, 5] phi, psi, sigma_phi, sigma_psi (rad), height (kJ/mol);
            - [n, 7] the columns of a HILLS file: time, then the five above, then the bias factor;
            - a mapping or structured array with the fields phi, psi, sigma_phi, sigma_psi, height (and biasf).
        temperature: of the simulation, K; not needed for the sum, checked only (the heights carry it).
        bias_factor: gamma > 1; infinite for plain metadynamics.
        bins: grid points per angle, at -pi + k 2 pi / bins.
        scaled: whether the heights carry gamma / (gamma - 1). None: yes where the hills come with PLUMED's bias factor
            column `biasf`, no otherwise.

    Returns:
        [bins, bins] in the unit of the heights (kJ/mol), indexed [phi, psi], minimum 0.

    Raises:
        ValueError: no hills, a column missing, angles in degrees, a `biasf` column that differs from `bias_factor`.

    Source: Barducci, Bussi and Parrinello, Phys. Rev. Lett. 100, 020603 (2008), eq. 4.

    Example:
        >>> f = free_energy_from_hills([[0.0, 0.0, 0.35, 0.35, 1.0]], temperature=300.0, bias_factor=6.0)
        >>> f.shape, float(f[30, 30]), round(float(f.max()), 3)
        ((60, 60), 0.0, 1.2)
    """
    positive("temperature", temperature)
    if not bias_factor > 1:
        raise ValueError(f"bias_factor must be above 1 (infinite for plain metadynamics), got {bias_factor}")
    columns = _hill_columns(hills)
    biasf = columns.get("biasf")
    if biasf is not None and np.isfinite(bias_factor) and not np.allclose(biasf, bias_factor):
        raise ValueError(f"bias_factor is {bias_factor}, but the hills carry biasf = {np.unique(biasf).tolist()[:3]}")
    phi, psi, sigma_phi, sigma_psi, height = (columns[name] for name in _HILL_FIELDS)
    if min(sigma_phi.min(), sigma_psi.min()) <= 0:
        raise ValueError("hills hold a width sigma that is not positive")
    if max(np.abs(phi).max(), np.abs(psi).max()) > _TWO_PI + 1e-6 or max(sigma_phi.max(), sigma_psi.max()) > _TWO_PI:
        raise ValueError("hills hold angles or widths beyond 2 pi: they are due in rad (numpy.radians turns degrees)")
    carries = biasf is not None if scaled is None else scaled
    factor = 1.0 if carries or np.isinf(bias_factor) else bias_factor / (bias_factor - 1.0)
    grid = angle_grid(bins)
    total = np.zeros((len(grid), len(grid)))
    for start in range(0, len(phi), 10_000):  # bounded memory for long runs
        part = slice(start, start + 10_000)
        total += (_gaussians(grid, phi[part], sigma_phi[part]) * (factor * height[part])) @ _gaussians(
            grid, psi[part], sigma_psi[part]
        ).T
    return total.max() - total


def free_energy_marginal(surface: Any, *, axis: int, temperature: float) -> np.ndarray:
    """Free energy of one angle, the other integrated out: F(phi) = -kT ln sum_psi exp(-F / kT).

    Args:
        surface: [bins, bins] kJ/mol indexed [phi, psi]; infinite entries have no weight.
        axis: the angle that is KEPT: 0 for phi, 1 for psi.
        temperature: K.

    Returns:
        [bins] kJ/mol, minimum 0.

    Example:
        >>> free_energy_marginal([[0.0, 0.0], [1.0, 1.0]], axis=0, temperature=300.0).round(6)
        array([0., 1.])
    """
    f = _surface("surface", surface)
    if f.ndim != 2 or axis not in (0, 1):
        raise ValueError(f"surface must be two-dimensional and axis 0 or 1, got {f.ndim} dimensions and axis {axis!r}")
    kt = GAS_CONSTANT * positive("temperature", temperature)
    weight = np.exp(-(f - f.min()) / kt).sum(axis=1 - axis)
    return free_energy_from_counts(weight, temperature=temperature)


def free_energy_error(
    surface: Any, reference: Any, *, region: float = 20.0, cap: float | None = 40.0, method: str = "aligned"
) -> float:
    """Error of a free-energy surface or of a marginal.

    Args:
        surface, reference: the same shape, kJ/mol; shifted to a minimum of 0 here.
        region: kJ/mol: only grid points where the reference lies below it count (infinite: all).
        cap: kJ/mol: both are cut off here first, so that rarely visited points do not dominate. None: no cap.
        method: "aligned": mean |dF| over the region, after removing the mean difference there (the headline number).
            "integral": the published error, the integral of |F - F_ref| over [-pi, pi) with both minima at 0, no
            region, no cap (also available as `free_energy_integral_error`).

    Returns:
        kJ/mol ("aligned") or kJ/mol rad (rad^2 for surfaces) ("integral"); at least 0, best 0. Two 100 ns runs of
        alanine dipeptide agree to 0.3 kJ/mol.

    Source: Fu et al., TMLR 2023, section 4, for "integral".

    Example:
        >>> free_energy_error([0.0, 2.0, 90.0], [0.0, 1.0, 50.0])
        0.5
    """
    choice("method", method, ("aligned", "integral"))
    if method == "integral":
        return free_energy_integral_error(surface, reference)
    f, f_ref = _two_surfaces(surface, reference)
    chosen = f_ref < region
    if not chosen.any():
        raise ValueError(f"region {region} kJ/mol holds no grid point of the reference")
    if cap is not None:
        limit = positive("cap", cap)
        f, f_ref = np.minimum(f, limit), np.minimum(f_ref, limit)
    if not (np.isfinite(f[chosen]).all() and np.isfinite(f_ref[chosen]).all()):
        raise ValueError("surface is infinite inside the region; give a cap")
    difference = (f - f_ref)[chosen]
    return float(np.abs(difference - difference.mean()).mean())


def free_energy_integral_error(surface: Any, reference: Any, *, cap: float | None = None) -> float:
    """Published error: the integral over [-pi, pi) of |F - F_ref|, both shifted to a minimum of 0.

    Args:
        surface, reference: [bins] or [bins, bins] kJ/mol.
        cap: kJ/mol, cut both off here first; None: no cap.

    Returns:
        kJ/mol rad ([bins]) or kJ/mol rad^2 ([bins, bins]); divide by 2 pi (or its square) for the mean in kJ/mol.

    Source: Fu et al., TMLR 2023, section 4.

    Example:
        >>> round(free_energy_integral_error([0.0, 0.0], [0.0, 1.0]), 4)
        3.1416
    """
    f, f_ref = _two_surfaces(surface, reference)
    if cap is not None:
        limit = positive("cap", cap)
        f, f_ref = np.minimum(f, limit), np.minimum(f_ref, limit)
    if not (np.isfinite(f).all() and np.isfinite(f_ref).all()):
        raise ValueError("surface or reference is infinite somewhere; give a cap")
    return float(np.abs(f - f_ref).sum() * np.prod([_TWO_PI / n for n in f.shape]))


def reweighting_weights(bias: Any, *, temperature: float, offset: Any = 0.0) -> np.ndarray:
    """Weights exp((V - c) / kT) of biased samples, normalised to a sum of 1.

    Args:
        bias: [n] bias potential at each sample, kJ/mol.
        temperature: K.
        offset: c, kJ/mol: a number, or [n] the time-dependent offset c(t) of a growing bias.

    Returns:
        [n], at least 0, sum 1.

    Source: Tiwary and Parrinello, J. Phys. Chem. B 119, 736 (2015).

    Example:
        >>> reweighting_weights([0.0, 0.0], temperature=300.0)
        array([0.5, 0.5])
    """
    v = checked("bias", bias, "n").astype(np.float64)
    exponent = (v - real("offset", offset)) / (GAS_CONSTANT * positive("temperature", temperature))
    if exponent.shape != v.shape:
        raise ValueError(f"offset must be a number or [n={len(v)}], got shape {list(np.shape(offset))}")
    weights = np.exp(exponent - exponent.max())
    return weights / weights.sum()


def _gaussians(grid: np.ndarray, centre: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    distance = grid[:, None] - centre
    distance -= _TWO_PI * np.round(distance / _TWO_PI)
    return np.exp(-0.5 * (distance / sigma) ** 2)


def _hill_columns(hills: Any) -> dict[str, np.ndarray]:
    names = getattr(getattr(hills, "dtype", None), "names", None)
    if isinstance(hills, Mapping) or names:
        present = set(hills) if isinstance(hills, Mapping) else set(names or ())
        missing = [name for name in _HILL_FIELDS if name not in present]
        if missing:
            raise ValueError(f"hills lack the fields {', '.join(missing)}")
        wanted = [*_HILL_FIELDS, *(["biasf"] if "biasf" in present else [])]
        columns = {name: hills[name] for name in wanted}
    else:
        array = real("hills", hills)
        if array.ndim != 2 or array.shape[1] not in (5, 7):
            raise ValueError(
                f"hills must have shape [n, 5] (phi, psi, sigma_phi, sigma_psi, height) or [n, 7] (columns of a HILLS "
                f"file), got {list(array.shape)}"
            )
        columns = dict(zip(_HILL_FIELDS if array.shape[1] == 5 else _PLUMED_COLUMNS, array.T))
    sizes: dict[str, int] = {}
    return {name: checked(f"hills[{name!r}]", value, "n", sizes).astype(np.float64) for name, value in columns.items()}


def _surface(name: str, value: Any) -> np.ndarray:
    f = real(name, value).astype(np.float64)
    if f.ndim not in (1, 2) or f.size == 0:
        raise ValueError(f"{name} must have shape [bins] or [bins, bins], got {list(f.shape)}")
    if np.isnan(f).any() or np.isneginf(f).any() or not np.isfinite(f).any():
        raise ValueError(f"{name} holds NaN or -infinity, or no finite value")
    return f - f.min()


def _two_surfaces(surface: Any, reference: Any) -> tuple[np.ndarray, np.ndarray]:
    f, f_ref = _surface("surface", surface), _surface("reference", reference)
    if f.shape != f_ref.shape:
        raise ValueError(f"surface {list(f.shape)} and reference {list(f_ref.shape)} differ in shape")
    return f, f_ref
