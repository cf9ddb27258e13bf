"""Under which names files keep their labels, charge and spin: which is meant, and what is left unused.

A name is compared without case and underscores. Two names of one quantity with different values are refused, since
nobody can tell which is the label; what no name fits is said (`NotUsed`), never dropped in silence.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..theory import Theory, stated, theory

SOURCES = ("ref", "reference", "dft", "qm", "target", "label", "true")


def _named(*stems: str, also: Iterable[str] = ()) -> frozenset[str]:
    """The stems alone and with the source of the label before or behind (REF_energy, energy_dft)."""
    return frozenset([*stems, *also, *(s + stem for s in SOURCES for stem in stems),
                      *(stem + s for s in SOURCES for stem in stems)])  # fmt: skip


NAMES = {
    "energy": _named(
        "energy",
        "energies",
        also=(
            "e",
            "etot",
            "etotal",
            "epot",
            "edft",
            "eref",
            "totenergy",
            "totalenergy",
            "potentialenergy",
            "energyconjugatewithatomicforces",
        ),
    ),
    "free_energy": _named("freeenergy"),  # the force-consistent energy; taken where there is no energy
    "forces": _named("forces", "force", also=("f", "ftotal", "fdft", "fref", "atomicforces", "atomicforces00")),
    "stress": _named("stress", also=("cauchystress",)),  # eV/A^3, positive under tension
    "virial": _named("virial", "virials"),  # eV, -volume * stress
    "charge": frozenset({"charge", "totalcharge", "totcharge", "netcharge", "systemcharge", "molecularcharge"}),
    "multiplicity": frozenset({"multiplicity", "spinmultiplicity", "mult"}),  # 2S+1
    "unpaired": frozenset({"unpaired", "unpairedelectrons", "nunpaired", "uhf", "nuhf", "nopen"}),  # 2S
    "spin": frozenset({"spin", "totalspin"}),  # 2S+1 (fairchem, MACE, ORB) or 2S (PySCF): the electrons tell
    "theory": frozenset({"theory", "leveloftheory"}),
}


class NotUsed(UserWarning):
    """Something in a file that a reader did not use, or cannot judge. ``what`` is the message without the file."""

    def __init__(self, path: Path, what: str):
        super().__init__(f"{path}: {what}")
        self.path, self.what = path, what


def said(path: Path, what: str) -> None:
    warnings.warn(NotUsed(path, what), stacklevel=3)


def plain(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")


def pick(values: Mapping[str, Any], quantity: str, where: str, key: str | None = None) -> str | None:
    """The name in ``values`` that holds ``quantity`` (``key``, where given); ``None`` if there is none.

    ValueError where two names hold different values.

    >>> pick({"REF_energy": -1.0, "dipole": 0.0}, "energy", "a.xyz")
    'REF_energy'
    """
    if key is not None:
        if key not in values:
            raise ValueError(f"{where}: no {key!r} for the {quantity}; it has {_list(values)}")
        return key
    fits = [name for name in values if plain(name) in NAMES[quantity]]
    article = "an" if quantity[0] in "aeiou" else "a"
    for other in fits[1:]:
        if not equal(values[fits[0]], values[other]):
            raise ValueError(
                f"{where}: {fits[0]!r} and {other!r} both hold {article} {quantity} and differ; keep the label"
            )
    return fits[0] if fits else None


def equal(a: Any, b: Any) -> bool:
    """Whether two values are the same numbers, whatever their shapes."""
    try:
        a, b = np.asarray(a, float), np.asarray(b, float)
    except (TypeError, ValueError):
        return False
    return a.size == b.size and bool(np.allclose(a.ravel(), b.ravel(), rtol=1e-9, atol=1e-9, equal_nan=True))


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(str, names)) or "nothing"


WHOLE = 1e-3  # charges that are sums of the atoms' are whole to this


def number(value: Any, name: str, where: str) -> float:
    """One finite number or NaN; Fortran's 1.0D+00 too. ValueError for text, or more than one value."""
    try:
        one = np.asarray(value.replace("D", "E") if isinstance(value, str) else value, float)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {name}={value!r} is not a number") from None
    if one.size != 1:
        raise ValueError(f"{where}: {name} has {one.size} values, expected one")
    return float(one.reshape(()) if one.ndim == 0 else one.ravel()[0])


def whole(value: Any, name: str, where: str) -> int:
    out = number(value, name, where)
    if not abs(out - np.round(out)) < WHOLE:
        raise ValueError(f"{where}: {name}={out:g} is not a whole number")
    return round(out)


def charge_and_spin(values: Mapping[str, Any], numbers: np.ndarray, where: str) -> tuple[int | None, int | None]:
    """(total charge, spin multiplicity 2S+1) as a file states them, ``None`` where it does not.

    ``multiplicity`` is 2S+1 and ``unpaired_electrons`` (``uhf``) 2S. ``spin`` alone is used for both: the number of
    electrons tells them apart, as only one of the two has the right parity. A half, as 0.5 or 1.5, is S itself.

    >>> charge_and_spin({"charge": 1, "spin": 2}, np.array([1, 1]), "H2+")
    (1, 2)
    """
    kinds = ("charge", "multiplicity", "unpaired", "spin")
    values = {k: v for k, v in values.items() if any(plain(k) in NAMES[kind] for kind in kinds) and not _absent(v)}
    names = {k: pick(values, k, where) for k in kinds}
    name = names["charge"]
    charge = whole(values[name], name, where) if name else None
    found = {}
    electrons = int(np.sum(numbers)) - (charge or 0)
    for kind in ("multiplicity", "unpaired", "spin"):
        if name := names[kind]:
            if kind == "spin" and abs(number(values[name], name, where) % 1 - 0.5) < WHOLE:
                found[name] = round(2 * number(values[name], name, where)) + 1
                continue
            value = whole(values[name], name, where)
            twice = kind == "unpaired" or (kind == "spin" and value % 2 == electrons % 2)
            found[name] = value + 1 if twice else value
    if len(set(found.values())) > 1:
        raise ValueError(f"{where}: {' and '.join(map(repr, found))} state different spins; keep one")
    for key, multiplicity in found.items():
        if multiplicity < 1:
            raise ValueError(f"{where}: {key}={values[key]} is no spin multiplicity (2S+1, at least 1)")
        return charge, multiplicity
    return charge, None


def _absent(value: Any) -> bool:
    """Whether a cell of a table is empty."""
    return value is None or (isinstance(value, (float, np.floating)) and np.isnan(value))


def voigt(stress: Any, where: str, name: str) -> np.ndarray:
    """[3, 3] from [3, 3], [9] or Voigt's [6] (xx, yy, zz, yz, xz, xy)."""
    values = np.asarray(stress, float).ravel()
    if values.size == 6:
        values = values[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
    if values.size != 9:
        raise ValueError(f"{where}: {name} has {values.size} values, expected 6 or 9")
    return values.reshape(3, 3)


def stress_of(values: Mapping[str, Any], cell: np.ndarray, where: str) -> tuple[np.ndarray | None, str | None]:
    """(Cauchy stress [3, 3] in eV/A^3, the name it was under); a virial is divided by minus the volume of the cell."""
    name = pick(values, "stress", where)
    if name:
        return voigt(values[name], where, name), name
    name, volume = pick(values, "virial", where), abs(np.linalg.det(cell))
    if name and volume > 0:
        return -voigt(values[name], where, name) / volume, name
    return None, None


def check_theory(statement: Any, method: str, path: Path) -> None:
    """Compare what a file says its labels are with the card. ValueError where they contradict each other."""
    statement = statement.decode(errors="replace") if isinstance(statement, bytes) else str(statement)
    if not method or not stated(statement):
        return
    theirs, ours = theory(statement), theory(method)
    if theirs is None or ours is None:
        if statement.casefold() != method.casefold():
            said(path, f"states the theory {statement!r}, the data set {method!r}: check that they are the same")
        return
    if theirs == ours:
        return
    if _contradict(theirs, ours):
        raise ValueError(f"{path}: its labels are {statement!r}, the data set is {method!r}: another level of theory")
    said(path, f"states the theory {statement!r} only, the data set {method!r}")


def _contradict(a: Theory, b: Theory) -> bool:
    pairs = zip((a.dispersion, a.basis, a.solvent), (b.dispersion, b.basis, b.solvent))
    return a.method != b.method or any(x != y for x, y in pairs if x and y)
