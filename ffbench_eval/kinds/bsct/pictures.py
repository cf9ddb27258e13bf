"""Curves of a scan with the place of its FSD marked, the index page of the worst scans, and the table of all."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ffbench_data.atomic import write_text

from ...report import MAX_POINTS, Curve, axis, rounded
from ...words import clean, metric_name, number
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

    def series(mine: Any, theirs: Any):
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


def write_table(
    path: Path, scans: Mapping[str, LabelledScan], rows: Mapping[str, Any], states: Mapping[str, str]
) -> None:
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


def plain_curves(name: str, bond_length: np.ndarray, energy: np.ndarray, forces: np.ndarray) -> dict[str, Curve]:
    """The curves of a scan without a reference, from the model's own lowest energy."""
    low = int(np.argmin(energy))
    far = np.linalg.norm((forces - forces[low]).reshape(len(energy), -1), axis=1)
    x, label = axis(bond_length), f"bond length {name} (Å)"
    return {
        f"scan_energy_{name}": Curve(
            x_label=label, y_label="energy from its minimum (eV)", x=x, series={"model": rounded(energy - energy[low])}
        ),
        f"scan_force_{name}": Curve(x_label=label, y_label="|F - F(min)| (eV/Å)", x=x, series={"model": rounded(far)}),
    }


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
    for name, (energy, forces) in predictions.items():
        scan, row = scans[name], rows[name] or {}
        here = scan.bond_length[list(worst_step(scan, forces))]
        where = f"{here[0]:.2f} to {here[1]:.2f} Å"
        shown.append(
            entry(name, curves(scan, energy, forces), [cell(row.get(key), key) for key in COLUMNS])
            | {
                "where": where,
                "molecule": clean(scan.molecule) if "[" in scan.molecule and len(scan.molecule) < 400 else "",
                "about": f"{scan.bond_type}, atoms {scan.bond[0]} and {scan.bond[1]} of {len(scan.numbers)}, FSD "
                f"{cell(row.get('fsd'))} 1/Å, reached at {where}, force MAE {cell(row.get('scan_force_mae'))} eV/Å",
            }
        )
    scored = sum(r is not None for r in rows.values())
    of = "" if scored == len(rows) else f" (the data set has {len(rows)})"
    intro = (
        f"The {len(shown)} scans with the largest force smoothness deviation (FSD), of {scored} scored scans{of}. FSD "
        "is the steepest change, per Å of bond length, of ln |F - F0|² of the model against the reference, each "
        "held at 1 (eV/Å)² or above; the orange mark shows where it is reached. It mixes smoothness with accuracy near "
        "equilibrium, so read it beside the force MAE."
    )
    heads = [(metric_name(key), "" if UNITS[key] == "1" else UNITS[key]) for key in COLUMNS]
    return page(path, title, intro, ["FSD reached at"], heads, shown)


def entry(name: str, drawn: Mapping[str, Curve], numbers: list[str]) -> dict[str, Any]:
    """One scan of a `page`: its row of numbers and its drawings."""
    from ...page.svg import charts as plots

    charts = [plots.line(key, curve) for key, curve in drawn.items()]
    return {"name": clean(name), "where": "", "about": "", "molecule": "", "numbers": numbers, "charts": charts}


def page(path: Path, title: str, intro: str, first: list[str], heads: list[tuple[str, str]], shown: list) -> Path:
    """Write the index page; ``first`` are heads of text columns (at most one, for ``where``)."""
    from ...page.page import TEMPLATES
    from ...page.svg import charts as plots
    from ...page.templating import environment

    text = (
        environment(TEMPLATES)
        .get_template("scans.html.j2")
        .render(title=clean(title), intro=intro, first=first, heads=heads, shown=shown, style=plots.STYLE)
    )
    write_text(path, text)
    return path


def cell(value: float | None, key: str = "") -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if UNITS.get(key) == "1" and key != "energy_jump" else number(value)
