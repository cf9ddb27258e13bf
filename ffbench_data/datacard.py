"""Data cards: one YAML per data set says what it is, where it comes from and its version.

Cards of shipped data sets are in ``ffbench_data/cards``; that of your own data (`ffbench data add`) lies beside them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from . import strict_yaml

CARDS = Path(__file__).parent / "cards"
CARD = "card.yaml"  # beside built data


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
    def _algorithm(cls, value: str | None) -> str | None:
        if value is not None and value.partition(":")[0] not in ("md5", "sha1", "sha256", "git"):
            raise ValueError(f"checksum {value!r} must start with md5:, sha1:, sha256: or git: (blob id)")
        return value


class Card(_Strict):
    """What a data set is. ``generator`` and ``reference`` are free mappings (settings, seeds, bond lists, starts).

    ``reference: package.module:factory`` names an ASE calculator that gives the truth at any structure; beside other
    rules it is their key ``calculator``.
    """

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

    @field_validator("reference", mode="before")
    @classmethod
    def _calculator(cls, value: Any) -> Any:
        return {"calculator": value} if isinstance(value, str) else value

    @property
    def calculator(self) -> str:
        """The spec of the reference potential, "" if there is none."""
        return str(self.reference.get("calculator", ""))

    @property
    def default_config(self) -> str:
        """The first config of the card."""
        return next(iter(self.configs))


def read_card(path: Path) -> Card:
    """A card from a YAML file. ValueError names the file and each wrong key."""
    path = Path(path)
    try:
        return Card.model_validate(strict_yaml.read(path)[0])
    except ValidationError as error:
        faults = "; ".join(map(strict_yaml.told, error.errors()))
        raise ValueError(f"{path}: {faults}") from None


def shipped_datasets() -> list[str]:
    """Names of the data sets whose cards come with ffbench."""
    return sorted(p.stem for p in CARDS.glob("*.yaml"))


def list_datasets(root: str | Path | None = None) -> list[str]:
    """Names of all known data sets, built or not, and of your own in ``root`` (default: where `load_frames` looks).

    >>> "water" in list_datasets()
    True
    """
    from .load import own_datasets

    shipped = shipped_datasets()
    return shipped + [name for name in own_datasets(root) if name not in shipped]


def card(name: str, *, root: str | Path | None = None) -> Card:
    """The card of a data set, by its name or folder. ValueError for an unknown name, with the nearest known one.

    >>> card("water").units["energy"]
    'eV'
    """
    if name in shipped_datasets():
        return _shipped(name)
    from .load import dataset_folder, read_manifest

    folder = dataset_folder(name, root=root)
    if not (folder / CARD).exists() and (own := read_manifest(folder)["name"]) in shipped_datasets():
        return _shipped(own)
    return read_card(folder / CARD)


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
    hint = meant(str(name), right) or "."
    raise ValueError(f"unknown {what} {name!r}{where}{hint} Available: {', '.join(choices) or 'none'}")


def meant(name: str, choices: Iterable[str]) -> str:
    """The end of a line about a wrong name: the choice that was meant; empty where none is near.

    >>> meant("watr", ["water", "lips"]), meant("x", ["water"])
    ("; did you mean 'water'?", '')
    """
    choices = list(choices)
    near = difflib.get_close_matches(name, choices, n=1) or _longer(name, choices)
    return f"; did you mean {near[0]!r}?" if near else ""


def _longer(name: str, choices: list[str]) -> list[str]:
    """The one choice that a name begins, or whose words it has the first letters of.

    >>> _longer("md", ["molecular_dynamics", "accuracy"]), _longer("painn@eth", ["painn@ethanol_gfn2", "painn@lips"])
    (['molecular_dynamics'], ['painn@ethanol_gfn2'])
    """
    found = [c for c in choices if c.startswith(name) or name == "".join(word[:1] for word in c.split("_"))]
    return found if len(found) == 1 and len(name) > 1 else []


def parse_name(text: str) -> tuple[str, str | None]:
    """``"name"`` or ``"name:config"`` of task files and the command line; the name may be a folder's path.

    >>> parse_name("water:1k"), parse_name("lips"), parse_name("./mine:hot")
    (('water', '1k'), ('lips', None), ('./mine', 'hot'))
    """
    name, colon, config = text.rpartition(":") if is_path(text) else text.partition(":")
    if is_path(text) and (not colon or is_path(config)):  # a colon in the path itself
        name, colon, config = text, "", ""
    if not name or (colon and not config):
        raise ValueError(f"dataset {text!r} must be NAME or NAME:CONFIG, NAME a name or a folder")
    return name, config or None


def is_path(name: str) -> bool:
    """Whether a data set is given by its folder.

    >>> is_path("./mine"), is_path("water"), is_path("~/data/mine")
    (True, False, True)
    """
    return "/" in name or name.startswith((".", "~"))
