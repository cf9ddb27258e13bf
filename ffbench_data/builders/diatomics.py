"""Curves of two equal atoms at PBE and r2SCAN: one scan per element, the bond along x, the first atom at the origin."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..datacard import Card
from ..schema import to_table
from .built import Built
from .generated import as_shipped
from .read import find, join

FILE = "*diatomics-dft.json.gz"


def build(folder: Path, card: Card) -> Built:
    """``folder`` holds the file of matbench-discovery; without it the shipped data set is taken over as it is."""
    path = find(folder, FILE) or find(folder, "pbe_r2scan.json.gz")
    if path is None:
        return as_shipped(card)
    curves = json.loads(gzip.decompress(path.read_bytes()))[str(card.reference["functional"])]
    built = Built()
    built.tables["default"] = {"test": join([_table(pair, curve, card) for pair, curve in curves.items()])}
    return built


def _table(pair: str, curve: dict, card: Card) -> pa.Table:
    from ase.data import atomic_numbers

    number = atomic_numbers[pair.partition("-")[0]]
    distance, forces = np.array(curve["distances"]), np.array(curve["forces"])
    x = np.zeros((len(distance), 2, 3))
    x[:, 1, 0] = distance
    table = to_table([number] * 2, x, curve["energies"], forces, method=card.theory, where=pair)
    ends = pa.array(np.arange(len(distance) + 1, dtype=np.int32) * 2)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(forces.ravel()), 3)
    columns = {
        "scan": pa.array([pair] * len(distance)),
        "bond_length": pa.array(distance),
        "reference_forces": pa.ListArray.from_arrays(ends, vectors),
        "magnetic_moments": pa.array(curve["magmoms"], pa.list_(pa.float64())),
        "spin_candidate": pa.array([str(s) for s in curve["spin_candidates"]]),
    }
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table
