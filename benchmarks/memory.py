"""Does the engine's memory stay flat? One million steps, frames saved and monitored, resident set along the way.

    OMP_NUM_THREADS=1 python benchmarks/memory.py            # about ten minutes

Two replicas of an argon-like cluster of 8 atoms, eager and compiled as the engine chooses, Nose-Hoover chain.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import psutil
import torch

from ffbench_data.contract import ForceField
from ffbench_eval.engine.protocol import Protocol, Start
from ffbench_eval.engine.run import simulate


def energy(batch):
    """Morse pairs: 0.05 eV deep at 3.8 Angstrom."""
    i = batch.edge_index[0]
    d = batch.edge_vectors().square().sum(-1).sqrt()
    pair = 0.025 * ((1 - torch.exp(-1.5 * (d - 3.8))) ** 2 - 1)
    return d.new_zeros(batch.n_systems).index_add(0, batch.system_index.index_select(0, i), pair)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "memory.json")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cube = 3.8 * np.stack(np.meshgrid(*[np.arange(2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    start = Start(
        np.stack([cube, cube]).astype(float), np.full(8, 18), np.full(8, 39.948), np.zeros((3, 3)), np.zeros(3, bool)
    )
    protocol = Protocol("nose_hoover", 30.0, 2.0, chosen.steps * 0.002, 1000.0)
    model = ForceField.from_energy(energy, 12.0, card={"name": "morse"})
    process, seen = psutil.Process(), []

    def sample(done: float) -> None:
        if not seen or done >= seen[-1][0] + 0.05:
            seen.append((done, process.memory_info().rss / 2**20))

    with tempfile.TemporaryDirectory() as folder:
        outcome = simulate(model, start, protocol, Path(folder), seed=0, progress=sample)
    first = next(mib for done, mib in seen if done >= 0.1)  # after the compiler has come and gone
    result = {
        "steps": chosen.steps,
        "mode": outcome.mode,
        "ended": [r or "ok" for r in outcome.reason],
        "resident_MiB": [[round(done, 3), round(mib, 1)] for done, mib in seen],
        "growth_MiB_from_10_percent_on": round(seen[-1][1] - first, 1),
    }
    chosen.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
