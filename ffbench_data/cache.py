"""Where ffbench keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(variable: str = "") -> Path:
    """What the environment's ``variable`` names, if it is set, else ``ffbench`` in the user's cache folder."""
    if named := variable and os.environ.get(variable):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ffbench"
