"""Checkpoints of a running simulation: tensors in safetensors, the rest in its JSON metadata; atomic, two kept."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def save(folder: Path, step: int, tensors: dict[str, torch.Tensor], meta: dict) -> None:
    """Write ``checkpoint-<step>`` and delete all but the last two."""
    path = folder / f"checkpoint-{step:010d}.safetensors"
    part = path.with_suffix(".part")
    cpu = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    save_file(cpu, part, metadata={"ffbench": json.dumps({**meta, "step": step})})
    os.replace(part, path)
    for old in sorted(folder.glob("checkpoint-*.safetensors"))[:-2]:
        old.unlink()


def latest(folder: Path) -> tuple[dict[str, torch.Tensor], dict] | None:
    """(tensors, metadata) of the newest readable checkpoint, or ``None``."""
    for path in sorted(folder.glob("checkpoint-*.safetensors"), reverse=True):
        try:
            with safe_open(path, "pt") as file:
                return {k: file.get_tensor(k) for k in file.keys()}, json.loads(file.metadata()["ffbench"])  # noqa: SIM118
        except Exception:  # a torn file after a power cut: fall back to the one before
            continue
    return None


def clear(folder: Path) -> None:
    """Remove the checkpoints of a finished simulation."""
    for path in folder.glob("checkpoint-*"):
        path.unlink()
