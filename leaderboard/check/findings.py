"""A finding of the check: what is wrong with which file, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LOOK = "fine for a bad model; for a good one, ask for the archived files"
RERUN = "run the evaluator again and submit its report unchanged"


@dataclass(frozen=True)
class Finding:
    """One thing wrong (``error``) or worth a look (``warning``), where it is, and what to do about it."""

    level: str
    file: str
    path: str
    message: str
    fix: str

    def __str__(self) -> str:
        return printable(f"{self.level}: {self.file}: {self.path}: {self.message}. {self.fix}")


def printable(text: str) -> str:
    """One line that moves no cursor and gives no command to what shows it.

    >>> printable("a\\r::error::b\\x1b[2Jc\\u202ed")
    'a ::error::b [2Jc d'
    """
    return "".join(c if c.isprintable() else " " for c in text)


def error(path: str, message: str, fix: str) -> Finding:
    return Finding("error", "", path, message, fix)


def warning(path: str, message: str, fix: str) -> Finding:
    return Finding("warning", "", path, message, fix)


def errors(found: Iterable[Finding]) -> list[Finding]:
    return [f for f in found if f.level == "error"]
