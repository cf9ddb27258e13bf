"""``ffbench suite NAME``: what a suite asks; ``ffbench suite for``: the suite that your own data allow, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from ffbench_data.atomic import write_text


class SuiteGroup(TyperGroup):
    """``ffbench suite mini`` means ``ffbench suite tell mini``."""

    implied = "tell"

    def parse_args(self, ctx, args):
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [self.implied, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=SuiteGroup, no_args_is_help=True, help="What a suite asks (suite NAME); a suite of your own data."
)


@app.callback()
def main() -> None:
    """The shipped suites are listed by `ffbench suites`."""


@app.command("tell")
def tell_(suite: Annotated[str, typer.Argument(help="suite name or YAML file")]) -> None:
    """Say what a suite asks: its tasks, how many structures they ask a model for, and the data they need."""
    from ffbench_eval.run.tell import many, tell
    from ffbench_eval.suite import load_suite

    found = load_suite(suite)
    typer.echo(f"{found.name} {found.version}: {found.description}")
    told, said = tell(found), set()
    for one in told:
        task, cost = one.task, one.cost
        typer.echo(f"\n{task.name}: {task.title}{' (indicative)' if task.indicative else ''}")
        typer.echo(f"  asks: {task.kind.name}{'' if task.kind.name in said else f'. {task.kind.about}'}")
        said.add(task.kind.name)
        typer.echo(f"  data: {one.data}{'' if cost else f'; not here: {one.missing}'}")
        if cost:
            typer.echo(f"  cost: {many(cost.structures)} structures of {cost.atoms} atoms in {many(cost.calls)} calls")
    missing = sum(one.cost is None for one in told)
    typer.echo(f"\nIn seconds, for your model on this machine: ffbench plan MODEL --suite {suite}")
    if missing:
        typer.echo(f"Of {len(told)} tasks {missing} lack their data and would be left out.")


@app.command("for")
def for_(
    data: Annotated[list[str], typer.Argument(help="data set of your own, its folder, or files")],
    out: Annotated[Path | None, typer.Option(help="the file [default: NAME.yaml]")] = None,
    temperature: Annotated[str, typer.Option(help="K, where the files do not say it")] = "",
) -> None:
    """Write the suite that your data allow, to keep and to edit."""
    from ffbench_data.datacard import is_path
    from ffbench_data.own.options import Options

    from .suite import as_yaml, rows_for

    rows = rows_for(data, Options(temperature=temperature))
    path = out or Path(f"{rows['name']}.yaml")
    for row in rows["tasks"].values():  # a folder counts from the file
        if is_path(row["dataset"]):
            row["dataset"] = str(Path(row["dataset"]).expanduser().resolve())
    write_text(path, as_yaml(rows))
    for name, row in rows["tasks"].items():
        typer.echo(f"{name}: {row['title']}")
    typer.echo(f"Next: ffbench evaluate MODEL --suite {path}")
