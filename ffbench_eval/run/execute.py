"""A unit is run: absent or complete, its errors states of its members."""

from __future__ import annotations

import errno
import json
import re
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffbench_data.atomic import PART, read_object, write_text
from ffbench_data.contract import ForceField

from ..kinds import Kind
from ..models.guard import ModelFailure, guarded
from ..words import clean
from .units import OWNER, SPENT, SPENT_EVERY_S, Result, Unit, read_result, save_result

if TYPE_CHECKING:
    from ..kinds.base import Progress
    from .data import TaskData

BEGUN = re.compile(r"(\.[0-9a-f]{8})?\.part$")  # what follows the name of a unit in work (`Unit.part`)


def run_unit(
    unit: Unit,
    data: Any,
    model: ForceField,
    run: Path,
    progress: Callable[[float], None] = lambda _: None,
    compile: str = "auto",
    attempt: str = "",
) -> Result:
    """Run a unit in ``<folder>.part`` (`Unit.part`) and rename it when it is complete.

    A killed unit leaves its ``.part`` with checkpoints, and the next call goes on from there. Errors of the model
    and of the harness become states; the user's interrupt and a full disk are not swallowed. Of two that run the same
    unit the first to finish is kept; one whose folder was taken over (`taken_over`) ends with an OSError.
    """
    folder, kind, part = unit.folder(run), unit.task.kind, unit.part(run, attempt)
    clock = _Clock(_begun(part, unit), part)

    def moved(done: float) -> None:
        clock.note()
        progress(done)

    def work() -> dict[str, Any]:
        there = _work_there(unit, model, part, moved, compile)
        if there is not None and not there[1]:
            return there[0]  # a failure
        safe = guarded(model)
        out = _work(kind, unit, data, safe, part, moved, compile) if there is None else there[0]
        more = kind.after(unit.task, data, safe, part, out)
        return kind.checked({**out, **more, "detail": [*out.get("detail", []), *more.get("detail", [])]})

    try:
        out = _outcome(part, kind.count_members(unit.inputs), work)
    except BaseException:  # it goes on another time
        clock.note(now=True)
        raise
    values = {k: v for k, v in out.items() if k not in ("status", "detail", "force_calls")}
    for path in [part / SPENT, part / OWNER, *part.rglob(f"*{PART}")]:
        removed(path)
    result = Result(
        folder,
        out["status"],
        [clean(text) for text in out.get("detail", [])],
        round(clock.seconds, 3),
        out.get("force_calls", 0),
        values,
        address=unit.address,
    )
    return _placed(save_result(result, part), part)


def _placed(result: Result, part: Path) -> Result:
    """Give a complete unit its name, at once; what is there and good already stays, and is given back."""
    folder = result.folder
    while True:
        kept = read_result(folder, result.address)
        if kept is not None:
            removed(part)
            return kept
        try:
            part.rename(folder)
            return result
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")  # damaged, or failed for want of memory
        folder.rename(old)
        removed(old)


def removed(path: Path) -> None:
    """Take away whatever lies there, a folder, a file or a link, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def taken_over(unit: Unit, run: Path, attempt: str = "") -> None:
    """What earlier attempts at a unit left becomes that of ``attempt``, under its name.

    A process that was cut off and still works under an older name finds its folder gone: every file is written by
    its path (`ffbench_data.atomic`), so nothing of it lands in the new one.
    """
    mine, folder = unit.part(run, attempt), unit.folder(run)
    older = [p for p in folder.parent.glob(f"{folder.name}*.part") if p != mine and p.is_dir()]
    older.sort(key=lambda p: _last(p / SPENT), reverse=True)
    if older and not mine.exists():
        with suppress(OSError):
            older.pop(0).rename(mine)
    for path in older:
        removed(path)


def begun_in(run: Path) -> set[str]:
    """Names of the units that a run folder holds something unfinished of, from one look at it."""
    with suppress(OSError):
        return {BEGUN.sub("", path.name) for path in (run / "units").glob("*.part")}
    return set()


def _last(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def complete(result: Result, unit: Unit, data: Any, model: ForceField) -> Result:
    """A finished unit with what an earlier run had to leave out, for want of a package that is here now."""
    more = unit.task.kind.after(unit.task, data, guarded(model), result.folder, result.values)
    if not more:
        return result
    detail = result.detail + [clean(text) for text in more.pop("detail", [])]
    record = {**vars(result), "detail": detail, "values": {**result.values, **more}}
    return save_result(Result(**record), result.folder)


def _work(
    kind: Kind, unit: Unit, data: TaskData, model: ForceField, part: Path, progress: Progress, compile: str
) -> dict[str, Any]:
    from ..engine.checkpoint import OtherSimulation
    from ..engine.trajectory import Damaged

    inputs = (unit.task, unit.inputs, data, model, part, progress, compile)
    try:
        return dict(kind.module.run_unit(*inputs))
    except (OtherSimulation, Damaged):  # of an older engine, an answer that moved within the tolerance, a torn file
        _emptied(part)
        return dict(kind.module.run_unit(*inputs))


def _work_there(
    unit: Unit, model: ForceField, part: Path, progress: Progress, compile: str
) -> tuple[dict, bool] | None:
    """(What the unit gives, whether it gave something) where it runs wholly in the process of an isolated model: the
    kind can look into the model there (compile it, cast it, ask its members), and nothing is sent to and fro.

    ``None`` if it has to be run here: the model is not isolated, or the unit cannot be sent there.
    """
    from ..engine.memory import OutOfMemory
    from ..models.isolated import CannotRunThere, Remote
    from ..models.tracebacks import told

    if not isinstance(model.fn, Remote):
        return None
    try:
        return model.fn.work(unit_here, unit, part.resolve(), compile, progress=progress)
    except CannotRunThere:
        return None
    except MemoryError as error:
        raise OutOfMemory(unit.task.kind.count_members(unit.inputs), str(error)) from None
    except (RuntimeError, ValueError) as error:  # its process died, gave no sign of life, or did not start again
        raise ModelFailure(clean("\n".join(told(error)).strip())) from None


def unit_here(model: ForceField, progress: Progress, unit: Unit, part: Path, compile: str) -> tuple[dict, bool]:
    """(what the unit gives, or the states of its failure; whether it gave something): in the model's own process."""
    from .data import load_task_data

    kind, done = unit.task.kind, []

    def work() -> dict[str, Any]:
        done.append(dict(_work(kind, unit, load_task_data(unit.task), guarded(model), part, progress, compile)))
        return done[0]

    out = _outcome(part, kind.count_members(unit.inputs), work)
    return out, bool(done)


def _outcome(part: Path, members: int, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    from ..engine.compiled import CannotCompile
    from ..engine.memory import OutOfMemory
    from ..models.tracebacks import full_traceback

    try:
        return work()
    except CannotCompile as reason:
        return {"status": ["unsupported"] * members, "detail": [str(reason)]}
    except ModelFailure as error:
        return {"status": ["model_error"] * members, "detail": [str(error)]}
    except OutOfMemory as error:
        return {"status": ["out_of_memory"] * members, "detail": [str(error)]}
    except OSError as error:
        raise OSError(f"cannot write unit {part}: {error.strerror or error}; free the disk and run again") from error
    except KeyboardInterrupt:  # a model's own is a `ModelFailure` by now
        raise
    except BaseException as error:
        return {"status": ["harness_error"] * members, "detail": [full_traceback(error)]}


def _begun(part: Path, unit: Unit) -> float:
    """Make the folder of a unit in work; the seconds that earlier processes spent on what it keeps.

    What another address left there is thrown away: its name holds twelve digits of the address only.
    """
    owner = part / OWNER
    mine = part.is_dir() and not part.is_symlink() and owner.is_file() and owner.read_bytes() == unit.address.encode()
    if not mine:
        removed(part)
    part.mkdir(parents=True, exist_ok=mine)
    write_text(part / OWNER, unit.address)
    kept = [p for p in part.iterdir() if p.name not in (SPENT, OWNER) and not p.name.endswith(PART)]
    try:
        seconds = float(read_object(part / SPENT)["seconds"]) if kept else 0.0
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
    return seconds if 0 <= seconds < float("inf") else 0.0


def _emptied(part: Path) -> None:
    """Throw away what was begun; the note of whose it is stays."""
    for path in part.iterdir():
        if path.name not in (SPENT, OWNER):
            removed(path)


class _Clock:
    """Seconds spent on a unit by all processes that worked on it, written down now and then."""

    def __init__(self, before: float, part: Path):
        self.before, self.part, self.begun = before, part, time.perf_counter()
        self.last = self.begun

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.begun

    def note(self, now: bool = False) -> None:
        if now or time.perf_counter() - self.last > SPENT_EVERY_S:
            with suppress(OSError):
                write_text(self.part / SPENT, json.dumps({"seconds": round(self.seconds, 3)}))
            self.last = time.perf_counter()
