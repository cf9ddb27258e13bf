"""Do longer fits change what the board says? The same fits with other budgets, side by side.

    python -m reference_models.train_all TEN
    python -m reference_models.train_all TWENTY --minutes 20
    python benchmarks/budget.py TEN TWENTY

evaluates every fit on ethanol that is finished in all of the folders on suite mini's test frames and bond scans (into
``<folder>/scored``, finished units are kept), writes benchmarks/results/budget.json and prints Markdown.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ffbench_eval import evaluate
from ffbench_eval.run.environment import processor

RESULTS = Path(__file__).parent / "results" / "budget.json"
METRICS = {"ethanol_accuracy": ("force_mae", "energy_mae"), "ethanol_bond_scans": ("fsd",)}


def measure(folder: Path, name: str) -> dict:
    """What the fit took and what its checkpoint scores."""
    done = json.loads((folder / name / "done.json").read_text())
    best = folder / name / "best.safetensors"
    report = evaluate(f"reference_models:{best}", "mini", out=folder / "scored" / name, tasks=list(METRICS), quiet=True)
    scores = {m: report.tasks[task].metrics[m] for task, metrics in METRICS.items() for m in metrics}
    return {
        "minutes": done["fit"]["recipe"]["minutes"],
        "steps": done["steps"],
        **{m: {"value": score.value, "interval": score.interval} for m, score in scores.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    folders = parser.parse_args().folders
    finished = [{p.parent.name for p in f.glob("*@ethanol_gfn2/done.json")} for f in folders]
    names = sorted(set.intersection(*finished))
    if not names:
        parser.error(f"no fit on ethanol_gfn2 is finished in all of {', '.join(map(str, folders))}")
    rows = {name: [measure(folder, name) for folder in folders] for name in names}
    rows = dict(sorted(rows.items(), key=lambda row: row[1][-1]["force_mae"]["value"]))
    RESULTS.write_text(json.dumps({"processor": processor(), "fits": rows}, indent=1) + "\n")
    budgets = " → ".join(f"{b['minutes']:g}" for b in next(iter(rows.values())))
    print(f"| {budgets} minutes | steps | force MAE (meV/Å) | energy MAE (meV) | FSD (1/Å) |\n|---|---|---|---|---|")
    for name, budget in rows.items():
        cells = [
            " → ".join(f"{b['steps']:,}" for b in budget),
            " → ".join(f"{1000 * b['force_mae']['value']:.1f}" for b in budget),
            " → ".join(f"{1000 * b['energy_mae']['value']:.1f}" for b in budget),
            " → ".join(f"{b['fsd']['value']:.1f}" for b in budget),
        ]
        print(f"| `{name}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
