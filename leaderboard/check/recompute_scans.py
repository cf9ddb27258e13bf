"""Bond scans and dimers: what their metrics say about each other, and intervals by the bootstrap over molecules.

Where intervals are drawn by a seeded bootstrap the evaluator's own function is called: no other repeats the draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ffbench_eval.report import TaskReport

from .faults import UNKNOWN, Expected, Fault, close

ROUNDED = 1e-7  # values of scans are written with nine digits
EVERY_SCAN = ("fsd", "scan_force_mae", "scan_energy_mae_aligned", "spurious_extrema", "sign_flips")


@dataclass(frozen=True)
class Scans:
    """Molecule and bond type of every scan of a data set, in its order: what intervals of bond scans resample."""

    molecules: tuple[str, ...]
    bond_types: tuple[str, ...]


def over_molecules(
    name: str, values: list[float | None], scans: Scans | None, quantile: float | None = None
) -> Expected:
    """Mean or quantile over scans with the evaluator's own bootstrap over molecules."""
    from ffbench_eval.kinds.bsct.scores import over_molecules as of_the_evaluator

    v = np.array([np.nan if x is None else x for x in values], float)
    if scans is None:
        known = v[np.isfinite(v)]
        return float(known.mean() if quantile is None else np.quantile(known, quantile)), UNKNOWN
    molecules = scans.molecules
    kind = bond_type(name, scans)
    if kind is not None:
        molecules = tuple(m for m, t in zip(molecules, scans.bond_types) if t == kind)
    if len(molecules) != len(v):
        raise ValueError(f"{len(v)} values for {len(molecules)} scans")
    again = of_the_evaluator(v, molecules, unit="1", quantile=quantile)
    if again.value is None:
        raise ValueError("no scan has a value")
    return again.value, again.interval


def bond_type(name: str, scans: Scans | None) -> str | None:
    return next((t for t in dict.fromkeys(scans.bond_types) if name.endswith(f"_{t}")), None) if scans else None


def scan_faults(task: TaskReport) -> Iterator[Fault]:
    states = task.states
    ok = [s == "ok" for s in states]
    for name, metric in task.metrics.items():
        known = [v is not None for v in metric.values]
        each = name in EVERY_SCAN and (known != ok if len(known) == len(ok) else sum(known) != sum(ok))
        if sum(known) > sum(ok) or len(known) > len(ok) or each:
            yield f".metrics.{name}.values", f"{sum(known)} values for {sum(ok)} of {len(ok)} scans that ended ok"


def dimer_faults(task: TaskReport) -> Iterator[Fault]:
    """One place per dimer, empty for one that did not end ok."""
    ok = [s == "ok" for s in task.states]
    for name, metric in task.metrics.items():
        known = [v is not None for v in metric.values]
        if len(known) != len(ok) or any(a and not b for a, b in zip(known, ok)):
            yield f".metrics.{name}.values", f"{sum(known)} values for {sum(ok)} of {len(ok)} dimers that ended ok"
    parts = [task.metrics.get(k) for k in ("fsd", "fsd_compress", "fsd_stretch")]
    if all(parts):
        for k, (full, left, right) in enumerate(zip(*(p.values for p in parts if p))):
            if None not in (full, left, right) and not close(full, max(left, right), tolerance=ROUNDED):
                yield f".metrics.fsd.values[{k}]", "is not the larger of its compressed and stretched sides"
