"""What a suite asks, without a model: its tasks, how much they ask one for, and the data they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from ffbench_data.terminal import wrapped

from ..suite import Suite, Task, load_suite
from .data import load_task_data


@dataclass(frozen=True)
class Cost:
    """``structures`` of ``atoms`` atoms on average that a model is asked about, in ``calls`` one after the other."""

    structures: int
    atoms: int
    calls: int


@dataclass(frozen=True)
class Told:
    """``cost`` is None where the data are not on this machine; ``missing`` says how to get them."""

    task: Task
    data: str
    cost: Cost | None
    missing: str = ""


def tell(suite: Suite) -> list[Told]:
    """Every task of a suite, with the cost for a model that answers batches and covers all elements."""
    return [_told(task) for task in suite.tasks]


def _told(task: Task) -> Told:
    from ffbench_data.contract import ForceField

    name = f"{task.data_name}{f':{task.config}' if task.config else ''}, {task.parameters.split}"
    try:
        data = load_task_data(task)
    except (ValueError, OSError) as error:
        return Told(task, name, None, str(error).splitlines()[0])
    model = ForceField(lambda batch: batch, cutoff=5.0, card={"name": "any"})
    structures = calls = 0.0
    for inputs in task.kind.plan(task, data, 0):
        together, times = task.kind.module.calls(task, inputs, data, model)
        structures, calls = structures + together * times, calls + max(1.0, times)
    atoms = round(float(data.frames.n_atoms[:].mean()))
    return Told(task, name, Cost(round(structures), atoms, round(calls)))


def many(count: int) -> str:
    """
    >>> many(840), many(20_000), many(1_234_567)
    ('840', '20 000', '1.2 million')
    """
    return f"{count / 1e6:.2g} million" if count >= 1e6 else f"{count:,}".replace(",", " ")


def command(suite: Annotated[str, typer.Argument(help="suite name or YAML file")]) -> None:
    """Say what a suite asks: its tasks, how many structures they ask a model for, and the data they need."""
    found = load_suite(suite)
    typer.echo(wrapped(f"{found.name} {found.version}: {found.description}", more=""))
    told, said = tell(found), set()
    for one in told:
        task, cost = one.task, one.cost
        typer.echo("\n" + wrapped(f"{task.name}: {task.title}{' (indicative)' if task.indicative else ''}"))
        about = "" if task.kind.name in said else f". {task.kind.about}"
        typer.echo(wrapped(f"asks: {task.kind.name}{about}", "  "))
        said.add(task.kind.name)
        typer.echo(wrapped(f"data: {one.data}{'' if cost else f'; not here: {one.missing}'}", "  "))
        if cost:
            asked = f"{many(cost.structures)} structures of {cost.atoms} atoms in {many(cost.calls)} calls"
            typer.echo(wrapped(f"cost: {asked}", "  "))
    missing = sum(one.cost is None for one in told)
    typer.echo(f"\nIn seconds, for your model on this machine: ffbench plan MODEL --suite {suite}")
    if missing:
        typer.echo(f"Of {len(told)} tasks {missing} lack their data and would be left out.")
