"""One row per frame in Parquet: the columns, their encoding and their content hash.

Column names are ColabFit's where it has one. Energies and positions are float64, forces float32.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

VECTORS = pa.list_(pa.list_(pa.float64(), 3))
COLUMNS = pa.schema(
    [
        ("atomic_numbers", pa.list_(pa.uint8())),
        ("positions", VECTORS),  # Angstrom
        ("cell", pa.list_(pa.list_(pa.float64(), 3), 3)),  # Angstrom, rows are lattice vectors
        ("pbc", pa.list_(pa.bool_(), 3)),
        ("energy", pa.float64()),  # eV
        ("atomic_forces", pa.list_(pa.list_(pa.float32(), 3))),  # eV/Angstrom
        ("cauchy_stress", pa.list_(pa.list_(pa.float64(), 3), 3)),  # eV/Angstrom^3, nullable
        ("configuration_id", pa.string()),
        ("charge", pa.int8()),
        ("spin_multiplicity", pa.int8()),
        ("time_fs", pa.float64()),  # nullable
        ("source_index", pa.int32()),
        ("method", pa.string()),
    ]
)


def configuration_id(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray) -> str:
    """A short hash of what makes a structure: elements, positions and cell."""
    digest = hashlib.sha256(np.ascontiguousarray(numbers, np.uint8))
    digest.update(np.ascontiguousarray(positions, np.float64))
    digest.update(np.ascontiguousarray(cell, np.float64))
    return digest.hexdigest()[:16]


def to_table(
    atomic_numbers,
    positions,
    energy,
    forces,
    *,
    cell=None,
    pbc=None,
    stress=None,
    time_fs=None,
    source_index=None,
    method: str = "",
    charge: int = 0,
    spin_multiplicity: int = 1,
) -> pa.Table:
    """An Arrow table from T frames. ``positions`` and ``forces`` are [T, N, 3] or a list of [N_t, 3];
    ``atomic_numbers`` is [N] for all frames or one array per frame; ``energy`` [T] (NaN: unlabelled);
    ``cell`` [3, 3] or [T, 3, 3]; ``stress`` [T, 3, 3]; ``time_fs`` and ``source_index`` [T].

    >>> table = to_table([1, 1], [[[0, 0, 0], [0, 0, 0.74]]], [-31.7], [[[0, 0, 0], [0, 0, 0]]])
    >>> table.num_rows, table["energy"][0].as_py()
    (1, -31.7)
    """
    frames = len(positions)
    positions = [np.asarray(p, np.float64) for p in positions]
    forces = [np.asarray(f, np.float32) for f in forces]
    numbers = np.asarray(atomic_numbers, dtype=object if _ragged(atomic_numbers) else np.uint8)
    per_frame = [np.asarray(z, np.uint8) for z in (numbers if numbers.ndim > 1 or numbers.dtype == object else [])]
    per_frame = per_frame or [numbers.astype(np.uint8)] * frames
    for t in range(frames):
        if not positions[t].shape == forces[t].shape == (len(per_frame[t]), 3):
            raise ValueError(
                f"frame {t}: positions {positions[t].shape}, forces {forces[t].shape} and {len(per_frame[t])} "
                "atomic numbers do not belong together"
            )
    cell = np.broadcast_to(np.zeros((3, 3)) if cell is None else np.asarray(cell, np.float64), (frames, 3, 3))
    pbc = np.broadcast_to(np.zeros(3, bool) if pbc is None else np.asarray(pbc, bool), (frames, 3))
    offsets = np.concatenate([[0], np.cumsum([len(z) for z in per_frame])]).astype(np.int32)

    def vectors(parts, kind):
        flat = pa.array(np.concatenate(parts).ravel() if parts else np.zeros(0), kind)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.FixedSizeListArray.from_arrays(flat, 3))

    def matrices(values):
        inner = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel(), pa.float64()), 3)
        return pa.FixedSizeListArray.from_arrays(inner, 3)

    ids = [configuration_id(z, p, c) for z, p, c in zip(per_frame, positions, cell)]
    columns: dict[str, Any] = {
        "atomic_numbers": pa.ListArray.from_arrays(
            pa.array(offsets), pa.array(np.concatenate(per_frame) if per_frame else np.zeros(0, np.uint8))
        ),
        "positions": vectors(positions, pa.float64()),
        "cell": matrices(cell),
        "pbc": pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(pbc).ravel()), 3),
        "energy": pa.array(np.asarray(energy, np.float64)),
        "atomic_forces": vectors(forces, pa.float32()),
        "cauchy_stress": pa.nulls(frames, COLUMNS.field("cauchy_stress").type) if stress is None else matrices(stress),
        "configuration_id": pa.array(ids, pa.string()),
        "charge": pa.array(np.full(frames, charge, np.int8)),
        "spin_multiplicity": pa.array(np.full(frames, spin_multiplicity, np.int8)),
        "time_fs": pa.nulls(frames, pa.float64()) if time_fs is None else pa.array(np.asarray(time_fs, np.float64)),
        "source_index": pa.array(np.arange(frames) if source_index is None else source_index, pa.int32()),
        "method": pa.array([method] * frames, pa.string()),
    }
    return pa.table([columns[f.name] for f in COLUMNS], schema=COLUMNS)


def _ragged(numbers) -> bool:
    return len(numbers) > 0 and np.ndim(numbers[0]) == 1 and len({len(z) for z in numbers}) > 1


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write atomically: byte-stream-split floats, zstd, page index, content-defined chunks (what the Hub likes)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    leaves = _leaf_paths(table.schema)
    floats = [name for name, kind in leaves if pa.types.is_floating(kind)]
    others = [name for name, kind in leaves if not pa.types.is_floating(kind)]
    part = path.with_suffix(".part")
    try:
        pq.write_table(
            table,
            part,
            compression="zstd",
            compression_level=9,
            row_group_size=1000,
            use_dictionary=others,
            use_byte_stream_split=floats,
            use_content_defined_chunking=True,
            write_page_index=True,
        )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _leaf_paths(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    paths = []
    for f in schema:
        path, kind = f.name, f.type
        while pa.types.is_nested(kind):
            path, kind = f"{path}.list.element", kind.value_type
        paths.append((path, kind))
    return paths


def content_hash(table: pa.Table) -> str:
    """sha256 over the values, independent of how Parquet encoded them."""
    digest = hashlib.sha256()
    for name in table.column_names:
        digest.update(name.encode())
        values = table[name].combine_chunks()
        while pa.types.is_nested(values.type):
            if pa.types.is_list(values.type):
                digest.update(np.ascontiguousarray(np.diff(values.offsets.to_numpy())))
            digest.update(np.packbits(np.asarray(values.is_valid())))
            values = values.flatten()
        if pa.types.is_string(values.type):
            digest.update("\x00".join("" if v is None else v for v in values.to_pylist()).encode())
        else:
            digest.update(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)))
    return digest.hexdigest()
