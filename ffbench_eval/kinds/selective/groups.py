"""Splits without leakage: by molecule, by scan, or by blocks of a trajectory with gaps between them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ffbench_data.frames import Frames

BLOCK_TIMES, GAP_TIMES, SAMPLE_TIMES = 20, 5, 5  # autocorrelation times
MANY_MOLECULES = 20
FEWEST_BLOCKS = 6
PARTS = {"train": 0.45, "calibration": 0.2, "test": 0.35}
UNUSED = -1


@dataclass(frozen=True)
class Groups:
    """``block`` [T]: what must stay together in a split (-1: a gap, unused). ``sample`` [T]: what is one independent
    sample of a bootstrap, inside a block. ``note`` says how they were made."""

    block: np.ndarray
    sample: np.ndarray
    note: str
    by: str = "blocks"


def groups_of(frames: Any, how: str = "auto", *, gaps: bool = True) -> Groups:
    """Groups of a `Frames`.

    ``scans``: one per scan (column ``scan``); ``molecules``: one per list of elements; ``blocks``: blocks of at least
    20 autocorrelation times of each trajectory with gaps of 5, samples of 5 (PROTOCOLS 7.6 and 7.19). ``auto`` takes
    scans where the data has them, molecules where there are more than 20, else blocks. A part that is not split needs
    no ``gaps``.
    """
    scans = "scan" in frames.table.schema.names
    molecule = _molecules(frames)
    if how == "auto":
        how = "scans" if scans else "molecules" if molecule.max() >= MANY_MOLECULES else "blocks"
    if how == "scans":
        if not scans:
            raise ValueError("groups: the data has no column 'scan'; use blocks or molecules")
        block = _numbered(frames.table["scan"].to_pylist())
        return Groups(block, block, f"{block.max() + 1} scans", how)
    if how == "molecules":
        return Groups(molecule, molecule, f"{molecule.max() + 1} molecules", how)
    if how != "blocks":
        raise ValueError(f"groups must be auto, scans, molecules or blocks, got {how!r}")
    block, sample = np.full(len(frames), UNUSED), np.full(len(frames), UNUSED)
    notes = []
    for rows in _trajectories(frames, molecule):
        b, s, note = _blocks(frames[rows], gaps)
        block[rows] = np.where(b == UNUSED, UNUSED, b + block.max() + 1)
        sample[rows] = np.where(b == UNUSED, UNUSED, s + sample.max() + 1)
        notes.append(note)
    return Groups(block, sample, "; ".join(dict.fromkeys(notes)))


def deal(block: np.ndarray, seed: int = 0, parts: dict[str, float] | None = None) -> dict[str, np.ndarray]:
    """Rows of train, calibration and test: whole groups, at random by ``seed``; every part gets at least one.

    >>> {k: v.tolist() for k, v in deal(np.array([0, 0, 1, 1, 2, 2]), seed=1).items()}
    {'train': [0, 1], 'calibration': [2, 3], 'test': [4, 5]}
    """
    parts = parts or PARTS
    names = np.unique(block[block != UNUSED])
    if len(names) < len(parts):
        raise ValueError(f"{len(names)} groups cannot be dealt to {len(parts)} parts: take more frames or molecules")
    order = np.random.default_rng(seed).permutation(names)
    wanted = {k: max(1, round(share * len(names))) for k, share in parts.items()}
    first = next(iter(wanted))
    wanted[first] = len(names) - sum(v for k, v in wanted.items() if k != first)
    while wanted[first] < 1:  # so few groups that rounding took them all
        largest = max(wanted, key=lambda k: wanted[k])
        wanted[largest], wanted[first] = wanted[largest] - 1, wanted[first] + 1
    ends = np.cumsum([0, *wanted.values()])
    split = {k: np.flatnonzero(np.isin(block, order[a:b])) for k, a, b in zip(wanted, ends[:-1], ends[1:], strict=True)}
    check_no_leak(split, block)
    return split


def check_no_leak(split: dict[str, np.ndarray], block: np.ndarray) -> None:
    """ValueError if a group (or a frame of a gap) is in two parts."""
    owner: dict[int, str] = {}
    for part, rows in split.items():
        for name in np.unique(block[rows]).tolist():
            if name == UNUSED:
                raise ValueError(f"split: part {part!r} holds frames of a gap between blocks")
            if owner.setdefault(name, part) != part:
                raise ValueError(f"split: group {name} is in {owner[name]!r} and in {part!r}")


def new_molecules(cases: Any, *seen: Any) -> np.ndarray:
    """Which structures [T] are of a molecule (a list of elements) that none of the ``seen`` parts holds."""
    old = {key for part in seen for key in _keys(part)}
    return np.array([key not in old for key in _keys(cases)])


def _molecules(frames: Frames) -> np.ndarray:
    return _numbered(_keys(frames))


def _keys(frames: Frames) -> list[tuple[int, ...]]:
    return [tuple(frames.atomic_numbers[a:b].tolist()) for a, b in pairwise(frames.offsets)]


def _numbered(keys: list) -> np.ndarray:
    number = {k: i for i, k in enumerate(dict.fromkeys(keys))}
    return np.array([number[k] for k in keys])


def _trajectories(frames: Frames, molecule: np.ndarray) -> list[np.ndarray]:
    """Rows in order of time, one array per molecule, charge, spin and method; a step back in time begins another
    run."""
    key = _numbered(list(zip(molecule.tolist(), frames.charge.tolist(), frames.spin_multiplicity.tolist())))
    if "method" in frames.table.schema.names:
        key = _numbered(list(zip(key.tolist(), frames.table["method"].to_pylist(), strict=True)))
    out = []
    for k in range(key.max() + 1):
        rows = np.flatnonzero(key == k)
        time = frames.time_fs[rows]
        if np.isfinite(time).all():
            out += np.split(rows, np.flatnonzero(np.diff(time) < 0) + 1)
        else:
            source = np.array([-1 if v is None else v for v in frames.table["source_index"].to_pylist()])[rows]
            out.append(rows[np.argsort(source, kind="stable")])
    return out


def _blocks(frames: Frames, gaps: bool) -> tuple[np.ndarray, np.ndarray, str]:
    from ffbench_data.builders.splits import correlation_frames

    n = len(frames)
    tau = correlation_frames(frames) if n > 3 else 1.0
    if not gaps:
        length = max(1, min(n, int(np.ceil(SAMPLE_TIMES * tau))))
        sample = np.minimum(np.arange(n) // length, max(1, n // length) - 1)
        return np.zeros(n, int), sample, f"samples of {length} frames ({SAMPLE_TIMES} autocorrelation times)"
    block, gap = int(np.ceil(BLOCK_TIMES * tau)), int(np.ceil(GAP_TIMES * tau))
    note = f"blocks of {block} frames ({BLOCK_TIMES} autocorrelation times), gaps of {gap}"
    if (n + gap) // (block + gap) < FEWEST_BLOCKS:
        room = n // FEWEST_BLOCKS
        gap = min(gap, room // 4)
        block = max(1, room - gap)
        note = f"blocks of {block} frames, gaps of {gap}: the trajectory is too short for 20 autocorrelation times"
    place = np.arange(n)
    number, inside = place // (block + gap), place % (block + gap)
    length = max(1, min(block, int(np.ceil(SAMPLE_TIMES * tau))))
    per_block = max(1, block // length)
    sample = number * per_block + np.minimum(inside // length, per_block - 1)
    return np.where(inside < block, number, UNUSED), sample, note
