"""Level "recomputed": the metrics of an entry worked out again from its archived unit files.

Files are found in a local folder by sha256 (fetching them is a separate step), checked for size and hash, opened
without pickle, and scored by the evaluator's own `score`. No model is loaded.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ffbench_eval.kinds import kind_of
from ffbench_eval.report import Metric, TaskReport

from .schema import Archive, Entry, has_numbers

UNPACKED = 8_000_000_000  # bytes a compressed file may grow to
RELATIVE = 1e-4  # archived forces are float32


def recompute(entry: Entry, folder: Path, tasks: list[str] | None = None) -> list[str]:
    """What was recomputed, one line per task. ValueError names the first thing that is missing or does not follow."""
    names = tasks or [n for n, t in entry.report.tasks.items() if has_numbers(t) and not kind_of(t.kind).timed]
    said = []
    with tempfile.TemporaryDirectory() as temporary:
        by_hash = {hashlib.sha256(p.read_bytes()).hexdigest(): p for p in folder.rglob("*") if p.is_file()}
        for name in names:
            task = entry.report.tasks.get(name)
            if task is None:
                raise ValueError(f"task {name!r} is not in this entry")
            archives = [a for a in entry.archives if a.task == name]
            if not archives:
                raise ValueError(f"task {name}: no archived files are named; submit with --archive-url")
            run = Path(temporary)
            for archive in archives:
                place = run / archive.unit / archive.file
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(_checked(archive, by_hash))
            said.append(_one(name, task, run, entry))
    return said


def _checked(archive: Archive, by_hash: dict[str, Path]) -> Path:
    """The local file of an archive, safe to open."""
    path = by_hash.get(archive.sha256)
    if path is None:
        what = f"{archive.file} of {archive.task}"
        raise ValueError(f"{what}: no file here has sha256 {archive.sha256[:12]}...; fetch {archive.url}")
    if path.stat().st_size != archive.bytes:
        raise ValueError(f"{path}: has {path.stat().st_size} bytes, the entry says {archive.bytes}")
    if archive.file.endswith(".npz"):
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path}: is no npz file")
        with zipfile.ZipFile(path) as packed:
            if sum(i.file_size for i in packed.infolist()) > UNPACKED:
                raise ValueError(f"{path}: grows beyond {UNPACKED} bytes when unpacked")
    if archive.file.endswith(".parquet"):
        _parquet_fits(path)
    return path.resolve()


def _parquet_fits(path: Path) -> None:
    """ValueError if a Parquet file unpacks to more than `UNPACKED` bytes, by its own footer.

    A column of equal values packs into nothing, so that the number of values counts, eight bytes each; text, of which
    one value has any length, has no place in a trajectory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path}: is no Parquet file: {error}") from None
    about = file.metadata
    groups = [about.row_group(k) for k in range(about.num_row_groups)]
    columns = [g.column(c) for g in groups for c in range(g.num_columns)]
    size = max(sum(g.total_byte_size for g in groups), sum(8 * c.num_values for c in columns), about.num_rows)
    if size > UNPACKED:
        raise ValueError(f"{path}: grows to {size} bytes when unpacked, at most {UNPACKED} are taken")
    if any(c.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY") for c in columns):
        raise ValueError(f"{path}: holds text, which no trajectory has")


def _one(name: str, task: TaskReport, run: Path, entry: Entry) -> str:
    from ffbench_eval.run.assemble import run_lengths
    from ffbench_eval.run.data import load_task_data
    from ffbench_eval.suite import load_suite

    from ..check.strict_json import read

    suite = load_suite(entry.report.suite, tasks=[name])
    if suite.version != entry.report.suite_version:
        raise ValueError(f"suite {suite.name} is {suite.version} here, the entry is of {entry.report.suite_version}")
    data = load_task_data(suite.tasks[0])
    if data.used != task.dataset:
        raise ValueError(f"task {name}: the data here are not the entry's")
    kind = suite.tasks[0].kind
    planned = kind.plan(suite.tasks[0], data, entry.report.seed)
    results = []
    for k, unit in enumerate(task.units):
        folder = run / unit.address
        _rows_as_planned(name, folder, planned[k] if k < len(planned) else {})
        path = folder / "result.json"
        if not path.exists():
            raise ValueError(f"task {name}: result.json of unit {unit.address[:12]} is not archived")
        raw = read(path.resolve(), 20_000_000)
        result = _result(name, unit.address, folder, raw)
        status = run_lengths(result.status) if kind.frames else result.status
        if status != unit.status:
            raise ValueError(f"task {name}: archived states of unit {unit.address[:12]} are not the entry's")
        results.append(result)
    try:
        metrics, _ = kind.module.score(suite.tasks[0], results, data)
    except (KeyError, IndexError, TypeError, AttributeError, EOFError, OSError, ArithmeticError) as error:
        raise ValueError(f"task {name}: the archived files cannot be scored: {type(error).__name__}: {error}") from None
    checked = 0
    for key, reported in task.metrics.items():
        again = metrics.get(key)
        if again is None or not _same(_held(reported), _held(again)):
            raise ValueError(f"task {name}: {key} does not follow from the archived files")
        for field, mine, theirs in _anchors(reported, again):
            if not _same([mine], [theirs]):
                raise ValueError(f"task {name}: {field} of {key} is {mine}, the archived files give {theirs}")
        checked += len(_held(reported))
    missing = sorted(k for k, m in metrics.items() if m.value is not None and k not in task.metrics)
    if missing:
        raise ValueError(f"task {name}: the archived files also give {missing[0]}, which the entry leaves out")
    headline = kind.headline(results)
    if headline != task.headline:
        raise ValueError(f"task {name}: the headline is {task.headline!r}, the archived files give {headline!r}")
    lost = sum(s not in ("ok", "unstable") for s in task.states)
    word = f", {lost} lost by the submitter's word" if lost else ""
    return f"{name}: {len(task.metrics)} metrics, {checked} values{word}"


def _result(name: str, address: str, folder: Path, raw: Any) -> Any:
    """The archived ``result.json``; ValueError if it is none."""
    from ffbench_eval.run.units import Result

    words = isinstance(raw, dict) and all(isinstance(raw.get(k), list) for k in ("status", "detail"))
    if not words or not all(isinstance(s, str) for k in ("status", "detail") for s in raw[k]):
        raise ValueError(f"task {name}: result.json of unit {address[:12]} is no result of a unit")
    try:
        return Result(folder, **raw)
    except TypeError as error:
        raise ValueError(f"task {name}: result.json of unit {address[:12]} is no result of a unit: {error}") from None


def _anchors(a: Metric, b: Metric) -> list[tuple[str, float | None, float | None]]:
    """Everything else that a score is made of, as (field, reported, again)."""
    floors = [
        (f"floor {f}", getattr(a.floor, f, None), getattr(b.floor, f, None)) for f in ("median", "p95", "length_ps")
    ]
    plain = [(f, getattr(a, f), getattr(b, f)) for f in ("value", "trivial", "score", "n")]
    return [*plain, *floors]


def _held(metric: Metric) -> list[float | None]:
    """The samples; of a number without samples itself and its interval."""
    sampled = any(v is not None for v in metric.values)
    return list(metric.values) if sampled else [metric.value, *(metric.interval or ())]


def _rows_as_planned(name: str, folder: Path, inputs: dict) -> None:
    """Predictions are of the frames the task asks for, not of easier ones."""
    import numpy as np

    if "rows" in inputs and (folder / "predictions.npz").exists():
        rows = np.load(folder / "predictions.npz")["rows"].tolist()
        if rows != inputs["rows"]:
            raise ValueError(f"task {name}: the archived predictions are of other frames than the task's")


def _same(a: list[float | None], b: list[float | None]) -> bool:
    if len(a) != len(b):
        return False
    scale = max((abs(v) for v in a if v is not None), default=0.0)
    return all(
        (x is None) == (y is None) and (x is None or y is None or abs(x - y) <= RELATIVE * max(abs(x), 1e-3 * scale))
        for x, y in zip(a, b)
    )
