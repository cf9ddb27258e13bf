"""What a unit costs beyond its work, and what a suite takes on many workers.

python benchmarks/scaling.py [units]     1,000 tiny units, here and on two workers; results/scaling.json
python benchmarks/scaling.py plan MODEL SUITE    its unit costs on this machine; draws docs/scaling.svg

A tiny unit is one frame of a model that waits: waiting takes no processor time, so all that is taken beyond the model's
own call is overhead. It is measured in processor time, which other work on the machine does not lengthen much; the
ratio is of that and the work of a unit, and the limit is the unit for which it is 5 %. What a run on workers takes
once, however many units it has, stands apart: the process that workers are forks of, their start and the data.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import torch

from ffbench_data.contract import ForceField
from ffbench_eval.models import resolve
from ffbench_eval.run import parallel
from ffbench_eval.run.cost import estimate
from ffbench_eval.run.data import load_task_data
from ffbench_eval.run.environment import processor
from ffbench_eval.run.execute import run_unit
from ffbench_eval.run.plan import Ready, plan, ready
from ffbench_eval.run.scaling import OVERHEAD_S, bound, costs_of, wall
from ffbench_eval.run.units import load_result, make_unit
from ffbench_eval.suite import load_suite

RESULT = Path(__file__).parent / "results" / "scaling.json"
FIGURE = Path(__file__).resolve().parents[1] / "docs" / "scaling.svg"
SUITE = "name: tiny\nversion: 1.0.0\ntasks:\n  errors: {kind: accuracy, dataset: ethanol_gfn2}\n"
WAIT_S = 0.1


def waiting() -> ForceField:
    def fn(batch):
        time.sleep(WAIT_S)
        return {"energy": torch.zeros(batch.n_systems), "forces": torch.zeros_like(batch.positions)}

    return ForceField(fn, None, card={"name": "waits", "theory": "none"})


def tiny(count: int, folder: Path) -> Ready:
    (folder / "tiny.yaml").write_text(SUITE)
    task = load_suite(folder / "tiny.yaml").tasks[0]
    data = load_task_data(task)
    units = [
        make_unit(task, {"rows": [k % 100]}, seed=k, model="m", data=data.used.content_sha256) for k in range(count)
    ]
    costs = {u.address: WAIT_S for u in units}
    return Ready(task, data, waiting(), units, longest=WAIT_S, costs=costs)


def overhead(count: int) -> dict[str, float]:
    """Milliseconds of processor time of a unit beyond its work: here, and on workers (theirs; what the one that deals
    takes lies beside it). Seconds that workers take once."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-"))
    p = tiny(count, folder)
    run_unit(p.units[0], p.data, p.model, folder / "warm")
    begun, cpu = time.perf_counter(), time.process_time()
    for unit in p.units:
        run_unit(unit, p.data, p.model, folder / "here")
        load_result(unit, folder / "here")
    here, wall_here = time.process_time() - cpu, time.perf_counter() - begun

    spent: dict[str, float] = {}
    until = parallel.Dealer.until_done

    def watched(self):
        while len(self.there()) < 2:
            time.sleep(0.1)
        self.client.run(load_task_data, p.task)
        before, mine, begun = self.client.run(time.process_time), time.process_time(), time.perf_counter()
        until(self)
        after = self.client.run(time.process_time)
        spent["workers"] = sum(after[w] - before[w] for w in before)
        spent["once"] = _seconds_of_parent(self.client) + sum(before.values())
        spent["dealer"], spent["wall"] = time.process_time() - mine, time.perf_counter() - begun

    parallel.Dealer.until_done = watched  # type: ignore[method-assign]
    bars, done = SimpleNamespace(update=lambda *_: None), []
    parallel.run_side_by_side(
        [(p, u) for u in p.units], _made(folder / "there"), 2, "off", bars, lambda *a: done.append(a)
    )  # fmt: skip
    assert len(done) == count
    work = WAIT_S * count
    return {
        "here_ms": round(1e3 * here / count, 2),
        "worker_ms": round(1e3 * spent["workers"] / count, 2),
        "dealer_ms": round(1e3 * spent["dealer"] / count, 2),
        "once_s": round(spent["once"], 2),
        "wall_over_work_here": round(wall_here / work, 4),
        "wall_over_work_two_workers": round(2 * spent["wall"] / work, 4),
    }


def _seconds_of_parent(client) -> float:
    """Processor time of the process that workers are forks of."""
    times = psutil.Process(next(iter(client.run(os.getppid).values()))).cpu_times()
    return times.user + times.system


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def planned(model: str, suite: str) -> dict[str, object]:
    """Unit costs of a suite, measured with the model on this machine."""
    chosen, _ = resolve.resolve(model)
    found = plan(chosen, load_suite(suite))
    estimate(found, Path("-"))
    runs = ready(found)
    costs = costs_of(runs)
    task, seconds, enough = bound(runs, costs)
    return {
        "model": model, "suite": suite, "longest_task": task, "longest_s": round(seconds, 2), "enough_workers": enough,
        "unit_s": sorted((float(f"{c:.4g}") for c in costs.values()), reverse=True),
    }  # fmt: skip


def draw(rows: list[dict], path: Path) -> None:
    from matplotlib import pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "ffbench", "font.size": 9})
    figure, axes = plt.subplots(figsize=(6, 3.4))
    counts = sorted({round(10 ** (k / 16)) for k in range(49)})
    for row in rows:
        walls = [wall(row["unit_s"], n) for n in counts]
        (line,) = axes.loglog(counts, walls, label=f"{row['suite']}, {row['model'].partition(':')[2]}")
        work = sum(row["unit_s"])
        axes.loglog(counts, [work / n for n in counts], ":", color=line.get_color(), linewidth=0.8)
        axes.axhline(row["longest_s"], color=line.get_color(), linewidth=0.6, linestyle="--")
        axes.annotate(f"longest unit: {row['longest_task']}", (1000, row["longest_s"]), ha="right", va="bottom",
                      fontsize=7, color=line.get_color())  # fmt: skip
    axes.set_xlabel("workers")
    axes.set_ylabel("seconds until the last unit is done")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main(arguments: list[str]) -> None:
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if arguments[:1] == ["plan"]:
        rows = [r for r in found.get("plans", []) if (r["model"], r["suite"]) != tuple(arguments[1:3])]
        found["plans"] = [*rows, planned(*arguments[1:3])]
        draw(found["plans"], FIGURE)
    else:
        count = int(arguments[0]) if arguments else 1000
        measured = overhead(count)
        each = measured["worker_ms"]
        found |= {"processor": processor(), "units": count, "work_ms": 1e3 * WAIT_S, **measured,
                  "ratio_here": round(measured["here_ms"] / (1e3 * WAIT_S), 4),
                  "ratio_workers": round(each / (1e3 * WAIT_S), 4),
                  "ratio_workers_and_dealer": round((each + measured["dealer_ms"]) / (1e3 * WAIT_S), 4),
                  "five_percent_from_ms": round(20 * max(each, measured["here_ms"]), 0),
                  "assumed_overhead_ms": 1e3 * OVERHEAD_S}  # fmt: skip
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({k: v for k, v in found.items() if k != "plans"}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
