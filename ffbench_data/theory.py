"""Levels of theory as identifiers of a closed list (`theories.yaml`): method, dispersion, basis, solvent.

Energies and forces of two levels differ by more than a model's error, so that a model counts as trained on a data
set's theory only where both statements resolve to one identifier. Imports no torch.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).parent / "theories.yaml"


@dataclass(frozen=True)
class Theory:
    """A level of theory by its parts, each in canonical spelling; ``""`` where there is none."""

    method: str
    dispersion: str = ""
    basis: str = ""
    solvent: str = ""

    def __str__(self) -> str:
        parts = [self.method, f"+{self.dispersion}" if self.dispersion else "", f"/{self.basis}" if self.basis else ""]
        return "".join([*parts, f"+{self.solvent}" if self.solvent else ""])


def theory(statement: str) -> Theory | None:
    """The level of theory that a card's statement names; ``None`` for an unknown one, or for none at all.

    >>> str(theory("ωB97X/6-31G*")), str(theory("PBE-D3BJ / def2-SVP")), theory("my own functional")
    ('wB97X/6-31G(d)', 'PBE+D3(BJ)/def2-SVP', None)
    """
    return _resolve(str(statement))


def same_theory(a: str, b: str) -> bool:
    """Whether two statements name one level of theory: equal identifiers of `theories.yaml`.

    A statement that is not on the list is equal only to itself (case and spaces aside), and a warning says so once.
    No statement is equal to nothing, not even to none.

    >>> same_theory("SPC/Fw", "SPC/Fw (flexible, PME)"), same_theory("PBE", "PBE+D3"), same_theory("", "")
    (True, False, False)
    """
    left, right = theory(a), theory(b)
    for statement in (a, b):
        if theory_note(statement):
            _warn_once(str(statement))
    if left is None and right is None:
        return stated(a) and _key(a) == _key(b)
    return left == right


def stated(statement: str) -> bool:
    """Whether a text states a theory at all (``none``, ``unknown`` and an empty text do not)."""
    return _key(str(statement)) not in _table()["nothing"]


def theory_note(statement: str) -> str:
    """One line for a statement that is not on the list, with the nearest identifiers; ``""`` for any other.

    >>> theory_note("wB97X/6-31G(d)")
    ''
    >>> theory_note("wB97X/6-31G(e)")
    "theory 'wB97X/6-31G(e)' is not on the list of ffbench and equals only itself; did you mean 'wB97X/6-31G(d)'?"
    """
    statement = str(statement)
    if theory(statement) is not None or not stated(statement):
        return ""
    near = difflib.get_close_matches(_key(statement), _identifiers(), n=1, cutoff=0.5)
    hint = f"; did you mean {_identifiers()[near[0]]!r}?" if near else ""
    return f"theory {statement!r} is not on the list of ffbench and equals only itself{hint}"


@cache
def _warn_once(statement: str) -> None:
    warnings.warn(theory_note(statement), stacklevel=4)


def _key(text: str) -> str:
    """A spelling without case, spaces, hyphens and underscores, omega as w."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\s\-_$\u2010-\u2015\u2212]", "", re.sub(r"\\?omega|ω", "w", text))


@cache
def _table() -> dict[str, Any]:
    """The YAML with every spelling as a key: {kind: {key: canonical}}, and sets of keys for remarks and nothing."""
    raw = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    table: dict[str, Any] = {}
    for kind in ("whole", "methods", "dispersions", "bases", "solvents"):
        spellings: dict[str, str] = {}
        for name, others in raw[kind].items():
            for key in {_key(text) for text in (name, *others) if text}:
                if spellings.setdefault(key, name) != name:
                    raise ValueError(f"{TABLE.name}: {key!r} names both {spellings[key]!r} and {name!r}")
        table[kind] = spellings
    table["usual_basis"] = raw["usual_basis"]
    return table | {kind: {_key(text) for text in raw[kind]} for kind in ("remarks", "nothing")}


@cache
def _resolve(statement: str) -> Theory | None:
    table, text = _table(), _key(statement)
    if text in table["whole"]:
        return Theory(table["whole"][text])
    text = _without_remarks(text)
    if text in table["whole"]:
        return Theory(table["whole"][text])
    for key in sorted(table["methods"], key=len, reverse=True):
        if text.startswith(key):
            parts = _parts(text[len(key) :])
            if parts is not None:
                return _with_usual_basis(Theory(table["methods"][key], **parts))
    return None


def _without_remarks(text: str) -> str:
    """Without parentheses that hold nothing but names of programs or the spin treatment."""

    def keep(match: re.Match[str]) -> str:
        inside = set(re.split("[,;]", match[1]))
        return "" if inside <= _table()["remarks"] else match[0]

    return re.sub(r"\(([^()]*)\)", keep, text)


def _parts(text: str) -> dict[str, str] | None:
    """Dispersion, basis and solvent in what follows the method, in any order; ``None`` if anything else is there."""
    found: dict[str, str] = {}
    kinds = {"dispersion": "dispersions", "basis": "bases", "solvent": "solvents"}
    while text := re.sub(r"^([+/,;]|with|in)+", "", text):
        fits = [(key, part) for part, kind in kinds.items() for key in _table()[kind] if text.startswith(key)]
        fits = [(key, part) for key, part in fits if part not in found]
        if not fits:
            return None
        key, part = max(fits, key=lambda fit: len(fit[0]))
        found[part] = _table()[kinds[part]][key]
        text = text[len(key) :]
    return found


def _with_usual_basis(level: Theory) -> Theory:
    usual = _table()["usual_basis"].get(str(level))
    return Theory(level.method, level.dispersion, usual, level.solvent) if usual else level


@cache
def _identifiers() -> dict[str, str]:
    """Identifiers to propose, by key: the whole levels, methods alone, and the levels of the shipped data cards."""
    from .datacard import card, shipped_datasets

    names = [*_table()["whole"].values(), *_table()["methods"].values()]
    names += [str(level) for name in shipped_datasets() if (level := theory(card(name).theory))]
    names += ["CCSD(T)/cc-pVTZ", "wB97M-V/def2-TZVPD", "PBE+D3(BJ)", "B3LYP/6-31G(2df,p)"]
    return {_key(name): name for name in names}
