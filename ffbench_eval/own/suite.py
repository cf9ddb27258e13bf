"""From files, a folder or a name to the suite that fits them, and that suite as YAML."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ffbench_data.datacard import is_path, list_datasets, shipped_datasets
from ffbench_data.own.options import Options

from ..suite import Suite, suite_of
from .rows import suite_rows


def suite_for(data: str | Path | Sequence[str | Path], *, tasks: list[str] | None = None, **options: Any) -> Suite:
    """The suite that your own data allow: ``data`` is the name or folder of a data set made by `ffbench data add`, or
    files, which are sealed in the cache; ``options`` are those of `ffbench_data.own.Options`.

    >>> report = evaluate(model, suite_for("my.extxyz", temperature="300"))  # doctest: +SKIP
    """
    raw = rows_for([data] if isinstance(data, (str, Path)) else list(data), Options(**options))
    return suite_of(raw, Path.cwd() / "suite.yaml", tasks=tasks)


def rows_for(data: Sequence[str | Path], options: Options) -> dict[str, Any]:
    """The same suite as YAML has it."""
    return rows_of(sealed(data, options))


def rows_of(dataset: str) -> dict[str, Any]:
    """The same of a data set that is sealed."""
    from ffbench_data.load import dataset_folder, read_manifest
    from ffbench_data.own.facts import read_facts, said_of

    folder = dataset_folder(dataset)
    manifest = read_manifest(folder)
    return suite_rows(manifest["name"], manifest["version"], dataset, read_facts(dataset), said_of(folder))


def sealed(data: Sequence[str | Path], options: Options) -> str:
    """How a task names the data: the name or folder of a data set as it is, or the folder in the cache that files were
    sealed in. ValueError says what is wrong with them."""
    from ffbench_data.load import cache_folder
    from ffbench_data.own.seal import add, seal_of
    from ffbench_data.store import MANIFEST

    first = str(data[0])
    if len(data) == 1 and not Path(first).is_file():
        named = first in list_datasets() and not is_path(first)
        if named or (Path(first).expanduser() / MANIFEST).is_file():
            if options.said():
                told = ", ".join(f"--{k.replace('_', '-')}" for k in options.said())
                raise ValueError(f"--data {first} is sealed already: give {told} to `ffbench data add`")
            if first in shipped_datasets():
                raise ValueError(f"--data {first}: comes with ffbench; take a suite that has it (`ffbench suites`)")
            return first if named else str(Path(first).expanduser())
    key = seal_of(data, options) or hashlib.sha256("|".join(map(str, data)).encode()).hexdigest()
    name = called(first)
    folder = add(name, data, options, out=cache_folder() / "files" / key[:12])
    return str(folder)


def called(path: str) -> str:
    """A name from that of a file.

    >>> called("runs/My water.extxyz"), called("colabfit/3BPA"), called("water.xyz")
    ('My_water', '3BPA', 'my_water')
    """
    stem = re.sub(r"\.(gz|bz2|xz)$", "", Path(path.rstrip("/")).name)
    stem = re.sub(r"\.[A-Za-z0-9]{1,8}$", "", stem) or stem
    name = re.sub(r"[^A-Za-z0-9_\-]+", "_", stem).strip("_-") or "data"
    return f"my_{name}" if name in shipped_datasets() else name


def as_yaml(rows: dict[str, Any]) -> str:
    """A suite to keep and edit."""
    head = (
        "# Edit and run: ffbench evaluate MODEL --suite THIS_FILE. Longer runs, more replicas: length_ps, replicas.\n"
    )
    return head + yaml.safe_dump(rows, sort_keys=False, width=110, allow_unicode=True)
