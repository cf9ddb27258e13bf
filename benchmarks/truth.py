"""The truth through the whole chain: the reference potentials, run as models, must land inside the noise floor.

    python benchmarks/truth.py --suite mini            # minutes
    python benchmarks/truth.py --suite desk --only water_md

Engine, protocol, bias and metrics are judged together: the only model without error must not show one. Resumable:
finished units and checkpoints in ``--out`` are kept. The summary names the version of every task, so that numbers of
an older protocol are not taken for those of today. Needs the extra `generate` (OpenMM, tblite).
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ffbench_data.potentials import reference
from ffbench_eval import evaluate, from_ase
from ffbench_eval.kinds.dynamics.observables import rdf_draws
from ffbench_eval.kinds.dynamics.systems import system_of
from ffbench_eval.run.data import load_task_data
from ffbench_eval.suite import load_suite
from ffbench_metrics import floor_quantile

DATASETS = ("water", "alanine_dipeptide_obc", "ethanol_gfn2")


def limit(suite: str, task_name: str, key: str, metric, observables: int) -> float:
    """The 1 - 0.05 / m quantile of the floor for m observables judged together (PROTOCOLS 7.6)."""
    if observables < 2 or not key.startswith("rdf_error_"):
        return metric.floor.p95
    task = next(t for t in load_suite(suite, tasks=[task_name]).tasks)
    lasting = task.parameters.length_ps - task.parameters.skip_ps
    data = load_task_data(task)
    frame = data.frames[0]
    system = system_of(data, frame)
    draws = rdf_draws(system, key.removeprefix("rdf_error_"), lasting)
    return floor_quantile(draws, observables=observables)


def summary(report) -> dict:
    """Per task: version, how the members ended, and each metric with its floor."""
    tasks = {}
    for name, task in report.tasks.items():
        metrics = {}
        floors = [key for key, metric in task.metrics.items() if metric.floor is not None]
        for key, metric in task.metrics.items():
            row = {"value": metric.value, "unit": metric.unit}
            if metric.floor is not None and metric.value is not None:
                row |= {"floor_median": metric.floor.median, "floor_p95": metric.floor.p95}
                row |= {"samples": metric.values, "limit": limit(report.suite, name, key, metric, len(floors))}
                row["inside"] = bool(metric.value <= row["limit"])
            metrics[key] = row
        tasks[name] = {
            "version": task.version,
            "dataset": f"{task.dataset.name} {task.dataset.version}",
            "statuses": task.statuses,
            "metrics": metrics,
        }
    return {"suite": f"{report.suite} {report.suite_version}", "tasks": tasks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="mini")
    parser.add_argument("--only", nargs="*", help="task names")
    parser.add_argument("--out", type=Path, default=Path("runs/truth"), help="run folder, kept between calls")
    parser.add_argument("--summary", type=Path, default=Path(__file__).parent / "results" / "truth.json")
    chosen = parser.parse_args()
    used = {task.dataset for task in load_suite(chosen.suite, tasks=chosen.only).tasks}
    models = {
        name: from_ase(
            functools.partial(reference, name), card={"name": "truth", "theory": f"reference potential of {name}"}
        )
        for name in DATASETS
        if name in used
    }
    report = evaluate(models, chosen.suite, out=chosen.out / chosen.suite, tasks=chosen.only)
    known = json.loads(chosen.summary.read_text()) if chosen.summary.exists() else {}
    new = summary(report)
    old = known.get(chosen.suite, {})
    if old.get("suite") == new["suite"]:
        new["tasks"] = old["tasks"] | new["tasks"]
    known[chosen.suite] = new
    chosen.summary.parent.mkdir(exist_ok=True)
    chosen.summary.write_text(json.dumps(known, indent=1) + "\n")
    for name, task in new["tasks"].items():
        for key, row in task["metrics"].items():
            verdict = {True: "inside", False: "OUTSIDE", None: "no floor"}[row.get("inside")]
            print(f"{name:28} {key:28} {row['value']!s:24} {row['unit']:10} {verdict}")


if __name__ == "__main__":
    main()
