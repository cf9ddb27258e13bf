"""Truth on trajectory: what the reference potential says on frames of the model's own simulation.

The error on a test split says how good a model is where the truth goes; this says how good it is where the model
itself goes. Its growth before a failure shows when trust was lost (PROTOCOLS: truth on call).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...report import Curve, Metric, axis, rounded
from ..base import MetricsAndCurves
from ..statistics import over_replicas, stable_time

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField
    from ffbench_data.frames import Frames

    from ...engine.trajectory import Trajectory
    from ...models.guard import ModelFailure

FILE = "on_trajectory.npz"


def label_sample(
    dataset: str,
    model: ForceField,
    trajectories: Sequence[Trajectory],
    frames: int,
    folder: Path,
    *,
    charge: int = 0,
    spin: int = 1,
    known: Frames | None = None,
) -> tuple[str, list[str]]:
    """Label ``frames`` saved frames of every replica, evenly spaced and always the last one, with model and truth.

    Writes ``on_trajectory.npz``. ``charge`` and ``spin`` (2S+1) are those of the replicas, ``known`` labelled frames of
    the data set. A frame on which model or truth fails is NaN there: a structure that the truth cannot answer is the
    model's doing, unless the truth fails on the ``known`` frames too. Returns a reason when there is no reference
    potential here, or none that works, else "", and one line for every replica with such a frame.
    """
    from ffbench_data import reference

    from ...engine.forces import last_line

    try:
        truth = reference(dataset)
    except ValueError as error:
        return str(error), []
    columns: dict[str, list[np.ndarray]] = {k: [] for k in ("replica", "time", "mine", "theirs", "f", "f_ref")}
    notes: dict[int, str] = {}
    for b, t in enumerate(trajectories):
        if not len(t):
            continue
        first = 0 if frames > 1 else len(t) - 1
        rows = np.unique(np.linspace(first, len(t) - 1, min(frames, len(t))).round().astype(int))
        x, cells = t.positions[rows].astype(float), t.cells[rows]
        mine, forces, said = _asked(model, t, x, cells, charge, spin)
        for k, text in sorted(said.items(), reverse=True):
            notes[b] = (
                f"replica {b}: asked about its own frame at {t.time_ps[rows[k]]:.3f} ps, the model failed: {text}"
            )
        theirs, wanted = np.full(len(x), np.nan), np.full(x.shape, np.nan)
        for k, one in reversed(list(enumerate(x))):
            try:
                theirs[k], wanted[k] = _true(truth, t.numbers, one, cells[k], t.pbc, charge, spin)
            except Exception as error:  # of a foreign code, on a structure that nobody has seen before
                broken = _broken(truth, known)
                if broken:
                    return f"the reference potential fails on the data's own frames: {broken}", []
                notes[b] = (
                    f"replica {b}: the reference potential fails on the model's structure at "
                    f"{t.time_ps[rows[k]]:.3f} ps, which counts as wrong: {last_line(error)}"
                )
        columns["replica"].append(np.full(len(x), b))
        columns["time"].append(t.time_ps[rows])
        columns["mine"].append(mine)
        columns["theirs"].append(theirs)
        columns["f"].append(forces)
        columns["f_ref"].append(wanted)
    if columns["time"]:
        whole: dict[str, Any] = {k: np.concatenate(v) for k, v in columns.items()}
        np.savez_compressed(folder / FILE, **whole)
    return "", [notes[b] for b in sorted(notes)]


def _asked(
    model: ForceField, t: Trajectory, x: np.ndarray, cells: np.ndarray, charge: int, spin: int
) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """The model's energies [T] and forces [T, N, 3] of positions [T, N, 3] in their cells [T, 3, 3]; NaN and the
    message where it raises."""
    import torch

    from ffbench_data.contract import AtomsBatch

    from ...models.batching import batch_atoms, in_parts

    n, said = x.shape[1], dict[int, str]()

    def ask(rows: np.ndarray):
        count = len(rows)
        batch = AtomsBatch(
            positions=torch.from_numpy(x[rows].reshape(-1, 3)),
            atomic_numbers=torch.from_numpy(np.tile(t.numbers, count)),
            system_index=torch.arange(count).repeat_interleave(n),
            cell=torch.from_numpy(cells[rows]),
            pbc=torch.from_numpy(np.tile(t.pbc, (count, 1))),
            charge=torch.full((count,), charge),
            spin_multiplicity=torch.full((count,), spin),
        )
        out = model(batch)
        energy, forces = (part.detach().cpu().double().numpy() for part in (out.energy, out.forces))
        return energy, forces.reshape(count, n, 3)

    def failed(row: int, error: ModelFailure):
        said[row] = error.line
        return np.full(1, np.nan), np.full((1, n, 3), np.nan)

    parts = in_parts(ask, np.arange(len(x)), max(1, batch_atoms(model) // n), failed)
    energy, forces = (np.concatenate(column) for column in zip(*parts))
    return energy, forces, said


def _true(
    truth: Any,
    numbers: np.ndarray,
    x: np.ndarray,
    cell: np.ndarray | None,
    pbc: np.ndarray | None,
    charge: int,
    spin: int,
) -> tuple[float, np.ndarray]:
    from ffbench_data.potentials import label

    energy, forces = label(truth, numbers, x[None], cell if np.any(pbc) else None, charge=charge, spin=spin)
    return energy[0], forces[0]


def _broken(truth: Any, known: Frames | None) -> str:
    """What the truth raises on the first of the ``known`` frames, which nobody made up; "" if it answers."""
    from ...engine.forces import last_line

    if known is None or not len(known):
        return ""
    f = known[0]
    try:
        _true(truth, f.atomic_numbers, f.positions.astype(float), f.cell, f.pbc, f.charge, f.spin_multiplicity)
    except Exception as error:
        return last_line(error)
    return ""


def score_sample(units: list[tuple[Path, float]]) -> MetricsAndCurves:
    """Force MAE, force violation and energy violation on the model's own frames; one value per replica.

    ``units``: (folder, spread of the energies of its system in eV)."""
    from ffbench_metrics import energy_violation, force_mae, force_violation

    values: dict[str, list[float | None]] = {"mae": [], "fv": [], "ev": []}
    by_time: dict[float, list[float]] = {}
    for folder, energy_scale in units:
        for got in _labelled(folder).values():
            error = got["error"]
            if not np.isfinite(error).all():  # a replica without a number, not one that was never there
                for column in values.values():
                    column.append(None)
                continue
            values["mae"].append(force_mae(got["f"], got["f_ref"]))
            values["fv"].append(float(np.median(force_violation(got["f"], got["f_ref"]))))
            ev = energy_violation(got["mine"], got["theirs"], scale=energy_scale) if energy_scale > 0 else None
            values["ev"].append(None if ev is None else float(np.median(ev)))
            for time, one in zip(got["time"], error):
                by_time.setdefault(float(time), []).append(float(one))
    if not values["mae"]:
        return {}, {}
    metrics = {
        "on_trajectory_force_mae": over_replicas(values["mae"], unit="eV/Å"),
        "force_violation": over_replicas(values["fv"], unit="1"),
        "energy_violation": over_replicas(values["ev"], unit="1"),
    }
    times = sorted(by_time)
    every = max(1, len(times) // 200)
    curve = Curve(
        x_label="time (ps)",
        y_label="force MAE on the model's own frames (eV/Å)",
        x=axis(times[::every]),
        series={"mean over replicas": rounded([float(np.mean(by_time[t])) for t in times[::every]])},
    )
    return metrics, {"on_trajectory_force_mae": curve}


def trusted_time(
    samples: list[tuple[Path, int]], stable_ps: list[float], length_ps: float, limit: float, save_ps: float = 0.05
) -> Metric:
    """How long the forces on the model's own frames are worth anything, restricted to ``length_ps``.

    ``samples`` are the folders of units with their numbers of replicas, ``stable_ps`` the stable time of every replica
    in that order. A replica is trusted until its last labelled frame before the first with a force MAE of ``limit``
    (eV/Angstrom: what predicting no forces scores on the test split) or more, and never longer than it is stable. Bonds
    may hold where the truth would not go; this is the stability that a criterion on bonds misses. A replica that left
    frames, one every ``save_ps``, of which none is labelled has no trusted time, and then there is no mean.
    """
    if not np.isfinite(limit):
        why = "the data set has no force labels to say what no forces score"
        return Metric(value=None, unit="ps", better="higher", aggregate="restricted_mean", not_scored=why)
    values: list[float | None] = []
    stable = iter(stable_ps)
    for folder, replicas in samples:
        labelled = _labelled(folder)
        for b in range(replicas):
            end = min(next(stable), length_ps)
            if b in labelled:
                wrong = np.flatnonzero(~(labelled[b]["error"] < limit))
                if len(wrong):
                    end = min(end, float(labelled[b]["time"][wrong[0] - 1]) if wrong[0] else 0.0)
            values.append(end if b in labelled or end < save_ps else None)
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        missing = f"{len(values) - len(known)} of {len(values)} replicas have no frame labelled by the truth"
        return Metric(
            value=None, unit="ps", better="higher", aggregate="restricted_mean", values=values, not_scored=missing
        )
    return stable_time([v < length_ps - 1e-9 for v in known], known, length_ps)


def _labelled(folder: Path) -> dict[int, dict[str, np.ndarray]]:
    """What `label_sample` wrote, by replica, with the force MAE ``error`` of every frame; empty if it wrote nothing."""
    if not (folder / FILE).exists():
        return {}
    from ffbench_metrics import force_mae

    columns = dict(np.load(folder / FILE))
    columns["error"] = np.array([_or_nan(force_mae, f, f_ref) for f, f_ref in zip(columns["f"], columns["f_ref"])])
    replica = columns["replica"]
    return {int(b): {name: column[replica == b] for name, column in columns.items()} for b in np.unique(replica)}


def _or_nan(metric: Callable[[np.ndarray, np.ndarray], float], forces: np.ndarray, reference: np.ndarray) -> float:
    """A metric of one frame, NaN where an array is not finite: metrics refuse these."""
    return float(metric(forces, reference)) if np.isfinite(forces).all() and np.isfinite(reference).all() else np.nan
