"""Reference observables that ship with a dataset: what the truth itself gives, and how far its runs differ.

They live in the dataset's folder under ``reference/`` (or ``reference/<config>/``, one system each):
``reference.json`` (bonds, starting frames, scalars with their errors), ``blocks.parquet`` (histogram counts per run and
block of time), ``hills.parquet`` and ``free_energy.parquet`` (metadynamics).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from .atomic import read_object


@dataclass(frozen=True)
class Blocks:
    """Histogram counts of one observable: ``counts`` is one [blocks, bins] array per independent run; every block
    holds ``frames`` frames over ``block_ps``; ``r_max`` Angstrom."""

    counts: list[np.ndarray]
    block_ps: float
    frames: int
    r_max: float

    @property
    def total(self) -> np.ndarray:
        """Counts [bins] pooled over everything."""
        return np.sum([c.sum(0) for c in self.counts], axis=0)

    @property
    def n_frames(self) -> int:
        return self.frames * sum(len(c) for c in self.counts)


@dataclass(frozen=True)
class Reference:
    folder: Path
    facts: dict[str, Any]

    @property
    def observables(self) -> list[str]:
        """Names of the stored histograms."""
        path = self.folder / "blocks.parquet"
        if not path.exists():
            return []
        return sorted(set(pq.read_table(path, columns=["observable"])["observable"].to_pylist()))

    def levels(self, observable: str) -> list[Blocks]:
        """The stored blocks of ``observable`` at every length of block, the longest first. ValueError without any."""
        table = pq.read_table(self.folder / "blocks.parquet", filters=[("observable", "=", observable)])
        if not len(table):
            raise ValueError(f"no reference for {observable!r} in {self.folder}")
        rows = table.to_pylist()
        levels = []
        for block_ps in sorted({r["block_ps"] for r in rows}, reverse=True):
            mine = [r for r in rows if r["block_ps"] == block_ps]
            runs = sorted({r["run"] for r in mine})
            counts = [np.array([r["counts"] for r in mine if r["run"] == run], np.int64) for run in runs]
            levels.append(Blocks(counts, block_ps, mine[0]["frames"], mine[0]["r_max"]))
        return levels

    def blocks(self, observable: str) -> Blocks:
        """The longest stored blocks of ``observable``: what the reference pools."""
        return self.levels(observable)[0]

    @property
    def hills(self) -> list[np.ndarray]:
        """Hills [H, 3] (phi, psi in rad, height in kJ/mol as added), one array per independent run."""
        table = pq.read_table(self.folder / "hills.parquet")
        run = table["run"].to_numpy()
        rows = np.stack([table[k].to_numpy() for k in ("phi", "psi", "height")], 1)
        return [rows[run == r] for r in np.unique(run)]

    @property
    def free_energy(self) -> np.ndarray:
        """F(phi, psi) [bins, bins] in kJ/mol, minimum 0."""
        values = pq.read_table(self.folder / "free_energy.parquet")["kJ_per_mol"].to_numpy()
        return values.reshape(round(len(values) ** 0.5), -1)


def read_reference(folder: Path, config: str | None = None) -> Reference | None:
    """The reference of a dataset's ``config`` (``reference/<config>/``), else of the whole dataset, else ``None``.

    One object as long as the file stays as it is: data that are built anew in this process have new facts.
    """
    home = Path(folder) / "reference"
    for place in ([home / config] if config else []) + [home]:
        path = place / "reference.json"
        if path.exists():
            made = path.stat()
            return _read(place, made.st_size, made.st_mtime_ns, made.st_ino)
    return None


@lru_cache(maxsize=32)
def _read(place: Path, *_state: int) -> Reference:
    return Reference(place, read_object(place / "reference.json"))
