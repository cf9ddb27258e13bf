"""Units of a file: stated by the user or the file, or proposed by trying which of the usual ones physics allows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import units as ase_units

from ..builders.labels import plain
from ..finding import Finding
from ..frames import Frames
from ..magnitudes import _hydrogen_bonds, check_magnitudes
from ..validate import _distances, _same_atoms, check_order, near_pairs, work
from .oddities import oddities

ENERGY = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": ase_units.Hartree,
    "Rydberg": ase_units.Rydberg,
    "kcal/mol": ase_units.kcal / ase_units.mol,
    "kJ/mol": ase_units.kJ / ase_units.mol,
}
LENGTH = {"Angstrom": 1.0, "Bohr": ase_units.Bohr, "nm": 10.0}
STRESS = {"GPa": ase_units.GPa, "kbar": 0.1 * ase_units.GPa}  # and energies over a length cubed
ALIASES = {
    "ev": "eV", "mev": "meV", "hartree": "Hartree", "ha": "Hartree", "eh": "Hartree", "au": "Hartree",
    "rydberg": "Rydberg", "ry": "Rydberg", "kcal/mol": "kcal/mol", "kcalpermol": "kcal/mol", "kcal": "kcal/mol",
    "kj/mol": "kJ/mol", "kj": "kJ/mol", "angstrom": "Angstrom", "ang": "Angstrom", "a": "Angstrom", "å": "Angstrom",
    "angstroms": "Angstrom", "bohr": "Bohr", "a0": "Bohr", "nm": "nm", "nanometer": "nm", "gpa": "GPa", "kbar": "kbar",
    "kb": "kbar", "a.u.": "Hartree", "atomic": "Hartree", "electronvolt": "eV",
}  # fmt: skip
ATOMIC = ("au", "a.u.", "atomic", "atomicunits")  # without a quantity
MANY, LEAST_ALIKE = 150, 0.2  # frames of one species; a rank correlation of 0.45 lies 3.5 standard errors above
RELAXED = 0.3  # eV/Angstrom, root mean square: below it nothing is learnt from the forces
LEAST_CORRELATION = 0.3  # of the force on a hydrogen with the length of its bond
EACH = "/atom"  # after an energy
HARD = ("bond_stiffness", "work", "belonging", "per_atom")  # checks that no sound set of labels fails


@dataclass(frozen=True)
class Units:
    """Factors to eV, eV/Angstrom, Angstrom and eV/Angstrom^3 (``None``: as energy over length cubed), and the text
    that states them; with ``each`` energies are those of an atom."""

    energy: float = 1.0
    forces: float = 1.0
    length: float = 1.0
    stress: float | None = None
    text: str = "energy=eV,forces=eV/Angstrom,length=Angstrom"
    each: bool = False

    def of_whole(self, energy: Any, atoms: Any) -> Any:
        """Energies (eV) of structures of so many ``atoms``."""
        return energy * self.energy * (atoms if self.each else 1)

    @property
    def per_volume(self) -> float:
        return self.energy / self.length**3 if self.stress is None else self.stress


def parse_units(text: str, name: str = "--units") -> Units:
    """``energy=Hartree,forces=Hartree/Bohr,length=Angstrom``; names may be left out in this order, lengths are Angstrom
    and forces energies over length where they are not said. A minus before the forces says that they are gradients, one
    before the stress that it is VASP's, positive under pressure. ``eV/atom``: energies are those of an atom.

    >>> parse_units("kcal/mol").text
    'energy=kcal/mol,forces=kcal/mol/Angstrom,length=Angstrom'
    >>> parse_units("hartree,hartree/bohr").text
    'energy=Hartree,forces=Hartree/Bohr,length=Angstrom'
    """
    said: dict[str, str] = {}
    order = ["energy", "forces", "length", "stress"]
    for part in (p.strip() for p in text.split(",") if p.strip()):
        key, equal, value = part.partition("=")
        key = key.strip() if equal else next((k for k in order if k not in said), "")
        if key not in order:
            raise ValueError(f"{name} {part!r}: name energy, forces, length or stress, as in {Units().text}")
        said[key] = (value if equal else part).strip()
    stated = said.get("energy", "eV")
    each = stated.casefold().endswith(EACH)
    energy = _one(stated[: -len(EACH)] if each else stated, ENERGY, name)
    length = said.get("length", "Angstrom")
    length = "Bohr" if length.casefold() in ATOMIC else _one(length, LENGTH, name)
    if "forces" not in said:
        if energy in ("Hartree", "Rydberg"):
            raise ValueError(
                f"{name} {text!r}: forces in {energy}/Bohr or in {energy}/Angstrom? Say {energy},{energy}/Bohr or "
                f"{energy},{energy}/Angstrom"
            )
        said["forces"] = f"{energy}/{length}"
    if said["forces"].casefold() in ATOMIC:
        said["forces"] = "Hartree/Bohr"
    sign, top = (-1, said["forces"][1:]) if said["forces"].startswith("-") else (1, said["forces"])
    above, _, below = top.rpartition("/")
    above, below = _one(above, ENERGY, name), _one(below, LENGTH, name)
    turned, bare = (-1, said["stress"][1:]) if said.get("stress", "").startswith("-") else (1, said.get("stress", ""))
    stress = _stress(bare, name) if bare else None
    full = f"energy={energy}{EACH * each},forces={'-' * (sign < 0)}{above}/{below},length={length}"
    return Units(
        ENERGY[energy], sign * ENERGY[above] / LENGTH[below], LENGTH[length],
        None if stress is None else turned * stress[1],
        full + (f",stress={'-' * (turned < 0)}{stress[0]}" if stress else ""), each,
    )  # fmt: skip


SAID = {  # under which names files state the unit of a quantity, by `labels.plain`
    "energy": ("energyunit", "energyunits"),
    "forces": ("forceunit", "forceunits", "forcesunit", "forcesunits"),
    "length": ("lengthunit", "lengthunits", "positionunit", "positionunits", "distanceunit", "distanceunits"),
    "stress": ("stressunit", "stressunits"),
}


def stated_units(values: Mapping[str, Any]) -> str:
    """What the fields of a file say of its units, as `parse_units` reads it; "" if nothing.

    >>> stated_units({"energy-unit": "Hartree", "force_unit": "hartree/bohr", "energy": -1.0})
    'energy=Hartree,forces=hartree/bohr'
    """
    found = {kind: str(v) for k, v in values.items() for kind, names in SAID.items() if plain(k) in names}
    return ",".join(f"{kind}={found[kind]}" for kind in SAID if kind in found)


def _stress(text: str, name: str) -> tuple[str, float]:
    """(the unit's name, its factor to eV/Angstrom^3)."""
    text = "au/bohr^3" if text.casefold() in ATOMIC else text
    if found := re.fullmatch(r"(.+)/(.+?)(\^|\*\*)?3", text.strip()):
        above, below = _one(found[1], ENERGY, name), _one(found[2], LENGTH, name)
        return f"{above}/{below}^3", ENERGY[above] / LENGTH[below] ** 3
    unit = _one(text, STRESS, name)
    return unit, STRESS[unit]


def _one(text: str, table: dict[str, float], name: str) -> str:
    key = ALIASES.get(text.strip().casefold().replace(" ", ""), text.strip())
    if key not in table:
        raise ValueError(f"{name}: {text!r} is no unit that ffbench knows here: {', '.join(table)}")
    return key


def judge(frames: Frames, temperature: Sequence[float] | None) -> list[Finding]:
    """What the labels' sizes say: distances, stiffness of bonds, sizes of forces and energies, work along the data."""
    found = [*_distances(frames, "data"), *check_magnitudes(frames, "data", temperature)]
    if len(frames) >= 12 and _same_atoms(frames):
        ordered = any(f.check == "order" and f.level == "note" for f in check_order(frames, "data"))
        told = work(frames, "data") if ordered else []
        if not any(f.level != "note" for f in told):  # neighbours in time may lie farther apart than others
            told += work(frames, "data", near_pairs(frames))
        found += told
    odd = oddities(frames)
    if any(f.check == "per_atom" for f in odd):  # says what the plain check saw
        found = [f for f in found if f.check != "work"]
    return found + odd + _strangers(frames) + _energies_of_strangers(frames)


def _energies_of_strangers(frames: Frames) -> list[Finding]:
    """Do the energies belong to these structures? Away from a minimum both the energy and the forces grow: their rank
    correlation is 0.4 to 0.9 in molecules and liquids at a temperature, and 0 for energies of other frames."""
    from scipy.stats import spearmanr

    square = np.add.reduceat((frames.forces.astype(float) ** 2).sum(1), frames.offsets[:-1])
    for species in np.unique(frames.species):
        rows = np.flatnonzero((frames.species == species) & np.isfinite(frames.energy) & np.isfinite(square))
        x, y = square[rows], frames.energy[rows]
        if len(rows) < MANY or np.sqrt(x.mean() / (3 * frames.n_atoms[rows[0]])) < RELAXED or not np.ptp(y) > 0:
            continue
        r = float(spearmanr(x, y)[0])
        if r < LEAST_ALIKE:
            text = (
                f"energies do not grow with the forces (rank correlation {r:.2f}, 0.4 and more for structures at a "
                "temperature): energies of other frames, or not of these structures?"
            )
            return [Finding("belonging", "data", "warning", text, r)]
    return []


def _strangers(frames: Frames) -> list[Finding]:
    """Do the forces belong to these structures? Those on hydrogens pull back where a bond is long, in any molecule."""
    for length, pull in _hydrogen_bonds(frames).values():
        good = np.isfinite(pull)
        if good.sum() < 100 or np.ptp(length[good]) < 0.02 or not np.ptp(pull[good]) > 0:
            continue
        r = float(np.corrcoef(length[good], pull[good])[0, 1])
        if abs(r) < LEAST_CORRELATION:
            text = (
                f"forces on hydrogens do not follow the lengths of their bonds (correlation {r:.2f}, about -0.9 in any "
            )
            return [
                Finding("belonging", "data", "error", text + "molecule): forces of other frames, or another order", r)
            ]
    return []


def proposals(frames: Frames, temperature: Sequence[float] | None, used: Units) -> list[str]:
    """Units in which nothing is wrong with labels that were read in ``used``; those with fewest doubts first."""
    found = []
    for units in _usual():
        if units.text.split(",stress")[0] == used.text.split(",stress")[0]:
            continue
        atoms = frames.n_atoms.astype(float)
        energy = units.of_whole(1.0, atoms) / used.of_whole(1.0, atoms)
        there = scaled(frames, energy, units.forces / used.forces, units.length / used.length)
        levels = [f.level for f in judge(there, temperature)]
        if "error" not in levels and "ok" in levels:
            found.append((levels.count("warning"), units.text))
    if any(f.check == "per_atom" for f in judge(frames, temperature)):
        found = [(doubts, text) for doubts, text in found if EACH + "," in text] or found
    least = min((doubts for doubts, _ in found), default=0)
    return [text for doubts, text in found if doubts == least]


def _usual() -> Iterator[Units]:
    pairs = [("eV", "eV/Angstrom"), ("Hartree", "Hartree/Bohr"), ("kcal/mol", "kcal/mol/Angstrom"),
             ("kJ/mol", "kJ/mol/Angstrom"), ("kJ/mol", "kJ/mol/nm"), ("Rydberg", "Rydberg/Bohr"),
             ("meV", "meV/Angstrom"),
             ("Hartree", "Hartree/Angstrom"), ("eV", "eV/Bohr"), ("eV", "Hartree/Bohr"), ("eV", "kcal/mol/Angstrom"),
             ("Hartree", "eV/Angstrom"), ("kcal/mol", "eV/Angstrom"), ("eV", "-eV/Angstrom"),
             ("Hartree", "-Hartree/Bohr"), ("kcal/mol", "-kcal/mol/Angstrom"), ("eV/atom", "eV/Angstrom"),
             ("meV/atom", "eV/Angstrom"), ("Hartree/atom", "Hartree/Bohr"),
             ("kcal/mol/atom", "kcal/mol/Angstrom")]  # fmt: skip
    for length, (energy, forces) in itertools.product(LENGTH, pairs):
        yield parse_units(f"energy={energy},forces={forces},length={length}")


def scaled(frames: Frames, energy: float | np.ndarray, forces: float, length: float) -> Frames:
    """The same structures with other labels and lengths."""
    import copy

    out: Any = copy.copy(frames)
    out.energy, out.forces = frames.energy * energy, (frames.forces * np.float64(forces)).astype(np.float32)
    out.positions, out.cell = frames.positions * length, frames.cell * length
    return out
