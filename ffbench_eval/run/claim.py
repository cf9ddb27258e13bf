"""A run folder belongs to one model and one run at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ffbench_data.atomic import read_object, write_text

from ..models import resolve as model_room
from ..models.identity import Known
from ..stderr import tell
from ..suite import Suite
from ..words import clean
from .execute import removed


def met_in(run: Path) -> Known:
    """The models that a run folder has met; none if it is new, or if its list was torn."""
    try:
        rows = read_object(run / "run.json")["identities"]
        return Known([r for r in rows if {"data", "stated", "answers", "mark"} <= r.keys()])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Known()


@contextmanager
def claimed(
    run: Path, models: model_room.Models, spec: str, suite: Suite, resume: bool, known: Known
) -> Iterator[None]:
    """Mark the run folder as this model's and hold it; refuse one that belongs to another process or to a model of
    another name. Results of a model that was changed since stay there, unused."""
    path = run / "run.json"
    if run.exists() and not path.exists() and any(file.name != "lock" for file in run.iterdir()):
        raise ValueError(f"out: {run} exists and is not a run folder; choose another one")
    with held(run):
        if path.exists() and resume:
            _told_apart(run, path, model_room.name_of(models), known)
        if not resume:
            for file in run.iterdir():
                if file.name != "lock":
                    removed(file)
        record = {
            "name": clean(model_room.name_of(models)),
            "spec": clean(spec),
            "suite": suite.name,
            "identities": known.rows,
        }
        write_text(path, json.dumps(record, indent=1))
        yield


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Make a run folder, if it is new, and hold it: one process at a time."""
    lock = FileLock(run / "lock", blocking=False)
    run.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire()  # the system frees it when the process ends, however it ends
    except Timeout:
        raise ValueError(f"out: {run} is in use by another process; wait for it, or choose another folder") from None
    try:
        yield
    finally:
        lock.release()


def _told_apart(run: Path, path: Path, name: str, known: Known) -> None:
    """Say so when the folder's results are of a model that answers otherwise; refuse it if the name differs too."""
    try:
        old = str(read_object(path).get("name"))
    except (OSError, ValueError):
        tell(f"{path} cannot be read; finished units of this model are found by its answers")
        return
    changed = known.changed()
    if old != clean(name) and not known.recognised:
        raise ValueError(
            f"out: {run} holds the run of another model ({old}); "
            "choose another folder with out=/--out, or start over with resume=False/--fresh"
        )
    if changed or not known.old:
        where = f" on {', '.join(sorted({data.partition(':')[0] for data in changed}))}" if changed else ""
        tell(f"model {name!r} does not answer{where} as it did in {run}: what it said then is not used, it is run anew")
