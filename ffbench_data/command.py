"""A module as a program."""

from __future__ import annotations

import sys
from collections.abc import Callable


def as_program(main: Callable[..., None]) -> None:
    """Run ``main`` with the arguments of the command line; an error of the user is one line and exit code 2."""
    import typer

    try:
        typer.run(main)
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
