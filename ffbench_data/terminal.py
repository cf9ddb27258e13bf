"""Lines for the terminal."""

from __future__ import annotations

import shutil
import textwrap


def wrapped(text: str, indent: str = "", more: str = "  ") -> str:
    """``text`` in lines that fit the terminal (80 columns where there is none); those after the first are ``more``
    indented.

    >>> print(wrapped("accuracy: " + "errors of energy and forces " * 4, "  "))
      accuracy: errors of energy and forces errors of energy and forces errors of
        energy and forces errors of energy and forces
    """
    width = min(100, shutil.get_terminal_size().columns)
    lines = textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent + more, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(lines)
