"""All structures of all files, one after the other, into one Parquet file; in memory stays what a split needs to know.

Frames pass in chunks; half a kilobyte a frame is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..builders.read import one_line
from ..frames import Frames
from ..geometry import minimum_image
from ..schema import configuration_id, to_table
from .images import Image, Source
from .labelled import Labelled, Reader

CHUNK = 1000  # rows of a row group
HUGE = 1e30  # eV, eV/Angstrom: no label
SAME = 1e-4  # eV, between labels of one structure
EXTRA = pa.schema([("config_type", pa.string()), ("temperature_K", pa.float64())])


@dataclass(frozen=True)
class System:
    """Atoms in their order, periodic directions, charge and spin multiplicity: what one simulation can be of."""

    numbers: bytes
    pbc: tuple[bool, ...]
    charge: int
    spin: int

    @property
    def atomic_numbers(self) -> np.ndarray:
        return np.frombuffer(self.numbers, np.uint8).astype(int)

    @property
    def formula(self) -> str:
        from ase.symbols import Symbols

        charge = f"_{abs(self.charge)}{'plus' if self.charge > 0 else 'minus'}" if self.charge else ""
        return Symbols(self.atomic_numbers).get_chemical_formula() + charge


@dataclass
class Rows:
    """Row by row of ``path``, in arrays: ``system``, ``file``, ``run``, ``group`` and ``by`` count into lists;
    ``step`` is the root mean square move (Angstrom) since the row before, NaN where that is of another system."""

    path: Path
    files: list[str]
    systems: list[System]
    runs: list[str]
    groups: list[str]
    bys: list[str]
    columns: dict[str, np.ndarray]
    methods: list[str]
    broken: int = 0
    unlabelled: int = 0
    repeated: int = 0
    infinite: int = 0

    def __len__(self) -> int:
        return len(self.columns["energy"])

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self.__dict__["columns"][name]
        except KeyError:
            raise AttributeError(name) from None

    def read(self, start: int, stop: int) -> pa.Table:
        """Rows start..stop."""
        file = pq.ParquetFile(self.path)
        groups = range(start // CHUNK, -(-stop // CHUNK))
        table = file.read_row_groups(list(groups), use_threads=False)
        return table.slice(start - groups[0] * CHUNK, stop - start)

    def take(self, rows: np.ndarray) -> pa.Table:
        """Some rows, by rising number."""
        return pa.concat_tables(self.parts(rows)) if len(rows) else self.schema.empty_table()

    def parts(self, rows: np.ndarray) -> Iterator[pa.Table]:
        """Rows by rising number, in pieces of at most a chunk."""
        file = pq.ParquetFile(self.path)
        for k in np.unique(rows // CHUNK):
            mine = rows[rows // CHUNK == k] - k * CHUNK
            yield file.read_row_group(int(k), use_threads=False).take(pa.array(mine))

    @property
    def schema(self) -> pa.Schema:
        return pq.ParquetFile(self.path).schema_arrow

    def sample(self, at_most: int = 3000) -> Frames:
        """The first rows, and others evenly spread: for checks of neighbours and of all."""
        n = len(self)
        if n <= at_most:
            return Frames(self.take(np.arange(n)).combine_chunks())
        half = at_most // 2
        rows = np.unique(np.concatenate([np.arange(half), np.linspace(half, n - 1, half).astype(int)]))
        return Frames(self.take(rows).combine_chunks())


@dataclass
class _Chunk:
    path: Path
    methods: set[str] = field(default_factory=set)
    waiting: list[tuple[Labelled, int]] = field(default_factory=list)
    writer: Any = None

    def add(self, row: Labelled, index: int) -> None:
        self.waiting.append((row, index))
        if len(self.waiting) == CHUNK:
            self.flush()

    def flush(self) -> None:
        if not self.waiting:
            return
        rows = [row for row, _ in self.waiting]
        none = np.full((3, 3), np.nan)
        stress = None
        if any(r.stress is not None for r in rows):
            stress = np.stack([none if r.stress is None else r.stress for r in rows])
        table = to_table(
            [r.numbers for r in rows], [r.positions for r in rows], [r.energy for r in rows], [r.forces for r in rows],
            cell=np.stack([r.cell for r in rows]), pbc=np.stack([r.pbc for r in rows]), stress=stress,
            source_index=[index for _, index in self.waiting], charge=[r.charge for r in rows],
            spin_multiplicity=[r.spin for r in rows],
        )  # fmt: skip
        table = table.append_column("config_type", pa.array([r.group for r in rows], pa.string()))
        table = table.append_column("temperature_K", pa.array([r.temperature for r in rows], pa.float64()))
        if self.writer is None:
            self.writer = pq.ParquetWriter(self.path, table.schema, compression="zstd", compression_level=1)
        self.writer.write_table(table, row_group_size=CHUNK)
        self.waiting = []


def stage(
    sources: Sequence[Source],
    reader: Reader,
    units_of: Callable[[Source], Any],
    path: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> Rows:
    """Read everything once. Frames without a finite structure, without a label, or that occur again are left out and
    counted. ValueError where one structure has two labels."""
    chunk = _Chunk(path)
    names: dict[str, dict[Any, int]] = {k: {} for k in ("system", "run", "group", "by")}
    kept: dict[str, list[Any]] = {k: [] for k in ("energy", "atoms", "system", "file", "run", "group", "by", "kelvin",
                                                  "time", "step", "size", "forces", "index", "key")}  # fmt: skip
    first: dict[int, int] = {}
    counts: Counter[str] = Counter()
    before: tuple[Any, Labelled] | None = None
    for f, source in enumerate(sources):
        reader.units = units_of(source)
        for t, image in enumerate(_told(source)):
            where = f"{source.name}: frame {t}"
            row = reader.read(image, where)
            if not _whole(row, counts):
                continue
            key = int(configuration_id(row.numbers, row.positions, row.cell), 16) ^ hash((row.charge, row.spin))
            if key in first:
                _same_label(row, kept, first[key], where, [s.name for s in sources])
                counts["repeated"] += 1
                continue
            first[key] = len(kept["energy"])
            chunk.methods.add(row.method)
            what = System(bytes(row.numbers.astype(np.uint8)), tuple(map(bool, row.pbc)), row.charge, row.spin)
            system = names["system"].setdefault(what, len(names["system"]))
            place = (system, f, image.run)
            step = np.nan
            if before is not None and before[0] == place:
                moved = minimum_image(row.positions - before[1].positions, row.cell, row.pbc)
                step = float(np.sqrt((moved**2).mean()))
            before = (place, row)
            centred = row.positions - row.positions.mean(0)
            values = {
                "energy": row.energy, "atoms": len(row.numbers), "system": system, "file": f,
                "run": names["run"].setdefault((f, image.run), len(names["run"])),
                "group": names["group"].setdefault(row.group, len(names["group"])),
                "by": names["by"].setdefault(row.by, len(names["by"])), "kelvin": row.temperature, "time": row.time_fs,
                "step": step, "size": float((centred**2).sum(-1).mean()), "forces": bool(np.isfinite(row.forces).all()),
                "index": t, "key": key,
            }  # fmt: skip
            for k, v in values.items():
                kept[k].append(v)
            chunk.add(row, t)
            if len(kept["energy"]) % 1000 == 0:
                progress(len(kept["energy"]))
    chunk.flush()
    if chunk.writer is not None:
        chunk.writer.close()
    energy = np.array(kept["energy"], float)
    reader.missing({"energy": bool(np.isfinite(energy).any()), "forces": any(kept["forces"])})
    kinds = {
        "energy": float,
        "kelvin": float,
        "time": float,
        "step": float,
        "size": float,
        "forces": bool,
        "key": object,
    }
    columns = {k: np.array(v, kinds.get(k, np.int64)) for k, v in kept.items()}
    return Rows(
        path, [s.name for s in sources], list(names["system"]), [r for _, r in names["run"]], list(names["group"]),
        list(names["by"]), columns, sorted(chunk.methods), **counts,
    )  # fmt: skip


def _told(source: Source) -> Iterator[Image]:
    """The structures of a source; whatever its reader stumbles over in a damaged file is one line with its name."""
    try:
        yield from source.images()
    except Exception as error:  # of zlib, zipfile, sqlite3, pyarrow, numpy's header parser, codecs ...
        if type(error) is ValueError:
            raise ValueError(" ".join(str(error).split())) from None
        said = f"{source.name}: cannot be read as {source.format} (truncated?): {one_line(error)}"
        raise ValueError(said) from None


def _whole(row: Labelled, counts: Counter[str]) -> bool:
    """Whether a row is worth keeping; what is not a number in its labels becomes NaN, all forces together."""
    if not (np.isfinite(row.positions).all() and np.isfinite(row.cell).all()):
        counts["broken"] += 1
        return False
    with np.errstate(invalid="ignore"):
        if not np.isnan(row.energy) and not abs(row.energy) < HUGE:
            row.energy, counts["infinite"] = np.nan, counts["infinite"] + 1
        if not (np.abs(row.forces) < HUGE).all():
            counts["infinite"] += not np.isnan(row.forces).all()
            row.forces = np.full_like(row.forces, np.nan)
    if np.isnan(row.energy) and np.isnan(row.forces).all():
        counts["unlabelled"] += 1
        return False
    return True


def _same_label(row: Labelled, kept: dict[str, list[Any]], earlier: int, where: str, files: Sequence[str]) -> None:
    old = kept["energy"][earlier]
    if abs(old - row.energy) > SAME:  # false where either is NaN
        raise ValueError(
            f"{where} is the structure of frame {kept['index'][earlier]} of {files[kept['file'][earlier]]} with "
            f"another energy ({row.energy:.6g} and {old:.6g} eV): two levels of theory? Give each its own data set"
        )
