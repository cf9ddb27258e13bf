"""Bond scans of any molecule: made here, asked of a model, and scored with or without a reference."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ffbench_data.atomic import write_text
from ffbench_data.contract import ForceField
from ffbench_data.scans import Scan, find_bonds, fragments, scan_bond

from . import pictures, scores
from .predict import predict
from .scans import LabelledScan

if TYPE_CHECKING:
    from ffbench_data.contract import AtomsBatch

    from .predict import Answers

FLAT = 0.1  # eV: from half to twice a bond length any bond changes by electronvolts
LITE = {"spurious_extrema": "1", "energy_roughness": "eV", "conservativeness": "eV", "sign_flips": "1"}


@dataclass(frozen=True)
class Molecule:
    """``numbers`` [N], ``positions`` [N, 3] in Angstrom, a name for reports, charge and spin multiplicity (2S+1)."""

    name: str
    numbers: np.ndarray
    positions: np.ndarray
    charge: int = 0
    spin_multiplicity: int = 1

    @property
    def state(self) -> tuple[int, int]:
        return self.charge, self.spin_multiplicity


def as_molecule(atoms: Any, name: str) -> Molecule:
    """Of an `ase.Atoms`, with the charge and spin in its ``info`` (under any of the names in use)."""
    from ffbench_data.builders.labels import charge_and_spin

    charge, spin = charge_and_spin(getattr(atoms, "info", {}), np.asarray(atoms.numbers), f"molecule {name}")
    return Molecule(name, np.array(atoms.numbers), np.array(atoms.positions, float), charge or 0, spin or 1)


def read_molecule(path: str | Path) -> Molecule:
    """The (last) structure of any file ASE reads. ValueError for an unreadable file, a periodic structure, one atom."""
    from ase.io import read

    path = Path(path)
    if not path.exists():
        raise ValueError(f"molecule: no file {path}")
    try:
        atoms: Any = read(path)
    except Exception as error:  # ASE raises whatever it stumbles over
        raise ValueError(f"molecule: {path} is not a structure file ASE can read: {error}") from None
    if atoms.pbc.any():
        raise ValueError(f"molecule: {path} is periodic; bond scans are of molecules in open space")
    if len(atoms) < 2:
        raise ValueError(f"molecule: {path} holds {len(atoms)} atom; a bond needs two")
    return as_molecule(atoms, path.stem)


def make_scans(molecule: Molecule, bonds: str = "auto") -> dict[str, Scan]:
    """{``C0-O2``: scan}: ``auto`` takes every bond that is in no ring, ``heavy`` those without hydrogen, a list such as
    ``0-2,2-8`` the named pairs of atoms (counted from 0). ValueError names a pair that is no such bond."""
    numbers, x = molecule.numbers, molecule.positions
    known = find_bonds(numbers, x)
    bridges = {b: side for b in known if (side := fragments(len(numbers), known, b)) is not None}
    if bonds in ("auto", "heavy"):
        chosen = [b for b in bridges if bonds == "auto" or min(numbers[list(b)]) > 1]
    else:
        chosen = [_pair(text, known, bridges) for text in bonds.split(",")]
    if not chosen:
        raise ValueError(
            f"bonds: {molecule.name} has no bond outside rings{' between heavy atoms' * (bonds == 'heavy')}"
        )
    return {_label(numbers, b): scan_bond(numbers, x, b, bridges[b]) for b in chosen}


def _pair(text: str, known: Collection[tuple[int, int]], bridges: Collection[tuple[int, int]]) -> tuple[int, int]:
    try:
        i, j = sorted(int(part) for part in text.strip().split("-"))
    except ValueError:
        raise ValueError(f"bonds: {text!r} is not auto, heavy or a list of pairs such as 0-2,2-8") from None
    if (i, j) not in known:
        raise ValueError(
            f"bonds: atoms {i} and {j} are not bonded; bonds are {', '.join(f'{a}-{b}' for a, b in known)}"
        )
    if (i, j) not in bridges:
        raise ValueError(f"bonds: {i}-{j} is in a ring, so the molecule does not fall apart there; leave it out")
    return i, j


def _label(numbers: np.ndarray, bond: tuple[int, int]) -> str:
    from ase.data import chemical_symbols

    return "-".join(f"{chemical_symbols[numbers[k]]}{k}" for k in bond)


def label_scans(molecule: Molecule, scans: dict[str, Scan], reference: ForceField) -> dict[str, LabelledScan]:
    """The scans with energies and forces of ``reference``; frames without an answer are unlabelled (NaN).

    ValueError if a scan gets no label at all.
    """
    answers = predict(
        _tolerant(reference),
        [(molecule.numbers, s.positions) for s in scans.values()],
        states=[molecule.state] * len(scans),
    )
    out = {}
    for k, (name, s) in enumerate(scans.items()):
        forces = answers.forces[k].astype(np.float64)
        out[name] = LabelledScan(
            name, molecule.name, np.arange(len(s.bond_length)), np.asarray(molecule.numbers), s.positions,
            answers.energy[k], forces, s.bond_length, *molecule.state,
        )  # fmt: skip
        if out[name].labelled.sum() < 2:
            raise ValueError(f"reference: {reference.name} has no answer on scan {name} of {molecule.name}")
    return out


def _tolerant(reference: ForceField) -> ForceField:
    """A reference may raise where its self-consistent field does not converge: NaN there, structure by structure."""
    from dataclasses import replace

    import torch

    from ffbench_data.contract import Prediction

    def call(batch: AtomsBatch):
        try:
            return reference.fn(batch)
        except Exception:
            if batch.n_systems > 1:
                parts = [call(one) for one in _singly(batch)]
                return Prediction(torch.cat([p.energy for p in parts]), torch.cat([p.forces for p in parts]))
            return Prediction(
                torch.full((1,), torch.nan, dtype=batch.positions.dtype), torch.full_like(batch.positions, torch.nan)
            )

    return replace(reference, fn=call)


def _singly(batch: AtomsBatch):
    """The systems of a batch, one by one, with their own edges."""
    from dataclasses import replace

    start = 0
    for b, n in enumerate(batch.n_atoms.tolist()):
        rows, edges, shift = slice(start, start + n), batch.edge_index, None
        if edges is not None:
            mine = (edges[0] >= start) & (edges[0] < start + n)
            edges = edges[:, mine] - start
            shift = None if batch.edge_shift is None else batch.edge_shift[mine]
        yield replace(
            batch, positions=batch.positions[rows], atomic_numbers=batch.atomic_numbers[rows],
            system_index=batch.system_index[rows] - b, cell=batch.cell[b : b + 1], pbc=batch.pbc[b : b + 1],
            charge=batch.charge[b : b + 1], spin_multiplicity=batch.spin_multiplicity[b : b + 1],
            edge_index=edges, edge_shift=shift,
        )  # fmt: skip
        start += n


def scan_molecule(
    molecule: Molecule,
    scans: dict[str, Scan],
    model: ForceField,
    reference: ForceField | None,
    folder: Path,
) -> dict[str, dict[str, Any]]:
    """Score ``model`` on the scans and write ``scan.json`` and ``scan.html`` to ``folder``; {scan: its numbers}.

    Without a reference these are the four of `ffbench_metrics.bsct_lite`. A scan on which the model's answer is not
    finite has ``state: model_error`` and no numbers; so has one (``flat``) along which nothing changes, whose four
    would be perfect.
    """
    from ffbench_metrics import bsct_lite

    for who, what in (("model", model), ("reference", reference)):
        if what is not None and what.elements is not None:
            missing = sorted(set(molecule.numbers.tolist()) - set(what.elements))
            if missing:
                raise ValueError(f"{who}: {what.name} does not cover the elements {missing} of {molecule.name}")
        if what is not None and not what.takes(*molecule.state):
            raise ValueError(
                f"{who}: {what.name} does not use charge and spin, and {molecule.name} has charge {molecule.charge} "
                f"and spin multiplicity {molecule.spin_multiplicity}"
            )
    from ...models.guard import guarded

    answers = predict(
        guarded(model), [(molecule.numbers, s.positions) for s in scans.values()], states=[molecule.state] * len(scans)
    )
    labelled = label_scans(molecule, scans, reference) if reference is not None else {}
    rows: dict[str, dict[str, Any]] = {}
    for k, (name, s) in enumerate(scans.items()):
        energy, forces = answers.energy[k], answers.forces[k]
        bad = ~(np.isfinite(energy) & np.isfinite(forces).all(axis=(1, 2)))
        if k in answers.faults or bad.any():
            state, why = answers.faults.get(k, ("model_error", f"not finite on {bad.sum()} of {len(bad)} frames"))
            rows[name] = {"state": state, "why": why}
        elif labelled:
            row = scores.score_scan(labelled[name], energy, forces)
            rows[name] = {"state": "ok"} | {key: v for key, v in row.items() if key != "conservativeness"}
        elif np.ptp(energy) < FLAT:
            rows[name] = {"state": "flat", "why": f"the energy changes by less than {FLAT:g} eV: nothing to judge"}
        else:
            lite = bsct_lite(energy, forces, s.positions, (s.i, s.j), s.fragment)
            rows[name] = {"state": "ok", **lite._asdict()}
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "molecule": molecule.name,
        "model": model.name,
        "reference": None if reference is None else reference.name,
        "units": scores.UNITS if labelled else LITE,
        "scans": rows,
    }
    write_text(folder / "scan.json", json.dumps(record, indent=1) + "\n")
    _page(folder / "scan.html", molecule, scans, labelled, rows, answers, model)
    return rows


def _page(
    path: Path,
    molecule: Molecule,
    scans: dict[str, Scan],
    labelled: dict[str, LabelledScan],
    rows: Any,
    answers: Answers,
    model: ForceField,
) -> None:
    at = {name: k for k, name in enumerate(scans)}
    good = [name for name, row in rows.items() if row["state"] == "ok"]
    title = f"{model.name}: bond scans of {molecule.name}"
    if labelled:
        good.sort(key=lambda name: -rows[name]["fsd"])
        predicted = {name: (answers.energy[at[name]], answers.forces[at[name]]) for name in good}
        pictures.write_page(path, title, labelled, {n: rows[n] if n in good else None for n in rows}, predicted)
        return
    good.sort(key=lambda name: (-rows[name]["spurious_extrema"], -rows[name]["energy_roughness"]))
    shown = []
    for name in good:
        k = at[name]
        drawn = pictures.plain_curves(name, scans[name].bond_length, answers.energy[k], answers.forces[k])
        shown.append(pictures.entry(name, drawn, [pictures.cell(rows[name][key], key) for key in LITE]))
    intro = (
        "Scans without a reference: turning points of the energy beyond the one a bond has, its roughness, how far the "
        "work of the forces is from the energy, and sign changes of the force along the bond. The best value of each "
        "is 0."
    )
    heads = [(key.replace("_", " "), "" if unit == "1" else unit) for key, unit in LITE.items()]
    pictures.page(path, title, intro, [], heads, shown)


def write_structures(path: Path, molecule: Molecule, scans: dict[str, Scan]) -> Path:
    """All frames as extended XYZ, with the scan's name and bond length, for labelling elsewhere."""
    from ase import Atoms
    from ase.io import write

    frames = []
    for name, s in scans.items():
        for length, x in zip(s.bond_length, s.positions):
            frames.append(Atoms(molecule.numbers, x, info={"scan": name, "bond_length": float(length)}))
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, frames, format="extxyz")
    return path
