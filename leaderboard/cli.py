"""Commands of the board: `submit`, `leaderboard ...`, `reproduce`, `compare`, `merge`, `status`, `export hub`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

board = typer.Typer(no_args_is_help=True, help="The leaderboard: check entries, build the site.")
Entries = Annotated[Path, typer.Option(help="folder of the entries")]
HERE = Path("leaderboard/entries")


def add_to(app: typer.Typer) -> None:
    """Mount every command of this file on the program."""
    app.add_typer(board, name="leaderboard")
    app.command()(submit)


def submit(
    run: Annotated[Path, typer.Argument(help="run folder or report.json")],
    org: Annotated[str, typer.Option(help="your organisation or user name")],
    model: Annotated[str, typer.Option(help="name on the board [default: the report's]")] = "",
    version: Annotated[str, typer.Option(help="version of the model [default: the report's]")] = "",
    summary: Annotated[str, typer.Option(help="one or two sentences")] = "",
    author: Annotated[list[str] | None, typer.Option(help="repeatable")] = None,
    code: Annotated[str, typer.Option(help="https link")] = "",
    paper: Annotated[str, typer.Option(help="https link")] = "",
    weights: Annotated[str, typer.Option(help="https link")] = "",
    weights_sha256: Annotated[str, typer.Option(help="sha256 of the weights file")] = "",
    open_weights: Annotated[bool | None, typer.Option("--open-weights/--closed-weights")] = None,
    archive_url: Annotated[str, typer.Option(help="https folder that will hold the unit files (never git)")] = "",
    entries: Entries = HERE,
) -> None:
    """Check a finished run and write its entry and a model card skeleton: the pull request is these files."""
    from .entry import About
    from .submit import make_entry
    from .submit import submit as write

    about = _valid(
        lambda: About(
            summary=summary,
            authors=author or [],
            code=code,
            paper=paper,
            weights=weights,
            weights_sha256=weights_sha256,
            open_weights=open_weights,
        )
    )
    entry = _valid(
        lambda: make_entry(
            run, org=org, model=model or None, version=version or None, about=about, archive_url=archive_url
        )
    )
    path, found = write(entry, entries)
    _print(found)
    typer.echo(f"Entry: {path}\nCard to fill in: {path.with_name('card.md')}")
    if any(f.level == "error" for f in found):
        raise typer.Exit(1)


@board.command("check")
def check_(
    entry: Annotated[list[Path] | None, typer.Argument(help="entry files [default: all]")] = None,
    entries: Entries = HERE,
) -> None:
    """Check entries: pure data, no model is imported. Exit code 1 if there is an error."""
    from .check import check, known_entries
    from .entry import entry_paths

    others = known_entries(entries)
    found = []
    paths = entry or entry_paths(entries)
    for path in paths:
        found += check(path, entries=entries, others=others)
    _print(found)
    wrong = sum(f.level == "error" for f in found)
    typer.echo(f"{len(paths)} entries, {wrong} errors, {len(found) - wrong} warnings")
    if wrong:
        raise typer.Exit(1)


@board.command()
def build(
    out: Annotated[Path, typer.Option(help="folder of the site")] = Path("site"),
    entries: Entries = HERE,
    weights: Annotated[Path | None, typer.Option(help="YAML like leaderboard/weights.yaml")] = None,
) -> None:
    """Build the static site from the entries."""
    from datetime import UTC, datetime

    from .build import build as make
    from .scoring import read_yaml

    rules = read_yaml(weights) if weights else None
    index = make(out, entries=entries, weights=rules, built=datetime.now(UTC).date().isoformat())
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    typer.echo(f"{index} ({size / 1e6:.2f} MB)")


@board.command()
def schema(write: Annotated[bool, typer.Option("--write", help="write leaderboard/schema")] = False) -> None:
    """Print the JSON Schema of an entry."""
    from .entry import SCHEMA, schema_text

    if write:
        SCHEMA.write_text(schema_text(), encoding="utf-8")
    typer.echo(SCHEMA if write else schema_text())


@board.command()
def lock(
    suite: Annotated[str, typer.Argument(help="a shipped suite")],
    trusted: Annotated[
        Path | None, typer.Option("--from", help="a trusted run of it: fixes metrics and anchors")
    ] = None,
) -> None:
    """Fix a suite's tasks, data hashes and anchors for the board (maintainers, after a suite changed)."""
    from ffbench_eval.report import Report

    from .lock import make_lock, write_lock

    typer.echo(write_lock(make_lock(suite, Report.load(trusted) if trusted else None)))


def _print(found) -> None:
    for finding in found:
        typer.echo(str(finding), err=finding.level == "error")


def _valid(make):
    from pydantic import ValidationError

    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise ValueError(f"{where}: {first['msg']}, got {first.get('input')!r}") from None
