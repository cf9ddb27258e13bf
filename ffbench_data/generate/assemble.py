"""From raw runs to the embedded datasets: choose frames, label them, histogram the reference observables.

    python -m ffbench_data.generate.assemble RAW_FOLDER [ethanol_gfn2 alanine_dipeptide_obc water]

``RAW_FOLDER`` holds ``ethanol/``, ``alanine/``, ``alanine_floor/`` and ``water/`` as the generators wrote them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from typer import Argument

from ..command import as_program
from ..datacard import known
from ..schema import to_table, write_parquet
from . import alanine, ethanol, water
from .blocks import block_rows, blocks_table, mean, molecule_reference, stable_bonds, starts

EMBEDDED = Path(__file__).parents[1] / "embedded"


def pieces(folder: Path, key: str) -> list[np.ndarray]:
    """One array per run: the pieces of ``key`` in order."""
    runs = sorted(folder.glob("run-*"))
    return [np.concatenate([np.load(p)[key] for p in sorted(run.glob("piece-*.npz"))]) for run in runs]


def spread(count: int, wanted: int) -> np.ndarray:
    """``wanted`` evenly spaced rows of ``count``."""
    return np.linspace(0, count - 1, wanted).round().astype(int)


def label(positions: np.ndarray, potential: Callable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(positions rounded to float32, energies, forces); rounding comes first: labels belong to what is stored."""
    rounded = np.asarray(positions, np.float32).astype(np.float64)
    energy, forces = zip(*(potential(x) for x in rounded))
    return rounded, np.array(energy), np.stack(forces)


def write(name: str, tables: dict, facts: dict, extra: dict[str, pa.Table]) -> None:
    """The Hub-shaped dataset with its reference observables."""
    from ..datacard import card
    from ..store import write_dataset

    def parquet(table: pa.Table):
        def save(path: Path) -> None:
            write_parquet(table, path)

        return save

    files = {f"reference/{key}.parquet": parquet(table) for key, table in extra.items()}
    files["reference/reference.json"] = json.dumps(facts, indent=1).encode()
    write_dataset(EMBEDDED / name, card(name), tables, extra_files=files)


def assemble_ethanol(raw: Path) -> None:
    from ..scans import scan_all

    runs = pieces(raw / "ethanol", "positions")
    numbers, _, minimum = ethanol.start()
    save_fs = 10.0
    potential = ethanol.GFN2(numbers)
    method = "GFN2-xTB"

    def table(parts: list[np.ndarray], wanted: int) -> pa.Table:
        each = wanted // len(parts)
        rows = [spread(len(p), each) for p in parts]
        x, energy, forces = label(np.concatenate([p[r] for p, r in zip(parts, rows)]), potential)
        time = np.concatenate(rows) * save_fs
        return to_table(numbers, x, energy, forces, time_fs=time, method=method)

    scans = scan_all(numbers, minimum)
    names = [f"{_symbol(numbers[s.i])}{s.i}-{_symbol(numbers[s.j])}{s.j}" for s in scans]
    fresh, scanned = ethanol.GFN2(numbers), []
    for s in scans:
        x = s.positions.astype(np.float32).astype(float)
        energy, forces = np.full(len(x), np.nan), np.full(x.shape, np.nan)
        for k, frame in enumerate(x):
            try:
                energy[k], forces[k] = fresh(frame)
            except RuntimeError:  # the self-consistent field did not converge: the frame stays unlabelled
                fresh = ethanol.GFN2(numbers)
        scanned.append((x, energy, forces))
    scan_table = to_table(
        numbers, *(np.concatenate([s[k] for s in scanned]) for k in range(3)), method=method
    ).append_column("scan", pa.array(np.repeat(names, len(scanned[0][1]))))
    scan_table = scan_table.append_column("bond_length", pa.array(np.concatenate([s.bond_length for s in scans])))

    facts, blocks = molecule_reference(numbers, minimum, runs, save_fs=save_fs)
    kelvin = [t.mean() for t in pieces(raw / "ethanol", "temperature")]
    facts |= {"starts": starts(1000), "temperature_K": mean(kelvin)}
    facts["unlabelled_scan_frames"] = int(np.isnan(np.concatenate([s[1] for s in scanned])).sum())
    default = {"train": table(runs[:4], 2000), "val": table(runs[4:5], 200), "test": table(runs[5:], 1000)}
    write("ethanol_gfn2", {"default": default, "bond_scans": {"test": scan_table}}, facts, {"blocks": blocks})


def assemble_alanine(raw: Path) -> None:
    import openmm
    from scipy.ndimage import minimum_filter

    from ffbench_metrics import free_energy_from_hills

    runs = pieces(raw / "alanine", "positions")
    _, system = alanine.system()
    numbers = [{"H": 1, "C": 6, "N": 7, "O": 8}[row[1]] for row in alanine.ATOMS]
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))

    def potential(x: np.ndarray):
        context.setPositions(x / 10)
        s = context.getState(energy=True, forces=True)
        return s.getPotentialEnergy()._value / alanine.EV, s.getForces(asNumpy=True)._value / (10 * alanine.EV)

    def table(x: np.ndarray, rows: np.ndarray) -> pa.Table:
        x, energy, forces = label(x[rows], potential)
        return to_table(numbers, x, energy, forces, time_fs=rows * 1000.0, method="AMBER-03 + OBC")

    train = spread(len(runs[0]), 2200)
    held = np.random.default_rng(0).permutation(2200)[:200]
    test = spread(len(runs[1]), 1000)
    default = {
        "train": table(runs[0], np.delete(train, held)),
        "val": table(runs[0], np.sort(train[held])),
        "test": table(runs[1], test),
    }

    def surface(hills: np.ndarray):
        width = np.full((len(hills), 2), alanine.HILL_WIDTH)
        return free_energy_from_hills(
            np.column_stack([hills[:, :2], width, hills[:, 2]]),
            temperature=alanine.TEMPERATURE,
            bias_factor=alanine.BIAS_FACTOR,
        )

    pooled = np.concatenate(runs).astype(float)
    hills = pieces(raw / "alanine", "hills")
    surfaces = [surface(h) for h in hills]
    low = np.minimum(*surfaces) < 20
    shifted = [f - f[low].mean() for f in surfaces]
    agreement = float(np.sqrt(((shifted[0] - shifted[1])[low] ** 2).mean()))
    reference = np.mean(shifted, axis=0)
    reference -= reference.min()
    # Starting frames: the test frames nearest to the lowest local minima of the surface.
    is_minimum = (reference == minimum_filter(reference, size=7, mode="wrap")) & (reference < 30)
    centres = np.argwhere(is_minimum)[np.argsort(reference[is_minimum])][:6] * (2 * np.pi / 60) - np.pi
    angles = np.stack([_dihedrals(runs[1][test], four) for four in (alanine.PHI, alanine.PSI)], 1)
    away = np.abs((angles[None] - centres[:, None] + np.pi) % (2 * np.pi) - np.pi).max(-1)
    facts = {
        "dihedrals": {"phi": alanine.PHI, "psi": alanine.PSI},
        "bonds": stable_bonds(np.array(numbers), pooled, pooled[0]),
        "minima": [int(k) for k in away.argmin(1)],
        "minima_rad": centres.round(4).tolist(),
        "free_energy_agreement_kJ_per_mol": agreement,
        "free_energy_region_kJ_per_mol": 20.0,
        "runs": len(runs),
        "run_ps": float(len(hills[0])),
        "hill": {"sigma_rad": alanine.HILL_WIDTH, "bias_factor": alanine.BIAS_FACTOR, "every_ps": 1.0},
    }
    extra = {"free_energy": pa.table({"kJ_per_mol": reference.ravel().round(4)})}
    if (raw / "alanine_floor").exists():
        floor = pieces(raw / "alanine_floor", "hills")
        run = np.repeat(np.arange(len(floor)), [len(h) for h in floor]).astype(np.int16)
        columns = dict(zip(("phi", "psi", "height"), np.concatenate(floor).T.astype(np.float32)))
        extra["hills"] = pa.table({"run": run, **columns})
    write("alanine_dipeptide_obc", {"default": default}, facts, extra)
    print(f"two runs agree to {agreement:.2f} kJ/mol below 20 kJ/mol; minima at {np.rad2deg(centres).round().tolist()}")


def assemble_water(raw: Path) -> None:
    import openmm

    from ffbench_metrics import pair_distance_counts

    context = water.context(openmm.VerletIntegrator(0.001))
    numbers = [8, 1, 1] * water.MOLECULES
    cell, pbc = np.eye(3) * water.CELL, [True] * 3
    runs = sorted((raw / "water").glob("run-*"))
    rows, kelvin, tracks = [], [], []
    oxygen = np.arange(0, 3 * water.MOLECULES, 3)
    hydrogen = np.setdiff1d(np.arange(3 * water.MOLECULES), oxygen)
    pairs = {"O-O": (oxygen, oxygen), "H-H": (hydrogen, hydrogen), "H-O": (hydrogen, oxygen)}

    def potential(x: np.ndarray):
        context.setPositions(x / 10)
        s = context.getState(energy=True, forces=True)
        return s.getPotentialEnergy()._value / water.EV, s.getForces(asNumpy=True)._value / (10 * water.EV)

    def table(x: np.ndarray, time_fs: np.ndarray) -> pa.Table:
        wrapped = (
            x - np.floor(x.reshape(len(x), -1, 3, 3)[:, :, :1] / water.CELL).repeat(3, 2).reshape(x.shape) * water.CELL
        )
        positions, energy, forces = label(wrapped, potential)
        return to_table(numbers, positions, energy, forces, cell=cell, pbc=pbc, time_fs=time_fs, method="SPC/Fw")

    tables: dict[str, pa.Table] = {}
    for run, folder in enumerate(runs):
        files = sorted(folder.glob("piece-*.npz"))
        save_fs = float(np.load(files[0])["save_fs"])
        step = round(100 / save_fs)
        x = np.concatenate([np.load(f)["positions"][step - 1 :: step] for f in files])
        kelvin.append(np.concatenate([np.load(f)["temperature"] for f in files]).mean())
        tracks.append(x)
        for name, (a, b) in pairs.items():
            counts = pair_distance_counts(
                x.astype(float), cell, index_a=a, index_b=None if a is b else b, r_max=6.0, bins=500
            )
            rows += block_rows(f"rdf_{name}", run, counts, 100, 10.0, 6.0)
            rows += block_rows(f"rdf_{name}", run, counts[:360], 9, 0.9, 6.0)
        if run == 0:
            chosen = spread(len(x), 1000)
            held = np.random.default_rng(0).permutation(1000)[:50]
            train, val = np.delete(chosen, held), np.sort(chosen[held])
            tables["train"], tables["val"] = (table(x[r], (r + 1) * 100.0) for r in (train, val))
            if len(runs) == 1:
                tables["test"] = tables["val"]
        if run == 1:
            chosen = spread(len(x), 300)
            tables["test"] = table(x[chosen], (chosen + 1) * 100.0)
    facts = {
        "rdf_limit": 3.0,
        "starts": starts(len(tables["test"])),
        "temperature_K": mean(kelvin),
        "diffusivity": _diffusivity(tracks),
        "runs": len(runs),
        "run_ps": len(tracks[0]) * 0.1,
    }
    write("water", {"1k": tables}, facts, {"blocks": blocks_table(rows)})
    print(json.dumps({k: facts[k] for k in ("temperature_K", "diffusivity")}))


def _diffusivity(tracks: list[np.ndarray]) -> dict:
    """D of oxygen from the centre-of-mass-free motion, one value per run."""
    from ffbench_metrics import diffusivity

    mass = np.tile([15.999, 1.008, 1.008], water.MOLECULES)
    oxygen = np.arange(0, len(mass), 3)
    values = [diffusivity(x, 0.1, fit_window=(5.0, 50.0), index_a=oxygen, masses=mass) for x in tracks]
    return {
        **mean(values),
        "values": values,
        "unit": "m^2/s",
        "fit_window_ps": [5.0, 50.0],
        "molecules": water.MOLECULES,
    }


def _dihedrals(x: np.ndarray, four: Sequence[int]) -> np.ndarray:
    from ffbench_metrics import dihedrals

    return dihedrals(x.astype(float), [four])[:, 0]


def _symbol(number: int) -> str:
    return {1: "H", 6: "C", 8: "O"}[int(number)]


ASSEMBLERS = {"ethanol_gfn2": assemble_ethanol, "alanine_dipeptide_obc": assemble_alanine, "water": assemble_water}


def main(raw: Path, names: Annotated[list[str] | None, Argument()] = None) -> None:
    """Assemble the data sets NAMES (all by default) from the raw runs below RAW."""
    for name in names or ASSEMBLERS:
        ASSEMBLERS[known(name, ASSEMBLERS, "data set with an assembler")](raw)


if __name__ == "__main__":
    as_program(main)
