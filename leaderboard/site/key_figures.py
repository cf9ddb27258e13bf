"""The papers' key figures, live: force error against stability and FSD, AUGRC against cost, speed against accuracy."""

from __future__ import annotations

from typing import Any

from ffbench_eval import words as wording
from ffbench_eval.kinds import find_metric, kind_of
from ffbench_eval.report import TaskReport

from ..entry.schema import Entry
from .data import Row, SuiteBoard
from .figures import Dot, scatter
from .scoring import card_for, headline, same_theory

FORCE = ("force_mae", "scan_force_mae")  # the first that a suite has for a system
COST, SPEED = ("cost",), ("speed",)  # of the simulation
FEWEST = 3  # models in a figure
AXES = {  # title: x and y as alternatives of metrics, log x, log y, note
    "Force error against stability": (FORCE, ("stable_time",), True, False, ""),
    "Force error against trusted time": (
        FORCE, ("trusted_time",), True, False,
        "until the truth, asked along the simulation, finds forces no better than none",
    ),
    "Force error against FSD": (
        FORCE, ("fsd",), True, False, "FSD also rises with the force error along the scan",
    ),
    "AUGRC against cost": (
        COST, ("augrc",), True, False, "cost: of the same model's simulation of this system",
    ),
    "Speed against accuracy": (
        FORCE, SPEED, True, True,
        "speed: of the simulation that was scored, in units of a kernel timed on the same machine",
    ),
}  # fmt: skip


def key_figures(boards: list[SuiteBoard]) -> tuple[list[tuple[str, list]], list[str]]:
    """One figure per system: (suite, [(title, svg, note)]) and what could not be drawn."""
    groups, missing = [], []
    for board in boards:
        drawn = []
        names = [r.entry.model for r in board.rows]
        for title, (x_of, y_of, log_x, log_y, note) in AXES.items():
            found = False
            for system in dict.fromkeys(t.dataset.name for t in board.lock.tasks.values()):
                dots = []
                for row in board.rows:
                    x, y = _number(row, board, system, x_of, boards), _number(row, board, system, y_of, boards)
                    if x and y and (not log_x or x[0] > 0) and (not log_y or y[0] > 0):
                        name = row.entry.model if names.count(row.entry.model) == 1 else row.name
                        hollow = row.entry.report.model.conservative is False
                        other = title != "AUGRC against cost" and not _same(row, board, system)
                        link = f"models/{row.slug}.html"
                        dots.append(Dot(x[0], y[0], name, link, hollow, x[1], y[1], other, row.full))
                if len(dots) >= FEWEST:
                    found = True
                    x_label, y_label = _axis(x_of, board, system), _axis(y_of, board, system)
                    drawn.append(
                        (f"{title}: {system}", scatter(dots, x_label, y_label, log_x=log_x, log_y=log_y), note)
                    )
            if not found:
                missing.append(f"{title} ({board.lock.suite})")
        groups.append((f"{board.lock.suite} {board.lock.version}", drawn))
    return groups, missing


def _same(row: Row, board: SuiteBoard, system: str) -> bool:
    data = next(t for t in board.lock.tasks.values() if t.dataset.name == system)
    return same_theory(card_for(row.entry.report, system, data.dataset.config).theory, data.theory)


def _chosen(board: SuiteBoard, system: str, of: tuple[str, ...]) -> str:
    """The first of the alternatives that a kind of the suite's tasks on the system can emit."""
    kinds = [kind_of(t.kind) for t in board.lock.tasks.values() if t.dataset.name == system]
    return next((name for name in of if any(kind.spec(name) for kind in kinds)), of[0])


def _number(row: Row, board: SuiteBoard, system: str, of: Any, boards: list[SuiteBoard]):
    """(value, interval) of a model on an axis, or None. A cost may come from another suite of the same model."""
    name = _chosen(board, system, of)
    if name in COST + SPEED:
        cost = _cost(row.entry, system)
        for other in boards:
            if cost is None:
                cost = next((_cost(r.entry, system) for r in other.rows if r.slug == row.slug), None)
        return None if cost is None else (cost if name == "cost" else 1 / cost, None)
    for task_name, locked in board.lock.tasks.items():
        task = row.entry.report.tasks.get(task_name)
        kind = kind_of(locked.kind)
        if locked.dataset.name != system or not kind.spec(name) or task is None:
            continue
        if kind.says_little(name, locked.parameters):
            continue
        if name in kind.time and kind.why_other_theory(name, locked.parameters) and not _same(row, board, system):
            continue  # stable means a g(r) like that of the data's theory
        m = task.metrics.get(f"{name}.test.{headline(task)}" if kind.leads else name)
        if m is not None and m.value is not None:
            return m.value, None if m.interval is None else (max(m.interval[0], m.value / 5), m.interval[1])
    return None


def _cost(entry: Entry, system: str) -> float | None:
    found = entry.report.tasks.values()
    tasks = (t for t in found if kind_of(t.kind).simulation and t.dataset.name == system)
    return next((c for t in tasks if (c := normalised_cost(entry, t)) is not None), None)


def normalised_cost(entry: Entry, task: TaskReport) -> float | None:
    """Reference kernels per step of one replica: wall time of the simulation in units of this machine's kernel."""
    kernel = entry.report.environment.kernel_s
    steps = sum(u.force_calls * len(u.status) for u in task.units)  # a call answers all replicas of its unit
    wall = sum(u.wall_s for u in task.units)
    return wall / steps / kernel if kernel and steps > 0 and wall > 0 else None


def _axis(of: Any, board: SuiteBoard, system: str) -> str:
    name = _chosen(board, system, of)
    if name in COST + SPEED:
        return "reference kernels per replica step" if name == "cost" else "replica steps per reference kernel"
    found = find_metric(name)
    unit = wording.unit_name(found[0].unit) if found else ""
    return wording.metric_name(name) + (f" ({unit})" if unit else "")
