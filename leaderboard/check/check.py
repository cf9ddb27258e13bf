"""The validator: pure data in, findings out. Never imports a model, never runs a line of the submission.

It proves that an entry is whole and follows from itself. It cannot prove that a consistent forgery was measured: the
trust levels (`trust.py`, `ffbench reproduce`) are for that.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ffbench_eval.report import same_theory

from ..entry.schema import CARD_LIMIT, ENTRIES, LIMIT, SLUG, Entry, entry_paths
from ..site.scoring import card_for
from .against_lock import check_task, check_zero_of_energy
from .findings import Finding, error, errors, printable
from .lock import SUITES, SuiteLock, latest_version, load_lock
from .others import check_duplicates, check_fingerprints, check_names
from .statements import (
    GRAMMAR,
    MAX_METRICS,
    check_about,
    check_command,
    check_hashes,
    check_machine,
    check_place,
    check_sizes,
    check_suite,
)
from .strict_json import BadJson, read

__all__ = [
    "CARD",
    "GRAMMAR",
    "Finding",
    "check",
    "check_card",
    "compare_with_base",
    "errors",
    "known_entries",
    "printable",
]

MAX_SHOWN = 200  # findings per entry and level: no number of warnings may hide an error
CARD = re.compile(rf"^{SLUG}__{SLUG}/{SLUG}/card\.md\Z")


def check(path: str | Path, *, entries: Path = ENTRIES, suites: Path = SUITES, others: Any = None) -> list[Finding]:
    """Everything wrong with one entry file; an empty list (or warnings alone) means it may go onto the board.

    ``others``: what `known_entries` read, to look for duplicates; read from ``entries`` if absent.
    """
    path = Path(path)
    name = _name(path, entries)
    try:
        return _check(path, name, entries, suites, others)
    except Exception as bad:  # one bad file never ends the check of the others
        said = f"cannot be checked: {type(bad).__name__}: {str(bad)[:200]}"
        return [Finding("error", name, "$", printable(said), "write it with `ffbench submit`")]


def _check(path: Path, name: str, entries: Path, suites: Path, others: Any) -> list[Finding]:
    found: list[Finding] = []
    try:
        raw = read(path, LIMIT)
    except BadJson as bad:
        return [Finding("error", name, bad.path, str(bad), bad.fix)]
    except OSError as bad:
        return [Finding("error", name, "$", f"cannot be read: {bad.strerror}", "check the path")]
    try:
        entry = Entry.model_validate_json(json.dumps(raw), strict=True)  # "0.5" is no number, "off" no truth value
    except ValidationError as bad:
        for fault in bad.errors(include_url=False, include_input=False)[:MAX_SHOWN]:
            message = str(fault["msg"])[:300]
            found.append(Finding("error", name, _json_path(fault["loc"]), message, "write it with `ffbench submit`"))
        return found
    except RecursionError:
        return [Finding("error", name, "$", "is nested too deeply", "write it with `ffbench submit`")]
    if others is None:
        others = known_entries(entries)
    lock = load_lock(entry.report.suite, entry.report.suite_version, suites) if _plain(entry) else None
    number: Counter[str] = Counter()
    with np.errstate(all="ignore"):  # absurd numbers are findings, not warnings of numpy
        for one in _all(entry, name, lock, others, suites):
            number[one.level] += 1
            if number[one.level] <= MAX_SHOWN:
                found.append(replace(one, file=name, message=one.message[:500]))
            if number["error"] >= MAX_SHOWN:
                break
    return found


def known_entries(entries: Path = ENTRIES) -> dict[str, Any]:
    """Raw JSON of every entry in the folder by its key; files that cannot be read are left to their own check."""
    known = {}
    for path in entry_paths(entries):
        try:
            known[path.relative_to(entries).as_posix().removesuffix(".json")] = read(path, LIMIT)
        except (BadJson, OSError):
            continue
    return known


def _plain(entry: Entry) -> bool:
    return bool(re.fullmatch(SLUG, entry.report.suite) and re.fullmatch(SLUG, entry.report.suite_version))


def _all(entry: Entry, name: str, lock: SuiteLock | None, others: dict[str, Any], suites: Path) -> Iterator[Finding]:
    yield from check_place(entry, name)
    yield from check_hashes(entry)
    yield from check_about(entry)
    yield from check_command(entry, lock)
    yield from check_machine(entry)
    yield from check_sizes(entry)
    yield from check_suite(entry, lock, latest_version(lock.suite, suites) if lock else "")
    for task_name, task in entry.report.tasks.items():
        at = f"$.report.tasks.{task_name}"
        if len(task.metrics) > MAX_METRICS:
            yield error(
                f"{at}.metrics", f"{len(task.metrics)} metrics, at most {MAX_METRICS}", "leave out what no kind has"
            )
            continue
        locked = lock.tasks.get(task_name) if lock else None
        card = card_for(entry.report, locked.dataset.name, locked.dataset.config) if locked else None
        yield from check_task(at, task, locked, card)
        if locked is not None and card is not None:
            yield from check_zero_of_energy(at, task, same_theory(card.theory, locked.theory))
    yield from check_duplicates(entry, others)
    yield from check_fingerprints(entry, others)
    yield from check_names(entry, others)


def check_card(path: Path, entries: Path = ENTRIES) -> list[Finding]:
    """A model card beside the entries: short UTF-8 text."""
    name = _name(path, entries)
    if path.is_symlink() or not path.is_file() or path.stat().st_size > CARD_LIMIT:
        return [Finding("error", name, "$", f"is no file of at most {CARD_LIMIT} bytes", "shorten the card")]
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return [Finding("error", name, "$", "is not UTF-8", "save it as UTF-8")]
    return []


def compare_with_base(name: str, was: bool, there: bool, same: bool) -> list[Finding]:
    """An entry or card of the board stays as it is: ``was`` it there, is it ``there`` now, is it the ``same``?"""
    if not was or (there and same):
        return []
    what = "an entry or card of the board was changed" if there else "an entry or card of the board was removed"
    fix = "a new version gets a new folder; a maintainer lifts this with the label 'change-entries'"
    return [Finding("error", name, "$", what, fix)]


def _name(path: Path, entries: Path) -> str:
    try:
        return path.resolve().relative_to(entries.resolve()).as_posix()
    except ValueError:
        return "/".join(path.parts[-3:])


def _json_path(loc: tuple) -> str:
    return "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{str(p)[:80]}" for p in loc)
