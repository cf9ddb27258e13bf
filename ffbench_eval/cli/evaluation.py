"""`evaluate`, `plan` and `show`: a model on a suite, before, while and after it is scored."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

OWN = "Your own data: what the files do not say (ffbench data add --help)"
OwnText = Annotated[str, typer.Option(rich_help_panel=OWN)]


def evaluate(
    model: Annotated[
        str, typer.Argument(help="reference_models:NAME, path/to/file.py:function or package.module:factory")
    ],
    suite: Annotated[str | None, typer.Option(help="suite name or YAML file [default: mini]")] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="your own data instead: a file (repeatable), a data set or its folder")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="only this task (repeatable)")] = None,
    out: Annotated[
        str | None, typer.Option(help="run folder, or an fsspec URL of one [default: runs/<model>-<suite>]")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda [default: a GPU if there is one]")] = None,
    workers: Annotated[int, typer.Option(help="worker processes; with --cluster, of its jobs")] = 0,
    scheduler: Annotated[str, typer.Option(help="a running Dask scheduler: tcp://host:port or its JSON file")] = "",
    cluster: Annotated[str, typer.Option(help="ask for --workers there: slurm, pbs, k8s (Dask's own files)")] = "",
    seed: Annotated[int, typer.Option(help="seed of the run")] = 0,
    compile: Annotated[str, typer.Option(help="compile the MD step: auto, off or require")] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="throw away what the run folder holds")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and its cost, run nothing")] = False,
    isolate: Annotated[
        bool | None, typer.Option(help="the model in its own process [default: other people's packages]")
    ] = None,
    env: Annotated[str, typer.Option(help="the model's Python environment: a name (see docs) or an interpreter")] = "",
    shard: Annotated[str, typer.Option(help="run only this part of the units: PART/PARTS, such as 2/8")] = "",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="on a GPU: the same sums in every run, slower")
    ] = False,
    theory: OwnText = "",
    temperature: OwnText = "",
    time_step: Annotated[float | None, typer.Option(rich_help_panel=OWN, help="fs between frames")] = None,
    split: OwnText = "auto",
    energy_key: OwnText = "",
    forces_key: OwnText = "",
    units: OwnText = "",
    cell: OwnText = "",
    pbc: OwnText = "",
    reference: OwnText = "",
) -> None:
    """Score a model on a suite, or on your own data; writes report.json and report.html into the run folder."""
    said = _said(locals())
    from ..page.summary import print_summary
    from ..run import evaluation

    chosen = _chosen_suite(suite, data, task, said)
    if dry_run:
        _plan(model, chosen, task, seed, env=env)
        return
    report = evaluation.evaluate(
        model,
        chosen,
        device=device,
        out=out,
        seed=seed,
        workers=workers,
        resume=not fresh,
        compile=compile,
        tasks=task,
        isolate=isolate,
        deterministic=deterministic,
        shard=shard,
        scheduler=scheduler,
        cluster=cluster,
        env=env,
    )
    print_summary(report)
    run: Any = out or Path("runs") / f"{evaluation.slug(report.model.name)}-{report.suite}"
    page = f"{run.rstrip('/')}/report.html" if isinstance(run, str) else run / "report.html"
    typer.echo(f"\nPage: {page}. Every number: ffbench show {shlex.quote(str(run))} --all")
    if data and not any(task.metrics for task in report.tasks.values()):
        raise ValueError(_nothing(report, model, data))


def _nothing(report: Any, model: str, data: list[str]) -> str:
    """Why a model has no number on the user's data."""
    why = next((line for t in report.tasks.values() for u in t.units for line in u.detail), "see the page")
    hint = ""
    if "no model for dataset" in why:
        hint = f": {model} is one model for each data set that it was trained on; take one for all, or train one, "
        hint += f"`ffbench train FAMILY {data[0]}`"
    return f"nothing could be measured: {why.partition(chr(10))[0]}{hint}"


def _said(given: dict[str, Any]) -> dict[str, Any]:
    """Of the arguments of a command those that say what files of one's own do not."""
    from ffbench_data.own.options import Options

    return {f.name: given[f.name] for f in fields(Options) if f.name in given}


def _chosen_suite(suite: str | None, data: list[str] | None, task: list[str] | None, said: dict[str, Any]) -> Any:
    """The suite by its name, or the one that fits the data; what these do not allow is printed."""
    from ffbench_data.own.options import Options

    given = [f"--{k.replace('_', '-')}" for k, v in said.items() if v not in ("", None, "auto")]
    if not data:
        if given:
            raise ValueError(f"{', '.join(given)}: goes with --data FILE; a suite's data sets say it themselves")
        return suite or "mini"
    if suite:
        raise ValueError("--suite and --data: give one; `ffbench suite for FILE` writes the suite of your data to edit")
    from ffbench_data.load import dataset_folder
    from ffbench_data.own import read_facts
    from ffbench_data.own.facts import said_of

    from ..own.rows import left_out
    from ..own.suite import rows_of, sealed, suite_of
    from ..run import doors

    named = sealed(data, Options(**said))
    for line in said_of(dataset_folder(named)):
        typer.echo(line, err=True)
    for line in left_out(read_facts(named)):
        typer.echo(f"not: {line}", err=True)
    return suite_of(rows_of(named), Path.cwd() / "suite.yaml", tasks=doors.tasks(task))


def plan(
    model: Annotated[str, typer.Argument(help="as for evaluate")],
    suite: Annotated[str | None, typer.Option(help="suite name or YAML file [default: mini]")] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="your own data instead: a file (repeatable), a data set or its folder")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="only this task (repeatable)")] = None,
    theory: OwnText = "",
    temperature: OwnText = "",
    time_step: Annotated[float | None, typer.Option(rich_help_panel=OWN, help="fs between frames")] = None,
    split: OwnText = "auto",
    energy_key: OwnText = "",
    forces_key: OwnText = "",
    units: OwnText = "",
    cell: OwnText = "",
    pbc: OwnText = "",
    reference: OwnText = "",
    machines: Annotated[str, typer.Option(help="what N machines take, or NxGPU: such as 8 or 4x8")] = "",
    env: Annotated[str, typer.Option(help="the model's Python environment, as for evaluate")] = "",
) -> None:
    """Print the tasks and units of a suite, or of your own data, with a cost estimate for this machine or many."""
    said = _said(locals())
    from ..run.scaling import parse

    _plan(model, _chosen_suite(suite, data, task, said), task, 0, parse(machines) if machines else 0, env)


def _plan(model: str, suite: Any, task: list[str] | None, seed: int, workers: int = 0, env: str = "") -> None:
    from rich.console import Console
    from rich.table import Table

    from ..models import resolve as models
    from ..run import doors
    from ..run.cost import duration, estimate
    from ..run.plan import Ready, oddities, plan, ready
    from ..suite import Suite, load_suite

    chosen, spec = models.resolve(model, env=env)
    models.cards(chosen, spec)
    found = suite if isinstance(suite, Suite) else load_suite(suite, tasks=task)
    planned = plan(chosen, found, doors.seed(seed))
    estimate(planned, Path("-"))
    table = Table("task", "what", "units", "about")
    left_out: dict[str, list[str]] = {}
    for p in planned:
        if isinstance(p, Ready):
            table.add_row(p.task.name, p.task.title, str(len(p.units)), duration(p.seconds))
        else:
            left_out.setdefault(p.why, []).append(p.task.name)
    runs = ready(planned)
    whole = duration(sum(p.seconds for p in runs))
    table.add_row("all", "", str(sum(len(p.units) for p in runs)), whole)
    console = Console(highlight=False)
    console.print(table)
    for why, names in left_out.items():
        console.print(f"Left out: {', '.join(names)}: {why}", markup=False)
    for line in oddities(planned):
        console.print(f"Warning: {line}", markup=False)
    if workers:
        _scaled(console, runs, workers)


def _scaled(console: Any, runs: Any, workers: int) -> None:
    """What the suite takes on many workers like this machine, and what keeps it from taking less."""
    from rich.table import Table

    from ..run.cost import duration
    from ..run.scaling import bound, costs_of, table

    costs = costs_of(runs)
    if not costs:
        console.print("No unit is left to run.")
        return
    columns = Table("workers", "about", "at work")
    for row in table(list(costs.values()), workers):
        columns.add_row(str(row.workers), duration(row.seconds), f"{100 * row.efficiency:.0f} %")
    console.print(columns)
    task, seconds, enough = bound(runs, costs)
    console.print(
        f"The longest unit, one of {task}, takes {duration(seconds)} (a trajectory is sequential in time); {enough} "
        f"workers come within 5 % of that, more gain nothing.",
        markup=False,
    )


def show(
    run: Annotated[Path, typer.Argument(help="run folder or report.json")],
    task: Annotated[list[str] | None, typer.Option(help="every number of this task (repeatable)")] = None,
    all: Annotated[bool, typer.Option("--all", help="every number of every task")] = False,
    json: Annotated[bool, typer.Option("--json", help="the answers and deciding numbers as JSON")] = False,
) -> None:
    """Print what a finished run found, and write its page again."""
    from ..page.summary import answers, print_summary
    from ..page.table import print_table
    from ..report import Report
    from ..run.storage import local

    run = local(run)
    if (run / "run.json").exists() and not (run / "report.json").exists():
        raise ValueError(f"{run} is unfinished: give the command that made it again, and it goes on where it was")
    report = Report.load(run)
    unknown = [name for name in task or [] if name not in report.tasks]
    if unknown:
        raise ValueError(f"--task {unknown[0]}: not in this report, which has {', '.join(report.tasks)}")
    if json:
        typer.echo(answers(report))
        return
    if task or all:
        print_table(report, tasks=task or ())
    else:
        print_summary(report)
    page = (run if run.is_dir() else run.parent) / "report.html"
    typer.echo(f"\nPage: {report.to_html(page)}")
