"""``python -m leaderboard.ci_check BASE HEAD CHANGED [LIFTED]``: the job of the pull-request workflow.

``CHANGED`` is what ``git diff -z --name-only`` wrote; without ``-z`` git quotes odd names and no check would find them.
``LIFTED`` is "true" where a maintainer's label allows entries of the board to change. Prints the job summary; exit code
1 if a changed entry has an error, 2 if the call is wrong. Needs no torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .check.check import errors
from .check.pull_request import validate


def main(arguments: list[str]) -> int:
    if len(arguments) not in (3, 4):
        print("usage: python -m leaderboard.ci_check BASE HEAD CHANGED [LIFTED]", file=sys.stderr)
        return 2
    base, head, changed = (Path(a) for a in arguments[:3])
    paths = changed.read_bytes().decode("utf-8", "replace").split("\0")
    found, summary = validate(base, head, paths, lifted=arguments[3:] == ["true"])
    print(summary)
    for finding in found:
        print(finding, file=sys.stderr)
    return 1 if errors(found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
