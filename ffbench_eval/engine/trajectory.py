"""Trajectories in Parquet pieces, one row per replica and saved frame, loadable with `datasets`.

Columns: ``replica``, ``step``, ``time_ps``, ``positions`` [N, 3] float32 (Angstrom, unwrapped), ``potential_energy``
(eV), ``temperature`` (K), ``total_energy`` (eV), ``internal_temperature`` (K, see `internal`); if saved,
``velocities`` [N, 3] float32 (Angstrom/fs) and, at constant pressure, ``cell_scale`` (length of the cell's edges over
the starting ones). The schema metadata key ``ffbench`` holds atomic numbers, cell and pbc as JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ffbench_data.atomic import replacing

MOST_REPLICAS = 1_000_000
NUMBERS = ("potential_energy", "total_energy", "temperature", "internal_temperature")  # one float64 per frame


class Damaged(ValueError):
    """A file of a simulation that was changed after it was written, or torn."""


@dataclass
class Recorder:
    """Collects saved frames and writes one piece ``<stem>-<piece>.parquet`` per checkpoint."""

    folder: Path
    numbers: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    stem: str = "trajectory"
    optional: tuple[str, ...] = ()  # of "velocities", "cell_scale"
    rows: list[dict] = field(default_factory=list)

    def add(
        self,
        step: int,
        time_ps: np.ndarray,
        positions: np.ndarray,
        potential: np.ndarray,
        kinetic: np.ndarray,
        temperature: np.ndarray,
        alive: np.ndarray,
        *,
        velocities: np.ndarray | None = None,
        cell_scale: np.ndarray | None = None,
        internal: np.ndarray | None = None,
    ) -> None:
        """One saved frame of every replica that is ``alive``; arrays have a leading replica axis."""
        for b in np.flatnonzero(alive):
            row = {
                "replica": int(b),
                "step": step,
                "time_ps": float(time_ps[b]),
                "positions": positions[b].astype(np.float32),
                "potential_energy": float(potential[b]),
                "total_energy": float(potential[b] + kinetic[b]),
                "temperature": float(temperature[b]),
                "internal_temperature": float("nan") if internal is None else float(internal[b]),
            }
            if velocities is not None:
                row["velocities"] = velocities[b].astype(np.float32)
            if cell_scale is not None:
                row["cell_scale"] = float(cell_scale[b])
            self.rows.append(row)

    def flush(self, piece: int) -> None:
        """Write the collected rows as the next piece, atomically."""
        meta = {"numbers": self.numbers.tolist(), "cell": self.cell.tolist(), "pbc": self.pbc.tolist()}
        columns = {
            "replica": pa.array([r["replica"] for r in self.rows], pa.int32()),
            "step": pa.array([r["step"] for r in self.rows], pa.int64()),
            "time_ps": pa.array([r["time_ps"] for r in self.rows], pa.float64()),
            "positions": self._vectors("positions"),
            **{k: pa.array([r[k] for r in self.rows], pa.float64()) for k in NUMBERS},
        }
        if "velocities" in self.optional:
            columns["velocities"] = self._vectors("velocities")
        if "cell_scale" in self.optional:
            columns["cell_scale"] = pa.array([r["cell_scale"] for r in self.rows], pa.float64())
        table = pa.table(columns).replace_schema_metadata({"ffbench": json.dumps(meta)})
        path = self.folder / f"{self.stem}-{piece:05d}.parquet"
        floats = [f"{name}.list.element.list.element" for name in ("positions", "velocities") if name in columns]
        with replacing(path) as part:
            pq.write_table(table, part, compression="zstd", use_dictionary=False, use_byte_stream_split=floats)
        self.rows.clear()

    def _vectors(self, name: str) -> pa.ListArray:
        flat = np.concatenate([r[name] for r in self.rows]) if self.rows else np.zeros((0, 3), np.float32)
        offsets = pa.array(np.arange(len(self.rows) + 1, dtype=np.int32) * len(self.numbers))
        return pa.ListArray.from_arrays(offsets, pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), 3))


@dataclass(frozen=True)
class Trajectory:
    """All saved frames of one replica: ``time_ps`` [T], ``positions`` [T, N, 3], ``potential_energy``,
    ``total_energy`` [T] eV, ``temperature`` [T] K; ``numbers`` [N], ``cell`` [3, 3], ``pbc`` [3]. Where saved:
    ``velocities`` [T, N, 3] Angstrom/fs; ``cell_scale`` [T], the factor on ``cell`` in each frame;
    ``internal_temperature`` [T] K, of the motion against one another. ``charge`` and ``spin_multiplicity`` (2S+1) are
    those of the simulation, if the reader says so."""

    numbers: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    time_ps: np.ndarray
    positions: np.ndarray
    potential_energy: np.ndarray
    total_energy: np.ndarray
    temperature: np.ndarray
    velocities: np.ndarray | None = None
    cell_scale: np.ndarray | None = None
    internal_temperature: np.ndarray | None = None
    charge: int = 0
    spin_multiplicity: int = 1

    def __len__(self) -> int:
        return len(self.time_ps)

    @property
    def cells(self) -> np.ndarray:
        """The cell of every frame [T, 3, 3] (Angstrom), for `ffbench_metrics.unwrap`, `rdf` and the like.

        Where it breathes, ``positions`` scale with it, so an atom that has crossed n cells carries n times the
        fluctuation of its edges: for displacements use ``unwrap(t.positions, t.cells)``.
        """
        scale = np.ones(len(self)) if self.cell_scale is None else self.cell_scale
        return self.cell * scale[:, None, None]

    def between(self, start_ps: float, end_ps: float) -> Trajectory:
        """The frames with start_ps < time <= end_ps."""
        keep = (self.time_ps > start_ps + 1e-9) & (self.time_ps <= end_ps + 1e-9)
        whole = ("numbers", "cell", "pbc", "charge", "spin_multiplicity")
        per_frame = [k for k in self.__dataclass_fields__ if k not in whole]
        return replace(self, **{k: v[keep] for k in per_frame if (v := getattr(self, k)) is not None})


def read_trajectories(folder: Path, replicas: int | None = None) -> list[Trajectory]:
    """The trajectory of every replica in a unit's folder.

    A replica that failed before its first saved frame has an empty one; give ``replicas`` to count those at the end.
    """
    table = _read(sorted(Path(folder).glob("trajectory-*.parquet")), folder)
    replica = table["replica"].to_numpy()
    if len(replica) and not 0 <= replica.min() <= replica.max() < MOST_REPLICAS:
        raise Damaged(f"{folder} holds replicas {replica.min()} to {replica.max()}: its trajectory is damaged")
    count = replicas if replicas is not None else (int(replica.max()) + 1 if len(replica) else 0)
    return [_trajectory(table, replica == b) for b in range(count)]


def read_failures(folder: Path) -> dict[int, Trajectory]:
    """The last good steps, consecutive, of every replica that failed: {replica: trajectory}."""
    paths = sorted(Path(folder).glob("failure-*.parquet"))
    tables = {int(p.stem.split("-")[1]): _read([p], folder) for p in paths}
    return {b: _trajectory(table, np.ones(len(table), bool)) for b, table in tables.items()}


def _read(pieces: list[Path], folder: Path) -> pa.Table:
    if not pieces:
        raise ValueError(f"{folder} holds no trajectory")
    found = []
    for piece in pieces:
        try:
            table = pq.read_table(piece)
            _about(table)
        except Exception as error:  # what bytes make of a parser: no list of its exceptions is complete
            said = " ".join(str(error).split())[:200]
            raise Damaged(f"{piece} is damaged ({said}); take the folder away and run it again") from None
        found.append(table)
    return pa.concat_tables(found)


def _about(table: pa.Table) -> dict:
    about = json.loads(table.schema.metadata[b"ffbench"])
    return {k: about[k] for k in ("numbers", "cell", "pbc")}


def _trajectory(table: pa.Table, rows: np.ndarray) -> Trajectory:
    meta = _about(table)
    names = [k for k in ("time_ps", *NUMBERS, "cell_scale") if k in table.column_names]
    vectors = ("positions", *(["velocities"] if "velocities" in table.column_names else []))
    n = len(meta["numbers"])
    flat = {k: table[k].combine_chunks().flatten().flatten().to_numpy().reshape(len(table), n, 3) for k in vectors}
    return Trajectory(
        np.array(meta["numbers"]),
        np.array(meta["cell"], float).reshape(3, 3),
        np.array(meta["pbc"], bool),
        **{k: v[rows] for k, v in flat.items()},
        **{k: table[k].to_numpy()[rows] for k in names},
    )
