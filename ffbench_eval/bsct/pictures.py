"""Curves of a scan with the place of its FSD marked, the index page of the worst scans, and the table of all."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import plots
from ..report import MAX_POINTS, Curve, axis, rounded
from ..wording import clean, metric_name, number
from .scans import LabelledScan
from .scores import UNITS, deviations, worst_step

HERE = "FSD is reached here"  # name of the series that marks it
COLUMNS = (
    "fsd",
    "fsd_compress",
    "fsd_stretch",
    "scan_force_mae",
    "scan_energy_mae_aligned",
    "spurious_extrema",
    "sign_flips",
    "energy_jump",
    "conservativeness_on_frames",
)


def curves(scan: LabelledScan, energy: Any, forces: Any) -> dict[str, Curve]:
    """Energy from the lowest reference energy, and |F - F0|, over the bond length: model, reference, and the step of
    the bond length where FSD is reached."""
    eq = scan.equilibrium
    energy = np.asarray(energy, np.float64)
    model, reference = deviations(scan, forces)
    at = worst_step(scan, forces)
    step = max(1, -(-len(energy) // MAX_POINTS))
    shown = np.unique([*range(0, len(energy), step), *at])
    x, kept = axis(scan.bond_length[shown]), scan.labelled[shown]

    def series(mine, theirs):
        here = np.full(len(mine), np.nan)
        here[list(at)] = mine[list(at)]
        return {
            "reference": rounded(np.where(kept, theirs[shown], np.nan)),
            "model": rounded(mine[shown]),
            HERE: rounded(here[shown]),
        }

    label = f"bond length {scan.name} (Å)"
    return {
        f"scan_energy_{scan.name}": Curve(
            x_label=label,
            y_label="energy from equilibrium (eV)",
            x=x,
            series=series(energy - energy[eq], scan.energy - scan.energy[eq]),
        ),
        f"scan_force_{scan.name}": Curve(
            x_label=label, y_label="|F - F(eq)| (eV/Å)", x=x, series=series(model, reference)
        ),
    }


def write_table(path: Path, scans: Mapping[str, LabelledScan], rows: Mapping[str, Any], states: Mapping[str, str]):
    """One line per scan with its bond, molecule, state and every number; empty where there is none."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["scan", "bond_type", "i", "j", "atoms", "molecule", "state", *UNITS])
        for name, scan in scans.items():
            row = rows.get(name) or {}
            numbers = ["" if row.get(k) is None else f"{row[k]:.9g}" for k in UNITS]
            state = states.get(name, "not_run")
            about = [name, scan.bond_type, *scan.bond, len(scan.numbers), scan.molecule, state]
            out.writerow([*about, *numbers])


def write_page(
    path: Path,
    title: str,
    scans: Mapping[str, LabelledScan],
    rows: Mapping[str, Mapping[str, float | None] | None],
    predictions: Mapping[str, tuple[Any, Any]],
) -> Path:
    """An HTML page without scripts: an index of the scans in ``predictions`` ({name: (energy, forces)}, worst first),
    then the two drawings of each."""
    shown = []
    for k, (name, (energy, forces)) in enumerate(predictions.items(), 1):
        scan, row = scans[name], rows[name] or {}
        here = scan.bond_length[list(worst_step(scan, forces))]
        shown.append(
            {
                "id": f"scan-{k}",
                "name": clean(name),
                "bond": f"{scan.bond_type}, atoms {scan.bond[0]} and {scan.bond[1]} of {len(scan.numbers)}",
                "molecule": clean(scan.molecule) if len(scan.molecule) < 400 and scan.molecule[:1] in "[C" else "",
                "where": f"{here[0]:.2f} to {here[1]:.2f} Å",
                "numbers": [_cell(row.get(key)) for key in COLUMNS],
                "charts": [plots.line(key, curve) for key, curve in curves(scan, energy, forces).items()],
            }
        )
    scored = sum(r is not None for r in rows.values())
    heads = [(metric_name(key), "" if UNITS[key] == "1" else UNITS[key]) for key in COLUMNS]
    text = _template().render(
        title=clean(title), shown=shown, heads=heads, scored=scored, total=len(rows), style=plots.STYLE
    )
    path.write_text(text, encoding="utf-8")
    return path


def _cell(value: float | None) -> str:
    return "–" if value is None else number(value)


def _template():
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parents[1] / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("scans.html.j2")
