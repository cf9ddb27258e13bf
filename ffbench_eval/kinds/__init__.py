"""Task kinds, each in a room of its own; `KINDS` holds the shipped ones, `find_kind` also those of other packages.

Another package offers a kind as an entry point of the group ``ffbench.kinds``; one in a single file is named in the
suite's YAML by its path: ``kind: ./my_kind.py:KIND``.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from .accuracy import KIND as ACCURACY
from .base import Kind, MetricSpec
from .bsct import KIND as BSCT
from .diatomics import KIND as DIATOMICS
from .dynamics import KIND as DYNAMICS
from .experiment import KIND as EXPERIMENT
from .frequencies import KIND as FREQUENCIES
from .lite import KIND as SMOOTHNESS
from .parts import KIND as PARTS
from .physicality import KIND as PHYSICALITY
from .relative_energy import KIND as RELATIVE_ENERGY
from .selective import KIND as SELECTIVE
from .speed import KIND as SPEED

__all__ = ["KINDS", "Kind", "MetricSpec", "find_kind", "find_metric", "kind_of"]

SHIPPED = (
    *(ACCURACY, DYNAMICS, BSCT, DIATOMICS, RELATIVE_ENERGY, PHYSICALITY, EXPERIMENT, FREQUENCIES),
    *(SPEED, SELECTIVE, PARTS, SMOOTHNESS),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in SHIPPED}
FROM_FILES: dict[str, Kind] = {}  # that were named in this process


@cache
def _of_packages() -> dict[str, Kind]:
    return {e.name: e.load() for e in entry_points(group="ffbench.kinds")}


def all_kinds() -> dict[str, Kind]:
    """The shipped kinds, those that installed packages offer and those that a suite named by a path; a shipped name
    cannot be taken."""
    return {**FROM_FILES, **_of_packages(), **KINDS}


def kind_of(name: str) -> Kind:
    """The kind of a report or a lock. One that is not known here has no specs: its numbers are shown as they are.

    >>> kind_of("speed").timed, kind_of("of_another_package").metrics
    (True, ())
    """
    return all_kinds().get(name) or Kind(name=name, about=name, member="member", members="", work="", metrics=())


def find_kind(name: str, folder: Path | None = None) -> Kind:
    """The kind of that name, or of ``path/to/file.py:NAME`` (relative to ``folder``). ValueError names the nearest."""
    if ".py:" in name:
        return _from_file(name, folder or Path())
    known = all_kinds()
    if name not in known:
        from ffbench_data.datacard import known as nearest

        nearest(name, known, "kind")
    return known[name]


def _from_file(name: str, folder: Path) -> Kind:
    import importlib.util
    import sys

    path, _, attribute = name.rpartition(":")
    file = (folder / path).resolve()
    if not file.is_file():
        raise ValueError(f"kind {name!r}: no file {file}")
    module_name = f"ffbench_kind_{file.stem}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    kind = getattr(module, attribute, None)
    if not isinstance(kind, Kind):
        raise ValueError(f"kind {name!r}: {attribute} is not a Kind; define one from ffbench_eval.kinds")
    FROM_FILES[kind.name] = kind
    return kind


def find_metric(key: str, kind: str | None = None) -> tuple[MetricSpec, str] | None:
    """The metric that a key names and its part, among one kind's or all kinds'; ``None`` if nobody emits it.

    >>> find_metric("rdf_error_O-O")[0].label, find_metric("a_new_metric")
    ('g(r) error', None)
    """
    known = all_kinds()
    kinds = [known[kind]] if kind in known else list(known.values())
    found = [hit for k in kinds if (hit := k.spec(key))]
    return max(found, key=lambda hit: (hit[1] == "", len(hit[0].name))) if found else None
