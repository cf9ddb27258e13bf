"""MD17: eight molecules, upstream npz (kcal/mol) or slices (eV)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ..datacard import Card
from .built import Built
from .observed import add_molecule
from .read import KCAL, find, join, read_npz
from .splits import SEED, add_blocked, published_split, take

MOLECULES = {
    "aspirin": "aspirin",
    "benzene": "benzene2017",
    "ethanol": "ethanol",
    "malonaldehyde": "malonaldehyde",
    "naphthalene": "naphthalene",
    "salicylic_acid": "salicylic",
    "toluene": "toluene",
    "uracil": "uracil",
}
UNSEEN = ("aspirin", "ethanol", "naphthalene", "salicylic_acid")
TIME_STEP = 0.5  # fs


def build(folder: Path, card: Card) -> Built:
    built, small = Built(), {}
    for name, file in MOLECULES.items():
        full = find(folder, f"md17_{file}.npz", f"{file}_dft.npz")
        part = find(folder, f"{name}_train.npz")
        if full:
            table = read_npz(full, method=card.theory, energy_unit=KCAL, time_step=TIME_STEP, periodic=False)
            n = table.num_rows
            built.tables[name] = take(table, published_split(n, 9500, 500, 10000))
            built.tables[f"{name}_1k"] = small[name] = take(table, published_split(n, 950, 50, 10000))
            add_blocked(built, f"{name}_blocked", table, {"train": 9500, "val": 500, "test": 10000})
            built.trajectories[name] = table.slice(0, 1000)
            add_molecule(built, (name, f"{name}_1k", f"{name}_blocked"), table, step_fs=TIME_STEP)
        elif part:
            # Slices: only the 950 + 50 random frames are independent; the third file is the first 0.5 ps.
            pool = join(read_npz(p, method=card.theory) for p in (part, part.with_name(f"{name}_val.npz")))
            table = pool.take(np.unique(pool["configuration_id"].to_numpy(zero_copy_only=False), return_index=True)[1])
            sizes = published_split(table.num_rows, 700, 50, 250)
            built.tables[f"{name}_1k"] = small[name] = take(table, sizes)
            add_molecule(built, [f"{name}_1k"], table)
            consecutive = find(folder, f"{name}_test.npz")
            if consecutive:
                built.trajectories[name] = read_npz(consecutive, method=card.theory, time_step=TIME_STEP)
            built.missing(f"{name}: 1000 random frames of a slice, split 700/50/250; upstream file absent")
        else:
            built.missing(f"{name}: no file")
    if not built.tables:
        raise ValueError(f"{folder}: no md17_*.npz, *_dft.npz or *_train.npz file of MD17")
    if set(UNSEEN) <= set(small):
        for held in UNSEEN:
            config = "unseen_molecule" if held == UNSEEN[0] else f"unseen_molecule_{held}"
            seen = [small[m] for m in UNSEEN if m != held]
            built.tables[config] = {s: join(_some(t[s], 1000) for t in seen) for s in ("train", "val", "test")}
            built.tables[config]["ood_test"] = _some(small[held]["test"], 2000)
    return built


def _some(table: pa.Table, count: int):
    if table.num_rows <= count:
        return table
    return table.take(np.sort(np.random.default_rng(SEED).choice(table.num_rows, count, replace=False)))
