"""What the recipes gave here: hashes of the generated data sets that are too large to ship.

    python -m ffbench_data.generate.record DATASET_FOLDER ...

writes `recorded.json` beside this file: per data set the version, the programs that made it and the content hash of
every split. A regeneration elsewhere has other hashes (see `ffbench_data.regenerate`); one with these hashes is equal.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..atomic import write_text
from ..command import as_program

RECORDED = Path(__file__).with_name("recorded.json")
PROGRAMS = {"water": "OpenMM", "alanine_dipeptide_obc": "OpenMM", "md17_gfn2": "tblite"}


def record(folder: Path) -> dict[str, Any]:
    """The record of one built data set. ValueError if ``folder`` holds none that is generated."""
    from ..datacard import card, known

    path = Path(folder) / "manifest.json"
    if not path.exists():
        raise ValueError(f"folder {folder} holds no built data set (no manifest.json)")
    manifest = json.loads(path.read_text())
    program = PROGRAMS[known(manifest["name"], PROGRAMS, "generated data set")]
    try:
        made_by = f"{program} {version(program.lower())}"
    except PackageNotFoundError:
        made_by = program
    splits = {
        f"{row['config']}/{row['split']}": {"frames": row["frames"], "content_sha256": row["content_sha256"]}
        for row in manifest["splits"]
    }
    recipe = card(manifest["name"]).generator
    return {"version": manifest["version"], "program": made_by, "recipe": recipe, "splits": splits}


def main(folders: list[Path]) -> None:
    """Record the hashes of built data sets."""
    known_sets = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    for folder in folders:
        known_sets[json.loads((folder / "manifest.json").read_text())["name"]] = record(folder)
    write_text(RECORDED, json.dumps(dict(sorted(known_sets.items())), indent=1) + "\n")


if __name__ == "__main__":
    as_program(main)
