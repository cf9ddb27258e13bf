"""Reading what a command is given: an entry, or the report in an entry, a report.json or a run folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from ffbench_data.strict_yaml import told
from ffbench_eval.report import Report

from ..check.strict_json import read
from .schema import LIMIT, Entry

Made = TypeVar("Made")


def read_entry(path: Path) -> Entry:
    """An entry's file, read strictly; one line names its first wrong field."""
    if not path.is_file():
        raise ValueError(f"{path} is no file; give an entry, such as leaderboard/entries/ORG__MODEL/VERSION/SUITE.json")
    return valid(lambda: Entry.model_validate(read(path, LIMIT)))


def report_of(path: Path) -> Report:
    """The report in an entry, a report.json or a run folder."""
    if path.is_file():
        raw = read(path, LIMIT)
        if isinstance(raw, dict) and "entry_version" in raw:
            return read_entry(path).report
    return Report.load(path)


def valid(make: Callable[[], Made]) -> Made:
    """What ``make`` returns; of a refused field one line instead of pydantic's page."""
    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{told(first)}, got {str(first.get('input'))[:80]!r}") from None
