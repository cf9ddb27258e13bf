"""Does this machine reproduce the canonical labels? Trajectories of a regeneration differ, labels must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .load import dataset_folder, load_frames
from .observables import read_reference
from .potentials import label, reference

ENERGY_LIMIT, FORCE_LIMIT = 1e-5, 1e-4  # eV, eV/Angstrom (PROTOCOLS 7.10)


def relabel(
    name: str, config: str | None = None, *, frames: int = 100, root: str | Path | None = None
) -> dict[str, Any]:
    """Label ``frames`` canonical test frames again: largest errors (eV, eV/Angstrom) and whether they are accepted.

    A regeneration from the same recipe is accepted when this passes and its observables lie inside the noise floor
    (`observables`).
    ValueError for a data set without a reference potential or without canonical frames here.
    """
    calculator = reference(name)
    test = load_frames(name, config, "test", root=root)
    rows = np.linspace(0, len(test) - 1, min(frames, len(test))).round().astype(int)
    chosen = test[rows]
    numbers, x = chosen.stacked()
    cell = chosen.cell[0] if chosen.pbc[0].any() else None
    energy, forces = label(calculator, numbers, x, cell)
    de = float(np.abs(energy - chosen.energy).max())
    df = float(np.abs(forces - chosen.forces.reshape(forces.shape)).max())
    return {"frames": len(rows), "energy_error_eV": de, "force_error_eV_A": df,
            "accepted": de <= ENERGY_LIMIT and df <= FORCE_LIMIT}  # fmt: skip


def observables(
    name: str, config: str | None = None, *, regenerated: str | Path, root: str | Path | None = None
) -> dict[str, Any]:
    """Do the histograms of a regeneration lie inside the canonical noise floor?

    ``regenerated`` is the folder of the regenerated data set. The error of a run is half the L1 distance of its
    normalised histogram from the canonical one (0 to 1); each of the m (observable, run) pairs must lie below the
    1 - 0.05 / m quantile of the floor at the same length (PROTOCOLS 7.6). Returns the errors, limits and whether all
    are accepted. ValueError where one side has no reference histograms.
    """
    from ffbench_metrics import floor_quantile, noise_floor

    canonical = read_reference(dataset_folder(name, root=root), config)
    ours = read_reference(Path(regenerated), config)
    for reference_of, where in ((canonical, f"the canonical {name}"), (ours, str(regenerated))):
        if reference_of is None or not reference_of.observables:
            raise ValueError(f"regenerated: {where} has no reference histograms (reference/blocks.parquet)")
    assert canonical is not None
    assert ours is not None
    pairs = []
    for observable in canonical.observables:
        if observable not in ours.observables:
            raise ValueError(f"regenerated: {regenerated} has no {observable}, only {', '.join(ours.observables)}")
        truth, new = canonical.blocks(observable), ours.blocks(observable)
        length = max(1, round(min(len(c) for c in new.counts) * new.block_ps / truth.block_ps))
        floor = noise_floor(truth.counts, length, _half_l1, resamples=1000, seed=0)
        for run, counts in enumerate(new.counts):
            pairs.append((observable, run, float(_half_l1(counts.sum(0), truth.total)), floor))
    limits = [floor_quantile(floor, observables=len(pairs)) for *_, floor in pairs]
    rows = [{"observable": o, "run": r, "error": e, "limit": at} for (o, r, e, _), at in zip(pairs, limits)]
    return {"runs": rows, "accepted": all(pair[2] <= at for pair, at in zip(pairs, limits))}


def _half_l1(counts: np.ndarray, truth: np.ndarray) -> float:
    return 0.5 * float(np.abs(counts / counts.sum() - truth / truth.sum()).sum())
