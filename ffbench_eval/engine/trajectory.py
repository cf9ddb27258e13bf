"""Trajectories in Parquet pieces, one row per replica and saved frame, loadable with `datasets`.

Columns: ``replica``, ``step``, ``time_ps``, ``positions`` [N, 3] float32 (Angstrom, unwrapped), ``potential_energy``
(eV), ``temperature`` (K), ``total_energy`` (eV). The schema metadata key ``ffbench`` holds atomic numbers, cell and
pbc as JSON.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass
class Recorder:
    """Collects saved frames and writes one piece per checkpoint."""

    folder: Path
    numbers: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    rows: list[dict] = field(default_factory=list)

    def add(self, step, time_ps, positions, potential, kinetic, temperature, alive) -> None:
        """One saved frame of every replica that is still alive; arrays have a leading replica axis."""
        for b in np.flatnonzero(alive):
            self.rows.append(
                {
                    "replica": int(b),
                    "step": step,
                    "time_ps": time_ps,
                    "positions": positions[b].astype(np.float32),
                    "potential_energy": float(potential[b]),
                    "total_energy": float(potential[b] + kinetic[b]),
                    "temperature": float(temperature[b]),
                }
            )

    def flush(self, piece: int) -> None:
        """Write the collected rows as ``trajectory-<piece>.parquet``, atomically."""
        n = len(self.numbers)
        flat = np.concatenate([r["positions"] for r in self.rows]) if self.rows else np.zeros((0, 3), np.float32)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), 3)
        offsets = pa.array(np.arange(len(self.rows) + 1, dtype=np.int32) * n)
        meta = {"numbers": self.numbers.tolist(), "cell": self.cell.tolist(), "pbc": self.pbc.tolist()}
        columns = {
            "replica": pa.array([r["replica"] for r in self.rows], pa.int32()),
            "step": pa.array([r["step"] for r in self.rows], pa.int64()),
            "time_ps": pa.array([r["time_ps"] for r in self.rows], pa.float64()),
            "positions": pa.ListArray.from_arrays(offsets, vectors),
            "potential_energy": pa.array([r["potential_energy"] for r in self.rows], pa.float64()),
            "total_energy": pa.array([r["total_energy"] for r in self.rows], pa.float64()),
            "temperature": pa.array([r["temperature"] for r in self.rows], pa.float64()),
        }
        table = pa.table(columns).replace_schema_metadata({"ffbench": json.dumps(meta)})
        path = self.folder / f"trajectory-{piece:05d}.parquet"
        part = path.with_suffix(".part")
        pq.write_table(
            table,
            part,
            compression="zstd",
            use_dictionary=False,
            use_byte_stream_split=["positions.list.element.list.element"],
        )
        os.replace(part, path)
        self.rows.clear()


@dataclass(frozen=True)
class Trajectory:
    """All saved frames of one replica: ``time_ps`` [T], ``positions`` [T, N, 3], ``potential_energy``,
    ``total_energy`` [T] eV, ``temperature`` [T] K; ``numbers`` [N], ``cell`` [3, 3], ``pbc`` [3]."""

    numbers: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    time_ps: np.ndarray
    positions: np.ndarray
    potential_energy: np.ndarray
    total_energy: np.ndarray
    temperature: np.ndarray

    def __len__(self) -> int:
        return len(self.time_ps)

    def between(self, start_ps: float, end_ps: float) -> Trajectory:
        """The frames with start_ps < time <= end_ps."""
        keep = (self.time_ps > start_ps + 1e-9) & (self.time_ps <= end_ps + 1e-9)
        changed = {k: getattr(self, k)[keep] for k in self.__dataclass_fields__ if k not in ("numbers", "cell", "pbc")}
        return Trajectory(self.numbers, self.cell, self.pbc, **changed)


def read_trajectories(folder: Path) -> list[Trajectory]:
    """The trajectory of every replica in a unit's folder."""
    pieces = sorted(Path(folder).glob("trajectory-*.parquet"))
    if not pieces:
        raise ValueError(f"{folder} holds no trajectory")
    tables = [pq.read_table(p) for p in pieces]
    meta = json.loads(tables[0].schema.metadata[b"ffbench"])
    table = pa.concat_tables(tables)
    replica = table["replica"].to_numpy()
    x = table["positions"].combine_chunks().flatten().flatten().to_numpy().reshape(len(table), -1, 3)
    columns = {k: table[k].to_numpy() for k in ("time_ps", "potential_energy", "total_energy", "temperature")}
    out = []
    for b in range(int(replica.max()) + 1 if len(replica) else 0):
        rows = replica == b
        out.append(
            Trajectory(
                np.array(meta["numbers"]),
                np.array(meta["cell"], float).reshape(3, 3),
                np.array(meta["pbc"], bool),
                positions=x[rows],
                **{k: v[rows] for k, v in columns.items()},
            )
        )
    return out
