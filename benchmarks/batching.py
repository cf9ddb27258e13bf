"""How many atoms should a model be asked about in one call?

    python benchmarks/batching.py [--models painn@ethanol_gfn2 sevennet_0] [--device cuda]

Every model answers the same test frames of ethanol in calls of 128, 256, ... atoms; the sizes take turns, and a row is
the median over the rounds of each size's time over that of `ffbench_eval.models.batching.BATCH_ATOMS` in the same
round (CPU time of one thread on a CPU). Adds to benchmarks/results/batching.json and prints Markdown.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import reference_models
from ffbench_data import collate, load_frames
from ffbench_eval.models.batching import BATCH_ATOMS
from ffbench_eval.run.environment import processor

RESULTS = Path(__file__).parent / "results" / "batching.json"
MODELS = ("painn", "schnet", "deeppot_se", "gemnet_dt", "et", "dimenet", "nequip", "mace", "allegro", "botnet")
PUBLISHED = ("ani1x", "so3lr", "chgnet", "sevennet_0")
SIZES = {"cpu": (128, 256, 512, 1024, 2048), "cuda": (1024, 4096, 16384, 65536)}
ROUNDS = 5


def measure(model, device: str) -> dict[int, float]:
    """Time of each size over the time of the default size."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    frames = load_frames("ethanol_gfn2", split="test")
    atoms = int(frames.n_atoms[0])
    default = BATCH_ATOMS[device]
    rows = np.arange(SIZES[device][-1] // atoms) % len(frames)
    found: dict[int, list[float]] = {size: [] for size in SIZES[device]}
    for turn in range(ROUNDS + 1):
        for size in found:
            per_call = size // atoms
            begun = clock()
            for start in range(0, len(rows), per_call):
                batch = collate(frames, indices=rows[start : start + per_call]).to(device=device)
                model(batch).forces.detach().cpu()  # waits for the device
            if turn:  # the first round warms up
                found[size].append(clock() - begun)
    return {s: float(np.median(np.divide(times, found[default]))) for s, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=(*(f"{name}@ethanol_gfn2" for name in MODELS), *PUBLISHED))
    parser.add_argument("--device", choices=SIZES, default="cpu")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows = kept.setdefault(asked.device, {"models": {}})
    rows["processor"] = processor() if asked.device == "cpu" else torch.cuda.get_device_name()
    for name in asked.models:
        model = reference_models.load(name).to(asked.device)
        rows["models"][name.partition("@")[0]] = measure(model, asked.device)
        print(name, flush=True)
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"| atoms a call | {' | '.join(f'{s:,}' for s in SIZES[asked.device])} |")
    print(f"|---|{'---|' * len(SIZES[asked.device])}")
    for name, row in rows["models"].items():
        print(f"| `{name}` | {' | '.join(f'{v:.2f}' for v in row.values())} |")


if __name__ == "__main__":
    main()
