"""``python -m leaderboard.ci_build OUT``: check every entry, then build the site. Needs no torch."""

from __future__ import annotations

import sys
from pathlib import Path

from .build import build
from .check import check, errors, known_entries
from .entry import ENTRIES, entry_paths


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m leaderboard.ci_build OUT", file=sys.stderr)
        return 2
    others = known_entries()
    wrong = [f for path in entry_paths(ENTRIES) for f in errors(check(path, others=others))]
    for finding in wrong:
        print(finding, file=sys.stderr)
    if wrong:
        return 1
    print(build(Path(arguments[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
