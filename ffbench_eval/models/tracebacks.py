"""What to say of an error: one line with its place, and the lines of the traceback that belong to its owner."""

from __future__ import annotations

import traceback
from pathlib import Path

HOMES = tuple(str(Path(__file__).resolve().parents[2] / name) for name in ("ffbench_eval", "ffbench_data"))


class ModelRaised(ValueError):
    """The user's model raised: one line that says where; ``frames`` are its own lines of the traceback."""

    def __init__(self, where: str, error: BaseException):
        line, self.frames = told(error)
        super().__init__(f"{where}: {line}")


def told(error: BaseException) -> tuple[str, str]:
    """("Type: first line (file.py, line 3, in energy)", the traceback's frames that are not a library's).

    >>> told(KeyError("species 8"))[0]
    "KeyError: 'species 8'"
    """
    if isinstance(getattr(error, "frames", None), str):  # told in the process where it was raised
        return str(error), error.frames  # type: ignore[attr-defined]
    at, frames = own_frames(error)
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}{f' ({at})' if at else ''}", frames


def own_frames(error: BaseException) -> tuple[str, str]:
    """("file.py, line 3, in energy" of the innermost frame that is not a library's, the traceback of such frames)."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [f for f in frames if not _library(f.filename)]
    if not mine:
        return "", "".join(traceback.format_exception(error, limit=-3)).strip()
    last = mine[-1]
    text = "".join(traceback.format_list(mine) + traceback.format_exception_only(error))
    return f"{Path(last.filename).name}, line {last.lineno}, in {last.name}", text.strip()


def full_traceback(error: BaseException) -> str:
    """Type and first line, then the last frames of the whole traceback: a fault of ours."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}\n{''.join(traceback.format_exception(error, limit=-6)).strip()}"


def _library(filename: str) -> bool:
    return filename.startswith((*HOMES, "<")) or any(
        part in ("site-packages", "dist-packages") or part.startswith("python3.") for part in Path(filename).parts
    )
