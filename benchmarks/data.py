"""Reading labelled frames into torch: the Arrow view against what the field uses, as ratios in one run.

10,000 frames of 21 and of 192 atoms, float64 labels, CPU time of one thread, best of three.

    python benchmarks/data.py [--frames 10000] [--seconds 0.5]
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import ffbench_data
from ffbench_data import Frames, collate, collate_arrow, collate_labels, write_dataset
from ffbench_data.datacard import Card
from ffbench_data.frames import ArrowRows
from ffbench_data.generate.molecules import minimum
from ffbench_data.schema import to_table

BATCH = 64
RESULTS = Path(__file__).parent / "results" / "data.json"
TARGETS = {
    "view over LMDB+pickle, random batches": 5,
    "view over ASE-db, random batches": 200,
    "Arrow collate over with_format('torch'), shuffled DataLoader": 30,
    "ASE-db size over float64 Parquet": 1.3,
    "ASE-db size over our encoding": 1.7,
}


def systems(count: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """{label: (numbers, positions [T, N, 3], cell)} of a molecule and of liquid water, both with thermal noise."""
    rng = np.random.default_rng(0)
    z, _, x = minimum("aspirin")
    water = ffbench_data.load_frames("water", "1k", "train")
    zw, xw = water.stacked()
    pick = rng.integers(0, len(xw), count)
    return {
        "21 atoms": (z, x + 0.1 * rng.normal(size=(count, *x.shape)), None),
        "192 atoms": (zw, xw[pick] + 0.05 * rng.normal(size=(count, *xw.shape[1:])), water.cell[0]),
    }


def rate(task: Callable[[], int], seconds: float) -> float:
    """Frames per CPU second, best of three."""
    best = 0.0
    for _ in range(3):
        done, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds:
            done += task()
        best = max(best, done / spent)
    return best


def to_torch(rows: list[dict]) -> None:
    import torch

    torch.from_numpy(np.concatenate([r["pos"] for r in rows]))
    torch.from_numpy(np.concatenate([r["forces"] for r in rows]))
    torch.from_numpy(np.concatenate([r["numbers"] for r in rows]).astype(np.int64))
    torch.from_numpy(np.array([r["cell"] for r in rows]))
    torch.tensor([r["energy"] for r in rows], dtype=torch.float64)
    torch.from_numpy(np.repeat(np.arange(len(rows)), [len(r["pos"]) for r in rows]))


def bench_one(label: str, z, x, cell, folder: Path, seconds: float) -> dict[str, dict[str, float]]:
    import lmdb
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.db import connect
    from ase.io import read, write
    from datasets import load_dataset
    from datasets.utils.logging import disable_progress_bar
    from torch.utils.data import DataLoader

    disable_progress_bar()
    count, rng = len(x), np.random.default_rng(1)
    f, e = rng.normal(size=x.shape), rng.normal(size=count) - 17636.0
    box = np.zeros((3, 3)) if cell is None else cell
    table = to_table(z, x, e, f, cell=cell, pbc=[cell is not None] * 3)
    split = {"train": {"rule": "all"}}
    card = Card(name="bench", title="b", version="1.0.0", description="b", licence="MIT", citation=["b"], theory="b",
                configs={"a": {"description": "b", "splits": split}}, changelog={"1.0.0": "b"})  # fmt: skip
    root = folder / label.replace(" ", "_")
    write_dataset(root / "bench", card, {"a": {"train": table}})
    shard = next((root / "bench/data/a").glob("*.parquet"))
    small = min(count, 1000)  # the slow ones

    env = lmdb.open(str(root / "x.lmdb"), map_size=2**33, subdir=False)
    with env.begin(write=True) as txn:
        for t in range(count):
            row = {"numbers": np.asarray(z), "pos": x[t], "forces": f[t], "cell": box, "energy": e[t]}
            txn.put(str(t).encode(), pickle.dumps(row, protocol=-1))
    images = []
    for t in range(small):
        atoms = Atoms(z, x[t], cell=box, pbc=cell is not None)
        atoms.calc = SinglePointCalculator(atoms, energy=e[t], forces=f[t])
        images.append(atoms)
    with connect(root / "x.db") as db:
        for atoms in images:
            db.write(atoms)
    write(root / "x.extxyz", images)

    frames = ffbench_data.load_frames("bench", "a", "train", root=root)
    dataset = load_dataset(str(root / "bench"), "a", split="train", cache_dir=str(root / "hf"))
    plain = dataset.select_columns(["atomic_numbers", "positions", "atomic_forces", "energy", "cell", "pbc"])
    txn, db = env.begin(), connect(root / "x.db")

    def view(rows):
        collate(frames, indices=rows), collate_labels(frames, indices=rows)
        return len(rows)

    def from_lmdb(rows):
        to_torch([pickle.loads(txn.get(str(t).encode())) for t in rows])
        return len(rows)

    def from_ase(rows):
        out = []
        for t in rows:
            a = db.get_atoms(int(t) + 1)
            out.append({"numbers": a.numbers, "pos": a.positions, "cell": np.asarray(a.cell),
                        "forces": a.get_forces(), "energy": a.get_potential_energy()})  # fmt: skip
        to_torch(out)
        return len(rows)

    def random(most):
        return rng.integers(0, most, BATCH)

    def in_order(most, state=[0]):  # noqa: B006
        state[0] = (state[0] + BATCH) % (most - BATCH)
        return np.arange(state[0], state[0] + BATCH)

    def loader(data, **how):
        it = [iter(())]

        def step():
            batch = next(it[0], None)
            if batch is None:
                it[0] = iter(DataLoader(data, batch_size=BATCH, shuffle=True, **how))
                next(it[0])
            return BATCH

        return step

    speed = {
        "view, random": rate(lambda: view(random(count)), seconds),
        "view, in order": rate(lambda: view(in_order(count)), seconds),
        "LMDB+pickle, random": rate(lambda: from_lmdb(random(count)), seconds),
        "LMDB+pickle, in order": rate(lambda: from_lmdb(in_order(count)), seconds),
        "ASE-db, random": rate(lambda: from_ase(random(small)), seconds),
        "ASE-db, in order": rate(lambda: from_ase(in_order(small)), seconds),
        "extxyz, all": rate(lambda: len(read(root / "x.extxyz", ":")), seconds),
        "Parquet file to view, cold": rate(
            lambda: len(Frames(ffbench_data.load_frames("bench", "a", "train", root=root).table)), seconds
        ),
        "DataLoader, Arrow collate, shuffled": rate(loader(ArrowRows(plain), collate_fn=collate_arrow), seconds),
        "DataLoader, with_format('torch'), shuffled": rate(loader(plain.with_format("torch")), seconds),
    }
    import pyarrow as pa

    from ffbench_data.schema import write_parquet

    doubles = pa.list_(pa.list_(pa.float64(), 3))
    at = table.column_names.index("atomic_forces")
    wide = table.set_column(at, "atomic_forces", table["atomic_forces"].cast(doubles))
    write_parquet(wide, root / "wide.parquet")
    size = {
        "Parquet, our encoding": shard.stat().st_size / count,
        "Parquet, float64": (root / "wide.parquet").stat().st_size / count,
        "LMDB+pickle": (root / "x.lmdb").stat().st_size / count,
        "ASE-db": (root / "x.db").stat().st_size / small,
        "extxyz": (root / "x.extxyz").stat().st_size / small,
    }
    return {"frames_per_cpu_second": speed, "bytes_per_frame": size}


STREAM = """
import sys
from ffbench_data import stream_frames
n, limit = 0, int(sys.argv[2])
for frames in stream_frames("bench", "a", root=sys.argv[1]):
    n += len(frames)
    if n >= limit: break
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


def streaming(folder: Path, count: int) -> dict[str, float]:
    """Peak resident memory (MiB, Linux) of streaming a tenth, and all, of ``10 * count`` frames of 21 atoms."""
    import pyarrow as pa

    from ffbench_data import store

    z, x, _ = systems(count)["21 atoms"]
    table = pa.concat_tables([to_table(z, x, np.zeros(count), x)] * 10)
    split = {"train": {"rule": "all"}}
    card = Card(name="bench", title="b", version="1.0.0", description="b", licence="MIT", citation=["b"], theory="b",
                configs={"a": {"description": "b", "splits": split}}, changelog={"1.0.0": "b"})  # fmt: skip
    store.SHARD_BYTES = table.nbytes // 5
    write_dataset(folder / "stream/bench", card, {"a": {"train": table}})

    def peak(limit):
        command = [sys.executable, "-c", STREAM, str(folder / "stream"), str(limit)]
        return float(subprocess.check_output(command, text=True))

    return {f"{k} frames": peak(k) for k in (count, 10 * count)}


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("--frames", type=int, default=10000)
    cli.add_argument("--seconds", type=float, default=0.5)
    args = cli.parse_args()
    import torch

    torch.set_num_threads(1)
    out: dict = {"frames": args.frames, "batch": BATCH, "python": platform.python_version(), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as folder:
        for label, (z, x, cell) in systems(args.frames).items():
            out[label] = bench_one(label, z, x, cell, Path(folder), args.seconds)
            s, b = out[label]["frames_per_cpu_second"], out[label]["bytes_per_frame"]
            torch_loader = s["DataLoader, with_format('torch'), shuffled"]
            out[label]["ratios"] = {
                "view over LMDB+pickle, random batches": s["view, random"] / s["LMDB+pickle, random"],
                "view over LMDB+pickle, in order": s["view, in order"] / s["LMDB+pickle, in order"],
                "view over ASE-db, random batches": s["view, random"] / s["ASE-db, random"],
                "Parquet file over extxyz, all frames": s["Parquet file to view, cold"] / s["extxyz, all"],
                "Arrow collate over with_format('torch'), shuffled DataLoader": s["DataLoader, Arrow collate, shuffled"]
                / torch_loader,
                "ASE-db size over float64 Parquet": b["ASE-db"] / b["Parquet, float64"],
                "ASE-db size over our encoding": b["ASE-db"] / b["Parquet, our encoding"],
            }
            print(label)
            for name, value in out[label]["ratios"].items():
                goal = f"(target {TARGETS[name]})" if name in TARGETS else ""
                print(f"  {value:8.1f}x  {name} {goal}")
        out["streaming_peak_MiB"] = streaming(Path(folder), args.frames)
        print("streaming", out["streaming_peak_MiB"])
    out["targets"] = TARGETS
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(_rounded(out), indent=1) + os.linesep)


def _rounded(value):
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
