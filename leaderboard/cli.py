"""Commands of the board: `submit`, `leaderboard ...` and `export hub`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

board = typer.Typer(no_args_is_help=True, help="The leaderboard: check entries, build the site.")
Entries = Annotated[Path, typer.Option(help="folder of the entries")]
HERE = Path("leaderboard/entries")


def add_to(app: typer.Typer, export: typer.Typer) -> None:
    """Mount every command of this file on the program and on its group `export`."""
    app.add_typer(board, name="leaderboard")
    app.command()(submit)
    export.command("hub")(export_hub)


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
    from ffbench_eval.run.storage import local

    from .entry.read import valid
    from .entry.schema import About
    from .entry.submit import make_entry
    from .entry.submit import submit as write

    if entries == HERE and not entries.is_dir():
        where = "run this in a checkout of the board, or name a folder to write into with --entries FOLDER"
        raise ValueError(f"--entries: no folder {entries} here; {where}")
    about = valid(
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
    entry = valid(
        lambda: make_entry(
            local(run), org=org, model=model or None, version=version or None, about=about, archive_url=archive_url
        )
    )
    path, found = write(entry, entries)
    _print(found)
    typer.echo(f"Entry: {path}\nCard to fill in: {path.with_name('card.md')}")
    if any(f.level == "error" for f in found):
        raise typer.Exit(1)


def export_hub(
    entry: Annotated[Path, typer.Argument(help="an entry of the board")],
    out: Annotated[Path, typer.Option(help="folder to write into")] = Path("hub"),
    benchmark: Annotated[str, typer.Option(help="the benchmark's data set repository")] = "ffbench/ffbench",
) -> None:
    """Write an entry's scores for the Hugging Face Hub: .eval_results, model-index, eval.yaml. No network."""
    from .check.lock import load_lock
    from .entry.read import read_entry
    from .site.hub import export as write

    loaded = read_entry(entry)
    lock = load_lock(loaded.report.suite, loaded.report.suite_version)
    if lock is None:
        raise ValueError(f"the board does not know suite {loaded.report.suite} {loaded.report.suite_version}")
    for path in write(loaded, lock, out, benchmark=benchmark):
        typer.echo(path)


@board.command()
def recompute(
    entry: Annotated[Path, typer.Argument(help="an entry whose archives are named")],
    files: Annotated[Path, typer.Option(help="folder with the fetched files, any layout")],
    task: Annotated[list[str] | None, typer.Option(help="only this task (repeatable)")] = None,
    record: Annotated[bool, typer.Option("--record", help="maintainers: write the trust record")] = False,
    by: Annotated[str, typer.Option(help="who, for the record")] = "",
) -> None:
    """Work an entry's metrics out again from its archived predictions and trajectories. Loads no model."""
    from .entry.archives import recompute as again
    from .entry.read import read_entry

    loaded = read_entry(entry)
    said = again(loaded, files, task)
    typer.echo("\n".join(said))
    if record:
        if task:
            raise ValueError("--record needs all tasks: leave out --task")
        from .entry.trust import record as write

        typer.echo(write(loaded, "recomputed", said, by))


@board.command("check")
def check_(
    entry: Annotated[list[Path] | None, typer.Argument(help="entry files [default: all]")] = None,
    entries: Entries = HERE,
    warnings: Annotated[bool, typer.Option("--warnings", help="of all entries too, not of named ones alone")] = False,
) -> None:
    """Check entries: pure data, no model is imported. Exit code 1 if there is an error."""
    from .check.check import check, known_entries
    from .entry.schema import entry_paths

    if not entry and not entries.is_dir():
        raise ValueError(f"--entries: no folder {entries}; run this in a checkout of the board")
    others = known_entries(entries)
    found = []
    paths = entry or entry_paths(entries)
    for path in paths:
        found += check(path, entries=entries, others=others)
    _print(found if entry or warnings else [f for f in found if f.level == "error"])
    wrong = sum(f.level == "error" for f in found)
    counts = ((len(paths), "entry", "entries"), (wrong, "error", "errors"), (len(found) - wrong, "warning", "warnings"))
    typer.echo(", ".join(f"{n} {one if n == 1 else many}" for n, one, many in counts))
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

    from .check.check import printable
    from .site.build import build as make
    from .site.scoring import read_yaml

    rules = read_yaml(weights) if weights else None
    if not entries.is_dir():
        raise ValueError(f"--entries: no folder {entries}; run this in a checkout of the board")
    site = make(out, entries=entries, weights=rules, built=datetime.now(UTC).date().isoformat())
    for key, why in site.aside.items():
        typer.echo(printable(f"set aside: {key}: {why}"), err=True)
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    typer.echo(f"{site.index} ({size / 1e6:.2f} MB)")


@board.command()
def schema(write: Annotated[bool, typer.Option("--write", help="write leaderboard/schema")] = False) -> None:
    """Print the JSON Schema of an entry."""
    from .entry.schema import SCHEMA, schema_text

    if write:
        SCHEMA.write_text(schema_text(), encoding="utf-8")
    typer.echo(SCHEMA if write else schema_text())


@board.command()
def lock(
    suite: Annotated[str, typer.Argument(help="a shipped suite")],
    trusted: Annotated[
        list[Path] | None,
        typer.Option("--from", help="a trusted run, report or entry of it (repeatable): fixes metrics and anchors"),
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="forget the metrics of the present lock")] = False,
    carry: Annotated[
        bool, typer.Option("--carry", help="take unchanged tasks from the last version, with anchors from the data")
    ] = False,
    same: Annotated[
        list[str] | None, typer.Option(help="with --carry: tasks (or all) whose version rose, but not their values")
    ] = None,
) -> None:
    """Fix a suite's tasks, data hashes and anchors for the board (maintainers, after a suite changed).

    Runs may hold some tasks each; tasks they do not have keep what the present lock holds.
    """
    from ffbench_eval.suite import load_suite

    from .check.lock import latest_before, load_lock, make_lock, not_locked, write_lock
    from .entry.read import report_of

    reports = [report_of(path) for path in trusted or []]
    found = load_suite(suite)
    old = None if anew else load_lock(found.name, found.version)
    made = make_lock(suite, reports, old, latest_before(found.name, found.version) if carry else None, same or ())
    typer.echo(write_lock(made))
    for line in not_locked(made, reports):
        typer.echo(line)


@board.command("rescore")
def rescore_(
    entry: Annotated[list[Path], typer.Argument(help="entry files")],
    run: Annotated[
        Path | None, typer.Option("--from", help="a new run of this model: its tasks replace the entry's")
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="take --from although its fingerprint is another")] = False,
    same: Annotated[
        list[str] | None, typer.Option(help="tasks (or all) whose version rose, but not what their values mean")
    ] = None,
    to: Annotated[str, typer.Option(help="version of the suite [default: the shipped one]")] = "",
    dry: Annotated[bool, typer.Option("--dry-run", help="say what would move, write nothing")] = False,
) -> None:
    """Bring entries to a new version of their suite (maintainers): in place, and say what moved."""
    from ffbench_data.atomic import write_text
    from ffbench_eval.suite import load_suite

    from .check.lock import load_lock
    from .entry.read import read_entry, report_of
    from .entry.rescore import rescore

    if run is not None and len(entry) > 1:
        raise ValueError("--from is the run of one model: give one entry")
    for path in entry:
        loaded = read_entry(path)
        version = to or load_suite(loaded.report.suite).version
        lock = load_lock(loaded.report.suite, version)
        if lock is None:
            raise ValueError(f"no lock of {loaded.report.suite} {version}: `ffbench leaderboard lock` first")
        made, said = rescore(loaded, lock, None if run is None else report_of(run), trust=trust, same=tuple(same or ()))
        typer.echo("\n".join([f"{path}: {loaded.report.suite_version} -> {version}", *said]))
        if not dry:
            write_text(path, made.model_dump_json(indent=1) + "\n")


def _print(found: Iterable[Any]) -> None:
    for finding in found:
        typer.echo(str(finding), err=finding.level == "error")
