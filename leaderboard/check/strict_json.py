"""Reading JSON from strangers: no duplicate keys, no NaN, no infinity, no depth or size that could hurt."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

MAX_DEPTH = 30
MAX_DIGITS = 30  # of an integer


class BadJson(ValueError):
    """``path`` (JSON path, where known) and what to do about it."""

    def __init__(self, message: str, path: str = "$", fix: str = ""):
        super().__init__(message)
        self.path, self.fix = path, fix


class _Pairs(list):
    """An object whose keys were given twice; found again with its path after parsing."""


def read(path: Path, limit: int) -> Any:
    """Parse a regular file of at most ``limit`` bytes; `BadJson` says what is wrong with it."""
    if path.is_symlink() or not path.is_file():
        raise BadJson("is not a regular file", fix="submit the JSON file itself, no link")
    size = path.stat().st_size
    if size > limit:
        raise BadJson(f"has {size} bytes, at most {limit} are taken", fix="shorten the curves; archive predictions")
    return parse(path.read_bytes())


def parse(raw: bytes) -> Any:
    """
    >>> parse(b'{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    >>> parse(b'{"a": {"b": 1, "b": 2}}')
    Traceback (most recent call last):
    leaderboard.check.strict_json.BadJson: key 'b' is given twice
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJson(f"is not UTF-8: {error}", fix="write it with `ffbench submit`") from None
    try:
        found = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
        )
    except BadJson:
        raise
    except RecursionError:
        raise BadJson(f"is nested deeper than {MAX_DEPTH} levels", fix="write it with `ffbench submit`") from None
    except ValueError as error:
        raise BadJson(f"is not JSON: {error}", fix="write it with `ffbench submit`, do not edit by hand") from None
    _walk(found, "$", 0)
    return found


def _object(pairs: list[tuple[str, Any]]) -> Any:
    keys = [k for k, _ in pairs]
    return dict(pairs) if len(set(keys)) == len(keys) else _Pairs(pairs)


def _constant(name: str):
    raise BadJson(f"{name} is not allowed", fix="a missing number is null, with its reason")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadJson(f"{text[:40]} is not a finite number", fix="a missing number is null, with its reason")
    return value


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise BadJson(f"an integer of {len(text)} digits", fix="write it with `ffbench submit`")
    return int(text)


def _walk(value: Any, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadJson(f"is nested deeper than {MAX_DEPTH} levels", path[:200], "write it with `ffbench submit`")
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        twice = next(k for k, _ in value if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise BadJson(f"key {twice!r} is given twice", f"{path}.{twice}", "keep one of them")
    if isinstance(value, dict):
        for k, v in value.items():
            _text(k, path)
            if isinstance(v, dict | list | str):
                _walk(v, f"{path}.{k}", depth + 1)
    elif isinstance(value, list):
        for i, v in enumerate(value):
            if isinstance(v, dict | list | str):
                _walk(v, f"{path}[{i}]", depth + 1)
    elif isinstance(value, str):
        _text(value, path)


def _text(value: str, path: str) -> None:
    """Half a surrogate pair is no character: whatever writes UTF-8 later would fail on it."""
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise BadJson("holds half a surrogate pair", path.encode("ascii", "replace").decode(), "write it in UTF-8")
