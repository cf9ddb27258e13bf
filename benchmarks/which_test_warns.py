"""Which cheap test warns of what a simulation will do? One study over all rows of the board, from their entries.

    python benchmarks/which_test_warns.py

Spearman correlation over models of every cheap number with what the simulations of ethanol (suite ``mini``) gave,
with a percentile interval over models drawn with replacement, and the same where the force error is held fixed
(partial, on ranks), and how well each tells the models apart that lost trust before the end. Signs are turned so that
+ means: the worse the test, the worse the simulation. The rows are not independent (14 were trained here on one data
set, five are transformers), and there are many pairs: ``expected_by_chance`` of the intervals exclude 0 when nothing
is related. Writes results/which_test_warns.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.stats import mannwhitneyu, rankdata

HERE = Path(__file__).parent
ENTRIES = HERE.parent / "leaderboard" / "entries"
RESULTS = HERE / "results" / "which_test_warns.json"
OTHER_THEORY = ("ani1x", "so3lr", "ani1ccx", "chgnet", "sevennet_0", "sevennet_l3i5", "gfn1")
FEWEST = 8  # models
RESAMPLES = 1000

# name: (suite, task, metric, sign that makes large bad)
CHEAP = {
    "force MAE": ("mini", "ethanol_accuracy", "force_mae", 1),
    "force cosine": ("mini", "ethanol_accuracy", "force_cosine", -1),
    "net torque": ("mini", "ethanol_accuracy", "net_torque", 1),
    "FSD": ("mini", "ethanol_bond_scans", "fsd", 1),
    "scan force MAE": ("mini", "ethanol_bond_scans", "scan_force_mae", 1),
    "scan force MAE, compressed": ("mini", "ethanol_bond_scans", "scan_force_mae_compress", 1),
    "spurious extrema": ("mini", "ethanol_bond_scans", "spurious_extrema", 1),
    "sign flips": ("mini", "ethanol_bond_scans", "sign_flips", 1),
    "energy jump": ("mini", "ethanol_bond_scans", "energy_jump", 1),
    "conservativeness": ("mini", "ethanol_bond_scans", "conservativeness", 1),
    "Jacobian asymmetry": ("physicality", "ethanol_physicality", "jacobian_asymmetry", 1),
    "pairs that repel": ("physicality", "ethanol_physicality", "pair_repulsive", -1),
    "dimers that repel": ("physicality", "ethanol_physicality", "dimer_repulsive", -1),
}
OUTCOMES = {
    "trusted time": ("mini", "ethanol_md", "trusted_time", -1),
    "stable time": ("mini", "ethanol_md", "stable_time", -1),
    "force MAE on the trajectory": ("mini", "ethanol_md", "on_trajectory_force_mae", 1),
    "h(r) error": ("mini", "ethanol_md", "distance_histogram_error", 1),
    "energy drift": ("mini", "ethanol_nve", "energy_drift", 1),
}


def reports() -> dict[str, dict[str, dict]]:
    """{model: {suite: tasks of its report}} of models trained on the data's theory: of others both the test and the
    outcome would hold how far the theories are apart."""
    out: dict[str, dict[str, dict]] = {}
    for path in sorted(ENTRIES.glob("*/*/*.json")):
        entry = json.loads(path.read_text(encoding="utf-8"))
        if entry["model"] in OTHER_THEORY:
            continue
        out.setdefault(entry["model"], {})[entry["report"]["suite"]] = entry["report"]["tasks"]
    return out


def value(found: dict[str, dict], suite: str, task: str, metric: str, sign: int) -> float:
    """NaN where a model does not have it."""
    m = found.get(suite, {}).get(task, {}).get("metrics", {}).get(metric)
    if m is None or m["value"] is None:
        return float("nan")
    return sign * (abs(m["value"]) if metric == "energy_drift" else m["value"])


def augrc_gain(found: dict[str, dict]) -> float:
    """How little of the way from chance to the perfect order the headline source of `ethanol_selective` goes."""
    task = found.get("mini", {}).get("ethanol_selective")
    if not task or not task.get("headline"):
        return float("nan")
    m = {k: task["metrics"].get(f"augrc.test.{k}", {}).get("value") for k in (task["headline"], "random", "oracle")}
    if None in m.values():
        return float("nan")
    return -(m["random"] - m[task["headline"]]) / (m["random"] - m["oracle"])


def chemistry(found: dict[str, dict]) -> float:
    """Mean over the sets of log(error / that of no difference), of sets a model covers."""
    tasks = found.get("chemistry", {}).values()
    pairs = [(t["metrics"].get("relative_energy_mae"), t["metrics"].get("no_difference_mae")) for t in tasks]
    ratios = [np.log(a["value"] / b["value"]) for a, b in pairs if a and b and a["value"] and b["value"]]
    return float(np.mean(ratios)) if ratios else float("nan")


def rho(x: np.ndarray, y: np.ndarray, z: np.ndarray | None = None) -> np.ndarray:
    """Spearman of every row of [R, n]; with ``z`` the partial one. NaN where one of them does not vary."""
    ranks = [rankdata(v, axis=1) for v in (x, y) + (() if z is None else (z,))]
    ranks = [r - r.mean(1, keepdims=True) for r in ranks]

    def c(a, b):
        return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))

    with np.errstate(invalid="ignore", divide="ignore"):
        plain = c(ranks[0], ranks[1])
        if z is None:
            return plain
        a, b = c(ranks[0], ranks[2]), c(ranks[1], ranks[2])
        rest = (1 - a**2) * (1 - b**2)
        return np.where(rest > 1e-9, (plain - a * b) / np.sqrt(rest), np.nan)


def related(x: np.ndarray, y: np.ndarray, z: np.ndarray | None = None) -> dict:
    good = np.isfinite(x) & np.isfinite(y) & (True if z is None else np.isfinite(z))
    x, y, z = x[good], y[good], None if z is None else z[good]
    n = len(x)
    if n < FEWEST:
        return {"n": n, "rho": None, "why": f"fewer than {FEWEST} models"}
    if min(len(np.unique(x)), len(np.unique(y))) < FEWEST:
        return {"n": n, "rho": None, "why": f"fewer than {FEWEST} different values: it would rest on few models"}
    found = float(rho(x[None], y[None], None if z is None else z[None])[0])
    if not np.isfinite(found):
        return {"n": n, "rho": None, "why": "one of them is the same for all"}
    k = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    drawn = rho(x[k], y[k], None if z is None else z[k])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return {"n": n, "rho": round(found, 2), "interval": [round(float(low), 2), round(float(high), 2)]}


def tells(x: np.ndarray, lost: np.ndarray) -> dict:
    """AUROC of a test for the models that lost trust, and the p-value of Mann and Whitney (two-sided, exact without
    ties)."""
    good = np.isfinite(x)
    bad, fine = x[good & lost], x[good & ~lost]
    if min(len(bad), len(fine)) < 3:
        return {"n": int(good.sum()), "auroc": None, "why": "fewer than 3 models on one side"}
    found = mannwhitneyu(bad, fine)
    return {"n": int(good.sum()), "auroc": round(float(found.statistic / (len(bad) * len(fine))), 2),
            "p": round(float(found.pvalue), 3)}  # fmt: skip


def study() -> dict:
    found = reports()
    models = [m for m, f in found.items() if np.isfinite(value(f, *OUTCOMES["stable time"]))]

    def column(rule) -> np.ndarray:
        return np.array([rule(found[m]) for m in models])

    def of(spec):
        return lambda f: value(f, *spec)

    cheap = {name: column(of(spec)) for name, spec in CHEAP.items()}
    cheap |= {"uncertainty (AUGRC)": column(augrc_gain), "relative energies": column(chemistry)}
    outcomes = {name: column(of(spec)) for name, spec in OUTCOMES.items()}
    out: dict = {"models": models, "plain": {}, "partial to force MAE": {}}
    for outcome, y in outcomes.items():
        for name, x in cheap.items():
            out["plain"].setdefault(outcome, {})[name] = related(x, y)
            if name != "force MAE":
                out["partial to force MAE"].setdefault(outcome, {})[name] = related(x, y, cheap["force MAE"])
    lost = outcomes["trusted time"] > outcomes["trusted time"].min()
    out["lost trust early"] = [m for m, gone in zip(models, lost) if gone]
    out["tells who loses trust early"] = {name: tells(x, lost) for name, x in cheap.items()}
    for kind in ("plain", "partial to force MAE"):
        told = [r for rows in out[kind].values() for r in rows.values() if r["rho"] is not None]
        apart = sum(r["interval"][0] > 0 or r["interval"][1] < 0 for r in told)
        out[f"pairs, {kind}"] = {
            "tested": len(told),
            "exclude_0": apart,
            "expected_by_chance": round(0.05 * len(told), 1),
        }
    return out


if __name__ == "__main__":
    RESULTS.write_text(json.dumps(study(), indent=1) + "\n")
