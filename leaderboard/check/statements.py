"""What an entry says of its model, its machine and itself, and how large it may be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ffbench_eval.report import MAX_POINTS

from ..entry.schema import SLUG, Entry, portable
from .findings import RERUN, Finding, error, warning
from .lock import SuiteLock

MAX_TEXT = 20_000  # characters of one string
MAX_VALUES = 5_000  # per metric
MAX_METRICS = 500  # per task: each costs the check time
MAX_SECONDS = 1e9
FINGERPRINT = re.compile("[0-9a-f]{16}")
GRAMMAR = re.compile(rf"^(?P<org>{SLUG})__(?P<model>{SLUG})/(?P<version>{SLUG})/(?P<suite>{SLUG})\.json\Z")


def check_place(entry: Entry, name: str) -> Iterator[Finding]:
    match = GRAMMAR.match(name)
    if match is None:
        yield error("$", "lies at no place of an entry", f"put it at {entry.key}.json below leaderboard/entries")
        return
    for field in ("org", "model", "version"):
        if match[field] != getattr(entry, field):
            yield error(
                f"$.{field}", f"is {getattr(entry, field)!r}, its path says {match[field]!r}", "make them agree"
            )
    for part in name.removesuffix(".json").split("/"):
        if not portable(part):
            yield error("$", f"{part!r} is no file name on Windows", "choose another name or version")
    if match["suite"] != entry.report.suite:
        yield error("$.report.suite", f"is {entry.report.suite!r}, its path says {match['suite']!r}", "rename the file")


def check_hashes(entry: Entry) -> Iterator[Finding]:
    if entry.report.content_sha256 != entry.report.hash():
        yield error("$.report.content_sha256", "does not match the report: it was changed after the run", RERUN)
    if entry.content_sha256 != entry.hash():
        yield error("$.content_sha256", "does not match the entry", "write it again with `ffbench submit`")


def check_about(entry: Entry) -> Iterator[Finding]:
    cards = {"": entry.report.model, **entry.report.models}
    for dataset, card in cards.items():
        at = f"$.report.models.{dataset}" if dataset else "$.report.model"
        if dataset and card == entry.report.model:
            continue  # said once
        for field, fix in (
            ("training_data", "name the data the model was trained on in its card"),
            ("theory", "state the level of theory it was trained on; without it errors are not ranked"),
            ("licence", "state the licence in the model's card"),
        ):
            if not getattr(card, field):
                yield warning(f"{at}.{field}", "is not stated", fix)
        if card.seen_test_data is None:
            yield warning(f"{at}.seen_test_data", "is not stated", "say whether test frames were in the training data")
        if not stated_theory(card.theory):
            yield warning(
                f"{at}.theory", f"{card.theory!r} is on no list: it equals no data's", "see ffbench_data/theories.yaml"
            )
        if not FINGERPRINT.fullmatch(card.fingerprint):
            yield error(f"{at}.fingerprint", "is none of 16 hex digits: the weights are not named", RERUN)
    if entry.about.open_weights and not entry.about.weights:
        yield warning("$.about.weights", "is empty although the weights are open", "give the link")
    units = {(task, u.address) for task, report in entry.report.tasks.items() for u in report.units}
    seen = set()
    for k, archive in enumerate(entry.archives):
        if (archive.task, archive.unit) not in units:
            yield error(f"$.archives[{k}].unit", "names no unit of this report", "list the files of this run")
        if (archive.unit, archive.file) in seen:
            yield error(f"$.archives[{k}]", "is listed twice", "keep one of them")
        seen.add((archive.unit, archive.file))


def stated_theory(text: str) -> bool:
    """Whether a theory is one of the list (or none is stated, which another warning says)."""
    from ffbench_data.theory import theory

    return not text or theory(text) is not None


def check_command(entry: Entry, lock: SuiteLock | None) -> Iterator[Finding]:
    from ..entry.submit import command_of

    made = command_of(entry.report, lock)
    if entry.command != made:
        yield error(
            "$.command", f"is not the command of this report, {made!r}", "write the entry with `ffbench submit`"
        )


def check_machine(entry: Entry) -> Iterator[Finding]:
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
            yield error(where, f"is {value!r}, possible are {least:g} to {most:g}", RERUN)
    if len(env.packages) > 300:
        yield error("$.report.environment.packages", f"{len(env.packages)} packages, at most 300", RERUN)
    for where, text in _strings(env.model_dump(), "$.report.environment"):
        if len(text) > 500:
            yield error(where, f"a string of {len(text)} characters, at most 500", RERUN)


def check_sizes(entry: Entry) -> Iterator[Finding]:
    if len(entry.report.tasks) > 100:
        yield error("$.report.tasks", f"{len(entry.report.tasks)} tasks, at most 100", "submit one suite")
    for path, text in _strings(entry.report.model_dump(mode="json"), "$.report"):
        if len(text) > MAX_TEXT:
            yield error(path, f"a string of {len(text)} characters, at most {MAX_TEXT}", "cut the message")
    for name, task in entry.report.tasks.items():
        at = f"$.report.tasks.{name}"
        if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,80}", name):
            yield error(at, "is no name of a task", RERUN)
        for key, metric in task.metrics.items():
            if not re.fullmatch(r"[A-Za-z0-9_.\-]{1,80}", key):
                yield error(f"{at}.metrics", f"{key[:40]!r} is no name of a metric", RERUN)
            if len(metric.values) > MAX_VALUES:
                yield error(f"{at}.metrics.{key}.values", f"more than {MAX_VALUES} values", RERUN)
        for key, curve in task.curves.items():
            lengths = {len(curve.x), *(len(y) for y in curve.series.values())}
            if max(lengths) > MAX_POINTS or len(curve.series) > 200:
                yield error(f"{at}.curves.{key}", f"more than {MAX_POINTS} points", RERUN)
            elif curve.kind != "surface" and len(lengths) > 1:
                yield error(f"{at}.curves.{key}", "x and series have different lengths", RERUN)


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from _strings(v, f"{path}.{k}")
    elif isinstance(value, list):
        for i, v in enumerate(value):
            yield from _strings(v, f"{path}[{i}]")


def check_suite(entry: Entry, lock: SuiteLock | None, latest: str) -> Iterator[Finding]:
    report = entry.report
    try:
        created = datetime.fromisoformat(report.created)
        if created.tzinfo is None:
            raise ValueError("no time zone")
        if created > datetime.now(UTC) + timedelta(days=1):
            yield error("$.report.created", "lies in the future", RERUN)
    except ValueError as fault:
        yield error("$.report.created", f"is no date with a time zone: {fault}", RERUN)
    if report.environment.ffbench == "uninstalled":
        yield warning("$.report.environment.ffbench", "ran from a checkout without a version", "install ffbench first")
    if not report.tasks:
        yield error("$.report.tasks", "is empty", RERUN)
    if lock is None:
        yield error(
            "$.report.suite_version",
            f"the board does not know {report.suite} {report.suite_version}",
            "run a current suite (`ffbench suites`); maintainers add new ones with `ffbench leaderboard lock`",
        )
        return
    for name in report.tasks:
        if name not in lock.tasks:
            yield error(f"$.report.tasks.{name}", f"is no task of {lock.suite} {lock.version}", "take it out")
    absent = [name for name in lock.tasks if name not in report.tasks]
    if latest != lock.version:
        text = f"is {lock.version}, the suite's current version is {latest}: nobody is compared with it"
        yield warning("$.report.suite_version", text, "run the current suite")
    if absent:
        text = f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing"
        yield warning("$.report.tasks", text, "fine: the entry is compared on the tasks it has")
