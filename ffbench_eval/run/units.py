"""Units of work: what addresses one, what it leaves on disk, and whether that is whole."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ffbench_data.atomic import PART, file_sha256, read_object, write_text

from ..report import Status
from ..suite import Task

RETRIED = {"harness_error", "out_of_memory"}  # a finished unit with only these is run again on resume

SPENT, OWNER = "spent.json", "address"  # in an unfinished unit: seconds of earlier processes, and whose it is
SPENT_EVERY_S = 1.0


def folder_name(task: str, address: str) -> str:
    """Of a unit, in a run's ``units``."""
    return f"{task}-{address[:12]}"


@dataclass(frozen=True)
class Unit:
    """``inputs`` are plain JSON values; ``address`` hashes everything that determines the result."""

    task: Task
    inputs: dict[str, Any]
    seed: int
    address: str

    def folder(self, run: Path) -> Path:
        return run / "units" / folder_name(self.task.name, self.address)

    def part(self, run: Path, attempt: str = "") -> Path:
        """Where it is worked on until it is complete; each ``attempt`` of a worker, which may be cut off, has one."""
        return self.folder(run).with_name(f"{self.folder(run).name}{attempt and '.'}{attempt}.part")


@dataclass(frozen=True)
class Result:
    """A finished unit: one state per member, and what it left in ``folder``: ``files`` by size and sha256, under a
    ``seal`` of it all."""

    folder: Path
    status: list[Status]
    detail: list[str]
    wall_s: float
    force_calls: int
    values: Any  # the `Values` of its kind
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
    return read_result(unit.folder(run), unit.address)


def read_result(folder: Path, address: str) -> Result | None:
    """The same from the folder of a unit."""
    result = finished(folder, address)
    return None if result is None or (result.status and set(result.status) <= RETRIED) else result


def finished(folder: Path, address: str) -> Result | None:
    """The result of a finished unit, however it ended; ``None`` if it is absent, damaged or of another address."""
    record, why = _read(folder)
    if why:
        return None
    try:
        result = Result(folder, **record)
    except TypeError:
        return None
    return result if result.address == address else None


def damage(folder: Path) -> str:
    """What is wrong with the files of a finished unit; "" if nothing is, or if it is not there."""
    return _read(folder)[1] if folder.exists() else ""


def _read(folder: Path) -> tuple[dict[str, Any], str]:
    """(``result.json``, "") of a unit whose files are those that were written, else ({}, what is wrong)."""
    try:
        record = read_object(folder / "result.json")
        stated, sealed = dict(record["files"]), record["seal"]
        if sealed != _seal(record):
            return {}, "result.json was changed after it was written"
        there = _files(folder)
        for name, (size, digest) in stated.items():
            if name not in there:
                return {}, f"{name} is missing"
            if there[name].stat().st_size != size:
                return {}, f"{name} holds {there[name].stat().st_size} bytes, {size} were written"
            if file_sha256(there[name]) != digest:
                return {}, f"{name} was changed after it was written"
    except FileNotFoundError as error:
        return {}, f"{Path(error.filename).name} is missing"
    except OSError as error:
        return {}, f"{Path(error.filename or folder).name} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}, "result.json is torn, or of an older ffbench"
    return record, ""


def set_aside(unit: Unit, run: Path) -> list[str]:
    """Files in the folder of a finished unit that are none of its own get a hidden name, under which nothing is read: a
    process was killed while it added them, or somebody put them there. Their names."""
    folder = unit.folder(run)
    try:
        stated = read_object(folder / "result.json")["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    more = {name: path for name, path in _files(folder).items() if name not in stated}
    for path in more.values():
        path.rename(path.with_name(f".{path.name}"))
    return list(more)


def save_result(result: Result, folder: Path) -> Result:
    """Write ``result.json`` into ``folder`` with the sizes and hashes of the files beside it; the result with these."""
    kept = {name: (path.stat().st_size, file_sha256(path)) for name, path in _files(folder).items()}
    record = {**{k: v for k, v in vars(result).items() if k != "folder"}, "files": kept}
    record["seal"] = _seal(json.loads(json.dumps(record)))  # as it reads back
    write_text(folder / "result.json", json.dumps(record))
    return Result(result.folder, **record)


def _files(folder: Path) -> dict[str, Path]:
    """Every file of a unit but ``result.json``, unfinished ones (`PART`) and hidden ones, by its path in the folder."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            if name != "result.json" and not name.endswith(PART) and not name.startswith("."):
                path = Path(where, name)
                if path.is_file():
                    found[path.relative_to(folder).as_posix()] = path
    return dict(sorted(found.items()))


def _seal(record: dict[str, Any]) -> str:
    """A hash of all that ``result.json`` says but for the seal itself."""
    told = {k: v for k, v in record.items() if k != "seal"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


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
