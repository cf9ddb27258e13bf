"""Seeds belong to tasks, never to models: every model meets the same velocities and the same noise."""

from __future__ import annotations

import zlib


def task_seed(name: str) -> int:
    """A fixed seed for a task's name.

    >>> task_seed("ethanol_md") == task_seed("ethanol_md") != task_seed("water_md")
    True
    """
    return zlib.crc32(name.encode())
