"""The validator: pure data in, findings out. Never imports a model, never runs a line of the submission.

It proves that an entry is whole and follows from itself. It cannot prove that a consistent forgery was measured: the
trust levels (`trust.py`, `ffbench reproduce`) are for that.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from ffbench_eval.kinds import all_kinds, kind_of
from ffbench_eval.report import MAX_POINTS, ModelCard, TaskReport, same_theory

from ..entry.schema import CARD_LIMIT, ENTRIES, LIMIT, SLUG, Entry, entry_paths, portable
from ..site.scoring import card_for, size
from .bounds import bound, few_digits
from .lock import SUITES, SuiteLock, TaskLock, load_lock
from .recompute import metric_faults, not_recomputed, task_faults
from .strict_json import BadJson, read

MAX_TEXT = 20_000  # characters of one string
MAX_VALUES = 5_000  # per metric
MAX_SECONDS = 1e9
MAX_SHOWN = 200  # findings per entry and level: no number of warnings may hide an error
EVERY_REPLICA = ("stable_time", "stable_fraction", "trusted_time")  # there for unstable replicas too
LOOK = "fine for a bad model; for a good one, ask for the archived files"
RERUN = "run the evaluator again and submit its report unchanged"
GRAMMAR = re.compile(rf"^(?P<org>{SLUG})__(?P<model>{SLUG})/(?P<version>{SLUG})/(?P<suite>{SLUG})\.json\Z")
CARD = re.compile(rf"^{SLUG}__{SLUG}/{SLUG}/card\.md\Z")


@dataclass(frozen=True)
class Finding:
    """One thing wrong (``error``) or worth a look (``warning``), where it is, and what to do about it."""

    level: str
    file: str
    path: str
    message: str
    fix: str

    def __str__(self) -> str:
        return printable(f"{self.level}: {self.file}: {self.path}: {self.message}. {self.fix}")


def printable(text: str) -> str:
    """One line that moves no cursor and gives no command to what shows it.

    >>> printable("a\\r::error::b\\x1b[2Jc\\u202ed")
    'a ::error::b [2Jc d'
    """
    return "".join(c if c.isprintable() else " " for c in text)


def check(path: str | Path, *, entries: Path = ENTRIES, suites: Path = SUITES, others: Any = None) -> list[Finding]:
    """Everything wrong with one entry file; an empty list (or warnings alone) means it may go onto the board.

    ``others``: what `known_entries` read, to look for duplicates; read from ``entries`` if absent.
    """
    path = Path(path)
    name = _name(path, entries)
    try:
        return _check(path, name, entries, suites, others)
    except Exception as error:  # one bad file never ends the check of the others
        said = f"cannot be checked: {type(error).__name__}: {str(error)[:200]}"
        return [Finding("error", name, "$", printable(said), "write it with `ffbench submit`")]


def _check(path: Path, name: str, entries: Path, suites: Path, others: Any) -> list[Finding]:
    found: list[Finding] = []
    try:
        raw = read(path, LIMIT)
    except BadJson as error:
        return [Finding("error", name, error.path, str(error), error.fix)]
    except OSError as error:
        return [Finding("error", name, "$", f"cannot be read: {error.strerror}", "check the path")]
    try:
        entry = Entry.model_validate_json(json.dumps(raw), strict=True)  # "0.5" is no number, "off" no truth value
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False)[:MAX_SHOWN]:
            message = str(fault["msg"])[:300]
            found.append(Finding("error", name, _json_path(fault["loc"]), message, "write it with `ffbench submit`"))
        return found
    except RecursionError:
        return [Finding("error", name, "$", "is nested too deeply", "write it with `ffbench submit`")]
    if others is None:
        others = known_entries(entries)
    lock = load_lock(entry.report.suite, entry.report.suite_version, suites) if _plain(entry) else None
    number: Counter[str] = Counter()
    with np.errstate(all="ignore"):  # absurd numbers are findings, not warnings of numpy
        for one in _all(entry, name, lock, others):
            number[one.level] += 1
            if number[one.level] <= MAX_SHOWN:
                found.append(replace(one, file=name, message=one.message[:500]))
            if number["error"] >= MAX_SHOWN:
                break
    return found


def known_entries(entries: Path = ENTRIES) -> dict[str, Any]:
    """Raw JSON of every entry in the folder by its key; files that cannot be read are left to their own check."""
    known = {}
    for path in entry_paths(entries):
        try:
            known[path.relative_to(entries).as_posix().removesuffix(".json")] = read(path, LIMIT)
        except (BadJson, OSError):
            continue
    return known


def _plain(entry: Entry) -> bool:
    return bool(re.fullmatch(SLUG, entry.report.suite) and re.fullmatch(SLUG, entry.report.suite_version))


def _all(entry: Entry, name: str, lock, others) -> Iterator[Finding]:
    yield from _path(entry, name)
    yield from _hashes(entry)
    yield from _about(entry)
    yield from _command(entry, lock)
    yield from _machine(entry)
    yield from _sizes(entry)
    yield from _suite(entry, lock)
    for task_name, task in entry.report.tasks.items():
        at = f"$.report.tasks.{task_name}"
        locked = lock.tasks.get(task_name) if lock else None
        card = card_for(entry.report, locked.dataset.name, locked.dataset.config) if locked else None
        yield from _task(at, task, locked, card)
        if locked is not None and card is not None:
            yield from _zero_of_energy(at, task, same_theory(card.theory, locked.theory))
    yield from _duplicates(entry, others)
    yield from _fingerprints(entry, others)
    yield from _names(entry, others)


def _error(path: str, message: str, fix: str) -> Finding:
    return Finding("error", "", path, message, fix)


def _warning(path: str, message: str, fix: str) -> Finding:
    return Finding("warning", "", path, message, fix)


def _path(entry: Entry, name: str) -> Iterator[Finding]:
    match = GRAMMAR.match(name)
    if match is None:
        yield _error("$", "lies at no place of an entry", f"put it at {entry.key}.json below leaderboard/entries")
        return
    for field in ("org", "model", "version"):
        if match[field] != getattr(entry, field):
            yield _error(
                f"$.{field}", f"is {getattr(entry, field)!r}, its path says {match[field]!r}", "make them agree"
            )
    for part in name.removesuffix(".json").split("/"):
        if not portable(part):
            yield _error("$", f"{part!r} is no file name on Windows", "choose another name or version")
    if match["suite"] != entry.report.suite:
        yield _error(
            "$.report.suite", f"is {entry.report.suite!r}, its path says {match['suite']!r}", "rename the file"
        )


def _hashes(entry: Entry) -> Iterator[Finding]:
    if entry.report.content_sha256 != entry.report.hash():
        yield _error("$.report.content_sha256", "does not match the report: it was changed after the run", RERUN)
    if entry.content_sha256 != entry.hash():
        yield _error("$.content_sha256", "does not match the entry", "write it again with `ffbench submit`")


def _about(entry: Entry) -> Iterator[Finding]:
    model = entry.report.model
    cards = entry.report.models or {"": model}
    for dataset, card in cards.items():
        at = f"$.report.models.{dataset}" if dataset else "$.report.model"
        for field, fix in (
            ("training_data", "name the data the model was trained on in its card"),
            ("theory", "state the level of theory it was trained on; without it errors are not ranked"),
            ("licence", "state the licence in the model's card"),
        ):
            if not getattr(card, field):
                yield _warning(f"{at}.{field}", "is not stated", fix)
        if card.seen_test_data is None:
            yield _warning(f"{at}.seen_test_data", "is not stated", "say whether test frames were in the training data")
        if not stated_theory(card.theory):
            yield _warning(
                f"{at}.theory", f"{card.theory!r} is on no list: it equals no data's", "see ffbench_data/theories.yaml"
            )
        if not card.fingerprint:
            yield _error(f"{at}.fingerprint", "is empty: the weights are not named", RERUN)
    if entry.about.open_weights and not entry.about.weights:
        yield _warning("$.about.weights", "is empty although the weights are open", "give the link")
    units = {(task, u.address) for task, report in entry.report.tasks.items() for u in report.units}
    seen = set()
    for k, archive in enumerate(entry.archives):
        if (archive.task, archive.unit) not in units:
            yield _error(f"$.archives[{k}].unit", "names no unit of this report", "list the files of this run")
        if (archive.unit, archive.file) in seen:
            yield _error(f"$.archives[{k}]", "is listed twice", "keep one of them")
        seen.add((archive.unit, archive.file))


def _command(entry: Entry, lock: SuiteLock | None) -> Iterator[Finding]:
    from ..entry.submit import command_of

    made = command_of(entry.report, lock)
    if entry.command != made:
        yield _error(
            "$.command", f"is not the command of this report, {made!r}", "write the entry with `ffbench submit`"
        )


def _machine(entry: Entry) -> Iterator[Finding]:
    """Times, counts and words that pages calculate with and show."""
    report, env = entry.report, entry.report.environment
    limits: list[tuple[str, float, float, float]] = [
        ("$.report.wall_s", report.wall_s, 0, MAX_SECONDS),
        ("$.report.seed", report.seed, -(2**63), 2**63),
        ("$.report.environment.cores", env.cores, 1, 10**6),
        ("$.report.environment.threads", env.threads, 1, 10**6),
    ]
    if env.kernel_s is not None:
        limits.append(("$.report.environment.kernel_s", env.kernel_s, 1e-7, 1e3))
    for where, card in [
        ("$.report.model", report.model),
        *((f"$.report.models.{k}", c) for k, c in report.models.items()),
    ]:
        if card.cutoff_angstrom is not None:
            limits.append((f"{where}.cutoff_angstrom", card.cutoff_angstrom, 1e-3, 1e6))
        if card.parameters is not None:
            limits.append((f"{where}.parameters", card.parameters, 0, 10**14))
    for name, task in report.tasks.items():
        for k, unit in enumerate(task.units):
            at = f"$.report.tasks.{name}.units[{k}]"
            limits += [
                (f"{at}.wall_s", unit.wall_s, 0, MAX_SECONDS),
                (f"{at}.force_calls", unit.force_calls, 0, 10**12),
            ]
        limits += [(f"$.report.tasks.{name}.metrics.{key}.n", m.n, 0, 10**10) for key, m in task.metrics.items()]
    for where, value, least, most in limits:
        if not least <= value <= most:
            yield _error(where, f"is {value!r}, possible are {least:g} to {most:g}", RERUN)
    if len(env.packages) > 300:
        yield _error("$.report.environment.packages", f"{len(env.packages)} packages, at most 300", RERUN)
    for where, text in _strings(env.model_dump(), "$.report.environment"):
        if len(text) > 500:
            yield _error(where, f"a string of {len(text)} characters, at most 500", RERUN)


def _sizes(entry: Entry) -> Iterator[Finding]:
    if len(entry.report.tasks) > 100:
        yield _error("$.report.tasks", f"{len(entry.report.tasks)} tasks, at most 100", "submit one suite")
    for path, text in _strings(entry.report.model_dump(mode="json"), "$.report"):
        if len(text) > MAX_TEXT:
            yield _error(path, f"a string of {len(text)} characters, at most {MAX_TEXT}", "cut the message")
    for name, task in entry.report.tasks.items():
        at = f"$.report.tasks.{name}"
        if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,80}", name):
            yield _error(at, "is no name of a task", RERUN)
        for key, metric in task.metrics.items():
            if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,80}", key):
                yield _error(f"{at}.metrics", f"{key[:40]!r} is no name of a metric", RERUN)
            if len(metric.values) > MAX_VALUES:
                yield _error(f"{at}.metrics.{key}.values", f"more than {MAX_VALUES} values", RERUN)
        for key, curve in task.curves.items():
            lengths = {len(curve.x), *(len(y) for y in curve.series.values())}
            if max(lengths) > MAX_POINTS or len(curve.series) > 200:
                yield _error(f"{at}.curves.{key}", f"more than {MAX_POINTS} points", RERUN)
            elif curve.kind != "surface" and len(lengths) > 1:
                yield _error(f"{at}.curves.{key}", "x and series have different lengths", RERUN)


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from _strings(v, f"{path}.{k}")
    elif isinstance(value, list):
        for i, v in enumerate(value):
            yield from _strings(v, f"{path}[{i}]")


def _suite(entry: Entry, lock: SuiteLock | None) -> Iterator[Finding]:
    report = entry.report
    try:
        created = datetime.fromisoformat(report.created)
        if created.tzinfo is None:
            raise ValueError("no time zone")
        if created > datetime.now(UTC) + timedelta(days=1):
            yield _error("$.report.created", "lies in the future", RERUN)
    except ValueError as error:
        yield _error("$.report.created", f"is no date with a time zone: {error}", RERUN)
    if report.environment.ffbench == "uninstalled":
        yield _warning("$.report.environment.ffbench", "ran from a checkout without a version", "install ffbench first")
    if not report.tasks:
        yield _error("$.report.tasks", "is empty", RERUN)
    if lock is None:
        yield _error(
            "$.report.suite_version",
            f"the board does not know {report.suite} {report.suite_version}",
            "run a current suite (`ffbench suites`); maintainers add new ones with `ffbench leaderboard lock`",
        )
        return
    for name in report.tasks:
        if name not in lock.tasks:
            yield _error(f"$.report.tasks.{name}", f"is no task of {lock.suite} {lock.version}", "take it out")
    absent = [name for name in lock.tasks if name not in report.tasks]
    if absent:
        text = f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing"
        yield _warning("$.report.tasks", text, "fine: the entry is compared on the tasks it has")


UNANSWERED = {"unsupported", "harness_error", "out_of_memory", "not_run"}


def _task(at: str, task: TaskReport, lock: TaskLock | None, card: ModelCard | None = None) -> Iterator[Finding]:
    if lock is not None:
        yield from _against_lock(at, task, lock)
    for k, unit in enumerate(task.units):
        if not unit.status:
            yield _error(f"{at}.units[{k}].status", "is empty", RERUN)
        if not re.fullmatch(r"[0-9a-f]{64}", unit.address) and not set(unit.status) <= {"unsupported", "not_run"}:
            yield _error(f"{at}.units[{k}].address", "is no address of a unit", RERUN)
    states = {s for u in task.units for s in u.status}
    kind = kind_of(task.kind)
    if card is not None and lock is not None and lock.molecules:
        yield from _covered(at, task, lock, card)
    if kind.name not in all_kinds():
        text = f"{task.kind!r} is a kind the board does not know: its numbers are shown, not checked"
        yield _warning(f"{at}.kind", text, "maintainers: install the package that offers it")
    elif "unstable" in states and not kind.simulation:
        yield _error(f"{at}.units", f"{task.kind} has no unstable members", RERUN)
    for where, message in task_faults(task):
        yield _error(at + where, message, RERUN)
    if not task.units:
        yield _error(f"{at}.units", "is empty", RERUN)
    elif states and states <= UNANSWERED:  # a task that a submitter did not like looks the same
        text = f"no member has an answer ({', '.join(sorted(states))})"
        yield _warning(f"{at}.units", text, "say on the card why; the entry is compared on the tasks it has")
    for name, metric in task.metrics.items():
        here = f"{at}.metrics.{name}"
        for where, message in metric_faults(name, metric, task, lock.scans if lock else None):
            yield _error(here + where, message, RERUN)
        yield from _physics(here, name, metric, blocks=kind.frames)
    loose = [not_recomputed(task.kind, k, m, lock.scans if lock else None) for k, m in task.metrics.items()]
    if any(loose):
        count = f"{sum('value' in w for w in loose)} values and {sum('interval' in w for w in loose)} intervals"
        fix = "fine: the page marks them; archived unit files (`submit --archive-url`) let the board recompute them"
        yield _warning(f"{at}.metrics", f"{count} are taken as reported: the entry holds no samples for them", fix)


def _covered(at: str, task: TaskReport, lock: TaskLock, card: ModelCard) -> Iterator[Finding]:
    """Scans are without an answer for their elements alone, as the card's list of elements says."""
    states = [s for u in task.units for s in u.status]
    found = [elements_of(m) for m in lock.molecules]
    if len(states) != len(found) or "unsupported" not in states or set(states) == {"unsupported"} or not all(found):
        return
    for k, (state, elements) in enumerate(zip(states, found)):
        missing = card.elements is not None and not elements <= set(card.elements)
        if (state == "unsupported") != missing:
            text = f"scan {k} is {state}, the elements of the model's card {'lack' if missing else 'hold'} its own"
            yield _error(f"{at}.units", text, RERUN)
            return


def elements_of(smiles: str) -> set[int]:
    """Atomic numbers in a SMILES with every atom in brackets; empty for another text.

    >>> sorted(elements_of("[H:1][c:2]1[Cl]"))
    [1, 6, 17]
    """
    from .elements import NUMBERS

    symbols = re.findall(r"\[\d*([A-Z][a-z]?|[a-z]{1,2})", smiles)
    numbers = {NUMBERS.get(s.capitalize()) or NUMBERS.get(s[0].upper()) for s in symbols}
    return {n for n in numbers if n}


def _zero_of_energy(at: str, task: TaskReport, same: bool) -> Iterator[Finding]:
    """Errors of energy that are one constant: the model's zero is another, and so may be its level of theory."""
    plain, aligned = (task.metrics.get(f"energy_mae_per_atom{end}") for end in ("", "_aligned"))
    if plain is None or plain.value is None or plain.value < 0.05:
        return
    known = [v for v in plain.values if v is not None]
    far = aligned is not None and aligned.value is not None and plain.value > 10 * aligned.value
    if same and (far or (len(known) > 2 and np.std(known) < 0.02 * plain.value)):
        text = f"{plain.value:.3g} eV/atom, nearly all of it a constant: another zero of energy"
        yield _warning(
            f"{at}.metrics.energy_mae_per_atom", text, "make sure that the theory of the card is the weights'"
        )


def _against_lock(at: str, task: TaskReport, lock: TaskLock) -> Iterator[Finding]:
    for field in ("kind", "version", "indicative", "title"):
        if getattr(task, field) != getattr(lock, field):
            fix = "run the current suite again"
            yield _error(f"{at}.{field}", f"is {getattr(task, field)!r}, the suite has {getattr(lock, field)!r}", fix)
    has_result = any(m.value is not None for m in task.metrics.values())
    if has_result and not lock.dataset.content_sha256:
        fix = "maintainers: `ffbench leaderboard lock` where the data is built"
        yield _error(f"{at}.dataset", "the board does not hold the hash of this data yet", fix)
    elif has_result and task.dataset != lock.dataset:
        yield _error(f"{at}.dataset", "is not the data of this task (version or hash)", "update the data and run again")
    wrong = [
        k
        for k in sorted({*task.parameters, *lock.parameters})
        if _typed(task.parameters, k) != _typed(lock.parameters, k)
    ]
    if wrong:
        yield _error(f"{at}.parameters", f"differ from the suite's in {', '.join(wrong)}", "run the task as it is")
    states = {s for u in task.units for s in u.status}
    clean = states <= {"ok"}
    whole = states <= {"ok", "unstable"}
    lasted = clean and not _broke(task)
    kind = kind_of(task.kind)
    yield from _too_many(at, task, lock)
    for name, locked in lock.metrics.items():
        metric = task.metrics.get(name)
        here = f"{at}.metrics.{name}"
        if metric is None:
            if locked.optional:
                continue
            if has_result and (clean or (whole and name in EVERY_REPLICA)):
                yield _error(here, "is missing although the task ran to its end", RERUN)
            elif has_result:
                yield _warning(here, "is missing", "look at the failures of this task")
            continue
        for field in ("unit", "better", "version"):
            if getattr(metric, field) != getattr(locked, field):
                message = f"is {getattr(metric, field)!r}, the suite has {getattr(locked, field)!r}"
                yield _error(f"{here}.{field}", message, "run with the current version")
        if metric.value is None:
            if locked.n and (lasted or (whole and name in EVERY_REPLICA)) and not locked.optional:
                yield _error(f"{here}.value", "is null although the task ran to its end", RERUN)
            continue
        if metric.aggregate != locked.aggregate:
            yield _error(f"{here}.aggregate", f"is {metric.aggregate!r}, not {locked.aggregate!r}", RERUN)
        if locked.n and metric.n > locked.n:
            yield _error(f"{here}.n", f"{metric.n} samples, the task has {locked.n}", RERUN)
        if not clean and kind.frames and metric.n == locked.n:
            yield _error(f"{at}.units", "a chunk did not end ok, yet every frame is counted", RERUN)
        if clean and locked.n and metric.n < locked.n and kind.given:
            yield _error(f"{here}.n", f"{metric.n} samples, the task has {locked.n} and none failed", RERUN)
        yield from _anchors(here, name, metric, lock, clean)
    loose = [k for k, m in task.metrics.items() if k not in lock.metrics and (m.floor or m.trivial is not None)]
    if loose and has_result and not kind.own_baseline:
        fix = "maintainers: `ffbench leaderboard lock SUITE --from RUN` with a trusted run of this task"
        yield _error(f"{at}.metrics.{loose[0]}", "has anchors that the board does not hold yet", fix)


def _too_many(at: str, task: TaskReport, lock: TaskLock) -> Iterator[Finding]:
    """A task has so many members and no more, whatever became of them: none is added to those that went badly."""
    count = size(lock)
    if count is None:
        return
    members = sum(len(u.status) for u in task.units)
    if members > count:
        yield _error(f"{at}.units", f"hold {members} members, the task has {count}", RERUN)
    for name, metric in task.metrics.items():
        if len(metric.values) > count:
            text = f"{len(metric.values)} values, the task has {count} members"
            yield _error(f"{at}.metrics.{name}.values", text, RERUN)


def _broke(task) -> bool:
    """Whether a replica broke by its numbers: a liquid whose g(r) strays has no state that says so, and observables of
    what was stable for less than the skipped part have no value."""
    stable = task.metrics.get("stable_fraction")
    return stable is not None and any(v is not None and v < 1 for v in stable.values)


def _anchors(here: str, name: str, metric, lock: TaskLock, clean: bool) -> Iterator[Finding]:
    """Noise floor and trivial baseline belong to the task, not to the entry (selective: see `recompute`)."""
    locked, kind = lock.metrics[name], kind_of(lock.kind)
    if (metric.floor is None) != (locked.floor is None):
        yield _error(f"{here}.floor", "is not the task's noise floor", RERUN)
    elif metric.floor is not None and locked.floor is not None:
        for field in ("median", "p95", "runs", "length_ps"):
            a, b = float(getattr(metric.floor, field)), float(getattr(locked.floor, field))
            if abs(a - b) > 1e-8 * abs(b):
                yield _error(f"{here}.floor.{field}", f"is {a!r}, the task's noise floor has {b!r}", RERUN)
    if kind.own_baseline:
        return
    if locked.trivial is None or metric.trivial is None:
        if (locked.trivial is None) != (metric.trivial is None):
            yield _error(f"{here}.trivial", f"is {metric.trivial!r}, the task's is {locked.trivial!r}", RERUN)
        return
    least = most = locked.trivial
    if not clean and kind.frames and locked.n:  # of the frames that were answered, which the entry does not hold
        least, most = 0.0, locked.trivial * locked.n / max(1, metric.n)
    known = _without_forces(name, metric, lock) if not clean and lock.no_forces else None
    if known is not None and abs(metric.trivial - known) <= 1e-8 * abs(known):
        return  # of the scans that an earlier version had answered; what is scored comes from the lock
    if not least - 1e-8 * abs(least) <= metric.trivial <= most + 1e-8 * abs(most):
        said = f"the task's is {most!r}" if least == most else f"at most {most!r} is possible"
        yield _error(f"{here}.trivial", f"is {metric.trivial!r}, {said}", RERUN)


def _without_forces(name: str, metric, lock: TaskLock) -> float | None:
    """What no forces score on the scans that an entry has."""
    rows = lock.no_forces.get(name, [])
    known = [v for v, mine in zip(rows, metric.values) if mine is not None]
    return (
        float(np.mean(known)) if len(rows) == len(metric.values) and known else float(lock.metrics[name].trivial or 0)
    )


def _typed(values: dict[str, Any], key: str) -> str:
    """A parameter with its types: 5 is not 5.0."""
    return json.dumps(values[key], sort_keys=True) if key in values else "absent"


def stated_theory(text: str) -> bool:
    """Whether a theory is one of the list (or none is stated, which another warning says)."""
    from ffbench_data.theory import theory

    return not text or theory(text) is not None


def _physics(here: str, name: str, metric, blocks: bool = False) -> Iterator[Finding]:
    """``blocks``: samples are first-order terms of a weighted mean, which may lie outside what a mean can be."""
    limits = bound(name)
    if limits is None:
        yield _warning(here, "is a metric the board does not know: it is shown, not checked for range", "tell us")
        return
    if metric.unit != limits.unit and limits.unit != "any":
        yield _error(f"{here}.unit", f"is {metric.unit!r}, not {limits.unit!r}", RERUN)
    known = [(k, v) for k, v in enumerate(metric.values) if v is not None]
    shown = [(f".values[{k}]", v) for k, v in known] + ([(".value", metric.value)] if metric.value is not None else [])
    for where, v in shown:
        if blocks and where != ".value":
            continue
        if not limits.least <= v <= limits.most:
            fix = f"possible are {limits.least:g} to {limits.most:g} {limits.unit}; {RERUN}"
            yield _error(here + where, f"{v!r} is not possible", fix)
    odd = [(w, v) for w, v in shown if not (limits.low <= v <= limits.high or (limits.zero and v == 0))]
    if odd:
        yield _warning(here + odd[0][0], f"{odd[0][1]!r} is outside {limits.low:g} to {limits.high:g}", LOOK)
    if name in ("spurious_extrema", "sign_flips") and any(v != int(v) for _, v in known):
        yield _error(f"{here}.values", "are counts, not whole numbers here", RERUN)
    if not limits.continuous or len(known) < 2:
        return
    numbers = [v for _, v in known if v != 0 and v not in (limits.least, limits.most, limits.high)]
    if len(numbers) >= 2 and len(set(numbers)) == 1:
        yield _warning(f"{here}.values", "all agree to the last digit, which independent samples seldom do", LOOK)
    if len(numbers) >= 2 and sum(few_digits(v) for v in numbers) > len(numbers) / 2:
        yield _warning(f"{here}.values", "have few digits: rounded or typed in?", LOOK)


def _duplicates(entry: Entry, others: dict[str, Any]) -> Iterator[Finding]:
    mine = _samples(json.loads(entry.report.model_dump_json()))
    for key, other in others.items():
        if key.rpartition("/")[0] == entry.key.rpartition("/")[0] or not isinstance(other, dict):
            continue  # suites share frames: a model has the same errors in two of them
        report = other.get("report")
        if not isinstance(report, dict):
            continue
        if report.get("content_sha256") == entry.report.content_sha256:
            yield _error("$.report", f"is the same report as {key}", "submit a model once")
            continue
        same = [where for where, values in _samples(report).items() if mine.get(where) == values]
        if same:
            where = "$.report.tasks." + same[0]
            yield _error(where, f"has the very numbers of {key} (in {len(same)} metrics)", "submit your own run")


def _fingerprints(entry: Entry, others: dict[str, Any]) -> Iterator[Finding]:
    """The same weights have one level of theory, here and in every other entry."""
    mine = {c.fingerprint: c.theory for c in (entry.report.model, *entry.report.models.values()) if c.fingerprint}
    for key, other in others.items():
        report = other.get("report") if isinstance(other, dict) else None
        for card in _cards_of(report) if key != entry.key else ():
            theory = mine.get(str(card.get("fingerprint")))
            if theory is not None and theory != card.get("theory") and not same_theory(theory, str(card.get("theory"))):
                text = f"is {theory!r}, {key} has the same fingerprint and {card.get('theory')!r}"
                yield _error("$.report.model.theory", text, "state the theory the weights were trained on")
                return


def _cards_of(report: Any) -> list[dict[str, Any]]:
    if not isinstance(report, dict):
        return []
    models = report.get("models")
    found = [report.get("model"), *(models.values() if isinstance(models, dict) else ())]
    return [c for c in found if isinstance(c, dict)]


def _names(entry: Entry, others: dict[str, Any]) -> Iterator[Finding]:
    """Names that are easily taken for those of somebody else."""
    for key in others:
        org, _, model = key.split("/")[0].partition("__")
        if org != entry.org and (likeness(org) == likeness(entry.org) or likeness(model) == likeness(entry.model)):
            what = f"{entry.org}__{entry.model} is easily taken for {org}__{model}"
            yield _warning("$.model", what, "maintainers: make sure that it is who it says")
            return


def likeness(name: str) -> str:
    """What is left of a name for a hasty eye.

    >>> likeness("pa1nn") == likeness("painn"), likeness("mace2") == likeness("MACE"), likeness("so3lr")
    (True, True, 'soeir')
    """
    bare = re.sub(r"[^a-z0-9]", "", name.lower()).rstrip("0123456789") or name.lower()
    return bare.translate(str.maketrans("0135l8", "oiesib")).replace("rn", "m").replace("vv", "w")


def _samples(report: dict[str, Any]) -> dict[str, tuple]:
    """Per-member values of continuous metrics: two models never share them, but for those that predict no forces."""
    out = {}
    try:
        for task, row in report["tasks"].items():
            force = row["metrics"].get("force_mae") or row["metrics"].get("scan_force_mae") or {}
            value, trivial = force.get("value"), force.get("trivial")
            nothing = value is not None and trivial is not None and abs(value - trivial) <= 1e-6 * trivial
            for name, metric in row["metrics"].items():
                limits, values = bound(name), tuple(metric["values"])
                if limits and limits.continuous and len({v for v in values if v}) > 1 and not nothing:
                    out[f"{task}.metrics.{name}"] = values
    except (KeyError, TypeError, AttributeError):
        return out
    return out


def check_card(path: Path, entries: Path = ENTRIES) -> list[Finding]:
    """A model card beside the entries: short UTF-8 text."""
    name = _name(path, entries)
    if path.is_symlink() or not path.is_file() or path.stat().st_size > CARD_LIMIT:
        return [Finding("error", name, "$", f"is no file of at most {CARD_LIMIT} bytes", "shorten the card")]
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return [Finding("error", name, "$", "is not UTF-8", "save it as UTF-8")]
    return []


def compare_with_base(name: str, was: bool, there: bool, same: bool) -> list[Finding]:
    """An entry or card of the board stays as it is: ``was`` it there, is it ``there`` now, is it the ``same``?"""
    if not was or (there and same):
        return []
    what = "an entry or card of the board was changed" if there else "an entry or card of the board was removed"
    fix = "a new version gets a new folder; a maintainer lifts this with the label 'change-entries'"
    return [Finding("error", name, "$", what, fix)]


def errors(found: Iterable[Finding]) -> list[Finding]:
    return [f for f in found if f.level == "error"]


def _name(path: Path, entries: Path) -> str:
    try:
        return path.resolve().relative_to(entries.resolve()).as_posix()
    except ValueError:
        return "/".join(path.parts[-3:])


def _json_path(loc: tuple) -> str:
    return "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{str(p)[:80]}" for p in loc)
