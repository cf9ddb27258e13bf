"""One row per frame in Parquet: the columns, their encoding and their content hash.

Column names are ColabFit's where it has one. Energies and positions are float64, forces float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .atomic import replacing

HEAVIEST = 118  # atomic number
BATCH = 4096  # rows in memory at once where data stream
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
    digest = hashlib.sha256(np.ascontiguousarray(numbers, np.uint8).data)
    digest.update(np.ascontiguousarray(positions, np.float64).data)
    digest.update(np.ascontiguousarray(cell, np.float64).data)
    return digest.hexdigest()[:16]


def to_table(
    atomic_numbers: Any,
    positions: Any,
    energy: Any,
    forces: Any,
    *,
    cell: Any = None,
    pbc: Any = None,
    stress: Any = None,
    time_fs: Any = None,
    source_index: Any = None,
    method: str = "",
    charge: Any = 0,
    spin_multiplicity: Any = 1,
    where: str = "",
) -> pa.Table:
    """An Arrow table from T frames. ``positions`` and ``forces`` are [T, N, 3] or a list of [N_t, 3];
    ``atomic_numbers`` is [N] for all frames or one array per frame; ``energy`` [T] (NaN: unlabelled);
    ``cell`` [3, 3] or [T, 3, 3]; ``stress`` [T, 3, 3] (NaN: none); ``time_fs`` and ``source_index`` [T]; ``charge`` and
    ``spin_multiplicity`` (2S+1) one for all or [T]. Nothing is cast that does not fit: ValueError names ``where`` and
    the frame.

    >>> table = to_table([1, 1], [[[0, 0, 0], [0, 0, 0.74]]], [-31.7], [[[0, 0, 0], [0, 0, 0]]])
    >>> table.num_rows, table["energy"][0].as_py()
    (1, -31.7)
    """
    frames, at = len(positions), f"{where}: " if where else ""
    positions = [np.asarray(p, np.float64) for p in positions]
    forces = [_narrow(f, np.float32, "forces", f"{at}frame {t}") for t, f in enumerate(forces)]
    alike = not len(atomic_numbers) or np.ndim(atomic_numbers[0]) == 0
    per_frame = (
        [_elements(atomic_numbers, f"{at}all frames")] * frames
        if alike
        else [_elements(z, f"{at}frame {t}") for t, z in enumerate(atomic_numbers)]
    )
    if not len(per_frame) == len(forces) == len(np.atleast_1d(energy)) == frames:
        raise ValueError(
            f"{at}{frames} positions, {len(forces)} forces, {len(per_frame)} atomic numbers and "
            f"{len(np.atleast_1d(energy))} energies do not belong together"
        )
    for t in range(frames):
        if len(per_frame[t]) == 0:
            raise ValueError(f"{at}frame {t} has no atoms")
        if not positions[t].shape == forces[t].shape == (len(per_frame[t]), 3):
            raise ValueError(
                f"{at}frame {t}: positions {positions[t].shape}, forces {forces[t].shape} and {len(per_frame[t])} "
                "atomic numbers do not belong together"
            )
    cell = np.zeros((3, 3)) if cell is None else np.asarray(cell, np.float64)
    if cell.shape not in ((3, 3), (frames, 3, 3)):
        raise ValueError(f"{at}cell {cell.shape} is neither [3, 3] nor [{frames}, 3, 3]")
    cell = np.broadcast_to(cell, (frames, 3, 3))
    pbc = np.broadcast_to(np.zeros(3, bool) if pbc is None else np.asarray(pbc, bool), (frames, 3))
    if sum(len(z) for z in per_frame) >= 2**31:
        raise ValueError(f"{at}more than {2**31 - 1} atoms in one table: write it in parts")
    offsets = np.concatenate([[0], np.cumsum([len(z) for z in per_frame])]).astype(np.int32)

    def vectors(parts: Sequence[np.ndarray], kind: pa.DataType):
        flat = pa.array(np.concatenate(parts).ravel() if parts else np.zeros(0), kind)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.FixedSizeListArray.from_arrays(flat, 3))

    def matrices(values: Any):
        inner = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel(), pa.float64()), 3)
        return pa.FixedSizeListArray.from_arrays(inner, 3)

    def stresses(values: Any):
        present = np.isfinite(np.asarray(values, np.float64)).all((1, 2))
        full = matrices(np.asarray(values, np.float64))
        return pa.FixedSizeListArray.from_arrays(full.flatten(), 3, mask=pa.array(~present))

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
        "cauchy_stress": pa.nulls(frames, COLUMNS.field("cauchy_stress").type) if stress is None else stresses(stress),
        "configuration_id": pa.array(ids, pa.string()),
        "charge": pa.array(_small(charge, frames, -127, "charge", at)),
        "spin_multiplicity": pa.array(_small(spin_multiplicity, frames, 1, "spin multiplicity", at)),
        "time_fs": pa.nulls(frames, pa.float64()) if time_fs is None else pa.array(np.asarray(time_fs, np.float64)),
        "source_index": pa.array(np.arange(frames) if source_index is None else source_index, pa.int32(), safe=True),
        "method": pa.array([method] * frames, pa.string()),
    }
    return pa.table([columns[f.name] for f in COLUMNS], schema=COLUMNS)


def _elements(numbers: Any, where: str) -> np.ndarray:
    """Atomic numbers [N] as uint8, which would wrap: 300 is 44 there."""
    z = np.asarray(numbers)
    if z.ndim != 1 or z.dtype.kind not in "fiu":
        raise ValueError(f"{where}: atomic numbers {z.dtype} {z.shape} are not a list of whole numbers")
    wrong = z[~((z >= 1) & (z <= HEAVIEST) & (z == np.round(z)))]
    if len(wrong):
        hint = " (padding, or type indices?)" if wrong[0] == 0 else ""
        raise ValueError(f"{where}: atomic numbers must be whole numbers from 1 to {HEAVIEST}, got {wrong[0]:g}{hint}")
    return z.astype(np.uint8)


def _narrow(values: Any, kind: Any, what: str, where: str) -> np.ndarray:
    """A cast to fewer digits; ValueError where a finite number would become infinite."""
    wide = np.asarray(values, np.float64)
    with np.errstate(over="ignore"):
        narrow = wide.astype(kind)
    if (np.isinf(narrow) & np.isfinite(wide)).any():
        raise ValueError(f"{where}: {what} of {np.nanmax(np.abs(wide)):.3g} do not fit {np.dtype(kind)}")
    return narrow


def _small(values: Any, frames: int, least: int, what: str, at: str) -> np.ndarray:
    """int8 [frames] from one whole number or one a frame, checked to lie in ``least``..127."""
    wide = np.broadcast_to(np.asarray(values, np.float64), (frames,))
    if len(wrong := wide[~((wide >= least) & (wide <= 127) & (wide == np.round(wide)))]):
        raise ValueError(f"{at}{what} must be a whole number from {least} to 127, got {wrong[0]:g}")
    return wide.astype(np.int8)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write atomically: byte-stream-split floats, zstd, page index, content-defined chunks (what the Hub likes)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    leaves = _leaf_paths(table.schema)
    floats = [name for name, kind in leaves if pa.types.is_floating(kind)]
    others = [name for name, kind in leaves if not pa.types.is_floating(kind)]
    with replacing(path) as part:
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
    return hash_of_columns(table.schema, lambda name: iter([table[name].combine_chunks()]))


def content_hash_of_files(paths: Iterable[Path | str]) -> tuple[str, int]:
    """(`content_hash`, rows) of Parquet files one after the other, in constant memory."""
    files = [pq.ParquetFile(path) for path in paths]

    def column(name: str) -> Iterator[pa.Array]:
        for file in files:
            for batch in file.iter_batches(BATCH, columns=[name], use_threads=False):
                yield batch.column(0)

    return hash_of_columns(files[0].schema_arrow, column), sum(file.metadata.num_rows for file in files)


def hash_of_columns(schema: pa.Schema, column: Callable[[str], Iterator[pa.Array]]) -> str:
    """The content hash; ``column(name)`` gives the values of a column in pieces, anew whenever it is called."""
    digest = hashlib.sha256()
    for name in schema.names:
        digest.update(name.encode())
        kind, depth = schema.field(name).type, 0
        while pa.types.is_nested(kind):
            if pa.types.is_list(kind):
                for values in column(name):
                    digest.update(np.ascontiguousarray(np.diff(_flattened(values, depth).offsets.to_numpy())).data)
            bits = np.zeros(0, bool)
            for values in column(name):
                bits = np.concatenate([bits, np.asarray(_flattened(values, depth).is_valid(), bool)])
                whole = len(bits) // 8 * 8
                digest.update(np.packbits(bits[:whole]).data)
                bits = bits[whole:]
            digest.update(np.packbits(bits).data)
            kind, depth = kind.value_type, depth + 1
        if pa.types.is_string(kind):
            for k, values in enumerate(column(name)):
                text = "\x00".join("" if v is None else v for v in _flattened(values, depth).to_pylist())
                digest.update(("\x00" * (k > 0 and len(values) > 0) + text).encode())
        else:
            wide = pa.types.is_integer(kind) and any(_flattened(v, depth).null_count for v in column(name))
            for values in column(name):
                flat = _flattened(values, depth)
                flat = flat.cast(pa.float64()) if wide else flat
                digest.update(np.ascontiguousarray(flat.to_numpy(zero_copy_only=False)).data)
    return digest.hexdigest()


def _flattened(values: pa.Array, depth: int) -> Any:
    for _ in range(depth):
        values = values.flatten()
    return values
