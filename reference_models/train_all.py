"""Train everything that ships, from the table in fits.yaml: a queue that can be stopped, continued and shared.

python -m reference_models.train_all FOLDER            train what is not finished; as many processes as there are cores
python -m reference_models.train_all FOLDER --list     what is finished, running, stopped, waiting
python -m reference_models.train_all FOLDER --collect  copy finished checkpoints to where `reference_models.load` looks
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from filelock import FileLock, Timeout
from typer import Argument, Option

from ffbench_data.atomic import write_text
from ffbench_data.command import as_program
from ffbench_data.datacard import known, parse_name

from . import all_families, checkpoint
from .train import Batches, Recipe, train_on, validate

TABLE = Path(__file__).with_name("fits.yaml")
LARGEST = 1_000_000  # bytes of a checkpoint that is committed


@dataclass(frozen=True)
class Fit:
    """One row of the table."""

    name: str
    family: str
    dataset: str
    settings: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


def read_table(path: Path = TABLE, minutes: float | None = None) -> tuple[list[Fit], dict[str, list[str]]]:
    """(the fits in their order, members of every ensemble), of ``minutes`` each instead of the table's.

    ValueError for rows that cannot be trained.

    >>> read_table()[0][0].name
    'schnet@ethanol_gfn2'
    """
    table = yaml.safe_load(path.read_text())
    fits = []
    for row in table["fits"]:
        fit = Fit(**row)
        known(fit.family, all_families(), "family", f" of fit {fit.name}")
        if fit.name.partition("@")[2] not in (fit.dataset.replace(":", "-"), parse_name(fit.dataset)[0]):
            raise ValueError(f"fit {fit.name!r} must end in '@' and its data set, {fit.dataset!r}")
        recipe = {"minutes": table["minutes"] if minutes is None else minutes, **fit.recipe, "seed": fit.seed}
        fits.append(Fit(fit.name, fit.family, fit.dataset, fit.settings, recipe, fit.seed))
    names = [fit.name for fit in fits]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{path.name} has two fits named {sorted(twice)[0]!r}: give each its own name")
    ensembles = table.get("ensembles", {})
    for name, members in ensembles.items():
        for member in members:
            known(member, names, "fit", f" in ensemble {name}")
    return fits, ensembles


def work(folder: Path, fits: Iterable[Fit], log: Callable[[str], None] = print) -> list[str]:
    """Train the ``fits`` that are neither finished nor another process's; returns a line for each that failed.

    A fit is claimed by a lock on a file, which the system frees when the process ends, however it ends.
    """
    failed = []
    for fit in fits:
        own = folder / fit.name
        own.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(own / "lock", blocking=False):
                if not _finished(folder, fit):
                    log(f"{fit.name}: starts or continues")
                    _train(folder, fit, log)
        except Timeout:
            log(f"{fit.name}: another process is at it")
        except Exception as error:  # also what another package raises: the other fits go on
            said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            failed.append(f"{fit.name}: {said}")
            log(failed[-1])
    return failed


def state(folder: Path, fit: Fit) -> str:
    """``finished``, ``running``, ``stopped`` or ``waiting``."""
    own = folder / fit.name
    if not own.is_dir():
        return "waiting"
    if _finished(folder, fit):
        return "finished"
    try:
        with FileLock(own / "lock", blocking=False):
            return "stopped" if (own / "state.safetensors").exists() else "waiting"
    except Timeout:
        return "running"


def collect(
    folder: Path, fits: Iterable[Fit], ensembles: dict[str, list[str]], to: Path, log: Callable[[str], None] = print
) -> None:
    """Copy finished checkpoints of at most 1 MB to ``to``, list ensembles there, and join the results to fits.json.

    An ensemble is a JSON list of its members' names: `reference_models.load` puts it together.
    """
    to.mkdir(parents=True, exist_ok=True)
    table = to / "fits.json"
    results = json.loads(table.read_text()) if table.exists() else {}
    for fit in fits:
        done = _finished(folder, fit)
        if not done:
            continue
        results[fit.name] = done
        best = folder / fit.name / "best.safetensors"
        if best.stat().st_size > LARGEST:
            log(f"{fit.name}: {best.stat().st_size} bytes are too many to ship; it stays in {best}")
            continue
        shutil.copyfile(best, to / f"{fit.name}.safetensors")
        log(f"{fit.name}: test force MAE {1000 * done['test_force_mae']:.1f} meV/A")
    for name, members in ensembles.items():
        absent = [m for m in members if m not in results or not (to / f"{m}.safetensors").exists()]
        if absent:
            log(f"{name}: waits for {', '.join(absent)}")
            continue
        write_text(to / f"{name}.json", json.dumps(members, indent=1) + "\n")
        log(f"{name}: {len(members)} members")
    write_text(table, json.dumps(dict(sorted(results.items())), indent=1) + "\n")


def _train(folder: Path, fit: Fit, log: Callable[[str], None]) -> None:
    own, root = folder / fit.name, _root(folder, fit)
    changes = {k: v if isinstance(v, str) else json.dumps(v) for k, v in fit.settings.items()}
    name = fit.name.partition("@")[0]
    best = train_on(
        fit.family, fit.dataset, name=name, folder=own, recipe=Recipe(**fit.recipe), changes=changes, root=root, log=log
    )
    done = {"fit": asdict(fit), **_result(fit, best, root)}
    write_text(own / "done.json", json.dumps(done, indent=1))


def _result(fit: Fit, best: Path, root: Path | None) -> dict[str, Any]:
    """What the table of results says about a finished fit."""
    from ffbench_data import load_frames

    model = checkpoint.read(best)
    curve = json.loads((best.parent / "curve.json").read_text())["curve"]
    dataset, config = parse_name(fit.dataset)
    test = load_frames(dataset, config, "test", root=root)
    assert model.cutoff is not None
    force_mae, energy_mae = validate(model, Batches(test, model.cutoff))
    return {
        "parameters": model.card["parameters"],
        "training_data": model.card["training_data"],
        "cpu_minutes": curve[-1]["minutes"],
        "steps": curve[-1]["step"],
        "test_frames": len(test),
        "test_force_mae": round(force_mae, 6),
        "test_energy_mae": round(energy_mae, 6),
    }


def _finished(folder: Path, fit: Fit) -> dict[str, Any] | None:
    path = folder / fit.name / "done.json"
    if not path.exists():
        return None
    done = json.loads(path.read_text())
    if done.pop("fit") != asdict(fit):
        raise ValueError(f"fit {fit.name} in {folder} was finished with other settings: remove its folder or its row")
    return done


def _root(folder: Path, fit: Fit) -> Path | None:
    """FOLDER/data for data sets that were built there, else wherever data sets are found."""
    data = folder / "data"
    return data if (data / parse_name(fit.dataset)[0]).is_dir() else None


def _build(folder: Path, source: str) -> None:
    from ffbench_data import build
    from ffbench_data.load import NotBuilt, provenance

    name, equal, where = source.partition("=")
    if not equal:
        raise ValueError(f"--source {source!r}: write NAME=FOLDER, e.g. md17=downloads/md17")
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    with FileLock(data / f"{name}.lock"):
        try:
            provenance(name, root=data)
        except NotBuilt:  # or of an older version
            build(name, where, data)


def main(
    folder: Annotated[Path, Argument(help="where the fits lie; several processes may share it")],
    only: Annotated[list[str] | None, Option(help="this fit alone (repeatable)")] = None,
    source: Annotated[list[str] | None, Option(help="NAME=FOLDER: build this data set first (repeatable)")] = None,
    minutes: Annotated[float | None, Option(help="of CPU time for each fit, instead of the table's")] = None,
    show: Annotated[bool, Option("--list", help="show the state of every fit and stop")] = False,
    gather: Annotated[bool, Option("--collect", help="copy what is finished to the shipped checkpoints")] = False,
) -> None:
    """Train everything that ships, from the table in fits.yaml."""
    import torch

    torch.set_num_threads(1)
    fits, ensembles = read_table(minutes=minutes)
    wanted = [known(name, [fit.name for fit in fits], "fit") for name in only or ()]
    fits = [fit for fit in fits if not wanted or fit.name in wanted]
    if show:
        print("\n".join(f"{state(folder, fit):9} {fit.name}" for fit in fits))
    elif gather:
        collect(folder, fits, ensembles, checkpoint.SHIPPED)
    else:
        for one in source or ():
            _build(folder, one)
        failed = work(folder, fits, log=lambda line: print(line, flush=True))
        if failed:
            raise ValueError(f"{len(failed)} of {len(fits)} fits failed, the first: {failed[0]}")


if __name__ == "__main__":
    as_program(main)
