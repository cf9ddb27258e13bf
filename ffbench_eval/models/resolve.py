"""From what a user hands in (a model, a mapping, a spec string) to models by dataset, and their cards."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from ffbench_data.contract import ForceField
from ffbench_data.datacard import known

from ..report import ModelCard
from ..words import clean
from .ase import from_ase, is_calculator
from .identity import fingerprint
from .inside import parameter_count
from .interrupts import of_the_user
from .surroundings import there
from .torchsim import from_torchsim, is_torchsim
from .tracebacks import ModelRaised

FROM_FILE = "ffbench_model_"  # modules loaded from a path get this prefix
Models = Mapping[str, ForceField] | ForceField


def resolve(model: Any, isolate: bool | None = None, env: str | None = "") -> tuple[Models, str]:
    """(a `ForceField` for every dataset, or a mapping from dataset name to `ForceField`; the spec string or "").

    ``model`` may be either of these, an ASE calculator (its class, or a function that makes one), a TorchSim model, a
    mapping to such, or a spec:
    ``reference_models:painn``, ``reference_models:painn@ethanol_gfn2``, ``path/to/file.py:function``,
    ``package.module:factory``. With ``isolate`` the model of a spec runs in a process of its own (`isolated`); by
    default where it needs a package of other people. ``env``: in another Python environment (`environments`), which the
    file of a spec may name itself (``None``: this one, whatever it names).
    """
    spec = ""
    if isinstance(model, str):
        from .environments import stated_in
        from .isolated import isolated, provider_of

        model = as_spec(model)
        env = stated_in(model) if env == "" else env
        if env and isolate is False:
            raise ValueError(f"isolate: no, and env {env!r}: another environment is another process; leave one out")
        if env:
            return isolated(model, env=env), model
        if isolate or (isolate is None and provider_of(model) is not None):
            return isolated(model), model
        spec, model = model, _from_spec(model)
    elif isolate or env:
        raise ValueError(
            f"{'env' if env else 'isolate'}: name the model by a spec, such as path/to/file.py:function; "
            "this one is already here"
        )
    if isinstance(model, Mapping):
        if not model:
            raise ValueError("model: an empty mapping; it must hold a model per data set")
        return {str(k): _one(v, f" for {k!r}") for k, v in model.items()}, spec
    return _one(model), spec


def as_spec(text: str) -> str:
    """A spec; names that `ffbench models` prints, and checkpoints, are of ``reference_models``.

    >>> as_spec("painn@ethanol_gfn2"), as_spec("runs/painn/best.safetensors"), as_spec("my_model.py:load")
    ('reference_models:painn@ethanol_gfn2', 'reference_models:runs/painn/best.safetensors', 'my_model.py:load')
    """
    if text.endswith(".safetensors") and not text.startswith("reference_models:"):
        return f"reference_models:{text}"
    place = text.partition(":")[0]
    if place.endswith(".py") or "/" in place or "." in place:
        return text
    from reference_models import list_models
    from reference_models.providers import published

    shipped = list_models()
    ours = {*shipped, *(name.partition("@")[0] for name in shipped), *published()}
    named = text in ours or text.replace(":", "-") in ours
    return f"reference_models:{text}" if named else text


def _one(model: Any, which: str = "", made: bool = False) -> ForceField:
    """A `ForceField` as it is; an ASE calculator, its class, or a TorchSim model behind the adapter; what a function
    without arguments makes of these."""
    if isinstance(model, ForceField):
        return model
    if is_calculator(model):
        return from_ase(model)
    if is_torchsim(model):
        return from_torchsim(model)
    if not made and _factory(model):
        one = model()
        return from_ase(model) if is_calculator(one) else _one(one, which, made=True)
    raise ValueError(
        f"model{which}: expected a ForceField, a mapping from dataset to ForceField, an ASE calculator or a spec "
        f"string, got {type(model).__name__}; wrap a network or function: ForceField(fn, cutoff=...) if it gives "
        "energies and forces, ForceField.from_energy(fn, cutoff=...) if energies alone"
    )


def _factory(thing: Any) -> bool:
    """Whether it is called without arguments: a function, a partial or a class, no network."""
    if not callable(thing) or isinstance(thing, torch.nn.Module):
        return False
    try:
        return not any(p.default is p.empty for p in inspect.signature(thing).parameters.values())
    except (TypeError, ValueError):
        return False


@there()
def _from_spec(spec: str) -> Any:
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(_no_spec(spec))
    if place == "reference_models":
        import reference_models

        return reference_models.load(name)
    module = _module(place, spec)
    if not hasattr(module, name):
        known(
            name, [k for k, v in vars(module).items() if not k.startswith("_") and callable(v)], "name", f" in {place}"
        )
    made = getattr(module, name)
    if isinstance(made, (ForceField, Mapping)) or (is_calculator(made) and not isinstance(made, type)):
        return made  # also a calculator of the module
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
    except BaseException as error:
        if of_the_user(error):
            raise
        raise ModelRaised(f"model {spec!r}: {name}() raised", error) from error


def _no_spec(text: str) -> str:
    """What to write instead of something that names no model: the shipped name that was meant, a file's function."""
    from difflib import get_close_matches

    from reference_models import list_models

    near = get_close_matches(text, list_models(), 1, 0.75)
    if near:
        return f"unknown model {text!r}; did you mean {near[0]!r}? `ffbench models` lists those shipped"
    if text.endswith(".py"):
        return f"model {text!r}: which function of it? Write {text}:NAME"
    return f"model {text!r} is not a spec: write path/to/file.py:function or package.module:factory"


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
    except BaseException as error:
        if of_the_user(error):
            raise
        raise ModelRaised(f"model {spec!r}: {path.name} does not import", error) from error
    return module


def for_dataset(models: Models, dataset: str, config: str | None) -> ForceField | None:
    """The model to use on a dataset, or ``None`` if a mapping has none for it."""
    if isinstance(models, ForceField):
        return models
    return models.get(f"{dataset}:{config}") or models.get(dataset)


def card(model: ForceField, spec: str = "") -> ModelCard:
    """The report's model card: what the model states. ValueError, one line, for a field of the wrong type.

    >>> card(ForceField(lambda batch: None, None, card={"name": "m", "parameters": "about 3M"}))
    Traceback (most recent call last):
    ...
    ValueError: card of model 'm': parameters is 'about 3M', which is no valid integer
    """
    own = ("fingerprint", "answers", "spec")
    stated = {k: _text(v) for k, v in model.card.items() if k in ModelCard.model_fields and k not in own}
    stated["name"] = clean(model.name)
    if "parameters" not in stated:
        stated["parameters"] = parameter_count(model.fn)
    try:
        return ModelCard(
            **stated,
            spec=clean(spec),
            conservative=model.conservative,
            cutoff_angstrom=model.cutoff,
            elements=None if model.elements is None else list(model.elements),
            dtype=str(model.dtype).removeprefix("torch."),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where, what = ".".join(map(str, first["loc"])), first["type"].split("_")[0]
        kind = {"int": "integer", "bool": "true or false", "string": "text"}.get(what, what)
        raise ValueError(
            f"card of model {clean(model.name)!r}: {where} is {repr(first['input'])[:80]}, which is no valid {kind}"
        ) from None


def cards(models: Models, spec: str = "") -> dict[str, ModelCard]:
    """The card of every model, by the name it is given under (``""`` for the only one)."""
    by_name = models if isinstance(models, Mapping) else {"": models}
    return {key: card(model, spec) for key, model in by_name.items()}


def _text(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def known_as(card: ModelCard, stated: str, answers: Mapping[str, Any], common: str = "") -> ModelCard:
    """The card with the model's identity: `identity.fingerprint` and its answers, to nine digits."""
    rows = {k: [[float(f"{v:.9g}") for v in row] for row in kept] for k, kept in answers.items()}
    return card.model_copy(update={"fingerprint": fingerprint(stated, rows, common), "answers": rows})


def name_of(models: Models) -> str:
    """The one name of a model, or of all models of a mapping."""
    if isinstance(models, ForceField):
        return models.name
    names = {m.name for m in models.values()}
    return names.pop() if len(names) == 1 else "+".join(sorted(names))
