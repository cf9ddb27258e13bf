"""Bond scans of your molecules, labelled by the reference potential that the card names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..frames import Frames
from ..potentials import label, load_calculator
from ..scans import scan_all
from ..schema import to_table
from .rows import Rows

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

MOST_BONDS = 12  # of one molecule
MOST_SECONDS = 600.0


def label_scans(spec: str, rows: Rows, targets: Sequence[dict[str, Any]], theory: str) -> tuple[pa.Table | None, str]:
    """(scans with the columns ``scan``, ``bond_length``, ``molecule``, or ``None``; why there are none)."""
    calculator = load_calculator(spec)
    made: list[pa.Table] = []
    for target in {t["system"]: t for t in targets if t["open"]}.values():
        what = rows.systems[target["system"]]
        mine = target["rows"]
        energies = np.nan_to_num(rows.energy[mine], nan=np.inf)
        row = mine[int(energies.argmin())]
        frame = Frames(rows.take(np.array([row])).combine_chunks())[0]
        scans = scan_all(frame.atomic_numbers, frame.positions)[:MOST_BONDS]
        begun = time.perf_counter()
        try:
            label(calculator, frame.atomic_numbers, frame.positions[None])
        except Exception as error:
            raise ValueError(
                f"--reference {spec}: it raised on {what.formula}: {type(error).__name__}: {error}"
            ) from None
        needed = (time.perf_counter() - begun) * sum(len(s.bond_length) for s in scans)
        if needed > MOST_SECONDS:
            return None, f"the reference potential needs about {needed / 60:.0f} min for the scans: none are labelled"
        for s in scans:
            energy, forces = _tolerant(calculator, frame.atomic_numbers, s.positions)
            if np.isfinite(energy).sum() < 10:
                continue
            table = to_table(frame.atomic_numbers, s.positions, energy, forces, method=theory,
                             charge=what.charge, spin_multiplicity=what.spin)  # fmt: skip
            frames = table.num_rows
            table = table.append_column("scan", pa.array([f"{what.formula}_{s.i}-{s.j}"] * frames, pa.string()))
            table = table.append_column("bond_length", pa.array(s.bond_length, pa.float64()))
            made.append(table.append_column("molecule", pa.array([what.formula] * frames, pa.string())))
    return (pa.concat_tables(made).combine_chunks(), "") if made else (None, "")


def _tolerant(calculator: Calculator, numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels; NaN where the reference does not converge."""
    energy, forces = np.full(len(positions), np.nan), np.full(positions.shape, np.nan)
    for t, x in enumerate(positions):
        try:
            e, f = label(calculator, numbers, x[None])
            energy[t], forces[t] = e[0], f[0]
        except Exception:
            continue
    return energy, forces
