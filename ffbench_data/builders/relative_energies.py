"""Relative energies: one config per set, structures as frames without labels, reactions beside them.

``reference/<set>/reference.json`` holds the reactions: ``terms`` [[coefficient, row of the frame], ...], ``reference``
in kcal/mol, ``parent`` (formula and charge of the largest structure: what reactions of one molecule share), and for
points of a curve its name and the distance over that of the minimum; ``group`` and ``uncertainty`` (kcal/mol) are the
card's.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..datacard import Card
from ..schema import to_table
from .built import Built
from .generated import as_shipped
from .read import find


def build(folder: Path, card: Card) -> Built:
    """``folder`` holds ``<set>.json.gz`` for every set; without them the shipped data set is taken over as it is."""
    if find(folder, f"{card.default_config}.json.gz") is None:
        return as_shipped(card)
    built = Built()
    for name in card.configs:
        path = find(folder, f"{name}.json.gz")
        if path is None:
            built.missing(f"{name}: no {name}.json.gz")
            continue
        found = json.loads(gzip.decompress(path.read_bytes()))
        built.tables[name] = {"test": _frames(found["structures"], card, name)}
        built.extra_files[f"reference/{name}/reference.json"] = _table(card.reference["sets"][name], found)
    return built


def _frames(structures: dict[str, Any], card: Card, name: str) -> pa.Table:
    rows = list(structures.values())
    x = [np.array(s["positions"], float) for s in rows]
    table = to_table(
        [s["numbers"] for s in rows],
        x,
        np.full(len(rows), np.nan),
        [np.full(p.shape, np.nan) for p in x],
        charge=[s["charge"] for s in rows],
        spin_multiplicity=[s["multiplicity"] for s in rows],
        method=card.theory,
        where=name,
    )
    return table.append_column("structure", pa.array(list(structures)))


def _table(about: dict[str, Any], found: dict[str, Any]) -> bytes:
    """The facts of a set, a line per reaction."""
    head = json.dumps(about)[:-1]
    rows = ",\n".join(json.dumps(reaction) for reaction in _reactions(found))
    return f'{head}, "reactions": [\n{rows}\n]}}\n'.encode()


def _reactions(found: dict[str, Any]):
    structures = found["structures"]
    row = {name: k for k, name in enumerate(structures)}
    for reaction in found["reactions"]:
        names = [name for _, name in reaction["terms"]]
        largest = structures[max(names, key=lambda n: len(structures[n]["numbers"]))]
        out = {
            "terms": [[c, row[n]] for c, n in reaction["terms"]],
            "reference": reaction["reference"],
            "parent": formula(largest["numbers"], largest["charge"]),
        }
        curve, _, scale = names[0].rpartition("_")
        if found["set"] == "s66x8":
            out |= {"curve": curve, "scale": float(scale)}
        yield out


def formula(numbers: list[int], charge: int = 0) -> str:
    """Hill's formula with the charge.

    >>> formula([8, 1, 1, 1], 1)
    'H3O+'
    """
    from ase import Atoms

    sign = "" if not charge else f"{abs(charge) if abs(charge) > 1 else ''}{'+' if charge > 0 else '-'}"
    return Atoms(numbers).get_chemical_formula(mode="hill") + sign
