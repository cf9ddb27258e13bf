"""Train a family on a dataset: energies and forces, one process, a budget in minutes.

ffbench train painn ethanol_gfn2 --minutes 20 --recipe max_steps=5000
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from ffbench_data.atomic import replacing, write_text
from ffbench_data.contract import AtomsBatch, ForceField, Prediction
from ffbench_data.frames import Frames, collate
from ffbench_data.neighbors import edges

from . import checkpoint as files
from . import configuration, family
from .scaled import Scaled, fit_scale_and_shift, force_field

LEARNING_RATE = 2e-3  # of families whose network does not name its own


@dataclass(frozen=True)
class Recipe:
    """How to train.

    ``minutes`` of CPU time (not wall time, so that a busy machine does not change the result's quality; on a GPU wall
    time), batches of ``batch`` frames, peak learning rate (the family's own unless given), weight of the energy per
    atom against the force, decay of the weight average.

    ``schedule`` of the learning rate: ``cosine`` over the budget, or ``plateau`` (halved after ``patience``
    validations without a better force error). Training stops early after ``stop_after`` such validations.

    With ``max_steps`` the schedule follows the steps, and the same seed gives the same weights, bit for bit, also
    after a resume; without it the number of steps is what the machine does in the time.
    """

    minutes: float = 20.0
    batch: int = 16
    learning_rate: float | None = None
    energy_weight: float = 0.2
    ema: float = 0.999
    seed: int = 0
    validate_every: int = 500
    max_steps: int | None = None
    schedule: str = "cosine"
    patience: int = 8
    stop_after: int = 40

    def __post_init__(self):
        if self.schedule not in ("cosine", "plateau"):
            raise ValueError(f"schedule must be 'cosine' or 'plateau', got {self.schedule!r}")
        for name in ("minutes", "batch", "learning_rate", "validate_every"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")

    @classmethod
    def of(cls, text: Mapping[str, Any]) -> Recipe:
        """A recipe from fields as text, as a command line has them. ValueError names what is unknown or no number.

        >>> Recipe.of({"minutes": "5", "max_steps": "100"}).max_steps
        100
        """
        from ffbench_data.datacard import known
        from ffbench_data.strict_yaml import told

        for name in text:
            known(name, cls.__dataclass_fields__, "field of the recipe")
        try:
            return TypeAdapter(cls).validate_python(dict(text))
        except ValidationError as error:
            raise ValueError(f"recipe: {told(error.errors()[0])}") from None

    def progress(self, step: int, spent: float) -> float:
        """Part of the budget used, from 0 to 1."""
        return min(1.0, spent / (60 * self.minutes) if self.max_steps is None else step / self.max_steps)

    def rate(self, step: int, spent: float, errors: list[float]) -> float:
        """Learning rate of the next step; ``errors`` are the force errors of the validations so far."""
        peak = self.learning_rate or LEARNING_RATE
        warm = min(1.0, (step + 1) / 200)
        if self.schedule == "plateau":
            return peak * warm * 0.5 ** _plateaus(errors, self.patience)
        return peak * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.progress(step, spent))))


def _plateaus(errors: list[float], patience: int) -> int:
    """How often ``patience`` values in a row brought no new minimum."""
    best, waited, count = math.inf, 0, 0
    for error in errors:
        best, waited = (error, 0) if error < best else (best, waited + 1)
        if waited == patience:
            waited, count = 0, count + 1
    return count


class Batches:
    """Batches of rows of ``frames`` on ``device``, with half edge lists that are computed once per frame."""

    def __init__(self, frames: Frames, cutoff: float, device: torch.device | str = "cpu"):
        if len(frames) == 0:
            raise ValueError("no frames to train or validate on: the split is empty")
        self.frames, self.cutoff, self.device = frames, cutoff, device
        self.periodic = bool(frames.pbc.any())
        self.sizes = np.asarray(frames.n_atoms)
        self.positions = frames.positions.astype(np.float32)
        self.numbers = frames.atomic_numbers.astype(np.int64)
        self.edges: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}

    def __len__(self) -> int:
        return len(self.frames)

    def __call__(self, rows: Iterable[int]) -> tuple[AtomsBatch, torch.Tensor, torch.Tensor]:
        """(batch in float32 with paired edges, energy [B] float64, forces [A, 3] float32)."""
        rows = np.asarray(rows)
        sizes, offsets = self.sizes[rows], self.frames.offsets
        starts = np.cumsum(sizes) - sizes
        atoms = np.repeat(offsets[rows] - starts, sizes) + np.arange(sizes.sum())
        one = [self.edges.get(r) or self._edges(r) for r in rows.tolist()]
        counts = np.array([half.shape[1] for half, _ in one])
        half = np.concatenate([half for half, _ in one], axis=1) + np.repeat(starts, counts)
        shift = None
        if self.periodic:
            s = np.concatenate([s for _, s in one if s is not None])
            shift = torch.from_numpy(np.concatenate([s, -s]).astype(np.int64))
        batch = AtomsBatch(
            positions=torch.from_numpy(self.positions[atoms]),
            atomic_numbers=torch.from_numpy(self.numbers[atoms]),
            system_index=torch.from_numpy(np.repeat(np.arange(len(rows)), sizes)),
            cell=torch.from_numpy(self.frames.cell[rows].astype(np.float32)),
            pbc=torch.from_numpy(self.frames.pbc[rows]),
            edge_index=torch.from_numpy(np.concatenate([half, half[::-1]], axis=1)),
            edge_shift=shift,
            paired=True,
        )
        energy = torch.from_numpy(self.frames.energy[rows].astype(np.float64))
        forces = torch.from_numpy(self.frames.forces[atoms].astype(np.float32))
        return batch.to(device=self.device), energy.to(self.device), forces.to(self.device)

    def _edges(self, row: int) -> tuple[np.ndarray, np.ndarray | None]:
        index, shift = edges(collate(self.frames, indices=[row]), self.cutoff)
        (i, j), s = index.numpy(), None if shift is None else shift.numpy()
        # Of the two directions the one with i < j; of an atom and its own image the one with a positive shift.
        keep = i < j if s is None else (i < j) | ((i == j) & (np.sign(s) @ [9, 3, 1] > 0))
        half = np.stack([i[keep], j[keep]]).astype(np.int32), None if s is None else s[keep].astype(np.int8)
        if s is None and self.periodic:
            half = half[0], np.zeros((half[0].shape[1], 3), np.int8)
        self.edges[row] = half
        return half


def train(
    family_name: str,
    config: Any,
    training: Frames,
    validation: Frames,
    *,
    folder: Path,
    recipe: Recipe | None = None,
    card: dict[str, Any] | None = None,
    callbacks: Iterable[Callable[[int, ForceField], dict[str, float] | None]] = (),
    device: str | None = None,
    log: Callable[[str], None] = print,
) -> ForceField:
    """Fit ``family_name`` with ``config``; returns the averaged model with the lowest validation error, on the CPU.

    ``device``: ``"cuda"``, ``"cpu"``; default: a GPU if there is one.

    ``folder`` gets ``best.safetensors``, ``curve.json`` (learning curve) and ``state.safetensors``; a killed training
    continues from the last validation. ``callbacks(step, model)`` run at every validation; what they return joins
    the curve. ValueError if ``folder`` holds a training with another configuration, or no frame has labels.
    """
    for split, frames in (("training", training), ("validation", validation)):
        if np.isnan(frames.energy).all() and np.isnan(frames.forces).all():
            raise ValueError(f"{family_name}: no {split} frame has an energy or forces: all are NaN")
        if np.isnan(frames.forces).all():  # the scale of the network and the choice of the best step rest on them
            raise ValueError(f"{family_name}: no {split} frame has forces: energies alone are not enough here")
    recipe = recipe or Recipe()
    own_rate = getattr(family(family_name)[1], "learning_rate", LEARNING_RATE)
    recipe = replace(recipe, learning_rate=recipe.learning_rate or own_rate)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    clock = time.process_time if where.type == "cpu" else time.perf_counter
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    elements = sorted({int(z) for z in np.unique(training.atomic_numbers)})
    config = config or configuration(family_name)
    if hasattr(config, "elements") and not config.elements:
        config = replace(config, elements=tuple(elements))
    began = clock()
    batches, check = Batches(training, config.cutoff, where), Batches(validation, config.cutoff, where)
    scale, shift = fit_scale_and_shift(training.atomic_numbers, training.offsets, training.energy, training.forces)

    def network_like(model: Scaled | None = None) -> Scaled:  # not all networks can be copied: some hold compiled code
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            made = Scaled(family(family_name)[1](config), scale, shift).to(where)
        if model is not None:
            made.load_state_dict(model.state_dict())
        return made

    module = network_like().train()
    network: Any = module.network
    if hasattr(network, "calibrate"):
        network.calibrate(batches(np.linspace(0, len(batches) - 1, min(64, len(batches))).astype(int))[0])
    _take_out_the_mean(module, batches)
    averaged = network_like(module).eval()
    parameters: list[Tensor] = list(module.parameters())
    averages: list[Tensor] = list(averaged.parameters())
    card = {"name": family_name, "family": family_name, "version": "1", **(card or {})}
    card["parameters"] = sum(p.numel() for p in parameters)
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate or own_rate, weight_decay=1e-6, fused=True)
    plan = {"family": family_name, "config": asdict(config), "recipe": asdict(recipe), "frames": len(training)}
    plan = json.loads(json.dumps(plan))
    curve: list[dict[str, float]] = []
    step, spent = _resume(folder, plan, module, averaged, optimizer, curve)
    began -= spent
    errors = [row["force_mae"] for row in curve]
    done = recipe.progress(step, spent) >= 1 or _waited(errors) >= recipe.stop_after
    losses = torch.zeros((), device=where)

    while not done:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, spent, errors)
        rows = np.random.default_rng([recipe.seed, step]).integers(len(batches), size=recipe.batch)
        batch, energy, forces = batches(rows)
        out = module(batch)
        off = (out.energy - energy) / batch.n_atoms / module.scale
        told = torch.isfinite(forces).all(-1, keepdim=True)  # some sources have energies only
        wrong = torch.where(told, out.forces - forces, torch.zeros_like(forces))
        loss = wrong.square().sum(-1).add(1e-12).sqrt().mean() / module.scale
        known = torch.isfinite(energy)  # some sources have forces only
        off = torch.where(known, off, torch.zeros_like(off))
        loss = loss + recipe.energy_weight * off.square().add(1e-12).sqrt().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, 1 - min(recipe.ema, (1 + step) / (10 + step)))
        losses = losses + loss.detach()
        step += 1
        spent = clock() - began
        done = recipe.progress(step, spent) >= 1
        if step % recipe.validate_every and not done:
            continue
        force_mae, energy_mae = validate(averaged, check)
        if not math.isfinite(force_mae):
            raise ValueError(f"{family_name}: the training diverged at step {step}; lower learning_rate")
        since = step - (int(curve[-1]["step"]) if curve else 0)
        row = {"step": step, "minutes": round((clock() - began) / 60, 4), "loss": float(losses) / since,
               "learning_rate": optimizer.param_groups[0]["lr"], "force_mae": force_mae,
               "energy_mae": energy_mae}  # fmt: skip
        losses = torch.zeros((), device=where)
        for callback in callbacks:
            twin = network_like(averaged).eval()
            view = force_field(twin, cutoff=config.cutoff, elements=elements, card=card).to(where)
            row |= callback(step, view) or {}
        curve.append(row)
        errors.append(force_mae)
        done = done or _waited(errors) >= recipe.stop_after
        of = f"{recipe.minutes:g} CPU min" if recipe.max_steps is None else f"{recipe.max_steps} steps"
        log(
            f"{family_name}: {spent / 60:.1f} min, step {step} (of {of}), loss {row['loss']:.4f}, "
            f"validation MAE: force {1000 * force_mae:.1f} meV/A, energy {1000 * energy_mae:.1f} meV"
        )
        if force_mae <= min(errors):
            used = {"cpu_minutes" if where.type == "cpu" else "gpu_minutes": round(spent / 60, 2)}
            about = {**card, "training": {"steps": step, **used, **asdict(recipe)}}
            files.save(folder / "best.safetensors", family_name, config, averaged, elements=elements, card=about)
        spent = clock() - began
        _save_state(folder, plan, module, averaged, optimizer, curve, step, spent)
    return files.read(folder / "best.safetensors")


def _take_out_the_mean(module: Scaled, batches: Batches, frames: int = 16) -> None:
    """Shift the elements so that an untrained network answers on average what the elements alone explain.

    Its answers are about any number: tenths of an eV per atom, over a hundred eV for a box of water, which short
    trainings do not get rid of.
    """
    known = np.flatnonzero(np.isfinite(batches.frames.energy))
    if not len(known):
        return
    rows = np.unique(known[np.linspace(0, len(known) - 1, frames).astype(int)])
    numbers = [batches.frames[int(row)].atomic_numbers.astype(np.int64) for row in rows]
    elements = np.unique(np.concatenate(numbers))
    counts = np.array([[(z == e).sum() for e in elements] for z in numbers], float)
    training, shift = module.training, module.shift.clone()
    module.eval()
    module.shift.zero_()
    own = np.array([float(module(batches([row])[0]).energy) for row in rows])
    module.train(training)
    per_element, *_ = np.linalg.lstsq(counts, own, rcond=None)
    shift[torch.from_numpy(elements)] -= torch.from_numpy(per_element).to(shift)
    module.shift.copy_(shift)


def _waited(errors: list[float]) -> int:
    """Validations since the lowest error."""
    return len(errors) - 1 - int(np.argmin(errors)) if errors else 0


def validate(module: Callable[[AtomsBatch], Prediction], batches: Batches) -> tuple[float, float]:
    """(mean absolute error of a force component in eV/Angstrom, of the total energy in eV) over all frames."""
    total, count, off, known = 0.0, 0, 0.0, 0
    for start in range(0, len(batches), 16):
        batch, energy, forces = batches(range(start, min(start + 16, len(batches))))
        out = module(batch)
        given = torch.isfinite(forces)
        total += float((out.forces - forces)[given].abs().sum())
        count += int(given.sum())
        labelled = torch.isfinite(energy)
        off += float((out.energy - energy)[labelled].abs().sum())
        known += int(labelled.sum())
    return total / max(count, 1), off / max(known, 1)


def _save_state(
    folder: Path,
    plan: dict[str, Any],
    module: torch.nn.Module,
    averaged: Any,
    optimizer: torch.optim.Optimizer,
    curve: list,
    step: int,
    spent: float,
) -> None:
    from safetensors.torch import save_file

    tensors = {f"model.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in averaged.state_dict().items()}
    for k, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{k}.{name}": torch.as_tensor(value) for name, value in state.items()}
    about = {"plan": plan, "step": step, "spent": spent, "curve": curve}
    copies = {k: v.detach().cpu().clone() for k, v in tensors.items()}
    with replacing(folder / "state.safetensors") as part:
        save_file(copies, part, metadata={"ffbench": json.dumps(about)})
    write_text(folder / "curve.json", json.dumps({**plan, "curve": curve}, indent=1))


def _resume(
    folder: Path, plan: Any, module: torch.nn.Module, averaged: Any, optimizer: torch.optim.Optimizer, curve: list
) -> tuple[int, float]:
    path = folder / "state.safetensors"
    if not path.exists():
        return 0, 0.0
    about, tensors = files.read_tensors(path)
    if about.get("plan") != plan:
        before = about.get("plan") or {}
        changed = [k for k in plan if plan[k] != before.get(k)]
        raise ValueError(f"folder {folder} holds a training with another {' and '.join(changed)}: use another folder")
    module.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    averaged.load_state_dict({k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")})
    state: dict[int, dict] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    curve += about["curve"]
    return about["step"], about["spent"]


def train_on(
    family_name: str,
    dataset: str,
    *,
    name: str | None = None,
    folder: Path | None = None,
    recipe: Recipe | None = None,
    changes: Mapping[str, str] | None = None,
    root: str | Path | None = None,
    device: str | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Train ``family_name`` on the splits train and val of ``dataset`` (``name`` or ``name:config``); returns its file.

    ``changes`` sets fields of the family's configuration (``preset`` chooses ``small`` or ``paper``), as text;
    ``name`` is what the model is called (the family's name if not given), ``root`` where the dataset lies; ``device``
    as in `train`. ValueError names what is unknown.
    """
    from ffbench_data import card as dataset_card
    from ffbench_data import load_frames
    from ffbench_data.datacard import parse_name

    config = configuration(family_name, **dict(changes or {}))
    source, subset = parse_name(dataset)
    training, validation = (load_frames(source, subset, split, root=root) for split in ("train", "val"))
    about = dataset_card(source, root=root)
    dataset = f"{about.name}:{subset}" if subset else about.name
    card = {
        "name": name or family_name,
        "training_data": f"{dataset} {about.version}, split train ({len(training)} frames)",
        "theory": about.theory,
        "licence": "MIT",
        "seen_test_data": False,
    }
    folder = folder or Path("runs/train") / f"{family_name}@{dataset.replace(':', '-')}"
    train(family_name, config, training, validation, folder=folder, recipe=recipe, card=card, device=device, log=log)
    return folder / "best.safetensors"
