"""Units: the smallest pieces of work, each in a folder that is either absent or complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffbench_data.contract import AtomsBatch, ForceField, Prediction

from .suite import Task

RETRIED = {"harness_error", "out_of_memory"}  # a finished unit with only these is run again on resume


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
    """A finished unit: one state per member, and what it left in ``folder``."""

    folder: Path
    status: list[str]
    detail: list[str]
    wall_s: float
    force_calls: int
    values: dict[str, Any]


def make_unit(task: Task, inputs: dict, *, seed: int, dataset_hash: str, fingerprint: str) -> Unit:
    what = {
        "kind": task.kind,
        "version": task.version,
        "parameters": task.parameters.model_dump(mode="json"),
        "dataset": dataset_hash,
        "model": fingerprint,
        "inputs": inputs,
        "seed": seed,
    }
    address = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return Unit(task, inputs, seed, address)


def load_result(unit: Unit, run: Path) -> Result | None:
    """The result of a finished unit, or ``None`` if it has to be run."""
    folder = unit.folder(run)
    path = folder / "result.json"
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text())
        if set(raw["status"]) and set(raw["status"]) <= RETRIED:
            return None
        return Result(folder, **raw)
    except (ValueError, KeyError, TypeError):
        return None


def halves(unit: Unit) -> list[Unit]:
    """The two units that replace a batch of replicas which did not fit into memory; none for a single replica."""
    count = len(unit.inputs.get("replicas", []))
    middle = (count + 1) // 2
    return [_part(unit, slice(0, middle)), _part(unit, slice(middle, None))] if count > 1 else []


def singles(unit: Unit) -> list[Unit]:
    """One unit per replica, for models that gain nothing from a batch; a unit without replicas stays as it is."""
    count = len(unit.inputs.get("replicas", []))
    return [_part(unit, slice(k, k + 1)) for k in range(count)] if count > 1 else [unit]


def _part(unit: Unit, part: slice) -> Unit:
    """Some replicas of a unit; they keep their numbers, and with them their random numbers."""
    replicas = unit.inputs["replicas"]
    ids = unit.inputs.get("ids", list(range(len(replicas))))
    inputs = {**unit.inputs, "replicas": replicas[part], "ids": ids[part]}
    text = json.dumps([unit.address, inputs], sort_keys=True)
    return Unit(unit.task, inputs, unit.seed, hashlib.sha256(text.encode()).hexdigest())


class ModelFailure(Exception):
    """The model raised; carries its traceback."""


def guarded(model: ForceField) -> ForceField:
    """The same model, whose exceptions are told apart from our own."""
    from dataclasses import replace

    from .engine.memory import OutOfMemory, memory_guard

    def call(batch: AtomsBatch) -> Prediction:
        try:
            with memory_guard(batch.n_systems):
                return model(batch)
        except OutOfMemory:
            raise
        except Exception:
            raise ModelFailure(traceback.format_exc(limit=-6)) from None

    call.__wrapped__ = model  # type: ignore[attr-defined]  # for kinds that need its members or a layer
    return replace(model, fn=call)


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
    and of the harness become states; `KeyboardInterrupt` and a full disk are not swallowed.
    """
    from .engine.memory import OutOfMemory
    from .kinds import KINDS

    folder = unit.folder(run)
    part = folder.with_name(folder.name + ".part")
    part.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    members = len(unit.inputs.get("rows") or unit.inputs.get("replicas") or unit.inputs.get("scans") or [0])
    try:
        out = KINDS[unit.task.kind].run_unit(unit.task, unit.inputs, data, guarded(model), part, progress, compile)
    except ModelFailure as error:
        out = {"status": ["model_error"] * members, "detail": [str(error)]}
    except OutOfMemory as error:
        out = {"status": ["out_of_memory"] * members, "detail": [str(error)]}
    except OSError as error:
        raise OSError(f"cannot write unit {part}: {error.strerror or error}; free the disk and run again") from error
    except Exception:
        out = {"status": ["harness_error"] * members, "detail": [traceback.format_exc(limit=-6)]}
    values = {k: v for k, v in out.items() if k not in ("status", "detail", "force_calls")}
    record = {
        "status": out["status"],
        "detail": out.get("detail", []),
        "wall_s": round(time.perf_counter() - begun, 3),
        "force_calls": out.get("force_calls", 0),
        "values": values,
    }
    (part / "result.json").write_text(json.dumps(record))
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(part, folder)
    return Result(folder, **record)
