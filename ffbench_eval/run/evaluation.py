"""``evaluate(model, suite)``: suite -> units -> results on disk -> metrics -> report."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from ffbench_data.atomic import write_text
from ffbench_data.contract import ForceField
from ffbench_data.load import NotBuilt

from ..kinds.domains import stated
from ..models import interrupts
from ..models import resolve as model_room
from ..models.coverage import lacking
from ..models.guard import guarded
from ..models.identity import Identity, Known
from ..models.tracebacks import full_traceback
from ..report import DatasetUsed, ModelCard, Report, Status, TaskReport, UnitReport
from ..stderr import tell
from ..suite import Suite, Task, load_suite
from ..words import clean
from . import doors, first_answer
from . import environment as machine
from .data import TaskData, load_task_data, used
from .execute import (
    Result,
    Unit,
    complete,
    damage,
    halves,
    load_result,
    make_unit,
    run_unit,
    set_aside,
    singles,
)


@dataclass
class Ready:
    """A task with its data, the model that answers it and its units."""

    task: Task
    data: TaskData
    model: ForceField
    units: list[Unit]
    seconds: float = 0.0
    longest: float = 0.0  # unit of it, in seconds
    identities: dict[str, Identity] = field(default_factory=dict)  # who answers, by data set asked about
    common: str = ""  # of these the one that every run of this model asks about
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Unsupported:
    """A task that the model cannot answer, and why."""

    task: Task
    data: TaskData
    why: str


@dataclass(frozen=True)
class Absent:
    """A task whose data is not on this machine: not run, which says nothing about the model."""

    task: Task
    data: TaskData
    why: str


Planned = Ready | Unsupported | Absent


def ready(planned: Sequence[Planned]) -> list[Ready]:
    return [p for p in planned if isinstance(p, Ready)]


def evaluate(
    model: Any,
    suite: str | Suite = "mini",
    *,
    device: str | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    workers: int = 0,
    resume: bool = True,
    compile: str = "auto",
    tasks: list[str] | str | None = None,
    quiet: bool = False,
    isolate: bool | None = None,
) -> Report:
    """Score ``model`` on ``suite`` and write ``report.json`` and ``report.html`` into the run folder.

    - ``model``: a `ForceField`, an ASE calculator or its class, a mapping from dataset name to one of these, or a spec
      string (``reference_models:painn``, ``path/to/file.py:function``).
    - ``suite``: a shipped suite's name, a YAML file or a `Suite`; ``tasks`` keeps only the named tasks.
    - ``device``: ``"cuda"``, ``"cpu"``; default: a GPU if there is one.
    - ``out``: the run folder, default ``runs/<model>-<suite>``. Finished units in it are kept (``resume``) as long as
      the model answers as it did; one that was changed is run anew, one of another name is refused.
    - ``compile``: the engine compiles the MD step when that pays off (``auto``), never (``off``) or always
      (``require``); the report says what was used.
    - ``workers``: processes that work side by side (needs the extra ``dask``); 0 works in this one.
    - ``isolate``: the model of a spec is loaded and called in a process of its own, so that a crash or a call that
      never ends costs one unit; by default so for models of other people's packages.

    Raises ValueError (one line) for anything wrong with the arguments or with the model's first answer.

    >>> report = evaluate(my_model, "mini")  # doctest: +SKIP
    >>> report.tasks["ethanol_accuracy"].metrics["force_mae"].value  # doctest: +SKIP
    """
    with interrupts.watched():
        try:
            return _evaluate(model, suite, device, out, seed, workers, resume, compile, tasks, quiet, isolate)
        except KeyboardInterrupt as error:
            tell("stopped; what is finished is kept, and the same command goes on from there")
            error.told = True  # type: ignore[attr-defined]
            raise


def _evaluate(model, suite, device, out, seed, workers, resume, compile, tasks, quiet, isolate) -> Report:
    begun = time.perf_counter()
    device = doors.device(device)
    seed, workers, compile = doors.seed(seed), doors.workers(workers), doors.compile(compile)
    doors.spawned()
    models, spec = model_room.resolve(model, isolate)
    model_room.cards(models, spec)  # a wrong type in a card is told now, not after the work
    suite = suite if isinstance(suite, Suite) else load_suite(suite, tasks=doors.tasks(tasks))
    models = _on_device(models, device)
    name = _name(models)
    run = Path(out) if out else Path("runs") / f"{_slug(name)}-{suite.name}"
    known = _known(run) if resume else Known()
    planned = plan(models, suite, seed, known=known, device=device, compile=compile)
    with _claimed(run, models, spec, suite, resume, known):
        for line in oddities(planned):
            tell(f"warning: {line}")
        estimate(planned, run)
        if not quiet:
            _announce(planned, run, workers)
        scored: dict[Any, Any] = {}

        def so_far(results: dict[str, Result], whole: bool = False) -> Report:
            spent = time.perf_counter() - begun
            report = assemble(planned, results, models, spec, suite, seed, device, spent, scored, whole)
            report.to_json(run / "report.json")
            return report

        results = _execute(planned, run, workers, compile, quiet, so_far)
        report = so_far(results, whole=True)
        _write_pages(report, planned, results, run)
    return report


def _write_pages(report: Report, planned: Sequence[Planned], results: dict[str, Result], run: Path) -> None:
    """The page and the files of kinds. The numbers are safe by now: what fails here is told and costs only itself."""
    try:
        report.to_html(run / "report.html")
    except Exception as error:
        tell(
            f"the page could not be written ({type(error).__name__}: {error}); the numbers are in {run / 'report.json'}"
        )
    for p in ready(planned):
        if report.tasks[p.task.name].metrics:
            finished = [results[u.address] for u in p.units if u.address in results]
            try:
                p.task.kind.write_files(p.task, finished, p.data, run, f"{report.model.name}: {p.task.title}")
            except Exception as error:
                tell(f"files of task {p.task.name} could not be written ({type(error).__name__}: {error})")


def oddities(planned: Sequence[Planned]) -> Iterator[str]:
    """Each warning about a model once per data set; then the packages without which the report will lack numbers."""
    said = set()
    for p in ready(planned):
        for text in p.warnings:
            if (id(p.model), p.task.dataset, text) not in said:
                said.add((id(p.model), p.task.dataset, text))
                yield f"model {p.model.name!r} on {p.task.data_name}: {text}"
    yield from missing_packages(planned)


def missing_packages(planned: Sequence[Planned]) -> list[str]:
    """One line for each missing package that a complete run, one that can be submitted, needs."""
    lacking: dict[str, list[str]] = {}
    for p in ready(planned):
        why = p.task.kind.lacks(p.task)
        if why:
            lacking.setdefault(why, []).append(p.task.name)
    return [
        f"{', '.join(names)}: a complete run, one that can be submitted, {why}; the labels can be made up for later by "
        "the same command"
        for why, names in lacking.items()
    ]


def plan(
    models: model_room.Models,
    suite: Suite,
    seed: int = 0,
    *,
    known: Known | None = None,
    device: str = "cpu",
    compile: str = "auto",
) -> list[Planned]:
    """Every task of the suite with its data, model and units. Asks each model a few times about each dataset; ``known``
    are the models that a run folder has met, so that one of them keeps its addresses."""
    asked = _Asked(Known() if known is None else known)
    planned: list[Planned] = []
    for task in suite.tasks:
        try:
            planned.append(_plan_task(task, models, seed, asked, device, compile))
        except NotBuilt as error:
            planned.append(_absent(task, error))
    absent = [p for p in planned if isinstance(p, Absent)]
    if absent and len(absent) == len(planned):
        raise ValueError(f"suite {suite.name}: no data set of it is on this machine: {absent[0].why}")
    return planned


class _Asked:
    """What models answered on the frames of data sets, each asked once."""

    def __init__(self, known: Known):
        self.known = known
        self.looks: dict[tuple[int, str], first_answer.Look | None] = {}

    def on(self, model: ForceField, data: str, frames: Any, where: str) -> first_answer.Look:
        key = (id(model), data)
        if self.looks.get(key) is None:
            self.looks[key] = first_answer.look(model, frames, where)
        return self.looks[key]  # type: ignore[return-value]

    def common(self, model: ForceField, dataset: str, config: str | None) -> tuple[str, Identity] | None:
        """Who the model is on frames that every run of it asks about, whatever its tasks; ``None`` if it cannot say."""
        from ffbench_data.load import load_frames

        try:
            data = data_key(used(dataset, config, "test"))
            if (id(model), data) not in self.looks:
                self.looks[id(model), data] = None
                frames = load_frames(dataset, config, "test")
                self.looks[id(model), data] = first_answer.look(model, frames, "", judge=False)
        except (ValueError, OSError, KeyError):  # not built, no such split, or the model is not made for it
            return None
        look = self.looks[id(model), data]
        return None if look is None else (data, look.identity)


COMMON = (
    "ethanol_gfn2"  # ships with the package, nine atoms: what a model for all data sets is asked about in every run
)


def _plan_task(task: Task, models: model_room.Models, seed: int, asked: _Asked, device: str, compile: str) -> Planned:
    data, kind = load_task_data(task), task.kind
    model = model_room.for_dataset(models, task.data_name, task.config)
    if model is None:
        name = f"{task.data_name}:{task.config}" if task.config else task.data_name
        return Unsupported(task, data, f"no model for dataset {name}")
    if kind.covers_parts():
        if not len(kind.sample_rows(data, model, 1)):
            return Unsupported(task, data, "unsupported elements, charge or spin in every frame")
    elif why_not := lacking(model, data.frames):
        return Unsupported(task, data, why_not)
    key = data_key(data.used)
    look = asked.on(model, key, data.frames, f"model {model.name!r} on {task.data_name}")
    who = {key: look.identity}
    for name, frames in kind.other_frames(task).items():
        with suppress(ValueError):  # frames that it cannot answer cost the task, not the run
            who[name] = asked.on(model, name, frames, task.name).identity
    marks = [asked.known.mark(name, one) for name, one in sorted(who.items())]
    facts = json.dumps(data.reference.facts if data.reference else {}, sort_keys=True, default=str)
    made_by = {
        "reference": hashlib.sha256(facts.encode()).hexdigest(),
        "ffbench": machine.version(),
        "device": torch.device(device).type,
    }
    if compile != "auto" and kind.compiled:
        made_by["compile"] = compile
    rows = kind.plan(task, data, seed, model)
    content = data.used.content_sha256
    units = [make_unit(task, inputs, seed=seed, data=content, model="+".join(marks), **made_by) for inputs in rows]
    if not model.batched:
        units = [single for unit in units for single in singles(unit)]
    if isinstance(models, ForceField):
        shared = asked.common(model, COMMON, None)
    else:
        own = f"{task.data_name}:{task.config}" in models
        shared = asked.common(model, task.dataset, task.config if own else None)
    who |= dict([shared] if shared else [])
    if shared:
        asked.known.mark(*shared)
    common = shared[0] if shared else ""
    return Ready(task, data, model, units, identities=who, common=common, warnings=look.warnings)


def data_key(used: DatasetUsed) -> str:
    """A data set, config, split and content, as models are known by."""
    return f"{used.name}:{used.config}:{used.split}@{used.content_sha256[:8]}"


def _absent(task: Task, error: Exception) -> Absent:
    used = DatasetUsed(
        name=task.dataset, config=task.config or "", split=task.parameters.split, version="", content_sha256=""
    )
    return Absent(task, TaskData(None, None, used), str(error))


def estimate(planned: Sequence[Planned], run: Path) -> None:
    """Fill in seconds per task from a few timed calls of this model on this machine; finished units cost nothing."""
    from ffbench_data.frames import collate

    timed: dict[tuple, float] = {}
    for p in ready(planned):
        for unit in p.units:
            if load_result(unit, run):
                continue
            systems, calls = p.task.kind.module.calls(p.task, unit.inputs, p.data, p.model)
            key = (id(p.model), p.task.dataset, systems)
            if key not in timed:
                rows = p.task.kind.sample_rows(p.data, p.model, systems)
                timed[key] = _call_seconds(p.model, collate(p.data.frames, indices=rows))
            seconds = 1.15 * calls * timed[key]
            p.seconds, p.longest = p.seconds + seconds, max(p.longest, seconds)


def _call_seconds(model: ForceField, batch) -> float:
    """The fastest of three calls after a first; 0 if the model fails, which the unit will report."""
    best = float("inf")
    asked = guarded(model)
    try:
        asked(batch)
        for _ in range(3):
            begun = time.perf_counter()
            float(asked(batch).energy.sum())  # a GPU answers before it has finished
            best = min(best, time.perf_counter() - begun)
    except Exception:
        return 0.0
    return best


def _announce(planned: Sequence[Planned], run: Path, workers: int) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    runs = ready(planned)
    total = sum(p.seconds for p in runs)
    wall = max([total / workers, *(p.longest for p in runs)]) if workers > 1 else total
    units = sum(len(p.units) for p in runs)
    console.print(f"{len(planned)} tasks, {units} units, about {duration(wall)} on this machine -> {run}")
    for p in planned:
        if isinstance(p, Ready):
            what = f"about {duration(p.seconds)}" if p.seconds else "done before"
        else:
            what = p.why
        console.print(f"  {p.task.title}: {what}")


def duration(seconds: float) -> str:
    """A rounded time for people.

    >>> duration(75), duration(4000)
    ('75 s', '67 min')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _execute(
    planned: Sequence[Planned],
    run: Path,
    workers: int,
    compile: str,
    quiet: bool,
    so_far: Callable[[dict[str, Result]], Any],
) -> dict[str, Result]:
    """The results of all units; ``so_far`` writes the report of what there is, at first and after every task."""
    from .progress import Bars

    runs = ready(planned)
    todo = [(p, u) for p in runs for u in p.units]
    results: dict[str, Result] = {}

    def note(p: Ready, unit: Unit, result: Result) -> None:
        results[unit.address] = result
        if len(results) < len(todo) and all(u.address in results for u in p.units):
            so_far(results)

    reused: dict[str, int] = {}
    with Bars(runs, hidden=quiet) as bars:
        waiting = []
        for p, unit in todo:
            if more := set_aside(unit, run):
                tell(f"unit {unit.folder(run).name}: {', '.join(more)} is none of its files and is left aside")
            done = load_result(unit, run)
            if done:
                results[unit.address] = _completed(done, unit, p)
                reused[p.model.name] = reused.get(p.model.name, 0) + 1
                bars.update(p, unit, 1.0)
            else:
                if why := damage(unit, run):
                    tell(f"unit {unit.folder(run).name}: {why}; it is run again")
                waiting.append((p, unit))
        for name, count in reused.items():
            tell(f"{count} of {len(todo)} units are kept from an earlier run of model {name!r} in {run}")
        if waiting:
            so_far(results)
        if workers > 1 and waiting:
            from .parallel import run_side_by_side

            run_side_by_side(waiting, run, workers, compile, bars, note)
        else:
            for p, unit in waiting:
                move = functools.partial(bars.update, p, unit)
                note(p, unit, run_unit(unit, p.data, p.model, run, move, compile))
                move(1.0)
    results |= _rerun_in_halves(runs, results, run, compile)
    return results


def _completed(done: Result, unit: Unit, p: Ready) -> Result:
    """The kept result with what it had to leave out; what it has stays good if that fails."""
    try:
        return complete(done, unit, p.data, p.model)
    except OSError:
        raise
    except Exception as error:
        tell(f"unit {done.folder.name} keeps what it has, and could not be completed ({type(error).__name__}: {error})")
        return done


def _rerun_in_halves(planned: list[Ready], results: dict[str, Result], run: Path, compile: str) -> dict[str, Result]:
    """Batches that ran out of memory are replaced by two of half the width, again and again down to one replica."""
    more: dict[str, Result] = {}
    for p in planned:
        for unit in list(p.units):
            queue = [unit]
            while queue:
                one = queue.pop(0)
                done = more.get(one.address) or results.get(one.address) or load_result(one, run)
                if done is None:
                    done = run_unit(one, p.data, p.model, run, compile=compile)
                parts = halves(one) if set(done.status) == {"out_of_memory"} else []
                if parts:
                    at = p.units.index(one)
                    p.units[at : at + 1] = parts
                    queue += parts
                elif one is not unit:
                    more[one.address] = done
    return more


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
        asked = p.units if isinstance(p, Ready) else []
        finished = [results[u.address] for u in asked if u.address in results]
        to_come = not whole and len(finished) < len(asked)
        key = (p.task.name, to_come, *(r.address for r in finished))
        if key not in scored:
            none: tuple[Any, ...] = ({}, {}, "", "")
            scored[key] = _scored(p, [] if to_come else finished) if isinstance(p, Ready) else none
        metrics, curves, headline, fault = scored[key]
        units = []
        for u in asked:
            r = results.get(u.address)
            units.append(
                UnitReport(address=u.address, status=["not_run"], detail=[] if whole else [TO_COME], wall_s=0.0)
                if r is None
                else UnitReport(
                    address=u.address,
                    status=_run_lengths(r.status) if p.task.kind.frames else r.status,
                    detail=r.detail,
                    wall_s=r.wall_s,
                    force_calls=r.force_calls,
                    mode=r.values.get("mode", ""),
                    mode_note=r.values.get("mode_note", ""),
                )
            )
        if fault:
            units.append(UnitReport(address="", status=["harness_error"], detail=[fault], wall_s=0.0))
        if not isinstance(p, Ready):
            status: Status = "not_run" if isinstance(p, Absent) else "unsupported"
            units = [UnitReport(address="", status=[status], detail=[p.why], wall_s=0.0)]
        tasks[p.task.name] = TaskReport(
            kind=p.task.kind.name,
            version=p.task.version,
            title=p.task.title,
            dataset=p.data.used,
            parameters=p.task.parameters.model_dump(mode="json"),
            indicative=p.task.indicative,
            note=p.task.note,
            units=units,
            metrics=metrics,
            curves=curves,
            headline=headline,
        )
    cards = _known_cards(planned, models, spec)
    main = next(iter(cards.values()))
    return Report(
        suite=suite.name,
        suite_version=suite.version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        model=main.model_copy(update={"name": clean(_name(models))}),
        models=cards if isinstance(models, Mapping) else {},
        environment=machine.environment(device, timed=whole),
        wall_s=round(wall_s, 1),
        tasks=tasks,
    ).sealed()


def _scored(p: Ready, finished: list[Result]) -> tuple[dict, dict, str, str]:
    """(metrics, curves, headline, ""), or nothing and why: scoring that fails costs its task, not the report."""
    if not finished:
        return {}, {}, "", ""
    kind = p.task.kind
    try:
        metrics, curves = kind.module.score(p.task, finished, p.data)
        return stated(metrics), curves, kind.headline(finished), ""
    except Exception as error:
        return {}, {}, "", clean(f"scoring failed: {full_traceback(error)}")


def _known_cards(planned: Sequence[Planned], models: model_room.Models, spec: str) -> dict[str, ModelCard]:
    """The card of every model with what it answered, by the name it is given under (``""`` for the only one)."""
    cards = {}
    for key, model in (models if isinstance(models, Mapping) else {"": models}).items():
        answers = {k: one.answers for p in ready(planned) if p.model is model for k, one in p.identities.items()}
        stated = first_answer.stated(model)
        common = next((p.common for p in ready(planned) if p.model is model), "")
        cards[key] = model_room.known_as(model_room.card(model, spec), stated, answers, common)
    return cards


def _run_lengths(status: list[str]) -> list[str]:
    """Hundreds of equal frame states are one: a chunk is ``ok`` unless a frame is not."""
    return [s for s in dict.fromkeys(status) if s != "ok"] or ["ok"]


def _known(run: Path) -> Known:
    """The models that a run folder has met; none if it is new, or if its list was torn."""
    try:
        rows = json.loads((run / "run.json").read_text())["identities"]
        return Known([r for r in rows if {"data", "stated", "answers", "mark"} <= r.keys()])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Known()


@contextmanager
def _claimed(
    run: Path, models: model_room.Models, spec: str, suite: Suite, resume: bool, known: Known
) -> Iterator[None]:
    """Mark the run folder as this model's and hold it; refuse one that belongs to another process or to a model of
    another name. Results of a model that was changed since stay there, unused."""
    path, lock = run / "run.json", FileLock(run / "lock", blocking=False)
    if run.exists() and not path.exists() and any(file.name != "lock" for file in run.iterdir()):
        raise ValueError(f"out: {run} exists and is not a run folder; choose another one")
    run.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()  # the system frees it when the process ends, however it ends
    except Timeout:
        raise ValueError(f"out: {run} is in use by another process; wait for it, or choose another folder") from None
    try:
        if path.exists() and resume:
            _told_apart(run, path, _name(models), known)
        if not resume:
            for file in run.iterdir():
                if file.is_dir():
                    shutil.rmtree(file)
                elif file.name != "lock":
                    file.unlink()
        record = {"name": clean(_name(models)), "spec": clean(spec), "suite": suite.name, "identities": known.rows}
        write_text(path, json.dumps(record, indent=1))
        yield
    finally:
        lock.release()


def _told_apart(run: Path, path: Path, name: str, known: Known) -> None:
    """Say so when the folder's results are of a model that answers otherwise; refuse it if the name differs too."""
    try:
        old = str(json.loads(path.read_text()).get("name"))
    except (OSError, ValueError, AttributeError):
        tell(f"{path} cannot be read; finished units of this model are found by its answers")
        return
    changed = known.changed()
    if old != clean(name) and not known.recognised:
        raise ValueError(
            f"out: {run} holds the run of another model ({old}); "
            "choose another folder with out=/--out, or start over with resume=False/--fresh"
        )
    if changed or not known.old:
        where = f" on {', '.join(sorted({data.partition(':')[0] for data in changed}))}" if changed else ""
        tell(f"model {name!r} does not answer{where} as it did in {run}: what it said then is not used, it is run anew")


def _on_device(models: model_room.Models, device: str) -> model_room.Models:
    if isinstance(models, Mapping):
        return {k: m.to(device) if device != "cpu" else m for k, m in models.items()}
    return models.to(device) if device != "cpu" else models


def _name(models: model_room.Models) -> str:
    if isinstance(models, ForceField):
        return models.name
    names = {m.name for m in models.values()}
    return names.pop() if len(names) == 1 else "+".join(sorted(names))


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.") or "model"
