"""Units: the smallest pieces of work, each in a folder that is either absent or complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ffbench_data.atomic import PART, write_text
from ffbench_data.contract import ForceField

from ..kinds import Kind
from ..models.guard import ModelFailure, guarded
from ..suite import Task
from ..words import clean

RETRIED = {"harness_error", "out_of_memory"}  # a finished unit with only these is run again on resume
SPENT, OWNER = "spent.json", "address"  # in an unfinished unit: seconds of earlier processes, and whose it is
SPENT_EVERY_S = 1.0


@dataclass(frozen=True)
class Unit:
    """``inputs`` are plain JSON values; ``address`` hashes everything that determines the result."""

    task: Task
    inputs: dict[str, Any]
    seed: int
    address: str

    def folder(self, run: Path) -> Path:
        return run / "units" / f"{self.task.name}-{self.address[:12]}"


@dataclass(frozen=True)
class Result:
    """A finished unit: one state per member, and what it left in ``folder``: ``files`` by size and sha256, under a
    ``seal`` of it all."""

    folder: Path
    status: list[str]
    detail: list[str]
    wall_s: float
    force_calls: int
    values: dict[str, Any]
    files: dict[str, Any] = field(default_factory=dict)
    address: str = ""
    seal: str = ""


def make_unit(task: Task, inputs: dict, *, seed: int, model: str, data: str, **made_by: Any) -> Unit:
    """A unit and its address. ``model`` is the mark of who answers (`identity.Identity.mark`), ``data`` the hash of the
    frames' content, ``made_by`` what else the result depends on: reference facts, version of ffbench, device."""
    what = {
        "task": task.name,  # its random numbers come from its name
        "kind": task.kind.name,
        "version": task.version,
        "parameters": task.parameters.model_dump(mode="json"),
        "dataset": [task.data_name, task.config, data],
        "model": model,
        "inputs": inputs,
        "seed": seed,
        **made_by,
    }
    address = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return Unit(task, inputs, seed, address)


def load_result(unit: Unit, run: Path) -> Result | None:
    """The result of a finished unit, or ``None`` if it has to be run: it is absent, failed for want of memory or by a
    fault of ours, belongs to another address, or is damaged (`damage`)."""
    return None if damage(unit, run) else _read(unit.folder(run), unit.address)


def damage(unit: Unit, run: Path) -> str:
    """What is wrong with the files of a finished unit; "" if nothing is, or if it is not there."""
    folder = unit.folder(run)
    if not folder.exists():
        return ""
    try:
        record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        stated, sealed = dict(record["files"]), record["seal"]
        if sealed != _seal(record):
            return "result.json was changed after it was written"
    except OSError:
        return "result.json is missing"
    except (ValueError, KeyError, TypeError):
        return "result.json is torn, or of an older ffbench"
    there = _files(folder)
    for name, (size, digest) in stated.items():
        if name not in there:
            return f"{name} is missing"
        if there[name].stat().st_size != size:
            return f"{name} holds {there[name].stat().st_size} bytes, {size} were written"
        if _sha256(there[name]) != digest:
            return f"{name} was changed after it was written"
    return ""


def set_aside(unit: Unit, run: Path) -> list[str]:
    """Files in the folder of a finished unit that are none of its own get a hidden name, under which nothing is read: a
    process was killed while it added them, or somebody put them there. Their names."""
    folder = unit.folder(run)
    try:
        stated = json.loads((folder / "result.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    more = {name: path for name, path in _files(folder).items() if name not in stated}
    for path in more.values():
        path.rename(path.with_name(f".{path.name}"))
    return list(more)


def _read(folder: Path, address: str) -> Result | None:
    try:
        result = Result(folder, **json.loads((folder / "result.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    failed = bool(result.status) and set(result.status) <= RETRIED
    return None if failed or result.address != address else result


def save_result(result: Result, folder: Path) -> Result:
    """Write ``result.json`` into ``folder`` with the sizes and hashes of the files beside it; the result with these."""
    kept = {name: (path.stat().st_size, _sha256(path)) for name, path in _files(folder).items()}
    record = {**{k: v for k, v in vars(result).items() if k != "folder"}, "files": kept}
    record["seal"] = _seal(record)
    write_text(folder / "result.json", json.dumps(record))
    return Result(result.folder, **record)


def _files(folder: Path) -> dict[str, Path]:
    """Every file of a unit but ``result.json``, unfinished ones (`PART`) and hidden ones, by its path in the folder."""
    found = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {
        name: path
        for name, path in found.items()
        if name != "result.json" and not path.name.endswith(PART) and not path.name.startswith(".")
    }


def _seal(record: dict[str, Any]) -> str:
    """A hash of all that ``result.json`` says but for the seal itself, as it reads back."""
    plain = json.loads(json.dumps({k: v for k, v in record.items() if k != "seal"}))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def halves(unit: Unit) -> list[Unit]:
    """The two units that replace a batch of replicas which did not fit into memory; none for a single replica."""
    count = len(unit.inputs.get("replicas", []))
    middle = (count + 1) // 2
    return [_part(unit, slice(0, middle)), _part(unit, slice(middle, None))] if count > 1 else []


def singles(unit: Unit) -> list[Unit]:
    """One unit per replica, for models that gain nothing from a batch; a unit without replicas stays as it is."""
    count = len(unit.inputs.get("replicas", []))
    return [_part(unit, slice(k, k + 1)) for k in range(count)] if count > 1 else [unit]


def other_draws(unit: Unit, first: int) -> Unit:
    """The same replicas with other random numbers: numbered from ``first`` on."""
    return _with(unit, {**unit.inputs, "ids": [first + k for k in range(len(unit.inputs["replicas"]))]})


def _part(unit: Unit, part: slice) -> Unit:
    """Some replicas of a unit; they keep their numbers, and with them their random numbers."""
    replicas = unit.inputs["replicas"]
    ids = unit.inputs.get("ids", list(range(len(replicas))))
    return _with(unit, {**unit.inputs, "replicas": replicas[part], "ids": ids[part]})


def _with(unit: Unit, inputs: dict[str, Any]) -> Unit:
    text = json.dumps([unit.address, inputs], sort_keys=True)
    return Unit(unit.task, inputs, unit.seed, hashlib.sha256(text.encode()).hexdigest())


def run_unit(
    unit: Unit,
    data: Any,
    model: ForceField,
    run: Path,
    progress: Callable[[float], None] = lambda done: None,
    compile: str = "auto",
) -> Result:
    """Run a unit in ``<folder>.part`` and rename it when it is complete.

    A killed unit leaves its ``.part`` with checkpoints, and the next call goes on from there. Errors of the model
    and of the harness become states; the user's interrupt and a full disk are not swallowed.
    """
    folder, kind = unit.folder(run), unit.task.kind
    part = folder.with_name(folder.name + ".part")
    clock = _Clock(_begun(part, unit), part)

    def moved(done: float) -> None:
        clock.note()
        progress(done)

    def work() -> dict[str, Any]:
        there = _work_there(unit, model, part, moved, compile)
        if there is not None and not there[1]:
            return there[0]
        safe = guarded(model)
        out = _work(kind, unit, data, safe, part, moved, compile) if there is None else there[0]
        more = kind.after(unit.task, data, safe, part, out)
        return {**out, **more, "detail": [*out.get("detail", []), *more.get("detail", [])]}

    try:
        out = _outcome(unit, part, kind.count_members(unit.inputs), work)
    finally:
        clock.note(now=True)
    values = {k: v for k, v in out.items() if k not in ("status", "detail", "force_calls")}
    for path in [part / SPENT, part / OWNER, *part.rglob(f"*{PART}")]:
        path.unlink(missing_ok=True)
    result = Result(
        folder,
        out["status"],
        [clean(text) for text in out.get("detail", [])],
        round(clock.seconds, 3),
        out.get("force_calls", 0),
        values,
        address=unit.address,
    )
    result = save_result(result, part)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(part, folder)
    return result


def complete(result: Result, unit: Unit, data: Any, model: ForceField) -> Result:
    """A finished unit with what an earlier run had to leave out, for want of a package that is here now."""
    more = unit.task.kind.after(unit.task, data, guarded(model), result.folder, result.values)
    if not more:
        return result
    detail = result.detail + [clean(text) for text in more.pop("detail", [])]
    record = {**vars(result), "detail": detail, "values": {**result.values, **more}}
    return save_result(Result(**record), result.folder)


def _work(kind: Kind, unit: Unit, data, model: ForceField, part: Path, progress, compile: str) -> Mapping[str, Any]:
    from ..engine.checkpoint import OtherSimulation

    inputs = (unit.task, unit.inputs, data, model, part, progress, compile)
    try:
        return kind.module.run_unit(*inputs)
    except OtherSimulation:  # of an older engine, or an answer that moved within the tolerance of an identity
        _emptied(part)
        return kind.module.run_unit(*inputs)


def _work_there(unit: Unit, model: ForceField, part: Path, progress, compile: str) -> tuple[dict, bool] | None:
    """(What the unit gives, whether it gave something) where it runs wholly in the process of an isolated model, and
    the engine can compile the model there.

    ``None`` if it has to be run here: the model is not isolated, the kind has nothing to compile, or the unit cannot be
    sent there.
    """
    from ..engine.memory import OutOfMemory
    from ..models.isolated import CannotRunThere, Remote
    from ..models.tracebacks import told

    if not isinstance(model.fn, Remote) or not unit.task.kind.compiled:
        return None
    try:
        return model.fn.work(unit_here, unit, part.resolve(), compile, progress=progress)
    except CannotRunThere:
        return None
    except MemoryError as error:
        raise OutOfMemory(unit.task.kind.count_members(unit.inputs), str(error)) from None
    except (RuntimeError, ValueError) as error:  # its process died, gave no sign of life, or did not start again
        raise ModelFailure(clean("\n".join(told(error)).strip())) from None


def unit_here(model: ForceField, progress, unit: Unit, part: Path, compile: str) -> tuple[dict, bool]:
    """(what the unit gives, or the states of its failure; whether it gave something): in the model's own process."""
    from .data import load_task_data

    kind, done = unit.task.kind, []

    def work() -> dict[str, Any]:
        done.append(dict(_work(kind, unit, load_task_data(unit.task), guarded(model), part, progress, compile)))
        return done[0]

    out = _outcome(unit, part, kind.count_members(unit.inputs), work)
    return out, bool(done)


def _outcome(unit: Unit, part: Path, members: int, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
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
    with suppress(OSError):
        if (part / OWNER).read_text() != unit.address:
            shutil.rmtree(part)
    if part.exists() and not (part / OWNER).exists():
        shutil.rmtree(part)
    part.mkdir(parents=True, exist_ok=True)
    write_text(part / OWNER, unit.address)
    kept = [p for p in part.iterdir() if p.name not in (SPENT, OWNER) and not p.name.endswith(PART)]
    try:
        return float(json.loads((part / SPENT).read_text())["seconds"]) if kept else 0.0
    except (OSError, ValueError, KeyError):
        return 0.0


def _emptied(part: Path) -> None:
    """Throw away what was begun; the note of whose it is stays."""
    for path in part.iterdir():
        if path.name not in (SPENT, OWNER):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


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
