"""What does each metric tell? Over the entries of the board: which models it tells apart, and what repeats it.

    python benchmarks/metric_study.py [--suite desk] [--entries leaderboard/entries]

Models of another level of theory than the data's are left out. For every metric that at least three models have:

- **told apart**: share of pairs of models whose values differ by more than both 95 % half-widths, added in quadrature;
- **repeats**: the metric of another kind of measurement (same data set, another task) with the largest Spearman
  correlation over the models that have both, at least six;
- **length**: for simulations, the length at which the half-width would equal half the median difference between two
  models, from the width here and its fall with the square root of the length. Censored times have none.

Writes benchmarks/results/metric_study.json and prints Markdown.
"""

import argparse
import itertools
import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ffbench_data.datacard import card as datacard
from ffbench_eval.report import Metric, Report, same_theory
from leaderboard.site.scoring import card_for

RESULTS = Path(__file__).parent / "results" / "metric_study.json"
FEWEST_MODELS, FEWEST_COMMON = 3, 6
SELECTIVE = ("augrc.test.probe", "auroc.test.probe", "spearman.test.probe", "realised_risk.test.probe", "probe_cost")


def on_its_theory(report: Report) -> Report:
    """The report without the tasks whose data have another level of theory than the model."""

    def fits(task) -> bool:
        theory = card_for(report, task.dataset.name, task.dataset.config).theory
        return not theory or same_theory(theory, datacard(task.dataset.name).theory)

    return report.model_copy(update={"tasks": {name: task for name, task in report.tasks.items() if fits(task)}})


def gather(reports: dict[str, Report]) -> dict[tuple[str, str], dict[str, Metric]]:
    """{(task, metric): {model: its metric}} of what has a value and a direction."""
    found: dict[tuple[str, str], dict[str, Metric]] = {}
    for model, report in reports.items():
        for name, task in report.tasks.items():
            for metric, m in task.metrics.items():
                wanted = metric in SELECTIVE if task.kind == "selective" else m.better != "neither"
                if wanted and m.value is not None and math.isfinite(m.value):
                    found.setdefault((name, metric), {})[model] = m
    return {key: models for key, models in found.items() if len(models) >= FEWEST_MODELS}


def told_apart(models: dict[str, Metric]) -> tuple[float, float] | None:
    """(share of the pairs that differ by more than their joint half-width, median ratio of half-width to difference).

    ``None`` unless two models have intervals.
    """
    known = [m for m in models.values() if m.interval is not None]
    ratios = []
    for a, b in itertools.combinations(known, 2):
        low, high = sorted((a, b), key=lambda m: m.value)
        # the halves that face each other
        width = math.hypot(low.interval[1] - low.value, high.value - high.interval[0])
        gap = high.value - low.value
        ratios.append(width / gap if gap > 0 else math.inf)
    return (float(np.mean(np.less(ratios, 1))), float(np.median(ratios))) if ratios else None


def repeats(key, found, dataset) -> tuple[str, float, int] | None:
    """(metric of another task on the same data set, Spearman, models) that says most nearly the same."""
    from scipy.stats import spearmanr

    best = None
    for other, models in found.items():
        if other[0] == key[0] or dataset[other[0]] != dataset[key[0]]:
            continue
        common = sorted(set(models) & set(found[key]))
        if len(common) < FEWEST_COMMON:
            continue
        x, y = ([found[k][m].value for m in common] for k in (key, other))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a constant column has no rank correlation
            rho = float(spearmanr(x, y).statistic)
        if math.isfinite(rho) and (best is None or abs(rho) > abs(best[1])):
            best = (".".join(other), rho, len(common))
    return best


def study(reports: dict[str, Report]) -> list[dict]:
    """One row per task and metric."""
    found = gather(reports)
    tasks = {name: task for report in reports.values() for name, task in report.tasks.items() if task.metrics}
    dataset = {name: task.dataset.name for name, task in tasks.items()}
    rows = []
    for (name, metric), models in found.items():
        values = [m.value for m in models.values()]
        row = {"task": name, "metric": metric, "models": len(models), "range": [min(values), max(values)]}
        row["unit"] = next(iter(models.values())).unit
        apart = told_apart(models)
        if apart:
            row["told_apart"], width = apart
            length = tasks[name].parameters.get("length_ps")
            if length and 0 < width < math.inf and metric not in ("stable_time", "stable_fraction"):
                row["length_ps"] = float(f"{length * (2 * width) ** 2:.2g}")
                row["length_here_ps"] = length
        again = repeats((name, metric), found, dataset)
        if again:
            row["repeats"] = dict(zip(("metric", "spearman", "models"), again))
        rows.append(row)
    return rows


def markdown(rows: list[dict]) -> str:
    lines = ["| task | metric | models | from | to | pairs told apart | repeats most | length needed |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for r in rows:
        again, unit = r.get("repeats"), "" if r["unit"] == "1" else f" {r['unit']}"
        lines.append(
            f"| {r['task']} | `{r['metric']}` | {r['models']} | {r['range'][0]:.3g} | {r['range'][1]:.3g}{unit} "
            f"| {'–' if 'told_apart' not in r else format(r['told_apart'], '.0%')} "
            f"| {'–' if not again else '`{metric}` {spearman:.2f}'.format(**again)} "
            f"| {'–' if 'length_ps' not in r else '{length_ps:g} ps (here {length_here_ps:g})'.format(**r)} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[dict]:
    from leaderboard.entry.schema import ENTRIES
    from leaderboard.site.data import load_entries

    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--suite", default="desk")
    cli.add_argument("--entries", type=Path, default=ENTRIES)
    cli.add_argument("--results", type=Path, default=RESULTS)
    args = cli.parse_args(arguments)
    reports = {e.key: on_its_theory(e.report) for e in load_entries(args.entries) if e.report.suite == args.suite}
    reports = {model: report for model, report in reports.items() if report.tasks}
    rows = study(reports)
    kept = json.loads(args.results.read_text()) if args.results.exists() else {}
    kept[args.suite] = {"models": sorted(reports), "metrics": rows}
    args.results.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(markdown(rows))
    return rows


if __name__ == "__main__":
    main()
