"""How far a run is: a bar for each task, or a line a minute where nobody looks at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..stderr import tell

if TYPE_CHECKING:
    from .plan import Ready
    from .units import Unit

LINE_EVERY_S = 60.0


class Bars:
    """``update(planned, unit, fraction)`` moves the bar of the unit's task; without a terminal, a line a minute."""

    def __init__(self, planned: Sequence[Ready], *, hidden: bool = False):
        self.hidden = hidden
        self.lines = not hidden and not sys.stderr.isatty()
        self.begun = self.told = time.monotonic()
        self.cost = {u.address: p.seconds / len(p.units) or 1e-3 for p in planned for u in p.units}
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

    def update(self, planned: Ready, unit: Unit, fraction: float) -> None:
        before = self.done.get(unit.address, 0.0)
        now = min(1.0, fraction)
        if now > before:
            bar = self.bars[planned.task.name]
            if before == 0.0:
                bar.unpause()
            bar.update(100 * (now - before))
            self.done[unit.address] = now
        if self.lines and time.monotonic() - self.told >= LINE_EVERY_S:
            self.told = time.monotonic()
            tell(self.line(planned.task.name))

    def line(self, task: str) -> str:
        """How much is done, of which task, and about how long the rest takes at this pace."""
        whole = sum(self.cost.values())
        part = sum(self.cost.get(address, 0.0) * done for address, done in self.done.items()) / whole
        spent = time.monotonic() - self.begun
        left = f", about {spent * (1 - part) / part / 60:.0f} min to go" if part > 0.01 else ""
        return f"{100 * part:.0f} % of the work after {spent / 60:.0f} min, now {task}{left}"

    def __enter__(self):
        return self

    def __exit__(self, *_: object):
        for bar in self.bars.values():
            bar.close()
