"""Which of a file's names are the labels, and one labelled structure in eV and Angstrom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..builders.labels import NAMES, charge_and_spin, equal, number, plain, stress_of
from .images import Image
from .options import Options
from .units import Units, parse_units, stated_units

GROUPS = ("configtype", "configuration", "config", "group", "label", "dataset", "subset", "source")
MOST_NAMES, MOST_LETTERS = 15, 60  # of a file, that a message lists
TIMES = {"timefs": 1.0, "timeps": 1000.0}  # to fs
TEMPERATURES = ("temperature", "temperaturek", "temp", "t", "tk")


@dataclass
class Labelled:
    """One structure in eV, Angstrom; NaN where there is no label. ``by`` is the value of the key of the split."""

    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    energy: float
    forces: np.ndarray
    stress: np.ndarray | None
    charge: int
    spin: int
    time_fs: float
    temperature: float
    group: str
    by: str
    method: str


@dataclass
class Reader:
    """Reads `Image` after `Image`; remembers under which names the labels were, and every name it saw."""

    options: Options
    units: Units
    names: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    doubts: dict[str, int] = field(default_factory=dict)
    stated: dict[str, Units] = field(default_factory=dict)
    apart: float = 0.0  # eV an atom, between energy and free energy

    def read(self, image: Image, where: str) -> Labelled:
        """ValueError, one line that names the option to give, for what nobody can tell from the file."""
        n = len(image.numbers)
        if n == 0:
            raise ValueError(f"{where} has no atoms")
        whole, per_atom = image.whole, image.per_atom
        self._units_of(whole, where)
        # lists and flat arrays of tables and databases, which nobody told that they are of the atoms
        mine = {k for k, v in whole.items() if k not in per_atom and self._may_be_forces(k, v, n)}
        per_atom = per_atom | {k: whole[k] for k in mine}
        whole = {k: v for k, v in whole.items() if k not in mine}
        if len(self.seen) < 10 * MOST_NAMES:  # files that name something else in every frame end here
            self.seen |= {k: "" for k in whole if k not in self.seen}
            self.seen |= {k: " per atom" for k in per_atom if k not in self.seen}
        energy = self._key(whole, "energy", self.options.energy_key, where)
        if energy is None and not self.options.energy_key:
            energy = self._key(whole, "free_energy", "", where, kept="energy")
        if energy is not None and not self.options.energy_key:
            self._compare_free_energy(whole, energy, n)
        forces = self._key(per_atom, "forces", self.options.forces_key, where)
        cell, pbc = self._cell(image, where)
        charge, spin = charge_and_spin(whole, image.numbers, where)
        stress, stress_key = stress_of(whole, cell, where) if pbc.all() else (None, None)
        volume_units = self.units.per_volume
        if stress_key and plain(stress_key) in NAMES["virial"]:  # an energy; the volume is in cubic Angstrom by now
            volume_units = self.units.energy
        f = np.full((n, 3), np.nan) if forces is None else _vectors(per_atom[forces], forces, where, n)
        extra = {kind: self._extra(whole, usual) for kind, usual in (("group", GROUPS), ("kelvin", TEMPERATURES))}
        time = next((k for k in whole if plain(k) in TIMES), None)
        self.used |= {k for k in (energy, forces, stress_key, time, *extra.values()) if k}
        self.used |= {k for k in whole for kind in ("charge", "multiplicity", "unpaired", "spin", "theory")
                      if plain(k) in NAMES[kind]}  # fmt: skip
        stated = next((str(whole[k]) for k in whole if plain(k) in NAMES["theory"] | {"method"}), "")
        with np.errstate(over="ignore"):
            return Labelled(
                np.asarray(image.numbers), np.asarray(image.positions, float) * self.units.length, cell, pbc,
                self.units.of_whole(number(whole[energy], energy, where) if energy else np.nan, n),
                f * self.units.forces, None if stress is None else stress * volume_units,
                charge or 0, spin or 1,
                _maybe(whole[time]) * TIMES[plain(time)] if time else np.nan,
                _maybe(whole[extra["kelvin"]]) if extra["kelvin"] else np.nan,
                str(whole[extra["group"]]) if extra["group"] else "",
                self._by(whole, where), stated,
            )  # fmt: skip

    def _compare_free_energy(self, whole: Mapping[str, Any], energy: str, atoms: int) -> None:
        free = next((k for k in whole if plain(k) in NAMES["free_energy"]), None)
        if free is not None and np.isfinite(gap := _maybe(whole[free]) - _maybe(whole[energy])):
            self.used.add(free)
            self.apart = max(self.apart, abs(self.units.of_whole(gap, atoms)) / atoms)

    def _may_be_forces(self, name: str, value: Any, atoms: int) -> bool:
        named = name == self.options.forces_key or plain(name) in NAMES["forces"]
        return named and np.size(value) == 3 * atoms

    def _units_of(self, whole: Mapping[str, Any], where: str) -> None:
        """The units that a frame states itself, where the user says none."""
        text = stated_units(whole)
        if not text or self.options.units:
            return
        if text not in self.stated:
            self.stated[text] = parse_units(text, f"{where} states its units")
        self.units = self.stated[text]
        self.used |= {k for k in whole if stated_units({k: whole[k]})}

    def _key(self, values: Mapping[str, Any], quantity: str, asked: str, where: str, kept: str = "") -> str | None:
        kept = kept or quantity
        option = f"--{kept.replace('_', '-')}-key"
        if asked == "none":
            return None
        if asked:
            if asked in values:
                return asked
            if self.names.get(kept) == asked or kept not in self.names:
                return None  # some frames may lack it; that none has it is told at the end
        fits = [name for name in values if plain(name) in NAMES[quantity]]
        if not fits:
            return None
        before = self.names.get(kept, "")
        name = before if before in fits else fits[0]
        for other in fits:
            if other != name and not equal(values[name], values[other]):
                raise ValueError(
                    f"{where}: {name!r} and {other!r} both hold {kept} labels and differ: "
                    f"say which is the label, {option} {fits[-1]} or {option} {fits[0]}"
                )
        if self.names.setdefault(kept, str(name)) != name:
            raise ValueError(
                f"{where}: its {kept} is under {name!r}, that of earlier frames under {self.names[kept]!r}: say which "
                f"is the label, {option} {self.names[kept]} (frames without it are then unlabelled)"
            )
        self.used |= set(fits)
        return name

    def _cell(self, image: Image, where: str) -> tuple[np.ndarray, np.ndarray]:
        """Cell (Angstrom, zero along open directions) and periodicity, as the file or the user says."""
        box = self.options.box()
        cell = np.asarray(image.cell, float) * self.units.length if box is None else box
        given = np.linalg.norm(cell, axis=1) > 0
        pbc = np.asarray(image.pbc, bool) if image.pbc is not None else given
        if self.options.pbc:
            pbc = np.full(3, self.options.pbc == "yes")
        elif box is not None and not pbc.any():
            pbc = np.ones(3, bool)
        if (pbc & ~given).any():
            raise ValueError(
                f"{where} is said to be periodic and has no cell: give it, --cell A,B,C (Angstrom), or say --pbc no "
                "for molecules in open space"
            )
        cell = cell * pbc[:, None]
        if pbc.all() and not abs(np.linalg.det(cell)) > 1e-6:
            raise ValueError(
                f"{where}: its cell {cell.tolist()} has no volume: give another, --cell A,B,C, or --pbc no"
            )
        return cell, pbc

    def _extra(self, whole: Mapping[str, Any], usual: tuple[str, ...]) -> str | None:
        fits = {plain(k): k for k in whole if plain(k) in usual}
        return next((fits[u] for u in usual if u in fits), None)

    def _by(self, whole: Mapping[str, Any], where: str) -> str:
        key = self.options.by()
        if not key or key == "file":
            return ""
        if key not in whole:
            raise ValueError(f"--split by:{key}: {where} has no {key!r}; it has {', '.join(whole) or 'nothing'} "
                             "(or say by:file)")  # fmt: skip
        self.used.add(key)
        return str(whole[key])

    def missing(self, has: Mapping[str, bool]) -> None:
        """ValueError if a kind of label is in no frame and nobody said so."""
        names = [f"{k}{kind}"[:MOST_LETTERS] for k, kind in self.seen.items()]
        there = ", ".join(names[:MOST_NAMES]) + " ..." * (len(names) > MOST_NAMES) or "nothing but positions"
        for kind, found in has.items():
            asked = getattr(self.options, f"{kind}_key")
            if found or asked == "none":
                continue
            option = f"--{kind}-key"
            if asked:
                raise ValueError(f"{option} {asked}: no frame has it with a number; the file has {there}")
            if kind in self.names:
                raise ValueError(f"every {self.names[kind]!r} is NaN: no {kind} to compare with; name "
                                 f"another, {option} NAME, or say {option} none")  # fmt: skip
            raise ValueError(
                f"no {kind} under a usual name; the file has {there}: name it, {option} NAME, or say {option} none"
            )
        if not any(has.values()):
            raise ValueError(f"neither energies nor forces: there is nothing to compare with; the file has {there}")


def _maybe(value: Any) -> float:
    try:
        return float(np.asarray(value, float).reshape(()))
    except (TypeError, ValueError):
        return float("nan")


def _vectors(values: Any, name: str, where: str, atoms: int) -> np.ndarray:
    try:
        out = np.asarray(values, float)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {name} holds what is not a number") from None
    if out.size != 3 * atoms:
        raise ValueError(
            f"{where}: {name} has shape {out.shape}, expected {(atoms, 3)}: name another, --forces-key NAME"
        )
    return out.reshape(atoms, 3)
