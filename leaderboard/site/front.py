"""The front page: every model on one line, with what holds for all of them first.

Columns come from the suites that entries have: a suite's score where models are ranked in it, the share of checks that
hold where its metrics have limits, else the metric of each task; and one metric per subject (`Kind.subject`) of those
that need no level of theory.
Models that are one for everything stand in the first table, those trained anew for every data set in the second.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ffbench_eval import words as wording
from ffbench_eval.kinds import MetricSpec, kind_of
from ffbench_eval.page.templating import typeset
from ffbench_eval.report import Metric, ModelCard

from ..check.members import left_out, size
from ..check.recompute import rules_of
from ..entry.schema import Entry
from .data import Row, SuiteBoard, main_metric
from .figures import FAR, dot
from .key_figures import normalised_cost
from .links import links
from .pairs import APART, Place
from .scoring import card_for
from .told import ordinal, pair_words, place_words, short_state, state_meaning

SPAN = 30.0  # a column whose largest value is so many times its smallest has a logarithmic axis
LONG = 44  # letters of a training set


@dataclass(frozen=True)
class Cell:
    """``sort``: a number, or empty; ``beside``: the place, or why there is none; ``why``: the same at length."""

    sort: str = ""
    text: Any = "–"
    drawn: Any = ""
    beside: str = "not run"
    why: str = ""


@dataclass(frozen=True)
class Head:
    title: str
    what: str
    link: str
    shown: bool
    cells: dict[str, Cell]  # by slug
    order: int = 0


@dataclass(frozen=True)
class Model:
    """All entries of one version of a model, by the key of their board."""

    slug: str
    rows: dict[str, tuple[SuiteBoard, Row]] = field(default_factory=dict)

    @property
    def newest(self) -> Entry:
        return max((row.entry for _, row in self.rows.values()), key=lambda e: e.report.created)

    @property
    def cards(self) -> list[ModelCard]:
        found = [c for _, row in self.rows.values() for c in (row.entry.report.models.values())]
        return found or [self.newest.report.model]

    @property
    def trained_anew(self) -> bool:
        """Whether every data set has a model of its own."""
        return any(row.entry.report.models for _, row in self.rows.values())

    @property
    def parameters(self) -> int | None:
        return max((row.parameters for _, row in self.rows.values() if row.parameters is not None), default=None)

    @property
    def training(self) -> str:
        """A training set in few words; of several, how many.

        >>> one = "ANI-1x: 4.9 million conformations of molecules with up to 13 heavy atoms"
        >>> said(one)
        'ANI-1x: 4.9 million conformations of…'
        """
        stated = {c.training_data for c in self.cards}
        return f"{len(stated)} data sets, one model each" if len(stated) > 1 else said(next(iter(stated)))

    @property
    def theory(self) -> str:
        stated = {c.theory for c in self.cards}
        return "as the data" if len(stated) > 1 else said(next(iter(stated)))

    @property
    def links(self) -> list[tuple[str, str]]:
        return links(self.newest)

    @property
    def done(self) -> int:
        """How many tasks have a number."""
        tasks = [t for _, row in self.rows.values() for t in row.entry.report.tasks.values()]
        return sum(any(m.value is not None for m in t.metrics.values()) for t in tasks)

    @property
    def open(self) -> bool:
        return any(row.entry.about.open_weights for _, row in self.rows.values())

    @property
    def conservative(self) -> bool:
        return self.newest.report.model.conservative is not False

    @property
    def trust(self) -> str:
        order = ("self-reported", "recomputed", "reproduced")
        return max((row.trust for _, row in self.rows.values()), key=order.index)


def said(text: str, room: int = LONG) -> str:
    """
    >>> said("none: parameters of the elements, fitted to geometries, vibrations and energies of interaction")
    'none: parameters of the elements, fitted…'
    """
    text = wording.clean(text).split("\n")[0].strip() or "not stated"
    return text if len(text) <= room else text[: room - 1].rsplit(" ", 1)[0].rstrip() + "…"


@dataclass(frozen=True)
class Table:
    name: str
    about: str
    heads: list[Head]
    groups: list[tuple[str, list[Model]]]  # heading, models; the best first

    @property
    def models(self) -> list[Model]:
        return [m for _, group in self.groups for m in group]


def key_of(board: SuiteBoard) -> str:
    return f"{board.lock.suite}-{board.lock.version}"


def front(boards: list[SuiteBoard]) -> list[Table]:
    """The tables of the front page that have any model."""
    models: dict[str, Model] = {}
    for board in boards:
        for row in board.rows:
            models.setdefault(row.slug, Model(row.slug)).rows[key_of(board)] = board, row
    one = [m for m in models.values() if not m.trained_anew]
    many = [m for m in models.values() if m.trained_anew]
    found = [
        _table("Published potentials and methods", "One model for everything.", boards, one),
        _table(
            "Families trained here",
            "One model per data set, trained on the same frames in minutes: what an architecture does with little.",
            boards,
            many,
        ),
    ]
    return [t for t in found if t.models]


def _table(name: str, about: str, boards: list[SuiteBoard], models: list[Model]) -> Table:
    scored = [h for b in boards if (h := _suite(b, models))]
    heads = [*scored, *_measured(boards, models), *_metrics(boards, models), *_speed(boards, models)]
    heads.sort(key=lambda h: (not h.shown, h.order))
    return Table(name, about, heads, _grouped(boards, models))


def _suite(board: SuiteBoard, models: list[Model]) -> Head | None:
    """A suite's score, or the share of its checks that hold; None if no model of the table has either."""
    cells: dict[str, Cell] = {}
    for model in models:
        _, row = model.rows.get(key_of(board), (None, None))
        if row is not None:
            cells[model.slug] = _score(board, row) or checks(board, row) or _why_none(board, row)
    known = sum(bool(c.sort) for c in cells.values())
    if not known:
        return None
    subjects = dict.fromkeys(kind_of(t.kind).about_what for t in board.lock.tasks.values())
    title = next(iter(subjects)) if len(subjects) == 1 and board.of_any_theory else board.lock.suite
    what = f"score of {board.lock.suite}" if title != board.lock.suite else "score"
    unranked = not any(row.rank for row in board.rows)
    counted = len(board.lock.tasks) if unranked else sum(w > 0 for w in board.weights.values())
    what = f"checks that hold, {counted} tasks" if unranked else f"{what}, {counted} task{'s' * (counted > 1)}"
    first = unranked or board.of_any_theory  # what holds for every model
    shown = first or 2 * known >= len(models)
    return Head(title, what, f"suites/{key_of(board)}.html", shown, cells, 0 if first else 2)


def _score(board: SuiteBoard, row: Row) -> Cell | None:
    if row.rank is None:
        return None
    counted = sum(w > 0 for w in board.weights.values())
    part = "" if len(row.rank.tasks) == counted else f", {len(row.rank.tasks)} of {counted} tasks"
    drawn = dot(row.rank.score, row.rank.interval, (0.0, 1.0))
    low, high = row.rank.interval
    why = f"score {row.rank.score:.3f}, 95 % interval {low:.2f} to {high:.2f}"
    return Cell(f"{row.rank.score:.4f}", f"{row.rank.score:.2f}", drawn, place_words(row.rank) + part, why)


def checks(board: SuiteBoard, row: Row, only: str = "") -> Cell | None:
    """Of the lock's metrics with a limit: how many hold, in all tasks or in one. A check without a value, or without
    that of a member that ended well, does not hold, unless the model states that it cannot be asked."""
    kept = asked = known = 0
    limited = {n: _with_limit(t.kind, t.metrics) for n, t in board.lock.tasks.items()}
    for name, task in row.entry.report.tasks.items():
        locked = board.lock.tasks.get(name) if only in ("", name) else None
        if locked is None:
            continue
        own = _with_limit(locked.kind, task.metrics) if not any(limited.values()) else {}  # nothing is locked yet
        unasked = rules_of(locked.kind).unasked
        card = card_for(row.entry.report, locked.dataset.name, locked.dataset.config)
        for key, spec in (limited[name] or own).items():
            m = task.metrics.get(key)
            value = m.value if m is not None else None
            if value is None and (key in own or (locked.metrics[key].optional and unasked and unasked(key, card))):
                continue
            asked += 1
            known += value is not None
            kept += value is not None and not spec.beyond(value) and not left_out(key, task, locked)
    if not known:
        return None
    share, done = kept / asked, sum(name in row.entry.report.tasks for name in board.lock.tasks)
    part = f"{done} of {len(board.lock.tasks)} tasks" if not only and done < len(board.lock.tasks) else ""
    return Cell(f"{share:.4f}", f"{kept} of {asked}", dot(share, None, (0.0, 1.0)), part, "checks within their limits")


def _with_limit(kind: str, names: Iterable[str]) -> dict[str, MetricSpec]:
    found = ((name, kind_of(kind).spec(name)) for name in names)
    return {name: hit[0] for name, hit in found if hit and hit[0].limit is not None}


def unscored(board: SuiteBoard, row: Row, name: str = "") -> Cell | None:
    """What a suite, or a task of it, shows of a model without a score: checks that hold, or the task's number."""
    kept = checks(board, row, name)
    task = row.entry.report.tasks.get(name)
    if kept or task is None:
        return kept
    found = next((m for k in main_metric(task) if (m := task.metrics[k]).value is not None), None)
    unit = wording.unit_name(found.unit) if found else ""
    return Cell("", typeset(f"{wording.value_text(found)} {unit}".strip()), "", "") if found else None


def _why_none(board: SuiteBoard, row: Row) -> Cell:
    if row.seen:
        return Cell(beside="saw test data")
    states = list(dict.fromkeys(row.scores[t].state for t, w in board.weights.items() if w > 0))
    states = [s for s in states if s != "not_run"] or states
    return Cell(beside=", ".join(map(short_state, states[:2])), why="; ".join(map(state_meaning, states)))


def _metrics(boards: list[SuiteBoard], models: list[Model]) -> list[Head]:
    """Metrics that need no level of theory; of each subject one is shown, of those that many models have: of a task
    that counts, the kind's first metric, on the most members."""
    found: list[tuple[str, int, tuple[bool, int, int], Head]] = []
    for board in boards:
        ranked = any(row.rank for row in board.rows)
        for c in board.columns:
            locked = board.lock.tasks[c.task]
            kind = kind_of(locked.kind)
            if kind.timed or (board.of_any_theory and ranked):
                continue  # its suite's score says it; speed has a column of its own
            if kind.why_other_theory(c.metric, locked.parameters):
                continue  # it holds for models of the data's theory alone
            head = _metric(board, c.task, c.metric, models, c.places)
            with_place = sum(
                (p := c.places.get(row.entry.key)) is not None and p.rank is not None
                for m in models
                for b, row in m.rows.values()
                if b is board
            )
            hit = kind.spec(c.metric)
            first = [s.name for s in kind.metrics].index(hit[0].name) if hit else 0
            aside = not board.weights[c.task]
            if head is not None:
                found.append((kind.about_what, with_place, (aside, first, -(size(locked) or 0)), head))
    shown = set()
    for subject in dict.fromkeys(f[0] for f in found):
        mine = [f for f in found if f[0] == subject]
        most = max(f[1] for f in mine)
        able = [f for f in mine if most and 2 * f[1] >= most]
        if able:
            shown.add(id(min(able, key=lambda f: f[2])[3]))
    return [replace(h, shown=id(h) in shown, order=1) for *_, h in found]


def _metric(
    board: SuiteBoard, name: str, metric: str, models: list[Model], places: dict[str, Place] | None = None
) -> Head | None:
    values: dict[str, tuple[Metric, str]] = {}
    of = sum(p.rank is not None for p in (places or {}).values())
    for model in models:
        _, row = model.rows.get(key_of(board), (None, None))
        task = row.entry.report.tasks.get(name) if row else None
        m = task.metrics.get(metric) if task else None
        if row is not None and m is not None and m.value is not None:
            here = (places or {}).get(row.entry.key)
            values[model.slug] = m, pair_words(here, of) if here else "saw test data" if row.seen else ""
    if not values:
        return None
    axis = _axis([v for m, _ in values.values() for v in (m.value, *(m.interval or ())) if v is not None])
    cells = {
        slug: Cell(
            f"{m.value:.5g}", typeset(wording.value_text(m)), _drawn(m.value, m.interval, axis, m.better), beside
        )
        for slug, (m, beside) in values.items()
        if m.value is not None
    }
    first = next(iter(values.values()))[0]
    arrow = {"lower": "↓", "higher": "↑"}.get(first.better, "")
    named = ", ".join(x for x in (wording.metric_name(metric), wording.unit_name(first.unit)) if x)
    what = f"{arrow} {named}; {name.replace('_', ' ')} ({board.lock.suite})".strip()
    kind = kind_of(board.lock.tasks[name].kind)
    return Head(kind.about_what, what, f"tasks/{key_of(board)}__{name}.html", False, cells)


def _measured(boards: list[SuiteBoard], models: list[Model]) -> list[Head]:
    """What holds for every theory and has neither a score, nor places, nor limits: the metric that stands for a task.
    Of a suite without any other column the first is shown."""
    out = []
    for board in boards:
        if not board.of_any_theory or any(row.rank for row in board.rows):
            continue
        mine = []
        for name, locked in board.lock.tasks.items():
            specs = kind_of(locked.kind).metrics
            if any(s.ranked or s.limit is not None for s in specs):
                continue
            done = [
                t for m in models if (hit := m.rows.get(key_of(board))) and (t := hit[1].entry.report.tasks.get(name))
            ]
            metric = next((k for t in done for k in main_metric(t) if t.metrics[k].value is not None), "")
            if metric and (head := _metric(board, name, metric, models)):
                mine.append(head)
        alone = not board.columns and not any(checks(board, row) for row in board.rows)
        out += [replace(h, shown=alone and k == 0, order=1) for k, h in enumerate(mine)]
    return out


def _speed(boards: list[SuiteBoard], models: list[Model]) -> list[Head]:
    """Replica steps per reference kernel of the simulation that most models of the table did."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for board in boards:
        for name, locked in board.lock.tasks.items():
            if kind_of(locked.kind).simulation:
                found[key_of(board), name] = {
                    m.slug: 1 / cost
                    for m in models
                    if (hit := m.rows.get(key_of(board)))
                    and (task := hit[1].entry.report.tasks.get(name))
                    and (cost := normalised_cost(hit[1].entry, task))
                }
    if not any(found.values()):
        return []
    (key, name), speeds = max(found.items(), key=lambda item: len(item[1]))
    axis = _axis(speeds.values())
    cells = {
        slug: Cell(
            f"{v:.5g}",
            typeset(wording.number(v)),
            _drawn(v, None, axis, "higher"),
            f"{ordinal(1 + sum(o > APART * v for o in speeds.values()))} of {len(speeds)}" if len(speeds) > 1 else "",
            "of one job: speeds within ten percent share a place",
        )
        for slug, v in speeds.items()
    }
    of_what = name.replace("_", " ")
    what = f"↑ replica steps per reference kernel; {of_what} ({key.rsplit('-', 1)[0]})"
    return [Head("speed", what, f"tasks/{key}__{name}.html", True, cells, 1)]


Axis = tuple[float, float, bool]


def _axis(values: Iterable[float]) -> Axis:
    """(low, high, logarithmic) of a column."""
    known = [v for v in values if abs(v) < FAR]
    if not known:
        return 0.0, 1.0, False
    low, high = min(known), max(known)
    if low > 0 and high > SPAN * low:
        return low, high, True
    low = min(low, 0.0)
    return low, high if high > low else low + 1.0, False


def _drawn(value: float, interval: tuple[float, float] | None, axis: Axis, better: str) -> Any:
    """A dot and its interval; where lower is better the axis runs to the left, so that right is better everywhere."""
    if abs(value) >= FAR or any(abs(v) >= FAR for v in interval or ()):
        return ""
    low, high, log = axis
    if log:
        interval = interval and (math.log(max(interval[0], low)), math.log(max(interval[1], low)))
        value, low, high = math.log(value), math.log(low), math.log(high)
    return dot(value, interval, (high, low) if better == "lower" else (low, high))


def _grouped(boards: list[SuiteBoard], models: list[Model]) -> list[tuple[str, list[Model]]]:
    """Models under headings by the suite in which most of them are ranked: only those with the same tasks are
    comparable, and of these a level holds those that none of it surely beats."""
    ranked = {
        key_of(b): [m for m in models if (hit := m.rows.get(key_of(b))) and hit[1].rank is not None] for b in boards
    }
    lead = max(boards, key=lambda b: len(ranked[key_of(b)]), default=None)
    if lead is None or not ranked[key_of(lead)]:
        return [("", sorted(models, key=lambda m: m.slug))] if models else []
    mine = {m.slug: m for m in ranked[key_of(lead)]}
    out: list[tuple[str, list[Model]]] = []
    for heading, rows in headings(lead):
        group = [mine[row.slug] for row in rows if row.slug in mine]
        if group:
            out.append((f"{lead.lock.suite}: {heading}", group))
    rest = sorted((m for m in models if m.slug not in mine), key=lambda m: (-m.done, m.slug))
    return [*out, (f"not ranked on {lead.lock.suite}", rest)] if rest else out


FEW = 5  # models: levels of fewer have no headings of their own


def headings(board: SuiteBoard) -> list[tuple[str, list[Row]]]:
    """The rows with a rank under headings: those with the same tasks together, in levels that are really apart."""
    counted = sum(w > 0 for w in board.weights.values())
    out: list[tuple[str, list[Row]]] = []
    for group in board.groups:
        ranked = sorted(((r.rank, r) for r in group if r.rank), key=lambda pair: (pair[0].level, -pair[0].score))
        tasks, most = len(ranked[0][0].tasks), ranked[-1][0].level
        whole = f"all {counted} tasks" if counted > 1 else "its one task"
        of = whole if tasks == counted else f"{tasks} of {counted} tasks"
        if len(group) < FEW or most == 1:
            even = "" if len(group) == 1 else f", {most} levels" if most > 1 else ", none surely better"
            out.append((of + even, [row for _, row in ranked]))
            continue
        for k in range(1, most + 1):
            out.append((f"{of}, level {k} of {most}", [row for rank, row in ranked if rank.level == k]))
    return out
