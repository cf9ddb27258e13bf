"""ffbench on a machine with a GPU, in one command of under ten minutes: what is right there, and what it costs.

    python benchmarks/on_gpu.py --out DIR                     # all stages; DIR/on_gpu_<card>.json
    python benchmarks/on_gpu.py --device cpu --dry --out DIR  # the rehearsal without a GPU: one small case a stage

Each stage, and each case of `steps`, is a process of its own: a capture that fails leaves torch in doubt. Those that
only ask what is right, and the compilations, run side by side; then one after the other is timed on a quiet card.

engine      trajectories of every ensemble, with bias and in a crystal, against the CPU's
families    energies and forces of every family there against the CPU
repeat      the same simulation twice, with and without `deterministic`: are the bits the same
evaluate    some tasks of `mini` through ``evaluate``
training    minutes of a fit, and the same again from its last validation
tests       pytest of the engine
constants   microseconds of a kernel, eager and in a graph; of a wait and of a copy
predict     frames of an accuracy task and BSCT scans: seconds
steps       chunks of 100 steps captured, as traced and fused: error against eager, ms of a step, the MD17 protocol;
            with ASE's loop on the same card, and four simulations side by side
desk        the whole suite of that name: seconds of every task
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
TIMED = ("constants", "predict", "steps", "desk")  # wait for their turn
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
        self.gpu, self.case, self.scans = self.device.type == "cuda", given.case, given.scans
        self.data = given.data
        self.file = self.out / (f"{self.name} {given.case}".strip().replace("/", "_") + ".jsonl")

    def say(self, **row: Any) -> None:
        text = json.dumps({"stage": self.name, **row}, default=str)
        print(text, flush=True)
        with self.file.open("a") as file:
            file.write(text + "\n")

    def attempt(self, case: str, work: Callable[[], dict]) -> None:
        """A case that fails is a row, not the end."""
        try:
            self.say(case=case, **work())
        except Exception as error:
            line = (str(error).strip().splitlines() or [""])[-1]
            self.say(case=case, error=f"{type(error).__name__}: {line[:300]}")

    def turn(self) -> None:
        """Returns when nothing else runs on the card."""
        self.file.with_suffix(".ready").touch()
        while not self.file.with_suffix(".go").exists():
            time.sleep(0.05)

    def ms(self, action: Callable[[], object], calls: int, rounds: int = 5) -> float:
        """Median milliseconds of a call, the device finished; at most two seconds or so."""
        action()
        taken: list[float] = []
        while len(taken) < (1 if self.dry else rounds) and (not taken or sum(taken) * calls < 2.0):
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


def repeat(stage: Stage) -> None:
    from engine import system

    from ffbench_eval.engine.determinism import deterministic
    from ffbench_eval.engine.protocol import Protocol
    from ffbench_eval.engine.run import simulate
    from ffbench_eval.engine.trajectory import read_trajectories
    from reference_models import build

    start, _, _ = system("aspirin", 5)
    model = build("painn", elements=(1, 6, 8))
    model.fn.scale.fill_(0.01)
    model, protocol = model.to(stage.device), Protocol("nose_hoover", 300.0, 0.5, 0.5, 50.0)
    for wanted in (False, True):
        for compile in ("off", "require") if stage.gpu else ("off",):

            def work(wanted=wanted, compile=compile) -> dict:
                found = []
                with deterministic(wanted, str(stage.device)):
                    for _ in range(2):
                        with tempfile.TemporaryDirectory() as folder:
                            simulate(model, start, protocol, Path(folder), seed=1, compile=compile)
                            found.append(np.stack([t.positions for t in read_trajectories(Path(folder))]))
                apart = float(np.abs(found[0] - found[1]).max())
                return {"compile": compile, "max_dx_A": apart, "ok": not wanted or apart == 0.0}

            stage.attempt(f"deterministic={wanted}", work)


def training(stage: Stage) -> None:
    from reference_models.train import Recipe, train_on

    def work() -> dict:
        recipe = Recipe(minutes=0.1 if stage.dry else 1.7, batch=16, validate_every=100)
        data, changes = ("lips:20k", {"preset": "paper"}) if stage.data else ("ethanol_gfn2", {"features": "16"})
        about = {"recipe": recipe, "changes": changes, "root": stage.data or None, "device": str(stage.device)}
        folder = stage.out / "fit"
        begun = time.perf_counter()
        train_on("painn", data, folder=folder, log=lambda line: None, **about)
        taken = time.perf_counter() - begun
        curve = json.loads((folder / "curve.json").read_text())["curve"]
        row = {"data": data, "s": round(taken, 1), "steps": curve[-1]["step"], "force_mae": curve[-1]["force_mae"]}
        train_on("painn", data, folder=folder, log=lambda line: None, **about)  # is finished: nothing more to do
        again = json.loads((folder / "curve.json").read_text())["curve"]
        return row | {"first_force_mae": curve[0]["force_mae"], "ok": again == curve}

    stage.attempt("painn", work)


def desk(stage: Stage) -> None:
    from ffbench_eval import evaluate as score
    from reference_models import load

    stage.turn()

    def work() -> dict:
        begun = time.perf_counter()
        tasks = ["ethanol_accuracy"] if stage.dry else None
        report = score(load("painn"), "desk", tasks=tasks, device=str(stage.device), out=stage.out / "desk", quiet=True)
        units = {name: [round(u.wall_s, 1) for u in task.units] for name, task in report.tasks.items()}
        said = {name: sorted(task.statuses) for name, task in report.tasks.items()}
        return {"s": round(time.perf_counter() - begun, 1), "units_s": units, "states": said}

    stage.attempt("painn", work)


def constants(stage: Stage) -> None:
    from ffbench_eval.engine.captured import capture

    stage.turn()
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
    """One case in every form: all set up, then all timed."""
    family, name, replicas, ensemble = stage.case.split("/")
    ready = {}
    for form in ("eager", "captured", "fused", "ase") if stage.gpu else ("eager", "captured", "ase"):
        try:
            ready[form] = _form(stage, family, name, int(replicas), ensemble, form)
        except Exception as error:
            stage.say(case=stage.case, form=form, error=f"{type(error).__name__}: {str(error)[-300:]}")
    four = []
    if "fused" in ready and replicas == "5":
        four = [_form(stage, family, name, 5, ensemble, "fused") for _ in range(4)]
    stage.turn()
    for form, (chunk, n, row) in ready.items():

        def work(form=form, chunk=chunk, n=n, row=row) -> dict:
            per = stage.ms(chunk, 1) / n
            more = {"MD17_minutes": round(MD17_STEPS * per / 6e4, 1)} if (name, replicas) == ("aspirin", "5") else {}
            return {"form": form, **row, "ms_per_step": round(per, 4), **more}

        stage.attempt(stage.case, work)
    if four:
        stage.attempt(stage.case, lambda: {"form": "four side by side", **_side_by_side(stage, four)})


def _form(stage: Stage, family: str, name: str, replicas: int, ensemble: str, form: str):
    """(a chunk of steps, how many they are, what there is to say of them)."""
    from engine import HILLS, ase_loop, system

    from ffbench_eval.engine import captured, fastpath
    from ffbench_eval.engine.chunk import CapturedSteps
    from ffbench_eval.engine.lists import lists_for
    from ffbench_eval.engine.protocol import Protocol
    from ffbench_eval.engine.run import Run
    from ffbench_eval.engine.watch import new_watch
    from reference_models import build

    start, published, _ = system(name, replicas)
    bias = {"metadynamics": HILLS} if name == "alanine" else {}
    model = build(family, elements=tuple(int(z) for z in np.unique(start.numbers)))
    model.fn.scale.fill_(0.01)  # an untrained model would tear the molecule apart
    model = model.to(stage.device)
    if form == "ase":
        n = 2 if stage.dry else 5
        loop = ase_loop(model, start, published, "ase")
        return lambda: loop(n), n, {"replicas": replicas}
    protocol = Protocol(ensemble, 1.0, published.time_step_fs, 5000.0, 100.0, **bias)
    run, n = Run(model, start, protocol, 0), 2 if stage.dry else 20 if form == "eager" else 100
    row: dict[str, Any] = {}
    begun = time.perf_counter()
    if form != "eager":
        starts = fastpath._starts(run)
        make = captured.fused if form == "fused" else captured.capturable
        capture = captured.capture if stage.gpu else lambda function, _: function
        made = fastpath.Form("step", steps=CapturedSteps(run, lists_for(run.model_forces, starts), make, capture, n))
        row["force_error"], row["step_error"] = fastpath.errors(run, made, starts)
        row["ok"] = max(row["force_error"], row["step_error"]) <= fastpath.tolerance(run)
        run.form = made
    state, watch, first = run.first_state(), new_watch(replicas, run.system.masses.device), 0

    def chunk() -> None:
        nonlocal state, watch, first
        state, watch = run.chunk(state, watch, first, n)
        first += n

    chunk()
    stage.finish()
    return chunk, n, row | {"setup_s": round(time.perf_counter() - begun, 1), "alive": int(watch.alive.sum())}


def _side_by_side(stage: Stage, chunks: list) -> dict:
    """ms of a step of each of four simulations, every one a graph on a stream of its own."""
    streams = [torch.cuda.Stream() for _ in chunks]

    def all_of_them() -> None:
        for (chunk, _, _), stream in zip(chunks, streams, strict=True):
            with torch.cuda.stream(stream):
                chunk()

    per = stage.ms(all_of_them, 1) / chunks[0][1]
    return {"ms_per_step": round(per, 4), "MD17_minutes": round(MD17_STEPS / 4 * per / 6e4, 1)}


def predict(stage: Stage) -> None:
    from ffbench_data import collate, load_frames
    from reference_models import build

    batch = collate(load_frames("ethanol_gfn2", split="test"), indices=range(8 if stage.dry else 250))
    stage.turn()
    for family in stage.few(("schnet", "painn", "transformer", "nequip", "mace")):

        def work(family=family) -> dict:
            model = build(family, elements=(1, 6, 8)).to(stage.device)
            return {"frames": batch.n_systems, "ms": stage.ms(lambda: model(batch), 5)}

        stage.attempt(family, work)
        if stage.scans:
            stage.attempt(family, lambda family=family: _scans(stage, family))


def _scans(stage: Stage, family: str) -> dict:
    """Seconds of the scans of one bond type, and of all BSCT-SPICE by its 1,384,200 atoms."""
    from ffbench_eval.kinds.bsct.predict import predict as walk
    from reference_models import build

    d, sets, a, f = np.load(stage.scans), [], 0, 0
    points = d["bond_length"].shape[1]
    for n in d["n_atoms"]:
        x = d["positions"][f : f + points * n].reshape(points, n, 3)
        sets.append((d["atomic_numbers"][a : a + n].astype(int), x))
        a, f = a + n, f + points * n
    model = build(family, elements=(1, 6, 7, 8, 9, 15, 16, 17, 35, 53)).to(stage.device)
    few = sets if family in ("schnet", "painn", "transformer") else sets[:5]
    walk(model, sets[:1])
    stage.finish()
    begun = time.perf_counter()
    walk(model, few)
    taken = time.perf_counter() - begun
    atoms = sum(x[..., 0].size for _, x in few)
    return {"scan_atoms": atoms, "s": round(taken, 2), "all_of_BSCT_SPICE_s": round(taken / atoms * 1_384_200, 1)}


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
    paths = [f"tests/eval/test_engine_{name}.py" for name in stage.few(names)]
    more = ["-k", "ghosts"] if stage.dry else ["-n", "4"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths, *more]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent)
    stage.say(case=" ".join(paths), rc=done.returncode, end=done.stdout.strip().splitlines()[-8:])


RUN = {f.__name__: f for f in (engine, families, repeat, evaluate, training, tests, constants, predict, steps, desk)}


class Started:
    """A stage, or one case of it, in a process of its own."""

    def __init__(self, given: argparse.Namespace, stage: str, case: str = ""):
        self.name = f"{stage} {case}".strip()
        self.file = given.out / (self.name.replace("/", "_") + ".jsonl")
        self.timed = stage in TIMED
        command = [sys.executable, __file__, "--stage", stage, "--case", case, "--device", given.device]
        command += ["--out", str(given.out), "--scans", given.scans, "--data", given.data, *["--dry"] * given.dry]
        with self.file.with_suffix(".log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def at_work(self) -> bool:
        return self.process.poll() is None and not (self.timed and self.file.with_suffix(".ready").exists())

    def end(self, seconds: float) -> None:
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            print(f"{self.name}: ended before its time")
        if self.file.exists():
            print(self.file.read_text(), end="", flush=True)
        else:
            print(self.name, self.file.with_suffix(".log").read_text()[-2000:])


def drive(given: argparse.Namespace) -> int:
    """0 if all that ran is right."""
    begun, given.out = time.monotonic(), given.out or Path(tempfile.mkdtemp())
    given.out.mkdir(parents=True, exist_ok=True)
    started = []
    for name in given.only.split(",") if given.only else RUN:
        chosen = given.cases.split(",") if given.cases else CASES
        cases = (chosen[:1] if given.dry else chosen) if name == "steps" else [""]
        started += [Started(given, name, case) for case in cases]
    while any(one.at_work for one in started) and time.monotonic() - begun < 0.4 * given.limit:
        time.sleep(0.2)
    print(f"{time.monotonic() - begun:.0f} s: {len([one for one in started if one.at_work])} not ready")
    for one in started:
        if not one.timed:
            one.end(0.0)
    for one in started:
        if one.timed:
            left = given.limit - (time.monotonic() - begun)
            if not one.at_work and left > 0:
                one.file.with_suffix(".go").touch()
                one.end(left if given.dry or one.name == "desk" else min(left, 40.0))
            else:
                one.end(0.0)
    found = [json.loads(line) for path in sorted(given.out.glob("*.jsonl")) for line in path.read_text().splitlines()]
    logs = "\n".join(f"##### {path.stem}\n{path.read_text()[-8000:]}" for path in sorted(given.out.glob("*.log")))
    for path in [p for end in ("jsonl", "log", "ready", "go") for p in given.out.glob(f"*.{end}")]:
        path.unlink()
    (given.out / "logs.txt").write_text(logs)
    card = torch.cuda.get_device_name() if given.device.startswith("cuda") else "none"
    report = {"card": card, "torch": torch.__version__, "cuda": torch.version.cuda, "rows": found}
    (given.out / f"on_gpu_{card.replace(' ', '_')}.json").write_text(json.dumps(report, indent=1) + "\n")
    wrong = [row for row in found if row.get("error") or row.get("ok") is False or row.get("rc")]
    print(f"{time.monotonic() - begun:.0f} s: {len(found)} rows, {len(wrong)} of them wrong; {given.out}")
    return int(bool(wrong) or not found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dry", action="store_true", help="one small case a stage")
    parser.add_argument("--out", type=Path, help="folder for results and logs [default: a temporary one]")
    parser.add_argument("--limit", type=float, default=545.0, help="seconds in all")
    parser.add_argument("--only", default="", help="stages, with commas")
    parser.add_argument("--scans", default="", help="an .npz of scans of one bond type, for the time of BSCT")
    parser.add_argument("--data", default="", help="folder with the data set lips, to train on")
    parser.add_argument("--cases", default="", help="of steps, with commas [default: all]")
    parser.add_argument("--stage", choices=list(RUN), help=argparse.SUPPRESS)
    parser.add_argument("--case", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage is None:
        return drive(given)
    torch.set_num_threads(1)
    RUN[given.stage](Stage(given))
    return 0


if __name__ == "__main__":
    sys.exit(main())
