"""``ffbench leaderboard build``: entries to a static site. Everything is drawn here; the pages need no server."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffbench_eval import words as wording
from ffbench_eval.kinds import find_metric
from ffbench_eval.page.templating import environment, typeset
from ffbench_eval.page.verdict import stated_theory, verdict
from ffbench_eval.report import Metric, TaskReport

from ..check.lock import SUITES
from ..check.recompute import not_recomputed
from ..entry.schema import ENTRIES, ROOM, Entry
from ..entry.trust import CHECKS, own_records
from .cells import cell
from .data import Row, SuiteBoard, load_board, load_entries, shown_metrics
from .figures import dot, small
from .front import front, headings, key_of, unscored
from .key_figures import key_figures
from .links import links
from .literature import load_literature
from .portraits import PICTURES
from .scoring import card_for, same_theory
from .sensitivity import Variant, variants
from .tables import write_tables
from .task_page import task_page
from .told import STATES, ordinal, pair_words, place_words, short_state, state_meaning

TEMPLATES = ROOM / "site" / "templates"
CURVES = 6  # per entry
PER_TASK = 3
STORIES = 5
DAGGER = "†"
TRUST = {
    "self-reported": "checked for consistency; the numbers are the submitter's own",
    "recomputed": "the board worked the metrics out again from archived predictions or trajectories",
    "reproduced": "the board ran a random sample of units again with the named model",
}


def build(
    out: Path,
    *,
    entries: Path = ENTRIES,
    suites: Path = SUITES,
    checks: Path = CHECKS,
    weights: dict[str, Any] | None = None,
    built: str = "",
    aside: dict[str, str] | None = None,
) -> Site:
    """Write the site into ``out`` (replaced if it is an old site).

    An entry that cannot be drawn, or that ``aside`` names with a reason, has a page that says so and is on no other.
    """
    if out.exists() and any(out.iterdir()) and not (out / "style.css").exists():
        raise ValueError(f"out: {out} is not empty and not a site; choose another folder")
    aside = dict(aside or {})
    loaded = load_entries(entries, aside)
    loaded = _drawable(loaded, aside, suites, checks, weights)
    given: dict[str, Any] = {"suites": suites, "checks": checks, "weights": weights}
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        made = Path(folder) / "site"
        try:
            _draw(made, loaded, aside, built, **given)
        except Exception as error:
            loaded = _without_culprit(loaded, error, aside, Path(folder) / "trial", **given)
            shutil.rmtree(made)
            _draw(made, loaded, aside, built, **given)
        if out.exists():
            shutil.rmtree(out)
        shutil.move(made, out)
    return Site(out / "index.html", aside)


def _draw(
    out: Path,
    loaded: list[Entry],
    aside: dict[str, str],
    built: str,
    *,
    suites: Path,
    checks: Path,
    weights: dict[str, Any] | None,
) -> None:
    """Write every page into the new folder ``out``."""
    boards = load_board(loaded, suites=suites, checks=checks, weights=weights)
    for folder in (out, out / "models", out / "tasks", out / "suites", out / "pictures"):
        folder.mkdir(parents=True)
    for name in ("style.css", "site.js"):
        shutil.copyfile(TEMPLATES / name, out / name)
    write_tables(out, boards)
    shared = {"boards": boards, "entries": len(loaded), "built": built, "aside": aside}
    _page(out, "index.html", shared, tables=front(boards), apart=_apart)
    for board in boards:
        _page(out, f"suites/{key_of(board)}.html", shared, "suite.html", **_suite(board))
    _page(out, "compare.html", shared, groups={key_of(b): _compare(b) for b in boards})
    groups, missing = key_figures(boards)
    _page(out, "plots.html", shared, groups=groups, missing=missing)
    _page(out, "literature.html", shared, tables=load_literature())
    _page(out, "about.html", shared, states=STATES)
    for slug, rows in _models(boards).items():
        _page(out, f"models/{slug}.html", shared, "model.html", **_model(rows, checks))
    for board in boards:
        for name, task in board.lock.tasks.items():
            found = task_page(board, name, task)
            _page(out, f"tasks/{key_of(board)}__{name}.html", shared, "task.html", **found)
            if found["picture"]:
                shutil.copyfile(PICTURES / found["picture"], out / "pictures" / found["picture"])
    _page(out, "aside.html", shared)


def _without_culprit(
    loaded: list[Entry], error: Exception, aside: dict[str, str], trial: Path, **given: Any
) -> list[Entry]:
    """The entries without the one beside which others cannot be drawn, the newest of those that could be meant.

    The error again if leaving out any one of them does not help.
    """
    for entry in sorted(loaded, key=lambda e: e.report.created, reverse=True):
        rest = [e for e in loaded if e is not entry]
        shutil.rmtree(trial, ignore_errors=True)
        try:
            _draw(trial, rest, aside, "", **given)
        except Exception:
            continue
        aside[entry.key] = f"cannot be drawn beside the others: {type(error).__name__}: {str(error)[:300]}"
        return rest
    raise error


@dataclass(frozen=True)
class Site:
    """The index page, and the entries that are not on the site: {key: why}."""

    index: Path
    aside: dict[str, str]


def _drawable(entries: list[Entry], aside: dict[str, str], suites: Path, checks: Path, weights: Any) -> list[Entry]:
    """The entries that can be scored and drawn alone; the others go to ``aside``: one never stops the site."""
    kept = []
    for entry in entries:
        try:
            boards = load_board([entry], suites=suites, checks=checks, weights=weights)
            key_figures(boards)
            with tempfile.TemporaryDirectory() as folder:
                write_tables(Path(folder), boards)
            front(boards)
            for board in boards:
                _suite(board)
                _model([(board, row) for row in board.rows], checks)
                _compare(board)
                for name, task in board.lock.tasks.items():
                    task_page(board, name, task)
            kept.append(entry)
        except Exception as error:
            aside[entry.key] = f"cannot be drawn: {type(error).__name__}: {str(error)[:300]}"
    return kept


def _page(out: Path, file: str, shared: dict[str, Any], template: str = "", **more: Any) -> None:
    template = template or file
    text = (
        environment(TEMPLATES)
        .get_template(f"{template}.j2")
        .render(
            **shared,
            **more,
            root="../" if "/" in file else "",
            here=file.removesuffix(".html"),
            trust_meaning=TRUST,
            state_meaning=state_meaning,
            short_state=short_state,
            place_words=place_words,
            ordinal=ordinal,
            key_of=key_of,
            dot=dot,
            thousands=_thousands,
            rough=rough,
            published=_published,
            hardware=_hardware,
        )
    )
    (out / file).write_text(text, encoding="utf-8")


def _suite(board: SuiteBoard) -> dict[str, Any]:
    """What the page of a suite shows: models under headings, then those without a rank."""
    groups = headings(board)
    rest = [row for row in board.rows if row.rank is None]
    if rest:
        groups = [*groups, ("without a rank" if groups else "", rest)]
    counted = sum(w > 0 for w in board.weights.values())
    return {
        "b": board,
        "groups": groups,
        "counted": counted,
        "many": len(board.lock.tasks) > MANY,
        "weighed": _weighed(board),
        "any": _any_theory(board),
        "whole": {r.slug: c for r in board.rows if r.rank is None and (c := unscored(board, r))},
        "said": {
            (r.slug, name): c.text
            for r in board.rows
            for name in board.lock.tasks
            if r.scores[name].value is None
            and r.scores[name].state != "different_theory"
            and (c := unscored(board, r, name))
        },
        "marks": {s: MARKS[s] for r in board.rows for score in r.scores.values() if (s := _bare(score.state)) in MARKS},
    }


MANY = 12  # tasks: more have upright heads, and marks instead of words
MARKS = {"not_run": "n", "different_theory": "t", "unsupported": "c", "not_scored": "a", "unstable": "u",
         "out_of_memory": "m", "model_error": "e", "harness_error": "h"}  # fmt: skip


def _bare(state: str) -> str:
    return state.removeprefix("partly ")


def _apart(board: SuiteBoard) -> str:
    """How many models are ranked, and how many levels of them are really apart.

    Only models with the same tasks are: groups are counted one by one.
    """
    levels = [max(r.rank.level for r in g if r.rank) for g in board.groups]
    ranked = sum(map(len, board.groups))
    if not ranked:
        return f"{len(board.rows)} shown"
    said = " + ".join(map(str, levels))
    return f"{ranked} ranked in {said} level{'s' * (levels != [1])}" + (
        f", {len(board.rows) - ranked} not" if len(board.rows) > ranked else ""
    )


def _weighed(board: SuiteBoard) -> tuple[int, list[Variant]]:
    fair = {r.entry.key: r for r in board.rows if not r.seen}
    return variants({k: r.scores for k, r in fair.items()}, board.weights, {k: r.name for k, r in fair.items()})


FLOORS = ROOM.parent / "benchmarks" / "results" / "theory_floor.json"


def _theory_floor(board: SuiteBoard) -> list[tuple[str, list[tuple[str, str]]]]:
    """Lines of methods of other theories, and of no forces, for the columns of bond scans: (name, cells)."""
    if not FLOORS.is_file():
        return []
    known = json.loads(FLOORS.read_text(encoding="utf-8"))
    lines: dict[str, list[tuple[str, str]]] = {}
    for k, c in enumerate(board.columns):
        used = board.lock.tasks[c.task].dataset
        found = known.get(f"{used.name}:{used.config}")
        for method, row in (found or {}).get("methods", {}).items():
            cells = lines.setdefault(method, [("", "")] * len(board.columns))
            if c.metric in row:
                of = f"{found['scans']} of {found['of']} scans" if found["scans"] < found["of"] else ""
                force = f"force MAE {wording.number(row['scan_force_mae'])}" if c.metric == "fsd" else ""
                cells[k] = (typeset(wording.number(row[c.metric])), ", ".join(x for x in (force, of) if x))
    return list(lines.items())


def _any_theory(board: SuiteBoard) -> dict[str, Any]:
    """The table of metrics that need no level of theory: heads, and a line per model that has any."""
    heads, lines = [], []
    for c in board.columns:
        tasks = [t for r in board.rows if (t := r.entry.report.tasks.get(c.task))]
        unit = next((wording.unit_name(t.metrics[c.metric].unit) for t in tasks if c.metric in t.metrics), "")
        head = f"{wording.metric_name(c.metric)} {f'({unit})' if unit else ''}".strip()
        heads.append((c.task.replace("_", " "), head))
    for r in board.rows:
        cells = []
        for c in board.columns:
            task = r.entry.report.tasks.get(c.task)
            value, text = cell(task.metrics.get(c.metric) if task else None)
            force = task.metrics.get("scan_force_mae") if task and c.metric == "fsd" else None
            if value and force is not None and force.value is not None:  # FSD is never alone
                text = typeset(f"{text}, force MAE {wording.value_text(force)}")
            of = sum(p.rank is not None for p in c.places.values())
            here = c.places.get(r.entry.key)
            cells.append((value, text, pair_words(here, of) if here else ""))
        if any(value for value, *_ in cells):
            lines.append((r, _theory(board, r), cells))
    return {"heads": heads, "lines": lines, "floors": _theory_floor(board)}


def _theory(board: SuiteBoard, row: Row) -> str:
    """A model's level of theory in a table: that of the data, or its own name."""
    tasks = row.entry.report.tasks
    names = {c.task for c in board.columns if c.task in tasks and tasks[c.task].metrics}
    data = [board.lock.tasks[n] for n in names]
    cards = [(card_for(row.entry.report, t.dataset.name, t.dataset.config), t.theory) for t in data]
    other = sorted({card.theory for card, theory in cards if not same_theory(card.theory, theory)})
    shown = [t if len(t) <= 40 else f"{t[:39].rstrip()}…" for t in map(wording.clean, other)]
    return ", ".join(t or "not stated" for t in shown) or "the data's"


def _models(boards: list[SuiteBoard]) -> dict[str, list[tuple[SuiteBoard, Row]]]:
    out: dict[str, list[tuple[SuiteBoard, Row]]] = {}
    for board in boards:
        for row in board.rows:
            out.setdefault(row.slug, []).append((board, row))
    return out


def _model(rows: list[tuple[SuiteBoard, Row]], checks: Path) -> dict[str, Any]:
    report = rows[0][1].entry.report
    room = CURVES
    tasks: dict[str, list[dict[str, Any]]] = {}
    for board, row in rows:
        shown = []
        for name, task in row.entry.report.tasks.items():
            scans = board.lock.tasks[name].scans if name in board.lock.tasks else None
            reported = row.trust != "recomputed"
            loose = {k: not_recomputed(task.kind, k, m, scans) for k, m in task.metrics.items() if reported}
            charts = _charts(task)[: min(PER_TASK, room)]
            room -= len(charts)
            shown.append(
                {
                    "name": name,
                    "report": task,
                    "score": row.scores[name],
                    "said": typeset(verdict(task, stated_theory(row.entry.report, task)).sentence),
                    "metrics": [
                        _metric_row(k, m, scored=row.scores[name].state != "different_theory", loose=loose.get(k, ""))
                        for k in shown_metrics(task)
                        if (m := task.metrics[k]) is not None
                    ],
                    "loose": any(loose.get(k) for k in shown_metrics(task)),
                    "failed": any(s not in ("ok", "not_run") for s in task.states),
                    "charts": charts,
                    "stories": _stories(task),
                }
            )
        tasks[row.entry.key] = shown
    return {
        "rows": rows,
        "links": links(rows[0][1].entry),
        "tasks": tasks,
        "cards": list(report.models.values()) or [report.model],
        "checks": {r.entry.key: own_records(r.entry, checks) for _, r in rows},
    }


def _stories(task: TaskReport) -> list[str]:
    """What the units say; of a task that never ran, the sentence above says it all."""
    told = [wording.clean(d).strip()[:600] for u in task.units for d in u.detail if d]
    ran = any(s not in ("unsupported", "not_run") for s in task.states)
    return list(dict.fromkeys(told))[:STORIES] if ran else []


def _charts(task: TaskReport) -> list[tuple[str, Any]]:
    wanted = [n for n in task.curves if not n.startswith(("temperature", "force_parity", "scan_force"))]
    titles = [wording.metric_name(n) if find_metric(n) else wording.curve_title(n) for n in wanted]
    drawn = [(title, small(task.curves[n], title)) for n, title in zip(wanted, titles)]
    return [(title, svg) for title, svg in drawn if svg]


def _metric_row(name: str, m: Metric, scored: bool = True, loose: str = "") -> tuple[Any, ...]:
    """Cells of a metric; a dagger marks what the check takes as reported (``loose``: `not_recomputed`)."""
    m = wording.in_small_units(m)
    unit = wording.unit_name(m.unit)
    floor = f"{wording.number(m.floor.median)}, {wording.number(m.floor.p95)}" if m.floor else ""
    floor += " (one run)" if m.floor and m.floor.runs == 1 else ""
    return (
        wording.metric_name(name),
        typeset(f"{wording.value_text(m)} {'' if m.value is None else unit}".strip()) + DAGGER * ("value" in loose),
        typeset(wording.clean(m.not_scored) if m.value is None else _interval(m)) + DAGGER * ("interval" in loose),
        m.n or "",
        floor,
        "" if m.score is None or not (scored or name == "stable_fraction") else f"{m.score:.2f}",
    )


def _interval(m: Metric) -> str:
    return wording.interval_text(m).removeprefix("none: ")


def _compare(board: SuiteBoard) -> list[dict[str, Any]]:
    groups = []
    for name, task in board.lock.tasks.items():
        reports = [r.entry.report.tasks.get(name) for r in board.rows]
        names = list(dict.fromkeys(k for t in reports if t for k in shown_metrics(t)))
        lines = []
        for k in names:
            found = [t.metrics.get(k) if t else None for t in reports]
            if all(m is None or m.value is None for m in found):
                continue
            found = wording.in_one_unit(found)
            lines.append((wording.with_unit(k, found), [cell(m)[1] for m in found]))
        scores = [
            (f"{s.value:.4f}", f"{s.value:.2f}") if s.value is not None else ("", s.state.replace("_", " "))
            for s in (r.scores[name] for r in board.rows)
        ]
        groups.append({"name": name, "title": task.title, "scores": scores, "lines": lines})
    return groups


def _thousands(value: int | None) -> str:
    return "not stated" if value is None else f"{value:,}".replace(",", "\u202f")


def rough(value: int | None) -> str:
    """A count to three digits.

    >>> [rough(v) for v in (None, 950, 89_622, 2_613_280, 999_999)]
    ['not stated', '950', '89.6 k', '2.61 M', '1 M']
    """
    if value is None:
        return "not stated"
    for size, sign in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{sign}"
    return str(value)


def _published(value: float) -> Any:
    """As it was printed: whole numbers whole, others with all their digits.

    >>> str(_published(2100070.0)), str(_published(2.3e-9)), str(_published(0.229))
    ('2\\u202f100\\u202f070', '2.3 × 10<sup>−9</sup>', '0.229')
    """
    whole = float(value).is_integer()
    return _thousands(int(value)) if whole else typeset(f"{value:.10g}".replace("e-0", "e-"))


def _hardware(entry: Entry) -> str:
    env = entry.report.environment
    where = env.processor if env.device == "cpu" else env.device
    seconds = sum(u.wall_s for t in entry.report.tasks.values() for u in t.units)
    threads = "1 thread" if env.threads == 1 else f"{env.threads} threads"
    return wording.clean(f"{where}, {threads}, {wording.duration(seconds)} of work")
