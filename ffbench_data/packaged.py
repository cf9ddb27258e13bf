"""Data sets that installed packages bring: entry points of the group ``ffbench.datasets``.

``name = "package.module:ATTRIBUTE"``, where the attribute is the folder of a sealed data set of that name (what
`ffbench data add` and `build` make, its card beside it), or a function that returns it, such as one that downloads it
first.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

GROUP = "ffbench.datasets"


def packaged() -> dict[str, EntryPoint]:
    """The entry point of every data set of another package, which is not imported; a shipped name cannot be taken."""
    from .datacard import shipped_datasets

    return {e.name: e for e in entry_points(group=GROUP) if e.name not in shipped_datasets()}


def packaged_folder(name: str) -> Path | None:
    """The folder of the data set ``name``, where a package brings it. ValueError where what it brings is no such data
    set."""
    from .datacard import CARD
    from .load import read_manifest

    point = packaged().get(name)
    if point is None:
        return None
    try:
        found = point.load()
        folder = Path(found() if callable(found) else found)
    except Exception as error:
        raise ValueError(f"data set {name!r} of {package(point)}: {type(error).__name__}: {error}") from error
    try:
        called = read_manifest(folder)["name"]
    except ValueError as error:
        raise ValueError(f"data set {name!r} of {package(point)}: {error}") from None
    if called != name:
        raise ValueError(f"data set {name!r} of {package(point)}: the one in {folder} is called {called!r}")
    if not (folder / CARD).is_file():
        raise ValueError(f"data set {name!r} of {package(point)}: {folder} has no {CARD}")
    return folder


def package(point: EntryPoint) -> str:
    """What is to be installed for it."""
    return point.dist.name if point.dist else point.value.partition(":")[0]
