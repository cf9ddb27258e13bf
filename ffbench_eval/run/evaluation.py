"""``evaluate(model, suite)``: suite -> units -> results on disk -> metrics -> report."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
from .execute import complete, run_unit
from .plan import Planned, Ready, oddities, plan, ready
from .units import Result, Unit, damage, halves, load_result, set_aside


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
    - ``deterministic``: on a GPU, ask torch for the same sums in every run, which is slower; a model with an operation
      that cannot ends as ``model_error``. On the CPU every run is the same anyway.

    - ``shard``: ``"2/8"`` runs the second eighth of the units, on a machine that knows nothing of the others; ``ffbench
      merge --strict`` makes the report of the whole from the run folders.

    Raises ValueError (one line) for anything wrong with the arguments or with the model's first answer.

    >>> report = evaluate(my_model, "mini")  # doctest: +SKIP
    >>> report.tasks["ethanol_accuracy"].metrics["force_mae"].value  # doctest: +SKIP
    """
    device = doors.device(device)
    with interrupts.watched(), determinism.deterministic(deterministic, device):
        try:
            return _evaluate(model, suite, device, out, seed, workers, resume, compile, tasks, quiet, isolate, shard)
        except KeyboardInterrupt as error:
            tell("stopped; what is finished is kept, and the same command goes on from there")
            error.told = True  # type: ignore[attr-defined]
            raise


def _evaluate(model, suite, device, out, seed, workers, resume, compile, tasks, quiet, isolate, shard) -> Report:
    begun = time.perf_counter()
    seed, workers, compile = doors.seed(seed), doors.workers(workers), doors.compile(compile)
    doors.spawned()
    part = shards.parse(shard) if shard else None
    models, spec = model_room.resolve(model, isolate)
    model_room.cards(models, spec)  # a wrong type in a card is told now, not after the work
    suite = suite if isinstance(suite, Suite) else load_suite(suite, tasks=doors.tasks(tasks))
    models = _on_device(models, device)
    name = model_room.name_of(models)
    run = Path(out) if out else Path("runs") / f"{slug(name)}-{suite.name}{shard and '-' + shard.replace('/', 'of')}"
    known = met_in(run) if resume else Known()
    planned = plan(models, suite, seed, known=known, device=device, compile=compile)
    with claimed(run, models, spec, suite, resume, known):
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
            return report

        results = _execute(planned, run, workers, compile, quiet, so_far, part)
        report = so_far(results, whole=part is None)
        _write_pages(report, planned, results, run)
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
    run: Path,
    workers: int,
    compile: str,
    quiet: bool,
    so_far: Callable[[dict[str, Result]], Any],
    part: tuple[int, int] | None = None,
) -> dict[str, Result]:
    """The results of all units, or of those of a ``part``; ``so_far`` writes the report of what there is, at first and
    after every task."""
    from .progress import Bars

    runs = ready(planned)
    todo = [(p, u) for p in runs for u in p.units]
    todo = [todo[k] for k in sorted(shards.share(len(todo), part))]
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
                if why := damage(unit.folder(run)):
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
            beside, waiting = streams.parted(waiting)
            streams.run_in_turns(beside, run, compile, bars, note)
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
        for unit in [u for u in p.units if u.address in results]:  # of a part, its own
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


def _on_device(models: model_room.Models, device: str) -> model_room.Models:
    if isinstance(models, Mapping):
        return {k: m.to(device) if device != "cpu" else m for k, m in models.items()}
    return models.to(device) if device != "cpu" else models


def slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.") or "model"
