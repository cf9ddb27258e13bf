"""From what a user hands in (a model, a mapping, a spec string) to models by dataset, and their cards."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ffbench_data.contract import ForceField
from ffbench_data.datacard import known

from .report import ModelCard

FROM_FILE = "ffbench_model_"  # modules loaded from a path get this prefix
Models = Mapping[str, ForceField] | ForceField


def resolve(model: Any, isolate: bool | None = None) -> tuple[Models, str]:
    """(a `ForceField` for every dataset, or a mapping from dataset name to `ForceField`; the spec string or "").

    ``model`` may be either of these, an ASE calculator, or a spec: ``reference_models:painn``,
    ``reference_models:painn@ethanol_gfn2``, ``path/to/file.py:function``, ``package.module:factory``. With ``isolate``
    the model of a spec runs in a process of its own (`isolated`); by default where it needs a package of other people.
    """
    spec = ""
    if isinstance(model, str):
        from .isolated import isolated, provider_of

        if isolate or (isolate is None and provider_of(model) is not None):
            return isolated(model), model
        spec, model = model, _from_spec(model)
    elif isolate:
        raise ValueError(
            "isolate: name the model by a spec, such as path/to/file.py:function; this one is already here"
        )
    if isinstance(model, Mapping):
        wrong = [k for k, v in model.items() if not isinstance(v, ForceField)]
        if wrong or not model:
            raise ValueError(
                f"model: a mapping must hold a ForceField per dataset, not so for {wrong or 'an empty one'}"
            )
        return dict(model), spec
    if isinstance(model, ForceField):
        return model, spec
    if hasattr(model, "get_potential_energy"):
        from .adapters import from_ase

        return from_ase(model), spec
    raise ValueError(
        f"model: expected a ForceField, a mapping from dataset to ForceField, an ASE calculator or a spec string, "
        f"got {type(model).__name__}; wrap a function with ForceField.from_energy(fn, cutoff=...)"
    )


def _from_spec(spec: str) -> Any:
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"model {spec!r} is not a spec: write path/to/file.py:function or package.module:factory")
    if place == "reference_models":
        import reference_models

        return reference_models.load(name)
    module = _module(place, spec)
    if not hasattr(module, name):
        known(
            name, [k for k, v in vars(module).items() if not k.startswith("_") and callable(v)], "name", f" in {place}"
        )
    made = getattr(module, name)
    if isinstance(made, (ForceField, Mapping)):
        return made
    if not callable(made):
        raise ValueError(f"model {spec!r}: {name} must be a function that returns a ForceField")
    needed = [p.name for p in inspect.signature(made).parameters.values() if p.default is p.empty and p.kind < 2]
    if needed:
        raise ValueError(
            f"model {spec!r}: {name}({', '.join(needed)}) needs arguments; a factory takes none and returns a "
            "ForceField (ForceField.from_energy makes one from an energy function)"
        )
    try:
        return made()
    except Exception as error:
        raise ValueError(f"model {spec!r}: {name}() raised {type(error).__name__}: {error}") from error


def _module(place: str, spec: str):
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ImportError as error:
            raise ValueError(f"model {spec!r}: cannot import {place}: {error}") from error
    path = Path(place).resolve()
    if not path.exists():
        raise ValueError(f"model {spec!r}: no file {path}")
    loaded = importlib.util.spec_from_file_location(f"{FROM_FILE}{path.stem}", path)
    if loaded is None or loaded.loader is None:
        raise ValueError(f"model {spec!r}: {path.name} is not a Python file")
    module = importlib.util.module_from_spec(loaded)
    sys.modules[loaded.name] = module
    try:
        loaded.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"model {spec!r}: {path.name} does not import: {type(error).__name__}: {error}") from error
    return module


def for_dataset(models: Models, dataset: str, config: str | None) -> ForceField | None:
    """The model to use on a dataset, or ``None`` if a mapping has none for it."""
    if isinstance(models, ForceField):
        return models
    return models.get(f"{dataset}:{config}") or models.get(dataset)


def card(model: ForceField, spec: str = "") -> ModelCard:
    """The report's model card: what the model states, and a fingerprint of its weights."""
    stated = {k: v for k, v in model.card.items() if k in ModelCard.model_fields and k not in ("fingerprint", "spec")}
    stated.setdefault("name", model.name)
    if isinstance(model.fn, torch.nn.Module):
        stated.setdefault("parameters", sum(p.numel() for p in model.fn.parameters()))
    return ModelCard(
        **stated,
        spec=spec,
        conservative=model.conservative,
        cutoff_angstrom=model.cutoff,
        elements=None if model.elements is None else list(model.elements),
        dtype=str(model.dtype).removeprefix("torch."),
        fingerprint=fingerprint(model),
    )


def fingerprint(model: ForceField) -> str:
    """A short hash of the weights and of what the model states; models without weights are told apart by their card."""
    if isinstance(getattr(model.fn, "fingerprint", None), str):  # it lives in another process, which worked it out
        return model.fn.fingerprint  # type: ignore[attr-defined]
    digest = hashlib.sha256(repr((model.name, model.cutoff, model.dtype, model.conservative)).encode())
    digest.update(repr(sorted((str(k), str(v)) for k, v in model.card.items())).encode())
    if isinstance(model.fn, torch.nn.Module):
        for name, value in sorted(model.fn.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
