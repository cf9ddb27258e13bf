"""Replica-steps per second of the published sizes on a CPU core or a GPU, beside the paper's frames on a V100.

    OMP_NUM_THREADS=1 python benchmarks/published_speed.py schnet:aspirin:5 schnet:water:1 nequip:aspirin:5
    python benchmarks/published_speed.py --device cuda schnet:{aspirin,alanine,water}:{1,5,20,100}

Fu et al. (TMLR 2023) ran one replica at a time in ASE; here B replicas advance in one batch, compiled, or eager with
`--compile off`. One thread, process CPU time (other jobs may run beside it), medians over chunks with quartiles. On a
GPU both forms, eager and CUDA graph, wall time; the file is named after the GPU.
Weights are random and forces small: the work of a step does not depend on them. Not a race between machines: it says
what a person without a GPU can expect.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from engine import engine_loop, system

from ffbench_eval.engine.fastpath import choose
from ffbench_eval.engine.run import Run
from ffbench_eval.run.environment import processor
from leaderboard.site.literature import LITERATURE, load_literature
from reference_models import build

RESULTS = Path(__file__).parent / "results"
TITLE = "Speed of one simulation on one V100"
NAMES = {"schnet": "SchNet", "nequip": "NequIP", "gemnet_t": "GemNet-T"}


def published() -> dict[tuple[str, str], float]:
    (table,) = [t for t in load_literature(LITERATURE) if t.title == TITLE]
    return {(v.model, v.system.split()[-1]): v.value for v in table.values}


def clock(device: str) -> float:
    """Seconds of this process, or of the wall once the GPU has finished."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def timed(family: str, name: str, replicas: int, seconds: float, compile: str, device: str) -> dict:
    """ms of a batched step and replica-steps/s."""
    start, protocol, _ = system(name, replicas)
    model = build(f"{family}:paper", elements=tuple(np.unique(start.numbers)))
    model.fn.scale.fill_(0.01)
    model = model.to(device)
    run = Run(model, start, protocol, 0)
    run.form = choose(run, compile, 0)
    loop = engine_loop(run)
    loop(2)
    chunk, taken = 1, []
    while sum(taken) < seconds or len(taken) < 5:
        begun = clock(device)
        loop(chunk)
        taken.append(clock(device) - begun)
        if taken[-1] < seconds / 40:
            chunk, taken = 2 * chunk, []
    per_step = np.quantile(taken, [0.25, 0.5, 0.75]) / chunk
    row = {
        "parameters": model.card["parameters"],
        "atoms": len(start.numbers),
        "replicas": replicas,
        "mode": run.form.mode,
        "ms_per_batched_step": [round(1e3 * float(v), 3) for v in per_step],
        "replica_steps_per_s": float(f"{replicas / per_step[1]:.3g}"),
    }
    frames = published().get((NAMES.get(family, ""), name))
    if frames:
        row |= {"v100_frames_per_s": frames, "ratio": float(f"{replicas / per_step[1] / frames:.3g}")}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", help="family:system:replicas")
    parser.add_argument("--compile", choices=("require", "off"), default="require", help="on a CPU; off: eager")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=10.0, help="of time for each case")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.device == "cpu":
        out, forms = RESULTS / "published_speed.json", [chosen.compile]
        machine = {"processor": processor(), "threads": 1}
    else:
        gpu = torch.cuda.get_device_name()
        out = RESULTS / f"published_speed_{gpu.replace(' ', '_')}.json"
        forms, machine = ["off", "require"], {"gpu": gpu, "cuda": torch.version.cuda}
    for case in chosen.cases:
        family, name, replicas = case.split(":")
        for form in forms:
            try:
                row = timed(family, name, int(replicas), chosen.seconds, form, chosen.device)
            except ValueError as error:
                if chosen.device == "cpu":
                    raise
                row = {"error": str(error)}  # no CUDA graph of this model
            print(case, row, flush=True)
            known = json.loads(out.read_text()) if out.exists() else {"cases": {}}
            known["machine"] = {**machine, "torch": torch.__version__}
            known["cases"][case if len(forms) == 1 else f"{case} {row.get('mode', 'no graph')}"] = row
            out.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
