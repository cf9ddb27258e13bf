"""``evaluate(model, suite)``: suite -> units -> results on disk -> metrics -> report."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..engine import determinism
from ..models import interrupts
from ..models import resolve as model_room
from ..models.identity import Known
from ..report import Report
from ..stderr import tell
from ..suite import Suite, load_suite
from . import doors, shards, streams
from .assemble import assemble
from .claim import claimed, met_in
from .cost import announce, estimate
from .execute import begun_in, complete, run_unit, taken_over
from .plan import Planned, Ready, oddities, plan, ready
from .storage import Storage, url_of
from .units import Result, Unit, damage, halves, load_result, set_aside

if TYPE_CHECKING:
    from .progress import Bars


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
    deterministic: bool = False,
    shard: str = "",
    scheduler: str | Path = "",
    cluster: str = "",
    env: str | Path = "",
) -> Report:
    """Score ``model`` on ``suite`` and write ``report.json`` and ``report.html`` into the run folder.

    - ``model``: a `ForceField`, an ASE calculator or its class, a mapping from dataset name to one of these, or a spec
      string (``reference_models:painn``, ``path/to/file.py:function``).
    - ``suite``: a shipped suite's name, a YAML file or a `Suite`; ``tasks`` keeps only the named tasks.
    - ``device``: ``"cuda"``, ``"cpu"``; default: a GPU if there is one.
    - ``out``: the run folder, default ``runs/<model>-<suite>``, or an fsspec URL (``s3://bucket/run``). Finished units
      in it are kept (``resume``) as long as the model answers as it did; one that was changed is run anew, one of
      another name is refused.
    - ``compile``: the engine compiles the MD step when that pays off (``auto``), never (``off``) or always
      (``require``); the report says what was used.
    - ``workers``: processes that work side by side (needs the extra ``dask``); 0 works in this one.
    - ``scheduler``: work on a Dask cluster that runs: its address (``tcp://host:8786``) or the JSON file it wrote. The
      run folder must be one that its workers see, or an URL. ``cluster``: ``slurm``, ``pbs`` or ``k8s``: ask that for
      ``workers``, as Dask's own configuration files describe it. The report is the one of a single process.
    - ``isolate``: the model of a spec is loaded and called in a process of its own, so that a crash or a call that
      never ends costs one unit; by default so for models of other people's packages.
    - ``env``: the model of a spec lives in another Python environment, whose packages need not go with those here: a
      name of ``reference_models/envs``, made on demand, or an interpreter's path. Its units run there.
    - ``deterministic``: on a GPU, ask torch for the same sums in every run, which is slower; a model with an operation
      that cannot ends as ``model_error``. On the CPU every run is the same anyway.

    - ``shard``: ``"2/8"`` runs the second eighth of the units, on a machine that knows nothing of the others; ``ffbench
      merge --strict`` makes the report of the whole from the run folders.

    Raises ValueError (one line) for anything wrong with the arguments or with the model's first answer.

    >>> report = evaluate(my_model, "mini")  # doctest: +SKIP
    >>> report.tasks["ethanol_accuracy"].metrics["force_mae"].value  # doctest: +SKIP
    """
    device = doors.device(device, here=not (scheduler or cluster))
    pool = doors.pool(doors.workers(workers), scheduler, cluster)
    with interrupts.watched(), determinism.deterministic(deterministic, device):
        try:
            return _evaluate(
                model, suite, device, out, seed, workers, resume, compile, tasks, quiet, isolate, shard, pool, env
            )
        except KeyboardInterrupt as error:
            tell("stopped; what is finished is kept, and the same command goes on from there")
            error.told = True  # type: ignore[attr-defined]
            raise


@dataclass(frozen=True)
class Setting:
    """Where and how the units of a run are run."""

    run: Path
    workers: int
    compile: str
    quiet: bool
    device: str
    pool: tuple[str, str] = ("", "")  # a scheduler, or a batch system
    storage: Storage | None = None


def _evaluate(
    model: Any,
    suite: str | Suite,
    device: str,
    out: str | Path | None,
    seed: int,
    workers: Any,
    resume: bool,
    compile: str,
    tasks: list[str] | str | None,
    quiet: bool,
    isolate: bool | None,
    shard: str,
    pool: tuple[str, str],
    env: str | Path,
) -> Report:
    begun = time.perf_counter()
    seed, workers, compile = doors.seed(seed), doors.workers(workers), doors.compile(compile)
    doors.spawned()
    part = shards.parse(shard) if shard else None
    models, spec = model_room.resolve(model, isolate, str(env))
    model_room.cards(models, spec)  # a wrong type in a card is told now, not after the work
    suite = suite if isinstance(suite, Suite) else load_suite(suite, tasks=doors.tasks(tasks))
    models = _on_device(models, device)
    name = model_room.name_of(models)
    out = out or Path("runs") / f"{slug(name)}-{suite.name}{shard and '-' + shard.replace('/', 'of')}"
    storage = Storage(url_of(out), shard) if url_of(out) else None
    run = storage.mirror if storage else Path(out)
    if storage and resume:
        storage.fetch("run.json")
    known = met_in(run) if resume else Known()
    planned = plan(models, suite, seed, known=known, device=device, compile=compile)
    with claimed(run, models, spec, suite, resume, known):
        if storage:
            storage.put("run.json")
            for p in ready(planned):
                for unit in p.units if resume else ():
                    storage.match(unit.folder(run).name)
        for line in oddities(planned):
            tell(f"warning: {line}")
        estimate(planned, run)
        if not quiet:
            announce(planned, run, workers)
        scored: dict[Any, Any] = {}

        def so_far(results: dict[str, Result], whole: bool = False) -> Report:
            spent = time.perf_counter() - begun
            report = assemble(planned, results, models, spec, suite, seed, device, spent, scored, whole)
            report.to_json(run / "report.json")
            if storage:
                storage.put("report.json")
            return report

        setting = Setting(run, workers, compile, quiet, device, pool, storage)
        results = _execute(planned, setting, so_far, part)
        report = so_far(results, whole=part is None)
        _write_pages(report, planned, results, run)
        if storage:
            storage.put("report.html")
    return report


def _write_pages(report: Report, planned: Sequence[Planned], results: dict[str, Result], run: Path) -> None:
    """The files of kinds, then the page, which links to them. The numbers are safe by now: what fails is told."""
    for p in ready(planned):
        if report.tasks[p.task.name].metrics:
            finished = [results[u.address] for u in p.units if u.address in results]
            try:
                p.task.kind.write_files(p.task, finished, p.data, run, f"{report.model.name}: {p.task.title}")
            except Exception as error:
                tell(f"files of task {p.task.name} could not be written ({type(error).__name__}: {error})")
    try:
        report.to_html(run / "report.html")
    except Exception as error:
        tell(
            f"the page could not be written ({type(error).__name__}: {error}); the numbers are in {run / 'report.json'}"
        )


def _execute(
    planned: Sequence[Planned],
    setting: Setting,
    so_far: Callable[[dict[str, Result]], Any],
    part: tuple[int, int] | None = None,
) -> dict[str, Result]:
    """The results of all units, or of those of a ``part``; ``so_far`` writes the report of what there is, at first and
    after every task."""
    from .progress import Bars

    runs, run = ready(planned), setting.run
    todo = [(p, u) for p in runs for u in p.units]
    todo = [todo[k] for k in sorted(shards.share(len(todo), part))]
    results: dict[str, Result] = {}

    def note(p: Ready, unit: Unit, result: Result) -> None:
        results[unit.address] = result
        if len(results) < len(todo) and all(u.address in results for u in p.units):
            so_far(results)

    reused: dict[str, int] = {}
    with Bars(runs, hidden=setting.quiet) as bars:
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
                if why := damage(unit.folder(run)):
                    tell(f"unit {unit.folder(run).name}: {why}; it is run again")
                waiting.append((p, unit))
        for name, count in reused.items():
            tell(f"{count} of {len(todo)} units are kept from an earlier run of model {name!r} in {run}")
        if waiting:
            so_far(results)
        _run(waiting, setting, bars, note)
        while more_units := _halved(runs, results, run):
            _run(more_units, setting, bars, note)
    return results


def _run(waiting: list[tuple[Ready, Unit]], setting: Setting, bars: Bars, note: Any) -> None:
    """Run units here, one after the other, or on workers."""
    begun = begun_in(setting.run)
    for _, unit in waiting:
        if unit.folder(setting.run).name in begun:  # on a worker that is gone
            taken_over(unit, setting.run)
    if waiting and (setting.workers > 1 or any(setting.pool)):
        from .parallel import run_side_by_side

        scheduler, cluster = setting.pool
        run_side_by_side(
            waiting, setting.run, setting.workers, setting.compile, bars, note,
            scheduler=scheduler, cluster=cluster, device=setting.device, storage=setting.storage,
        )  # fmt: skip
        return

    def kept(p: Ready, unit: Unit, result: Result) -> None:
        if setting.storage:
            setting.storage.push(result.folder)
        note(p, unit, result)

    beside, others = streams.parted(waiting)
    streams.run_in_turns(beside, setting.run, setting.compile, bars, kept)
    for p, unit in others:
        move = functools.partial(bars.update, p, unit)
        kept(p, unit, run_unit(unit, p.data, p.model, setting.run, move, setting.compile))
        move(1.0)


def _completed(done: Result, unit: Unit, p: Ready) -> Result:
    """The kept result with what it had to leave out; what it has stays good if that fails."""
    try:
        return complete(done, unit, p.data, p.model)
    except OSError:
        raise
    except Exception as error:
        tell(f"unit {done.folder.name} keeps what it has, and could not be completed ({type(error).__name__}: {error})")
        return done


def _halved(planned: list[Ready], results: dict[str, Result], run: Path) -> list[tuple[Ready, Unit]]:
    """Batches that ran out of memory are replaced by two of half the width; those of them that have yet to run. Again
    and again, down to one replica."""
    waiting = []
    for p in planned:
        queue = list(p.units)
        while queue:
            unit = queue.pop(0)
            done = results.get(unit.address)
            parts = halves(unit) if done is not None and set(done.status) == {"out_of_memory"} else []
            if not parts:
                continue
            at = p.units.index(unit)
            p.units[at : at + 1] = parts
            for half in parts:
                kept = load_result(half, run)
                if kept is None:
                    waiting.append((p, half))
                else:
                    results[half.address] = kept
            queue = parts + queue
    return waiting


def _on_device(models: model_room.Models, device: str) -> model_room.Models:
    if device.startswith("cuda") and not torch.cuda.is_available():  # it is the workers that have GPUs
        return models
    if isinstance(models, Mapping):
        return {k: m.to(device) if device != "cpu" else m for k, m in models.items()}
    return models.to(device) if device != "cpu" else models


def slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.") or "model"
