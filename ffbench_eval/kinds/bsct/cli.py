"""``ffbench bsct``: bond scans of any molecule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SHOWN = ("fsd", "scan_force_mae", "scan_energy_mae_aligned", "spurious_extrema", "sign_flips", "energy_jump")

app = typer.Typer(no_args_is_help=True, help="Bond scans: how smooth is a model along a bond?")


@app.callback()
def main() -> None:
    """The 485 published scans are the suite bsct: ffbench evaluate MODEL --suite bsct."""


@app.command()
def scan(
    molecule: Annotated[Path, typer.Argument(help="a structure file that ASE reads, such as molecule.xyz")],
    bonds: Annotated[str, typer.Option(help="auto (all outside rings), heavy, or pairs of atoms: 0-2,2-8")] = "auto",
    model: Annotated[str | None, typer.Option(help="as for evaluate; without one only the structures are made")] = None,
    reference: Annotated[
        str | None, typer.Option(help="as for model: an ASE calculator or a model as the truth")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder [default: runs/scan-<molecule>]")] = None,
) -> None:
    """Scan the bonds of any neutral molecule by the published rule, and score a model on them.

    Both fragments move by half of the change, 0.5 to 2 times the sum of the covalent radii, 100 points. With
    --reference the scores are those of BSCT; without, the four that need none.
    """
    from rich.console import Console
    from rich.table import Table

    from ...words import metric_name, unit_name
    from . import custom
    from .pictures import cell
    from .scores import UNITS

    if reference and not model:
        raise ValueError("reference: there is no model to compare with it; add --model")
    structure = custom.read_molecule(molecule)
    scans = custom.make_scans(structure, bonds)
    asked = _one(model, "model") if model else None
    truth = _one(reference, "reference") if reference else None
    folder = out or Path("runs") / f"scan-{structure.name}"
    written = custom.write_structures(folder / "scans.extxyz", structure, scans)
    typer.echo(f"{len(scans)} scans of {structure.name}: {', '.join(scans)} -> {written}")
    if asked is None:
        return
    rows = custom.scan_molecule(structure, scans, asked, truth, folder)
    keys = SHOWN if truth else tuple(custom.LITE)
    units = UNITS if truth else custom.LITE
    heads = [f"{metric_name(k)} {unit_name(units[k])}".strip() for k in keys]
    table = Table("scan", *heads, box=None, header_style="dim")
    for name, row in rows.items():
        if row["state"] == "ok":
            table.add_row(name, *(cell(row[k], k) for k in keys))
        else:
            table.add_row(name, f"{row['state']}: {row['why'].strip().splitlines()[-1]}")
    Console(highlight=False).print(table)
    typer.echo(f"Curves: {folder / 'scan.html'} (numbers: {folder / 'scan.json'})")


def _one(spec: str, argument: str):
    """The single model a spec stands for."""
    from ffbench_data.contract import ForceField

    from ...models import resolve as models

    found, _ = models.resolve(spec)
    if isinstance(found, ForceField):
        return found
    if len(found) > 1:
        raise ValueError(f"{argument}: {spec!r} is {len(found)} models; name one, such as {spec}@{next(iter(found))}")
    return next(iter(found.values()))
