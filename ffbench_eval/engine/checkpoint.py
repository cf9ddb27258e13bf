"""Checkpoints of a running simulation: tensors in safetensors, the rest in its JSON metadata; atomic, two kept.

They belong to one simulation, whose `key` says what was simulated; a folder that holds another one is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ffbench_data.atomic import file_sha256, read_object, replacing, write_text

from .protocol import Protocol, Start


def save(folder: Path, step: int, tensors: dict[str, torch.Tensor], meta: dict) -> None:
    """Write ``checkpoint-<step>`` and delete all but the last two."""
    path = folder / f"checkpoint-{step:010d}.safetensors"
    cpu = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    about = {**meta, "step": step, "tensors": _digest(cpu)}
    with replacing(path) as part:
        save_file(cpu, part, metadata={"ffbench": json.dumps(about)})
    for old in sorted(folder.glob("checkpoint-*.safetensors"))[:-2]:
        old.unlink()


def latest(folder: Path) -> tuple[dict[str, torch.Tensor], dict] | None:
    """(tensors, metadata) of the newest whole checkpoint whose pieces of trajectory are whole too, or ``None``."""
    for path in sorted(folder.glob("checkpoint-*.safetensors"), reverse=True):
        try:
            with safe_open(path, "pt") as file:
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
                about = json.loads(file.metadata()["ffbench"])
            if about["tensors"] == _digest(tensors) and about["files"] == hashes(folder, about["files"]):
                return tensors, about
        except Exception:  # a torn file after a power cut: fall back to the one before
            continue
    return None


def hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """sha256 of the files in ``folder``."""
    return {name: file_sha256(folder / name) for name in names}


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class OtherSimulation(ValueError):
    """A folder holds (a part of) a simulation that differs from the one asked for."""


KEY = "simulation.json"
ENGINE_VERSION = 2  # raise it when the same key would give another trajectory


def make_key(start: Start, protocol: Protocol, seed: int, identity: str | None) -> dict[str, Any]:
    """Everything that determines a trajectory as JSON; arrays as hashes."""
    key: dict[str, Any] = {"engine": ENGINE_VERSION, "seed": seed, "replica ids": list(start.ids)}
    key |= {name: getattr(protocol, name) for name in protocol.__dataclass_fields__}
    for name in ("positions", "numbers", "masses", "cell", "pbc"):
        kind = {"numbers": np.int64, "pbc": bool}.get(name, float)
        value = np.ascontiguousarray(getattr(start, name), kind)
        key[f"start {name}"] = f"{value.shape} {hashlib.sha256(value.tobytes()).hexdigest()[:16]}"
    if (start.charge, start.spin_multiplicity) != (0, 1):  # folders of neutral singlets keep the key they have
        key |= {"start charge": start.charge, "start spin multiplicity": start.spin_multiplicity}
    if identity is not None:
        key["model"] = identity
    return json.loads(json.dumps(key, default=vars))


def claim(folder: Path, key: dict[str, Any], answer: Callable[[], dict[str, list]]) -> bool:
    """Give the folder to the simulation of ``key``; whether it was its own already.

    `OtherSimulation` names what differs. Without an identity of the model in the key its ``answer`` (energies and
    forces of the start) is compared instead, in the precision of a float32 model.
    """
    path = folder / KEY
    if not path.exists():
        left = next(iter([*folder.glob("checkpoint-*.safetensors"), *folder.glob("trajectory-*.parquet")]), None)
        if left is not None:
            raise OtherSimulation(f"{folder} holds {left.name} of an unknown simulation: empty or change the folder")
        write_text(path, json.dumps(key if "model" in key else {**key, "answer": answer()}))
        return False
    try:
        found = read_object(path)
    except ValueError:
        raise OtherSimulation(f"{path} cannot be read: empty the folder or use another one") from None
    said = found.pop("answer", None)
    differs = [
        f"{name} {_short(found.get(name))}, not {_short(key.get(name))}"
        for name in sorted({*found, *key})
        if found.get(name) != key.get(name)
    ]
    if not differs and said is not None and not _same_numbers(said, answer()):
        differs = ["a model that answers otherwise at the start"]
    if differs:
        raise OtherSimulation(
            f"{folder} holds a simulation with {'; '.join(differs)}: empty the folder or use another one"
        )
    return True


def _same_numbers(one: dict[str, list], other: dict[str, list]) -> bool:
    for name, values in one.items():
        a, b = np.array(values, float), np.array(other.get(name, []), float)
        size = max(1.0, float(np.abs(a[np.isfinite(a)]).max(initial=0)))
        if a.shape != b.shape or not np.allclose(a, b, rtol=0, atol=1e-6 * size, equal_nan=True):
            return False
    return True


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def clear(folder: Path) -> None:
    """Remove the checkpoints of a finished simulation."""
    for path in folder.glob("checkpoint-*"):
        path.unlink()
