"""Does smoothness along bonds foretell stable dynamics? FSD against MD stability and NVE drift over many models.

    python benchmarks/smoothness_study.py runs/*/ [--models reference_models:painn@ethanol_gfn2 reference_models:zero]

reads reports (run folders or report.json) that hold, for one data set, a bond-scan task and molecular dynamics with
the same model; `--models` first evaluates these on the tasks of `--suite` that speak of the data set. Per data set:
Spearman's rank correlation of FSD (and, as the rival, of the force MAE) with the stable time, the trusted time and the
NVE drift, with bootstrap intervals over models; the correlation of FSD at equal force MAE; and the calibration table,
what synthetic models score on the same scans. Writes benchmarks/results/smoothness_study.json and prints Markdown.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ffbench_eval.report import Report, TaskReport

RESULTS = Path(__file__).parent / "results" / "smoothness_study.json"
FEWEST = 8  # models, below which no interval is given
PREDICTORS = ("fsd", "fsd_stretch", "scan_force_mae", "force_mae", "spurious_extrema")
OUTCOMES = {"stable_time": "higher", "stable_fraction": "higher", "trusted_time": "higher", "energy_drift": "lower"}
RESAMPLES = 5000


def rows(reports: list[Report]) -> dict[str, list[dict]]:
    """{data set: one row per model with everything that was measured on it}."""
    found: dict[str, dict[str, dict]] = {}
    for report in reports:
        for task in report.tasks.values():
            name = task.dataset.name
            card = report.models.get(name) or report.model
            label = card.name if not card.version else f"{card.name} {card.version}"
            key = card.fingerprint or label
            row = found.setdefault(name, {}).setdefault(key, {"model": label})
            row.update(values(task))
    return {
        name: list(models.values()) for name, models in found.items() if any("fsd" in row for row in models.values())
    }


def values(task: TaskReport) -> dict[str, float]:
    """What a task says that the study uses. A drift counts only where a run was long enough to have one."""
    wanted = {
        "bsct": ("fsd", "fsd_stretch", "scan_force_mae", "spurious_extrema"),
        "accuracy": ("force_mae",),
        "molecular_dynamics": ("energy_drift",) if task.parameters.get("ensemble") == "nve" else
        ("stable_time", "stable_fraction", "trusted_time"),
    }.get(task.kind, ())  # fmt: skip
    return {k: task.metrics[k].value for k in wanted if k in task.metrics and task.metrics[k].value is not None}


def spearman(x, y) -> float | None:
    """Rank correlation; ``None`` where one side is constant."""
    from scipy.stats import spearmanr

    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(spearmanr(x, y).statistic)


def partial(x, y, given) -> float | None:
    """Rank correlation of x and y at equal ``given``."""
    a, b, c = spearman(x, y), spearman(x, given), spearman(y, given)
    if a is None or b is None or c is None or max(abs(b), abs(c)) >= 1:
        return None
    return float((a - b * c) / np.sqrt((1 - b**2) * (1 - c**2)))


def with_interval(statistic, *columns) -> dict:
    """A statistic over models, and its 95 % bootstrap interval over models."""
    columns = [np.asarray(c, float) for c in columns]
    n = len(columns[0])
    value = statistic(*columns)
    out: dict = {"n_models": n, "value": value, "interval": None}
    if value is None:
        out["why"] = "fewer than three models, or one side is the same for all"
    elif n < FEWEST:
        out["why"] = f"{n} models, at least {FEWEST} are needed for an interval"
    else:
        rng = np.random.default_rng(0)
        drawn = [statistic(*(c[k] for c in columns)) for k in rng.integers(n, size=(RESAMPLES, n))]
        known = [v for v in drawn if v is not None]
        out["interval"] = [float(q) for q in np.quantile(known, [0.025, 0.975])]
    return out


def correlations(models: list[dict]) -> dict[str, dict]:
    """{outcome: {predictor: correlation}}. Positive: what is worse in the predictor is worse in the outcome."""
    out: dict[str, dict] = {}
    for outcome, better in OUTCOMES.items():
        sign = -1 if better == "higher" else 1
        for predictor in PREDICTORS:
            both = [r for r in models if outcome in r and predictor in r]
            if both:
                x, y = [r[predictor] for r in both], [sign * r[outcome] for r in both]
                out.setdefault(outcome, {})[predictor] = with_interval(spearman, x, y)
        all_three = [r for r in models if outcome in r and "fsd" in r and "force_mae" in r]
        if all_three:
            columns = [[r["fsd"] for r in all_three], [sign * r[outcome] for r in all_three]]
            columns.append([r["force_mae"] for r in all_three])
            out.setdefault(outcome, {})["fsd at equal force_mae"] = with_interval(partial, *columns)
    return out


def calibration(dataset: str) -> dict[str, dict[str, float]]:
    """FSD and force MAE of synthetic models on a data set's scans, made from the reference forces."""
    from ffbench_data import load_frames
    from ffbench_eval.kinds.bsct.scans import find_scans
    from ffbench_metrics import force_smoothness_deviation

    config = "all" if dataset == "bsct_spice" else "bond_scans"
    scans = list(find_scans(load_frames(dataset, config, "test")).values())
    rng = np.random.default_rng(0)
    step = np.where(np.arange(100) >= 66, 1.5, 1.0)[:, None, None]
    changes = {"perfect": lambda f: f, "F = 0": lambda f: 0 * f}
    changes |= {
        f"noise {s:g} eV/Å": lambda f, s=s: f + s * rng.normal(size=f.shape) for s in (0.01, 0.03, 0.1, 0.3, 1.0)
    }
    changes |= {f"F x {s:g}": lambda f, s=s: s * f for s in (0.5, 0.9, 1.1, 2.0)}
    changes |= {f"offset {s:g} eV/Å": lambda f, s=s: f + s for s in (0.03, 0.1, 0.3, 1.0)}
    changes["+50 % from 2/3 of the scan on"] = lambda f: f * step
    table = {}
    for name, change in changes.items():
        fsd, mae = [], []
        for s in scans:
            model = change(np.nan_to_num(s.forces))
            fsd.append(force_smoothness_deviation(s.bond_length, model, s.forces, s.energy).full)
            mae.append(np.abs(model - s.forces)[s.labelled].mean())
        table[name] = {"fsd_per_A": round(float(np.mean(fsd)), 3), "force_mae_eV_per_A": round(float(np.mean(mae)), 4)}
    return table


def evaluate_models(specs: list[str], suite: str, dataset: str, out: Path) -> list[Path]:
    """Run the tasks of ``suite`` that use ``dataset`` (but not its speed) with each model."""
    from ffbench_eval import evaluate, load_suite

    tasks = [t.name for t in load_suite(suite).tasks if t.dataset == dataset and not t.kind.timed]
    done = []
    for spec in specs:
        folder = out / "".join(c if c.isalnum() or c in "-_." else "-" for c in spec)
        evaluate(spec, suite, out=folder, tasks=tasks, quiet=True)
        print(f"{spec}: {folder}", file=sys.stderr)
        done.append(folder)
    return done


def markdown(record: dict) -> str:
    lines = []
    for dataset, part in record["datasets"].items():
        lines += [f"### {dataset}, {len(part['models'])} models", ""]
        keys = [k for k in (*PREDICTORS, *OUTCOMES) if any(k in r for r in part["models"])]
        lines += [f"| model | {' | '.join(keys)} |", f"|---|{'---|' * len(keys)}"]
        for row in sorted(part["models"], key=lambda r: r.get("fsd", np.inf)):
            lines.append(f"| {row['model']} | {' | '.join(f'{row[k]:.3g}' if k in row else '–' for k in keys)} |")
        lines += ["", "| outcome | predictor | Spearman | 95 % interval | models |", "|---|---|---|---|---|"]
        for outcome, found in part["spearman"].items():
            for predictor, c in found.items():
                value = "–" if c["value"] is None else f"{c['value']:.2f}"
                interval = c.get("why") or f"{c['interval'][0]:.2f} to {c['interval'][1]:.2f}"
                lines.append(f"| {outcome} | {predictor} | {value} | {interval} | {c['n_models']} |")
        lines.append("")
    for dataset, table in record["calibration"].items():
        lines += [f"### Calibration on the scans of {dataset}", "", "| forces | FSD (1/Å) | force MAE (eV/Å) |"]
        lines.append("|---|---|---|")
        lines += [f"| {n} | {v['fsd_per_A']:.1f} | {v['force_mae_eV_per_A']:.3g} |" for n, v in table.items()]
        lines.append("")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> dict:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("reports", nargs="*", type=Path, help="run folders or report.json")
    cli.add_argument("--models", nargs="*", default=[], help="evaluate these first")
    cli.add_argument("--suite", default="desk")
    cli.add_argument("--dataset", default="ethanol_gfn2")
    cli.add_argument("--out", type=Path, default=Path("runs/smoothness_study"), help="where --models put their runs")
    cli.add_argument("--calibrate", nargs="*", default=["ethanol_gfn2"], help="data sets with bond scans")
    cli.add_argument("--results", type=Path, default=RESULTS)
    args = cli.parse_args(arguments)
    folders = [*args.reports, *evaluate_models(args.models, args.suite, args.dataset, args.out)]
    reports = [Report.load(path) for path in folders]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # resamples of few models may be constant
        datasets = {
            name: {"models": models, "spearman": correlations(models)} for name, models in rows(reports).items()
        }
    record = {"datasets": datasets, "calibration": {name: calibration(name) for name in args.calibrate}}
    args.results.parent.mkdir(parents=True, exist_ok=True)
    args.results.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(markdown(record))
    return record


if __name__ == "__main__":
    main()
