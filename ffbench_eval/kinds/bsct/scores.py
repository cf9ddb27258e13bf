"""Numbers of one scan, and their means, medians and intervals over many. Arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...report import Interval, Method, Metric
from ..base import Better
from ..statistics import student
from .scans import LabelledScan

UNITS = {
    "fsd": "1/Å",
    "fsd_compress": "1/Å",
    "fsd_stretch": "1/Å",
    "scan_force_mae": "eV/Å",
    "scan_force_mae_compress": "eV/Å",
    "scan_force_mae_stretch": "eV/Å",
    "scan_energy_mae": "eV",
    "scan_energy_mae_compress": "eV",
    "scan_energy_mae_stretch": "eV",
    "scan_energy_mae_aligned": "eV",
    "spurious_extrema": "1",
    "sign_flips": "1",
    "energy_jump": "1",
    "conservativeness": "eV",
    "conservativeness_on_frames": "eV",
    "conservativeness_of_reference": "eV",
}
BY_BOND_TYPE = ("fsd", "scan_force_mae")
QUANTILES = ("fsd", "scan_force_mae", "scan_energy_mae_aligned")  # also as median and 90th percentile
MANY = 20  # scans from which on medians and force errors per bond type are given
RESAMPLES = 2000
FEW = 10  # distinct molecules below which a bootstrap over them means nothing
FLOOR = 1.0  # (eV/Angstrom)^2, of the published code


def score_scan(scan: LabelledScan, energy: Any, forces: Any) -> dict[str, float | None]:
    """Every number of one scan from a model's ``energy`` [K] and ``forces`` [K, N, 3], on its labelled frames.

    ``compress`` and ``stretch`` are the frames up to and from the lowest reference energy, which both hold. A number
    that is not defined (a branch without frames) is ``None``.
    """
    from ffbench_metrics import (
        bond_projected_force,
        conservativeness,
        count_sign_flips,
        count_spurious_extrema,
        energy_jump,
        energy_mae,
        force_mae,
        force_smoothness_deviation,
    )

    energy, forces = np.asarray(energy, np.float64), np.asarray(forces, np.float64)
    keep = scan.labelled
    if keep.sum() < 2:
        return dict.fromkeys(UNITS)
    fsd = force_smoothness_deviation(scan.bond_length, forces, scan.forces, scan.energy, FLOOR)
    e, f, x = energy[keep], forces[keep], scan.positions[keep]
    e_ref, f_ref = scan.energy[keep], scan.forces[keep]
    eq = int(np.argmin(e_ref))
    flips = count_sign_flips(bond_projected_force(f, x, scan.bond, scan.fragment), eq)
    try:
        jump: float | None = energy_jump(energy, scan.energy)
    except ValueError:  # too few labels next to each other
        jump = None
    return {
        "fsd": fsd.full,
        "fsd_compress": fsd.compress,
        "fsd_stretch": fsd.stretch,
        "scan_force_mae": force_mae(f, f_ref),
        "scan_force_mae_compress": force_mae(f[: eq + 1], f_ref[: eq + 1]),
        "scan_force_mae_stretch": force_mae(f[eq:], f_ref[eq:]),
        "scan_energy_mae": energy_mae(e, e_ref),
        "scan_energy_mae_compress": energy_mae(e[: eq + 1], e_ref[: eq + 1]),
        "scan_energy_mae_stretch": energy_mae(e[eq:], e_ref[eq:]),
        "scan_energy_mae_aligned": energy_mae(e - e[eq], e_ref - e_ref[eq]),
        "spurious_extrema": float(count_spurious_extrema(e, e_ref)) if len(e) > 2 else None,  # two points turn nowhere
        "sign_flips": float(sum(flips)) if len(e) > 2 else None,
        "energy_jump": jump,
        "conservativeness": None,
        "conservativeness_on_frames": conservativeness(e, f, x, start=eq),
        "conservativeness_of_reference": conservativeness(e_ref, f_ref, x, start=eq),
    }


def without_forces(scans: Sequence[LabelledScan]) -> dict[str, float]:
    """Means of FSD and force MAE of a model that predicts no forces: what knowing nothing scores on these scans."""
    from ffbench_metrics import force_mae, force_smoothness_deviation

    known = [s for s in scans if s.labelled.sum() > 1]
    if not known:
        return {}
    fsd = [force_smoothness_deviation(s.bond_length, np.zeros_like(s.forces), s.forces, s.energy).full for s in known]
    mae = [force_mae(np.zeros_like(s.forces[s.labelled]), s.forces[s.labelled]) for s in known]
    return {"fsd": float(np.mean(fsd)), "scan_force_mae": float(np.mean(mae))}


def worst_step(scan: LabelledScan, forces: Any) -> tuple[int, int]:
    """The two frames between which FSD is reached (rows of the whole scan, unlabelled frames included)."""
    keep = np.flatnonzero(scan.labelled)
    model, reference = deviations(scan, forces)
    logarithm = np.log(np.maximum(model[keep] ** 2, FLOOR)) - np.log(np.maximum(reference[keep] ** 2, FLOOR))
    k = int(np.argmax(np.abs(np.diff(logarithm) / np.diff(scan.bond_length[keep]))))
    return int(keep[k]), int(keep[k + 1])


def deviations(scan: LabelledScan, forces: Any) -> tuple[np.ndarray, np.ndarray]:
    """|F - F0| [K] of the model and of the reference, F0 the reference force at the lowest reference energy."""
    start = scan.forces[scan.equilibrium]
    size = len(scan.energy)
    return (
        np.linalg.norm((np.asarray(forces, np.float64) - start).reshape(size, -1), axis=1),
        np.linalg.norm((scan.forces - start).reshape(size, -1), axis=1),
    )


def summarise(rows: Sequence[dict[str, float | None] | None], scans: Sequence[LabelledScan]) -> dict[str, Metric]:
    """Metrics over scans; ``None`` for a scan without predictions. ``values`` keep the order of the data set's scans.

    Means are the plain means over scans, as published; intervals resample molecules, which several scans share.
    """
    molecules = [s.molecule for s in scans]
    done = np.array([r is not None for r in rows])
    metrics: dict[str, Metric] = {}
    for key, unit in UNITS.items():
        values = np.array([np.nan if r is None or r.get(key) is None else r[key] for r in rows], np.float64)
        if done.any() and not np.isfinite(values).any():
            continue
        better: Better = "neither" if key == "conservativeness_of_reference" else "lower"
        metrics[key] = over_molecules(values, molecules, unit=unit, better=better)
        if key in QUANTILES and np.isfinite(values).sum() >= MANY:
            for name, level in (("median", 0.5), ("p90", 0.9)):
                metrics[f"{key}_{name}"] = over_molecules(values, molecules, unit=unit, quantile=level)
    types = [s.bond_type for s in scans]
    kinds = list(dict.fromkeys(types))
    for key in BY_BOND_TYPE[: 2 if len(scans) >= MANY else 1] if len(kinds) > 1 and done.any() else ():
        values = np.array([np.nan if r is None or r.get(key) is None else r[key] for r in rows], np.float64)
        for kind in kinds:
            mine = np.array([t == kind for t in types])
            chosen = [m for m, yes in zip(molecules, mine) if yes]
            metrics[f"{key}_{kind}"] = over_molecules(values[mine], chosen, unit=UNITS[key])
    return metrics


def over_molecules(
    values: np.ndarray, molecules: Sequence[str], *, unit: str, better: Better = "lower", quantile: float | None = None
) -> Metric:
    """Mean (or ``quantile``) over scans, with the bootstrap interval over distinct molecules.

    ``values`` [S] with NaN where a scan has none; scans of one molecule are drawn together. Below `FEW` molecules the
    interval of a mean is Student's t over scans, and says so.
    """
    known = np.isfinite(values)
    kept = [None if not k else float(f"{v:.9g}") for v, k in zip(values, known)]
    if not known.any():
        return Metric(value=None, unit=unit, better=better, values=kept, not_scored="no scan has a value")
    v = values[known]
    _, owner = np.unique(np.array(molecules, object)[known].astype(str), return_inverse=True)
    count = int(owner.max()) + 1
    if quantile is None:
        value, aggregate = float(v.mean()), "mean"
    else:
        value, aggregate = float(np.quantile(v, quantile)), "median" if quantile == 0.5 else f"quantile_{quantile:g}"
    interval: tuple[float, float] | None = None
    method: Method = "student"
    if count >= FEW:
        method = "bootstrap"
        interval = _bootstrap(v, owner, count, quantile)
        note = f"bootstrap over {count} distinct molecules"
    elif quantile is None and len(v) > 1:
        interval = student(v)
        note = f"Student's t over scans of {count} molecule{'s' if count > 1 else ''}, which are not independent"
    else:
        note = f"only {count} distinct molecules" if count > 1 else "one molecule"
    return Metric(
        value=value,
        unit=unit,
        uncertainty=Interval.of(interval, note, method),
        n=len(v),
        better=better,
        aggregate=aggregate,
        values=kept if quantile is None else [],
    )


def _bootstrap(v: np.ndarray, owner: np.ndarray, count: int, quantile: float | None) -> tuple[float, float]:
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    if quantile is None:
        sums, sizes = np.bincount(owner, v, count), np.bincount(owner, minlength=count)
        results = (drawn @ sums) / (drawn @ sizes)
    else:
        order = np.argsort(v)
        weights = np.cumsum(drawn[:, owner[order]], axis=1)
        at = np.argmax(weights >= quantile * weights[:, -1:], axis=1)
        results = v[order][at]
    low, high = np.quantile(results, [0.025, 0.975])
    return float(low), float(high)


def supported_share(states: Sequence[str]) -> Metric:
    """The share of scans whose elements the model covers: scores speak of this part only."""
    covered = sum(s != "unsupported" for s in states)
    return Metric(
        value=covered / len(states),
        unit="1",
        uncertainty=Interval(reason="a count, not a sample"),
        n=len(states),
        better="higher",
        aggregate="fraction",
    )


def masked_labels(scans: Sequence[LabelledScan]) -> Metric:
    """Frames without reference labels, which no score sees."""
    return Metric(
        value=float(sum(int((~s.labelled).sum()) for s in scans)),
        unit="1",
        uncertainty=Interval(reason="a count, not a sample"),
        n=sum(len(s.energy) for s in scans),
        better="neither",
        aggregate="sum",
    )


def on_common_scans(values: Sequence[Sequence[float | None]]) -> tuple[list[float], int]:
    """Means of several models over the scans that all of them have, and how many those are.

    ``values``: `Metric.values` of the same metric and data set, one list per model. ValueError for lists of different
    length, or without a common scan.

    >>> on_common_scans([[1.0, 2.0, None], [3.0, 5.0, 4.0]])
    ([1.5, 4.0], 2)
    """
    if len({len(v) for v in values}) != 1:
        raise ValueError(f"values are of different data sets: {', '.join(str(len(v)) for v in values)} scans")
    table = np.array([[np.nan if x is None else x for x in v] for v in values], np.float64)
    common = np.isfinite(table).all(axis=0)
    if not common.any():
        raise ValueError("values have no scan in common")
    return [float(m) for m in table[:, common].mean(axis=1)], int(common.sum())
