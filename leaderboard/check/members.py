"""The members of a task: how many it has, which of them a metric is about, and which values were left out.

An entry may lack a member's value where that member was lost, and nowhere else: what is left out is never neutral.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ffbench_eval.kinds import kind_of
from ffbench_eval.report import TaskReport

from .elements import NUMBERS
from .lock import TaskLock
from .recompute import SAMPLELESS, rules_of


def size(locked: TaskLock) -> int | None:
    """How many members a task has, by its parameters (replicas) or its list (scans, reactions)."""
    count = locked.parameters.get(kind_of(locked.kind).members)
    return count if isinstance(count, int) else len(locked.molecules) or None


def members(locked: TaskLock) -> int | None:
    """The same, also where only the numbers of samples tell it (a lock that lists no dimers)."""
    kind = kind_of(locked.kind)
    if size(locked) or kind.frames or kind.timed or not (kind.sampled and rules_of(locked.kind).each):
        return size(locked)
    return max((m.n or 0 for m in locked.metrics.values()), default=0) or None


def states_of(name: str, task: TaskReport) -> Sequence[str]:
    """The states of the members that a metric is about."""
    about = rules_of(task.kind).about
    return task.states if about is None else about(name, task)


def left_out(name: str, task: TaskReport, locked: TaskLock) -> int:
    """How many values are missing of members that ended ok, beyond those that a run in which nothing failed lacks."""
    metric, rule = task.metrics.get(name), locked.metrics.get(name)
    kind = kind_of(locked.kind)
    if metric is None or rule is None or not rule.n or kind.frames or not kind.sampled or rule.aggregate in SAMPLELESS:
        return 0
    known = sum(v is not None for v in metric.values)
    return max(0, rule.n - known - sum(s != "ok" for s in states_of(name, task)))


def elements(task: TaskReport, locked: TaskLock) -> Sequence[set[int] | None]:
    """Atomic numbers in every member, as far as lock or parameters say them; None where they do not."""
    dimers = task.parameters.get("dimers")
    if rules_of(task.kind).about is not None and isinstance(dimers, list):
        told = [elements_of(str(symbol)) or None for symbol in dimers]
        return [*[None] * (len(task.states) - len(told)), *told]
    return [elements_of(text) or None for text in locked.molecules]


def elements_of(text: str) -> set[int]:
    """Atomic numbers in a SMILES with every atom in brackets, in the name of a dimer, in a symbol, or in the bytes that
    a scan without a SMILES has; empty for another text.

    >>> sorted(elements_of("[H:1][c:2]1[Cl]")), elements_of("Po-Po"), sorted(elements_of("060801"))
    ([1, 6, 17], {84}, [1, 6, 8])
    """
    if re.fullmatch("([0-9a-f]{2})+", text):
        return {z for k in range(0, len(text), 2) if (z := int(text[k : k + 2], 16))}
    if re.fullmatch("[A-Z][a-z]?(-[A-Z][a-z]?)?", text):
        found = {NUMBERS.get(symbol) for symbol in text.split("-")}
        return set() if None in found else {z for z in found if z}
    symbols = re.findall(r"\[\d*([A-Z][a-z]?|[a-z]{1,2})", text)
    numbers = {NUMBERS.get(s.capitalize()) or NUMBERS.get(s[0].upper()) for s in symbols}
    return {n for n in numbers if n}
