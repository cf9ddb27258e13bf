"""Checks on frames and splits that physics and common sense give for free. Each returns findings, none raises.

Levels: ``ok``, ``note`` (a fact worth knowing), ``warning`` (a fault users must know of), ``error`` (a build stops).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from .finding import Finding
from .frames import Frames
from .geometry import minimum_image, sample
from .magnitudes import check_magnitudes, thermal_range

LABELS = ("energy", "forces")
SAMPLE = 200  # frames per split for checks that look at all pairs
PAIRS = 2000  # of atoms, enough to tell two shapes apart


def validate(tables: Mapping[str, Mapping[str, pa.Table]], card: Any = None) -> list[Finding]:
    """All checks on every split of every config. The ``card`` says which labels the frames of a config must have
    (without one: energies and forces) and at which temperatures they were drawn."""
    seen: dict[int, list[Finding]] = {}
    found = []
    for config, splits in tables.items():
        frames = {split: Frames(table) for split, table in splits.items()}
        labels = card.configs[config].labels if card and config in card.configs else LABELS
        kelvin = thermal_range(card.temperature_K) if card else None
        for split, f in frames.items():
            key = id(splits[split])  # several configs share a test split: check it once
            if key not in seen:
                seen[key] = check_frames(f, f"{config}/{split}", labels, kelvin)
                found += seen[key]
        found += check_overlap(frames, config)
    return found


def check_frames(
    frames: Frames, where: str, labels: Sequence[str] = LABELS, temperature: Sequence[float] | None = None
) -> list[Finding]:
    checks: list[Callable[[Frames, str], list[Finding]]] = [_distances, _duplicates, _net_force, _outliers, _electrons]
    if len(frames) == 0:
        return [Finding("frames", where, "error", "no frames")]
    found = _finite(frames, where, labels) + [finding for check in checks for finding in check(frames, where)]
    found += check_magnitudes(frames, where, temperature) + check_order(frames, where)
    if len(frames) >= 50 and _same_atoms(frames):
        found += work(frames, where, near_pairs(frames))
    return found


def _same_atoms(frames: Frames) -> bool:
    n = frames.n_atoms
    return bool(
        (n == n[0]).all() and (frames.atomic_numbers.reshape(len(n), -1) == frames.atomic_numbers[: n[0]]).all()
    )


def _finite(frames: Frames, where: str, labels: Sequence[str]) -> list[Finding]:
    if not np.isfinite(frames.positions).all() or not np.isfinite(frames.cell).all():
        return [Finding("finite", where, "error", "positions or cells hold NaN or infinity")]
    if np.isinf(frames.energy).any() or np.isinf(frames.forces).any():
        return [Finding("finite", where, "error", "energies or forces hold infinity")]
    no_energy = float(np.isnan(frames.energy).mean())
    atom_nan = np.isnan(frames.forces).any(1)
    no_forces = np.add.reduceat(atom_nan, frames.offsets[:-1]) > 0
    if no_energy == 0 and not no_forces.any():
        return [Finding("finite", where, "ok", "all labels are finite")]
    text = f"{no_energy:.1%} of frames have no energy, {no_forces.mean():.1%} no forces"
    absent = [k for k, none in (("energy", no_energy == 1), ("forces", no_forces.all())) if none and k in labels]
    if absent:
        return [
            Finding("finite", where, "error", f"no frame has {' or '.join(absent)}: a split without labels", no_energy)
        ]
    return [Finding("finite", where, "note", text, no_energy)]


def _distances(frames: Frames, where: str) -> list[Finding]:
    """Nearest neighbours against the sum of covalent radii: catches Bohr, nanometres and colliding atoms."""
    from ase.data import covalent_radii

    nearest = []
    for i in sample(len(frames)):
        f = frames[int(i)]
        if len(f.positions) < 2:
            continue
        d = np.linalg.norm(minimum_image(f.positions[:, None] - f.positions[None], f.cell, f.pbc), axis=-1)
        radius = covalent_radii[f.atomic_numbers]
        ratio = d / (radius[:, None] + radius[None])
        np.fill_diagonal(ratio, np.inf)
        nearest.append(ratio.min(1))
    if not nearest:
        return []
    ratios = np.concatenate(nearest)
    typical, shortest = float(np.median(ratios)), float(ratios.min())
    text = f"nearest neighbours at {typical:.2f} (median) and {shortest:.2f} (least) of the sum of covalent radii"
    if not 0.75 < typical < 1.4:
        return [Finding("distances", where, "error", f"{text}: positions are not in Angstrom?", typical)]
    level = "warning" if shortest < 0.45 else "ok"
    return [Finding("distances", where, level, text, shortest)]


def _duplicates(frames: Frames, where: str) -> list[Finding]:
    ids = frames.table["configuration_id"].to_numpy()
    extra = len(ids) - len(np.unique(ids))
    level = "ok" if extra == 0 else "error" if extra > 0.05 * len(ids) else "warning"
    return [Finding("duplicates", where, level, f"{extra} frames occur again", extra)]


def _net_force(frames: Frames, where: str) -> list[Finding]:
    total = np.add.reduceat(frames.forces.astype(float), frames.offsets[:-1])
    size = np.linalg.norm(total, axis=1)
    if np.isnan(size).all():
        return []
    worst = float(np.nanmax(size))
    level = "ok" if worst < 0.05 else "warning"
    return [
        Finding("net_force", where, level, f"net force up to {worst:.2g} eV/A, median {np.nanmedian(size):.2g}", worst)
    ]


def _electrons(frames: Frames, where: str) -> list[Finding]:
    """A spin multiplicity that the number of electrons of a molecule does not allow; charges, which are kept."""
    electrons = np.add.reduceat(frames.atomic_numbers.astype(int), frames.offsets[:-1]) - frames.charge
    wrong = (electrons + frames.spin_multiplicity) % 2 == 0
    wrong &= ~frames.pbc.any(1)  # in a crystal nobody counts them
    wrong &= (frames.n_atoms > 1) | (frames.spin_multiplicity != 1)  # of free atoms hardly any file states the spin
    found = []
    if wrong.any():
        text = f"{wrong.sum()} frames have a spin multiplicity that their number of electrons does not allow"
        found.append(Finding("electrons", where, "warning", text, int(wrong.sum())))
    other = (frames.charge != 0) | (frames.spin_multiplicity != 1)
    if other.any():
        text = f"{other.sum()} frames are charged or no singlets: a model must take charge and spin"
        found.append(Finding("electrons", where, "note", text, int(other.sum())))
    return found


def _outliers(frames: Frames, where: str) -> list[Finding]:
    """Energies per composition, charge and spin, in robust standard deviations."""
    count = 0
    for key in np.unique(frames.species):
        e = frames.energy[frames.species == key]
        e = e[np.isfinite(e)]
        if len(e) < 20:
            continue
        spread = 1.4826 * np.median(np.abs(e - np.median(e)))
        count += int((np.abs(e - np.median(e)) > 12 * max(spread, 1e-9)).sum())
    level = "ok" if count == 0 else "note" if count < 0.05 * len(frames) else "warning"
    return [Finding("energy_outliers", where, level, f"{count} energies beyond 12 robust standard deviations", count)]


def check_order(frames: Frames, where: str) -> list[Finding]:
    """Are neighbouring rows neighbours in time? Such a split is one piece of trajectory, not independent samples."""
    if len(frames) < 50 or not _same_atoms(frames):
        return []
    x = frames.positions.reshape(len(frames), -1)
    rows = np.random.default_rng(0).integers(0, len(x) - 1, (SAMPLE, 2))
    near = np.median(_rms(x[rows[:, 0]] - x[rows[:, 0] + 1]))
    far = np.median(_rms(x[rows[:, 0]] - x[rows[:, 1]]))
    ratio = float(near / far) if far > 0 else 1.0
    if ratio > 0.5:
        return [Finding("order", where, "ok", f"rows are not ordered in time (ratio {ratio:.2f})", ratio)]
    text = f"rows are consecutive frames of a trajectory (ratio {ratio:.2f}): errors on it are not i.i.d. estimates"
    return [Finding("order", where, "note", text, ratio)]


def check_overlap(splits: Mapping[str, Frames], config: str) -> list[Finding]:
    """Frames shared by two splits (exact), and how near the rest of a test lies to train (leakage)."""
    found = []
    ids = {s: f.table["configuration_id"].to_numpy() for s, f in splits.items()}
    names = list(splits)
    for a in range(len(names)):
        for b in range(a + 1, len(names)):
            first, second = names[a], names[b]
            shared = int(np.isin(ids[second], ids[first]).sum())
            where = f"{config}: {first} and {second}"
            if shared == len(ids[second]) and shared:
                text = f"{second} lies wholly in {first} ({shared} frames)"
                found.append(Finding("overlap", where, "error", text, shared))
            elif shared:
                level = "error" if shared > 0.01 * len(ids[second]) else "warning"
                found.append(Finding("overlap", where, level, f"{shared} shared frames", shared))
    if found:
        return found
    for test in ("test", "ood_test"):
        if "train" in splits and test in splits:
            found += _nearness(splits["train"], splits[test], f"{config}: train and {test}")
    return [*found, Finding("overlap", config, "ok", "no frame is in two splits")]


def _nearness(train: Frames, test: Frames, where: str) -> list[Finding]:
    if len({*train.n_atoms, *test.n_atoms}) != 1 or len(train) < 20:
        return []
    from scipy.spatial.distance import cdist

    a, b = _shapes(train, 2000), _shapes(test, SAMPLE)
    nearest = np.median(cdist(b, a).min(1))
    typical = np.median(cdist(a[:SAMPLE], a[-SAMPLE:]))
    ratio = float(nearest / typical) if typical else 0.0
    text = f"the nearest train frame of a test frame is at {ratio:.2f} of the distance of random frames"
    return [Finding("nearness", where, "warning" if ratio < 0.1 else "note", text, ratio)]


def _shapes(frames: Frames, count: int) -> np.ndarray:
    """[at most ``count`` frames, ...] positions; in an open system distances of atoms: molecules turn and drift."""
    x = frames.positions.reshape(len(frames), -1, 3)[sample(len(frames), count)]
    if frames.pbc.any() or x.shape[1] < 2:
        return x.reshape(len(x), -1)
    first, second = (i[sample(len(i), PAIRS)] for i in np.triu_indices(x.shape[1], 1))
    return np.linalg.norm(x[:, first] - x[:, second], axis=-1)


def check_trajectory(table: pa.Table, where: str) -> list[Finding]:
    """Consecutive frames: Newton's law gives the time step back, and energy differences are the work done."""
    frames = Frames(table)
    return [*newton(frames, where), *work(frames, where)]


def newton(frames: Frames, where: str) -> list[Finding]:
    """The time step that Newton's law gives (`time_step`), against ``time_fs`` where it is known."""
    stated = np.diff(frames.time_fs)
    known = np.isfinite(stated).all() and len(stated) > 1
    fit = newton_fit(frames)
    if fit is None:
        return []
    dt, r = fit
    if dt is None:
        return [Finding("newton", where, "note", f"frames too far apart for Newton's law (r = {r:.2f})", r)]
    text = f"Newton's law gives a time step of {dt:.3f} fs (r = {r:.4f})"
    if not known:
        return [Finding("newton", where, "note", text, dt)]
    factor = (dt / float(np.median(stated))) ** 2
    level = "ok" if abs(factor - 1) < 0.1 else "error"
    text += f", stated {np.median(stated):.3f} fs" + ("" if level == "ok" else f": forces off by {1 / factor:.3g}?")
    return [Finding("newton", where, level, text, dt)]


def time_step(frames: Frames) -> float | None:
    """Time (fs) between consecutive frames, from x(t+dt) - 2 x(t) + x(t-dt) = F/m dt^2; ``None`` where the frames are
    too far apart, or too few, for that to hold."""
    fit = newton_fit(frames)
    return fit[0] if fit else None


def newton_fit(frames: Frames) -> tuple[float | None, float] | None:
    """(time step in fs or ``None``, correlation) over all atoms; ``None`` if there is nothing to fit."""
    from ase import units
    from ase.data import atomic_masses

    numbers, x = frames.stacked()
    f = frames.forces.reshape(x.shape).astype(float)
    if len(x) < 3 or np.isnan(f).any():
        return None
    step = minimum_image(np.diff(x, axis=0), frames.cell[0], frames.pbc[0])
    left = np.diff(step, axis=0)
    right = f[1:-1] / atomic_masses[numbers][:, None]
    stated = np.diff(frames.time_fs)
    if np.isfinite(stated).all() and len(stated) > 1:
        even = np.isclose(stated[1:], stated[:-1]) & np.isclose(stated[1:], np.median(stated))
        if even.sum() < 2:
            return None
        left, right = left[even], right[even]
    # One slope per triple of frames and their median: a single jump (joined pieces) must not spoil the whole.
    squared = float(np.median((left * right).sum((1, 2)) / (right**2).sum((1, 2))))
    size = np.sqrt((left**2).sum((1, 2)) * (right**2).sum((1, 2)))
    r = float(np.median((left * right).sum((1, 2)) / size))
    return (None if squared <= 0 or r < 0.9 else float(np.sqrt(squared) / units.fs)), r


def work(frames: Frames, where: str, pairs: np.ndarray | None = None) -> list[Finding]:
    """Energy differences against the work of the forces (trapezoid) for pairs [P, 2] of near frames.

    Pairs default to neighbouring rows. A slope far from 1 means energies and forces in different units; scatter
    is label noise.
    """
    _, x = frames.stacked()
    f = frames.forces.reshape(x.shape).astype(float)
    rows = np.stack([np.arange(len(x) - 1), np.arange(1, len(x))], 1) if pairs is None else np.asarray(pairs)
    dx = minimum_image(x[rows[:, 1]] - x[rows[:, 0]], frames.cell[0], frames.pbc[0])
    done = -0.5 * ((f[rows[:, 0]] + f[rows[:, 1]]) * dx).sum((1, 2))
    de = frames.energy[rows[:, 1]] - frames.energy[rows[:, 0]]
    good = np.isfinite(done) & np.isfinite(de) & (np.abs(dx).max((1, 2)) > 0)
    if good.sum() < 10:
        return []
    done, de = done[good], de[good]
    slope = float((done * de).sum() / (done**2).sum()) if done.any() else 0.0
    r = float(np.corrcoef(done, de)[0, 1]) if np.ptp(done) > 0 and np.ptp(de) > 0 else 0.0
    text = f"energy differences against work: slope {slope:.4g}, correlation {r:.4f}"
    if pairs is not None and abs(r) < 0.95:
        return []  # the nearest frames of a random sample are often too far apart for a trapezoid
    if abs(r) < 0.7:
        return [Finding("work", where, "note", f"{text}: frames too far apart to say", slope)]
    if not 0.6 < slope < 1.7:
        return [Finding("work", where, "error", f"{text}: energies and forces are in different units?", slope)]
    slack, least = (0.03, 0.99) if pairs is None else (0.25, 0.95)
    level = "ok" if abs(slope - 1) < slack and r > least else "warning"
    return [Finding("work", where, level, text, slope)]


def near_pairs(frames: Frames, count: int = 50) -> np.ndarray:
    """The ``count`` nearest pairs [count, 2] among at most 1000 frames, for `work` on unordered data."""
    rows = sample(len(frames), 1000)
    _, x = frames.stacked()
    x = x[rows]
    fractional = minimum_image(x - x[0], frames.cell[0], frames.pbc[0]).reshape(len(x), -1)
    square = (fractional**2).sum(1)
    d = square[:, None] + square[None] - 2 * fractional @ fractional.T
    i, j = np.triu_indices(len(x), 1)
    best = np.argsort(d[i, j])[:count]
    return np.stack([rows[i[best]], rows[j[best]]], 1)


def stiffness(frames: Frames, i: np.ndarray, j: np.ndarray) -> float:
    """Force constant (eV/A^2) of the bonds i-j: minus the slope of the force on j along the bond against its length.

    Valid where j is light and little else pulls along the bond. Catches a factor in a force constant or in the forces.
    """
    _, x = frames.stacked()
    f = frames.forces.reshape(x.shape).astype(float)
    bond = minimum_image(x[:, j] - x[:, i], frames.cell[0], frames.pbc[0])
    length = np.linalg.norm(bond, axis=-1)
    pull = (f[:, j] * bond).sum(-1) / length
    return -float(np.polyfit(length.ravel(), pull.ravel(), 1)[0])


def check_stiffness(table: pa.Table, where: str, i: np.ndarray, j: np.ndarray, expected: float) -> list[Finding]:
    found = stiffness(Frames(table), i, j)
    text = f"force constant {found:.1f} eV/A^2, the force field has {expected:.1f}"
    ratio = found / expected
    if abs(ratio - 1) < 0.3:
        return [Finding("stiffness", where, "ok", text, found)]
    return [Finding("stiffness", where, "warning", f"{text}: forces or force constant off by {ratio:.2f}", found)]


def check_against_card(built: Mapping[str, Mapping[str, pa.Table]], card: Any) -> list[Finding]:
    """Splits the card promises and the build lacks, and sizes that differ."""
    found = []
    for config, stated in card.configs.items():
        for split, rule in stated.splits.items():
            table = built.get(config, {}).get(split)
            where = f"{config}/{split}"
            if table is None:
                found.append(Finding("complete", where, "warning", "on the card, not in this build"))
            elif rule.frames is not None and rule.frames != table.num_rows:
                text = f"{table.num_rows} frames, the card says {rule.frames}"
                found.append(Finding("complete", where, "warning", text, table.num_rows))
    return found


def report(found: list[Finding]) -> dict[str, Any]:
    """The findings as JSON, worst first."""
    order = {"error": 0, "warning": 1, "note": 2, "ok": 3}
    rows = sorted(found, key=lambda x: order[x.level])
    return {"counts": {k: sum(x.level == k for x in found) for k in order}, "findings": [asdict(x) for x in rows]}


def _rms(d: np.ndarray) -> np.ndarray:
    return np.sqrt((d**2).mean(1))
