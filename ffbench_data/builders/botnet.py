"""3BPA and acetylacetone of BOTNet-datasets: extended XYZ upstream, or slices as npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ..datacard import Card
from .built import Built
from .read import find, join, read_npz, read_xyz
from .splits import SEED, take


def build_three_bpa(folder: Path, card: Card) -> Built:
    built = Built()
    cold, test300, test600 = (_one(folder, n, card) for n in ("train_300K", "test_300K", "test_600K"))
    seen = {**_train_val(cold), "test": test300}
    built.tables["300K_to_600K"] = {**seen, "ood_test": test600}
    test1200 = _one(folder, "test_1200K", card, missing_ok=True)
    slice1200 = _one(folder, "slice_1200K", card, missing_ok=True)
    if test1200 is None:
        built.missing(
            "test_1200K (2139 frames) is absent" + (": a slice of train_mixedT stands in" * (slice1200 is not None))
        )
    hottest = test1200 if test1200 is not None else slice1200
    if hottest is not None:
        # The slice comes from train_mixedT, which shares 31 frames with train_300K, never with 1200 K.
        built.tables["300K_to_1200K"] = {**seen, "ood_test": hottest}
    mixed = _one(folder, "train_mixedT", card, missing_ok=True)
    if mixed is not None:
        tests = [t for t in (test300, test600, test1200) if t is not None]
        built.tables["mixedT"] = {**_train_val(mixed), "test": join(tests)}
    scan = _one(folder, "test_dih", card, missing_ok=True, labels=("energy",))
    if scan is not None:
        built.tables["dihedral"] = {"test": scan}
    else:
        built.missing("dihedral scans (test_dih) are absent")
    return built


def build_acac(folder: Path, card: Card) -> Built:
    built = Built()
    train300, train600 = (_one(folder, f"train_{t}K", card) for t in (300, 600))
    test300, test600 = (_one(folder, f"test_MD_{t}K", card, f"test_{t}K") for t in (300, 600))
    built.tables["300K_to_600K"] = {**_train_val(train300), "test": test300, "ood_test": test600}
    built.tables["600K"] = {**_train_val(train600), "test": test600}
    for config, file in (("h_transfer", "test_H_transfer"), ("dihedral", "test_dihedral")):
        table = _one(folder, file, card, f"{file}_energyonly", missing_ok=True, labels=("energy",))
        if table is None:
            built.missing(f"{file} is absent")
        else:
            built.tables[config] = {"test": table}
    return built


def _one(
    folder: Path,
    name: str,
    card: Card,
    *others: str,
    missing_ok: bool = False,
    labels: tuple[str, ...] = ("energy", "forces"),
):
    path = find(folder, *(f"{n}.{end}" for n in (name, *others) for end in ("xyz", "npz")))
    if path is None:
        if missing_ok:
            return None
        raise ValueError(f"{folder}: {name}.xyz (or .npz) is missing")
    read = read_xyz if path.suffix == ".xyz" else read_npz
    return read(path, method=card.theory, labels=labels)


def _train_val(table: pa.Table):
    order = np.random.default_rng(SEED).permutation(table.num_rows)
    val = table.num_rows // 10
    return take(table, {"train": np.sort(order[val:]), "val": np.sort(order[:val])})
