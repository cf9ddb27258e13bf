"""Suites: named, versioned lists of tasks in ``ffbench_eval/suites/*.yaml``."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SUITES = Path(__file__).parent / "suites"


@dataclass(frozen=True)
class Task:
    """One question put to a model: a task kind and its checked parameters."""

    name: str
    kind: str
    version: str
    title: str
    dataset: str
    config: str | None
    parameters: Any  # the kind's pydantic model
    indicative: bool = False
    note: str = ""


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
        raise ValueError(f"unknown suite {str(name)!r}{did_you_mean(str(name), list_suites())}")
    raw = yaml.safe_load(path.read_text())
    rows = raw["tasks"]
    for wanted in tasks or []:
        if wanted not in rows:
            raise ValueError(f"suite {raw['name']!r} has no task {wanted!r}{did_you_mean(wanted, rows)}")
    chosen = {k: v for k, v in rows.items() if not tasks or k in tasks}
    return Suite(
        raw["name"],
        str(raw["version"]),
        raw.get("description", ""),
        tuple(_task(path, name, dict(row)) for name, row in chosen.items()),
    )


def _task(path: Path, name: str, row: dict) -> Task:
    from pydantic import ValidationError

    from .kinds import KINDS

    kind = row.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"{path.name}: task {name!r}: unknown kind {kind!r}{did_you_mean(str(kind), KINDS)}")
    dataset, _, config = row.pop("dataset").partition(":")
    known = {k: row.pop(k) for k in ("version", "title", "indicative", "note") if k in row}
    try:
        parameters = KINDS[kind].Parameters.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{path.name}: task {name!r}: {where}: {first['msg']}") from None
    return Task(
        name=name,
        kind=kind,
        version=str(known.get("version", "1")),
        title=known.get("title", name),
        dataset=dataset,
        config=config or None,
        parameters=parameters,
        indicative=known.get("indicative", False),
        note=known.get("note", ""),
    )


def did_you_mean(word: str, known) -> str:
    """``"; did you mean 'x'? Known: ..."`` for error messages."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{hint} Known: {', '.join(known)}" if hint else f". Known: {', '.join(known)}"
