"""rMD17: ten molecules, npz in kcal/mol and the five published index splits, as a tar archive or unpacked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ..datacard import Card
from .built import Built
from .read import KCAL, find, read_npz, unpack
from .splits import SEED, add_blocked, take

MOLECULES = {
    "aspirin": "aspirin",
    "azobenzene": "azobenzene",
    "benzene": "benzene",
    "ethanol": "ethanol",
    "malonaldehyde": "malonaldehyde",
    "naphthalene": "naphthalene",
    "paracetamol": "paracetamol",
    "salicylic_acid": "salicylic",
    "toluene": "toluene",
    "uracil": "uracil",
}
FOLDS = range(1, 6)


def build(folder: Path, card: Card) -> Built:
    built = Built()
    archive = find(folder, "rmd17.tar.bz2", "rmd17.tar*")
    if archive and not find(folder, "rmd17_*.npz"):
        folder = unpack(archive, folder / "unpacked")
    for name, file in MOLECULES.items():
        path = find(folder, f"rmd17_{file}.npz")
        if not path:
            built.missing(f"{name}: no file")
            continue
        table = read_npz(path, method=card.theory, energy_unit=KCAL, periodic=False)
        for fold in FOLDS:
            pool, test = (_index(folder, f"index_{s}_{fold:02d}.csv", table.num_rows) for s in ("train", "test"))
            order = np.random.default_rng([SEED, fold]).permutation(len(pool))
            val = max(1, len(pool) // 20)
            rows = {"train": pool[order[val:]], "val": pool[order[:val]], "test": test}
            built.tables[f"{name}_{fold}"] = take(table, rows)
        # source_index is the frame number in MD17, so sorting by it restores the order in time.
        ordered = table.take(pa.array(np.argsort(table["source_index"].to_numpy(), kind="stable")))
        add_blocked(built, f"{name}_blocked", ordered, {"train": 950, "val": 50, "test": 1000})
    if not built.tables:
        raise ValueError(f"{folder}: no rmd17_*.npz file")
    return built


def _index(folder: Path, name: str, frames: int) -> np.ndarray:
    path = find(folder, name)
    if path is None:
        raise ValueError(f"{folder}: {name} of the published splits is missing")
    try:
        rows = np.loadtxt(path, dtype=int, ndmin=1)
    except ValueError as error:
        raise ValueError(f"{path}: not a list of frame numbers: {error}") from None
    if len(rows) == 0 or rows.min() < 0 or rows.max() >= frames:
        raise ValueError(f"{path}: frame numbers outside 0..{frames - 1}")
    return rows
