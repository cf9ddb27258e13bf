"""What a check of frames found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """``level``: ``ok``, ``note`` (worth knowing), ``warning`` (users must know of it), ``error`` (stops a build)."""

    check: str
    where: str
    level: str
    message: str
    value: float | None = None
