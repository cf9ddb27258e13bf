"""Data cards: one YAML per data set in ``ffbench_data/cards`` says what it is, where it comes from and its version."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

CARDS = Path(__file__).parent / "cards"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(_Strict):
    """``rule`` says in words which frames are in the split; ``frames`` how many a complete build has."""

    rule: str
    frames: int | None = None


class Config(_Strict):
    """One way to split the data. ``tests`` says what an out-of-distribution config tests, ``labels`` what its frames
    must have: a split without one of them is refused."""

    description: str
    splits: dict[str, Split]
    tests: str | None = None
    labels: list[Literal["energy", "forces"]] = ["energy", "forces"]


class Source(_Strict):
    """One upstream file. ``checksum`` is ``algorithm:hex``; without one the first download is trusted and locked."""

    path: str
    url: str
    mirrors: list[str] = []
    bytes: int | None = None
    checksum: str | None = None
    licence: str | None = None
    note: str | None = None

    @field_validator("checksum")
    @classmethod
    def _algorithm(cls, value):
        if value is not None and value.partition(":")[0] not in ("md5", "sha1", "sha256", "git"):
            raise ValueError(f"checksum {value!r} must start with md5:, sha1:, sha256: or git: (blob id)")
        return value


class Card(_Strict):
    """What a data set is. ``generator`` and ``reference`` are free mappings (settings, seeds, bond lists, starts)."""

    name: str
    title: str
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    description: str
    licence: str
    citation: list[str]
    theory: str
    units: dict[str, str] = {
        "positions": "Angstrom",
        "cell": "Angstrom",
        "energy": "eV",
        "atomic_forces": "eV/Angstrom",
        "cauchy_stress": "eV/Angstrom^3",
        "time_fs": "fs",
    }
    temperature_K: float | list[float] | None = None
    redistributable: bool = True
    configs: dict[str, Config] = Field(min_length=1)
    sources: list[Source] = []
    notes: list[str] = []
    tags: list[str] = []
    generator: dict[str, Any] = {}
    reference: dict[str, Any] = {}
    changelog: dict[str, str]

    @property
    def default_config(self) -> str:
        """The first config of the card."""
        return next(iter(self.configs))


def read_card(path: Path) -> Card:
    """A card from a YAML file. ValueError names the file and each wrong key."""
    path = Path(path)
    try:
        return Card.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{path}: {faults}") from None


def list_datasets() -> list[str]:
    """Names of all known data sets, built or not.

    >>> "water" in list_datasets()
    True
    """
    return sorted(p.stem for p in CARDS.glob("*.yaml"))


def card(name: str) -> Card:
    """The card of a data set. ValueError for an unknown name, with the nearest known one.

    >>> card("water").units["energy"]
    'eV'
    """
    known(name, list_datasets(), "dataset")
    return _shipped(name)


@cache
def _shipped(name: str) -> Card:
    return read_card(CARDS / f"{name}.yaml")


def known(name: str, choices: Iterable[str], what: str, where: str = "", also: Iterable[str] = ()) -> str:
    """``name`` if it is one of ``choices``, else a ValueError that says what was meant and what there is.

    ``also``: names that are right, too many to be listed.
    """
    choices = list(choices)
    right = [*choices, *also]
    if name in right:
        return name
    near = difflib.get_close_matches(str(name), right, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"unknown {what} {name!r}{where}{hint} Available: {', '.join(choices) or 'none'}")


def parse_name(text: str) -> tuple[str, str | None]:
    """``"name"`` or ``"name:config"`` of task files and the command line.

    >>> parse_name("water:1k"), parse_name("lips")
    (('water', '1k'), ('lips', None))
    """
    name, colon, config = text.partition(":")
    if not name or (colon and not config):
        raise ValueError(f"dataset {text!r} must be NAME or NAME:CONFIG")
    return name, config or None
