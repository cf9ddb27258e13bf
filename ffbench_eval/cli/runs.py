"""What is done with finished runs: `status`, `merge`, `compare`, `reproduce`, `export unit`.

A run is given by its folder, its report.json or an entry of the board. Entries and records of trust are the board's:
what reads and writes them is imported late, when a command needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class ExportGroup(TyperGroup):
    """``ffbench export FOLDER`` means ``ffbench export unit FOLDER``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["unit", *args]
        return super().parse_args(ctx, args)


export = typer.Typer(cls=ExportGroup, no_args_is_help=True, help="Write results for others: a viewer, the Hub.")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="run folders, reports or entries")],
    task: Annotated[str | None, typer.Option(help="every number of this task")] = None,
    all: Annotated[bool, typer.Option("--all", help="every number of every task")] = False,
) -> None:
    """Print what several models answer side by side, task by task, with the number that decides."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from leaderboard.entry.read import report_of

    from ..page.summary import answers_side_by_side
    from ..run.folder import columns, side_by_side

    reports = [report_of(path) for path in runs]
    rows = side_by_side(reports, task)
    table = Table("task" if not (task or all) else "metric", *columns(reports, runs), box=box.SIMPLE_HEAD)
    if task or all:
        last = ""
        for name, metric, cells in rows:
            if name != last:
                table.add_section()
                table.add_row(name, style="bold")
            table.add_row(metric, *cells)
            last = name
    else:
        for name, cells in answers_side_by_side(reports):
            table.add_row(name, *cells)
    console = Console(highlight=False)
    console.print(table)
    if not (task or all):
        console.print("Every number: --all, or --task NAME")


def merge(
    runs: Annotated[list[Path], typer.Argument(help="run folders or reports of one model")],
    out: Annotated[Path, typer.Option(help="folder for the merged report.json and report.html")],
    strict: Annotated[bool, typer.Option("--strict", help="runs with --shard: every unit, no other, scored")] = False,
    suite: Annotated[str, typer.Option(help="with --strict: the suite's YAML file, if it is your own")] = "",
) -> None:
    """Put the reports of one model's parts together: different tasks of a suite, or (--strict) shares of its units."""
    from ..report import Report
    from ..run.folder import apart
    from ..run.folder import merge as put_together
    from ..run.storage import local

    runs = [local(run) for run in runs]
    if strict:
        from ..run.shards import merge_shards
        from ..suite import load_suite

        merge_shards(runs, out, load_suite(suite) if suite else None)
        typer.echo(out / "report.html")
        return
    apart(runs, out)
    report = put_together([Report.load(path) for path in runs])
    out.mkdir(parents=True, exist_ok=True)
    report.to_json(out / "report.json")
    typer.echo(report.to_html(out / "report.html"))


def status(run: Annotated[Path, typer.Argument(help="run folder")]) -> None:
    """Say what a run folder holds: finished and stopped units, and how their members ended."""
    from ..run.folder import status as look
    from ..run.storage import local
    from ..words import duration

    for task in look(local(run)):
        states = ", ".join(f"{count} {state}" for state, count in task.states.items())
        stopped = f", {task.stopped} stopped or running" if task.stopped else ""
        typer.echo(f"{task.task}: {task.finished} units done in {duration(task.seconds)}{stopped}; {states}")


def reproduce(
    entry: Annotated[Path, typer.Argument(help="entry, report.json or run folder")],
    units: Annotated[int, typer.Option(help="how many units to run again")] = 3,
    model: Annotated[str, typer.Option(help="spec of the model [default: the entry's]")] = "",
    task: Annotated[list[str] | None, typer.Option(help="only from this task (repeatable)")] = None,
    seed: Annotated[int | None, typer.Option(help="of the choice of units [default: random]")] = None,
    other_seeds: Annotated[int, typer.Option(help="run drawn simulations with so many other seeds too")] = 0,
    out: Annotated[Path, typer.Option(help="folder of the new units")] = Path("runs/reproduce"),
    record: Annotated[bool, typer.Option("--record", help="maintainers: write the trust record")] = False,
    by: Annotated[str, typer.Option(help="who, for the record")] = "",
) -> None:
    """Run a random sample of an entry's units again and compare. Imports and runs the named model."""
    from leaderboard.entry.read import report_of

    from ..run.reproduce import reproduce as rerun

    report = report_of(entry)
    rows = rerun(report, units=units, seed=seed, model=model, out=out, tasks=task, other_seeds=other_seeds)
    for row in rows:
        typer.echo(f"{row.verdict:12} {row.task}: {row.metric}: reported {row.reported}, rerun {row.rerun}")
    bad = [r for r in rows if r.verdict == "differs"]
    typer.echo(f"{len(rows)} metrics, {len(bad)} differ")
    if bad:
        raise typer.Exit(1)
    if record:
        from leaderboard.entry.read import read_entry
        from leaderboard.entry.trust import record as write

        done = list(dict.fromkeys(f"{r.task} rerun" for r in rows if r.verdict in ("identical", "agrees")))
        if not done:
            raise ValueError("--record: nothing could be told from these units; choose others with --task or --units")
        typer.echo(write(read_entry(entry), "reproduced", done, by))


@export.command("unit")
def export_unit(
    unit: Annotated[Path, typer.Argument(help="folder of a finished unit: <run>/units/<task>-<address>")],
    to: Annotated[str, typer.Option(help="traj, xyz, extxyz, dcd or xtc")] = "xyz",
    out: Annotated[Path | None, typer.Option(help="where to write [default: the unit's folder]")] = None,
    failures: Annotated[bool, typer.Option("--failures", help="the last steps of failed replicas instead")] = False,
) -> None:
    """Write a unit's trajectories for a viewer."""
    from ..engine.export import export_trajectories

    for path in export_trajectories(unit, to, out, failures=failures):
        typer.echo(path)
