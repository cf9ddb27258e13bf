"""`build`: upstream files (or a generator) to a sealed data set folder, one small builder per source layout."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..datacard import Card, card
from ..download import fetch
from ..load import cache_folder
from ..store import write_dataset
from ..validate import check_against_card, check_stiffness, check_trajectory, report, validate
from .built import Built
from .labels import NotUsed
from .read import require_folder

BUILDERS = {
    "md17": "md17:build",
    "rmd17": "rmd17:build",
    "three_bpa": "botnet:build_three_bpa",
    "acac": "botnet:build_acac",
    "lips": "crystals:build_lips",
    "lips20": "crystals:build_lips20",
    "gete": "crystals:build_gete",
    "bsct_spice": "bsct:build",
    "alanine_dipeptide": "mdsim:build_alanine",
    "water": "generated:build_water",
    "alanine_dipeptide_obc": "generated:build_alanine",
    "ethanol_gfn2": "generated:build_ethanol",
    "md17_gfn2": "generated:build_md17_gfn2",
    "diatomics_pbe": "diatomics:build",
    "diatomics_r2scan": "diatomics:build",
    "relative_energies": "relative_energies:build",
}
VALIDATION = "validation.json"


def build(name: str, source: str | Path | None = None, out: str | Path | None = None, *, quiet: bool = False) -> Path:
    """Build a data set into ``out/name`` and return that folder; it appears complete or not at all.

    ``source``: a folder with the upstream files (or raw runs of a generator); without it they are downloaded, or
    generated, into the user's cache. ``out``: where to put it, the user's cache by default (`load_frames` looks
    there). Every build is validated; ``validation.json`` in the folder holds the findings, and the manifest says
    whether the build is complete. ValueError for an unknown name, missing or damaged files, and failed checks.
    """
    of_card = card(name)
    make = _builder(name)
    out = Path(out).expanduser() if out is not None else cache_folder()
    if source is not None:
        folder = require_folder(Path(source))
    elif of_card.sources and not of_card.generator:
        folder = fetch(of_card.sources, cache_folder() / "sources" / name, quiet=quiet)
    else:
        folder = _generate(name)
    built = _make(make, folder, of_card)
    found = validate(built.tables, of_card) + check_against_card(built.tables, of_card)
    for label, table in built.trajectories.items():
        found += check_trajectory(table, label)
    for label, table, i, j, expected in built.stiffness:
        found += check_stiffness(table, label, i, j, expected)
    errors = [f for f in found if f.level == "error"]
    if errors:
        worst = "; ".join(f"{f.where}: {f.message}" for f in errors[:3])
        raise ValueError(f"{name} was not built, {len(errors)} checks failed: {worst}")
    summary = report(found)
    provenance = {
        "complete": built.complete,
        "notes": built.notes,
        "splits": built.splits,
        "validation": summary["counts"],
    }
    extra = {**built.extra_files, VALIDATION: (json.dumps(summary, indent=1) + "\n").encode()}
    return write_dataset(out / name, of_card, built.tables, extra, provenance=provenance)


def _make(make: Callable[[Path, Card], Built], folder: Path, of_card: Card) -> Built:
    """Run a builder; what its readers did not use becomes notes of the build, one line for all files alike."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        built = make(folder, of_card)
    files: dict[str, list[str]] = {}
    for one in caught:
        if isinstance(one.message, NotUsed):
            files.setdefault(one.message.what, []).append(one.message.path.name)
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    for what, names in files.items():
        named = list(dict.fromkeys(names))
        built.notes.append(f"{', '.join(named[:3])}{f' and {len(named) - 3} more' * (len(named) > 3)}: {what}")
    return built


def _builder(name: str) -> Callable[[Path, Card], Built]:
    module, _, function = BUILDERS[name].partition(":")
    result: Any = getattr(import_module(f".{module}", __name__), function)
    return result


def _generate(name: str) -> Path:
    from .generated import generate

    return generate(name, cache_folder() / "runs" / name)
