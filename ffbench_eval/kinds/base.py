"""What a task kind and a metric are. Imports no torch: the board and the pages read the same facts.

A kind is one `Kind` in the ``__init__`` of its room: facts that anybody may read, and the name of the module that does
the work, which is imported when it is first needed. The work is plain functions, named in `Work`.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Required, TypeAlias, cast

from typing_extensions import TypedDict

if TYPE_CHECKING:
    import numpy as np
    from pydantic import BaseModel

    from ffbench_data.contract import ForceField

    from ..report import Curve, Metric, TaskReport
    from ..run.data import TaskData
    from ..run.units import Result
    from ..suite import Task

Better = Literal["lower", "higher", "neither"]
Progress = Callable[[float], None]  # told the share that is done
MetricsAndCurves: TypeAlias = "tuple[dict[str, Metric], dict[str, Curve]]"  # what a report prints and draws, by name


@dataclass(frozen=True)
class MetricSpec:
    """One metric, or with ``parts`` a family of them: ``rdf_error`` is emitted once per pair as ``rdf_error_O-O``.

    - ``low``, ``high``: what the definition allows, for any model however bad: no value and no interval lies outside.
    - ``usual``: what a sound model gives (all that is allowed if absent); ``zero``: an exact 0 is nothing odd either.
    - ``continuous``: independent samples never agree to the last digit.
    - ``nothing``: what the trivial baseline is, as people say it; ``share``: the value over it in words, in per cent;
      ``beaten``: what a value is that the baseline beats; ``gain``: the same for a score, in per cent;
      ``bare``: the value in words where nothing is there to hold it against.
    - ``gloss``: the value in other words, with its factor: a number that holds without labels, floor or baseline.
    - ``curve``: the report's curve that shows it, by the start of its name; ``{}`` is the part.
    - ``limit``: a check: a value on the wrong side of it is a fault.
    - ``timed``: a property of the machine, which no rerun has to repeat.
    - ``version``: of the definition; a change raises it.
    - ``function``: of `ffbench_metrics`, which defines the number; its own name if absent, ``""`` for counts of states
      and for timings.

    What tables and the board do with it, by part (patterns as of a shell; ``{headline}`` is the source that stands for
    the model):

    - ``columns``: the parts that stand for the task in a table, with their places; ``shown``: those that pages have
      room for (with ``!``: not those); ``of_every``: those that every model has, whatever it can give.
    - ``ranked``: models of any level of theory have a place in it, ``theory`` says why those of another have none;
      ``worse_than_none``: the metric whose trivial baseline a model has to beat for a place.
    """

    name: str
    label: str
    unit: str
    better: Better = "lower"
    low: float = 0.0
    high: float = math.inf
    usual: tuple[float, float] | None = None
    zero: bool = False
    continuous: bool = True
    timed: bool = False
    version: str = "1"
    nothing: str = "nothing"
    share: str = ""
    beaten: str = ""
    gain: str = ""
    bare: str = ""
    gloss: tuple[str, float] | None = None
    curve: str = ""
    limit: float | None = None
    parts: Mapping[str, str] | None = None
    separator: str = "_"
    join: str = ", "
    columns: Mapping[str, int] = field(default_factory=dict)
    shown: tuple[str, ...] = ("*",)
    of_every: tuple[str, ...] = ("*",)
    ranked: bool = False
    theory: str = ""
    worse_than_none: str = ""
    function: str | None = None

    @property
    def defined_by(self) -> str:
        return self.name if self.function is None else self.function

    @property
    def domain(self) -> tuple[float, float]:
        return self.low, self.high

    def beyond(self, value: float) -> bool:
        """Whether a value lies beyond the limit, where there is one."""
        return self.limit is not None and (value < self.limit if self.better == "higher" else value > self.limit)

    def part_of(self, key: str) -> str | None:
        """The part of the family that ``key`` names, ``""`` for the metric itself, ``None`` for another metric.

        >>> MetricSpec("rdf_error", "g(r) error", "Å", parts={}).part_of("rdf_error_O-O")
        'O-O'
        """
        if key == self.name:
            return ""
        start = self.name + self.separator
        return key.removeprefix(start) if self.parts is not None and key.startswith(start) else None

    def label_of(self, part: str) -> str:
        """What people read: the label with the part's own words, or the part as it is."""
        words = [(self.parts or {}).get(p, p.replace("_", " ")) for p in part.split(self.separator)] if part else []
        return self.join.join([self.label, *words])

    def key(self, part: str) -> str:
        """
        >>> MetricSpec("rdf_error", "g(r) error", "Å", parts={}).key("O-O")
        'rdf_error_O-O'
        """
        return f"{self.name}{self.separator}{part}" if part else self.name


class UnitValues(TypedDict, total=False):
    """What every kind's ``run_unit`` returns; a kind adds its own keys in a `TypedDict` of its room called ``Values``,
    and ``score`` finds them again in ``values`` of each result. `Kind.checked` holds both to it."""

    status: Required[list[str]]
    detail: list[str]
    force_calls: int
    mode: str
    mode_note: str


class Work(Protocol):
    """The functions that a kind's module has to have; those it may have are methods of `Kind` with a default."""

    Parameters: type[BaseModel]  # of the task's YAML row

    def plan(self, task: Task, data: TaskData, seed: int) -> list[dict[str, Any]]: ...
    def calls(self, task: Task, inputs: dict, data: TaskData, model: ForceField) -> tuple[int, float]: ...
    def run_unit(
        self,
        task: Task,
        inputs: dict,
        data: TaskData,
        model: ForceField,
        folder: Path,
        progress: Progress,
        compile: str = "auto",
    ) -> Mapping[str, Any]: ...
    def score(self, task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves: ...


NEEDED = ("Parameters", "plan", "calls", "run_unit", "score")
HOOKS = (
    "plan_for_model",
    "sample_rows",
    "other_frames",
    "lacks",
    "after",
    "headline",
    "anchors",
    "write_files",
    "groups",
)


@cache
def _check(kind: str, module: ModuleType) -> None:
    """ValueError for a kind's module that lacks a function, or with one that is meant for a hook and never called."""
    work = module.__name__
    for name in NEEDED:
        if not hasattr(module, name):
            raise ValueError(f"kind {kind!r}: {work} has no {name}; a kind needs {', '.join(NEEDED)}")
    own = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == work and n[0] != "_"]
    for name in own:
        near = difflib.get_close_matches(name, (*NEEDED, *HOOKS), 1, 0.8)
        if near and name not in (*NEEDED, *HOOKS):
            raise ValueError(f"kind {kind!r}: {work} has a function {name}, which nobody calls; is {near[0]} meant?")


@cache
def _values_of(module: ModuleType) -> tuple[Any, frozenset[str]]:
    """(what validates the values of a unit, the keys they may have: none is any, where the kind declares no own)."""
    from pydantic import TypeAdapter

    declared = getattr(module, "Values", None)
    keys = frozenset() if declared is None else frozenset(declared.__required_keys__ | declared.__optional_keys__)
    return TypeAdapter(declared or UnitValues), keys


@dataclass(frozen=True)
class Kind:
    """A task kind: what is asked, of what its members are, what it can emit, and where the work is done.

    - ``work``: the module with the functions of `Work`; ``sentence``: ``module:function``, from a `TaskReport` to what
      a verdict says of its numbers, one clause each.
    - ``member``: what one state of a unit stands for; ``members``: the key of a unit's inputs that lists them.
    - ``theory``: it compares with labels; ``tolerance``: relative difference that other hardware makes in a value.
    - ``simulation``: the engine runs it, so that members can be unstable and reruns agree in their means only;
      ``compiled``: the option ``compile`` changes its results; ``timed``: no rerun repeats its numbers.
    - ``frames``: members are single frames, reported as runs of equal states; ``learned``: values come from networks
      trained anew, which agree within their intervals; ``small_plots``: its curves are many and alike.
    - ``subject``: the property of a model that it speaks of, one or two words (its name if absent).
    - ``weight``: of its tasks in the board's overall score; ``needs_theory``: ``theory``, where a task's parameters
      decide it; ``other_theory``: from a metric and the parameters to why only models of the data's theory have a
      place in it.
    - ``time``: metrics of the time that a simulation can be trusted, the first that a task has is what its score
      multiplies; ``brief``: whether a task with these parameters is too short for them to say much.
    - ``leads``: the sources of which a report names one that stands for the model; scores are then of it alone;
      ``bounds``: the best and the worst that a source can be; ``short``: names of sources in legends.
    - ``sampled``: a report holds the samples its numbers are made of; ``own_baseline``: trivial baselines come from the
      model's own answers, so that no lock holds them.
    """

    name: str
    about: str
    member: str
    members: str
    work: str
    metrics: tuple[MetricSpec, ...]
    sentence: str = ""
    tolerance: float = 0.0
    theory: bool = True
    simulation: bool = False
    compiled: bool = False
    timed: bool = False
    frames: bool = False
    learned: bool = False
    small_plots: bool = False
    weight: float = 1.0
    needs_theory: Callable[[Mapping[str, Any]], bool] | None = None
    other_theory: Callable[[str, Mapping[str, Any]], str] | None = None
    time: tuple[str, ...] = ()
    brief: Callable[[Mapping[str, Any]], bool] | None = None
    leads: tuple[str, ...] = ()
    bounds: tuple[str, ...] = ()
    short: Mapping[str, str] = field(default_factory=dict)
    sampled: bool = True
    own_baseline: bool = False
    subject: str = ""

    @property
    def about_what(self) -> str:
        return self.subject or self.name.replace("_", " ")

    @property
    def given(self) -> bool:
        """Its members are given with labels: errors on them can be 0, and all of them count if nothing failed."""
        return self.theory and not self.simulation

    @property
    def module(self) -> Work:
        module = importlib.import_module(self.work)
        _check(self.name, module)
        return cast(Work, module)

    def _hook(self, name: str) -> Callable[..., Any] | None:
        return getattr(self.module, name, None)

    def plan(self, task: Task, data: TaskData, seed: int, model: ForceField | None = None) -> list[dict[str, Any]]:
        """The inputs of every unit, plain JSON values; with a model also those of ``plan_for_model(task, model)``."""
        more = self._hook("plan_for_model") if model is not None else None
        return self.module.plan(task, data, seed) + (more(task, model) if more else [])

    def checked(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values of a unit, as ``run_unit`` returned them or as they were read back, status included. ValueError
        where a key or a type is not that of the kind's ``Values``."""
        from pydantic import ValidationError

        adapter, keys = _values_of(cast(ModuleType, self.module))
        where = f"kind {self.name!r}: values of a unit"
        for key in values if keys else ():
            if key not in keys:
                near = difflib.get_close_matches(key, keys, 1)
                hint = f"; is {near[0]} meant?" if near else ""
                raise ValueError(f"{where}: {key!r} is not in {self.work}.Values{hint}")
        try:
            adapter.validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(str(p) for p in first["loc"])
            raise ValueError(f"{where}: {at}: {first['msg']}, got {str(first.get('input'))[:80]}") from None
        return values

    def covers_parts(self) -> bool:
        """Whether frames with elements that a model does not know are left out, instead of the whole task."""
        return self._hook("sample_rows") is not None

    def sample_rows(self, data: TaskData, model: ForceField, count: int) -> np.ndarray:
        """Rows of frames to ask the model for once, or to time it on: the first ones unless the kind knows better."""
        import numpy as np

        sample = self._hook("sample_rows")
        rows = sample(data, model, count) if sample else np.arange(min(count, len(data.frames)))
        return rows[np.arange(count) % len(rows)] if len(rows) else rows

    def other_frames(self, task: Task) -> dict[str, Any]:
        """Frames of other data that the model is asked about, by name."""
        find = self._hook("other_frames")
        return find(task) if find else {}

    def lacks(self, task: Task) -> str:
        """The package that a complete run of the task needs and that is missing here."""
        find = self._hook("lacks")
        return find(task) if find else ""

    def after(
        self, task: Task, data: TaskData, model: ForceField, folder: Path, values: dict[str, Any]
    ) -> dict[str, Any]:
        """A step behind the work for which a package may be missing; a rerun makes up for it. Empty: nothing to do.
        ``detail`` of what it returns is added to the lines that are there."""
        step = self._hook("after")
        return (step(task, data, model, folder, values) or {}) if step else {}

    def headline(self, results: Sequence[Result]) -> str:
        """Which of several rows of the score stands for the model."""
        find = self._hook("headline")
        return find(results) if find else ""

    def anchors(self, task: Task, data: TaskData) -> dict[str, Metric]:
        """Metrics without values, but with the noise floor and the trivial baseline that the data alone give."""
        find = self._hook("anchors")
        return find(task, data) if find else {}

    def groups(self, task: Task, data: TaskData) -> list[str]:
        """What members share, a label for each in the task's order: an interval draws equal ones together."""
        find = self._hook("groups")
        return find(task, data) if find else []

    def write_files(self, task: Task, results: Sequence[Result], data: TaskData, run: Path, title: str) -> None:
        """Files beside the report."""
        write = self._hook("write_files")
        if write:
            write(task, results, data, run, title)

    def count_members(self, inputs: Mapping[str, Any]) -> int:
        """How many states a unit ends in."""
        return len(inputs.get(self.members) or [0])

    def say(self, task: TaskReport) -> list[str]:
        """What a verdict says of the task's numbers."""
        if not self.sentence:
            return []
        module, _, function = self.sentence.partition(":")
        return getattr(importlib.import_module(module), function)(task)

    def spec(self, key: str) -> tuple[MetricSpec, str] | None:
        """The metric that a key of a report names, and its part; ``None`` for a key the kind cannot emit."""
        found = [(s, part) for s in self.metrics if (part := s.part_of(key)) is not None]
        return max(found, key=lambda hit: len(hit[0].name)) if found else None

    def compares(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a task with these parameters compares with labels or a reference simulation."""
        return self.needs_theory(parameters) if self.needs_theory else self.theory

    def says_little(self, key: str, parameters: Mapping[str, Any]) -> bool:
        """Whether ``key`` is a time that a task with these parameters is too short for."""
        return key in self.time and self.brief is not None and self.brief(parameters)

    def why_other_theory(self, key: str, parameters: Mapping[str, Any]) -> str:
        """Why models of another theory than the data's have no place in a metric; empty where they have one."""
        hit = self.spec(key)
        own = self.other_theory(key, parameters) if self.other_theory else ""
        return own or (hit[0].theory if hit else "")

    def columns(self, names: Sequence[str], headline: str = "") -> list[str]:
        """Keys that stand for a task in a table, in order; of patterns those among ``names``."""
        found: list[tuple[int, int, str]] = []
        for spec in self.metrics:
            for part, place in spec.columns.items():
                pattern = spec.key(part.replace("{headline}", headline))
                keys = [n for n in names if fnmatchcase(n, pattern)] if "*" in pattern else [pattern]
                found += [(place, names.index(k) if k in names else len(names), k) for k in keys]
        return list(dict.fromkeys(key for *_, key in sorted(found)))

    def shows(self, key: str, headline: str = "") -> bool:
        """Whether pages have room for a metric."""
        hit = self.spec(key)
        if hit is None:
            return True
        patterns = [p.replace("{headline}", headline) for p in hit[0].shown]
        refused = any(fnmatchcase(hit[1], p[1:]) for p in patterns if p.startswith("!"))
        return not refused and any(fnmatchcase(hit[1], p) for p in patterns if not p.startswith("!"))

    def always_there(self, key: str) -> bool:
        """Whether every model has a metric, if all its members ended well."""
        hit = self.spec(key)
        return hit is None or any(fnmatchcase(hit[1], p) for p in hit[0].of_every)
