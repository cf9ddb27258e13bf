"""What a task kind and a metric are. Imports no torch: the board and the pages read the same facts.

A kind is one `Kind` in the ``__init__`` of its room: facts that anybody may read, and the name of the module that does
the work, which is imported when it is first needed. The work is plain functions, named in `Work`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

if TYPE_CHECKING:
    import numpy as np
    from pydantic import BaseModel

    from ..report import Curve, Metric, TaskReport

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True)
class MetricSpec:
    """One metric, or with ``parts`` a family of them: ``rdf_error`` is emitted once per pair as ``rdf_error_O-O``.

    - ``low``, ``high``: what the definition allows, for any model however bad: no value and no interval lies outside.
    - ``usual``: what a sound model gives (all that is allowed if absent); ``zero``: an exact 0 is nothing odd either.
    - ``continuous``: independent samples never agree to the last digit.
    - ``timed``: a property of the machine, which no rerun has to repeat.
    - ``version``: of the definition; a change raises it.
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
    parts: Mapping[str, str] | None = None
    separator: str = "_"
    join: str = ", "

    @property
    def domain(self) -> tuple[float, float]:
        return self.low, self.high

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


class Work(Protocol):
    """The functions that a kind's module has to have; those it may have are methods of `Kind` with a default."""

    Parameters: type[BaseModel]  # of the task's YAML row

    def plan(self, task: Any, data: Any, seed: int) -> list[dict[str, Any]]: ...
    def calls(self, task: Any, inputs: dict, data: Any, model: Any) -> tuple[int, float]: ...
    def run_unit(
        self, task: Any, inputs: dict, data: Any, model: Any, folder: Path, progress: Callable, compile: str = "auto"
    ) -> dict[str, Any]: ...
    def score(self, task: Any, results: Sequence[Any], data: Any) -> tuple[dict[str, Metric], dict[str, Curve]]: ...


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

    @property
    def module(self) -> Work:
        return cast(Work, importlib.import_module(self.work))

    def _hook(self, name: str) -> Callable[..., Any] | None:
        return getattr(self.module, name, None)

    def plan(self, task: Any, data: Any, seed: int, model: Any = None) -> list[dict[str, Any]]:
        """The inputs of every unit, plain JSON values; with a model also those of ``plan_for_model(task, model)``."""
        more = self._hook("plan_for_model") if model is not None else None
        return self.module.plan(task, data, seed) + (more(task, model) if more else [])

    def covers_parts(self) -> bool:
        """Whether frames with elements that a model does not know are left out, instead of the whole task."""
        return self._hook("sample_rows") is not None

    def sample_rows(self, data: Any, model: Any, count: int) -> np.ndarray:
        """Rows of frames to ask the model for once, or to time it on: the first ones unless the kind knows better."""
        import numpy as np

        sample = self._hook("sample_rows")
        rows = sample(data, model, count) if sample else np.arange(min(count, len(data.frames)))
        return rows[np.arange(count) % len(rows)] if len(rows) else rows

    def other_frames(self, task: Any) -> dict[str, Any]:
        """Frames of other data that the model is asked about, by name."""
        find = self._hook("other_frames")
        return find(task) if find else {}

    def lacks(self, task: Any) -> str:
        """The package that a complete run of the task needs and that is missing here."""
        find = self._hook("lacks")
        return find(task) if find else ""

    def after(self, task: Any, data: Any, model: Any, folder: Path, values: dict[str, Any]) -> dict[str, Any]:
        """A step behind the work for which a package may be missing; a rerun makes up for it. Empty: nothing to do."""
        step = self._hook("after")
        return (step(task, data, model, folder, values) or {}) if step else {}

    def headline(self, results: Sequence[Any]) -> str:
        """Which of several rows of the score stands for the model."""
        find = self._hook("headline")
        return find(results) if find else ""

    def anchors(self, task: Any, data: Any) -> dict[str, Metric]:
        """Metrics without values, but with the noise floor and the trivial baseline that the data alone give."""
        find = self._hook("anchors")
        return find(task, data) if find else {}

    def groups(self, task: Any, data: Any) -> list[str]:
        """What members share, a label for each in the task's order: an interval draws equal ones together."""
        find = self._hook("groups")
        return find(task, data) if find else []

    def write_files(self, task: Any, results: Sequence[Any], data: Any, run: Path, title: str) -> None:
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
