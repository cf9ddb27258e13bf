"""What a builder hands over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa


@dataclass
class Built:
    """``tables`` {config: {split: table}}; ``trajectories``: consecutive frames for the dynamical checks;
    ``stiffness``: (label, table, atoms i, j, expected eV/A^2) for the bond check; ``notes`` on how it was built."""

    tables: dict[str, dict[str, pa.Table]] = field(default_factory=dict)
    trajectories: dict[str, pa.Table] = field(default_factory=dict)
    stiffness: list[tuple[str, pa.Table, Any, Any, float]] = field(default_factory=list)
    extra_files: dict[str, bytes | Callable[[Path], Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    splits: dict[str, Any] = field(default_factory=dict)  # block lengths, gaps and the like
    complete: bool = True

    def missing(self, what: str) -> None:
        self.complete = False
        self.notes.append(what)
