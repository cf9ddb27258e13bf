"""From finished units to the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..kinds.domains import stated
from ..models import resolve as model_room
from ..models.isolated import Remote
from ..models.tracebacks import full_traceback
from ..report import Environment, ModelCard, Report, Status, TaskReport, UnitReport
from ..suite import Suite, Task
from ..words import clean
from . import environment as machine
from . import first_answer
from .data import TaskData
from .plan import Absent, Planned, Ready, ready
from .units import Result

TO_COME = "the run is not finished: the same command goes on where it is"


def assemble(
    planned: Sequence[Planned],
    results: dict[str, Result],
    models: model_room.Models,
    spec: str,
    suite: Suite,
    seed: int,
    device: str,
    wall_s: float,
    scored: dict[Any, Any],
    whole: bool,
) -> Report:
    """The report of finished units; units without a result are ``not_run``.

    A report that is not ``whole`` stands for a run that was stopped: tasks with units to come have no numbers yet.
    ``scored`` keeps what was scored from one report to the next.
    """
    tasks = {}
    for p in planned:
        asked = [u.address for u in p.units] if isinstance(p, Ready) else []
        found = task_report(p.task, p.data, asked, results, scored, whole)
        if not isinstance(p, Ready):
            status: Status = "not_run" if isinstance(p, Absent) else "unsupported"
            why = UnitReport(address="", status=[status], detail=[p.why], wall_s=0.0)
            found = found.model_copy(update={"units": [why]})
        tasks[p.task.name] = found
    cards = known_cards(planned, models, spec)
    main = next(iter(cards.values()))
    return Report(
        suite=suite.name,
        suite_version=suite.version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        model=main.model_copy(update={"name": clean(model_room.name_of(models))}),
        models=cards if isinstance(models, Mapping) else {},
        environment=_environment(device, whole, models),
        wall_s=round(wall_s, 1),
        tasks=tasks,
    ).sealed()


def _environment(device: str, whole: bool, models: model_room.Models) -> Environment:
    """This machine's, and of a model in an environment of its own the packages that are others there."""
    here = machine.environment(device, timed=whole)
    packages = dict(here.packages)
    for model in models.values() if isinstance(models, Mapping) else [models]:
        if isinstance(model.fn, Remote) and model.fn.env:
            name = clean(Path(model.fn.env).name if "/" not in model.fn.env else "its own interpreter")
            there = {f"{package} ({name})": is_ for package, is_ in model.fn.packages.items()}
            packages |= {k: v for k, v in there.items() if here.packages.get(k.partition(" ")[0]) != v}
    return here.model_copy(update={"packages": packages})


def task_report(
    task: Task,
    data: TaskData,
    asked: Sequence[str],
    results: Mapping[str, Result],
    scored: dict[Any, Any] | None = None,
    whole: bool = True,
) -> TaskReport:
    """One task of a report, from the results of the units with the addresses ``asked``."""
    finished = [results[a] for a in asked if a in results]
    to_come = not whole and len(finished) < len(asked)
    scored = {} if scored is None else scored
    key = (task.name, to_come, *(r.address for r in finished))
    if key not in scored:
        scored[key] = _scored(task, data, [] if to_come else finished)
    metrics, curves, headline, fault = scored[key]
    units = [_unit(a, results.get(a), task.kind.frames, whole) for a in asked]
    if fault:
        units.append(UnitReport(address="", status=["harness_error"], detail=[fault], wall_s=0.0))
    return TaskReport(
        kind=task.kind.name,
        version=task.version,
        title=task.title,
        dataset=data.used,
        parameters=task.parameters.model_dump(mode="json"),
        indicative=task.indicative,
        note=task.note,
        units=units,
        metrics=metrics,
        curves=curves,
        headline=headline,
    )


def _unit(address: str, result: Result | None, frames: bool, whole: bool) -> UnitReport:
    if result is None:
        return UnitReport(address=address, status=["not_run"], detail=[] if whole else [TO_COME], wall_s=0.0)
    return UnitReport(
        address=address,
        status=run_lengths(result.status) if frames else result.status,
        detail=result.detail,
        wall_s=result.wall_s,
        force_calls=result.force_calls,
        mode=result.values.get("mode", ""),
        mode_note=result.values.get("mode_note", ""),
    )


def _scored(task: Task, data: TaskData, finished: list[Result]) -> tuple[dict, dict, str, str]:
    """(metrics, curves, headline, ""), or nothing and why: scoring that fails costs its task, not the report."""
    if not finished:
        return {}, {}, "", ""
    try:
        for result in finished:
            task.kind.checked({"status": result.status, **result.values})
        metrics, curves = task.kind.module.score(task, finished, data)
        return stated(metrics), curves, task.kind.headline(finished), ""
    except Exception as error:
        return {}, {}, "", clean(f"scoring failed: {full_traceback(error)}")


def known_cards(planned: Sequence[Planned], models: model_room.Models, spec: str) -> dict[str, ModelCard]:
    """The card of every model with what it answered, by the name it is given under (``""`` for the only one)."""
    cards = {}
    for key, model in (models if isinstance(models, Mapping) else {"": models}).items():
        answers = {k: one.answers for p in ready(planned) if p.model is model for k, one in p.identities.items()}
        stated = first_answer.stated(model)
        common = next((p.common for p in ready(planned) if p.model is model), "")
        cards[key] = model_room.known_as(model_room.card(model, spec), stated, answers, common)
    return cards


def run_lengths(status: list[Status]) -> list[Status]:
    """Hundreds of equal frame states are one: a chunk is ``ok`` unless a frame is not; frames that the model does not
    cover stand beside those that it answered."""
    others: list[Status] = [s for s in dict.fromkeys(status) if s != "ok"]
    if others == ["unsupported"] and "ok" in status:
        return ["ok", "unsupported"]
    return others or ["ok"]
