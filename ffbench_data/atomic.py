"""Files that are written whole or not at all: the one place where a name is replaced."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def write_text(path: str | Path, text: str) -> Path:
    """Write ``text`` in UTF-8, whole or not at all; the path. A full disk leaves the file that was there."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)
