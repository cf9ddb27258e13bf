"""What a probe costs beside its model, and what it gains: two commands.

    OMP_NUM_THREADS=1 python benchmarks/selective.py cost
    OMP_NUM_THREADS=1 python benchmarks/selective.py study \\
        --model w16=w16.safetensors --model w32=w32.safetensors --model w64=w64.safetensors --model four=4.safetensors

``cost``: process time of PROBE's score over that of one evaluation (energy and forces) of the shipped PaiNNs, by batch
size; medians of ratios of neighbouring timings in one process, with quartiles.

``study``: runs a selective task for each model (a spec, a checkpoint, or ``reference_models:...``) and prints PROBE
against the spread of the ensemble and the plain baselines: accuracy, AUGRC, Spearman, risk promised and met, in and out
of distribution, and the share of PROBE's gain over chance that the size alone has. Give widths of one family and an
ensemble as separate models. Probes are trained anew; finished models are kept in ``--runs``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

RESULTS = Path(__file__).parent / "results" / "selective.json"
SYSTEMS = {"ethanol_gfn2": None, "alanine_dipeptide_obc": None, "water": "1k"}
SCORES = ("augrc", "auroc", "accuracy", "accuracy_at_coverage", "spearman", "ece", "realised_risk", "realised_coverage")


def cost(rounds: int) -> list[dict]:
    """One row per system and batch size: seconds of both and their ratio."""
    import reference_models
    from ffbench_data import collate, load_frames
    from ffbench_data.neighbors import with_edges
    from ffbench_eval.selective import Probe, ask, cases_of, label

    rows = []
    for dataset, config in SYSTEMS.items():
        model = reference_models.load(f"painn@{dataset}")
        frames = load_frames(dataset, config, "test")
        probe = Probe(max_epochs=1).fit(label(ask(model, frames, np.arange(20)), "force_quantile"))
        for size in (1, 8, 32):
            if size * int(frames.n_atoms[0]) > 2000:
                continue
            batch = with_edges(collate(frames, indices=np.arange(size)), model.cutoff)
            said = model(batch)
            models, probes = [], []
            for _ in range(rounds + 2):
                begun = time.process_time()
                said = model(batch)
                models.append(time.process_time() - begun)
                begun = time.process_time()
                probe.score(cases_of(batch, said))
                probes.append(time.process_time() - begun)
            ratio = np.array(probes[2:]) / np.array(models[2:])
            low, middle, high = np.quantile(ratio, [0.25, 0.5, 0.75])
            rows.append(
                {
                    "system": dataset,
                    "atoms": int(frames.n_atoms[0]),
                    "structures": size,
                    "model_ms": round(1000 * float(np.median(models[2:])), 3),
                    "probe_ms": round(1000 * float(np.median(probes[2:])), 3),
                    "ratio": round(float(middle), 4),
                    "quartiles": [round(float(low), 4), round(float(high), 4)],
                }
            )
            print("{system:24s} {structures:3d} x {atoms:3d} atoms: {model_ms:8.2f} ms, probe {probe_ms:7.2f} ms, "
                  "ratio {ratio:.3f}".format(**rows[-1]), flush=True)  # fmt: skip
    return rows


def study(models: dict[str, str], suite: str, task: str, runs: Path) -> dict:
    """{model: {rule: {domain: {source: {score: [value, low, high]}}}}}, and what each source took to fit."""
    from ffbench_eval import evaluate
    from ffbench_eval.selective import score_table

    out = {}
    for name, spec in models.items():
        spec = f"reference_models:{spec}" if spec.endswith(".safetensors") else spec
        evaluate(spec, suite, out=runs / name, tasks=[task], quiet=True)
        folder = next((runs / name / "units").glob(f"{task}-*[0-9a-f]"))
        about = json.loads((folder / "about.json").read_text())
        table = score_table(folder)
        out[name] = {
            "fit_s": {rule: facts.get("fit_s") for rule, facts in about["rules"].items()},
            "model_s": about["cost"] and about["cost"]["model_s"],
            "rules": {
                rule: {
                    domain: {
                        source: {score: _short(scores[score]) for score in SCORES} for source, scores in sources.items()
                    }
                    for domain, sources in domains.items()
                }
                for rule, domains in table.items()
            },
        }
        _show(name, out[name]["rules"])
    return out


def _short(scored) -> list[float | None]:
    """[value, low, high]."""
    return [None if v is None else round(v, 4) for v in (scored.value, *(scored.interval or (None, None)))]


def _show(name: str, rules: dict) -> None:
    for rule, domains in rules.items():
        for domain, sources in domains.items():
            print(f"\n{name}, {rule}, {domain}: " + ", ".join(SCORES))
            for source, scores in sources.items():
                numbers = ["   none" if (v := scores[s][0]) is None else f"{v:7.3f}" for s in SCORES]
                print(f"  {source:20s}", *numbers)
            gain = {s: 0.5 - (sources[s]["auroc"][0] or 0.5) for s in ("probe", "size_only") if s in sources}
            if gain.get("probe"):
                print(f"  of PROBE's gain over chance the size alone has {abs(gain['size_only'] / gain['probe']):.0%}")


def _compact(kept: dict) -> str:
    """JSON with the innermost lists and the scores of a source on one line."""
    text = json.dumps(kept, indent=1)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda m: " ".join(m.group().split()), text)
    return re.sub(r"\{[^{}]*\}", lambda m: " ".join(m.group().split()), text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("cost")
    one.add_argument("--rounds", type=int, default=20)
    one.add_argument("--out", type=Path, default=RESULTS)
    two = commands.add_parser("study")
    two.add_argument("--model", action="append", required=True, metavar="NAME=SPEC")
    two.add_argument("--suite", default="selective")
    two.add_argument("--task", default="ethanol_selective")
    two.add_argument("--runs", type=Path, default=Path("runs/selective-study"))
    two.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    kept["machine"] = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    if arguments.command == "cost":
        kept["cost"] = cost(arguments.rounds)
    else:
        models = dict(entry.split("=", 1) for entry in arguments.model)
        key = f"study of {arguments.task}"
        made = study(models, arguments.suite, arguments.task, arguments.runs)
        kept[key] = {**kept.get(key, {}), **made}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(_compact(kept) + "\n")


if __name__ == "__main__":
    main()
