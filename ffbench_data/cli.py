"""``ffbench data``: add, list, info, build, verify, push, croissant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from .atomic import write_text

app = typer.Typer(help="Data sets: list, build, verify, publish.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="data set, as in `ffbench data list`")]
Root = Annotated[Optional[Path], typer.Option(help="folder that holds the data set (default: cache, then shipped)")]  # noqa: UP045


@app.command("list")
def list_(root: Root = None) -> None:
    """Known data sets, and what is built."""
    from .datacard import card, list_datasets
    from .load import EMBEDDED, dataset_folder

    for name in list_datasets(root):
        c = card(name, root=root)
        try:
            folder = dataset_folder(name, root=root)
            where = "shipped" if folder.parent == EMBEDDED else str(folder)
        except ValueError:
            where = "not built"
        typer.echo(f"{name:24} {c.version:8} {c.licence:10} {len(c.configs):3} configs  {where}")


@app.command()
def info(name: Name, root: Root = None) -> None:
    """The data card; with hashes and sizes where the data set is built."""
    from .datacard import card, parse_name
    from .load import dataset_folder, read_manifest
    from .store import describe

    name, _ = parse_name(name)
    try:
        manifest = read_manifest(dataset_folder(name, root=root))
    except ValueError:
        manifest = None
        of_card = card(name, root=root)
    else:
        of_card = card(name, root=root)
    typer.echo(describe(of_card, manifest))


@app.command()
def build(
    name: Name,
    source: Annotated[Optional[Path], typer.Option(help="folder with the upstream files; no download then")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="where to put it (default: the user's cache)")] = None,  # noqa: UP045
) -> None:
    """Download (or generate), convert, validate and seal a data set."""
    from . import builders
    from .load import read_manifest

    folder = builders.build(name, source, out)
    manifest = read_manifest(folder)
    checks = manifest["provenance"]["validation"]
    typer.echo(f"{name} {manifest['version']} in {folder}, content {manifest['content_sha256'][:16]}")
    typer.echo(", ".join(f"{count} {level}" for level, count in checks.items()) + f" (see {builders.VALIDATION})")
    findings = json.loads((folder / builders.VALIDATION).read_text(encoding="utf-8"))["findings"]
    for check in dict.fromkeys(f["check"] for f in findings if f["level"] == "warning"):
        these = [f for f in findings if f["check"] == check and f["level"] == "warning"]
        more = f" (and {len(these) - 1} more)" if len(these) > 1 else ""
        typer.echo(f"warning: {check}, {these[0]['where']}: {these[0]['message']}{more}")
    for note in manifest["provenance"]["notes"]:
        typer.echo(f"note: {note}")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="what to call it")],
    files: Annotated[list[str], typer.Argument(help="files, DeePMD folders, or ORG/NAME of the Hugging Face Hub")],
    theory: Annotated[str, typer.Option(help="level of theory, such as PBE+D3(BJ)/def2-SVP")] = "",
    temperature: Annotated[str, typer.Option(help="K at which the frames were drawn; several with commas")] = "",
    time_step: Annotated[Optional[float], typer.Option(help="fs between consecutive frames [default: found]")] = None,  # noqa: UP045
    split: Annotated[str, typer.Option(help="random, blocked, by:KEY or by:file [default: found]")] = "auto",
    energy_key: Annotated[str, typer.Option(help="name of the energies in the files, or none")] = "",
    forces_key: Annotated[str, typer.Option(help="name of the forces in the files, or none")] = "",
    units: Annotated[str, typer.Option(help="such as kcal/mol or Hartree,Hartree/Bohr [default: eV,eV/Angstrom]")] = "",
    cell: Annotated[str, typer.Option(help="A,B,C[,alpha,beta,gamma] in Angstrom, where the files have none")] = "",
    pbc: Annotated[str, typer.Option(help="yes or no, where the files say it wrongly")] = "",
    reference: Annotated[str, typer.Option(help="package.module:factory of an ASE calculator: the truth on call")] = "",
    licence: Annotated[str, typer.Option(help="of the data; without one they cannot be pushed")] = "",
    citation: Annotated[str, typer.Option(help="how to cite the data")] = "",
    out: Annotated[Optional[Path], typer.Option(help="where to put it (default: the user's cache)")] = None,  # noqa: UP045
) -> None:
    """Your own files as a sealed data set: every command then takes its name, or its folder."""
    from .own.options import Options
    from .own.seal import add as seal

    options = Options(theory, temperature, time_step, split, energy_key, forces_key, units, cell, pbc, reference,
                      licence, citation)  # fmt: skip
    folder = seal(name, files, options, out=out)
    tell(folder)
    given = name if out is None else str(folder)
    typer.echo(f"Next: ffbench evaluate MODEL --data {given}; ffbench train painn {given}; ffbench suite for {given}")


def tell(folder: Path) -> None:
    """What was added, what was found, and what the data do not allow."""
    from .load import read_manifest
    from .own.facts import FILE, said_of

    manifest = read_manifest(folder)
    facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
    sizes = ", ".join(f"{k} {v}" for k, v in facts["frames"].items() if v)
    typer.echo(f"{manifest['name']} {manifest['version']}: {sizes} (frames) in {folder}")
    for t in facts["targets"]:
        heat = f" at {t['temperature_K']:g} K" if t["temperature_K"] else ""
        kind = "periodic" if t["periodic"] else "open" if t["open"] else "partly periodic"
        runs = f", {t['runs']} run{'s' * (t['runs'] > 1)} of {t['run_ps']:g} ps" if t["runs"] else ""
        typer.echo(f"  {t['label']}{heat}: {t['n_atoms']} atoms, {kind}, {t['frames']} frames{runs}")
    for line in said_of(folder):
        typer.echo(line)
    for line in facts["not_allowed"]:
        typer.echo(f"not: {line}")


@app.command()
def verify(name: Name, root: Root = None) -> None:
    """Hash every file again, and the rows of every split, and compare with the manifest."""
    from .load import verify as check

    found = check(name, root=root)
    typer.echo(f"{name} {found['version']}: {found['files']} files, {found['bytes'] / 1e6:.1f} MB, all as sealed")


@app.command()
def push(
    name: Name,
    repo: Annotated[str, typer.Option(help="ORG/NAME on the Hugging Face Hub")],
    root: Root = None,
    private: bool = False,
) -> None:
    """Upload a verified data set and tag its version."""
    from .push import push as upload

    typer.echo(upload(name, repo, root=root, private=private))


@app.command()
def croissant(name: Name, root: Root = None, out: Annotated[Optional[Path], typer.Option()] = None) -> None:  # noqa: UP045
    """Croissant metadata of a built data set, to standard output or a file."""
    from .croissant import croissant as describe
    from .datacard import card
    from .load import dataset_folder, read_manifest

    text = json.dumps(describe(card(name, root=root), read_manifest(dataset_folder(name, root=root))), indent=1)
    if out is None:
        typer.echo(text)
    else:
        write_text(out, text + "\n")
