"""Train a family on a dataset: energies and forces, one process, a budget in CPU minutes.

python -m reference_models.train painn ethanol_gfn2 --minutes 20 --out painn@ethanol_gfn2.safetensors
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ffbench_data.contract import AtomsBatch, ForceField
from ffbench_data.frames import Frames, collate
from ffbench_data.neighbors import with_edges

from . import FAMILIES
from . import checkpoint as files
from .scaled import Scaled, fit_scale_and_shift, force_field


@dataclass(frozen=True)
class Recipe:
    """``minutes`` of CPU time (not wall time, so that a busy machine does not change the result's quality), batch of
    ``batch`` frames, peak learning rate, weight of the energy per atom against the force, decay of the average."""

    minutes: float = 20.0
    batch: int = 16
    learning_rate: float = 2e-3
    energy_weight: float = 0.2
    ema: float = 0.999
    seed: int = 0
    validate_every: int = 500
    max_steps: int = 10**9


class Batches:
    """Random batches of frames with their edges, which are computed once per frame."""

    def __init__(self, frames: Frames, cutoff: float):
        self.frames, self.cutoff = frames, cutoff
        self.cache: dict[int, AtomsBatch] = {}

    def __call__(self, rows: Iterable[int]) -> tuple[AtomsBatch, torch.Tensor, torch.Tensor]:
        """(batch in float32, energy [B] float64, forces [A, 3] float32)."""
        one = [self._frame(int(r)) for r in rows]
        sizes = torch.tensor([len(b.positions) for b in one])
        starts = torch.cumsum(sizes, 0) - sizes
        shifts = [b.edge_shift for b in one if b.edge_shift is not None]
        indices = [b.edge_index + s for b, s in zip(one, starts) if b.edge_index is not None]
        batch = AtomsBatch(
            positions=torch.cat([b.positions for b in one]),
            atomic_numbers=torch.cat([b.atomic_numbers for b in one]),
            system_index=torch.repeat_interleave(torch.arange(len(one)), sizes),
            cell=torch.cat([b.cell for b in one]),
            pbc=torch.cat([b.pbc for b in one]),
            edge_index=torch.cat(indices, dim=1),
            edge_shift=torch.cat(shifts) if shifts else None,
        )
        frames = [self.frames[int(r)] for r in rows]
        energy = torch.tensor([f.energy for f in frames], dtype=torch.float64)
        forces = torch.from_numpy(np.concatenate([f.forces for f in frames]))
        return batch, energy, forces

    def _frame(self, row: int) -> AtomsBatch:
        if row not in self.cache:
            self.cache[row] = with_edges(collate(self.frames, indices=[row]), self.cutoff).to(dtype=torch.float32)
        return self.cache[row]


def train(
    family: str,
    config: Any,
    training: Frames,
    validation: Frames,
    *,
    folder: Path,
    recipe: Recipe | None = None,
    card: dict[str, Any] | None = None,
    callbacks: Iterable[Callable[[int, ForceField], dict[str, float] | None]] = (),
    log: Callable[[str], None] = print,
) -> ForceField:
    """Fit ``family`` with ``config``; returns the averaged model with the lowest validation error.

    ``folder`` gets ``best.safetensors``, ``curve.json`` (learning curve) and ``state.safetensors``; a killed training
    continues from the last validation. ``callbacks(step, model)`` run at every validation; what they return joins
    the curve.
    """
    recipe = recipe or Recipe()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    config_class, network_class = FAMILIES[family]()
    config = config or config_class()
    scale, shift = fit_scale_and_shift(training.atomic_numbers, training.offsets, training.energy, training.forces)
    module = Scaled(network_class(config), scale, shift).train()
    averaged = copy.deepcopy(module).eval()
    elements = sorted({int(z) for z in np.unique(training.atomic_numbers)})
    card = {"name": family, "family": family, "version": "1", **(card or {})}
    optimizer = torch.optim.AdamW(module.parameters(), lr=recipe.learning_rate, weight_decay=1e-6)
    batches, check = Batches(training, config.cutoff), Batches(validation, config.cutoff)
    curve: list[dict[str, float]] = []
    step, spent, best = _resume(folder, module, averaged, optimizer, curve)
    budget = 60 * recipe.minutes
    began = time.process_time() - spent
    losses: list[float] = []

    while spent < budget and step < recipe.max_steps:
        done = min(1.0, max(spent / budget, step / recipe.max_steps))
        warm = min(1.0, (step + 1) / 200)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
        rows = np.random.default_rng([recipe.seed, step]).integers(len(training), size=recipe.batch)
        batch, energy, forces = batches(rows)
        out = module(batch)
        off = (out.energy - energy) / batch.n_atoms / module.scale
        loss = (out.forces - forces).square().sum(-1).add(1e-12).sqrt().mean() / float(module.scale)
        loss = loss + recipe.energy_weight * off.square().add(1e-12).sqrt().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 10.0)
        optimizer.step()
        decay = min(recipe.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), list(module.parameters()), 1 - decay)
        losses.append(float(loss.detach()))
        step += 1
        spent = time.process_time() - began
        if step % recipe.validate_every == 0 or spent >= budget or step >= recipe.max_steps:
            force_mae, energy_mae = _validate(averaged, check)
            row = {"step": step, "minutes": spent / 60, "loss": float(np.mean(losses)), "force_mae": force_mae}
            row["energy_mae"] = energy_mae
            losses.clear()
            for callback in callbacks:
                view = force_field(copy.deepcopy(averaged), cutoff=config.cutoff, elements=elements, card=card)
                row |= callback(step, view) or {}
            curve.append(row)
            log(
                f"{family}: {spent / 60:.1f} of {recipe.minutes:g} CPU min, step {step}, loss {row['loss']:.4f}, "
                f"validation MAE: force {1000 * force_mae:.1f} meV/A, energy {1000 * energy_mae:.1f} meV"
            )
            if force_mae < best:
                best = force_mae
                about = {**card, "parameters": sum(p.numel() for p in module.parameters())}
                files.save(folder / "best.safetensors", family, config, averaged, elements=elements, card=about)
            _save_state(folder, module, averaged, optimizer, curve, step, spent, best)
    return files.read(folder / "best.safetensors")


def _validate(module: Scaled, batches: Batches) -> tuple[float, float]:
    total, count, off = 0.0, 0, 0.0
    for start in range(0, len(batches.frames), 16):
        rows = range(start, min(start + 16, len(batches.frames)))
        batch, energy, forces = batches(rows)
        out = module(batch)
        total += float((out.forces - forces).abs().sum())
        count += forces.numel()
        off += float((out.energy - energy).abs().sum())
    return total / count, off / len(batches.frames)


def _save_state(folder, module, averaged, optimizer, curve, step, spent, best) -> None:
    tensors = {f"model.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in averaged.state_dict().items()}
    for k, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{k}.{name}": torch.as_tensor(value) for name, value in state.items()}
    part = folder / "state.part"
    from safetensors.torch import save_file

    save_file({k: v.detach().clone() for k, v in tensors.items()}, part,
              metadata={"ffbench": json.dumps({"step": step, "spent": spent, "best": best})})  # fmt: skip
    os.replace(part, folder / "state.safetensors")
    (folder / "curve.json").write_text(json.dumps(curve, indent=1))


def _resume(folder, module, averaged, optimizer, curve) -> tuple[int, float, float]:
    path = folder / "state.safetensors"
    if not path.exists():
        return 0, 0.0, math.inf
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["ffbench"])
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    module.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    averaged.load_state_dict({k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")})
    state: dict[int, dict] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    curve += json.loads((folder / "curve.json").read_text())
    return about["step"], about["spent"], about["best"]


def train_on(
    family: str,
    dataset: str,
    *,
    folder: Path | None = None,
    recipe: Recipe | None = None,
    changes: Mapping[str, str] | None = None,
) -> Path:
    """Train ``family`` on the splits train and val of ``dataset`` (``name`` or ``name:config``); returns its file.

    ``changes`` sets fields of the family's configuration, as text. ValueError names what is unknown.
    """
    from ffbench_data import card as dataset_card
    from ffbench_data import load_frames
    from ffbench_data.datacard import known, parse_name

    config_class, _ = FAMILIES[known(family, FAMILIES, "family")]()
    default = config_class()
    for key in changes or {}:
        known(key, vars(default), "setting", f" of {family}")
    config = replace(default, **{k: type(getattr(default, k))(v) for k, v in (changes or {}).items()})
    name, subset = parse_name(dataset)
    training, validation = (load_frames(name, subset, split) for split in ("train", "val"))
    about = dataset_card(name)
    card = {
        "training_data": f"{dataset} {about.version}, split train ({len(training)} frames)",
        "theory": about.theory,
        "licence": "MIT",
        "seen_test_data": False,
    }
    folder = folder or Path("runs/train") / f"{family}@{dataset.replace(':', '-')}"
    train(family, config, training, validation, folder=folder, recipe=recipe, card=card)
    return folder / "best.safetensors"
