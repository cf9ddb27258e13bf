"""Files written whole or not at all: the one place where a name is replaced; small ones read back, and their hashes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PART = ".part"  # how the name of an unfinished file ends; a killed process may leave one


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes its place when the block ends well, and is removed otherwise.

    The name is drawn, so that two that write the same file do not mix, on machines that share a disk too: the last one
    wins, whole.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> with replacing(path) as part:
    ...     _ = part.write_text("1 2 3")
    >>> path.read_text(), [p.name for p in path.parent.iterdir()]
    ('1 2 3', ['numbers.txt'])
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}{PART}")
    try:
        yield part
        os.replace(part, path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError) and error.errno and error.filename is None:  # a full disk names no file
            error.filename = str(path)
        raise


def write_text(path: str | Path, text: str) -> Path:
    """Write ``text`` in UTF-8, whole or not at all; the path. A full disk leaves the file that was there."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)


def read_object(path: str | Path) -> dict[str, Any]:
    """The JSON object in a small file of ours. OSError if it is not there; ValueError, one line with the path, for
    whatever else it holds.

    >>> import tempfile
    >>> path = write_text(Path(tempfile.mkdtemp()) / "a.json", '{"a": 1}')
    >>> read_object(path)
    {'a': 1}
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):  # a pipe would be waited for
        raise ValueError(f"{path} must be a file")
    try:
        found = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a JSON object, it holds a {type(found).__name__}")
    return found


def file_sha256(path: str | Path) -> str:
    """sha256 of what a file holds, as 64 hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
