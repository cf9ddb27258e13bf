"""The card of a dataset: everything that must be known to use its numbers. One YAML file per dataset."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

CARDS = Path(__file__).parent / "cards"


class Config(BaseModel):
    """A subset with its own splits."""

    model_config = ConfigDict(extra="forbid")

    description: str
    splits: dict[str, str]  # split name -> how its frames were chosen


class Card(BaseModel):
    """Read from ``cards/<name>.yaml``."""

    model_config = ConfigDict(extra="forbid")

    name: str
    version: str
    title: str
    description: str
    licence: str
    citation: str
    theory: str
    units: dict[str, str]
    temperature_K: float | None = None
    configs: dict[str, Config]
    generator: dict[str, Any] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    changelog: dict[str, str] = Field(default_factory=dict)

    @property
    def default_config(self) -> str:
        return next(iter(self.configs))


def list_datasets() -> list[str]:
    """Names of all datasets that have a card."""
    return sorted(path.stem for path in CARDS.glob("*.yaml"))


def card(name: str) -> Card:
    """The card of a dataset; ValueError with the nearest name for an unknown one."""
    path = CARDS / f"{name}.yaml"
    if not path.exists():
        raise ValueError(f"unknown dataset {name!r}{nearest(name, list_datasets())}")
    try:
        return Card.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def nearest(word: str, known) -> str:
    """``"; did you mean 'x'?"`` and the known names, for error messages."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, 1)
    return (f"; did you mean {near[0]!r}?" if near else ".") + f" Known: {', '.join(known)}"
