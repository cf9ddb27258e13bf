"""Labels that pass every check of size and still are not what they seem: energies of an atom, forces held at zero."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from ase import units

from ..finding import Finding
from ..frames import Frames
from ..geometry import sample
from ..validate import near_pairs, work

MOST_STRESS = 0.6  # eV/Angstrom^3, 100 GPa: the median of no data set but of shocked or planetary matter
ALIKE = 12  # frames of one composition, from which on energies are held against work


TOLD = ("held", "stress_size")  # checks whose warnings stand beside the data


def oddities(frames: Frames) -> list[Finding]:
    return [*per_atom(frames), *held(frames), *stress_size(frames)]


def most_common(frames: Frames) -> Any:
    """The frames with the atoms, cell periodicity and order that most frames have; ``None`` if they are few."""
    key = [f.atomic_numbers.tobytes() + f.pbc.tobytes() for f in frames]
    first, count = Counter(key).most_common(1)[0] if key else (b"", 0)
    if count < ALIKE:
        return None
    rows = np.array([k for k, one in enumerate(key) if one == first])
    out = frames[rows]
    atoms = np.concatenate([np.arange(*frames.offsets[k : k + 2]) for k in rows])
    out.energy, out.cell = frames.energy[rows], frames.cell[rows]  # as they are now: in other units than the table's
    out.positions, out.forces = frames.positions[atoms], frames.forces[atoms]
    return out


def empty(frames: Frames) -> tuple[str, str]:
    """(kind of label, what is wrong) where all structures have one energy, or no force at all; two times "" else."""
    alike = most_common(frames)
    known = alike.energy[np.isfinite(alike.energy)] if alike is not None else np.zeros(0)
    if len(known) >= ALIKE and np.ptp(known) == 0:
        return "energy", f"{len(known)} structures that differ all have the energy {known[0]:g}"
    forces = frames.forces[np.isfinite(frames.forces)]
    if len(frames) >= ALIKE and len(forces) and not forces.any() and not _at_sites(frames, alike):
        return "forces", f"every force on {len(frames)} structures is 0"
    return "", ""


def _at_sites(frames: Frames, alike: Any) -> bool:
    """Whether all are crystals whose atoms stay at their sites while cells change: forces are 0 by symmetry."""
    if not frames.pbc.all():
        return False
    if alike is None:
        return True
    inside = np.array([np.linalg.solve(f.cell.T, f.positions.T).T for f in alike])
    moved = inside - inside[0]
    return bool(np.abs(moved - np.round(moved)).max() < 1e-3)


def per_atom(frames: Frames) -> list[Finding]:
    """Are energies those of an atom? Their differences are then the N-th part of the work done, or they do not grow
    with the number of atoms."""
    alike = most_common(frames)
    found = work(alike, "data", near_pairs(alike)) if alike is not None else []
    if alike is not None and found and found[0].level == "error":
        slope, n = float(found[0].value or 0.0), int(alike.n_atoms[0])
        if n > 1 and 0.75 < slope * n < 1.3:
            text = f"energy differences are {slope:.3g} of the work done, about 1/{n}"
            text += ": energies per atom (--units eV/atom)?"
            return [Finding("per_atom", "data", "error", text, slope)]
    return [] if any(f.level == "ok" for f in found) else _unextensive(frames)


def _unextensive(frames: Frames) -> list[Finding]:
    """Least squares by composition: sums over atoms must explain total energies, not means."""
    good = np.isfinite(frames.energy)
    elements = np.unique(frames.atomic_numbers)
    counts = np.array([[(f.atomic_numbers == z).sum() for z in elements] for f in frames], float)[good]
    if len(counts) < ALIKE or len(np.unique(counts, axis=0)) <= len(elements):
        return []
    energy, n = frames.energy[good], counts.sum(1, keepdims=True)
    sums, means = (_residual(x, energy) for x in (counts, counts / n))
    if sums < 0.05 or sums < 10 * means:
        return []
    text = (
        f"energies do not grow with the number of atoms ({n.min():.0f} to {n.max():.0f}): means over elements explain "
        f"them to {means:.2g} eV, sums to {sums:.2g} eV: energies per atom (--units eV/atom)?"
    )
    return [Finding("per_atom", "data", "error", text, sums / means if means else None)]


def _residual(x: np.ndarray, y: np.ndarray) -> float:
    """Root mean square of what a linear fit leaves."""
    return float(np.sqrt(np.mean((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2)))


def held(frames: Frames) -> list[Finding]:
    """Atoms whose forces are exactly zero beside others that are not: constraints were applied before writing."""
    shares = []
    for k in sample(len(frames), 200):
        f = frames[int(k)].forces
        still = (f == 0).all(1)
        if np.isfinite(f).all() and not still.all():
            shares.append(still.mean())
    if not shares or np.mean(np.array(shares) > 0) < 0.5:
        return []
    share = float(np.mean(shares))
    text = (
        f"forces are exactly 0 on {100 * share:.0f} % of the atoms: constraints were applied before they were written; "
        "every model looks wrong there. Write the full ones (ASE: get_forces(apply_constraint=False))"
    )
    return [Finding("held", "data", "warning", text, share)]


def stress_size(frames: Frames) -> list[Finding]:
    if "cauchy_stress" not in frames.table.column_names:
        return []
    rows = [x for x in frames.table["cauchy_stress"].to_pylist() if x is not None]
    largest = np.abs(np.array(rows, float).reshape(-1, 9)).max(1)  # NaN where a frame has none
    largest = largest[np.isfinite(largest)]
    size = float(np.median(largest)) if len(largest) else 0.0
    if size < MOST_STRESS:
        return []
    text = (
        f"stress of {size:.3g} eV/A^3 (median of the largest component), {size / units.GPa:.0f} GPa: in GPa or "
        "kbar? Say it, --units eV,eV/Angstrom,Angstrom,GPa (or kbar; -kbar where VASP's sign was kept)"
    )
    return [Finding("stress_size", "data", "warning", text, size)]
