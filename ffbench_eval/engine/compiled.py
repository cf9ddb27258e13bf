"""From a tensor function to machine code: trace, AOTInductor, a cache of artefacts by hash."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench_data.atomic import file_sha256, write_text
from ffbench_data.cache import user_cache

from .forces import last_line

log = logging.getLogger("ffbench.engine")
Tensors = tuple[Tensor, ...]


class CannotCompile(ValueError):
    """compile='require' asked for a form that this model or machine does not have: unsupported, nobody's fault."""


class NotCompilable(Exception):
    """Why a function cannot be compiled here, in one line."""


def trace(function: Callable[..., Tensors], arguments: Sequence[Tensor]) -> torch.fx.GraphModule:
    """The function as a graph of fixed shapes, derivatives included.

    Traced without values, so that a function which looks at one (a list whose length depends on the positions)
    raises `NotCompilable` instead of being frozen at the first one.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    try:
        with torch.no_grad():
            return make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)
    except Exception as error:  # whatever a foreign model raises on tensors without values
        raise NotCompilable(f"the model cannot be traced: {last_line(error)}") from error


def artefact(graph: torch.fx.GraphModule, arguments: Sequence[Tensor], folder: Path | None = None) -> Path:
    """Where the compiled graph is or will be: a name from its code, weights, shapes, torch and processor."""
    digest = hashlib.blake2b(digest_size=16)
    about = [graph.code, torch.__version__, str(torch.get_num_threads()), _processor()]
    about += [f"{tuple(a.shape)} {a.dtype} {a.device}" for a in arguments]
    for part in about:
        digest.update(part.encode())
    constants = {**graph.state_dict(), **{k: v for k, v in vars(graph).items() if isinstance(v, Tensor)}}
    for name in sorted(constants):
        value = constants[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return (folder or cache_folder()) / f"{digest.hexdigest()}.pt2"


def build(graph: torch.fx.GraphModule, arguments: Sequence[Tensor], path: Path) -> Callable[..., Tensors]:
    """Load ``path``, made first if it is not there, and made again if it is damaged. NotCompilable when the compiler is
    missing or fails."""
    loaded = _loaded(path) if path.exists() else None
    if loaded is None:
        path.unlink(missing_ok=True)
        _made(graph, arguments, path)
        loaded = _loaded(path)
    if loaded is None:
        raise NotCompilable(f"{path.name} cannot be loaded")

    def call(*values: Tensor) -> Tensors:
        with torch.no_grad():
            return tuple(loaded(*values))

    return call


def _loaded(path: Path) -> Callable[..., Any] | None:
    """The compiled function, ``None`` if the file is none or is not the one that was written."""
    try:
        if _seal(path).read_text() != file_sha256(path):
            return None
        return torch._inductor.aoti_load_package(str(path))
    except Exception as error:
        log.warning("%s cannot be loaded and is made again: %s", path.name, last_line(error))
        return None


def _made(graph: torch.fx.GraphModule, arguments: Sequence[Tensor], path: Path) -> None:
    if compiler() is None:
        raise NotCompilable("no C++ compiler (g++ or clang++) was found")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        part = Path(scratch) / "part.pt2"
        try:
            program = torch.export.export(_Flat(graph), tuple(arguments), strict=False)
            torch._inductor.aoti_compile_and_package(program, package_path=str(part))
        except Exception as error:
            raise NotCompilable(f"the compiler failed: {last_line(error)}") from error
        write_text(_seal(path), file_sha256(part))  # before the artefact: one without is made again
        os.replace(part, path)


def _seal(path: Path) -> Path:
    """The hash of an artefact: a damaged one may end the process that loads it, so it is compared before."""
    return path.with_suffix(".sha256")


def compiler() -> str | None:
    """The C++ compiler that would be used."""
    names = [name for name in (os.environ.get("CXX"), "g++", "clang++") if name]
    return next((found for name in names if (found := shutil.which(name))), None)


def cache_folder() -> Path:
    """Compiled artefacts: ``compiled`` under FFBENCH_CACHE or the user's cache folder."""
    return user_cache("FFBENCH_CACHE") / "compiled"


class _Flat(torch.nn.Module):
    """The graph as a module that answers with a tuple."""

    def __init__(self, graph: torch.fx.GraphModule):
        super().__init__()
        self.traced = graph

    def forward(self, *values: Tensor) -> Tensors:
        return tuple(self.traced(*values))


def _processor() -> str:
    """The machine code is made for this processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    except OSError:
        return platform.platform() + platform.processor()
