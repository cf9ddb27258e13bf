"""Do a model's forces turn the molecule? Rotation between saved frames of simulations that started without any.

    python benchmarks/rotation.py runs/*/ [--task ethanol_md]

The simulations of open systems start without angular momentum and their thermostat adds none, so whatever turns later
was turned by forces with a net torque, which no energy that is the same in every orientation has. The thermostat then
counts the spin as heat and the vibrations run cold. Writes benchmarks/results/rotation.json: per model and replica the
median angle (degrees) between consecutive frames in each fifth of the run, and prints Markdown.
"""

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from ase.data import atomic_masses
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.report import Report

RESULTS = Path(__file__).parent / "results" / "rotation.json"
FIFTHS = 5


def angles(positions: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Angle in degrees [T - 1] of the best rotation of every frame of [T, N, 3] onto the next, weighted by mass."""
    mass = atomic_masses[numbers]
    x = positions - np.einsum("tna,n->ta", positions, mass)[:, None] / mass.sum()
    turned = [Rotation.align_vectors(b, a, weights=mass)[0].magnitude() for a, b in pairwise(x)]
    return np.degrees(turned)


def measure(run: Path, task: str) -> dict:
    report = Report.load(run)
    metrics = report.tasks[task].metrics
    (folder,) = [p for p in (run / "units").glob(f"{task}-*") if p.suffix != ".part"]
    replicas = []
    for t in read_trajectories(folder, replicas=metrics["stable_time"].n):
        found = angles(t.positions.astype(float), t.numbers)
        replicas.append([round(float(np.median(part)), 2) for part in np.array_split(found, FIFTHS)])
    kept = ("distance_histogram_error", "temperature_deviation", "trusted_time")
    return {
        "conservative": report.model.conservative,
        "degrees_per_frame": replicas,
        "frame_fs": report.tasks[task].parameters["save_every_fs"],
        "length_ps": report.tasks[task].parameters["length_ps"],
        **{k: round(metrics[k].value, 4) for k in kept if k in metrics and metrics[k].value is not None},
    }


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("runs", nargs="+", type=Path)
    cli.add_argument("--task", default="ethanol_md")
    args = cli.parse_args()
    rows = {Report.load(run).model.name: measure(run, args.task) for run in args.runs}
    RESULTS.write_text(json.dumps({"task": args.task, "models": rows}, indent=1) + "\n")
    print("| model | first fifth | last fifth (degrees between frames) | h(r) error |\n|---|---|---|---|")
    for name, row in rows.items():
        first, last = ([r[k] for r in row["degrees_per_frame"]] for k in (0, -1))
        print(f"| {name} | {np.mean(first):.1f} | {np.mean(last):.1f} | {row.get('distance_histogram_error')} |")


if __name__ == "__main__":
    main()
