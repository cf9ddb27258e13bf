"""The command line. Bodies import late, so that ``ffbench --help`` is quick."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Can this machine-learned force field be trusted in a simulation?",
)

OWN = "Your own data: what the files do not say (ffbench data add --help)"
OwnText = Annotated[str, typer.Option(rich_help_panel=OWN)]


def _print_version(asked: bool) -> None:
    if asked:
        from .run.environment import version

        typer.echo(f"ffbench {version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and stop")
    ] = False,
) -> None:
    pass


@app.command()
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
    from .page.summary import print_summary
    from .run import evaluation

    said = {"theory": theory, "temperature": temperature, "time_step": time_step, "split": split, "units": units,
            "energy_key": energy_key, "forces_key": forces_key, "cell": cell, "pbc": pbc,
            "reference": reference}  # fmt: skip
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
    from .own.rows import left_out
    from .own.suite import rows_for, sealed, suite_of
    from .run import doors

    options = Options(**said)
    rows = rows_for(data, options)
    from ffbench_data.own import read_facts

    facts = read_facts(sealed(data, options))
    for line in left_out(facts):
        typer.echo(f"not: {line}", err=True)
    return suite_of(rows, Path.cwd() / "suite.yaml", tasks=doors.tasks(task))


@app.command()
def plan(
    model: Annotated[str, typer.Argument(help="as for evaluate")],
    suite: Annotated[str, typer.Option(help="suite name or YAML file")] = "mini",
    task: Annotated[list[str] | None, typer.Option(help="only this task (repeatable)")] = None,
    machines: Annotated[str, typer.Option(help="what N machines take, or NxGPU: such as 8 or 4x8")] = "",
    env: Annotated[str, typer.Option(help="the model's Python environment, as for evaluate")] = "",
) -> None:
    """Print the tasks and units of a suite with a cost estimate for this model and machine, or for many like it."""
    from .run.scaling import parse

    _plan(model, suite, task, 0, parse(machines) if machines else 0, env)


def _plan(model: str, suite: Any, task: list[str] | None, seed: int, workers: int = 0, env: str = "") -> None:
    from rich.console import Console
    from rich.table import Table

    from .models import resolve as models
    from .run import doors
    from .run.cost import duration, estimate
    from .run.plan import Ready, oddities, plan, ready
    from .suite import Suite, load_suite

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

    from .run.cost import duration
    from .run.scaling import bound, costs_of, table

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


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="run folder or report.json")],
    task: Annotated[list[str] | None, typer.Option(help="every number of this task (repeatable)")] = None,
    all: Annotated[bool, typer.Option("--all", help="every number of every task")] = False,
    json: Annotated[bool, typer.Option("--json", help="the answers and deciding numbers as JSON")] = False,
) -> None:
    """Print what a finished run found, and write its page again."""
    from .page.summary import answers, print_summary
    from .page.table import print_table
    from .report import Report
    from .run.storage import local

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


@app.command()
def metrics(
    write: Annotated[
        Path | None, typer.Option(help="a Markdown file with the two marks: its tables are made anew")
    ] = None,
) -> None:
    """Print every metric that a task can give: unit, direction, range and the function that defines it."""
    from .page.metric_docs import tables, written

    if write is None:
        typer.echo(tables())
    else:
        write.write_text(written(write.read_text(encoding="utf-8")), encoding="utf-8")


@app.command()
def kinds(name: Annotated[str, typer.Argument(help="a kind; without one, all of them")] = "") -> None:
    """Say what can be asked: the kinds of tasks, or one kind's parameters and metrics."""
    from .kinds import all_kinds, find_kind

    if not name:
        for kind in all_kinds().values():
            typer.echo(f"{kind.name}: {kind.about}")
        return
    kind = find_kind(name)
    typer.echo(f"{kind.name}: {kind.about}\n\nParameters of a task:")
    for field, info in kind.module.Parameters.model_fields.items():
        default = "required" if info.is_required() else f"default {info.get_default(call_default_factory=True)!r}"
        kind_of = str(info.annotation).removeprefix("<class '").removesuffix("'>").replace("typing.", "")
        typer.echo(f"  {field}: {kind_of.rsplit('.', 1)[-1] if 'ffbench' in kind_of else kind_of}, {default}")
    typer.echo("\nMetrics:")
    for spec in kind.metrics:
        unit = "" if spec.unit == "1" else f" [{spec.unit}]"
        typer.echo(f"  {spec.name}: {spec.label}{unit}, {spec.better} is better".replace("neither is better", "no aim"))


@app.command()
def validate(suite: Annotated[str, typer.Argument(help="a suite's YAML file, or a shipped suite's name")]) -> None:
    """Check a suite: every row, its kind, parameters and data set."""
    from .suite import load_suite

    found = load_suite(suite)
    typer.echo(f"{found.name} {found.version}: {len(found.tasks)} tasks, no fault")


@app.command()
def train(
    family: Annotated[str, typer.Argument(help="a family of reference_models")],
    dataset: Annotated[str, typer.Argument(help="name or name:config")],
    minutes: Annotated[float, typer.Option(help="budget in CPU minutes, on a GPU in minutes")] = 20.0,
    batch: Annotated[int, typer.Option(help="frames per step")] = 16,
    seed: Annotated[int, typer.Option()] = 0,
    folder: Annotated[Path | None, typer.Option(help="working folder [default: runs/train/<family>@<dataset>]")] = None,
    set: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of the family's configuration (repeatable)")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda [default: a GPU if there is one]")] = None,
) -> None:
    """Train a reference family; a stopped training goes on when the command is given again."""
    from reference_models.train import Recipe, train_on

    wrong = [item for item in set or [] if "=" not in item]
    if wrong:
        raise ValueError(f"--set {wrong[0]!r}: write KEY=VALUE")
    changes = dict(item.split("=", 1) for item in set or [])
    recipe = Recipe(minutes=minutes, batch=batch, seed=seed)
    path = train_on(family, dataset, folder=folder, recipe=recipe, changes=changes, device=device)
    typer.echo(f"Checkpoint: {path}. Score it: ffbench evaluate reference_models:{path}")


@app.command()
def suites() -> None:
    """List the shipped suites and their tasks."""
    from .suite import list_suites, load_suite

    for name in list_suites():
        suite = load_suite(name)
        typer.echo(f"{suite.name} {suite.version}: {suite.description}")
        for task in suite.tasks:
            typer.echo(f"  {task.name}: {task.title}")


@app.command()
def doctor() -> None:
    """Say what is installed, what is missing, and what that costs."""
    from importlib import metadata, util

    import torch

    typer.echo(f"ffbench {metadata.version('ffbench') if util.find_spec('ffbench_eval') else '?'}")
    typer.echo(f"torch {torch.__version__}, {torch.get_num_threads()} threads, CUDA {torch.cuda.is_available()}")
    for module, extra, use in (
        ("openmm", "generate", "water and alanine dipeptide generators and reference potentials"),
        ("tblite", "generate", "GFN2-xTB generator and reference potential"),
        ("distributed", "dask", "--workers"),
    ):
        state = "installed" if util.find_spec(module) else f"missing: pip install 'ffbench[{extra}]'"
        typer.echo(f"{module}: {state} ({use})")


def main(arguments: list[str] | None = None) -> None:
    """Entry point: one line for an error, exit code 2; the traceback with ``--debug``."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    _mount()
    try:
        app(arguments, standalone_mode=True)
    except (ValueError, OSError) as error:
        if debug:
            raise
        frames = str(getattr(error, "frames", ""))  # of a user's model: its own lines of the traceback
        if frames.count('File "') > 1:
            typer.echo(frames, err=True)
        typer.echo(f"ffbench: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except KeyboardInterrupt as error:
        if not getattr(error, "told", False):
            typer.echo("ffbench: stopped; run the same command again to go on where it was", err=True)
        sys.exit(130)


def _mount() -> None:
    """Sub-commands that live in other rooms."""
    from importlib.util import find_spec

    if not any(group.name == "bsct" for group in app.registered_groups):
        from .kinds.bsct.cli import app as bsct

        app.add_typer(bsct, name="bsct")
    if find_spec("ffbench_data.cli") and not any(group.name == "data" for group in app.registered_groups):
        from ffbench_data.cli import app as data

        app.add_typer(data, name="data", help="Datasets: list, build, check, push.")
    if not any(group.name == "suite" for group in app.registered_groups):
        from .own.cli import app as own

        app.add_typer(own, name="suite")
    if not any(group.name == "models" for group in app.registered_groups):
        from reference_models.cli import app as models

        app.add_typer(models, name="models", help="Reference models: shipped, trainable, published weights.")
    if find_spec("leaderboard.cli") and not any(group.name == "leaderboard" for group in app.registered_groups):
        from leaderboard.cli import add_to

        add_to(app)


if __name__ == "__main__":
    main()
