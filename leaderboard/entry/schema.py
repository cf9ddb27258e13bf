"""What an entry is: a report as the evaluator wrote it, and what only its submitter can add. Imports no torch."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ffbench_eval.report import MAX_BYTES, Report, Strict, TaskReport

ROOM = Path(__file__).parents[1]
ENTRIES = ROOM / "entries"
SCHEMA = ROOM / "schema" / "entry.v1.schema.json"
LIMIT = MAX_BYTES + 200_000  # bytes of one entry
CARD_LIMIT = 20_000  # bytes of a model card

SLUG = r"[a-z0-9][a-z0-9.\-]*(?:_[a-z0-9.\-]+)*"  # two underscores separate the organisation from the model
Slug = Annotated[str, Field(pattern=rf"^{SLUG}$", max_length=64)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
WebLink = Annotated[str, Field(pattern=r"^(https://[^\s\"'<>\\]+)?$", max_length=500)]
Text = Annotated[str, Field(max_length=2000)]


class Archive(Strict):
    """One file of a finished unit, kept outside git: predictions, trajectories or hills, never a pickle."""

    task: Annotated[str, Field(max_length=100)]
    unit: Sha256
    file: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_\-]*\.(parquet|npz|json)$", max_length=100)]
    url: Annotated[str, Field(pattern=r"^https://[^\s\"'<>\\]+$", max_length=500)]
    bytes: Annotated[int, Field(gt=0, le=20_000_000_000)]
    sha256: Sha256


class About(Strict):
    """What the model is, in the submitter's words. An empty string or null says: not stated."""

    summary: Text = ""
    authors: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=100)] = Field(default_factory=list)
    code: WebLink = ""
    paper: WebLink = ""
    weights: WebLink = ""
    weights_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    open_weights: bool | None = None
    contact: Annotated[str, Field(max_length=200)] = ""


class Entry(Strict):
    """A report offered to the board. `content_sha256` seals everything else; the trust level is never in here."""

    entry_version: Literal["1"] = "1"
    org: Slug
    model: Slug
    version: Slug
    about: About = Field(default_factory=About)
    command: Annotated[str, Field(max_length=1000)]
    archives: Annotated[list[Archive], Field(max_length=2000)] = Field(default_factory=list)
    report: Report
    content_sha256: str = ""

    @property
    def key(self) -> str:
        """``org__model/version/suite``: its name on the board and its path in git.

        >>> Entry.model_construct(org="a", model="b", version="1", report=Report.model_construct(suite="mini")).key
        'a__b/1/mini'
        """
        return f"{self.org}__{self.model}/{self.version}/{self.report.suite}"

    def hash(self) -> str:
        """sha256 of the canonical JSON without the hash itself."""
        plain = self.model_dump(mode="json", exclude={"content_sha256"})
        return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def sealed(self) -> Entry:
        return self.model_copy(update={"content_sha256": self.hash()})

    def text(self) -> str:
        return self.sealed().model_dump_json(indent=1) + "\n"

    def write(self, entries: Path = ENTRIES) -> Path:
        """Write atomically to its place under ``entries``; returns the path."""
        path = entries / f"{self.key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        from ffbench_data.atomic import write_text

        return write_text(path, self.text())


class Checked(Strict):
    """What the board itself did with an entry; written by maintainers into ``checks/``, bound to one content hash."""

    entry_sha256: Sha256
    level: Literal["recomputed", "reproduced"]
    date: str
    by: Annotated[str, Field(max_length=200)] = ""
    what: list[Annotated[str, Field(max_length=500)]] = Field(default_factory=list)


RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{k}" for name in ("com", "lpt") for k in range(1, 10))}


def portable(part: str) -> bool:
    """Whether a part of a path is a name on every system.

    >>> portable("1.0"), portable("aux"), portable("nul.txt"), portable("1."), portable("console")
    (True, False, False, False, True)
    """
    return part.split(".")[0] not in RESERVED and not part.endswith((".", " "))


def slug(text: str) -> str:
    """
    >>> slug("My Model v2__x")
    'my-model-v2_x'
    """
    text = re.sub(r"[^a-z0-9._-]+", "-", text.lower())
    return re.sub(r"_+", "_", text).strip("-._")[:64] or "model"


def entry_paths(entries: Path = ENTRIES) -> list[Path]:
    return sorted(p for p in entries.glob("*__*/*/*.json") if p.is_file() and not p.is_symlink())


def json_schema() -> dict[str, Any]:
    """The JSON Schema of an entry. Docstrings are left out: rewording one changes no schema."""
    schema = Entry.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        part.pop("description", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    return json.dumps(json_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def has_numbers(task: TaskReport) -> bool:
    """Whether a task of a report has any value at all."""
    return any(m.value is not None for m in task.metrics.values())
