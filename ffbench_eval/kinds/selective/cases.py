"""`Cases`: what a model said about many structures, beside the truth where it is known; numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ffbench_data.atomic import replacing

from ..base import Progress

if TYPE_CHECKING:
    from ffbench_data.contract import AtomsBatch, ForceField, Prediction

PER_ATOM = ("atomic_numbers", "positions", "forces", "embedding", "charges", "force_spread", "reference_forces")
PER_STRUCTURE = ("energy", "uncertainty", "energy_spread", "reference_energy", "group")
LABELS = ("residual", "failed")


@dataclass(frozen=True)
class Cases:
    """T structures of A atoms in a row. Units: Angstrom, eV, eV/Angstrom.

    - ``atomic_numbers`` [A], ``positions`` [A, 3], ``offsets`` [T + 1] where each structure begins
    - the model's answer: ``energy`` [T], ``forces`` [A, 3]; optional ``embedding`` [A, D], ``charges`` [A],
      ``uncertainty`` [T]; of an ensemble: ``energy_spread`` [T], ``force_spread`` [A] (norm of the standard deviation)
    - the truth, if known: ``reference_energy`` [T], ``reference_forces`` [A, 3]; ``group`` [T] for splits
    - labels, set by `label`: ``residual`` [n] >= 0 and ``failed`` [n], n = T at ``level`` structure, A at atom
    """

    atomic_numbers: np.ndarray
    positions: np.ndarray
    offsets: np.ndarray
    energy: np.ndarray
    forces: np.ndarray
    embedding: np.ndarray | None = None
    charges: np.ndarray | None = None
    uncertainty: np.ndarray | None = None
    energy_spread: np.ndarray | None = None
    force_spread: np.ndarray | None = None
    reference_energy: np.ndarray | None = None
    reference_forces: np.ndarray | None = None
    group: np.ndarray | None = None
    residual: np.ndarray | None = None
    failed: np.ndarray | None = None
    level: str = "structure"

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_atoms(self) -> np.ndarray:
        """Atoms per structure [T]."""
        return np.diff(self.offsets)

    @property
    def owner(self) -> np.ndarray:
        """The structure of each atom [A]."""
        return np.repeat(np.arange(len(self)), self.n_atoms)

    @property
    def number(self) -> int:
        """Cases to score: structures, or atoms at level atom."""
        return len(self.atomic_numbers) if self.level == "atom" else len(self)

    def per_case(self, values: np.ndarray) -> np.ndarray:
        """Values [T, ...] per structure, repeated for its atoms at level atom."""
        return values[self.owner] if self.level == "atom" else values

    def __getitem__(self, rows: Any) -> Cases:
        """The structures ``rows`` (indices, a slice or a mask)."""
        rows = np.arange(len(self))[rows]
        n = self.n_atoms[rows]
        offsets = np.concatenate([[0], np.cumsum(n)])
        atoms = np.repeat(self.offsets[rows] - offsets[:-1], n) + np.arange(offsets[-1])
        by = dict.fromkeys(PER_ATOM, atoms) | dict.fromkeys(PER_STRUCTURE, rows)
        by |= dict.fromkeys(LABELS, atoms if self.level == "atom" else rows)
        held = {k: getattr(self, k) for k in by}
        some: dict[str, Any] = {k: None if v is None else v[by[k]] for k, v in held.items()}
        return replace(self, offsets=offsets, **some)

    def finite(self) -> np.ndarray:
        """Structures [T] whose answer is finite."""
        from ...models.finite import usable

        good = usable(self.energy)
        np.logical_and.at(good, self.owner, usable(self.forces).all(1))
        if self.embedding is not None:
            np.logical_and.at(good, self.owner, np.isfinite(self.embedding).all(1))
        return good

    def save(self, path: str | Path) -> None:
        """Everything as npz, atomically; `load_cases` reads it."""
        kept = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, **kept)


def load_cases(path: str | Path) -> Cases:
    with np.load(path) as file:
        columns: dict[str, Any] = {k: str(file[k]) if k == "level" else file[k] for k in file.files}
    return Cases(**columns)


def cases_of(batch: AtomsBatch, prediction: Prediction, **more: Any) -> Cases:
    """The cases of one call of a model, without the truth: what a guard of a running simulation scores."""
    counts = batch.n_atoms.cpu().numpy()

    def array(value: Any):
        return None if value is None else value.detach().cpu().double().numpy().copy()  # a model may reuse its tensor

    return Cases(
        atomic_numbers=batch.atomic_numbers.cpu().numpy(),
        positions=array(batch.positions),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        energy=array(prediction.energy),
        forces=array(prediction.forces),
        embedding=None if prediction.embedding is None else prediction.embedding.detach().cpu().float().numpy(),
        uncertainty=array(prediction.uncertainty),
        **more,
    )


def joined(parts: Sequence[Cases]) -> Cases:
    """Cases one after the other; an optional column is kept if all parts have it."""
    kept: dict[str, Any] = {}
    for name in (*PER_ATOM, *PER_STRUCTURE, *LABELS):
        values = [getattr(p, name) for p in parts]
        kept[name] = None if any(v is None for v in values) else np.concatenate(values)
    return Cases(
        offsets=np.concatenate([[0], np.cumsum(np.concatenate([p.n_atoms for p in parts]))]),
        level=parts[0].level,
        **kept,
    )


def ask(
    model: ForceField,
    frames: Any,
    rows: Any = None,
    *,
    members: Sequence[ForceField] | None = None,
    progress: Progress = lambda _: None,
    raised: dict[int, str] | None = None,
) -> Cases:
    """Run ``model`` once over ``frames`` (a `Frames`, all or some ``rows``) and keep answers and truth.

    The members of an `Ensemble` (or ``members``) are called one by one, so that the spread of their forces is known as
    well; the answer is then their mean and the embedding that of the first. ``raised`` collects what a guarded model
    raised, by row; such a structure has no finite answer. Without it the exception passes.
    """
    from ffbench_data.frames import collate

    from ...models.batching import batch_atoms, in_parts
    from ...models.embedding import members_of

    rows = np.arange(len(frames)) if rows is None else np.asarray(rows)
    if len(rows) == 0:
        raise ValueError("frames: there are none to ask the model about")
    members = members_of(model) if members is None else list(members)
    done = 0

    def of(part: Any) -> Cases:
        nonlocal done
        truth = [frames[int(r)] for r in part]
        more = {
            "reference_energy": np.array([t.energy for t in truth], float),
            "reference_forces": np.concatenate([t.forces for t in truth]).astype(float),
        }
        found = _asked(model, members, collate(frames, indices=part), more)
        done += len(part)
        progress(done / len(rows))
        return found

    def failed(row: int, error: Exception) -> Cases:
        nonlocal done
        if raised is None:
            raise error
        raised[row] = str(error)
        done += 1
        progress(done / len(rows))
        return _without_answer(frames[row])

    parts = in_parts(of, rows, max(1, batch_atoms(model) // int(frames.n_atoms[rows].max())), failed)
    return joined(_alike(parts))


def _without_answer(frame: Any) -> Cases:
    """A structure on which the model raised: NaN, as if it had said so."""
    n = len(frame.atomic_numbers)
    return Cases(
        atomic_numbers=np.asarray(frame.atomic_numbers),
        positions=np.asarray(frame.positions, float),
        offsets=np.array([0, n]),
        energy=np.full(1, np.nan),
        forces=np.full((n, 3), np.nan),
        reference_energy=np.array([frame.energy], float),
        reference_forces=np.asarray(frame.forces, float),
    )


def _alike(parts: Sequence[Cases]) -> list[Cases]:
    """Parts with the same optional columns: NaN in those without an answer where the others have one."""
    like = next((p for p in parts if np.isfinite(p.energy).any()), parts[0])
    optional = ("embedding", "charges", "force_spread", "uncertainty", "energy_spread")
    out = []
    for part in parts:
        blank: dict[str, Any] = {}
        for name in optional:
            model = getattr(like, name)
            if model is not None and getattr(part, name) is None:
                rows = len(part.atomic_numbers) if name in PER_ATOM else len(part)
                blank[name] = np.full((rows, *model.shape[1:]), np.nan, model.dtype)
        out.append(replace(part, **blank) if blank else part)
    return out


def _asked(model: ForceField, members: Any, batch: AtomsBatch, more: Any) -> Cases:
    if not members:
        return cases_of(batch, model(batch), **more)
    from ffbench_data.neighbors import with_edges

    if model.cutoff is not None:
        batch = with_edges(batch.to(dtype=model.dtype, device=model.device), model.cutoff)
    said = [cases_of(batch, member(batch), **more) for member in members]
    energy, forces = np.stack([c.energy for c in said]), np.stack([c.forces for c in said])
    return replace(
        said[0],
        energy=energy.mean(0),
        forces=forces.mean(0),
        energy_spread=energy.std(0, ddof=1),
        force_spread=np.linalg.norm(forces.std(0, ddof=1), axis=1),
        uncertainty=energy.std(0, ddof=1),
    )
