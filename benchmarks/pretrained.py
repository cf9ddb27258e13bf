"""Published potentials on data near their own level of theory: MD17 and LiPS.

    python benchmarks/pretrained.py FOLDER [--models chgnet so3lr]

evaluates each on `pretrained.yaml` into ``FOLDER/<model>`` (finished units are kept) and adds the slope of its forces
against the reference's (1: as stiff; below: softened). Needs md17, lips and lips20 built, from slices at least. Writes
benchmarks/results/pretrained.json and prints Markdown.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ffbench_data.load import load_frames
from ffbench_eval import evaluate
from ffbench_eval.report import Report
from ffbench_eval.run.environment import processor

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "pretrained.json"
MODELS = ("ani1x", "so3lr", "chgnet", "sevennet_0")


def slope(report: Report, task: str, run: Path) -> float:
    """Least squares of the model's forces against the reference's, through zero."""
    used, top, bottom = report.tasks[task].dataset, 0.0, 0.0
    frames = load_frames(used.name, used.config, used.split)
    for unit in report.tasks[task].units:
        path = run / "units" / f"{task}-{unit.address[:12]}" / "predictions.npz"
        if path.exists():
            got = np.load(path)
            truth = np.concatenate([frames[int(r)].forces for r in got["rows"]])
            top, bottom = top + float((truth * got["forces"]).sum()), bottom + float((truth * truth).sum())
    return top / bottom


def row(report: Report, task: str, run: Path) -> dict | None:
    force = report.tasks[task].metrics.get("force_mae")
    if force is None or force.value is None:
        return None
    aligned = report.tasks[task].metrics["energy_mae_per_atom_aligned"]
    return {
        "force_mae": force.value,
        "interval": force.interval,
        "no_forces": force.trivial,
        "frames": force.n,
        "energy_mae_per_atom_aligned": aligned.value,
        "slope": slope(report, task, run),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="*", default=MODELS)
    asked = parser.parse_args()
    found: dict[str, dict[str, dict]] = {}
    titles = {}
    for model in asked.models:
        run = asked.folder / model
        report = evaluate(f"reference_models:{model}", str(HERE / "pretrained.yaml"), out=run)
        titles = {name: task.title for name, task in report.tasks.items()}
        rows = {name: row(report, name, run) for name in titles}
        found[model] = {name: one for name, one in rows.items() if one is not None}
    RESULTS.write_text(json.dumps({"processor": processor(), "models": found}, indent=1) + "\n")
    print(f"| force MAE (meV/Å), slope | {' | '.join(f'`{m}`' for m in found)} | no forces |")
    print(f"|---|{'---|' * (len(found) + 1)}")
    for name, title in titles.items():
        done = [rows.get(name) for rows in found.values()]
        cells = [f"{1000 * r['force_mae']:.0f}, {r['slope']:.2f}" if r else "–" for r in done]
        trivial = next((f"{1000 * r['no_forces']:.0f}" for r in done if r), "–")
        print(f"| {title} | {' | '.join(cells)} | {trivial} |")


if __name__ == "__main__":
    main()
