"""Checkpoints: safetensors with the configuration as JSON in the metadata. No pickles."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open
from safetensors.torch import save_file

from ffbench_data.atomic import replacing
from ffbench_data.contract import ForceField
from ffbench_data.strict_yaml import told

FORMAT = 1
SHIPPED = Path(__file__).parent / "checkpoints"
MOST_MEMBERS = 1000
SMALL = 1000  # a whole number of a configuration up to here says nothing of a file; a larger one needs its weights


class About(BaseModel):
    """What `save` writes beside the tensors."""

    model_config = ConfigDict(strict=True)

    format: int
    family: str
    config: dict[str, Any]
    elements: Annotated[list[Annotated[int, Field(ge=1, le=118)]], Field(max_length=118)]
    card: dict[str, Any]
    members: int = Field(0, ge=0, le=MOST_MEMBERS)


def save(path: Path, family: str, config: Any, module: Any, *, elements: Iterable[int], card: dict[str, Any]) -> None:
    """Write ``module`` (a `Scaled`, or an `Ensemble` of them) with what is needed to build it again; atomic."""
    about = {
        "format": FORMAT,
        "family": family,
        "config": dataclasses.asdict(config),
        "elements": [int(z) for z in elements],
        "card": card,
        "members": len(getattr(module, "members", ())),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    with replacing(path) as part:
        save_file(tensors, part, metadata={"ffbench": json.dumps(about)})


def read(path: str | Path) -> ForceField:
    """The model in a checkpoint. ValueError for a missing, damaged or foreign file, naming the fix."""
    from . import all_families, configuration
    from . import family as parts_of
    from .scaled import Ensemble, Scaled, force_field

    path = Path(path)
    stated, tensors = read_tensors(path)
    if stated.get("format") != FORMAT:
        raise ValueError(
            f"checkpoint {path} has format {stated.get('format')}, this ffbench reads {FORMAT}; train it again"
        )
    try:
        about = About.model_validate(stated)
    except ValidationError as error:
        raise ValueError(f"checkpoint {path} is damaged ({told(error.errors()[0])}); copy or train it again") from None
    family = about.family
    if family not in all_families():
        raise ValueError(
            f"checkpoint {path} is of family {family!r}, which this ffbench does not have "
            f"({', '.join(sorted(all_families()))}): update ffbench, or train it again"
        )
    try:
        config = configuration(family, **about.config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"checkpoint {path} is of another version of {family!r} ({error}); train it again") from None
    weights = sum(t.numel() for t in tensors.values())
    large = next((k for k, v in about.config.items() if isinstance(v, int) and v > max(SMALL, weights)), None)
    if large is not None or about.members > len(tensors):
        what = f"{large} is {about.config[large]}" if large else f"{about.members} members"
        raise ValueError(f"checkpoint {path} is damaged ({what}, but it has {weights} weights); copy or train it again")
    _, network, _ = parts_of(family)
    try:
        with torch.random.fork_rng(devices=[]):
            count = about.members
            module = Ensemble(Scaled(network(config)) for _ in range(count)) if count else Scaled(network(config))
    except ValueError as error:  # a package that the family needs, or a value it refuses
        raise ValueError(f"checkpoint {path}: {' '.join(str(error).split())}") from None
    except Exception as error:  # values that no network of this family can have
        said = " ".join(str(error).split())[:200]
        raise ValueError(
            f"checkpoint {path} is damaged (no {family!r} can be made of its settings: {type(error).__name__}: "
            f"{said}); copy or train it again"
        ) from None
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:200]
        raise ValueError(f"checkpoint {path} does not fit family {family!r} ({said}); train it again") from None
    return force_field(module, cutoff=config.cutoff, elements=about.elements, card=about.card)


def read_tensors(path: str | Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """(what `save` wrote about the file, its tensors), without building the model."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"checkpoint {path} does not exist; train it with `ffbench train`")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("ffbench", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # what bytes make of a parser: no list of its exceptions is complete
        said = " ".join(str(error).split())[:200]
        raise ValueError(f"checkpoint {path} is damaged ({said}); copy or train it again") from None
    if not isinstance(about, dict) or not about:
        raise ValueError(f"checkpoint {path} was not written by ffbench: it carries no configuration")
    return about, tensors


def join(paths: list[Path], out: Path) -> None:
    """An ensemble checkpoint ``out`` from checkpoints of one family and configuration."""
    from . import configuration
    from .scaled import ensemble

    members = [read(p) for p in paths]  # first: what is damaged is said there
    abouts = [read_tensors(p)[0] for p in paths]
    family, config = abouts[0]["family"], abouts[0]["config"]
    odd = [str(p) for p, a in zip(paths, abouts) if (a["family"], a["config"]) != (family, config)]
    if odd:
        raise ValueError(f"members of an ensemble must share family and configuration, not so {odd[0]}")
    whole = ensemble(members)
    save(out, family, configuration(family, **config), whole.fn, elements=whole.elements or (), card=dict(whole.card))
