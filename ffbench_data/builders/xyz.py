"""Extended XYZ files: labels under any of the names in use (`labels.NAMES`), charge, spin and stress kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..schema import to_table
from .labels import NAMES, charge_and_spin, check_theory, number, pick, plain, said, stress_of

if TYPE_CHECKING:
    from ase import Atoms

LABELS = ("energy", "forces")


@dataclass
class XYZ:
    """Per frame of a file; energy and forces NaN, stress, charge and spin ``None`` where it has none."""

    numbers: list[np.ndarray] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)
    energy: list[float] = field(default_factory=list)
    forces: list[np.ndarray] = field(default_factory=list)
    cell: list[np.ndarray] = field(default_factory=list)
    pbc: list[np.ndarray] = field(default_factory=list)
    stress: list[np.ndarray | None] = field(default_factory=list)
    charge: list[int | None] = field(default_factory=list)
    spin: list[int | None] = field(default_factory=list)


def read_xyz(
    path: Path,
    *,
    method: str,
    time_step: float | None = None,
    labels: Sequence[str] = LABELS,
    keys: Mapping[str, str] | None = None,
) -> pa.Table:
    """Frames of an extended XYZ file. ``labels`` are those that it must have (some frames may lack them: NaN);
    ``keys`` names them where the usual names do not serve: ``{"energy": "my_energy"}``."""
    xyz = xyz_frames(path, method=method, labels=labels, keys=keys)
    frames = len(xyz.positions)
    stress = None
    if any(s is not None for s in xyz.stress):
        stress = np.stack([np.full((3, 3), np.nan) if s is None else s for s in xyz.stress])
    return to_table(
        xyz.numbers,
        xyz.positions,
        xyz.energy,
        xyz.forces,
        cell=np.array(xyz.cell),
        pbc=np.array(xyz.pbc),
        stress=stress,
        time_fs=None if time_step is None else np.arange(frames) * time_step,
        method=method,
        charge=[c or 0 for c in xyz.charge],
        spin_multiplicity=[1 if s is None else s for s in xyz.spin],
        where=str(path),
    )


def xyz_arrays(path: Path, **how: Any) -> tuple[list, list, list, list, list, list]:
    """Per frame of an extended XYZ file: atomic numbers, positions, energy, forces (NaN where there are none), cell,
    periodic directions. Arguments as in `xyz_frames`."""
    xyz = xyz_frames(path, **how)
    return xyz.numbers, xyz.positions, xyz.energy, xyz.forces, xyz.cell, xyz.pbc


def xyz_frames(
    path: Path,
    *,
    method: str = "",
    labels: Sequence[str] = LABELS,
    keys: Mapping[str, str] | None = None,
    also_used: Sequence[str] = (),
) -> XYZ:
    """What a file holds, frame by frame. ValueError naming the file (and frame) for what cannot be read, for a label
    of ``labels`` that no frame has, and for two labels under different names. What is not used is said."""
    out, used = XYZ(), {*also_used}
    seen: dict = {}
    named: dict[str, str] = {}
    for t, atoms in enumerate(_images(path)):
        where = f"{path}: frame {t}"
        if len(atoms) == 0:
            raise ValueError(f"{where} has no atoms")
        results = atoms.calc.results if atoms.calc else {}
        results = {k: v for k, v in results.items() if k not in ("energies", "stresses")}
        whole = {**atoms.info, **{k: v for k, v in results.items() if k not in ("forces",)}}
        per_atom = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
        per_atom |= {"forces": results["forces"]} if "forces" in results else {}
        seen |= dict.fromkeys(whole, "") | dict.fromkeys(per_atom, " per atom")
        cell = np.asarray(atoms.cell) * atoms.pbc[:, None]
        found = {
            "energy": _energy(whole, where, keys),
            "forces": pick(per_atom, "forces", where, (keys or {}).get("forces")),
        }
        for quantity, name in found.items():
            if name and named.setdefault(quantity, name) != name:
                before = named[quantity]
                raise ValueError(f"{where}: its {quantity} is under {name!r}, that of earlier frames under {before!r}")
        energy, forces = found["energy"], found["forces"]
        charge, spin = charge_and_spin(whole, atoms.numbers, where)
        stress, stress_name = stress_of(whole, cell, where) if atoms.pbc.all() else (None, None)
        used |= {name for name in (energy, forces, stress_name) if name}
        used |= {k for k in whole if not keys and energy and plain(k) in NAMES["energy"]}  # of the same value
        used |= {k for k in whole for kind in ("charge", "multiplicity", "unpaired", "spin") if plain(k) in NAMES[kind]}
        stated = pick(whole, "theory", where)
        if stated and stated not in used:
            check_theory(whole[stated], method, path)
            used.add(stated)
        out.numbers.append(atoms.numbers)
        out.positions.append(atoms.positions)
        out.energy.append(number(whole[energy], energy, where) if energy else np.nan)
        out.forces.append(_vectors(per_atom[forces], forces, where, len(atoms)) if forces else _none(atoms))
        out.cell.append(cell)
        out.pbc.append(atoms.pbc)
        out.stress.append(stress)
        out.charge.append(charge)
        out.spin.append(spin)
    if not out.positions:
        raise ValueError(f"{path}: no frames")
    missing = [k for k in labels if all(np.isnan(v).all() for v in getattr(out, k))]
    has = ", ".join(f"{k}{kind}" for k, kind in seen.items()) or "no labels"
    if missing:
        what = [f"every {named[k]!r} is NaN" if k in named else f"no {k} under a usual name" for k in missing]
        raise ValueError(f"{path}: {', '.join(what)}; it has {has}")
    unused = [f"{k}{kind}" for k, kind in seen.items() if k not in used]
    if unused:
        said(path, f"not used: {', '.join(unused)}")
    return out


def _images(path: Path):
    from ase.io import iread

    try:
        yield from iread(path, format="extxyz")
    except KeyError as error:
        raise ValueError(f"{path}: {error} is no element of the periodic table{_isotope(error)}") from None
    except Exception as error:  # ASE raises whatever it stumbles over
        raise ValueError(f"{path}: not a readable extended XYZ file: {error}") from None


def _isotope(error: KeyError) -> str:
    return ": isotopes have hydrogen's potential, write H" if str(error).strip("'") in ("D", "T") else ""


def _energy(whole: Mapping[str, Any], where: str, keys: Mapping[str, str] | None) -> str | None:
    return pick(whole, "energy", where, (keys or {}).get("energy")) or pick(whole, "free_energy", where)


def _vectors(values: Any, name: str, where: str, atoms: int) -> np.ndarray:
    try:
        out = np.asarray(values, float)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {name} holds what is not a number") from None
    if out.shape != (atoms, 3):
        raise ValueError(f"{where}: {name} has shape {out.shape}, expected {(atoms, 3)}")
    return out


def _none(atoms: Atoms) -> np.ndarray:
    return np.full((len(atoms), 3), np.nan)
