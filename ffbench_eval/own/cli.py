"""``ffbench suite for``: the suite that your own data allow, as a file. ``ffbench suite NAME`` is in `run.tell`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ffbench_data.atomic import write_text


class SuiteGroup(TyperGroup):
    """``ffbench suite mini`` means ``ffbench suite tell mini``."""

    implied = "tell"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [self.implied, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=SuiteGroup, no_args_is_help=True, help="What a suite asks (suite NAME); a suite of your own data."
)


@app.callback()
def main() -> None:
    """The shipped suites are listed by `ffbench suites`."""


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
    typer.echo(f"Next: ffbench evaluate MODEL --suite {shlex.quote(str(path))}")
