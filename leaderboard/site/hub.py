"""Exports for the Hugging Face Hub; the entry in this repository stays the source of truth.

The Hub keeps one value per task and no direction, so the value is the task's score times 100 (higher is better, 100 is
the noise floor) and ``notes`` hold the raw numbers with units and intervals. Tasks without a score are not exported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ffbench_eval.report import TaskReport
from ffbench_eval.words import clean, interval_text, metric_name, unit_name, value_text

from ..check.lock import SuiteLock
from ..entry.schema import Entry
from .data import main_metric
from .scoring import Score, card_for, score_task

BENCHMARK = "ffbench/ffbench"  # the data set repository with the benchmark's eval.yaml
SOURCE = "https://huggingface.co/datasets/ffbench/ffbench"
MAX_NOTES = 500


def task_id(suite: str, task: str) -> str:
    return f"{suite}_{task}"


def export(entry: Entry, lock: SuiteLock, out: Path, *, benchmark: str = BENCHMARK, source: str = SOURCE) -> list[Path]:
    """Write ``.eval_results/ffbench.yaml``, ``model-index.yaml`` (for the model card's header) and ``eval.yaml`` (for
    the benchmark's data set repository) into ``out``; returns the paths. No network."""
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml
    from huggingface_hub.repocard_data import eval_results_to_model_index

    scores = _scores(entry, lock)
    if not any(s.value is not None for s in scores.values()):
        raise ValueError(f"entry {entry.key}: no task has a score, there is nothing to export")
    results = eval_result_entries_to_yaml(_results(entry, scores, benchmark, source))
    index = eval_results_to_model_index(entry.report.model.name, _legacy(entry, lock, scores, source))
    written = {
        ".eval_results/ffbench.yaml": results,
        "model-index.yaml": {"model-index": _without_empty(index)},
        "eval.yaml": dataset_side(lock),
    }
    paths = []
    for name, content in written.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")
        paths.append(path)
    return paths


def dataset_side(lock: SuiteLock) -> dict[str, Any]:
    """``eval.yaml`` of the benchmark's repository: one task per task of the suite."""
    return {
        "name": "ffbench",
        "description": "Can this machine-learned force field be trusted in a simulation? Scores from 0 (a trivial "
        "baseline) to 100 (the noise floor of the truth).",
        "evaluation_framework": "ffbench",
        "tasks": [
            {
                "id": task_id(lock.suite, name),
                "config": f"{task.dataset.name}-{task.dataset.config}",
                "split": task.dataset.split,
            }
            for name, task in lock.tasks.items()
        ],
    }


def _scores(entry: Entry, lock: SuiteLock) -> dict[str, Score]:
    return {
        name: score_task(name, task, lock.tasks[name], card_for(entry.report, task.dataset.name, task.dataset.config))
        for name, task in entry.report.tasks.items()
        if name in lock.tasks
    }


def _results(entry: Entry, scores: dict[str, Score], benchmark: str, source: str):
    from huggingface_hub import EvalResultEntry

    return [
        EvalResultEntry(
            dataset_id=benchmark,
            task_id=task_id(entry.report.suite, name),
            value=round(100 * score.value, 2),
            date=entry.report.created,
            source_url=source,
            source_name=f"ffbench {entry.report.suite} {entry.report.suite_version}",
            notes=notes(entry, entry.report.tasks[name], score),
        )
        for name, score in scores.items()
        if score.value is not None
    ]


def notes(entry: Entry, task: TaskReport, score: Score) -> str:
    """Raw numbers, units and intervals of a task's main metrics, on one line."""
    parts = [f"score interval {100 * score.interval[0]:.1f} to {100 * score.interval[1]:.1f}"] if score.interval else []
    for name in main_metric(task):
        m = task.metrics.get(name)
        if m is not None and m.value is not None:
            unit = f" {unit_name(m.unit)}" if unit_name(m.unit) else ""
            parts.append(f"{metric_name(name)} {value_text(m)}{unit} ({interval_text(m)})")
    parts += [task.parameters.get("ensemble") or "", entry.report.model.dtype, entry.report.environment.device]
    if task.indicative:
        parts.insert(0, "indicative only")
    return clean("; ".join(p for p in parts if p))[:MAX_NOTES]


def _legacy(entry: Entry, lock: SuiteLock, scores: dict[str, Score], source: str):
    from huggingface_hub import EvalResult

    out = []
    for name, score in scores.items():
        task = entry.report.tasks[name]
        head: dict[str, Any] = {
            "task_type": "machine-learned-force-field",
            "task_name": "Machine-learned force field",  # the Hub groups by data set: the metric names the task
            "dataset_type": task.dataset.name,
            "dataset_name": task.dataset.name,
            "dataset_config": task.dataset.config,
            "dataset_split": task.dataset.split,
            "dataset_args": {"version": task.dataset.version},
            "source_url": source,
            "source_name": "ffbench",
        }
        if score.value is not None:
            kind = f"{task_id(lock.suite, name)}: score (0 to 1, higher is better)"
            out.append(EvalResult(**head, metric_type="score", metric_name=kind, metric_value=round(score.value, 4)))
        for key in main_metric(task):
            m = task.metrics.get(key)
            if m is not None and m.value is not None:
                unit = f" ({unit_name(m.unit)})" if unit_name(m.unit) else ""
                named = f"{task_id(lock.suite, name)}: {metric_name(key)}{unit}"
                out.append(EvalResult(**head, metric_type=key, metric_name=named, metric_value=float(f"{m.value:.6g}")))
    return out


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_empty(v) for k, v in value.items() if v is not None}
    return [_without_empty(v) for v in value] if isinstance(value, list) else value
