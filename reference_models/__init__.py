"""Model families behind the contract, and the checkpoints that ship.

- `load("painn@ethanol_gfn2")`: one shipped checkpoint; `load("painn")`: all of a family, by dataset.
- `FAMILIES`: name -> function returning (config class, network class).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def _painn():
    from .painn import Config, PaiNN

    return Config, PaiNN


FAMILIES = {"painn": _painn}


def list_models() -> list[str]:
    """Names that `load` takes."""
    from .checkpoint import SHIPPED

    return sorted(path.stem for path in SHIPPED.glob("*@*.safetensors"))


def load(name: str):
    """A `ForceField` from ``family@dataset`` or a file, or a mapping {dataset: ForceField} from a bare family.

    ValueError with the known names for anything else.
    """
    from .checkpoint import SHIPPED, read

    if name.endswith(".safetensors"):
        return read(name)
    if "@" in name:
        path = SHIPPED / f"{name}.safetensors"
        if path.exists():
            return read(path)
    else:
        found: Mapping[str, Path] = {p.stem.split("@")[1]: p for p in sorted(SHIPPED.glob(f"{name}@*.safetensors"))}
        if found:
            return {dataset: read(path) for dataset, path in found.items()}
    from ffbench_data.datacard import known

    shipped = sorted({m.split("@")[0] for m in list_models()}) + list_models()
    return known(name, [s for s in shipped if s != name], "reference model")
