"""``python -m leaderboard.ci_build OUT``: build the site; entries with errors are named and set aside. No torch."""

from __future__ import annotations

import sys
from pathlib import Path

from .check.check import check, errors, known_entries, printable
from .entry.schema import ENTRIES, entry_paths
from .site.build import build


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m leaderboard.ci_build OUT", file=sys.stderr)
        return 2
    others = known_entries()
    aside = {}
    for path in entry_paths(ENTRIES):
        wrong = errors(check(path, others=others))
        for finding in wrong:
            print(finding, file=sys.stderr)
        if wrong:
            key = path.relative_to(ENTRIES).as_posix().removesuffix(".json")
            aside[key] = f"does not pass the check: {wrong[0].path} {wrong[0].message}"
    site = build(Path(arguments[0]), aside=aside)
    for key, why in site.aside.items():
        print(printable(f"set aside: {key}: {why}"), file=sys.stderr)
    print(site.index)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
