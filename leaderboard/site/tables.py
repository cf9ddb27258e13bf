"""The board as tables for download: CSV for people, Parquet for programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .data import Row, SuiteBoard, main_metric

COLUMNS = [
    "org",
    "model",
    "version",
    "suite",
    "trust",
    "task",
    "state",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "unit",
    "score",
]


def write_tables(out: Path, boards: list[SuiteBoard]) -> None:
    """Every metric of every entry as CSV and Parquet; rows of metric ``task_score`` also hold trust and state.

    The CSV holds the main metrics of each task (`main_metric`), the Parquet file all.
    """
    import csv

    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [line for b in boards for r in b.rows for line in _lines(r)]
    short = [line for b in boards for r in b.rows for line in _lines(r, main_metric)]
    with (out / "leaderboard.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([["" if v is None else _short(v) for v in row] for row in short])
    kinds = {"value": pa.float64(), "low": pa.float64(), "high": pa.float64(), "score": pa.float64(), "n": pa.int64()}
    columns = {c: pa.array([r[i] for r in rows], kinds.get(c, pa.string())) for i, c in enumerate(COLUMNS)}
    floats = [c for c, kind in kinds.items() if kind == pa.float64()]
    packed = {"compression": "zstd", "compression_level": 19, "use_byte_stream_split": floats}
    words = [c for c in COLUMNS if c not in floats]
    pq.write_table(pa.table(columns), out / "leaderboard.parquet", use_dictionary=words, **packed)


def _lines(row: Row, chosen: Callable[[Any], list[str]] = lambda task: list(task.metrics)) -> list[list[Any]]:
    e = row.entry
    head = [e.org, e.model, e.version, e.report.suite]
    out = []
    for name, score in row.scores.items():
        low, high = score.interval or (None, None)
        out.append([*head, row.trust, name, score.state, "task_score", score.value, low, high, None, "1", score.value])
        task = e.report.tasks.get(name)
        if task is None:
            continue
        for key in chosen(task):
            m = task.metrics[key]
            low, high = m.interval or (None, None)
            out.append([*head, None, name, None, key, m.value, low, high, m.n or None, m.unit, m.score])
    return out


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.4g}"
    # A cell that starts like a formula would be run by a spreadsheet.
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value
