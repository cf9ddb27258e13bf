"""xyz files whose comment is an energy and nothing else, with forces behind the positions: MD17's and sGDML's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .images import Image, Source

# a number with a decimal point: a whole one counts frames
ENERGY = re.compile(r"\s*(?:e(?:nergy|tot)?\s*[:=]?\s*)?([-+]?\d+\.\d*(?:[ed][-+]?\d+)?)\s*(?:ev)?\s*", re.IGNORECASE)


def is_bare(path: Path) -> bool:
    """Whether the comment of the first frame is a bare energy."""
    try:
        return ENERGY.fullmatch(next(_blocks(path))[0]) is not None
    except Exception:  # no such file, or a damaged one: told when it is read
        return False


def bare_source(path: Path) -> Source:
    return Source(str(path), "xyz (an energy in each comment, forces in columns 5 to 7)", lambda: _images(path))


def _images(path: Path) -> Iterator[Image]:
    from ase.data import atomic_numbers

    for t, (comment, rows) in enumerate(_blocks(path)):
        found = ENERGY.fullmatch(comment)
        if not found:
            raise ValueError(
                f"{path}: frame {t}: its comment {comment.strip()[:60]!r} is no energy, as those before it"
            )
        symbols = [row[0].capitalize() for row in rows]
        try:
            numbers = np.array([int(s) if s.isdigit() else atomic_numbers[s] for s in symbols])
            values = np.array([[float(v) for v in row[1:7]] for row in rows])
        except KeyError as error:
            raise ValueError(f"{path}: frame {t}: {error} is no element of the periodic table") from None
        except ValueError:
            said = "positions or forces that are no numbers, or rows of unequal length"
            raise ValueError(f"{path}: frame {t}: {said}") from None
        per_atom = {"forces": values[:, 3:]} if values.shape[1] == 6 else {}
        energy = float(found[1].upper().replace("D", "E"))
        yield Image(numbers, values[:, :3], np.zeros((3, 3)), np.zeros(3, bool), {"energy": energy}, per_atom)


def _blocks(path: Path) -> Iterator[tuple[str, list[list[str]]]]:
    """(comment, words of each atom) of every frame."""
    from ase.io.formats import open_with_compression

    with open_with_compression(str(path), "r") as file:
        while line := file.readline().strip():
            if not line.isdigit():
                raise ValueError(f"{path}: {line[:60]!r} is no number of atoms")
            comment = file.readline()
            rows = [file.readline().split() for _ in range(int(line))]
            if not rows or any(len(row) < 4 for row in rows):
                raise ValueError(f"{path}: it ends within a frame, or has an atom without three coordinates")
            yield comment, rows
