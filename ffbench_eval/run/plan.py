"""What a suite asks of a model: its tasks with data, model and units, or why there are none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch

from ffbench_data.contract import ForceField
from ffbench_data.load import NotBuilt

from ..models import resolve as model_room
from ..models.coverage import lacking
from ..models.identity import Identity, Known
from ..models.isolated import Remote
from ..report import DatasetUsed
from ..suite import Suite, Task
from . import environment as machine
from . import first_answer
from .data import TaskData, load_task_data, used
from .units import Unit, make_unit, singles

if TYPE_CHECKING:
    from ffbench_data.frames import Frames


@dataclass
class Ready:
    """A task with its data, the model that answers it and its units."""

    task: Task
    data: TaskData
    model: ForceField
    units: list[Unit]
    seconds: float = 0.0
    longest: float = 0.0  # unit of it, in seconds
    costs: dict[str, float] = field(default_factory=dict)  # of every unit to run, in seconds, by address
    identities: dict[str, Identity] = field(default_factory=dict)  # who answers, by data set asked about
    common: str = ""  # of these the one that every run of this model asks about
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Unsupported:
    """A task that the model cannot answer, and why."""

    task: Task
    data: TaskData
    why: str


@dataclass(frozen=True)
class Absent:
    """A task whose data is not on this machine: not run, which says nothing about the model."""

    task: Task
    data: TaskData
    why: str


Planned = Ready | Unsupported | Absent


def unit_seconds(given: tuple[Ready, Unit]) -> float:
    """What a unit takes, about; of one without an estimate, what the longest of its task takes."""
    p, unit = given
    return p.costs.get(unit.address, p.longest)


def ready(planned: Sequence[Planned]) -> list[Ready]:
    return [p for p in planned if isinstance(p, Ready)]


def oddities(planned: Sequence[Planned]) -> Iterator[str]:
    """Each warning about a model once per data set; then the packages without which the report will lack numbers."""
    said = set()
    for p in ready(planned):
        for text in p.warnings:
            if (id(p.model), p.task.dataset, text) not in said:
                said.add((id(p.model), p.task.dataset, text))
                yield f"model {p.model.name!r} on {p.task.data_name}: {text}"
    yield from missing_packages(planned)


def missing_packages(planned: Sequence[Planned]) -> list[str]:
    """One line for each missing package that a complete run, one that can be submitted, needs."""
    lacking: dict[str, list[str]] = {}
    for p in ready(planned):
        why = p.task.kind.lacks(p.task)
        if why:
            lacking.setdefault(why, []).append(p.task.name)
    return [
        f"{', '.join(names)}: a complete run, one that can be submitted, {why}; the labels can be made up for later by "
        "the same command"
        for why, names in lacking.items()
    ]


def plan(
    models: model_room.Models,
    suite: Suite,
    seed: int = 0,
    *,
    known: Known | None = None,
    device: str = "cpu",
    compile: str = "auto",
) -> list[Planned]:
    """Every task of the suite with its data, model and units. Asks each model a few times about each dataset; ``known``
    are the models that a run folder has met, so that one of them keeps its addresses."""
    asked = _Asked(Known() if known is None else known)
    planned: list[Planned] = []
    for task in suite.tasks:
        try:
            planned.append(_plan_task(task, models, seed, asked, device, compile))
        except NotBuilt as error:
            planned.append(_absent(task, error))
        except ValueError as error:
            said = str(error)
            if type(error) is not ValueError or repr(task.name) in said or said.startswith("model"):
                raise  # it says what is meant
            raise ValueError(f"task {task.name!r} of suite {suite.name}: {said}") from error
    absent = [p for p in planned if isinstance(p, Absent)]
    if absent and len(absent) == len(planned):
        raise ValueError(f"suite {suite.name}: no data set of it is on this machine: {absent[0].why}")
    return planned


class _Asked:
    """What models answered on the frames of data sets, each asked once."""

    def __init__(self, known: Known):
        self.known = known
        self.looks: dict[tuple[int, str], first_answer.Look | None] = {}

    def on(self, model: ForceField, data: str, frames: Any, where: str) -> first_answer.Look:
        key = (id(model), data)
        if self.looks.get(key) is None:
            self.looks[key] = first_answer.look(model, frames, where)
        return self.looks[key]  # type: ignore[return-value]

    def common(self, model: ForceField, dataset: str, config: str | None) -> tuple[str, Identity] | None:
        """Who the model is on frames that every run of it asks about, whatever its tasks; ``None`` if it cannot say."""
        from ffbench_data.load import load_frames

        try:
            data = data_key(used(dataset, config, "test"))
            if (id(model), data) not in self.looks:
                self.looks[id(model), data] = None
                frames = load_frames(dataset, config, "test")
                self.looks[id(model), data] = first_answer.look(model, frames, "", judge=False)
        except (ValueError, OSError, KeyError):  # not built, no such split, or the model is not made for it
            return None
        look = self.looks[id(model), data]
        return None if look is None else (data, look.identity)


COMMON = (
    "ethanol_gfn2"  # ships with the package, nine atoms: what a model for all data sets is asked about in every run
)


def _plan_task(task: Task, models: model_room.Models, seed: int, asked: _Asked, device: str, compile: str) -> Planned:
    data, kind = load_task_data(task), task.kind
    model = model_room.for_dataset(models, task.data_name, task.config)
    if model is None:
        name = f"{task.data_name}:{task.config}" if task.config else task.data_name
        return Unsupported(task, data, f"no model for dataset {name}")
    if kind.covers_parts():
        if not len(kind.sample_rows(data, model, 1)):
            return Unsupported(task, data, "unsupported elements, charge or spin in every frame")
    elif why_not := lacking(model, data.frames):
        return Unsupported(task, data, why_not)
    key = data_key(data.used)
    look = asked.on(model, key, data.frames, f"model {model.name!r} on {task.data_name}")
    who = {key: look.identity}
    for name, frames in kind.other_frames(task).items():
        with suppress(ValueError):  # frames that it cannot answer cost the task, not the run
            who[name] = asked.on(model, name, frames, task.name).identity
    marks = [asked.known.mark(name, one) for name, one in sorted(who.items())]
    facts = json.dumps(data.reference.facts if data.reference else {}, sort_keys=True, default=str)
    made_by = {
        "reference": hashlib.sha256(facts.encode()).hexdigest(),
        "ffbench": machine.version(),
        "device": torch.device(device).type,
    }
    if compile != "auto" and kind.compiled:
        made_by["compile"] = compile
    if torch.are_deterministic_algorithms_enabled() and made_by["device"] != "cpu":
        made_by["deterministic"] = "yes"
    if isinstance(model.fn, Remote) and model.fn.env:
        made_by["packages"] = json.dumps(model.fn.packages, sort_keys=True)  # others than ffbench runs with here
    rows = kind.plan(task, data, seed, model)
    content = data.used.content_sha256
    units = [make_unit(task, inputs, seed=seed, data=content, model="+".join(marks), **made_by) for inputs in rows]
    if not model.batched:
        units = [single for unit in units for single in singles(unit)]
    if isinstance(models, ForceField):
        shared = asked.common(model, COMMON, None)
    else:
        own = f"{task.data_name}:{task.config}" in models
        shared = asked.common(model, task.dataset, task.config if own else None)
    who |= dict([shared] if shared else [])
    if shared:
        asked.known.mark(*shared)
    common = shared[0] if shared else ""
    return Ready(task, data, model, units, identities=who, common=common, warnings=look.warnings)


def data_key(used: DatasetUsed) -> str:
    """A data set, config, split and content, as models are known by."""
    return f"{used.name}:{used.config}:{used.split}@{used.content_sha256[:8]}"


def _absent(task: Task, error: Exception) -> Absent:
    used = DatasetUsed(
        name=task.dataset, config=task.config or "", split=task.parameters.split, version="", content_sha256=""
    )
    none = cast("Frames", None)  # nobody looks at the frames of a task without units
    return Absent(task, TaskData(none, None, used), str(error))
