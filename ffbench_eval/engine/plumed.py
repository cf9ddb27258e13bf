"""Hills in PLUMED's HILLS format (METAD), so that its tools read ours and ours read its files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ffbench_data.atomic import write_text

from .units import KJ_PER_MOL


def read_hills(path: str | os.PathLike) -> np.ndarray:
    """The hills of a PLUMED HILLS file, as `ffbench_metrics.free_energy_from_hills` takes them.

    Returns a structured array [H] with one field per column of the file, in the file's units: ``time``, the
    variables (``phi``, ``psi``; rad), their widths ``sigma_*``, ``height`` and ``biasf``. PLUMED's ``height`` (kJ/mol
    unless the run chose otherwise) already carries the factor biasf / (biasf - 1).

    Angles that the header has in degrees (a period of 360) are turned into radians. A row that is there twice, as after
    a bad restart, is taken once, and stretched Gaussians are taken as plain ones: a warning says so. ValueError names
    the file and the line that is not a hill, another kernel, or an angle beyond its domain.

    Source: PLUMED 2, METAD.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "HILLS"
    >>> rows = np.array([[0.5, -1.0, 0.0124]])  # phi, psi (rad), height as added (eV)
    >>> write_hills(path, hill_table(rows, sigma=0.35, bias_factor=6.0, every_ps=1.0))
    >>> hills = read_hills(path)
    >>> hills.dtype.names
    ('time', 'phi', 'psi', 'sigma_phi', 'sigma_psi', 'height', 'biasf')
    >>> hills["phi"].tolist(), hills["height"].round(3).tolist()
    ([0.5], [1.436])
    """
    fields: list[str] = []
    settings: dict[str, str] = {}
    rows = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        if line.startswith("#!"):
            words = line.split()
            if words[1:2] == ["FIELDS"]:
                fields = words[2:]
            if words[1:2] == ["SET"] and len(words) == 4:
                settings[words[2]] = words[3]
            continue
        if line.strip():
            try:
                rows.append(tuple(float(word) for word in line.split()))
            except ValueError:
                raise ValueError(f"{path} line {number} is not a hill: {line[:80]!r}") from None
            if len(rows[-1]) != len(fields):
                columns = f"{len(rows[-1])} columns, its FIELDS line names {len(fields)}"
                raise ValueError(f"{path} line {number} has {columns}")
    if "height" not in fields or not any(name.startswith("sigma_") for name in fields):
        raise ValueError(f"{path} is not a HILLS file: it has no FIELDS line with sigma_* and height")
    hills = np.array(rows, dtype=[(name, float) for name in fields])
    for name in fields:
        odd = (name != "biasf") & ~np.isfinite(hills[name])  # plain metadynamics may say inf
        wrong = odd | (name.startswith("sigma_") and hills[name] <= 0)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"{path}: hill {row + 1} has {name} = {hills[name][row]:g}; the file is damaged")
    kernel = settings.get("kerneltype", "gaussian").lower()
    if kernel not in ("gaussian", "stretched-gaussian"):
        raise ValueError(f"{path} has hills of kerneltype {kernel}: only gaussian and stretched-gaussian are known")
    if kernel == "stretched-gaussian":
        warnings.warn(
            f"{path}: kerneltype stretched-gaussian is summed as gaussian here; such hills end at 3.5 sigma, where a "
            "plain one has 0.2 % of its height left",
            stacklevel=2,
        )
    for name in fields:
        if f"sigma_{name}" in fields:
            _in_radians(path, hills, name, settings)
    return _once(path, hills)


def _in_radians(path: str | os.PathLike, hills: np.ndarray, name: str, settings: dict[str, str]) -> None:
    """Turn an angle and its width from degrees into radians, in place; ValueError if it leaves its domain."""
    low, high = (_number(settings.get(f"{end}_{name}")) for end in ("min", "max"))
    if low is None or high is None:
        low, high = (-2 * np.pi, 2 * np.pi) if name in ("phi", "psi") else (-np.inf, np.inf)
    reach = 1e-3 * (high - low) if np.isfinite(high) else 0.0
    outside = (hills[name] < low - reach) | (hills[name] > high + reach)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"{path}: hill {row + 1} is at {name} = {hills[name][row]:g}, outside [{low:.6g}, {high:.6g}] rad: angles "
            f"in degrees need '#! SET min_{name} -180' and '#! SET max_{name} 180' in the header"
        )
    if np.isclose(high - low, 360, rtol=1e-3):
        hills[name] = np.radians(hills[name])
        hills[f"sigma_{name}"] = np.radians(hills[f"sigma_{name}"])


def _number(text: str | None) -> float | None:
    """A number as PLUMED writes it, pi included: ``-pi``, ``2pi``, ``2*pi``, ``0``, ``-180``."""
    if text is None:
        return None
    factor, pi, _ = text.lower().replace("*", "").partition("pi")
    if pi:
        return np.pi * float({"": "1", "-": "-1", "+": "1"}.get(factor, factor))
    try:
        return float(factor)
    except ValueError:
        return None


def _once(path: str | os.PathLike, hills: np.ndarray) -> np.ndarray:
    """Every hill once: a row equal to an earlier one in all but the clock was deposited by a restart that came late."""
    rows = np.array([hills[name] for name in (hills.dtype.names or ()) if name != "clock"]).T
    if not len(rows):
        return hills
    first = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    if len(first) < len(hills):
        warnings.warn(
            f"{path}: {len(hills) - len(first)} hills are there twice, with the same time and place (a restart?); "
            "each was taken once",
            stacklevel=3,
        )
    return hills[first]


def hill_table(
    hills: np.ndarray,
    *,
    sigma: float | Sequence[float],
    bias_factor: float,
    every_ps: float,
    names: Sequence[str] = ("phi", "psi"),
    energy_unit_eV: float = KJ_PER_MOL,
) -> np.ndarray:
    """Hills [H, D + 1] of an `Outcome` (variables in rad or Angstrom, height as added in eV) as `read_hills` has them.

    Time in ps, one hill ``every_ps``; heights in kJ/mol times bias_factor / (bias_factor - 1), as PLUMED writes them.
    ValueError if ``names`` or ``sigma`` do not match the number of variables.
    """
    rows = np.asarray(hills, float)
    count, variables = len(rows), rows.shape[1] - 1
    sigmas = np.broadcast_to(np.asarray(sigma, float), variables) if np.ndim(sigma) == 0 else np.asarray(sigma, float)
    if len(names) != variables or len(sigmas) != variables:
        raise ValueError(f"hills have {variables} variables, got {len(names)} names and {len(sigmas)} sigmas")
    columns = {"time": every_ps * np.arange(1, count + 1)}
    columns |= {name: rows[:, d] for d, name in enumerate(names)}
    columns |= {f"sigma_{name}": np.full(count, sigmas[d]) for d, name in enumerate(names)}
    columns["height"] = rows[:, -1] * bias_factor / (bias_factor - 1) / energy_unit_eV
    columns["biasf"] = np.full(count, bias_factor)
    table = np.zeros(count, dtype=[(name, float) for name in columns])
    for name, values in columns.items():
        table[name] = values
    return table


def write_hills(path: str | os.PathLike, hills: np.ndarray, *, periodic: Sequence[str] | None = None) -> None:
    """Write hills (of `hill_table` or `read_hills`) as PLUMED's HILLS; ``periodic`` variables (default: all) are
    angles in [-pi, pi]. An example: `read_hills`; OSError where the file cannot be written."""
    names = list(hills.dtype.names or ())
    variables = [name.removeprefix("sigma_") for name in names if name.startswith("sigma_")]
    lines = [f"#! FIELDS {' '.join(names)}", "#! SET multivariate false", "#! SET kerneltype gaussian"]
    for name in variables if periodic is None else periodic:
        lines += [f"#! SET min_{name} -pi", f"#! SET max_{name} pi"]
    lines += [" ".join(f"{x:22.16g}" for x in row) for row in hills.tolist()]
    write_text(Path(path), "\n".join(lines) + "\n")
