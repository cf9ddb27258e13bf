"""Reference observables of published trajectories: what a simulation with a model is held against.

One trajectory is one run of the truth: only its halves can say how far runs differ, and a report says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from ..frames import Frames
from ..generate.blocks import (
    BLOCKS_PS,
    HISTOGRAM_FS,
    block_rows,
    blocks_table,
    mean,
    molecule_reference,
    stable_bonds,
    starts,
)
from ..schema import write_parquet
from ..validate import time_step
from .built import Built

G_MAX, G_BINS = 6.0, 500  # g(r) as in PROTOCOLS section 1


def add_molecule(built: Built, configs: Sequence[str], table: pa.Table, *, step_fs: float | None = None) -> None:
    """Bonds that hold throughout ``table``, starting frames, and h(r) in blocks of time where the frames are
    ``step_fs`` apart (``None``: they are no trajectory)."""
    frames = Frames(table)
    numbers, x = frames.stacked()
    geometry = x[int(np.argmin(frames.energy))]
    if step_fs:
        facts, blocks = molecule_reference(numbers, geometry, [x], save_fs=step_fs)
    else:
        facts, blocks = {"bonds": stable_bonds(numbers, x, geometry)}, None
    _add(built, configs, facts, blocks)


def add_crystal(built: Built, configs: Sequence[str], table: pa.Table, rules: dict[str, Any]) -> None:
    """g(r) of all atoms in blocks of time and the diffusivity of one element, by the ``rules`` on the card.

    How far frames are apart is what Newton's law says; where it cannot tell, the frames are no trajectory and only
    starting frames and the rules are kept.
    """
    from ffbench_metrics import pair_distance_counts

    frames = Frames(table)
    facts = dict(rules)
    step_fs = time_step(frames[:1000])
    blocks = None
    if step_fs:
        numbers, x = frames.stacked()
        every = max(1, round(HISTOGRAM_FS / step_fs))
        counts = pair_distance_counts(
            x[every - 1 :: every], frames.cell[0], index_a=np.arange(len(numbers)), r_max=G_MAX, bins=G_BINS
        )
        rows = []
        for block_ps in BLOCKS_PS:
            rows += block_rows("rdf_total", 0, counts, round(1000 * block_ps / (every * step_fs)), block_ps, G_MAX)
        blocks = blocks_table(rows)
        facts |= {"runs": 1, "run_ps": len(x) * step_fs / 1000, "frame_spacing_fs": round(step_fs, 3)}
        transport = _diffusivity(numbers, x, frames.cell[0], step_fs / 1000, rules["diffusivity"])
        facts["diffusivity"] = rules["diffusivity"] | transport
    _add(built, configs, facts, blocks)


def _diffusivity(
    numbers: np.ndarray, x: np.ndarray, cell: np.ndarray, step_ps: float, rule: dict[str, Any]
) -> dict[str, Any]:
    """The value over the whole trajectory, and as its error what the two halves say; nothing if they are too short."""
    from ase.data import atomic_masses, atomic_numbers

    from ffbench_metrics import diffusivity, unwrap

    window = tuple(rule["fit_window_ps"])
    if len(x) // 2 * step_ps < 1.5 * window[1]:
        return {}
    x = unwrap(x, cell)
    of = {"index_a": numbers == atomic_numbers[rule["element"]], "masses": atomic_masses[numbers]}
    halves = [diffusivity(part, step_ps, fit_window=window, **of) for part in np.array_split(x, 2)]
    whole = diffusivity(x, step_ps, fit_window=window, **of)
    return {**mean(halves), "value": whole, "values": halves, "unit": "m^2/s"}


def _add(built: Built, configs: Sequence[str], facts: dict[str, Any], blocks: pa.Table | None) -> None:
    for config in (c for c in configs if c in built.tables):
        mine = facts | {"starts": starts(built.tables[config]["test"].num_rows)}
        built.extra_files[f"reference/{config}/reference.json"] = json.dumps(mine, indent=1).encode()
        if blocks is not None and blocks.num_rows:
            built.extra_files[f"reference/{config}/blocks.parquet"] = partial(write_parquet, blocks)
