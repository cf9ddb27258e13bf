"""A model's energies and forces on many scans, packed by atom count into batches of bounded size."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ffbench_data.contract import AtomsBatch, ForceField

from ...engine.memory import OutOfMemory
from ...models.batching import batch_atoms
from ...models.finite import usable
from ...models.guard import ModelFailure
from ..base import Progress

Structures = tuple[np.ndarray, np.ndarray]  # atomic numbers [N], positions [K, N, 3]
Piece = tuple[int, int, int]  # structures, first frame, last frame + 1


@dataclass
class Answers:
    """Per set of structures: ``energy`` [K] (float64), ``forces`` [K, N, 3] (float64 or float32, as the model), NaN
    where it failed.

    ``faults``: {index: (state, what happened)}; ``calls``: how often the model was asked.
    """

    energy: list[np.ndarray]
    forces: list[np.ndarray]
    faults: dict[int, tuple[str, str]] = field(default_factory=dict)
    calls: int = 0


def predict(
    model: ForceField,
    sets: Sequence[Structures],
    *,
    states: Sequence[tuple[int, int]] | None = None,
    at_most: int | None = None,
    progress: Progress = lambda _: None,
) -> Answers:
    """Ask ``model`` for every frame of every set, ``at_most`` atoms at a time (default: `batching.batch_atoms`).
    ``states`` are charge and spin multiplicity of each set (default: neutral singlets).

    A frame on which a guarded model raises is a fault of its set alone, and named: the batch is taken apart to find it,
    down to single frames; the others keep their answers. A batch that does not fit into memory is halved. Exceptions of
    a model that is not guarded (`guard.guarded`) pass. Numbers too large to be squared count as none.
    """
    kind = np.dtype(np.float64 if model.dtype == torch.float64 else np.float32)
    out = Answers([np.full(len(x), np.nan) for _, x in sets], [np.full(x.shape, np.nan, kind) for _, x in sets])
    queue = deque(pack([x.shape for _, x in sets], at_most or batch_atoms(model)))
    frames = sum(len(x) for _, x in sets)
    done = 0
    raised: dict[int, list[tuple[int, str]]] = {}
    while queue:
        pieces = [p for p in queue.popleft() if out.faults.get(p[0], ("",))[0] != "out_of_memory"]
        if not pieces:
            continue
        asked = None if states is None else [states[s] for s, _, _ in pieces]
        batch = batch_of([(sets[s][0], sets[s][1][a:b]) for s, a, b in pieces], model.cutoff, asked)
        try:
            answer = model(batch)
            out.calls += 1
        except (ModelFailure, OutOfMemory) as error:
            parts = _parts(pieces)
            if parts:
                queue.extendleft(reversed(parts))
            elif isinstance(error, OutOfMemory):
                out.faults[pieces[0][0]] = ("out_of_memory", str(error))
            else:
                raised.setdefault(pieces[0][0], []).append((pieces[0][1], str(error)))
                done += 1
            continue
        energy = answer.energy.detach().cpu().double().numpy()
        forces = answer.forces.detach().cpu().double().numpy()
        frame = atom = 0
        for s, a, b in pieces:
            n = sets[s][1].shape[1]
            e, f = energy[frame : frame + b - a], forces[atom : atom + (b - a) * n].reshape(b - a, n, 3)
            out.energy[s][a:b] = np.where(usable(e), e, np.nan)
            with np.errstate(over="ignore"):
                out.forces[s][a:b] = np.where(usable(f), f, np.nan)
            frame, atom = frame + b - a, atom + (b - a) * n
        done += frame
        progress(done / frames)
    for s, told in raised.items():
        at = sorted(frame for frame, _ in told)
        which = f"frame {at[0]}" if len(at) == 1 else f"{len(at)} of {len(sets[s][1])} frames, {at[0]} the first"
        out.faults.setdefault(s, ("model_error", f"{which}: {told[0][1]}"))
    return out


def pack(shapes: Sequence[tuple[int, ...]], batch_atoms: int) -> list[list[Piece]]:
    """Batches of at most ``batch_atoms`` atoms (or one frame) out of sets of shape [K, N, 3], small molecules first.

    >>> pack([(3, 4, 3), (2, 2, 3)], 8)
    [[(1, 0, 2), (0, 0, 1)], [(0, 1, 3)]]
    """
    batches: list[list[Piece]] = [[]]
    room = batch_atoms
    for s in sorted(range(len(shapes)), key=lambda k: shapes[k][1]):
        frames, n = shapes[s][:2]
        start = 0
        while start < frames:
            fit = room // n
            if fit <= 0:
                if batches[-1]:
                    batches.append([])
                    room = batch_atoms
                    continue
                fit = 1
            stop = min(frames, start + fit)
            batches[-1].append((s, start, stop))
            room -= (stop - start) * n
            start = stop
    return [b for b in batches if b]


def _parts(pieces: list[Piece]) -> list[list[Piece]]:
    """Two halves of a batch: by sets, or, when there is one set, by frames; none if it is a single frame."""
    if len(pieces) > 1:
        middle = len(pieces) // 2
        return [pieces[:middle], pieces[middle:]]
    s, a, b = pieces[0]
    if b - a > 1:
        middle = (a + b) // 2
        return [[(s, a, middle)], [(s, middle, b)]]
    return []


def batch_of(
    sets: Sequence[Structures], cutoff: float | None, states: Sequence[tuple[int, int]] | None = None
) -> AtomsBatch:
    """One batch of open structures; the edge list is made for all frames of a set at once, each pair beside its
    reverse in the second half (``paired``)."""
    halves, start = [], 0
    for numbers, x in sets:
        frames, n = len(x), len(numbers)
        if cutoff is not None:
            i, j = np.triu_indices(n, 1)
            squared = np.square(x[:, i] - x[:, j]).sum(axis=-1)
            frame, pair = np.nonzero(squared <= cutoff**2)
            base = start + frame * n
            halves.append(np.stack([base + i[pair], base + j[pair]]))
        start += frames * n
    counts = np.concatenate([np.full(len(x), len(numbers)) for numbers, x in sets])
    charge, spin = np.repeat(np.array(states or [(0, 1)] * len(sets), np.int64), [len(x) for _, x in sets], axis=0).T
    edges = None
    if cutoff is not None:
        half = torch.from_numpy(np.concatenate(halves, axis=1))
        edges = torch.cat([half, half.flip(0)], dim=1)
    return AtomsBatch(
        positions=torch.from_numpy(np.concatenate([x.reshape(-1, 3) for _, x in sets])),
        atomic_numbers=torch.from_numpy(np.concatenate([np.tile(z, len(x)) for z, x in sets]).astype(np.int64)),
        system_index=torch.from_numpy(np.repeat(np.arange(len(counts)), counts)),
        cell=torch.zeros(len(counts), 3, 3, dtype=torch.float64),
        pbc=torch.zeros(len(counts), 3, dtype=torch.bool),
        edge_index=edges,
        paired=edges is not None,
        charge=torch.from_numpy(charge.copy()),
        spin_multiplicity=torch.from_numpy(spin.copy()),
    )
