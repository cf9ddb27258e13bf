"""Speed of the metric library against other ways to the same numbers, as ratios, on one thread.

python benchmarks/metrics.py [--rounds 5] writes benchmarks/results/metrics.json. Ways are interleaved and the ratio of
each round is taken, so that other load on the machine hits both sides. Times are CPU seconds of this process. The
published way (MDsim: torch distances of all ordered pairs, numpy histogram) is re-expressed from its description.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import freud  # noqa: E402
import mdtraj  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import ffbench_metrics as ffm  # noqa: E402
from ffbench_eval.run.environment import processor  # noqa: E402

FRAMES, ATOMS, LENGTH, BINS, R_MAX = 1000, 192, 12.43, 500, 6.0
CELL = LENGTH * np.eye(3)
OXYGEN = np.arange(0, ATOMS, 3)
HYDROGEN = np.setdiff1d(np.arange(ATOMS), OXYGEN)
PAIRS = {"OO": (OXYGEN, None), "HH": (HYDROGEN, None), "HO": (HYDROGEN, OXYGEN)}


def trajectory() -> np.ndarray:
    rng = np.random.default_rng(0)
    start = rng.uniform(0, LENGTH, (1, ATOMS, 3))
    return (start + np.cumsum(rng.normal(0, 0.05, (FRAMES, ATOMS, 3)), axis=0)).astype(np.float32)


def ours_rdf(x: np.ndarray) -> list[np.ndarray]:
    return [ffm.rdf(x, CELL, index_a=a, index_b=b)[1] for a, b in PAIRS.values()]


def mdtraj_input(x: np.ndarray) -> mdtraj.Trajectory:
    topology = mdtraj.Topology()
    residue = topology.add_residue("HOH", topology.add_chain())
    for i in range(ATOMS):
        element = mdtraj.element.oxygen if i % 3 == 0 else mdtraj.element.hydrogen
        topology.add_atom(element.symbol, element, residue)
    n = len(x)
    return mdtraj.Trajectory(
        x / 10, topology, unitcell_lengths=np.full((n, 3), LENGTH / 10), unitcell_angles=np.full((n, 3), 90.0)
    )


def mdtraj_rdf(t: mdtraj.Trajectory) -> list[np.ndarray]:
    select = t.topology.select_pairs
    pairs = [select(a, a if b is None else b) for a, b in PAIRS.values()]
    return [mdtraj.compute_rdf(t, p, r_range=(0, R_MAX / 10), n_bins=BINS)[1] for p in pairs]


def mdsim_rdf(x: torch.Tensor) -> list[np.ndarray]:
    wrapped = (x / LENGTH) % 1 * LENGTH
    edges = np.linspace(1e-6, R_MAX, BINS + 1)
    found = []
    for a, b in PAIRS.values():
        first, second = wrapped[:, a], wrapped[:, a if b is None else b]
        d = (first.repeat(1, second.shape[1], 1) - second.repeat_interleave(first.shape[1], 1)).abs()
        d = torch.where(d > 0.5 * LENGTH, d - LENGTH, d).square().sum(-1).sqrt().flatten().numpy()
        counts, _ = np.histogram(d[d != 0], edges)
        found.append(counts / (len(d) / LENGTH**3 * 4 / 3 * np.pi * np.diff(edges**3)))
    return found


def mdsim_histogram(x: torch.Tensor) -> np.ndarray:
    edges = np.linspace(1e-6, 10.0, BINS + 1)
    return np.histogram(torch.cdist(x, x).flatten().numpy(), edges, density=True)[0]


def windows(x: np.ndarray, width: int, count: int, one: Callable) -> None:
    for k in range(count):
        one(x[k : k + width])


def ratio(ours: Callable, ours_size: int, other: Callable, other_size: int, rounds: int) -> dict[str, float]:
    """How many times longer the other way takes per frame: median, least and most over interleaved rounds."""
    ours(), other()
    ratios, mine, theirs = [], [], []
    for _ in range(rounds):
        times = []
        for call, size in ((ours, ours_size), (other, other_size)):
            start = time.process_time()
            call()
            times.append((time.process_time() - start) / size)
        ratios.append(times[1] / times[0])
        mine.append(times[0])
        theirs.append(times[1])
    return {
        "ratio": round(float(np.median(ratios)), 2),
        "ratio_least": round(min(ratios), 2),
        "ratio_most": round(max(ratios), 2),
        "ours_us": round(1e6 * float(np.median(mine)), 2),
        "other_us": round(1e6 * float(np.median(theirs)), 2),
    }


def import_seconds() -> float:
    """Seconds that ffbench_metrics adds to an interpreter that has numpy, the least of five."""
    code = "import numpy, time; t = time.perf_counter(); import ffbench_metrics; print(time.perf_counter() - t)"
    root = Path(__file__).resolve().parents[1]
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root) for _ in range(5)]
    return min(float(run.stdout) for run in runs)


def memory_growth(frames: int) -> float:
    """Peak memory in MiB that g(r) of a long trajectory (24 atoms) takes beside the trajectory itself."""
    code = (
        "import tracemalloc, numpy as np, ffbench_metrics as f\n"
        f"x = np.random.default_rng(0).random(({frames}, 24, 3), dtype=np.float32); x *= 9\n"
        "f.rdf(x[:100], 9 * np.eye(3), r_max=4.5); tracemalloc.start()\n"
        "f.rdf(x, 9 * np.eye(3), r_max=4.5); print(tracemalloc.get_traced_memory()[1] / 2**20)"
    )
    root = Path(__file__).resolve().parents[1]
    return float(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True).stdout
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "metrics.json")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    torch.set_num_threads(1)
    freud.parallel.set_num_threads(1)

    x = trajectory()
    xt = torch.from_numpy(x)
    few, window_count, width = 100, 20, 10
    t = mdtraj_input(x[:250])
    molecule = np.random.default_rng(1).normal(0, 2, (6000, 21, 3)).astype(np.float32)
    oxygens = x[:, OXYGEN].astype(float)
    reference = dict(zip(PAIRS, ours_rdf(x)))

    def sliding() -> None:
        ffm.rdf_stability(x, CELL, reference, pairs=PAIRS, window=width)

    shorter = {name: np.abs(a - b).mean() for name, a, b in zip(PAIRS, ours_rdf(x[:250]), mdtraj_rdf(t))}
    results = {
        "g(r), 3 pair types, 192 atoms: mdtraj.compute_rdf": ratio(
            lambda: ours_rdf(x), FRAMES, lambda: mdtraj_rdf(t), 250, rounds
        ),
        "g(r), 3 pair types, 192 atoms: MDsim's way": ratio(
            lambda: ours_rdf(x), FRAMES, lambda: mdsim_rdf(xt[:few]), few, rounds
        ),
        "h(r), 21 atoms: MDsim's way": ratio(
            lambda: ffm.distance_histogram(molecule),
            len(molecule),
            lambda: mdsim_histogram(torch.from_numpy(molecule)),
            len(molecule),
            rounds,
        ),
        "sliding window of 10 frames: recomputing with our own rdf": ratio(
            sliding, FRAMES - width + 1, lambda: windows(x, width, window_count, ours_rdf), window_count, rounds
        ),
        "sliding window of 10 frames: recomputing in MDsim's way": ratio(
            sliding, FRAMES - width + 1, lambda: windows(xt, width, window_count, mdsim_rdf), window_count, rounds
        ),
        "MSD, 64 atoms, 1000 frames: freud.msd.MSD": ratio(
            lambda: ffm.mean_squared_displacement(oxygens),
            1,
            lambda: freud.msd.MSD(mode="window").compute(oxygens).msd,
            1,
            3 * rounds,
        ),
    }
    report = {
        "machine": {
            "cpu": processor(),
            "cores": os.cpu_count(),
            "threads_used": 1,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "torch", "mdtraj", "freud-analysis")},
        },
        "unit": "ratio: time of the other way / ours; *_us: microseconds of CPU time per frame, window or trajectory",
        "results": results,
        "mean_abs_difference_of_g_to_mdtraj": {name: float(f"{d:.2e}") for name, d in shorter.items()},
        "import_seconds_beyond_numpy": round(import_seconds(), 4),
        "rdf_peak_memory_beside_the_trajectory_MiB_100k_frames": round(memory_growth(100_000), 1),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
