"""The report: one JSON per run, checked by these models. Imports no torch, so that the leaderboard can use it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from . import old_reports

if TYPE_CHECKING:
    import pandas

MAX_POINTS = 200  # per curve
MAX_BYTES = 1_000_000
LARGEST_FILE = 50 * MAX_BYTES  # that is read at all

Status = Literal[
    "ok", "unstable", "unsupported", "out_of_memory", "model_error", "harness_error", "not_run"
]  # what each replica, scan or chunk ends in


class Strict(BaseModel):
    """Unknown keys, NaN and infinity are refused; nothing changes after it was made."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Floor(Strict):
    """Errors of independent runs of the truth against the pooled rest of the reference, at this length.

    ``runs`` 1: there is one trajectory, its halves stand for runs, and nothing passes or fails by it; 0: no runs, but
    the stated uncertainty of reference values (``note`` says whose), p95 twice that. ``windows``: how many windows of
    this length that do not overlap the two quantiles rest on (``None``: not stated); ``note`` says where they are
    interpolated.
    """

    median: float
    p95: float
    runs: int
    length_ps: float
    windows: int | None = None
    note: str = ""

    @model_serializer(mode="wrap")
    def _without_what_is_not_stated(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """So that the hash of an older report still fits."""
        return {k: v for k, v in write(self).items() if not (k in ("windows", "note") and v in (None, ""))}


Method = Literal[
    "",  # not stated
    "student",  # Student's t over members
    "blocks",  # Student's t over blocks of frames
    "root_of_blocks",  # root of the interval of a mean square
    "clopper_pearson",
    "restricted_mean",  # Student's t with Greenwood's variance, of times that end at a limit
    "bootstrap",  # over groups of members that belong together
    "one_job",  # none: one timing on one machine
]


class Interval(Strict):
    """The 95 % interval of a number, or why there is none.

    ``low``, ``high``: both or neither; ``method``: how they are made, or would be; ``censored``: nothing failed within
    the length, so that the value is a lower bound; ``reason``: for people, how it was made or why there is none.
    """

    low: float | None = None
    high: float | None = None
    method: Method = ""
    censored: bool = False
    reason: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Interval:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends or none")
        if self.censored and self.low is not None:
            raise ValueError("a censored value has no interval: it is a lower bound")
        return self

    @property
    def ends(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)

    @classmethod
    def of(cls, ends: Sequence[float] | None, reason: str, method: Method = "", *, censored: bool = False) -> Interval:
        """
        >>> Interval.of((1, 2), "Student's t over replicas", "student").ends
        (1.0, 2.0)
        """
        low, high = (None, None) if ends is None else ends
        return cls(low=low, high=high, method=method, censored=censored, reason=reason)


class Metric(Strict):
    """One number with its uncertainty.

    ``values`` are the independent samples (replicas, scans, blocks of frames) that ``aggregate`` turns into ``value``
    and ``uncertainty`` (95 %). ``score`` is 1 at the noise floor and 0 at the ``trivial`` baseline's error.

    ``interval`` and ``interval_note``, the fields of reports before schema version 2, are still taken and can be read:
    the ends, or None, and the reason.
    """

    value: float | None
    unit: str
    uncertainty: Interval = Field(default_factory=Interval)
    n: int = 0
    better: Literal["lower", "higher", "neither"] = "lower"
    aggregate: str = "mean"
    version: str = "1"
    values: list[float | None] = Field(default_factory=list)
    floor: Floor | None = None
    trivial: float | None = None
    score: float | None = None
    not_scored: str = ""

    def __repr_args__(self):
        """Without the samples and what is empty."""
        return [(k, v) for k, v in super().__repr_args__() if k != "values" and v not in (None, "", [])]

    @model_validator(mode="before")
    @classmethod
    def _old_form(cls, data: Any) -> Any:
        return _with_uncertainty(data) if isinstance(data, dict) else data

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """Both forms."""
        schema = handler.resolve_ref_schema(handler(core))
        ends = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
        schema["properties"]["interval"] = {"anyOf": [ends, {"type": "null"}], "deprecated": True}
        schema["properties"]["interval_note"] = {"type": "string", "deprecated": True}
        return schema

    @property
    def interval(self) -> tuple[float, float] | None:
        return self.uncertainty.ends

    @property
    def interval_note(self) -> str:
        return self.uncertainty.reason

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        changed = dict(update or {})
        if changed.keys() & {"interval", "interval_note"}:
            before = {"interval": self.interval, "interval_note": self.interval_note}
            changed = _with_uncertainty(before | changed)
        return super().model_copy(update=changed, deep=deep)

    def noted(self, *more: str) -> Self:
        """The same with more said of its interval."""
        said = "; ".join(filter(None, (self.uncertainty.reason, *more)))
        return self.model_copy(update={"uncertainty": self.uncertainty.model_copy(update={"reason": said})})


def _with_uncertainty(data: dict[str, Any]) -> dict[str, Any]:
    """Fields of a metric with the two old ones in their new form."""
    if not data.keys() & {"interval", "interval_note"} or "uncertainty" in data:
        return data
    rest = {k: v for k, v in data.items() if k not in ("interval", "interval_note")}
    return rest | {"uncertainty": Interval(**old_reports.interval(data.get("interval"), data.get("interval_note", "")))}


class Curve(Strict):
    """A small plot: one x axis, named series; ``y`` may hold ``None`` for gaps."""

    kind: Literal["line", "points", "surface"] = "line"
    x_label: str
    y_label: str
    x: list[float]
    series: dict[str, list[float | None]]
    note: str = ""


class UnitReport(Strict):
    """One finished unit: its address, how long it took and the state each of its members ended in."""

    address: str
    status: list[Status]
    detail: list[str] = Field(default_factory=list)
    wall_s: float
    force_calls: int = 0
    mode: str = ""  # eager, force or step: how the engine ran it, and why
    mode_note: str = ""


class DatasetUsed(Strict):
    name: str
    config: str
    split: str
    version: str
    content_sha256: str
    theory: str = ""

    def __eq__(self, other: object) -> bool:
        """The same data: older reports do not state its level of theory."""
        return isinstance(other, DatasetUsed) and self._data() == other._data()

    def __hash__(self) -> int:
        return hash(self._data())

    def _data(self) -> tuple[str, ...]:
        return self.name, self.config, self.split, self.version, self.content_sha256

    @model_serializer(mode="wrap")
    def _without_empty_theory(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without an empty theory, so that the hash of an older report still fits."""
        return {k: v for k, v in write(self).items() if k != "theory" or v}


class TaskReport(Strict):
    kind: str
    version: str
    title: str
    dataset: DatasetUsed
    parameters: dict[str, Any]
    indicative: bool = False
    note: str = ""
    units: list[UnitReport] = Field(default_factory=list)
    metrics: dict[str, Metric] = Field(default_factory=dict)
    curves: dict[str, Curve] = Field(default_factory=dict)
    headline: str = ""  # of a selective task: the confidence source that stands for the model

    @model_serializer(mode="wrap")
    def _without_empty_headline(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without an empty ``headline``: the other kinds have none, and older reports keep their hash."""
        return {k: v for k, v in write(self).items() if k != "headline" or v}

    @property
    def states(self) -> list[Status]:
        """How every member ended, in the task's order."""
        return [state for unit in self.units for state in unit.status]

    @property
    def statuses(self) -> dict[str, int]:
        """How many members ended in each state."""
        return dict(Counter(self.states))


class ModelCard(Strict):
    """What the model states. ``fingerprint`` and ``answers`` say who it is (`identity.same_model`): by data set, a row
    per fixed frame with the energy, then the norm and two projections of the forces and of what else it gives."""

    name: str
    version: str = ""
    spec: str = ""
    family: str = ""
    parameters: int | None = None
    conservative: bool | None = None
    cutoff_angstrom: float | None = None
    elements: list[int] | None = None
    dtype: str = ""
    training_data: str = ""
    theory: str = ""
    licence: str = ""
    link: str = ""
    seen_test_data: bool | None = None
    fingerprint: str = ""
    answers: dict[str, list[list[float]]] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler):
        """Reports made before there were answers keep their hash."""
        return {k: v for k, v in handler(self).items() if k != "answers" or v}


class Environment(Strict):
    """``kernel_s``: seconds of `engine.cost.reference_kernel` on this machine, the unit of normalised cost.

    ``deterministic``: the same call gives the same bits here, so that a rerun or a resumed run is the same one; on a
    GPU only where that was asked for, because sums run in any order there. ``None``: not stated.
    """

    python: str
    ffbench: str
    packages: dict[str, str]
    system: str
    processor: str
    cores: int
    threads: int
    device: str
    kernel_s: float | None = None
    deterministic: bool | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_stated(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without an unstated ``deterministic``, so that the hash of an older report still fits."""
        return {k: v for k, v in write(self).items() if k != "deterministic" or v is not None}


class Report(Strict):
    """Everything a run found out. `load`, `to_json` and `to_html` are its doors.

    >>> report = Report.load("runs/mine")  # doctest: +SKIP
    >>> report.tasks["ethanol_accuracy"].metrics["force_mae"].value  # doctest: +SKIP
    0.0123
    """

    schema_version: Literal["1", "2"] = "2"
    suite: str
    suite_version: str
    created: str
    seed: int
    model: ModelCard
    models: dict[str, ModelCard] = Field(default_factory=dict)
    environment: Environment
    wall_s: float
    tasks: dict[str, TaskReport]
    content_sha256: str = ""

    @model_serializer(mode="wrap")
    def _as_it_was_read(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Schema version 1 has intervals as a pair and a note."""
        out = write(self)
        if self.schema_version == "1":
            for task in (out.get("tasks") or {}).values():
                task["metrics"] = {k: old_reports.metric(m) for k, m in task["metrics"].items()}
        return out

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read and check a report (a ``report.json`` or a run folder). ValueError names the first wrong field."""
        path = Path(path)
        path = path / "report.json" if path.is_dir() else path
        if not path.exists():
            raise ValueError(f"no report at {path}")
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"{path}: has {path.stat().st_size} bytes, at most {LARGEST_FILE} are read")
        try:
            report = cls.model_validate(json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{path}: {where}: {first['msg']} ({error.error_count()} problems)") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is not JSON: {error}") from None
        except RecursionError:
            raise ValueError(f"{path} is not a report: it is nested too deep") from None
        except (ValueError, OSError) as error:  # no UTF-8, a number of thousands of digits
            raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from None
        if report.content_sha256 and report.content_sha256 != report.hash():
            raise ValueError(f"{path}: content_sha256 does not match: the file was changed after it was written")
        return report

    def hash(self) -> str:
        """sha256 of the canonical JSON without the hash itself."""
        plain = self.model_dump(mode="json", exclude={"content_sha256"})
        return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def sealed(self) -> Report:
        return self.model_copy(update={"content_sha256": self.hash()})

    def to_json(self, path: str | Path) -> Path:
        """Write atomically; returns the path."""
        path = Path(path)
        from ffbench_data.atomic import write_text

        return write_text(path, self.sealed().model_dump_json(indent=1))

    def __repr__(self) -> str:
        return f"<Report of {self.model.name} on {self.suite} {self.suite_version}, {len(self.tasks)} tasks>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """What a notebook shows: the answers."""
        from .page.summary import html

        return html(self)

    def to_pandas(self) -> pandas.DataFrame:
        """A row per task and metric: value, unit, interval, n, floor, trivial baseline, score.

        >>> report.to_pandas().query("metric == 'force_mae'")  # doctest: +SKIP
        """
        import pandas

        rows = [
            {
                "task": name,
                "metric": key,
                "value": m.value,
                "unit": m.unit,
                "low": m.interval[0] if m.interval else None,
                "high": m.interval[1] if m.interval else None,
                "n": m.n,
                "noise_p95": m.floor.p95 if m.floor else None,
                "trivial": m.trivial,
                "score": m.score,
            }
            for name, task in self.tasks.items()
            for key, m in task.metrics.items()
        ]
        return pandas.DataFrame(rows)

    def to_html(self, path: str | Path) -> Path:
        """A self-contained page with the tables and plots; returns the path."""
        from ffbench_data.atomic import write_text

        from .page.page import render

        return write_text(path, render(self, Path(path).parent))


def _refuse(constant: str):
    raise ValueError(f"{constant} is not allowed in a report")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a report."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema()}


def same_theory(model: str, data: str) -> bool:
    """Whether a model states a data set's level of theory: equal identifiers of `ffbench_data.theory`.

    >>> same_theory("SPC/Fw", "SPC/Fw (flexible, PME)"), same_theory("PBE", "PBE+D3"), same_theory("", "PBE")
    (True, False, False)
    """
    from ffbench_data.theory import same_theory as same

    return same(model, data)


def axis(values: Iterable[float], digits: int = 5) -> list[float]:
    """Finite numbers with few digits, for the x of a curve.

    >>> axis([0.123456789])
    [0.12346]
    """
    return [float(f"{float(v):.{digits}g}") for v in values]


def rounded(values: Iterable[float], digits: int = 5) -> list[float | None]:
    """Numbers with few digits for curves; NaN and infinity become ``None``.

    >>> rounded([1.23456789, float("nan")])
    [1.2346, None]
    """
    out: list[float | None] = []
    for v in values:
        v = float(v)
        out.append(float(f"{v:.{digits}g}") if v == v and abs(v) != float("inf") else None)
    return out
