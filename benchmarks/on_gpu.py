"""ffbench on a machine with a GPU, in one command of under ten minutes: what is right there, and what it costs.

    python benchmarks/on_gpu.py                               # all stages; results/on_gpu_<card>.json
    python benchmarks/on_gpu.py --device cpu --dry --out DIR  # the rehearsal without a GPU: one small case a stage

Stages, safe ones first, each in a process of its own (a capture that fails leaves torch in doubt), rows as they come:

constants   microseconds of a kernel, eager and in a graph; of a wait and of a copy
families    energies and forces of every family there against the CPU
engine      trajectories of every ensemble, with bias and in a crystal, against the CPU's; ms of an eager step
steps       chunks of 100 steps captured, as traced and fused: error against eager, ms of a step, the MD17 protocol
predict     frames of an accuracy task: seconds
evaluate    some tasks of `mini` through ``evaluate``
tests       pytest of the engine
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
STAGES = {"constants": 45, "engine": 75, "steps": 230, "families": 80, "predict": 40, "evaluate": 60, "tests": 90}  # s
FAMILIES = [
    "schnet",
    "painn",
    "transformer",
    "deeppot_se",
    "forcenet",
    "nequip",
    "allegro",
    "mace",
    "botnet",
    "dimenet",
    "gemnet_t",
    "equiformer",
]
CASES = [
    "schnet/aspirin/5/nose_hoover",
    "painn/aspirin/5/nose_hoover",
    "schnet/water/5/nose_hoover",
    "schnet/alanine/6/langevin",
    "schnet/aspirin/100/nose_hoover",
    "schnet:paper/aspirin/5/nose_hoover",
    "painn/water/5/nose_hoover",
    "allegro/aspirin/5/nose_hoover",
    "nequip/aspirin/5/nose_hoover",
    "mace/aspirin/5/nose_hoover",
]
MD17_STEPS = 4 * 600_000  # four molecules, 300 ps at 0.5 fs


class Stage:
    """The rows of one stage, written as they come."""

    def __init__(self, given: argparse.Namespace):
        self.device, self.dry, self.out, self.name = torch.device(given.device), given.dry, given.out, given.stage
        self.gpu = self.device.type == "cuda"

    def say(self, **row: Any) -> None:
        text = json.dumps({"stage": self.name, **row}, default=str)
        print(text, flush=True)
        with (self.out / f"{self.name}.jsonl").open("a") as file:
            file.write(text + "\n")

    def attempt(self, case: str, work: Callable[[], dict]) -> None:
        """A case that fails is a row, not the end."""
        try:
            self.say(case=case, **work())
        except Exception as error:
            line = (str(error).strip().splitlines() or [""])[-1]
            self.say(case=case, error=f"{type(error).__name__}: {line[:300]}")

    def ms(self, action: Callable[[], object], calls: int, rounds: int = 5) -> float:
        """Median milliseconds of a call, the device finished."""
        action()
        taken = []
        for _ in range(1 if self.dry else rounds):
            self.finish()
            begun = time.perf_counter()
            for _ in range(1 if self.dry else calls):
                action()
            self.finish()
            taken.append((time.perf_counter() - begun) / (1 if self.dry else calls))
        return 1e3 * float(np.median(taken))

    def finish(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()

    def there(self, model):
        return replace(model, fn=copy.deepcopy(model.fn)).to(self.device)

    def few(self, cases):
        return list(cases)[:1] if self.dry else list(cases)


def constants(stage: Stage) -> None:
    from ffbench_eval.engine.captured import capture

    x, w = torch.rand(107, 64, device=stage.device), torch.rand(64, 64, device=stage.device)
    wide, owner = torch.rand(2140, 64, device=stage.device), torch.randint(107, (2140,), device=stage.device)
    kernels = {
        "add [107, 64]": lambda y: y + 1.0,
        "product [107, 64] [64, 64]": lambda y: y @ w,
        "index_add 2140 into 107": lambda y: y.index_add(0, owner, wide),
    }
    for name, kernel in kernels.items():

        def chain(y, kernel=kernel):
            for _ in range(200):
                y = kernel(y)
            return (y,)

        def work(chain=chain) -> dict:
            row = {"eager_us": 5 * stage.ms(lambda: chain(x), 3)}
            if stage.gpu:
                graph = capture(chain, [x])
                row["captured_us"] = 5 * stage.ms(lambda: graph(x), 5)
            return row

        stage.attempt(name, work)
    stage.attempt("wait for a number", lambda: {"us": 1e3 * stage.ms(lambda: x[0, 0].item(), 50)})
    stage.attempt("copy 80 kB out", lambda: {"us": 1e3 * stage.ms(lambda: wide.cpu(), 50)})


def families(stage: Stage) -> None:
    from ffbench_data import collate, load_frames
    from reference_models import build

    batch = collate(load_frames("ethanol_gfn2", split="test"), indices=range(8))
    for family in stage.few(FAMILIES):

        def work(family=family) -> dict:
            model = build(family, elements=(1, 6, 8))
            here, moved = model(batch), stage.there(model)
            far = moved(batch)
            error = float((far.forces.cpu() - here.forces).abs().max() / here.forces.abs().max())
            return {"force_error": error, "ms": stage.ms(lambda: moved(batch), 3), "ok": error < 1e-3}

        stage.attempt(family, work)


def engine(stage: Stage) -> None:
    from ffbench_eval.engine.bias import MetadynamicsRule, Restraint
    from ffbench_eval.engine.protocol import Protocol
    from ffbench_eval.engine.run import simulate
    from ffbench_eval.engine.trajectory import read_trajectories
    from tests.eval.engine_systems import cluster, crystal, morse

    short = {"length_ps": 0.04, "save_every_fs": 10.0}
    bias = {
        "metadynamics": MetadynamicsRule(((0, 1, 2, 3),), 0.01, (0.3, 0.2), 6.0, 10, distances=((0, 4),)),
        "restraints": (Restraint((0, 1), 1.2, 2.0),),
    }
    cases = {name: (cluster(), Protocol(name, 300.0, 1.0, **short)) for name in ("nve", "nose_hoover", "bussi")}
    cases["bias"] = (cluster(), Protocol("langevin", 300.0, 1.0, **short, **bias))
    cases["crystal"] = (crystal(), Protocol("nose_hoover", 300.0, 1.0, **short))
    for name, (start, protocol) in stage.few(cases.items()):
        for compile in ("off", "require") if stage.gpu else ("off",):

            def work(start=start, protocol=protocol, compile=compile) -> dict:
                with tempfile.TemporaryDirectory() as folder:
                    here, far = Path(folder) / "here", Path(folder) / "there"
                    simulate(morse(), start, protocol, here, seed=1, compile="off")
                    out = simulate(stage.there(morse()), start, protocol, far, seed=1, compile=compile)
                    pairs = zip(read_trajectories(here), read_trajectories(far), strict=True)
                    worst = max(float(np.abs(a.positions - b.positions).max()) for a, b in pairs)
                return {"compile": compile, "max_dx_A": worst, "note": out.mode_note, "ok": worst < 1e-5}

            stage.attempt(name, work)


def steps(stage: Stage) -> None:
    for case in stage.few(CASES):
        for form in ("eager", "captured", "fused") if stage.gpu else ("eager", "captured"):
            stage.attempt(case, lambda case=case, form=form: {"form": form, **_step(stage, case, form)})


def _step(stage: Stage, case: str, form: str) -> dict:
    """ms of a step in chunks of 100 (dry: 2), and the errors of a step of that form."""
    from engine import HILLS, system

    from ffbench_eval.engine import captured, fastpath
    from ffbench_eval.engine.chunk import CapturedSteps
    from ffbench_eval.engine.lists import lists_for
    from ffbench_eval.engine.protocol import Protocol
    from ffbench_eval.engine.run import Run
    from ffbench_eval.engine.watch import new_watch
    from reference_models import build

    family, name, replicas, ensemble = case.split("/")
    start, published, _ = system(name, int(replicas))
    bias = {"metadynamics": HILLS} if name == "alanine" else {}
    model = build(family, elements=tuple(int(z) for z in np.unique(start.numbers)))
    model.fn.scale.fill_(0.01)  # an untrained model would tear the molecule apart
    protocol = Protocol(ensemble, 1.0, published.time_step_fs, 5000.0, 100.0, **bias)
    run, n = Run(model.to(stage.device), start, protocol, 0), 2 if stage.dry else 100
    row: dict[str, Any] = {}
    begun = time.perf_counter()
    if form != "eager":
        starts = fastpath._starts(run)
        make = captured.fused if form == "fused" else captured.capturable
        capture = captured.capture if stage.gpu else lambda function, arguments: function
        made = fastpath.Form("step", steps=CapturedSteps(run, lists_for(run.model_forces, starts), make, capture, n))
        row["force_error"], row["step_error"] = fastpath.errors(run, made, starts)
        row["ok"] = max(row["force_error"], row["step_error"]) <= fastpath.tolerance(run)
        run.form = made
    state, watch, first = run.first_state(), new_watch(int(replicas), run.system.masses.device), 0

    def chunk() -> None:
        nonlocal state, watch, first
        state, watch = run.chunk(state, watch, first, n)
        first += n

    chunk()
    row["setup_s"] = round(time.perf_counter() - begun, 1)
    per = stage.ms(chunk, 3) / n
    row |= {"ms_per_step": round(per, 4), "alive": int(watch.alive.sum())}
    if name == "aspirin":
        row["MD17_minutes"] = round(MD17_STEPS * per / 6e4, 1)
    return row


def predict(stage: Stage) -> None:
    from ffbench_data import collate, load_frames
    from reference_models import build

    batch = collate(load_frames("ethanol_gfn2", split="test"), indices=range(8 if stage.dry else 250))
    for family in stage.few(("schnet", "painn", "transformer", "nequip", "mace")):

        def work(family=family) -> dict:
            model = build(family, elements=(1, 6, 8)).to(stage.device)
            return {"frames": batch.n_systems, "ms": stage.ms(lambda: model(batch), 5)}

        stage.attempt(family, work)


def evaluate(stage: Stage) -> None:
    from ffbench_eval import evaluate as score
    from reference_models import load

    tasks = stage.few(["ethanol_accuracy", "ethanol_bond_scans", "ethanol_selective"])

    def work() -> dict:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            report = score(load("painn"), "mini", tasks=tasks, device=str(stage.device), out=folder, quiet=True)
        said = {name: sorted(task.statuses) for name, task in report.tasks.items()}
        return {"states": said, "s": round(time.perf_counter() - begun, 1), "device": report.environment.device}

    stage.attempt(" ".join(tasks), work)


def tests(stage: Stage) -> None:
    names = ("compiled", "chunk", "captured", "run", "bias", "integrators")
    paths = [f"tests/eval/test_engine_{name}.py" for name in stage.few(names[::-1])]
    more = ["-k", "degrees"] if stage.dry else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths, *more]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent)
    stage.say(case=" ".join(paths), rc=done.returncode, end=done.stdout.strip().splitlines()[-8:])


RUN = {name: globals()[name] for name in STAGES}


def drive(given: argparse.Namespace) -> int:
    """Every stage in a process of its own; 0 if all that ran is right."""
    begun, given.out = time.monotonic(), given.out or Path(tempfile.mkdtemp())
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.only.split(",") if given.only else STAGES:
        left = min(STAGES[name] * (4 if given.dry else 1), given.limit - (time.monotonic() - begun))
        if left < 15:
            print(f"no time left for {name}")
            continue
        command = [sys.executable, __file__, "--stage", name, "--device", given.device, "--out", str(given.out)]
        command += ["--dry"] * given.dry
        with (given.out / f"{name}.log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                process.wait(left)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                print(f"{name}: ended after {left:.0f} s")
        rows = given.out / f"{name}.jsonl"
        print(rows.read_text() if rows.exists() else (given.out / f"{name}.log").read_text()[-2000:], end="")
    found = [json.loads(line) for path in sorted(given.out.glob("*.jsonl")) for line in path.read_text().splitlines()]
    card = torch.cuda.get_device_name() if given.device.startswith("cuda") else "none"
    report = {"card": card, "torch": torch.__version__, "cuda": torch.version.cuda, "rows": found}
    place = given.out if given.dry else HERE / "results"
    (place / f"on_gpu_{card.replace(' ', '_')}.json").write_text(json.dumps(report, indent=1) + "\n")
    wrong = [row for row in found if row.get("error") or row.get("ok") is False or row.get("rc")]
    print(f"{len(found)} rows, {len(wrong)} of them wrong; {place}")
    return int(bool(wrong) or not found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dry", action="store_true", help="one small case a stage")
    parser.add_argument("--out", type=Path, help="folder for rows and logs [default: a temporary one]")
    parser.add_argument("--limit", type=float, default=545.0, help="seconds in all")
    parser.add_argument("--only", default="", help="stages, with commas")
    parser.add_argument("--stage", choices=list(STAGES), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage is None:
        return drive(given)
    torch.set_num_threads(1)
    RUN[given.stage](Stage(given))
    return 0


if __name__ == "__main__":
    sys.exit(main())
