"""Packages of other people: what each serves, what it needs, and how their code is kept from changing this process.

- `providers()`: the rows of ``providers.yaml``, by name.
- `require("mace")`: ValueError with the one command to get it, if it is not installed.
- `guarded("mace")`: a context in which it may be imported and built; process state is put back afterwards.
- `PRETRAINED` and `pretrained("ani1x")`: models with published weights, as `ForceField`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import logging
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ffbench_data.contract import ForceField


@dataclass(frozen=True)
class Provider:
    """One package: ``package`` on the index, ``module`` to import, ``get`` the one command, what it serves and its
    ``licence``; ``changes`` is what importing it does to a process, ``environment`` the lock file it was tried in, and
    ``env`` the name of one of ``reference_models/envs`` for it alone, beside packages that do not go with it."""

    name: str
    package: str
    module: str
    version: str
    get: str
    licence: str
    families: tuple[str, ...] = ()
    pretrained: tuple[str, ...] = ()
    changes: str = ""
    environment: str = ""
    env: str = ""

    @property
    def installed(self) -> str | None:
        """The installed version, or ``None``. Imports nothing."""
        if util.find_spec(self.module) is None:
            return None
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return "unknown"


@dataclass(frozen=True)
class Published:
    """A model with published weights: where it is made (``module:function``), and its card."""

    name: str
    provider: str
    make: str
    card: dict[str, Any] = field(default_factory=dict)


@functools.cache
def _rows() -> dict[str, Any]:
    import yaml

    return yaml.safe_load((Path(__file__).parent / "providers.yaml").read_text())


@functools.cache
def providers() -> dict[str, Provider]:
    """All providers by name.

    >>> providers()["mace"].licence
    'MIT'
    """
    made = {}
    for name, row in _rows()["providers"].items():
        row = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
        made[name] = Provider(name=name, **{**row, "version": str(row["version"])})
    return made


@functools.cache
def published() -> dict[str, Published]:
    """All models with published weights by name.

    >>> published()["ani1x"].card["licence"]
    'MIT'
    """
    return {name: Published(name=name, **row) for name, row in _rows()["pretrained"].items()}


def pretrained(name: str, **settings: Any) -> ForceField:
    """The `ForceField` of ``name``, with its card. ValueError names what is unknown, or what to install."""
    from dataclasses import replace

    from ffbench_data.datacard import known

    row = published()[known(name, published(), "pretrained model")]
    require(row.provider)
    file, _, function = row.make.partition(":")
    made = getattr(importlib.import_module(f".{file}", __package__), function)(**settings)
    return replace(made, card={"name": name, **row.card, **made.card})


def require(name: str) -> Provider:
    """The provider, or ValueError with the command that installs it."""
    provider = providers()[name]
    if provider.installed is None:
        aside = f", or in an environment of its own: --env {provider.env}" if provider.env else ""
        raise ValueError(
            f"this model needs the package {provider.package}, which is not installed: {provider.get}{aside}"
        )
    return provider


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Import and build provider ``name`` in here; environment, default dtype, random states and warnings come back.

    A guard is weaker than a process of its own: what a package does later, in a call, is not undone. Nothing that was
    not already trusted may be unpickled in a process that imported a provider; checkpoints here are safetensors, and
    ``torch.load`` is always called with ``weights_only`` given.
    """
    provider = require(name)
    import numpy as np
    import torch

    environment, dtype, threads = dict(os.environ), torch.get_default_dtype(), torch.get_num_threads()
    # numpy's global state is what packages seed
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    level = logging.root.manager.disable
    sharing = torch.multiprocessing.get_sharing_strategy()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            yield
    except ImportError as error:
        raise ValueError(
            f"package {provider.package} {provider.installed} does not import ({error}); ffbench was tried with "
            f"{provider.version}: {provider.get}"
        ) from error
    finally:
        for key in set(os.environ) - set(environment):
            del os.environ[key]
        os.environ.update({k: v for k, v in environment.items() if os.environ.get(k) != v})
        logging.disable(level)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.multiprocessing.set_sharing_strategy(sharing)
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
