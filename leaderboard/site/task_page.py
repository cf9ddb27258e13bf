"""The page of a task: what it asks, a picture of its data, what it is held against, who did how, the literature."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from typing import Any

from ffbench_eval import words as wording
from ffbench_eval.kinds import Kind, kind_of
from ffbench_eval.page.answer import beyond_limits
from ffbench_eval.report import TaskReport

from ..check.lock import TaskLock
from .cells import best_known, cell
from .data import SuiteBoard, main_metric, slots
from .figures import dot, small
from .front import Cell, checks
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
                "holds": float(shown.sort) if shown and shown.sort else None,
                "fails": _failing(kind, report),
                "place": place_words(here)
                if here
                else "saw test data"
                if r.seen
                else _without_score(score.state, shown),
                "why": "" if here else state_meaning(score.state),
                "slug": r.slug,
                "name": r.name,
                "org": r.entry.org,
                "sort": f"{score.value:.4f}" if score.value is not None else shown.sort if shown else "",
                "score": f"{score.value:.2f}" if score.value is not None else shown.text if shown else "–",
                "drawn": "" if score.value is None else dot(score.value, score.interval, (0.0, 1.0)),
                "found": found,
                "first": next((m.value for m, _ in found if m is not None and m.value is not None), None),
                "source": headline(report).replace("_", " ") if by_source else "",
                "state": "" if score.state == "ok" else short_state(score.state),
            }
        )
    higher = next(
        (t.metrics[m].better == "higher" for t in reports.values() if t for m in metrics if m in t.metrics), False
    )
    sign = -1 if higher else 1
    milli = [wording.small(line["found"][k][0] for line in lines) for k in range(len(metrics))]
    for line in lines:
        line["cells"] = [
            cell(wording.in_small_units(m, always=True) if m and small_ones else m, note)
            for (m, note), small_ones in zip(line["found"], milli, strict=True)
        ]
    lines.sort(
        key=lambda e: (
            e["value"] is None,
            -(e["value"] or 0.0),
            e["holds"] is None,
            -(e["holds"] or 0.0),
            e["first"] is None,
            sign * (e["first"] or 0),
            e["name"],
        )
    )
    lead = f", {headline(known).replace('_', ' ')}" if by_source and isinstance(known, TaskReport) else ""
    heads = [
        f"{wording.metric_name(m).removesuffix(lead)} {_unit(m, task, example, small_ones)}".strip()
        for m, small_ones in zip(metrics, milli, strict=True)
    ]
    anchors = [
        (
            f"{wording.metric_name(k)} {_unit(k, task, example)}".strip(),
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
        "stated": any(m.floor and not m.floor.runs for m in task.metrics.values()),
        "limits": any(m.limit is not None for m in kind.metrics),
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
        "citations": _of_config(found.citation, str(task.dataset.config), found.configs),
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


def _without_score(state: str, shown: Cell | None) -> str:
    """Why there is no place: of a task of checks nothing has to be said, their count is the result."""
    return "checks hold" if shown and shown.sort and state == "not_scored" else short_state(state)


def _failing(kind: Kind, report: TaskReport) -> str:
    """The checks that a model fails, by name."""
    return listed([hit[0].label for k in beyond_limits(report) if (hit := kind.spec(k))])


def listed(labels: list[str], shared: int = 3) -> str:
    """Labels in a row; the words that one begins with like the one before, if so many, are not said again.

    >>> listed(["net force", "pairs pushed together that repel", "pairs pushed together whose force rises"])
    'net force, pairs pushed together that repel, whose force rises'
    """
    out: list[str] = []
    before: list[str] = []
    for label in labels:
        words = label.split()
        same = next((k for k, (a, b) in enumerate(zip(before, words)) if a != b), min(len(before), len(words)))
        out.append(" ".join(words[same:] if shared <= same < len(words) else words))
        before = words
    return ", ".join(out)


def _of_config(citations: list[str], config: str, configs: Iterable[str]) -> list[str]:
    """Without those that name other configs of the data set and not this one: a remark in brackets says whose they are.

    >>> _of_config(["A (aconf)", "B (all sets but s66x8)", "C (s66x8, energies)", "D"], "s66x8", ["aconf", "s66x8"])
    ['C (s66x8, energies)', 'D']
    """
    others = set(configs) - {config}
    out = []
    for text in citations:
        remark = text.rpartition("(")[2].lower()
        named = set(re.findall(r"[a-z0-9_]+", remark))
        left_out = config in named and " but " in remark
        if left_out or (named & others and config not in named and " but " not in remark):
            continue
        out.append(text)
    return out


def _unit(name: str, task: TaskLock, example: TaskReport | None, milli: bool = False) -> str:
    source = task.metrics.get(name) or (example.metrics.get(name) if example else None)
    unit = ("m" * milli + wording.unit_name(source.unit)) if source else ""
    return f"({unit})" if unit else ""


def _said(value: Any) -> bool:
    return value not in (None, "", [], {}, False)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{k.replace('_', ' ')} {_plain(v)}" for k, v in value.items() if _said(v)) + ")"
    if isinstance(value, list):
        return ", ".join(_plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
