"""Trust levels: self-reported, recomputed (from archived predictions), reproduced (units rerun). Records of the board.

A record lies at ``checks/<entry key>.json``, written by maintainers only, and holds for one content hash: an entry that
changes falls back to self-reported.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .schema import ROOM, Checked, Entry

CHECKS = ROOM / "checks"
LEVELS = ("self-reported", "recomputed", "reproduced")


def level(entry: Entry, checks: Path = CHECKS) -> str:
    """The highest level the board has reached for exactly this entry."""
    return max((c.level for c in own_records(entry, checks)), key=LEVELS.index, default="self-reported")


def own_records(entry: Entry, checks: Path = CHECKS) -> list[Checked]:
    """The records of this very entry, by the hash of what it holds, not by the one it states."""
    found = records(entry, checks)
    mine = entry.hash() if found else ""
    return [c for c in found if c.entry_sha256 == mine]


def records(entry: Entry, checks: Path = CHECKS) -> list[Checked]:
    path = checks / f"{entry.key}.json"
    if not path.is_file():
        return []
    return [Checked.model_validate(row) for row in json.loads(path.read_text(encoding="utf-8"))]


def record(entry: Entry, reached: Any, what: list[str], by: str = "", checks: Path = CHECKS) -> Path:
    """Add a record for this very entry."""
    if reached not in LEVELS[1:]:
        raise ValueError(f"level {reached!r}: choose recomputed or reproduced")
    new = Checked(
        entry_sha256=entry.content_sha256,
        level=reached,
        date=datetime.now(UTC).date().isoformat(),
        by=by,
        what=what,
    )
    rows = [*records(entry, checks), new]
    path = checks / f"{entry.key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    from ffbench_data.atomic import write_text

    return write_text(path, json.dumps([r.model_dump(mode="json") for r in rows], indent=1) + "\n")
