"""The page of a task: what it asks, a picture of its data, what it is held against, who did how, the literature."""

from __future__ import annotations

import importlib
from typing import Any

from ffbench_eval import words as wording
from ffbench_eval.kinds import kind_of
from ffbench_eval.report import TaskReport

from ..check.lock import TaskLock
from .cells import best_known, cell
from .data import SuiteBoard, main_metric, slots
from .figures import dot, small
from .front import checks
from .portraits import picture
from .scoring import headline, rank
from .told import place_words, short_state, state_meaning

REFERENCES, POINTS = 2, 80  # curves of the truth


def task_page(board: SuiteBoard, name: str, task: TaskLock) -> dict[str, Any]:
    """What the template needs."""
    reports = {r.entry.key: r.entry.report.tasks.get(name) for r in board.rows}
    example = next((t for t in reports.values() if t and t.metrics), None)
    kind = kind_of(task.kind)
    by_source = bool(kind.leads)
    known = task if example is None or (task.metrics and not by_source) else example
    metrics = slots(known) if by_source else main_metric(known)
    scored = [r for r in board.rows if r.scores[name].value is not None and not r.seen]
    places = rank({r.entry.key: {name: r.scores[name]} for r in scored}, {name: 1.0})
    lines: list[dict[str, Any]] = []
    for r in board.rows:
        score, report = r.scores[name], reports[r.entry.key]
        if report is None:
            continue
        here = places.get(r.entry.key)
        shown = None if score.value is not None or score.state == "different_theory" else checks(board, r, name)
        mine = slots(report) if by_source else metrics  # the source is each model's own
        found = [best_known(report, m) for m in mine]
        lines.append(
            {
                "value": score.value,
                "place": place_words(here) if here else "saw test data" if r.seen else short_state(score.state),
                "why": "" if here else state_meaning(score.state),
                "slug": r.slug,
                "name": r.name,
                "org": r.entry.org,
                "sort": "" if score.value is None else f"{score.value:.4f}",
                "score": f"{score.value:.2f}" if score.value is not None else shown.text if shown else "–",
                "drawn": "" if score.value is None else dot(score.value, score.interval, (0.0, 1.0)),
                "cells": [cell(m, note) for m, note in found],
                "first": next((m.value for m, _ in found if m is not None and m.value is not None), None),
                "source": headline(report).replace("_", " ") if by_source else "",
                "state": "" if score.state == "ok" else short_state(score.state),
            }
        )
    higher = next(
        (t.metrics[m].better == "higher" for t in reports.values() if t for m in metrics if m in t.metrics), False
    )
    sign = -1 if higher else 1
    lines.sort(
        key=lambda e: (
            e["value"] is None,
            -(e["value"] or 0.0),
            e["first"] is None,
            sign * (e["first"] or 0),
            e["name"],
        )
    )
    lead = f", {headline(known).replace('_', ' ')}" if by_source and isinstance(known, TaskReport) else ""
    heads = [f"{wording.metric_name(m).removesuffix(lead)} {_unit(m, task, example)}".strip() for m in metrics]
    anchors = [
        (
            wording.metric_name(k),
            wording.number(m.floor.median) if m.floor else "–",
            wording.number(m.floor.p95) if m.floor else "–",
            wording.number(m.trivial) if m.trivial is not None else "–",
            hit[0].nothing if (hit := kind.spec(k)) and m.trivial is not None else "",
        )
        for k, m in task.metrics.items()
        if not by_source and (m.floor or m.trivial is not None)
    ]
    used = picture(task.dataset.name, str(task.dataset.config))
    return {
        "board": board,
        "name": name,
        "task": task,
        "meaning": kind.about,
        "kind": kind,
        "settings": ", ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in task.parameters.items() if _said(v)),
        "heads": heads,
        "by_source": by_source,
        "lines": lines,
        "absent": len(board.rows) - len(lines),
        "anchors": anchors,
        "definitions": definitions(task.kind, list(metrics)),
        "picture": used.name if used.is_file() else "",
        "references": references([t for t in reports.values() if t]),
        **_data(task),
    }


def _data(task: TaskLock) -> dict[str, Any]:
    """What the card of the data says; nothing of a data set that no card is shipped of."""
    from ffbench_data.datacard import card, shipped_datasets

    if task.dataset.name not in shipped_datasets():
        return {"about_data": "", "tests": "", "citations": []}
    found = card(task.dataset.name)
    config = found.configs.get(str(task.dataset.config))
    return {
        "about_data": config.description if config and config.description else found.description,
        "tests": config.tests if config else "",
        "citations": found.citation,
    }


def definitions(kind: str, metrics: list[str]) -> list[tuple[str, str, str]]:
    """(label, function of `ffbench_metrics`, first sentence of its docstring) of metrics.

    >>> definitions("accuracy", ["force_mae"])[0][:2]
    ('force MAE', 'force_mae')
    """
    package = importlib.import_module("ffbench_metrics")
    out = {}
    for name in metrics:
        hit = kind_of(kind).spec(name)
        function = hit[0].defined_by if hit else ""
        text = (getattr(package, function, None).__doc__ or "") if function and hasattr(package, function) else ""
        if text:
            out[function] = (wording.metric_name(name), function, " ".join(text.split("\n\n")[0].split()))
    return list(out.values())


def references(reports: list[TaskReport]) -> list[tuple[str, Any]]:
    """Curves of the truth alone, as an entry holds them: (title, drawing)."""
    for task in reports:
        out: list[tuple[str, Any]] = []
        for name, curve in task.curves.items():
            if "reference" in curve.series and curve.kind == "line" and len(out) < REFERENCES:
                truth = curve.model_copy(update={"series": {"reference": curve.series["reference"]}})
                if drawn := small(truth, wording.curve_title(name), POINTS):
                    out.append((wording.curve_title(name), drawn))
        if out:
            return out
    return []


def _unit(name: str, task: TaskLock, example: TaskReport | None) -> str:
    source = task.metrics.get(name) or (example.metrics.get(name) if example else None)
    unit = wording.unit_name(source.unit) if source else ""
    return f"({unit})" if unit else ""


def _said(value: Any) -> bool:
    return value not in (None, "", [], {}, False)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in value.items() if _said(v)) + ")"
    if isinstance(value, list):
        return ", ".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
