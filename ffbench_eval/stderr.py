"""What is said while a run goes on, beside its progress bars."""

from __future__ import annotations

import sys

from tqdm import tqdm


def tell(line: str) -> None:
    """One line on stderr that is said whether or not a run is quiet."""
    tqdm.write(f"ffbench: {' '.join(line.split())}", file=sys.stderr)
