"""A simulation in another Python environment beside the same one here: processor time, as a ratio.

python benchmarks/environments.py ENV [rounds]     ENV as for --env; writes benchmarks/results/environments.json

Five replicas of alanine dipeptide (22 atoms), 200 steps, not compiled; processor time of both processes, which other
work on the machine does not lengthen; rounds take turns, and the ratio is the median of theirs.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from ffbench_eval.models.isolated import isolated
from ffbench_eval.models.resolve import resolve
from ffbench_eval.run.data import load_task_data
from ffbench_eval.run.environment import processor
from ffbench_eval.run.execute import run_unit
from ffbench_eval.run.units import make_unit
from ffbench_eval.suite import load_suite

RESULT = Path(__file__).parent / "results" / "environments.json"
SUITE = """
name: aside
version: 1.0.0
tasks:
  dynamics: {kind: molecular_dynamics, dataset: alanine_dipeptide_obc, ensemble: nve, temperature_K: 300,
             time_step_fs: 0.5, length_ps: 0.1, save_every_fs: 10, replicas: 5, observables: [energy_drift]}
"""
MODEL = "reference_models:schnet@alanine_dipeptide_obc"


def spent(process: int | None) -> float:
    """Processor seconds of this process, and of another one."""
    if process is None:
        return time.process_time()
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(env: str, rounds: int) -> None:
    home = Path(tempfile.mkdtemp(prefix="aside-"))
    (home / "aside.yaml").write_text(SUITE)
    task = load_suite(home / "aside.yaml").tasks[0]
    data = load_task_data(task)
    here, _ = resolve(MODEL, env=None)
    there = isolated(MODEL, env=env)
    inputs = task.kind.plan(task, data, 0, here)[0]
    ways = {"here": (here, None), "there": (there, there.fn.child.process.pid)}  # type: ignore[union-attr]
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for k in range(-1, rounds):  # one round to warm up
        for name, (model, process) in ways.items():
            unit = make_unit(task, inputs, seed=k + 1, model="m", data="d")
            before = spent(process)
            result = run_unit(unit, data, model, home / name, compile="off")
            assert set(result.status) == {"ok"}, result.detail
            if k >= 0:
                seconds[name].append(spent(process) - before)
    ratio = statistics.median(b / a for a, b in zip(seconds["here"], seconds["there"]))
    found = {
        "processor": processor(),
        "model": MODEL,
        "atoms": 22,
        "replicas": 5,
        "calls": result.force_calls,
        "here_s": round(statistics.median(seconds["here"]), 3),
        "there_s": round(statistics.median(seconds["there"]), 3),
        "ratio": round(ratio, 4),
        "rounds": rounds,
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
