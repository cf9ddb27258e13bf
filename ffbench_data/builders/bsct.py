"""BSCT-SPICE: bond scans in the folder layout of upstream (or its archive), or flat npz files per bond type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..datacard import Card
from ..schema import to_table
from .built import Built
from .read import find, npz_arrays, read_xyz, unpack

BONDS = ("C-C", "C-N", "C-O", "C-P", "C-S", "N-N", "N-O", "N-P", "O-P")
SCANS = "scans.parquet"


def build(folder: Path, card: Card) -> Built:
    """One config per bond type; ``scans.parquet`` has one row per scan (id, rows, bond, lengths, fragments)."""
    built, rows = Built(), []
    if not find(folder, "partition.npz") and not find(folder, "C-C.npz"):
        archive = find(folder, "*.tar.gz")
        if archive:
            folder = unpack(archive, Path(folder) / "unpacked")
    for bond in BONDS:
        flat = find(folder, f"{bond}.npz")
        scans = _flat(flat) if flat else _folders(folder, bond)
        if not scans:
            built.missing(f"{bond}: no scans")
            continue
        tables, first = [], 0
        for scan in scans:
            frames = len(scan["positions"])
            tables.append(
                to_table(
                    scan["numbers"],
                    scan["positions"],
                    scan["energy"],
                    scan["forces"],
                    method=card.theory,
                    source_index=np.arange(frames),
                )
            )
            rows.append(
                {"config": bond, "scan_id": scan["id"], "first_row": first, "frames": frames, "smiles": scan["smiles"]}
                | {k: np.asarray(scan[k]).tolist() for k in ("bond_index", "bond_length", "fragment")}
            )
            first += frames
        built.tables[bond] = {"test": pa.concat_tables(tables).combine_chunks()}
    if not rows:
        raise ValueError(f"{folder}: no bond scans (C-C.npz, or folders with partition.npz)")
    if len(rows) != 485:
        built.missing(f"{len(rows)} of 485 scans")
    table = pa.Table.from_pylist(rows)
    built.extra_files[SCANS] = lambda path: pq.write_table(table, path, compression="zstd")
    return built


def _flat(path: Path) -> list[dict[str, Any]]:
    d = npz_arrays(path)
    wanted = {"system_id", "n_atoms", "atomic_numbers", "positions", "forces", "energy", "bond_index", "bond_length"}
    if wanted - set(d):
        raise ValueError(f"{path}: no {', no '.join(sorted(wanted - set(d)))}")
    out, k = [], d["bond_length"].shape[1]
    ends = np.cumsum(d["n_atoms"])
    if ends[-1] != len(d["atomic_numbers"]) or ends[-1] * k != len(d["positions"]):
        raise ValueError(f"{path}: positions {d['positions'].shape} do not belong to {ends[-1]} atoms x {k} frames")
    for s, (n, end) in enumerate(zip(d["n_atoms"], ends)):
        atoms, block = slice(end - n, end), slice(k * (end - n), k * end)
        out.append(
            {
                "id": str(d["system_id"][s]),
                "smiles": str(d["smiles"][s]) if "smiles" in d else "",
                "numbers": d["atomic_numbers"][atoms],
                "positions": d["positions"][block].reshape(k, n, 3),
                "forces": d["forces"][block].reshape(k, n, 3),
                "energy": d["energy"][s],
                "bond_index": d["bond_index"][s],
                "bond_length": d["bond_length"][s],
                "fragment": d["fragment"][atoms] if "fragment" in d else np.zeros(n, int),
            }
        )
    return out


def _folders(folder: Path, bond: str) -> list[dict[str, Any]]:
    out = []
    for partition in sorted(Path(folder).rglob(f"{bond}/*/partition.npz")):
        from ..frames import Frames

        p = npz_arrays(partition)
        files = sorted(partition.parent.glob("atoms_*.xyz"), key=lambda f: int(f.stem.split("_")[1]))
        table = pa.concat_tables(read_xyz(f, method="") for f in files)
        frames = Frames(table)
        numbers, x = frames.stacked()
        i, j = p["bond_index"]
        out.append(
            {
                "id": partition.parent.name,
                "smiles": _smiles(files[0]),
                "numbers": numbers,
                "positions": x,
                "forces": frames.forces.reshape(x.shape),
                "energy": frames.energy,
                "bond_index": p["bond_index"],
                "bond_length": np.linalg.norm(x[:, j] - x[:, i], axis=-1),
                "fragment": p["labels"],
            }
        )
    return out


def _smiles(path: Path) -> str:
    with open(path, encoding="utf-8") as f:
        f.readline()
        return f.readline().partition('smiles="')[2].partition('"')[0]
