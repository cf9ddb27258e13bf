"""Published numbers as data, each with source and caveats: a layer of their own, never ranked with the entries."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from ffbench_eval.report import Strict

from ..entry.schema import ROOM

LITERATURE = ROOM / "literature"


class Value(Strict):
    model: str
    system: str
    metric: str
    value: float
    unit: str
    note: str = ""


class Table(Strict):
    """One source. ``comparable`` is always false: other data, protocol or criteria."""

    title: str
    source: str = Field(min_length=10)
    comparable: Literal[False]
    caveats: list[str] = Field(min_length=1)
    values: list[Value] = Field(min_length=1)


def load_literature(folder: Path = LITERATURE) -> list[Table]:
    import yaml

    return [Table.model_validate(yaml.safe_load(p.read_text(encoding="utf-8"))) for p in sorted(folder.glob("*.yaml"))]
