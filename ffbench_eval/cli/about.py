"""What is there to be asked, and what is installed: `metrics`, `kinds`, `validate`, `suites`, `train`, `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ffbench_data.terminal import wrapped


def metrics(
    write: Annotated[
        Path | None, typer.Option(help="a Markdown file with the two marks: its tables are made anew")
    ] = None,
) -> None:
    """Print every metric that a task can give: unit, direction, range and the function that defines it."""
    from ..page.metric_docs import tables, written

    if write is None:
        typer.echo(tables())
    else:
        write.write_text(written(write.read_text(encoding="utf-8")), encoding="utf-8")


def kinds(name: Annotated[str, typer.Argument(help="a kind; without one, all of them")] = "") -> None:
    """Say what can be asked: the kinds of tasks, or one kind's parameters and metrics."""
    from ..kinds import all_kinds, find_kind

    if not name:
        for kind in all_kinds().values():
            typer.echo(wrapped(f"{kind.name}: {kind.about}"))
        typer.echo("\nOf one: ffbench kinds NAME")
        return
    kind = find_kind(name)
    typer.echo(wrapped(f"{kind.name}: {kind.about}", more="") + "\n\nParameters of a task:")
    for field, info in kind.module.Parameters.model_fields.items():
        default = "required" if info.is_required() else f"default {info.get_default(call_default_factory=True)!r}"
        kind_of = str(info.annotation).removeprefix("<class '").removesuffix("'>").replace("typing.", "")
        stated = kind_of.rsplit(".", 1)[-1] if "ffbench" in kind_of else kind_of
        typer.echo(wrapped(f"{field}: {stated}, {default}", "  "))
    typer.echo("\nMetrics:")
    for spec in kind.metrics:
        unit = "" if spec.unit == "1" else f" [{spec.unit}]"
        aim = "no aim" if spec.better == "neither" else f"{spec.better} is better"
        typer.echo(wrapped(f"{spec.name}: {spec.label}{unit}, {aim}", "  "))


def validate(suite: Annotated[str, typer.Argument(help="a suite's YAML file, or a shipped suite's name")]) -> None:
    """Check a suite: every row, its kind, parameters and data set."""
    from ffbench_data.datacard import card, is_path, list_datasets

    from ..suite import load_suite

    found = load_suite(suite)
    known = list_datasets()
    for task in found.tasks:
        where = f"{suite}: task {task.name!r}"
        if not is_path(task.dataset) and task.dataset not in known:
            hint = _near(task.dataset, known)
            raise ValueError(f"{where}: unknown data set {task.dataset!r}{hint} `ffbench data list`")
        try:
            of_data = card(task.dataset)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        config = of_data.configs.get(task.config or of_data.default_config)
        if config is None:
            hint = _near(str(task.config), list(of_data.configs))
            raise ValueError(f"{where}: {task.dataset} has no config {task.config!r}{hint}")
        if config.splits and task.parameters.split not in config.splits:
            raise ValueError(
                f"{where}: {task.dataset} has no split {task.parameters.split!r} in config "
                f"{task.config or of_data.default_config!r}, which has {', '.join(config.splits)}"
            )
    typer.echo(f"{found.name} {found.version}: {len(found.tasks)} tasks, no fault")


def _near(name: str, known: list[str]) -> str:
    from ffbench_data.datacard import meant

    return meant(name, known) or f"; there is {', '.join(known[:8])}{' ...' * (len(known) > 8)}"


def train(
    family: Annotated[str, typer.Argument(help="a family of reference_models")],
    dataset: Annotated[str, typer.Argument(help="name or name:config")],
    minutes: Annotated[float, typer.Option(help="budget in CPU minutes, on a GPU in minutes")] = 20.0,
    batch: Annotated[int, typer.Option(help="frames per step")] = 16,
    seed: Annotated[int, typer.Option()] = 0,
    folder: Annotated[Path | None, typer.Option(help="working folder [default: runs/train/<family>@<dataset>]")] = None,
    set: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of the family's configuration (repeatable)")] = None,
    recipe: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE of the recipe, such as max_steps=5000 (repeatable)")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="folder that holds the data sets")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda [default: a GPU if there is one]")] = None,
) -> None:
    """Train a reference family; a stopped training goes on when the command is given again."""
    from reference_models.train import Recipe, train_on

    how = Recipe.of({"minutes": minutes, "batch": batch, "seed": seed, **_pairs("--recipe", recipe)})
    changes = _pairs("--set", set)
    path = train_on(family, dataset, folder=folder, recipe=how, changes=changes, root=root, device=device)
    typer.echo(f"Checkpoint: {path}. Score it: ffbench evaluate reference_models:{path}")


def _pairs(option: str, items: list[str] | None) -> dict[str, str]:
    """{KEY: VALUE} of a repeatable option."""
    for item in items or ():
        if "=" not in item:
            raise ValueError(f"{option} {item!r}: write KEY=VALUE")
    return dict(item.split("=", 1) for item in items or ())


def suites() -> None:
    """List the shipped suites; `ffbench suite NAME` says the tasks of one."""
    from ..suite import list_suites, load_suite

    for name in list_suites():
        suite = load_suite(name)
        tasks = f"{len(suite.tasks)} task{'s' * (len(suite.tasks) > 1)}"
        typer.echo(wrapped(f"{suite.name} {suite.version}, {tasks}: {suite.description}"))
    typer.echo("\nThe tasks of one, what they cost and the data they need: ffbench suite NAME")


def doctor() -> None:
    """Say what is installed, what is missing, and what that costs."""
    from importlib import metadata, util

    import torch

    typer.echo(f"ffbench {metadata.version('ffbench') if util.find_spec('ffbench_eval') else '?'}")
    typer.echo(f"torch {torch.__version__}, {torch.get_num_threads()} threads, CUDA {torch.cuda.is_available()}")
    for module, extra, use in (
        ("openmm", "generate", "water and alanine dipeptide generators and reference potentials"),
        ("tblite", "generate", "GFN2-xTB generator and reference potential"),
        ("distributed", "dask", "--workers"),
    ):
        state = "installed" if util.find_spec(module) else f"missing: pip install 'ffbench[{extra}]'"
        typer.echo(f"{module}: {state} ({use})")
