"""Paper and code of models, from their entries or, where an entry names none, from the board's own list."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field

from ffbench_eval.report import Strict

from ..entry.schema import ROOM, Entry, WebLink
from .scoring import read_yaml

LINKS = ROOM / "links.yaml"


class Known(Strict):
    paper: WebLink = ""
    code: WebLink = ""


class Links(Strict):
    """By model, else by family of the model's card."""

    models: dict[str, Known] = Field(default_factory=dict)
    families: dict[str, Known] = Field(default_factory=dict)


@cache
def _known(path: Path) -> Links:
    return Links.model_validate(read_yaml(path))


def links(entry: Entry, path: Path = LINKS) -> list[tuple[str, str]]:
    """(what, address) in the order paper, code, weights; the entry's own first."""
    known = _known(path)
    own, card = entry.about, entry.report.model
    listed = known.models.get(entry.model) or known.families.get(card.family) if entry.org == "ffbench" else None
    link = card.link if card.link.startswith("https://") else ""
    found = {
        "paper": own.paper or (listed.paper if listed else ""),
        "code": own.code or (listed.code if listed else "") or link,
        "weights": own.weights,
    }
    return [(what, address) for what, address in found.items() if address]
