"""What can be seen inside a model's function: its torch modules, its ASE calculators, and a hash of their numbers."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

DEPTH, MOST = 8, 5000
PATHS = ("label", "directory", "command", "restart", "atoms")  # of an ASE calculator: where it works, not what it says


def modules_in(fn: Any) -> list[torch.nn.Module]:
    """The outermost torch modules that ``fn`` reaches: itself, in closures, bound objects, attributes and globals."""
    found = [thing for thing in _reached(fn) if isinstance(thing, torch.nn.Module)]
    inner = {id(m) for module in found for m in module.modules() if m is not module}
    return [module for module in found if id(module) not in inner]


def parameter_count(fn: Any) -> int | None:
    """Numbers in the weights of all modules that ``fn`` reaches; ``None`` if there are none: then nobody knows."""
    weights = {id(p): p.numel() for module in modules_in(fn) for p in module.parameters() if _ready(p)}
    return sum(weights.values()) or None


def contents(fn: Any) -> str:
    """A hash of the weights of modules and of the parameters of ASE calculators that ``fn`` reaches; "" if none.

    Buffers are left out: models write into them. Where they matter, the answers tell.
    """
    digest, any_ = hashlib.sha256(), False
    for module in modules_in(fn):
        for name, value in sorted(module.named_parameters()):
            if _ready(value):
                any_ = True
                digest.update(name.encode())
                raw = value.detach().cpu().contiguous().flatten()
                digest.update(raw.view(torch.uint8).numpy().tobytes())
    for thing in _reached(fn):
        if hasattr(thing, "get_potential_energy") and isinstance(getattr(thing, "parameters", None), Mapping):
            stated = {str(k): _plain(v) for k, v in thing.parameters.items() if k not in PATHS}
            stated = {k: v for k, v in stated.items() if v is not None}
            any_ = any_ or bool(stated)
            digest.update(json.dumps(stated, sort_keys=True).encode())
    return digest.hexdigest()[:16] if any_ else ""


def _ready(parameter: torch.Tensor) -> bool:
    return not isinstance(parameter, torch.nn.parameter.UninitializedParameter) and parameter.device.type != "meta"


def _plain(value: Any) -> Any:
    """A JSON value, or ``None`` for what has no plain form (and may change its text from process to process)."""
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist() if np.asarray(value).dtype != object else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None


def _reached(start: Any) -> Iterator[Any]:
    """``start`` and what it holds, each once, nearest first; of modules and libraries only their surface."""
    seen: set[int] = set()
    layer = [start]
    for _ in range(DEPTH):
        following: list[Any] = []
        for thing in layer:
            if id(thing) in seen or len(seen) > MOST or isinstance(thing, (str, bytes, int, float, torch.Tensor)):
                continue
            seen.add(id(thing))
            yield thing
            following += _held(thing)
        layer = following


def _held(thing: Any) -> list[Any]:
    if isinstance(thing, torch.nn.Module):
        return [v for k, v in vars(thing).items() if not k.startswith("_")] + list(thing._modules.values())
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if inspect.ismethod(thing):
        return [thing.__self__, thing.__func__]
    if inspect.isfunction(thing):
        cells = [c.cell_contents for c in thing.__closure__ or () if _filled(c)]
        names = [thing.__globals__.get(name) for name in thing.__code__.co_names]
        return cells + [v for v in names if _own(v, thing)] + list(thing.__defaults__ or ())
    if isinstance(thing, Mapping):
        return list(thing.values())
    if isinstance(thing, (list, tuple)):
        return list(thing)
    if isinstance(thing, type) or inspect.ismodule(thing):
        return []
    return list(getattr(thing, "__dict__", {}).values())


def _own(value: Any, function: Any) -> bool:
    """Globals of the function's file that may hold its numbers: modules, calculators, its other functions."""
    if isinstance(value, torch.nn.Module) or hasattr(value, "get_potential_energy"):
        return not isinstance(value, type)
    return inspect.isfunction(value) and value.__module__ == function.__module__


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
