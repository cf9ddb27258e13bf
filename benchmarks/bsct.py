"""Cost of the bond scans over the model's own time, against one structure at a time, and of all 485 scans.

python benchmarks/bsct.py [--rounds 3] [--full schnet] [--data FOLDER] writes benchmarks/results/bsct.json.

One thread, CPU seconds of this process; the ways are interleaved and the ratio of each round is taken, so that other
load on the machine hits both sides. `ours`: units of the task from frames to numbers (packing, edges, model, scores,
files). `raw`: the model on the same frames in ready-made batches with ready-made edges. `published`: the public
implementation's way, on every 20th frame: each frame is a file, read twice, and an ASE calculator of the same model
with ASE's neighbour list is asked. `single`: the same model called with one structure, nothing else. Models are
untrained: the cost does not depend on the weights.
"""

import argparse
import functools
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from ase.calculators.calculator import Calculator, all_changes  # noqa: E402
from ase.io import read, write  # noqa: E402
from ase.neighborlist import neighbor_list  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ffbench_data import collate, load_frames  # noqa: E402
from ffbench_data.contract import AtomsBatch  # noqa: E402
from ffbench_eval.kinds import KINDS  # noqa: E402
from ffbench_eval.kinds.bsct import work as bsct  # noqa: E402
from ffbench_eval.kinds.bsct.predict import batch_of, pack  # noqa: E402
from ffbench_eval.kinds.bsct.scans import find_scans  # noqa: E402
from ffbench_eval.models.batching import BATCH_ATOMS  # noqa: E402
from ffbench_eval.run.data import TaskData  # noqa: E402
from ffbench_eval.run.units import Result  # noqa: E402
from ffbench_eval.suite import Task  # noqa: E402
from reference_models import build  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "bsct.json"


class AseCalculator(Calculator):
    """The model as packages offer theirs: ASE's neighbour list, one structure."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(self, model):
        super().__init__()
        self.model = model

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        i, j = neighbor_list("ij", atoms, self.model.cutoff)
        batch = AtomsBatch(
            positions=torch.from_numpy(atoms.positions),
            atomic_numbers=torch.from_numpy(atoms.numbers.astype(np.int64)),
            system_index=torch.zeros(len(atoms), dtype=torch.long),
            cell=torch.zeros(1, 3, 3),
            pbc=torch.zeros(1, 3, dtype=torch.bool),
            edge_index=torch.from_numpy(np.stack([i, j]).astype(np.int64)),
        )
        out = self.model(batch)
        self.results = {"energy": float(out.energy[0]), "forces": out.forces.double().numpy()}


def seconds(work) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def task(fine_scans: int) -> Task:
    return Task("scans", KINDS["bsct"], "1", "", "bsct_spice", "all", bsct.Parameters(fine_scans=fine_scans))


def ours(model, data, fine_scans=0) -> dict:
    """All units of the data, scored; returns the metrics."""
    row = task(fine_scans)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for k, inputs in enumerate(bsct.plan(row, data, 0)):
            path = Path(folder) / str(k)
            path.mkdir()
            out = bsct.run_unit(row, inputs, data, model, path, lambda _: None)
            results.append(Result(path, out["status"], out["detail"], 0.0, out["force_calls"], {}))
        return bsct.score(row, results, data)[0]


def part_of(frames, every: int) -> TaskData:
    """Every ``every``-th scan."""
    names = list(find_scans(frames))[::every]
    rows = np.concatenate([find_scans(frames)[name].rows for name in names])
    return TaskData(frames[rows], None, None)


def compare(model, data, rounds: int) -> dict:
    scans = list(find_scans(data.frames).values())
    sets = [(s.numbers, s.positions) for s in scans]
    batches = [
        batch_of([(sets[s][0], sets[s][1][a:b]) for s, a, b in pieces], model.cutoff).to(dtype=model.dtype)
        for pieces in pack([x.shape for _, x in sets], BATCH_ATOMS["cpu"])
    ]
    single = np.arange(0, len(data.frames), 20)

    def raw():
        for batch in batches:
            model.fn(batch)

    def one():
        for row in single:
            model(collate(data.frames, indices=[row]))

    folder = tempfile.TemporaryDirectory()
    files = [Path(folder.name) / f"{row}.xyz" for row in single]
    for row, path in zip(single, files):
        write(path, data.frames[int(row)].to_ase(), format="extxyz")
    calculator = AseCalculator(model)

    def published():
        for path in files:
            atoms = read(path)
            atoms.calc = calculator
            atoms.get_potential_energy(), atoms.get_forces()
            read(path).get_forces()

    raw(), one(), published()
    found = []
    for _ in range(rounds):
        t = {"ours": seconds(lambda: ours(model, data)), "raw": seconds(raw)}
        for name, way in (("single", one), ("published", published)):
            t[name] = seconds(way) * len(data.frames) / len(single)
        found.append(t)
        print({k: round(v, 2) for k, v in t.items()}, flush=True)
    ratio = {
        "ours_over_raw": [t["ours"] / t["raw"] for t in found],
        "published_over_ours": [t["published"] / t["ours"] for t in found],
        "single_over_ours": [t["single"] / t["ours"] for t in found],
    }
    return {
        "frames": len(data.frames),
        "rounds_cpu_s": [{k: round(v, 3) for k, v in t.items()} for t in found],
        **{k: {"median": round(float(np.median(v)), 3), "least": round(min(v), 3)} for k, v in ratio.items()},
    }


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("--rounds", type=int, default=3)
    cli.add_argument("--models", nargs="*", default=["schnet", "painn"])
    cli.add_argument("--full", nargs="*", default=["schnet"], help="models to run on all 485 scans")
    cli.add_argument("--every", type=int, default=20, help="part of the scans for the ratios")
    args = cli.parse_args()
    torch.set_num_threads(1)
    frames = load_frames("bsct_spice", "all", "test")
    elements = sorted(set(frames.atomic_numbers.tolist()))
    record = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"ratios": {}, "full": {}}
    record["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": 1,
        "load_average": [round(v, 1) for v in os.getloadavg()],
        "torch": torch.__version__,
    }
    part = part_of(frames, args.every)
    for name in args.models:
        record["ratios"][name] = compare(build(name, elements=elements), part, args.rounds)
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    everything = TaskData(frames, None, None)
    find_scans(frames)
    for name in args.full:
        model = build(name, elements=elements)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.perf_counter()
        spent = seconds(functools.partial(ours, model, everything))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        record["full"][name] = {
            "scans": 485,
            "cpu_s": round(spent, 1),
            "wall_s": round(time.perf_counter() - begun, 1),
            "load_average": [round(v, 1) for v in os.getloadavg()],
            "peak_memory_MiB": round(peak / 1024),
            "of_it_before_the_run_MiB": round(before / 1024),
        }
        print(name, record["full"][name], flush=True)
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
