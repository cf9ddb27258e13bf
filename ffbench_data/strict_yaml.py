"""Reading YAML from strangers: one line with the place of what is wrong; no key twice, no harmful depth or size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

LARGEST = 2_000_000  # bytes
DEEPEST, MOST = 30, 100_000  # levels; nodes, counted as often as they are referred to
Places = dict[tuple[Any, ...], int]


def told(fault: Any) -> str:
    """What is wrong with a field, of an error of pydantic's list, with the field's name.

    >>> told({"loc": ("task", 0), "msg": "Value error, must be positive"}), told({"loc": (), "msg": "no"})
    ('task.0: must be positive', 'no')
    """
    at = [".".join(str(part) for part in fault["loc"])] if fault["loc"] else []
    return ": ".join([*at, fault["msg"].removeprefix("Value error, ")])


def read(path: Path) -> tuple[Any, Places]:
    """(what the file holds, the line in which each key of it stands). ValueError, one line: file, line and why."""
    try:
        size = path.stat().st_size
        raw = path.read_bytes() if size <= LARGEST else b""
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    if size > LARGEST:
        raise ValueError(f"{path}: has {size} bytes, at most {LARGEST} are taken")
    try:
        node = yaml.compose(raw.decode("utf-8"), Loader=yaml.SafeLoader)
        places: Places = {}
        _walk(node, (), places, path, [0])
        return (None if node is None else yaml.safe_load(raw)), places
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        where = f", line {at.line + 1}, column {at.column + 1}" if at else ""
        raise ValueError(f"{path}{where}: {_said(error.problem or error.context)}") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: {_said(error)}") from None
    except RecursionError:
        raise ValueError(f"{path}: is nested deeper than {DEEPEST} levels") from None


def mapping(value: Any, what: str) -> dict[str, Any]:
    """``value`` if it is a mapping from names; ValueError, one line, that says ``what`` it should be."""
    if not isinstance(value, dict):
        kind = {"NoneType": "empty", "list": "a list", "str": "text"}.get(type(value).__name__, repr(value)[:40])
        raise ValueError(f"{what} must be a mapping (key: value), it is {kind}")
    wrong = next((key for key in value if not isinstance(key, str)), None)
    if wrong is not None:
        raise ValueError(f"{what}: key {wrong!r} must be text, put it in quotes")
    return value


def _walk(node: Any, at: tuple[Any, ...], places: Places, path: Path, count: list[int]) -> None:
    count[0] += 1
    if count[0] > MOST:
        raise ValueError(f"{path}: holds more than {MOST} values, references counted each time")
    if len(at) > DEEPEST:
        raise ValueError(f"{path}, line {node.start_mark.line + 1}: is nested deeper than {DEEPEST} levels")
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise ValueError(f"{path}, line {key.start_mark.line + 1}: key {str(name)[:40]!r} is given twice")
            seen.add(name)
            places.setdefault((*at, name), key.start_mark.line + 1)
            _walk(value, (*at, name), places, path, count)
    elif isinstance(node, yaml.SequenceNode):
        for k, value in enumerate(node.value):
            _walk(value, (*at, k), places, path, count)


def _said(error: Any) -> str:
    return " ".join(str(error).split())[:300]
