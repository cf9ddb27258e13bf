"""One progress bar per task, in seconds of estimated work."""

from __future__ import annotations

import sys

from tqdm import tqdm


def tell(line: str) -> None:
    """One line on stderr that is said whether or not a run is quiet."""
    tqdm.write(f"ffbench: {' '.join(line.split())}", file=sys.stderr)


class Bars:
    """``update(planned, unit, fraction)`` moves the bar of the unit's task."""

    def __init__(self, planned, *, hidden: bool = False):
        self.hidden = hidden
        self.done: dict[str, float] = {}
        self.bars = {}
        for position, p in enumerate(p for p in planned if p.units):
            self.bars[p.task.name] = tqdm(
                total=100 * len(p.units),
                desc=p.task.name,
                position=position,
                disable=True if hidden else None,
                bar_format="{desc:24.24} {bar} {percentage:3.0f} % {elapsed} < {remaining}",
                leave=True,
            )

    def update(self, planned, unit, fraction: float) -> None:
        before = self.done.get(unit.address, 0.0)
        now = min(1.0, fraction)
        if now > before:
            bar = self.bars[planned.task.name]
            if before == 0.0:
                bar.unpause()
            bar.update(100 * (now - before))
            self.done[unit.address] = now

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for bar in self.bars.values():
            bar.close()
