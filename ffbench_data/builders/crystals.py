"""Periodic AIMD sets: LiPS (extended XYZ), LiPS20 (DeePMD folders), GeTe (npz), or their slices as npz."""

from __future__ import annotations

from pathlib import Path

from ..datacard import Card
from .built import Built
from .observed import add_crystal
from .read import find, join, read_deepmd, read_npz, read_xyz, unpack
from .splits import add_blocked, blocked_split, published_split, take


def build_lips(folder: Path, card: Card) -> Built:
    built = Built()
    full, part = find(folder, "lips.xyz"), find(folder, "val_1000.npz", "nequip_npz.npz")
    if full:
        table = read_xyz(full, method=card.theory)
        n = table.num_rows
        built.tables["20k"] = take(table, published_split(n, 19000, 1000, n - 20000 if n > 21000 else 5000))
        add_blocked(built, "blocked", table)
        built.trajectories["lips"] = table.slice(0, 1000)
    elif part:
        table = read_npz(part, method=card.theory)
        built.tables["20k"] = take(table, published_split(table.num_rows, 700, 50, 250))
        built.missing(f"20k: a slice of {table.num_rows} random frames, split 700/50/250; lips.xyz is absent")
    else:
        raise ValueError(f"{folder}: no lips.xyz (or val_1000.npz)")
    add_crystal(built, ("20k", "blocked"), table, card.reference)
    return built


def build_lips20(folder: Path, card: Card) -> Built:
    built, systems = Built(), {}
    folder = _opened(folder, "Datasets/LiPS20/")
    for raw in sorted(Path(folder).rglob("type.raw")):
        # .../<composition>/3000K/deepmd/<formula>/type.raw
        systems[raw.parents[3].name] = read_deepmd(raw.parent, method=card.theory)
    if not systems:
        for path in sorted(Path(folder).rglob("*.npz")):
            if not path.name.startswith("_"):
                systems[path.stem] = read_npz(path, method=card.theory)
    if not systems:
        raise ValueError(f"{folder}: no DeePMD folders (type.raw) and no npz slices of LiPS20")
    everything = card.reference["compositions"]
    absent = [name for name in everything if name not in systems]
    if absent or any(t.num_rows < 1000 for t in systems.values()):
        sizes = sorted({t.num_rows for t in systems.values()})
        built.missing(f"{len(systems)} of {len(everything)} compositions, {sizes} frames each; absent: {absent}")
    for config, unseen in card.reference["unseen"].items():
        seen = [name for name in systems if name not in unseen]
        held = [systems[name] for name in unseen if name in systems]
        if not held:
            built.missing(f"{config}: none of {unseen} is there")
            continue
        parts = []
        for name in seen:
            n = systems[name].num_rows
            # A heating run has no stationary autocorrelation time: ten blocks of time, one part in fifty as gap.
            gap = max(1, n // 50)
            parts.append(take(systems[name], blocked_split(n, block=(n - 9 * gap) // 10, gap=gap)))
        built.tables[config] = {s: join(p[s] for p in parts) for s in ("train", "val", "test")}
        built.tables[config]["ood_test"] = join(held)
    return built


def build_gete(folder: Path, card: Card) -> Built:
    built = Built()
    folder = _opened(folder, "Datasets/GeTe/")
    shipped = {s: find(folder, f"{s}/nequip_npz.npz") for s in ("train", "val", "test")}
    if all(shipped.values()):
        tables = {s: read_npz(p, method=card.theory, periodic=True) for s, p in shipped.items() if p}
        built.tables["published"] = tables
        run = tables["test"]
    else:
        path = find(folder, "val_300.npz", "nequip_npz.npz", "*.npz")
        if path is None:
            raise ValueError(f"{folder}: no val_300.npz or {{train,val,test}}/nequip_npz.npz of GeTe")
        run = read_npz(path, method=card.theory)
        built.missing(f"published splits are absent; {run.num_rows} consecutive frames cut into blocks")
    gap = max(1, run.num_rows // 50)
    built.splits["blocked"] = {"block_frames": (run.num_rows - 9 * gap) // 10, "gap_frames": gap}
    built.tables["blocked"] = take(run, blocked_split(run.num_rows, block=(run.num_rows - 9 * gap) // 10, gap=gap))
    built.trajectories["gete"] = run
    return built


def _opened(folder: Path, only: str) -> Path:
    archive = find(folder, "*.tar.gz")
    return unpack(archive, Path(folder) / "unpacked", only) if archive else folder
