"""Model families behind the contract, and the checkpoints that ship.

- `load("painn@ethanol_gfn2")`: one shipped checkpoint; `load("painn")`: all of a family, by dataset;
  `load("zero")`, `load("truth@water")`, ...: the controls.
- `build("schnet")`, `build({"family": "painn", "features": 32})`: an untrained network.
- `FAMILIES`: the families here, name -> module and network class; `all_families()` also those of other packages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from ffbench_data.contract import ForceField

    from .providers import Provider

FAMILIES = {  # module and network class
    "painn": ("painn", "PaiNN"),
    "schnet": ("schnet", "SchNet"),
    "deeppot_se": ("deeppot_se", "DeepPotSE"),
    "transformer": ("transformer", "Transformer"),
    "forcenet": ("forcenet", "ForceNet"),
    "botnet": ("botnet", "BOTNet"),
    "nequip": ("providers.nequip", "NequIP"),
    "allegro": ("providers.allegro", "Allegro"),
    "mace": ("providers.mace", "MACE"),
    "et": ("providers.et", "ET"),
    "dimenet": ("providers.dimenet", "DimeNet"),
    "gemnet_t": ("providers.gemnet", "GemNet"),
    "gemnet_dt": ("providers.gemnet", "GemNetDirect"),
    "equiformer": ("providers.equiformer", "Equiformer"),
}


def all_families() -> dict[str, tuple[str, str]]:
    """Module and network class of every family, also of installed packages that name theirs under the entry point
    ``ffbench.families`` (``name = "package.module:Network"``).

    >>> "schnet" in all_families()
    True
    """
    from importlib.metadata import entry_points

    return {e.name: (e.module, e.attr) for e in entry_points(group="ffbench.families")} | FAMILIES


def family(name: str) -> tuple[Any, Any, Any]:
    """(configuration class, network class, configuration of the published size) of a family. ValueError with the
    nearest name for one that is not known.

    >>> family("painn")[1].__name__
    'PaiNN'
    """
    import importlib

    from ffbench_data.datacard import known

    families = all_families()
    file, network = families[known(name, families, "family")]
    module = importlib.import_module(f".{file}" if name in FAMILIES else file, __package__)
    return module.Config, getattr(module, network), module.PAPER


def configuration(name: str, preset: str = "small", **fields: Any) -> Any:
    """The configuration of family ``name``: preset ``small`` (the default) or ``paper``, with ``fields`` changed.

    Text values (from a command line) are converted to the field's type. ValueError names what is unknown.

    >>> configuration("schnet", layers="2").layers
    2
    """
    from dataclasses import replace

    from ffbench_data.datacard import known

    config_class, _, paper = family(name)
    default = {"small": config_class(), "paper": paper}[known(preset, ("small", "paper"), "preset")]
    for key in fields:
        known(key, vars(default), "setting", f" of {name}")
    try:
        made = replace(default, **{k: _converted(v, getattr(default, k)) for k, v in fields.items()})
        if not 0 < made.cutoff < float("inf"):
            raise ValueError("cutoff must be a positive number of Angstrom")
        return made
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings {fields} of {name}: {error}") from None


def _converted(value: Any, like: Any) -> Any:
    if not isinstance(value, str) or isinstance(like, str):
        value = tuple(value) if isinstance(value, list) else value
        fits = (int, float) if isinstance(like, float) else object if like is None else type(like)
        if not isinstance(value, fits) or isinstance(value, bool) != isinstance(like, bool):
            raise ValueError(f"{value!r} must be of type {type(like).__name__}")
        return value
    if isinstance(like, bool):
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{value!r} must be true or false")
        return value.lower() == "true"
    if isinstance(like, tuple):
        return tuple(int(v) for v in value.split(",") if v)
    return type(like)(value)


def build(
    config: str | Mapping[str, Any],
    *,
    elements: Iterable[int] | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> ForceField:
    """An untrained `ForceField` (energies in eV around 0), the same for the same ``seed``.

    ``config`` is a family (``"schnet"``), a family and a preset (``"schnet:paper"``), or a mapping with ``family``,
    optional ``preset`` and fields of its configuration. ``elements`` are the atomic numbers it is meant for.

    >>> model = build({"family": "painn", "features": 16, "layers": 1})
    >>> model.cutoff
    5.0
    """
    import torch

    from .scaled import Scaled, force_field

    if isinstance(config, str):
        name, _, preset = config.partition(":")
        config = {"family": name, "preset": preset or "small"}
    settings = dict(config)
    if "family" not in settings:
        raise ValueError(f"config {settings} names no family: add 'family', one of {', '.join(all_families())}")
    name = settings.pop("family")
    made = configuration(name, **settings)
    if elements is not None and hasattr(made, "elements") and not made.elements:
        made = configuration(name, **{**settings, "elements": tuple(sorted(int(z) for z in elements))})
    _, network, _ = family(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Scaled(network(made))
    elements = elements or getattr(made, "elements", None) or None
    parameters = sum(p.numel() for p in module.parameters())
    card = {"name": name, "family": name, "version": "untrained", "parameters": parameters}
    return force_field(module, cutoff=made.cutoff, elements=elements, card=card, dtype=dtype or torch.float32)


def list_models() -> list[str]:
    """Names of shipped checkpoints and ensembles.

    >>> "painn@ethanol_gfn2" in list_models()
    True
    """
    from .checkpoint import SHIPPED

    return sorted(path.stem for path in SHIPPED.glob("*@*") if path.suffix in (".safetensors", ".json"))


def load(name: str) -> Any:
    """A `ForceField` from ``family@dataset`` or a file, or a mapping {dataset: ForceField} from a bare family.

    In ``family@dataset:config`` the colon may be written as a hyphen, as in the file's name. ValueError with the
    known names for anything else.

    >>> load("painn@ethanol_gfn2").elements
    (1, 6, 8)
    """
    from .checkpoint import read

    if name.endswith(".safetensors"):
        return read(name)
    from .controls import CONTROLS, control

    if name.partition("@")[0] in CONTROLS:
        return control(name)
    from .providers import pretrained, published

    if name in published():
        return pretrained(name)
    names = list_models()
    file = name.replace(":", "-")
    if file in names:
        return _shipped(file)
    found = {m.split("@")[1].replace("-", ":", 1): m for m in names if m.split("@")[0] == name}
    if found:
        return {dataset: _shipped(m) for dataset, m in found.items()}
    from ffbench_data.datacard import known

    of, _, dataset = name.partition("@")
    there = [m.partition("@")[2] for m in names if m.partition("@")[0] == of]
    if dataset and there:  # a name near to it would be of other data
        raise ValueError(
            f"reference model {name!r}: {of} is shipped for {', '.join(there)} only; train it on yours, `ffbench train "
            f"{of} {dataset}`, and give the path of the checkpoint"
        )
    short = [*sorted({m.split("@")[0] for m in names}), *CONTROLS, *published()]
    return known(name, short, "reference model", also=names)


def provider(name: str) -> Provider | None:
    """The `Provider` of the package that model ``name`` needs, or ``None``. Imports no package.

    >>> provider("mace@ethanol_gfn2").package
    'mace-torch'
    """
    from .providers import providers, published

    if name in published():
        return providers()[published()[name].provider]
    made_of = name.partition("@")[0]
    if name.endswith(".safetensors"):
        from .checkpoint import read_tensors

        try:
            made_of = read_tensors(name)[0].get("family", "")
        except ValueError:  # told where it is loaded
            return None
    return next((p for p in providers().values() if made_of in p.families), None)


def _shipped(name: str):
    """A checkpoint, or the ensemble of the checkpoints that a JSON list names."""
    import json
    from dataclasses import replace

    from .checkpoint import SHIPPED, read
    from .scaled import ensemble

    listed, called = SHIPPED / f"{name}.json", {"name": name.split("@")[0]}
    if not listed.exists():
        model = read(SHIPPED / f"{name}.safetensors")
        return replace(model, card={**model.card, **called})
    members = [_shipped(member) for member in json.loads(listed.read_text())]
    parameters = sum(member.card["parameters"] for member in members)
    return ensemble(members, card={**members[0].card, **called, "parameters": parameters})
