"""What the time step of the reference trajectories costs: the same truth at a quarter of a femtosecond.

    python benchmarks/time_step.py FOLDER ethanol_gfn2 --runs 4 --ps 25
    python benchmarks/time_step.py FOLDER water --runs 2 --ps 100

Models are scored with the reference's own time step, so its bias cancels; this says how large it is. The runs go
through the observables of a model, beside the noise floor at their length: an error above the floor is the time step's.
Resumable. Needs the extra `generate` (OpenMM, tblite).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from ffbench_data.generate import ethanol, water
from ffbench_data.generate.assemble import pieces
from ffbench_eval.engine.trajectory import Trajectory
from ffbench_eval.kinds.dynamics.observables import OBSERVABLES
from ffbench_eval.run.data import load_task_data
from ffbench_eval.suite import load_suite

SMALL_STEP = 0.25  # fs
TASKS = {"ethanol_gfn2": "ethanol_md", "water": "water_md"}
GENERATORS = {"ethanol_gfn2": ethanol, "water": water}


def runs_of(made_by: ModuleType, folder: Path, *, runs: int, ps: float, save_fs: float) -> list[Trajectory]:
    """The truth with the small step, every run continued to ``ps``, a multiple of 5 (ethanol) or 50 (water)."""
    for run in range(runs):
        more = {"piece_ps": 5.0} if made_by is ethanol else {}
        made_by.simulate(folder, run=run, ps=ps, save_fs=save_fs, time_step=SMALL_STEP, **more)
    numbers = ethanol.start()[0] if made_by is ethanol else np.array([8, 1, 1] * water.MOLECULES)
    periodic = made_by is water
    out = []
    for x, kelvin, potential in zip(*(pieces(folder, key) for key in ("positions", "temperature", "potential"))):
        out.append(
            Trajectory(
                numbers=numbers,
                cell=np.eye(3) * water.CELL * periodic,
                pbc=np.full(3, periodic),
                time_ps=(1 + np.arange(len(x))) * save_fs / 1000,
                positions=x,
                potential_energy=potential,
                total_energy=np.full(len(x), np.nan),
                temperature=kelvin,
            )
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="raw runs, kept between calls")
    parser.add_argument("dataset", choices=list(TASKS))
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--ps", type=float, default=50.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "time_step.json")
    chosen = parser.parse_args()
    task = load_suite("desk", tasks=[TASKS[chosen.dataset]]).tasks[0]
    data = load_task_data(task)
    p, made_by = task.parameters, GENERATORS[chosen.dataset]
    folder = chosen.folder / chosen.dataset
    stable = runs_of(made_by, folder, runs=chosen.runs, ps=chosen.ps, save_fs=p.save_every_fs)
    settings = SimpleNamespace(length_ps=chosen.ps, skip_ps=0.0, temperature_K=p.temperature_K)
    rows = {}
    for name in ("rdf" if chosen.dataset == "water" else "distance_histogram", "temperature"):
        for key, metric in OBSERVABLES[name](stable, data, settings, None)[0].items():
            rows[key] = {"value": metric.value, "runs": metric.values, "unit": metric.unit}
            if metric.floor:
                rows[key] |= {"floor_median": metric.floor.median, "floor_p95": metric.floor.p95}
    known = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    known[chosen.dataset] = {
        "time_step_fs": SMALL_STEP, "reference_time_step_fs": made_by.TIME_STEP, "ps": chosen.ps, "metrics": rows
    }  # fmt: skip
    chosen.out.write_text(json.dumps(known, indent=1) + "\n")
    for key, row in rows.items():
        print(f"{key:28} {row['value']:.4g} {row['unit']:4} floor {row.get('floor_median')} to {row.get('floor_p95')}")


if __name__ == "__main__":
    main()
