"""A real entry (painn on mini 1.0.0) with the lock it was made under, and entries made from it."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ffbench_eval.cli import main

FIXED = ("stable_fraction", "stable_time", "spurious_extrema", "sign_flips", "conservativeness_of_reference")
FIXTURE = Path(__file__).parent / "fixture"


def command(*words) -> int:
    """The exit code of ``ffbench WORDS``."""
    with pytest.raises(SystemExit) as stop:
        main([str(w) for w in words])
    return stop.value.code


@cache
def _text() -> str:
    return gzip.decompress((FIXTURE / "entry.json.gz").read_bytes()).decode()


def real_entry(*, curves: bool = True) -> dict[str, Any]:
    entry = json.loads(_text())
    if not curves:
        for task in entry["report"]["tasks"].values():
            task["curves"] = {}
    return seal(entry)


def with_command(entry: dict[str, Any]) -> dict[str, Any]:
    """With the command that its report has."""
    from leaderboard.check.lock import load_lock
    from leaderboard.entry.schema import Entry
    from leaderboard.entry.submit import command_of

    report = Entry.model_validate(entry).report
    return entry | {"command": command_of(report, load_lock(report.suite, report.suite_version, FIXTURE))}


def seal(entry: dict[str, Any]) -> dict[str, Any]:
    """With hashes that fit: what a dishonest but competent submitter would do."""
    if isinstance(entry.get("report"), dict):
        entry["report"]["content_sha256"] = _hash(entry["report"])
    entry["content_sha256"] = _hash(entry)
    return entry


def _hash(plain: dict[str, Any]) -> str:
    rest = {k: v for k, v in plain.items() if k != "content_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def put(entry: Any, folder: Path, key: str = "ffbench__painn/1/mini") -> Path:
    path = folder / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(entry if isinstance(entry, str) else json.dumps(entry))
    return path


def varied(seed: int, *, suite_tasks: list[str] | None = None) -> dict[str, Any]:
    """Another model's entry: every sample times its own factor, aggregates worked out again."""
    import numpy as np

    from leaderboard.check.recompute import aggregate, expected_score
    from leaderboard.entry.schema import Entry

    entry = copy.deepcopy(real_entry())
    rng = np.random.default_rng(seed)
    entry["model"], entry["org"] = f"model-{seed:02d}", ("acme", "institute", "ffbench")[seed % 3]
    report = entry["report"]
    report["model"] |= {
        "name": f"model-{seed:02d}",
        "parameters": int(10 ** rng.uniform(4, 7)),
        "conservative": bool(seed % 4),
        "fingerprint": f"{seed:016x}",
    }
    entry["about"]["open_weights"] = bool(seed % 2)
    if suite_tasks is not None:
        report["tasks"] = {k: v for k, v in report["tasks"].items() if k in suite_tasks}
    types = json.loads((FIXTURE / "mini-1.0.0.json").read_text())["tasks"]["ethanol_bond_scans"]["bond_types"]
    quality = float(np.exp(rng.normal(0, 0.5)))
    for task in report["tasks"].values():
        most = max((len(m["values"]) for m in task["metrics"].values()), default=0)
        noise = np.exp(rng.normal(0, 0.2, most))  # of each replica or scan, shared by its metrics
        for name, metric in task["metrics"].items():
            if name in FIXED or metric["value"] is None:
                continue
            if name.startswith("fsd"):
                factor = quality
            elif name in ("force_cosine", "force_violation"):
                factor = 1 - 1e-3 * float(rng.random())
            else:
                factor = quality * float(np.exp(rng.normal(0, 0.1)))
            if name == "free_energy_error" or name.startswith("distance"):
                factor = min(factor, 1.4)
            fixed = name in ("force_cosine", "force_violation")
            spread = np.ones(most) if fixed else noise
            metric["values"] = [None if v is None else v * factor * s for v, s in zip(metric["values"], spread)]
        for name in [n for n in task["metrics"] if n.startswith("fsd_") and n[4:] in set(types)]:
            whole = task["metrics"]["fsd"]["values"]
            task["metrics"][name]["values"] = [v for v, t in zip(whole, types) if t == name[4:]]
        force = task["metrics"]
        if "force_rmse" in force and force["force_rmse"]["value"]:
            pairs = zip(force["force_mae"]["values"], force["force_rmse"]["values"])
            force["force_rmse"]["values"] = [max(square, 1.6 * mae**2) for mae, square in pairs]
    built = Entry.model_validate(entry)
    for task_name, task in built.report.tasks.items():
        for name, metric in task.metrics.items():
            known = [v for v in metric.values if v is not None]
            if not known:
                continue
            value, interval = aggregate(name, metric, known, task, None)
            raw = report["tasks"][task_name]["metrics"][name]
            raw |= {"value": value, "interval": interval, "score": expected_score(name, metric, value, task)}
    return seal(with_command(json.loads(json.dumps(entry))))
