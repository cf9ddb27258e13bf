"""Bond Smoothness Characterization Test: energy and forces along rigid bond scans, against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from ..report import Curve, Metric, axis, rounded
from ..statistics import over_replicas

BATCH_ATOMS = 2048  # atoms per model call
DRAWN = 8  # scans whose curves go into the report


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = "test"


def scans(data) -> dict[str, np.ndarray]:
    """Rows of every scan by its name, in order of bond length."""
    names = np.array(data.frames.table["scan"].to_pylist())
    return {str(name): np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())}


def plan(task, data, seed: int) -> list[dict]:
    names = list(scans(data))
    return [{"scans": names[i : i + 50]} for i in range(0, len(names), 50)]


def calls(task, inputs, data) -> tuple[int, float]:
    per_call = max(1, BATCH_ATOMS // int(data.frames.n_atoms.max()))
    return per_call, 100 * len(inputs["scans"]) / per_call


def run_unit(task, inputs, data, model, folder, progress, compile="auto") -> dict[str, Any]:
    from ffbench_data.frames import collate

    rows_of = scans(data)
    rows = np.concatenate([rows_of[name] for name in inputs["scans"]])
    n_atoms = data.frames.n_atoms[rows]
    order = np.argsort(n_atoms, kind="stable")  # pack scans of similar size together
    energy = np.zeros(len(rows))
    forces: list[np.ndarray] = [np.zeros(0)] * len(rows)
    made = start = 0
    while start < len(rows):
        stop = start + max(1, BATCH_ATOMS // int(n_atoms[order[min(start + 1, len(rows) - 1)]]))
        chunk = order[start:stop]
        while len(chunk) > 1 and n_atoms[chunk].sum() > BATCH_ATOMS:
            chunk = chunk[:-1]
        out = model(collate(data.frames, indices=rows[chunk]))
        energy[chunk] = out.energy.detach().cpu().double().numpy()
        split = np.cumsum(n_atoms[chunk])[:-1]
        for k, f in zip(chunk, np.split(out.forces.detach().cpu().double().numpy(), split)):
            forces[k] = f
        start += len(chunk)
        made += 1
        progress(start / len(rows))
    np.savez_compressed(folder / "predictions.npz", rows=rows, energy=energy, forces=np.concatenate(forces))
    finite = np.isfinite(energy) & np.array([np.isfinite(f).all() for f in forces])
    status, detail, first = [], [], 0
    for name in inputs["scans"]:
        mine = finite[first : first + len(rows_of[name])]
        first += len(mine)
        status.append("ok" if mine.all() else "model_error")
        if not mine.all():
            detail.append(f"scan {name}: energy or forces are not finite on {int((~mine).sum())} of {len(mine)} frames")
    return {"status": status, "detail": detail, "force_calls": made}


def score(task, results, data) -> tuple[dict[str, Metric], dict[str, Curve]]:
    """FSD per scan (full, compress, stretch), errors, spurious extrema; plain means over scans."""
    from ffbench_metrics import count_spurious_extrema, force_smoothness_deviation

    rows_of, frames = scans(data), data.frames
    length = frames.table["bond_length"].to_numpy()
    samples: dict[str, list[float]] = {}
    curves: dict[str, Curve] = {}
    for result in results:
        if not (result.folder / "predictions.npz").exists():
            continue
        got = np.load(result.folder / "predictions.npz")
        names = list(dict.fromkeys(np.array(frames.table["scan"].to_pylist())[got["rows"]].tolist()))
        starts = np.concatenate([[0], np.cumsum(frames.n_atoms[got["rows"]])])
        for name, status in zip(names, result.status):
            if status != "ok":
                continue
            at = np.flatnonzero(np.isin(got["rows"], rows_of[name]))
            n = int(frames.n_atoms[rows_of[name][0]])
            force = got["forces"][starts[at[0]] : starts[at[-1] + 1]].reshape(len(at), n, 3)
            truth = np.stack([frames[int(r)].forces for r in rows_of[name]]).astype(float)
            energy, reference = got["energy"][at], frames.energy[rows_of[name]]
            labelled = np.isfinite(reference) & np.isfinite(truth).all((1, 2))
            x = length[rows_of[name]][labelled]
            force, truth, energy, reference = (v[labelled] for v in (force, truth, energy, reference))
            fsd = force_smoothness_deviation(x, force, truth, reference)
            eq = int(np.argmin(reference))
            aligned = energy - energy[eq] - (reference - reference[eq])
            row = {
                "fsd": fsd.full,
                "fsd_compress": fsd.compress,
                "fsd_stretch": fsd.stretch,
                "scan_force_mae": np.abs(force - truth).mean(),
                "scan_energy_mae_aligned": np.abs(aligned).mean(),
                "spurious_extrema": count_spurious_extrema(energy, reference),
            }
            for key, value in row.items():
                samples.setdefault(key, []).append(float(value))
            if len(curves) < 2 * DRAWN:
                shown = np.linspace(0, len(x) - 1, min(len(x), 100)).astype(int)
                curves[f"scan_energy_{name}"] = Curve(
                    x_label=f"bond length {name} (Å)",
                    y_label="energy from equilibrium (eV)",
                    x=axis(x[shown]),
                    series={
                        "model": rounded((energy - energy[eq])[shown]),
                        "reference": rounded((reference - reference[eq])[shown]),
                    },
                )
                far = np.linalg.norm((force - truth[eq]).reshape(len(x), -1), axis=1)
                far_reference = np.linalg.norm((truth - truth[eq]).reshape(len(x), -1), axis=1)
                curves[f"scan_force_{name}"] = Curve(
                    x_label=f"bond length {name} (Å)",
                    y_label="|F - F(eq)| (eV/Å)",
                    x=axis(x[shown]),
                    series={"model": rounded(far[shown]), "reference": rounded(far_reference[shown])},
                )
    units = {
        "fsd": "1/Å",
        "fsd_compress": "1/Å",
        "fsd_stretch": "1/Å",
        "scan_force_mae": "eV/Å",
        "scan_energy_mae_aligned": "eV",
        "spurious_extrema": "1",
    }
    return {key: over_replicas(values, unit=units[key]) for key, values in samples.items()}, curves
