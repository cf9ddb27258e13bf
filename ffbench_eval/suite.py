"""Suites: named, versioned lists of tasks in ``ffbench_eval/suites/*.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ffbench_data.datacard import is_path, known, parse_name

from .kinds import Kind, find_kind

SUITES = Path(__file__).parent / "suites"


@dataclass(frozen=True)
class Task:
    """One question put to a model: a task kind and its checked parameters."""

    name: str
    kind: Kind
    version: str
    title: str
    dataset: str
    config: str | None
    parameters: Any  # the kind's pydantic model
    indicative: bool = False
    note: str = ""

    @property
    def data_name(self) -> str:
        """What the data set is called, also where it is given by its folder."""
        from ffbench_data.load import name_of

        return name_of(self.dataset)


@dataclass(frozen=True)
class Suite:
    name: str
    version: str
    description: str
    tasks: tuple[Task, ...]


def list_suites() -> list[str]:
    return sorted(p.stem for p in SUITES.glob("*.yaml"))


def load_suite(name: str | Path, *, tasks: list[str] | None = None) -> Suite:
    """A shipped suite by name, or one from a YAML file; ``tasks`` keeps only those named.

    ValueError for an unknown suite or task (with the nearest name) and for a parameter that the kind does not know.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else SUITES / f"{name}.yaml"
    if not path.exists():
        known(str(name), list_suites(), "suite")
    raw = yaml.safe_load(path.read_text())
    rows = raw["tasks"]
    for wanted in tasks or []:
        known(wanted, rows, "task", f" of suite {raw['name']}")
    chosen = {k: v for k, v in rows.items() if not tasks or k in tasks}
    return Suite(
        raw["name"],
        str(raw["version"]),
        raw.get("description", ""),
        tuple(_task(path, name, dict(row)) for name, row in chosen.items()),
    )


def _task(path: Path, name: str, row: dict) -> Task:
    from pydantic import ValidationError

    try:
        kind = find_kind(str(row.pop("kind", None)), path.parent)
    except ValueError as error:
        raise ValueError(f"{error}: task {name!r} in {path.name}") from None
    dataset, config = parse_name(row.pop("dataset"))
    if is_path(dataset):
        dataset = str((path.parent / Path(dataset).expanduser()).resolve())
    about = {k: row.pop(k) for k in ("version", "title", "indicative", "note") if k in row}
    try:
        parameters = kind.module.Parameters.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        where = [".".join(str(part) for part in first["loc"])] if first["loc"] else []
        told = ": ".join([*where, first["msg"].removeprefix("Value error, ")])
        raise ValueError(f"{path.name}: task {name!r}: {told}") from None
    return Task(
        name=name,
        kind=kind,
        version=str(about.get("version", "1")),
        title=about.get("title", name),
        dataset=dataset,
        config=config,
        parameters=parameters,
        indicative=about.get("indicative", False),
        note=about.get("note", ""),
    )
