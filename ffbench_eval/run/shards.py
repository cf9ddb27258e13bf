"""A run in parts on machines that know nothing of each other: every part runs its share of the units."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from ffbench_data.atomic import read_object, write_text

from ..report import Report
from ..suite import Suite, Task, load_suite
from .assemble import task_report
from .claim import held
from .data import load_task_data
from .execute import removed
from .folder import apart, merge
from .units import Result, folder_name, read_result


def parse(text: str) -> tuple[int, int]:
    """
    >>> parse("2/8")
    (2, 8)
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    part, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= part <= parts:
        raise ValueError(f"shard {text!r}: write PART/PARTS, such as 2/8, with PART from 1 to PARTS")
    return part, parts


def share(count: int, shard: tuple[int, int] | None) -> set[int]:
    """The places of the units that a part runs; the same everywhere, because the plan is.

    >>> sorted(share(5, (2, 2)))
    [1, 3]
    """
    return set(range(count)) if shard is None else set(range(shard[0] - 1, count, shard[1]))


def merge_shards(runs: Sequence[Path], out: Path, suite: Suite | None = None) -> Report:
    """The report of the whole from the run folders of all its parts, whose units are copied into ``out``, which then is
    a run folder like any other. It may be new, or hold an earlier run of this model and suite.

    Nothing is asked of a model. ValueError for parts of other models, suites or plans, for a unit that no part has
    finished, and for one that no plan names. ``suite``: where it is a file of your own.
    """
    reports = [Report.load(run) for run in runs]
    whole = merge([r.model_copy(update={"tasks": {}}) for r in reports])
    apart(runs, out)
    plans = {run: {n: [u.address for u in t.units] for n, t in r.tasks.items()} for run, r in zip(runs, reports)}
    asked = plans[runs[0]]
    for run, plan in plans.items():
        if plan != asked:
            other = next((n for n in asked if plan.get(n) != asked[n]), "more tasks")
            raise ValueError(f"merge: {run} is no part of the plan of {runs[0]} (other units of {other})")
    found = _gathered(runs, {a for addresses in asked.values() for a in addresses if a})
    holes = [n for n, addresses in asked.items() if any(a and a not in found for a in addresses)]
    if holes:
        raise ValueError(f"merge: units of {', '.join(holes)} are in no part; run the parts that are missing")
    suite = suite or load_suite(whole.suite, tasks=list(asked))
    planned = _planned(suite, reports[0], whole)
    claim = _claim(runs[0], out)
    with held(out):
        write_text(out / "run.json", claim)
        names = {a: folder_name(task, a) for task, addresses in asked.items() for a in addresses}
        results = {a: _copied(folder, result, out / "units" / names[a]) for a, (folder, result) in found.items()}
        tasks = {}
        for task in planned:
            addresses, first = asked[task.name], reports[0].tasks[task.name]
            tasks[task.name] = task_report(task, load_task_data(task), addresses, results) if any(addresses) else first
        report = whole.model_copy(update={"tasks": tasks}).sealed()
        report.to_json(out / "report.json")
        report.to_html(out / "report.html")
    return report


def _planned(suite: Suite, part: Report, whole: Report) -> list[Task]:
    """The tasks of the suite that the parts ran. ValueError where the suite is another one than theirs."""
    if (suite.name, suite.version) != (whole.suite, whole.suite_version):
        raise ValueError(
            f"merge: the suite here is {suite.name} {suite.version}, the parts are of {whole.suite} "
            f"{whole.suite_version}"
        )
    here = {task.name: task for task in suite.tasks}
    for name, task in part.tasks.items():
        if name not in here:
            raise ValueError(f"merge: suite {suite.name} has no task {name} here, which the parts ran")
        if here[name].parameters.model_dump(mode="json") != task.parameters:
            raise ValueError(f"merge: task {name} of suite {suite.name} has other parameters here than in the parts")
    return [task for task in suite.tasks if task.name in part.tasks]


def _claim(part: Path, out: Path) -> str:
    """What ``run.json`` says of a part; ValueError where ``out`` holds something else."""
    record = read_object(part / "run.json")
    if out.is_dir() and any(path.name != "lock" for path in out.iterdir()):
        try:
            there = read_object(out / "run.json")
        except (OSError, ValueError):
            there = {}
        if any(there.get(k) != record.get(k) for k in ("name", "suite")):
            raise ValueError(f"out: {out} exists and is no run of this model and suite; choose another one")
    return json.dumps(record, indent=1)


def _copied(folder: Path, result: Result, target: Path) -> Result:
    """A unit with the files that it seals under another name, whole or not at all."""
    if read_result(target, result.address) is None:
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            for name in ("result.json", *result.files):
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, part / name)
            removed(target)
            part.rename(target)
        finally:
            removed(part)
    return Result(**{**vars(result), "folder": target})


def _gathered(runs: Sequence[Path], asked: set[str]) -> dict[str, tuple[Path, Result]]:
    """Every finished unit of the parts, by its address. ValueError for one that the plan does not name."""
    found: dict[str, tuple[Path, Result]] = {}
    for run in runs:
        for path in sorted((run / "units").glob("*/result.json")):
            if path.parent.suffix == ".part":
                continue
            try:
                address = str(read_object(path).get("address", ""))
            except ValueError as error:
                raise ValueError(f"merge: {error}; run its part again") from None
            if address not in asked:
                raise ValueError(f"merge: {path.parent} belongs to no unit of this plan; take it out of the folder")
            result = read_result(path.parent, address)
            if result is None:
                raise ValueError(f"merge: {path.parent} is damaged; run its part again")
            found.setdefault(address, (path.parent, result))
    return found
