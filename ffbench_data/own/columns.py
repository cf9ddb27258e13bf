"""Parquet in ColabFit's columns, and data sets of the Hugging Face Hub or of its layout in a local folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..builders.labels import NAMES, plain
from .images import HUB, Image, Source

ROWS = 500  # read at once
COLUMNS = {  # by `labels.plain`; ColabFit's first, then LeMaterial's and others
    "positions": ("positions", "pos", "coords", "cartesiansitepositions"),
    "numbers": ("atomicnumbers", "numbers", "z", "speciesatsites"),
    "cell": ("cell", "latticevectors", "lattice"),
    "pbc": ("pbc",),
}
LEFT_OUT = frozenset(["names", "labels", "elements", "elementsratios", "dimensiontypes", "propertyhash", "hash"])


def parquet_source(name: Any, paths: list[Path]) -> Source:
    def images() -> Iterator[Image]:
        import pyarrow.parquet as pq

        for path in paths:
            try:
                file = pq.ParquetFile(path)
            except (pa.ArrowInvalid, OSError) as error:
                raise ValueError(f"{path}: not a readable Parquet file: {error}") from None
            for batch in file.iter_batches(ROWS, use_threads=False):
                yield from _of_batch(pa.Table.from_batches([batch]), str(path), "")

    return Source(str(name), "Parquet", images)


def local_folder(path: Path) -> Source:
    """A folder as the Hub has it (README.md with configs and splits, or plain Parquet files), through `datasets`."""
    return Source(str(path), "Hugging Face folder", lambda: _of_datasets(str(path)))


def hub_source(name: str) -> Source:
    return Source(f"{HUB}{name}", "Hugging Face Hub", lambda: _of_datasets(name))


def _of_datasets(name: str) -> Iterator[Image]:
    """All rows, one split after the other; the split is the run. Nothing is downloaded whole, or cached."""
    import datasets

    config = None
    if not Path(name).exists():
        name, _, rest = name.partition(":")
        config = rest or None
    try:
        splits = datasets.load_dataset(name, config, streaming=True)
        for split, rows in splits.items():
            for table in rows.with_format("arrow").iter(batch_size=ROWS):
                yield from _of_batch(table, f"{name} ({split})", str(split))
    except ValueError:
        raise
    except Exception as error:  # of the network, of fsspec, of datasets
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{name}: cannot be read through `datasets`: {first}") from None


def _of_batch(table: pa.Table, where: str, run: str) -> Iterator[Image]:
    found = {k: next((c for c in table.column_names if plain(c) in usual), None) for k, usual in COLUMNS.items()}
    for wanted in ("positions", "numbers"):
        if found[wanted] is None:
            raise ValueError(f"{where}: no column for {wanted}; it has {', '.join(table.column_names)}")
    rest = [c for c in table.column_names if c not in found.values() and plain(c) not in LEFT_OUT]
    for t, row in enumerate(table.to_pylist()):
        try:
            yield _image({k: _plain(v) for k, v in row.items()}, found, rest, run)
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"{where}: row {t} of its piece cannot be read: {type(error).__name__}: {error}") from None


def _plain(value: Any) -> Any:
    """Lists that were written as text."""
    return json.loads(value) if isinstance(value, str) and value[:1] == "[" else value


def _image(row: dict[str, Any], found: dict[str, str | None], rest: list[str], run: str) -> Image:
    def of(kind: str) -> Any:
        name = found[kind]
        return row[name] if name else None

    numbers = np.asarray(of("numbers"))
    if numbers.dtype.kind in "US":
        from ase.data import atomic_numbers

        numbers = np.array([atomic_numbers[s] for s in numbers])
    n, cell, pbc = len(numbers), of("cell"), of("pbc")
    cell = np.zeros((3, 3)) if cell is None or not len(cell) else np.asarray(cell, float).reshape(3, 3)
    whole, per_atom = {}, {}
    for name in rest:
        value = row[name]
        if value is None:
            continue
        of_cell = plain(name) in NAMES["stress"] | NAMES["virial"]
        if isinstance(value, list) and len(value) == n and n and isinstance(value[0], list) and not of_cell:
            per_atom[name] = np.asarray(value, float)
        else:
            whole[name] = value
    x = np.asarray(of("positions"), float).reshape(n, 3)
    return Image(numbers, x, cell, None if pbc is None else np.asarray(pbc, bool), whole, per_atom, run)
