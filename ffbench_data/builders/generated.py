"""Generated data sets at full size. The shipped configs are taken over as they are; what a user generates is added.

A regeneration is not bit-equal across processors and library versions, so it gets its own hashes;
`ffbench_data.regenerate.relabel` says whether it may stand for the canonical one.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..datacard import Card
from ..frames import Frames
from ..load import EMBEDDED, load_frames, read_manifest
from ..schema import to_table, write_parquet
from . import mdsim
from .built import Built
from .read import join
from .splits import SEED, add_blocked, published_split, take

LABEL_AT_MOST = 20000  # frames per GFN2 molecule


def build_water(folder: Path, card: Card) -> Built:
    """``folder``: raw runs at 10 fs (``run-*``), hot runs (``350K/run-*``, ``400K/run-*``), or MDsim's water.npy."""
    built = as_shipped(card)
    theirs = mdsim.water(folder, card)
    if theirs:
        built.tables["mdsim"] = theirs
    raw = _pieces(folder)
    if raw:
        table = _label_water(raw[0], 10.0, card)
        n = table.num_rows
        small, large = published_split(n, 9500, 500, 10000), published_split(n, 85500, 4500, 10000)
        built.tables["10k"], built.tables["90k"] = take(table, small), take(table, large)
        add_blocked(built, "blocked", table)
        built.trajectories["water"] = table.slice(0, 500)
        built.stiffness.append(_oh(table))
        if n < 100000:
            built.missing(f"{n} of 100000 frames")
    hot = {t: _pieces(Path(folder) / f"{t}K") for t in (350, 400)}
    if all(hot.values()):
        parts = [_label_water(_spread(runs[0], 500), None, card, f"{card.theory}, {t} K") for t, runs in hot.items()]
        shipped = built.tables["1k"]
        built.tables["hot"] = {**{s: shipped[s] for s in ("train", "val", "test")}, "ood_test": join(parts)}
    if not (theirs or raw or all(hot.values())):
        raise ValueError(f"{folder}: no run-*/piece-*.npz, no 350K and 400K runs, no water.npy")
    return built


def build_alanine(folder: Path, card: Card) -> Built:
    """``folder``: raw metadynamics runs; the last one is the test. `unseen_basin` needs no new runs."""
    built = as_shipped(card)
    built.tables["unseen_basin"] = unseen_basin(built.tables["default"])
    raw = _pieces(folder)
    if len(raw) > 1:
        from ..generate import alanine
        from ..potentials import label, reference

        numbers = [{"H": 1, "C": 6, "N": 7, "O": 8}[row[1]] for row in alanine.ATOMS]

        def table(x: Any):
            x = x.astype(float)
            energy, forces = label(reference("alanine_dipeptide_obc"), numbers, x)
            return to_table(numbers, x, energy, forces, time_fs=np.arange(len(x)) * 1000.0, method=card.theory)

        pool, test = join(table(x) for x in raw[:-1]), table(raw[-1])
        rows = np.random.default_rng(SEED).permutation(pool.num_rows)[:40000]
        val = len(rows) // 20
        split = {"train": np.sort(rows[val:]), "val": np.sort(rows[:val])}
        built.tables["40k"] = {
            **take(pool, split),
            "test": take(test, {"t": np.arange(test.num_rows)}, {"t": 10000})["t"],
        }
        add_blocked(built, "blocked", pool)
    else:
        built.missing("40k and blocked need raw runs: python -m ffbench_data.generate.alanine FOLDER --runs 5")
    return built


def build_ethanol(folder: Path, card: Card) -> Built:
    """The shipped data set again (its raw runs are not shipped)."""
    return as_shipped(card)


def build_md17_gfn2(folder: Path, card: Card) -> Built:
    """``folder/<molecule>/run-*``: train, val and the reference h(r) from all runs but the last, test from the last.

    Labels of twenty thousand frames a molecule take minutes, so every core labels one molecule.
    """
    from joblib import Parallel, delayed

    from ..generate.md17 import MOLECULES

    built = Built()
    ready = []
    for name in MOLECULES:
        runs = len({piece.parent for piece in (Path(folder) / name).glob("run-*/piece-*.npz")})
        if runs >= 2:
            ready.append(name)
        else:
            built.missing(f"{name}: {runs} runs, at least 2 are needed")
    if not ready:
        raise ValueError(f"{folder}: no <molecule>/run-*/piece-*.npz with two runs of any molecule")
    for name, (tables, facts, blocks) in zip(
        ready, Parallel(n_jobs=-1)(delayed(_molecule)(Path(folder) / name, card.theory) for name in ready)
    ):
        built.tables[name] = tables
        built.extra_files[f"reference/{name}/reference.json"] = json.dumps(facts, indent=1).encode()
        built.extra_files[f"reference/{name}/blocks.parquet"] = partial(write_parquet, blocks)
    return built


def _molecule(home: Path, theory: str) -> tuple[dict[str, pa.Table], dict, pa.Table]:
    """(labelled splits, facts, histogram blocks) of the runs in ``home``, a folder with the molecule's name."""
    from ..generate.blocks import mean, molecule_reference, starts
    from ..potentials import label, reference

    raw = _pieces(home)
    first = np.load(next(home.glob("run-*/piece-*.npz")))
    numbers, step = first["numbers"], float(first["save_fs"])

    def table(runs: Any, count: int):
        rows = [_evenly(len(x), -(-count // len(runs))) for x in runs]
        x = np.concatenate([x[r] for x, r in zip(runs, rows)]).astype(float)
        energy, forces = label(reference("md17_gfn2"), numbers, x)
        return to_table(numbers, x, energy, forces, time_fs=np.concatenate(rows) * step, method=theory)

    pool, test = table(raw[:-1], LABEL_AT_MOST // 2), table(raw[-1:], LABEL_AT_MOST // 2)
    order = np.random.default_rng(SEED).permutation(pool.num_rows)
    val = max(1, len(order) // 20)
    split = take(pool, {"train": np.sort(order[val:]), "val": np.sort(order[:val])})
    facts, blocks = molecule_reference(*_geometry(home.name), raw[:-1], save_fs=step)
    kelvin = [t.mean() for t in _pieces(home, "temperature")[:-1]]
    facts |= {"starts": starts(test.num_rows), "temperature_K": mean(kelvin)}
    return {**split, "test": test}, facts, blocks


def _geometry(molecule: str) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers and the GFN2 minimum."""
    from ..generate.ethanol import start

    numbers, _, x = start("CH3CH2OH" if molecule == "ethanol" else molecule)
    return numbers, x


def unseen_basin(tables: dict[str, pa.Table], phi: tuple[int, ...] | None = None) -> dict[str, pa.Table]:
    """Frames with phi > 0 leave train, val and test; those of test become ``ood_test``."""
    from ..generate.alanine import PHI

    held = {s: dihedral(Frames(t).stacked()[1], phi or PHI) > 0 for s, t in tables.items()}
    out = {s: t.take(pa.array(np.flatnonzero(~held[s]))) for s, t in tables.items()}
    return {**out, "ood_test": tables["test"].take(pa.array(np.flatnonzero(held["test"])))}


def dihedral(x: np.ndarray, four: tuple[int, ...]) -> np.ndarray:
    """Dihedral angles [T] in radians of atoms ``four`` in positions [T, N, 3]."""
    from ffbench_metrics import dihedrals

    return dihedrals(np.asarray(x, float), [four])[:, 0]


def generate(name: str, folder: Path) -> Path:
    """Run the generator of a data set into ``folder``, from where it stopped the last time."""
    from importlib.util import find_spec

    folder.mkdir(parents=True, exist_ok=True)
    engine = {"water": "openmm", "md17_gfn2": "tblite"}.get(name)  # alanine: hours, started by hand
    if engine is None:
        return folder
    if find_spec(engine) is None:
        raise ValueError(f"generating {name} needs {engine}: pip install 'ffbench[generate]', or pass source=")
    if name == "water":
        from ..generate import water

        water.simulate(folder, run=0, ps=1000.0, save_fs=10.0)
        for kelvin in (350, 400):
            water.simulate(folder / f"{kelvin}K", run=0, ps=100.0, temperature=float(kelvin))
    else:
        from ..generate import md17

        md17.simulate_all(folder)
    return folder


def as_shipped(card: Card) -> Built:
    """The embedded data set as it is, with its reference."""
    built = Built()
    folder = EMBEDDED / card.name
    manifest = read_manifest(folder)
    for row in manifest["splits"]:
        frames = load_frames(card.name, row["config"], row["split"], root=EMBEDDED)
        assert isinstance(frames, Frames)
        built.tables.setdefault(row["config"], {})[row["split"]] = frames.table
    for entry in manifest["files"]:
        if entry["path"].startswith("reference/"):
            built.extra_files[entry["path"]] = (folder / entry["path"]).read_bytes()
    return built


def _pieces(folder: Path, key: str = "positions") -> list[np.ndarray]:
    """``key`` [T, ...] of each run of a generator. ValueError names a damaged piece."""
    runs = []
    for run in sorted(Path(folder).glob("run-*")):
        parts: list[Any] = []
        for piece in sorted(run.glob("piece-*.npz")):
            try:
                with np.load(piece) as data:
                    parts.append(data[key])
            except Exception as error:  # numpy raises half a dozen kinds here
                raise ValueError(f"{piece}: not a readable piece of a run: {error}") from None
        if parts:
            runs.append(np.concatenate(parts))
    return runs


def _label_water(x: np.ndarray, save_fs: float | None, card: Card, method: str | None = None) -> pa.Table:
    from ..generate import water
    from ..potentials import label, reference

    numbers, cell = [8, 1, 1] * (x.shape[1] // 3), np.eye(3) * water.CELL
    # Whole molecules are put back into the cell by their oxygen: labels are the same, coordinates stay small.
    shift = np.floor(x[:, ::3].astype(float) / water.CELL).repeat(3, 1) * water.CELL
    x = (x.astype(float) - shift).astype(np.float32).astype(float)
    energy, forces = label(reference("water"), numbers, x, cell)
    time = None if save_fs is None else (np.arange(len(x)) + 1) * save_fs
    return to_table(numbers, x, energy, forces, cell=cell, pbc=[True] * 3, time_fs=time, method=method or card.theory)


def _oh(table: pa.Table):
    from ..generate.water import EV, KCAL, SPC_FW

    atoms = np.arange(len(Frames(table.slice(0, 1)).positions))
    hydrogen = atoms[atoms % 3 != 0]
    return "O-H", table, hydrogen // 3 * 3, hydrogen, SPC_FW["bond_k"] * KCAL / EV


def _evenly(n: int, count: int) -> np.ndarray:
    return np.arange(n) if n <= count else np.linspace(0, n - 1, count).round().astype(int)


def _spread(x: np.ndarray, count: int) -> np.ndarray:
    return x[_evenly(len(x), count)]
