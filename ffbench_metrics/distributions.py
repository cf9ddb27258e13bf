"""Errors between two distributions on the same bins: h(r), g(r), angles, free-energy marginals."""

from typing import Any

import numpy as np

from ffbench_metrics._check import checked, positive


def histogram_error(h: Any, reference: Any, *, width: float) -> float:
    """Integral of |h - h_ref|: the error of h(r).

    Args:
        h, reference: [bins], normalised to an integral of 1.
        width: of a bin (Å for h(r)).

    Returns:
        Dimensionless, from 0 (best) to 2 (no overlap).

    Source: Fu et al., TMLR 2023, section 4.

    Example:
        >>> histogram_error([2.0, 0.0], [0.0, 2.0], width=0.5)
        2.0
    """
    h, reference = _pair("h", h, reference)
    return float(np.abs(h - reference).sum() * positive("width", width))


def rdf_error(g: Any, reference: Any, *, r_max: float = 6.0) -> float:
    """Integral of |g - g_ref| from 0 to r_max.

    Args:
        g, reference: [bins], equal bins from 0 to r_max.
        r_max: Å.

    Returns:
        Å, at least 0, best 0. (The paper prints it without a unit.)

    Source: Fu et al., TMLR 2023, section 4; their code stops at 6 Å.

    Example:
        >>> rdf_error([1.0, 1.0, 2.0], [1.0, 1.0, 1.0], r_max=6.0)
        2.0
    """
    g, reference = _pair("g", g, reference)
    return float(np.abs(g - reference).sum() * (positive("r_max", r_max) / len(g)))


def rdf_chi(g: Any, measured: Any, error: Any) -> float:
    """Mean of |g - g_measured| in units of the measurement's own error.

    Args:
        g, measured: [bins], at the same distances.
        error: [bins], one standard error of the measured g; bins where it is 0 (nothing was measured) are left out.

    Returns:
        At least 0; about 0.8 for a g(r) that differs from the measured one by its errors alone.

    Raises:
        ValueError: an error that is negative, or 0 everywhere.

    Example:
        >>> rdf_chi([1.0, 1.2, 5.0], [1.0, 1.0, 0.0], [0.1, 0.1, 0.0]).__round__(12)
        1.0
    """
    sizes: dict[str, int] = {}
    model = checked("g", g, "B", sizes).astype(np.float64)
    truth = checked("measured", measured, "B", sizes).astype(np.float64)
    sigma = checked("error", error, "B", sizes).astype(np.float64)
    if (sigma < 0).any() or not (sigma > 0).any():
        raise ValueError("error must be at least 0, and positive in some bin")
    known = sigma > 0
    return float(np.mean(np.abs(model - truth)[known] / sigma[known]))


def wright_factor(g: Any, reference: Any, *, rooted: bool = True) -> float:
    """Wright factor of a pair distribution function.

    Args:
        g, reference: [bins].
        rooted: True: 100 sqrt(sum (g - g_ref)^2 / sum g_ref^2), to which the rule "below 9-10 % is good" refers.
            False: the published EGraFFBench code, without the root.

    Returns:
        Percent, at least 0, best 0.

    Source: Wright, J. Non-Cryst. Solids 159, 264 (1993); Bihani et al. (EGraFFBench), Digital Discovery 2024.

    Example:
        >>> wright_factor([1.1, 1.1], [1.0, 1.0]), wright_factor([1.1, 1.1], [1.0, 1.0], rooted=False)
        (10.000000000000009, 1.0000000000000018)
    """
    g, reference = _pair("g", g, reference)
    scale = float(np.square(reference).sum())
    if scale == 0.0:
        raise ValueError("reference is 0 everywhere; the Wright factor divides by it")
    ratio = float(np.square(g - reference).sum()) / scale
    return 100.0 * (np.sqrt(ratio).item() if rooted else ratio)


def jensen_shannon(p: Any, q: Any, *, r: Any = None) -> float:
    """Jensen-Shannon divergence (natural logarithm) of two histograms.

    Args:
        p, q: [bins], at least 0; normalised here.
        r: [bins] Å: give it for pair distribution functions, to compare the distributions of distances p ~ g r^2.
            None compares the values as they are.

    Returns:
        From 0 (best) to ln 2 = 0.693.

    Source: Lin, IEEE Trans. Inf. Theory 37, 145 (1991); Bihani et al., Digital Discovery 2024.

    Example:
        >>> round(jensen_shannon([1.0, 0.0], [0.0, 1.0]), 6)
        0.693147
    """
    p, q = _pair("p", p, q, other="q")
    if r is not None:
        weight = np.square(checked("r", r, "bins", {"bins": len(p)}).astype(np.float64))
        p, q = p * weight, q * weight
    p, q = _normalised("p", p), _normalised("q", q)
    m = 0.5 * (p + q)
    safe = np.where(m > 0, m, 1.0)
    divergence = 0.0
    for x in (p, q):
        ratio = np.where(x > 0, x / safe, 1.0)
        divergence += 0.5 * float((x * np.log(ratio)).sum())
    return min(max(divergence, 0.0), float(np.log(2.0)))


def wasserstein(p: Any, q: Any, *, width: float = 1.0) -> float:
    """Wasserstein-1 distance of two histograms on the same bins: how far weight must move.

    Args:
        p, q: [bins], at least 0; normalised here.
        width: of a bin.

    Returns:
        In the unit of the bin width, at least 0, best 0.

    Example:
        >>> wasserstein([1.0, 0.0, 0.0], [0.0, 0.0, 1.0], width=0.5)
        1.0
    """
    p, q = _pair("p", p, q, other="q")
    return float(np.abs(np.cumsum(_normalised("p", p) - _normalised("q", q))).sum() * positive("width", width))


def _pair(name: str, value: Any, reference: Any, other: str = "reference") -> tuple[np.ndarray, np.ndarray]:
    sizes: dict[str, int] = {}
    a = checked(name, value, "bins", sizes).astype(np.float64)
    return a, checked(other, reference, "bins", sizes).astype(np.float64)


def _normalised(name: str, p: np.ndarray) -> np.ndarray:
    if p.min() < 0 or p.sum() <= 0:
        raise ValueError(f"{name} must be a histogram: no negative value and not 0 everywhere")
    return p / p.sum()
