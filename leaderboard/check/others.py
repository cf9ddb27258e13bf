"""An entry beside those of the board: copied numbers, one fingerprint under two theories, names easily confused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ffbench_eval.kinds import kind_of
from ffbench_eval.models.identity import ELSEWHERE, SMALL, close
from ffbench_eval.report import ModelCard, Report, same_theory

from ..entry.schema import Entry
from .bounds import bound, few_digits
from .findings import Finding, error, warning

MIRROR = "submit your own run"
TELLING = 6  # digits: a number with fewer (a whole count, a time on a grid) may be another model's by chance
NEAR = 1e-4  # relative: one model's answers on two machines differ by less
FEW = 4  # numbers of which half have to agree
STATED = ("theory", "elements", "cutoff_angstrom", "conservative", "seen_test_data")


def check_duplicates(entry: Entry, others: dict[str, Any]) -> Iterator[Finding]:
    """Another model's numbers, whole, in part or in any order; nearly or times a factor (a warning); its archives."""
    mine = _samples(json.loads(entry.report.model_dump_json()))
    files = {a.sha256: k for k, a in enumerate(entry.archives) if not a.file.endswith(".json")}
    for key, other in others.items():
        if key.rpartition("/")[0] == entry.key.rpartition("/")[0] or not isinstance(other, dict):
            continue  # suites share frames: a model has the same errors in two of them
        report = other.get("report")
        if not isinstance(report, dict):
            continue
        if report.get("content_sha256") == entry.report.content_sha256:
            yield error("$.report", f"is the same report as {key}", "submit a model once")
            continue
        theirs = _samples(report, mine)
        said = {where: word for where in mine if where in theirs and (word := copied(mine[where], theirs[where]))}
        same = [where for where, word in said.items() if word != "nearly"]
        if same:
            chance = _without_forces(entry.report, report) or _of_few_laws(entry, same, theirs)
            where = "$.report.tasks." + same[0]
            yield (warning if chance else error)(
                where, f"has the very numbers of {key} (in {len(same)} metrics)", MIRROR
            )
        elif len(near := [where for where in said if _unbounded(where)]) > 1:
            text = f"has nearly the numbers of {key} (in {len(near)} metrics)"
            yield warning("$.report.tasks." + near[0], text, "is it the same model?")
        listed = other.get("archives")
        for archive in listed if isinstance(listed, list) else ():
            k = files.get(str(archive.get("sha256"))) if isinstance(archive, dict) else None
            if k is not None:
                yield error(f"$.archives[{k}].sha256", f"is a file of {key}", MIRROR)
                break


def _without_forces(mine: Report, theirs: dict[str, Any]) -> bool:
    """Whether both models answer no forces on all fixed frames: they have the same errors in everything."""

    def still(cards: Sequence[Any]) -> bool:
        rows = [row for told in cards if isinstance(told, dict) for frames in told.values() for row in frames]
        known = [row for row in rows if len(row) > 1]
        return bool(known) and all(row[1] <= SMALL for row in known)

    ours = [c.answers for c in (mine.model, *mine.models.values())]
    return still(ours) and still([card.get("answers") for _, card in _cards_of(theirs)])


def _of_few_laws(entry: Entry, same: Sequence[str], theirs: Collection[str]) -> bool:
    """Whether only a few numbers agree, of tasks without labels: forces k x and -k x break a law by as much."""
    tasks = {where.split(".metrics.")[0] for where in same}
    if any(kind_of(entry.report.tasks[t].kind).theory for t in tasks):
        return False
    return 2 * len(same) < sum(where.split(".metrics.")[0] in tasks for where in theirs)


def copied(mine: Sequence[float | None], theirs: Sequence[float | None]) -> str:
    """Whether samples are another model's: "same", "nearly" or "".

    >>> a = [0.123456789, 0.234567891, 0.345678912, 0.456789123]
    >>> copied(a[::-1], a), copied([1.01 * v for v in a], a), copied([v + 1e-6 for v in a], a), copied(a[:1], a)
    ('same', 'nearly', 'nearly', '')
    """
    if tuple(mine) == tuple(theirs):
        return "same"
    ours, known = ({v for v in values if v and not few_digits(v, TELLING)} for values in (mine, theirs))
    least = min(len(ours), len(known))
    if least > 1 and 2 * len(ours & known) >= least and len(ours & known) > 1:
        return "same"
    pairs = [(a, b) for a, b in zip(mine, theirs) if a in ours and b in known and a and b]
    if len(pairs) < FEW or len(mine) != len(theirs):
        return ""
    ratio = sorted(a / b for a, b in pairs)
    scaled = ratio[-1] - ratio[0] <= 1e-9 * abs(ratio[0])
    return "nearly" if scaled or 2 * sum(abs(r - 1) <= NEAR for r in ratio) >= len(ratio) else ""


def _unbounded(where: str) -> bool:
    """Whether a metric has no best value that all good models are near, as a cosine has."""
    limits = bound(where.split(".metrics.")[1])
    return limits is not None and limits.most == math.inf


def check_fingerprints(entry: Entry, others: dict[str, Any]) -> Iterator[Finding]:
    """The same weights are said to be the same thing here and in every other entry; one name is of one model."""
    mine = {"": entry.report.model, **entry.report.models}
    for key, other in others.items():
        if key == entry.key or not isinstance(other, dict):
            continue
        ours = key.rpartition("/")[0] == entry.key.rpartition("/")[0]
        for name, card in _cards_of(other.get("report")):
            for data, own in mine.items():
                at = f"$.report.models.{data}" if data else "$.report.model"
                known = _alike(own, card)
                if ours and name == data and known is False:
                    text = f"answers otherwise than in {key}: another model under one name and version"
                    unsteady = own.fingerprint[:8] == str(card.get("fingerprint"))[:8]  # with the same weights
                    yield (warning if unsteady else error)(at, text, "give it another name or version")
                    return
                if not (known or (ours and name == data)):
                    continue
                for field in STATED:
                    a, b = getattr(own, field), card.get(field)
                    if _contradicts(field, a, b, ours):
                        what = (
                            "the same fingerprint" if own.fingerprint == card.get("fingerprint") else "the same model"
                        )
                        text = f"is {str(a)[:80]!r}, {key} has {what} and {str(b)[:80]!r}"
                        yield error(f"{at}.{field}", text, "state of the weights what they are")
                        return


def _contradicts(field: str, a: Any, b: Any, ours: bool) -> bool:
    """Whether two statements of one thing differ; another submitter may leave one out, but for the theory."""
    if field == "theory":
        return a != b and not same_theory(a, str(b))
    if not ours and (a is None or b is None):
        return False
    return sorted(a) != sorted(b) if isinstance(a, list) and isinstance(b, list) else a != b


def _alike(own: ModelCard, card: dict[str, Any]) -> bool | None:
    """Whether two cards are of the same weights, by fingerprint or by what they answer on the same frames; None where
    neither tells (a fingerprint also changes with the frames that were asked)."""
    if own.fingerprint and own.fingerprint == card.get("fingerprint"):
        return True
    told = card.get("answers")
    theirs: dict[str, Any] = told if isinstance(told, dict) else {}
    shared = own.answers.keys() & theirs.keys()
    if not any(len(row) > 1 and row[1] > SMALL for k in shared for row in own.answers[k]):
        return None  # two models without forces answer the same
    return all(close(own.answers[k], theirs[k], ELSEWHERE) for k in shared)


def _cards_of(report: Any) -> list[tuple[str, dict[str, Any]]]:
    """(data set, card); the first without one."""
    if not isinstance(report, dict):
        return []
    models = report.get("models")
    found = [("", report.get("model")), *(models.items() if isinstance(models, dict) else ())]
    return [(k, c) for k, c in found if isinstance(c, dict)]


def check_names(entry: Entry, others: dict[str, Any]) -> Iterator[Finding]:
    """Names that are easily taken for those of somebody else."""
    for key in others:
        org, _, model = key.split("/")[0].partition("__")
        if org != entry.org and (likeness(org) == likeness(entry.org) or likeness(model) == likeness(entry.model)):
            what = f"{entry.org}__{entry.model} is easily taken for {org}__{model}"
            yield warning("$.model", what, "maintainers: make sure that it is who it says")
            return


def likeness(name: str) -> str:
    """What is left of a name for a hasty eye.

    >>> likeness("pa1nn") == likeness("painn"), likeness("mace2") == likeness("MACE"), likeness("so3lr")
    (True, True, 'soeir')
    """
    bare = re.sub(r"[^a-z0-9]", "", name.lower()).rstrip("0123456789") or name.lower()
    return bare.translate(str.maketrans("0135l8", "oiesib")).replace("rn", "m").replace("vv", "w")


def _samples(report: dict[str, Any], among: Collection[str] | None = None) -> dict[str, tuple]:
    """Per-member values of continuous metrics: two models never share them, but for those that predict nothing.

    ``among``: only these, found before.
    """
    out = {}
    try:
        for task, row in report["tasks"].items():
            pairs = [(m.get("value"), m.get("trivial")) for m in row["metrics"].values()]
            if any(v is not None and t and abs(v - t) <= 1e-6 * abs(t) for v, t in pairs):
                continue
            for name, metric in row["metrics"].items():
                where, values = f"{task}.metrics.{name}", tuple(metric["values"])
                limits = bound(name) if among is None else None
                wanted = where in among if among is not None else limits is not None and limits.continuous
                if wanted and len({v for v in values if v}) > 1:
                    out[where] = values
    except (KeyError, TypeError, AttributeError):
        return out
    return out
