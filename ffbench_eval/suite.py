"""Suites: named, versioned lists of tasks in ``ffbench_eval/suites/*.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffbench_data import strict_yaml
from ffbench_data.datacard import is_path, known, parse_name

from .kinds import Kind, find_kind

SUITES = Path(__file__).parent / "suites"


@dataclass(frozen=True)
class Task:
    """One question put to a model: a task kind and its checked parameters."""

    name: str
    kind: Kind
    version: str
    title: str
    dataset: str
    config: str | None
    parameters: Any  # the kind's pydantic model
    indicative: bool = False
    note: str = ""

    @property
    def data_name(self) -> str:
        """What the data set is called, also where it is given by its folder."""
        from ffbench_data.load import name_of

        return name_of(self.dataset)


@dataclass(frozen=True)
class Suite:
    name: str
    version: str
    description: str
    tasks: tuple[Task, ...]


def list_suites() -> list[str]:
    """Names of the shipped suites.

    >>> "mini" in list_suites()
    True
    """
    return sorted(p.stem for p in SUITES.glob("*.yaml"))


def load_suite(name: str | Path, *, tasks: list[str] | None = None) -> Suite:
    """A shipped suite by name, or one from a YAML file; ``tasks`` keeps only those named.

    ValueError for an unknown suite or task (with the nearest name) and for a parameter that the kind does not know.

    >>> [task.kind.name for task in load_suite("mini", tasks=["ethanol_accuracy"]).tasks]
    ['accuracy']
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else SUITES / f"{name}.yaml"
    if not path.exists():
        if path == Path(name):
            raise ValueError(f"suite {name}: no such file; shipped are {', '.join(list_suites())}")
        known(str(name), list_suites(), "suite")
    raw, places = strict_yaml.read(path)
    return suite_of(raw, path, tasks=tasks, places=places)


def suite_of(
    raw: Any, path: Path, *, tasks: list[str] | None = None, places: strict_yaml.Places | None = None
) -> Suite:
    """The suite that the YAML of ``path`` holds; folders of data sets and files of kinds count from there.

    ValueError, one line: what is wrong, in which task, and its line of the file where ``places`` know it.
    """

    def at(*key: str) -> str:
        line = (places or {}).get(key)
        return f"{path}, line {line}" if line else str(path)

    raw = strict_yaml.mapping(raw, f"{path}: a suite")
    for key in ("name", "version", "tasks"):
        if key not in raw:
            raise ValueError(f"{path}: {key} is missing; a suite has name, version and tasks")
    rows = strict_yaml.mapping(raw["tasks"], f"{at('tasks')}: tasks")
    if not rows:
        raise ValueError(f"{at('tasks')}: tasks is empty")
    for wanted in tasks or []:
        known(wanted, rows, "task", f" of suite {raw['name']}")
    chosen = {k: v for k, v in rows.items() if not tasks or k in tasks}
    made = []
    for task, row in chosen.items():
        where = f"{at('tasks', task)}: task {task!r}"
        made.append(_task(path, task, dict(strict_yaml.mapping(row, where)), where))
    return Suite(str(raw["name"]), str(raw["version"]), str(raw.get("description", "")), tuple(made))


def _task(path: Path, name: str, row: dict, where: str) -> Task:
    from pydantic import ValidationError

    for key in ("kind", "dataset"):
        if not isinstance(row.get(key), str):
            raise ValueError(f"{where}: {key} is missing" if row.get(key) is None else f"{where}: {key} must be text")
    try:
        kind = find_kind(row.pop("kind"), path.parent)
        dataset, config = parse_name(row.pop("dataset"))
        if is_path(dataset):
            dataset = str((path.parent / Path(dataset).expanduser()).resolve())
        about = {k: row.pop(k) for k in ("version", "title", "indicative", "note") if k in row}
        parameters = kind.module.Parameters.model_validate(row)
    except ValidationError as error:
        raise ValueError(f"{where}: {'; '.join(dict.fromkeys(map(strict_yaml.told, error.errors())))}") from None
    except ValueError as error:
        raise ValueError(f"{where}: {' '.join(str(error).split())}") from None
    except Exception as error:  # the file of a kind
        raise ValueError(f"{where}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(about.get("indicative", False), bool):
        raise ValueError(f"{where}: indicative must be true or false")
    return Task(
        name=name,
        kind=kind,
        version=str(about.get("version", "1")),
        title=str(about.get("title", name)),
        dataset=dataset,
        config=config,
        parameters=parameters,
        indicative=about.get("indicative", False),
        note=str(about.get("note", "")),
    )
