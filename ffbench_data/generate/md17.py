"""The eight MD17 molecules at GFN2-xTB: 500 K, 0.5 fs, Nose-Hoover chain, as in `ffbench_data.generate.ethanol`.

On one core a step takes 0.7 ms (ethanol) to 8 ms (aspirin): the whole set is about five hours. Every run continues
where it was stopped, also to a greater length.

    python -m ffbench_data.generate.md17 FOLDER --molecules benzene --molecules toluene --runs 6
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from ..command import as_program
from . import ethanol
from .molecules import MINIMA

MOLECULES = tuple(sorted((*MINIMA, "ethanol")))
LONG_PS, SHORT_PS = 300.0, 30.0  # ethanol, the others
TEST_PS = 100.0  # the last run of a molecule: 10,000 frames, 10 fs apart


def simulate_all(
    folder: Path, *, molecules: Iterable[str] = MOLECULES, runs: int = 6, ps: float | None = None, **how: Any
) -> Path:
    """``runs`` independent runs of each molecule in ``folder/<molecule>/run-*``; the last is for testing.

    ``ps`` overrides the lengths (`LONG_PS`, `SHORT_PS`, `TEST_PS`). ValueError for an unknown molecule. More arguments
    as in `ethanol.simulate`.
    """
    from ..datacard import known

    for name in molecules:
        known(name, MOLECULES, "molecule")
        short = LONG_PS if name == "ethanol" else SHORT_PS
        for run in range(runs):
            length = ps if ps is not None else short if run < runs - 1 else max(short, TEST_PS)
            source = "CH3CH2OH" if name == "ethanol" else name
            ethanol.simulate(Path(folder) / name, run=run, ps=length, molecule=source, **how)
    return Path(folder)


def main(
    folder: Path, molecules: Annotated[list[str] | None, Option()] = None, runs: int = 6, ps: float | None = None
) -> None:
    """Simulate molecules of MD17 (--molecules, repeatable; all by default), each to its own length unless --ps says."""
    simulate_all(folder, molecules=molecules or MOLECULES, runs=runs, ps=ps)


if __name__ == "__main__":
    as_program(main)
