"""What a user may say about files that do not say it themselves."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .units import parse_units

SPLITS = ("auto", "random", "blocked")


@dataclass(frozen=True)
class Options:
    """As on the command line; ``None`` and "": find it.

    ``temperature`` in K, one or several with commas; ``time_step`` in fs between consecutive frames; ``split``
    ``random``, ``blocked`` or ``by:KEY`` (``by:file``: one part per file); keys may be ``none``; ``cell`` is three
    edges, or edges and angles, in Angstrom; ``pbc`` yes or no; ``reference`` names an ASE calculator.
    """

    theory: str = ""
    temperature: str = ""
    time_step: float | None = None
    split: str = "auto"
    energy_key: str = ""
    forces_key: str = ""
    units: str = ""
    cell: str = ""
    pbc: str = ""
    reference: str = ""
    licence: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        self.kelvin()
        self.box()
        self.by()
        if self.units:
            parse_units(self.units)
        if self.pbc not in ("", "yes", "no"):
            raise ValueError(f"--pbc {self.pbc!r}: say yes or no")
        if self.time_step is not None and not 0 < self.time_step < 1e5:
            raise ValueError(f"--time-step {self.time_step:g}: give the time between frames in fs, such as 0.5")

    def kelvin(self) -> list[float]:
        """The stated temperatures.

        >>> Options(temperature="300,600").kelvin()
        [300.0, 600.0]
        """
        try:
            values = [float(part.casefold().strip().removesuffix("k")) for part in self.temperature.split(",") if part]
        except ValueError:
            values = [-1.0]
        if any(not 0 < v < 1e5 for v in values):
            raise ValueError(f"--temperature {self.temperature!r}: give kelvins, such as 300 or 300,600")
        return values

    def by(self) -> str:
        """The key of ``--split by:KEY``, "" for another split.

        >>> Options(split="by config_type").by()
        'config_type'
        """
        found = re.fullmatch(r"by[\s:=]+(\S.*)", self.split.strip())
        if found:
            return found[1].strip()
        if self.split not in SPLITS:
            raise ValueError(f"--split {self.split!r}: say random, blocked or by:KEY, as by:config_type or by:file")
        return ""

    def box(self) -> np.ndarray | None:
        """The stated cell [3, 3]."""
        from ase.geometry import cellpar_to_cell

        if not self.cell:
            return None
        try:
            numbers = [float(part) for part in self.cell.replace(" ", ",").split(",") if part]
            if len(numbers) == 3:
                return np.diag(numbers)
            if len(numbers) == 9:
                return np.array(numbers).reshape(3, 3)
            return np.asarray(cellpar_to_cell({6: numbers}[len(numbers)]))
        except (ValueError, KeyError):
            raise ValueError(
                f"--cell {self.cell!r}: give three edges, or three edges and three angles, as in 12.4,12.4,12.4"
            ) from None

    def said(self) -> dict[str, Any]:
        """What differs from finding everything."""
        return {k: v for k, v in asdict(self).items() if v not in (None, "", "auto")}
