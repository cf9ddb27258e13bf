"""``evaluate(model, suite)``: suite -> units -> results on disk -> metrics -> report."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from ffbench_data.contract import ForceField
from ffbench_data.load import NotBuilt

from . import machine
from . import models as model_room
from .domains import with_known_intervals
from .execute import Result, Unit, halves, load_result, make_unit, run_unit, singles
from .report import DatasetUsed, Report, Status, TaskReport, UnitReport
from .suite import Suite, Task, load_suite


@dataclass
class TaskData:
    """What a task measures on: its frames, the dataset's reference observables and where they come from."""

    frames: Any
    reference: Any
    used: DatasetUsed


@dataclass
class Planned:
    """A task, its units, its data and the model that answers it (``None``: unsupported, and why)."""

    task: Task
    data: TaskData
    model: ForceField | None
    units: list[Unit]
    why_not: str = ""
    seconds: float = 0.0
    longest: float = 0.0  # unit of it, in seconds
    absent: bool = False  # the data is not on this machine: not run, which says nothing about the model


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
    tasks: list[str] | None = None,
    quiet: bool = False,
    isolate: bool | None = None,
) -> Report:
    """Score ``model`` on ``suite`` and write ``report.json`` and ``report.html`` into the run folder.

    - ``model``: a `ForceField`, a mapping from dataset name to `ForceField`, an ASE calculator, or a spec string
      (``reference_models:painn``, ``path/to/file.py:function``).
    - ``suite``: a shipped suite's name, a YAML file or a `Suite`; ``tasks`` keeps only the named tasks.
    - ``device``: ``"cuda"``, ``"cpu"``; default: a GPU if there is one.
    - ``out``: the run folder, default ``runs/<model>-<suite>``. Finished units in it are kept (``resume``); a folder
      of another model is refused.
    - ``compile``: the engine compiles the MD step when that pays off (``auto``), never (``off``) or always
      (``require``); the report says what was used.
    - ``workers``: processes that work side by side (needs the extra ``dask``); 0 works in this one.
    - ``isolate``: the model of a spec is loaded and called in a process of its own, so that a crash or a call that
      never ends costs one unit; by default so for models of other people's packages.

    Raises ValueError (one line) for anything wrong with the arguments or with the model's first answer.

    >>> report = evaluate(my_model, "mini")  # doctest: +SKIP
    >>> report.tasks["ethanol_accuracy"].metrics["force_mae"].value  # doctest: +SKIP
    """
    from .kinds import KINDS

    begun = time.perf_counter()
    models, spec = model_room.resolve(model, isolate)
    suite = suite if isinstance(suite, Suite) else load_suite(suite, tasks=tasks)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    models = _on_device(models, device)
    planned = plan(models, suite, seed)
    name = _name(models)
    run = Path(out) if out else Path("runs") / f"{_slug(name)}-{suite.name}"
    with _claimed(run, models, spec, suite, resume):
        estimate(planned, run)
        if not quiet:
            _announce(planned, run, workers)
        results = _execute(planned, run, workers, compile, quiet)
        report = assemble(planned, results, models, spec, suite, seed, device, time.perf_counter() - begun)
        report.to_json(run / "report.json")
        report.to_html(run / "report.html")
        for p in planned:
            write = getattr(KINDS[p.task.kind], "write_files", None)
            if write and report.tasks[p.task.name].metrics:
                finished = [results[u.address] for u in p.units if u.address in results]
                write(p.task, finished, p.data, run, f"{report.model.name}: {p.task.title}")
    return report


def plan(models: model_room.Models, suite: Suite, seed: int = 0) -> list[Planned]:
    """Every task of the suite with its data, model and units. Asks each model once about each dataset."""
    planned = []
    asked: set[tuple[int, str]] = set()
    for task in suite.tasks:
        try:
            planned.append(_plan_task(task, models, seed, asked))
        except NotBuilt as error:
            planned.append(_absent(task, error))
    if planned and all(p.absent for p in planned):
        raise ValueError(f"suite {suite.name}: no data set of it is on this machine: {planned[0].why_not}")
    return planned


def _plan_task(task: Task, models: model_room.Models, seed: int, asked: set[tuple[int, str]]) -> Planned:
    from .kinds import KINDS

    data, kind = load_task_data(task), KINDS[task.kind]
    model = model_room.for_dataset(models, task.dataset, task.config)
    if model is None:
        name = f"{task.dataset}:{task.config}" if task.config else task.dataset
        return Planned(task, data, None, [], f"no model for dataset {name}")
    if hasattr(kind, "sample_rows"):  # a part of the data set is enough for this kind
        if not len(probe_rows(task, data, model, 1)):
            return Planned(task, data, None, [], "unsupported elements in every frame")
    elif model.elements is not None:
        missing = sorted(set(data.frames.atomic_numbers.tolist()) - set(model.elements))
        if missing:
            return Planned(task, data, None, [], f"unsupported elements: {missing}")
    if (id(model), task.dataset) not in asked:
        _first_answer(model, data, task)
        asked.add((id(model), task.dataset))
    mark, used = model_room.fingerprint(model), data.used.content_sha256
    rows = kind.plan(task, data, seed)
    if hasattr(kind, "plan_for_model"):
        rows = rows + kind.plan_for_model(task, model)
    units = [make_unit(task, inputs, seed=seed, dataset_hash=used, fingerprint=mark) for inputs in rows]
    if not model.batched:
        units = [single for unit in units for single in singles(unit)]
    return Planned(task, data, model, units)


def _absent(task: Task, error: Exception) -> Planned:
    used = DatasetUsed(
        name=task.dataset, config=task.config or "", split=task.parameters.split, version="", content_sha256=""
    )
    return Planned(task, TaskData(None, None, used), None, [], str(error), absent=True)


def probe_rows(task: Task, data: TaskData, model: ForceField, count: int) -> np.ndarray:
    """Rows of frames to ask the model for once, or to time it on: the first ones unless the kind knows better."""
    from .kinds import KINDS

    sample = getattr(KINDS[task.kind], "sample_rows", None)
    rows = sample(data, model, count) if sample else np.arange(min(count, len(data.frames)))
    return rows[np.arange(count) % len(rows)] if len(rows) else rows


def load_task_data(task: Task) -> TaskData:
    """The frames of a task's split, the reference that ships with the dataset, and their hashes."""
    from ffbench_data.datacard import card
    from ffbench_data.load import dataset_folder, load_frames, provenance
    from ffbench_data.observables import read_reference

    split = task.parameters.split
    frames = load_frames(task.dataset, task.config, split)
    source = provenance(task.dataset, task.config, split)
    used = DatasetUsed(
        name=task.dataset,
        config=source["config"],
        split=split,
        version=source["version"],
        content_sha256=source["splits"][split]["content_sha256"],
        theory=card(task.dataset).theory,
    )
    return TaskData(frames, read_reference(dataset_folder(task.dataset), used.config), used)


def _first_answer(model: ForceField, data: TaskData, task: Task) -> None:
    """One call before any work: a wrong shape or a NaN is the user's to know now, not after an hour."""
    from ffbench_data.frames import collate

    where = f"model {model.name!r} on {task.dataset}"
    try:
        out = model(collate(data.frames, indices=probe_rows(task, data, model, 1)))
    except Exception as error:
        raise ValueError(f"{where}: {type(error).__name__}: {error}") from error
    for field in ("energy", "forces"):
        if not bool(torch.isfinite(getattr(out, field)).all()):
            raise ValueError(f"{where}: {field} of the first {data.used.split} frame are not finite")


def estimate(planned: list[Planned], run: Path) -> None:
    """Fill in seconds per task from a few timed calls of this model on this machine; finished units cost nothing."""
    from ffbench_data.frames import collate

    from .kinds import KINDS

    timed: dict[tuple, float] = {}
    for p in planned:
        if p.model is None:
            continue
        for unit in p.units:
            if load_result(unit, run):
                continue
            systems, calls = KINDS[p.task.kind].calls(p.task, unit.inputs, p.data, p.model)
            key = (id(p.model), p.task.dataset, systems)
            if key not in timed:
                rows = probe_rows(p.task, p.data, p.model, systems)
                timed[key] = _call_seconds(p.model, collate(p.data.frames, indices=rows))
            seconds = 1.15 * calls * timed[key]
            p.seconds, p.longest = p.seconds + seconds, max(p.longest, seconds)


def _call_seconds(model: ForceField, batch) -> float:
    """The fastest of three calls after a first; 0 if the model fails, which the unit will report."""
    best = float("inf")
    try:
        model(batch)
        for _ in range(3):
            begun = time.perf_counter()
            float(model(batch).energy.sum())  # a GPU answers before it has finished
            best = min(best, time.perf_counter() - begun)
    except Exception:
        return 0.0
    return best


def _announce(planned: list[Planned], run: Path, workers: int) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    total = sum(p.seconds for p in planned)
    wall = max([total / workers, *(p.longest for p in planned)]) if workers > 1 else total
    units = sum(len(p.units) for p in planned)
    console.print(f"{len(planned)} tasks, {units} units, about {duration(wall)} on this machine -> {run}")
    for p in planned:
        what = p.why_not or (f"about {duration(p.seconds)}" if p.seconds else "done before")
        console.print(f"  {p.task.title}: {what}")


def duration(seconds: float) -> str:
    """A rounded time for people.

    >>> duration(75), duration(4000)
    ('75 s', '67 min')
    """
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _execute(planned: list[Planned], run: Path, workers: int, compile: str, quiet: bool) -> dict[str, Result]:
    from .progress import Bars

    todo = [(p, u) for p in planned for u in p.units]
    results = {}
    with Bars(planned, hidden=quiet) as bars:
        waiting = []
        for p, unit in todo:
            done = load_result(unit, run)
            if done:
                results[unit.address] = done
                bars.update(p, unit, 1.0)
            else:
                waiting.append((p, unit))
        if workers > 1 and waiting:
            from .parallel import run_side_by_side

            results |= run_side_by_side(waiting, run, workers, compile, bars)
        else:
            for p, unit in waiting:
                move = functools.partial(bars.update, p, unit)
                results[unit.address] = run_unit(unit, p.data, p.model, run, move, compile)
                move(1.0)
    results |= _rerun_in_halves(planned, results, run, compile)
    return results


def _rerun_in_halves(planned, results, run: Path, compile: str) -> dict[str, Result]:
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


def assemble(
    planned: list[Planned],
    results: dict[str, Result],
    models: model_room.Models,
    spec: str,
    suite: Suite,
    seed: int,
    device: str,
    wall_s: float,
) -> Report:
    """The report of finished units; units without a result are ``not_run``."""
    from .kinds import KINDS

    tasks = {}
    for p in planned:
        finished = [results[u.address] for u in p.units if u.address in results]
        metrics, curves = KINDS[p.task.kind].score(p.task, finished, p.data) if finished else ({}, {})
        metrics = with_known_intervals(metrics)
        units = []
        for u in p.units:
            r = results.get(u.address)
            units.append(
                UnitReport(address=u.address, status=["not_run"], wall_s=0.0)
                if r is None
                else UnitReport(
                    address=u.address,
                    status=_run_lengths(r.status) if p.task.kind == "accuracy" else r.status,
                    detail=r.detail,
                    wall_s=r.wall_s,
                    force_calls=r.force_calls,
                    mode=r.values.get("mode", ""),
                    mode_note=r.values.get("mode_note", ""),
                )
            )
        if p.why_not:
            status: Status = "not_run" if p.absent else "unsupported"
            units = [UnitReport(address="", status=[status], detail=[p.why_not], wall_s=0.0)]
        tasks[p.task.name] = TaskReport(
            kind=p.task.kind,
            version=p.task.version,
            title=p.task.title,
            dataset=p.data.used,
            parameters=p.task.parameters.model_dump(mode="json"),
            indicative=p.task.indicative,
            note=p.task.note,
            units=units,
            metrics=metrics,
            curves=curves,
            headline=KINDS[p.task.kind].headline(finished) if hasattr(KINDS[p.task.kind], "headline") else "",
        )
    by_dataset = models if isinstance(models, Mapping) else {}
    cards = {k: model_room.card(m, spec) for k, m in by_dataset.items()}
    main = next(iter(cards.values())).model_copy(update={"name": _name(models)}) if cards else None
    return Report(
        suite=suite.name,
        suite_version=suite.version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        model=main or model_room.card(models, spec),
        models=cards,
        environment=machine.environment(device),
        wall_s=round(wall_s, 1),
        tasks=tasks,
    ).sealed()


def _run_lengths(status: list[str]) -> list[str]:
    """Hundreds of equal frame states are one: a chunk is ``ok`` unless a frame is not."""
    return [s for s in dict.fromkeys(status) if s != "ok"] or ["ok"]


@contextmanager
def _claimed(run: Path, models: model_room.Models, spec: str, suite: Suite, resume: bool) -> Iterator[None]:
    """Mark the run folder as this model's and hold it; refuse one that belongs to another model or process.

    A model for more data sets than before is still the same; one with other weights for a known data set is not.
    """
    by_dataset = models if isinstance(models, Mapping) else {"": models}
    mark = {k: model_room.fingerprint(m) for k, m in by_dataset.items()}
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
            old = json.loads(path.read_text())
            shared = old["models"].keys() & mark.keys()
            if not shared or any(old["models"][k] != mark[k] for k in shared):
                raise ValueError(
                    f"out: {run} holds the run of another model ({old['name']}, or other weights); "
                    "choose another folder with out=/--out, or start over with resume=False/--fresh"
                )
            mark = old["models"] | mark
        if not resume:
            for file in run.iterdir():
                if file.is_dir():
                    shutil.rmtree(file)
                elif file.name != "lock":
                    file.unlink()
        record = {"name": _name(models), "spec": spec, "models": mark, "suite": suite.name}
        path.write_text(json.dumps(record, indent=1))
        yield
    finally:
        lock.release()


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
