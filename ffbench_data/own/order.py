"""Which rows follow each other in time, how far apart they are, and at which temperature they were drawn."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

import numpy as np

from ..frames import Frames
from ..geometry import minimum_image
from ..validate import check_order, newton_fit
from .options import Options
from .rows import Rows

FEWEST = 50  # frames of a trajectory
JUMP = 20.0  # times the usual move: another trajectory begins
LOOKED_AT = 1000  # frames
SHARP = 0.95  # correlation with Newton's law from which it gives a time step; digits of a file cost 0.02 at 0.5 fs
EVEN = 0.15  # of the median: how far apart the quartiles of the steps of single triples of frames may lie
MOST_HEATS = 0.2  # of the frames of a system: more temperatures than that are those of single moments
KELVIN = re.compile(r"(?<![\d.])(\d{2,4}(?:\.\d+)?)\s*K(?![a-z])")


@dataclass(frozen=True)
class Segment:
    """Rows ``start``..``stop`` of one system from one place; ``ordered`` in time, ``step_fs`` apart (``None``: not
    known); ``how`` it is known."""

    start: int
    stop: int
    ordered: bool
    step_fs: float | None = None
    how: str = ""

    def __len__(self) -> int:
        return self.stop - self.start


def segments(rows: Rows, options: Options) -> list[Segment]:
    """All rows, cut where the system, the file, its run or its group changes, or where everything jumps."""
    n = len(rows)
    same = np.ones(n, bool)
    same[0] = False
    for name in ("system", "file", "run", "group"):
        same[1:] &= np.diff(rows.columns[name]) == 0
    kelvin = np.nan_to_num(of_ensembles(rows), nan=-1.0)
    same[1:] &= np.abs(np.diff(kelvin)) < 1e-9
    edges = [*np.flatnonzero(~same).tolist(), n]
    out = []
    for start, stop in itertools.pairwise(edges):
        if stop - start < FEWEST:
            out.append(Segment(start, stop, False))
            continue
        move = rows.step[start:stop]
        usual = np.nanmedian(move[1:]) if stop - start > 2 else np.nan
        jumps = start + np.flatnonzero(move > JUMP * usual) if usual > 0 else np.zeros(0, int)
        parts = [start, *jumps.tolist(), stop]
        found = [_segment(rows, a, b, options) for a, b in itertools.pairwise(parts)]
        if len(found) > 1 and not any(s.ordered for s in found):
            found = [_segment(rows, start, stop, options)]
        out += found
    return out


def _segment(rows: Rows, start: int, stop: int, options: Options) -> Segment:
    if stop - start < FEWEST:
        return Segment(start, stop, False)
    frames = Frames(rows.read(start, min(stop, start + LOOKED_AT)).combine_chunks())
    ordered = any(f.level == "note" for f in check_order(frames, ""))
    stated = np.diff(rows.time[start:stop])
    if np.isfinite(stated).all() and (stated > 0).all() and np.ptp(stated) < 1e-3 * stated.mean():
        return Segment(start, stop, True, float(np.median(stated)), "as the file says")
    if options.time_step:
        _check_stated(frames, options.time_step)
        return Segment(start, stop, True, options.time_step, "as stated")
    if not ordered:
        return Segment(start, stop, False)
    found, r = _newton(frames)
    if found is None or r < SHARP or not _even(frames):
        return Segment(start, stop, True)
    return Segment(start, stop, True, float(f"{found:.3g}"), "by Newton's law")


def _newton(frames: Frames) -> tuple[float | None, float]:
    """(time step in fs or ``None``, correlation) by Newton's law.

    The second difference of a vibration's positions is 2 (1 - cos x) / x^2 of its acceleration, x = omega dt, and that
    of its accelerations tells x: without this the step of frames far apart comes out too short.
    """
    fit = newton_fit(frames) if np.isfinite(frames.forces).all() else None
    if fit is None or fit[0] is None:
        return None, 0.0
    push = _accelerations(frames)
    size = float((push[1:-1] ** 2).sum())
    turned = -float((np.diff(push, 2, axis=0) * push[1:-1]).sum()) / size if size > 0 else 0.0  # 2 (1 - cos x)
    return fit[0] * (np.arccos(1 - turned / 2) / np.sqrt(turned) if 0 < turned < 4 else 1.0), fit[1]


def _accelerations(frames: Frames) -> np.ndarray:
    from ase.data import atomic_masses

    numbers, x = frames.stacked()
    return frames.forces.reshape(x.shape).astype(float) / atomic_masses[numbers][:, None]


def _even(frames: Frames) -> bool:
    """Whether the frames lie equally far apart in time: every triple of them gives about the same step."""
    step = minimum_image(np.diff(frames.stacked()[1], axis=0), frames.cell[0], frames.pbc[0])
    push = _accelerations(frames)[1:-1]
    squared = (np.diff(step, axis=0) * push).sum((1, 2)) / np.maximum((push**2).sum((1, 2)), 1e-300)
    low, middle, high = np.sqrt(np.quantile(np.maximum(squared, 0.0), [0.25, 0.5, 0.75]))
    return bool(high - low < EVEN * middle)


def _check_stated(frames: Frames, step_fs: float) -> None:
    """ValueError where consecutive frames move by Newton's law in another time than stated."""
    found, r = _newton(frames)
    if found is not None and abs((found / step_fs) ** 2 - 1) > (0.1 if r >= 0.99 else 0.3):
        raise ValueError(
            f"--time-step {step_fs:g}: Newton's law gives a time step of {found:.3f} fs (r = {r:.4f}); give "
            f"--time-step {found:.3g}, or leave it out and it is found (or the forces are in another unit: --units)"
        )


def of_ensembles(rows: Rows) -> np.ndarray:
    """The temperatures that frames state, NaN for those of a system whose frames nearly all state another, and none a
    whole number: these are of the velocities at that moment, and no ensemble's."""
    out = rows.kelvin.copy()
    for system in np.unique(rows.system[np.isfinite(out)]):
        mine = (rows.system == system) & np.isfinite(out)
        stated = out[mine]
        many = len(np.unique(stated)) > max(3, MOST_HEATS * len(stated))
        if many and np.mean(stated != np.round(stated)) > 0.5:
            out[mine] = np.nan
    return out


def momentary(rows: Rows) -> int:
    """How many frames state a temperature that is not taken."""
    return int((np.isfinite(rows.kelvin) & np.isnan(of_ensembles(rows))).sum())


def temperatures(rows: Rows, options: Options) -> np.ndarray:
    """Temperature of every row (K), NaN where nothing states it: the option, the frame, its group or its file."""
    stated = options.kelvin()
    if len(stated) == 1:
        return np.full(len(rows), stated[0])
    out = of_ensembles(rows)
    for names, which in ((rows.groups, rows.group), (rows.runs, rows.run), (rows.files, rows.file)):
        for k, text in enumerate(names):
            if found := KELVIN.search(text.rpartition("/")[2]):
                out = np.where((which == k) & np.isnan(out), float(found[1]), out)
    if stated and (np.isnan(out).any() or set(np.unique(out)) - set(stated)):
        there = ", ".join(f"{v:g}" for v in np.unique(out[np.isfinite(out)])) or "none"
        raise ValueError(
            f"--temperature {options.temperature}: several are stated and the frames say {there}: name the files or "
            "their config_type like 300K, or add each temperature as a data set of its own"
        )
    return out
