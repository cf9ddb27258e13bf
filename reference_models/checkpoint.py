"""Checkpoints: safetensors with the configuration as JSON in the metadata. No pickles."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ffbench_data.contract import ForceField

FORMAT = 1
SHIPPED = Path(__file__).parent / "checkpoints"


def save(path: Path, family: str, config: Any, module: torch.nn.Module, *, elements, card: dict[str, Any]) -> None:
    """Write ``module`` (a `Scaled`) with what is needed to build it again; atomic."""
    about = {
        "format": FORMAT,
        "family": family,
        "config": dataclasses.asdict(config),
        "elements": [int(z) for z in elements],
        "card": card,
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    tensors = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    save_file(tensors, part, metadata={"ffbench": json.dumps(about)})
    os.replace(part, path)


def read(path: str | Path) -> ForceField:
    """The model in a checkpoint. ValueError for a missing, damaged or foreign file, naming the fix."""
    from . import FAMILIES
    from .scaled import Scaled, force_field

    path = Path(path)
    if not path.exists():
        raise ValueError(f"checkpoint {path} does not exist; train it with `ffbench train`")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("ffbench", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"checkpoint {path} is damaged ({error}); copy or train it again") from None
    if not about:
        raise ValueError(f"checkpoint {path} was not written by ffbench: it carries no configuration")
    if about["format"] != FORMAT:
        raise ValueError(f"checkpoint {path} has format {about['format']}, this ffbench reads {FORMAT}; train it again")
    family = about["family"]
    if family not in FAMILIES:
        raise ValueError(
            f"checkpoint {path} is of family {family!r}, which this ffbench does not have: {sorted(FAMILIES)}"
        )
    config_class, network_class = FAMILIES[family]()
    module = Scaled(network_class(config_class(**about["config"])))
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"checkpoint {path} does not fit family {family!r}: {str(error).splitlines()[0]}") from None
    return force_field(module, cutoff=about["config"]["cutoff"], elements=about["elements"], card=about["card"])
