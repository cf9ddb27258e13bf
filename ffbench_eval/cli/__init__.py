"""The command line: its program, and the commands of the other rooms. Bodies import late, so that help is quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .about import doctor, kinds, metrics, suites, train, validate
from .evaluation import evaluate, plan, show
from .runs import compare, export, merge, reproduce, status

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Can this machine-learned force field be trusted in a simulation?",
)


def _print_version(asked: bool) -> None:
    if asked:
        from ..run.environment import version

        typer.echo(f"ffbench {version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and stop")
    ] = False,
) -> None:
    pass


for command in (
    evaluate,
    plan,
    show,
    status,
    merge,
    compare,
    reproduce,
    train,
    suites,
    kinds,
    metrics,
    validate,
    doctor,
):
    app.command()(command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: one line for an error, exit code 2; the traceback with ``--debug``."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    try:
        mount()
        app(arguments, standalone_mode=True)
    except (ValueError, OSError) as error:
        if debug:
            raise
        frames = str(getattr(error, "frames", ""))  # of a user's model: its own lines of the traceback
        if frames.count('File "') > 1:
            typer.echo(frames, err=True)
        typer.echo(f"ffbench: {_line(error)}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        interrupt = _interrupt(end)
        if interrupt is None:
            raise
        if not getattr(interrupt, "told", False):
            typer.echo("ffbench: stopped; run the same command again to go on where it was", err=True)
        sys.exit(130)


def _interrupt(end: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that something ended by: typer makes an exit code of it, and says nothing."""
    while end is not None and not isinstance(end, KeyboardInterrupt):
        end = (end.__cause__ or end.__context__) if not isinstance(end, SystemExit) or end.code == 130 else None
    return end


def _line(error: ValueError | OSError) -> str:
    """One line; of an error of the file system the file first."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    return " ".join(str(error).split())


def mount() -> None:
    """Sub-commands that live in other rooms; a second call changes nothing."""
    from importlib.util import find_spec

    if any(group.name == "data" for group in app.registered_groups):
        return
    from ffbench_data.cli import app as data
    from reference_models.cli import app as models

    from ..kinds.bsct.cli import app as bsct
    from ..own.cli import app as own
    from ..run.tell import command as tell

    own.command("tell")(tell)
    app.add_typer(bsct, name="bsct")
    app.add_typer(data, name="data", help="Datasets: list, build, check, push.")
    app.add_typer(own, name="suite")
    app.add_typer(models, name="models", help="Reference models: shipped, trainable, published weights.")
    app.add_typer(export, name="export")
    if find_spec("leaderboard"):
        from leaderboard.cli import add_to

        add_to(app, export)
