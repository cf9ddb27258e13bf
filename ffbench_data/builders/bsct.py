"""BSCT-SPICE: bond scans in the folder layout of upstream (or its archive), or flat npz files per bond type.

Beside the columns of every data set, each row says which scan it belongs to (``scan``, its ``bond_length``, its
``molecule``) and holds the forces in float64 (``reference_forces``): the score of a nearly perfect model hangs on
digits that float32 does not have.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..datacard import Card
from ..schema import to_table
from .built import Built
from .read import find, npz_arrays, unpack
from .xyz import xyz_frames

BONDS = ("C-C", "C-N", "C-O", "C-P", "C-S", "N-N", "N-O", "N-P", "O-P")
SCANS = "scans.parquet"


def build(folder: Path, card: Card) -> Built:
    """A config per bond type and ``all`` of them; ``scans.parquet`` has one row per scan and bond type (id, rows in its
    config, bond, lengths, fragments)."""
    built, rows = Built(), []
    if not find(folder, "partition.npz") and not find(folder, "C-C.npz"):
        archive = find(folder, "*.tar.gz")
        if archive:
            folder = unpack(archive, Path(folder) / "unpacked")
    for bond in BONDS:
        flat = find(folder, f"{bond}.npz")
        scans = _flat(flat) if flat else _folders(folder, bond, card.theory)
        if not scans:
            built.missing(f"{bond}: no scans")
            continue
        tables, first = [], 0
        for scan in scans:
            frames = len(scan["positions"])
            tables.append(_table(bond, scan, card))
            rows.append(
                {"config": bond, "scan_id": scan["id"], "first_row": first, "frames": frames, "smiles": scan["smiles"]}
                | {k: np.asarray(scan[k]).tolist() for k in ("bond_index", "bond_length", "fragment")}
            )
            first += frames
        built.tables[bond] = {"test": _join(tables)}
    built.tables = {"all": {"test": _join(s["test"] for s in built.tables.values())}, **built.tables} if rows else {}
    if not rows:
        raise ValueError(f"{folder}: no bond scans (C-C.npz, or folders with partition.npz)")
    if len(rows) != 485:
        built.missing(f"{len(rows)} of 485 scans")
    table = pa.Table.from_pylist(rows)
    built.extra_files[SCANS] = lambda path: pq.write_table(table, path, compression="zstd")
    return built


def _table(bond: str, scan: dict[str, Any], card: Card) -> pa.Table:
    frames, n = np.shape(scan["positions"])[:2]
    table = to_table(
        scan["numbers"],
        scan["positions"],
        scan["energy"],
        scan["forces"],
        method=card.theory,
        source_index=np.arange(frames),
        charge=scan.get("charge", 0),
        spin_multiplicity=scan.get("spin", 1),
        where=f"{bond}/{scan['id']}",
    )
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(scan["forces"], np.float64).ravel()), 3)
    offsets = pa.array(np.arange(frames + 1, dtype=np.int32) * n)
    columns = {
        "scan": pa.array([f"{bond}/{scan['id']}"] * frames),
        "bond_length": pa.array(np.asarray(scan["bond_length"], np.float64)),
        "molecule": pa.array([scan["smiles"] or f"{bond}/{scan['id']}"] * frames),
        "reference_forces": pa.ListArray.from_arrays(offsets, vectors),
    }
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def _join(tables: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).combine_chunks()


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


def _folders(folder: Path, bond: str, method: str) -> list[dict[str, Any]]:
    out = []
    for partition in sorted(Path(folder).rglob(f"{bond}/*/partition.npz")):
        p = npz_arrays(partition)
        files = sorted(partition.parent.glob("atoms_*.xyz"), key=lambda f: int(f.stem.split("_")[1]))
        read = [xyz_frames(f, method=method, labels=(), also_used=["smiles"]) for f in files]  # a frame may lack labels
        z, x = [one.numbers[0] for one in read], [one.positions[0] for one in read]
        if not files or any(not np.array_equal(z[0], other) for other in z):
            raise ValueError(f"{partition.parent}: the atoms_*.xyz do not all have the same atoms")
        first, last, count = p["perturb_range"]
        if int(count) != len(files):
            raise ValueError(f"{partition.parent}: {len(files)} frames, partition.npz says {int(count)}")
        out.append(
            {
                "id": partition.parent.name,
                "smiles": _smiles(files[0]),
                "numbers": z[0],
                "positions": np.array(x),
                "forces": np.array([one.forces[0] for one in read]),
                "energy": np.array([one.energy[0] for one in read]),
                "charge": [one.charge[0] or 0 for one in read],
                "spin": [one.spin[0] or 1 for one in read],
                "bond_index": p["bond_index"],
                "bond_length": np.linspace(first, last, len(files)),
                "fragment": p["labels"],
            }
        )
    return out


def _smiles(path: Path) -> str:
    with open(path, encoding="utf-8") as f:
        f.readline()
        return f.readline().partition('smiles="')[2].partition('"')[0]
