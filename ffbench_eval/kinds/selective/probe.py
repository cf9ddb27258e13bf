"""PROBE: a small attention network on frozen per-atom embeddings that says how far an answer can be trusted."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator
from torch import Tensor

from ffbench_data.atomic import replacing

from ..base import Progress
from . import features
from .cases import Cases
from .network import ProbeNetwork
from .simple import checked_labels

FORMAT = 2  # 1 had an activation after the last layer norm of the atoms
FAR = 10.0  # standard deviations at which the energy input is cut: beyond training it must not take over


@dataclass(frozen=True)
class Settings:
    """How a probe is trained. The paper's are ``learning_rate=5e-5`` and many epochs on 10^5 structures; on hundreds
    or thousands the same network needs larger steps."""

    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    batch_size: int = 32
    max_epochs: int = 100
    patience: int = 12
    clip: float = 1.0
    seed: int = 0


class About(BaseModel):
    """What `Probe.save` writes beside the weights: how the inputs were made."""

    model_config = ConfigDict(strict=True)

    format: int
    charges: bool
    energy_input: str
    dimensions: int = Field(ge=1, le=1_000_000)
    level: Literal["structure", "atom"]
    elements: list[int]
    shares: list[FiniteFloat]
    energy: list[FiniteFloat] = Field(min_length=2, max_length=2)
    size: list[FiniteFloat] = Field(min_length=2, max_length=2)
    embedding: list[list[FiniteFloat]] = Field(min_length=2, max_length=2)

    @model_validator(mode="after")
    def fits(self) -> About:
        if len(self.shares) != len(self.elements):
            raise ValueError("shares must have one number per element")
        if any(len(row) != self.dimensions for row in self.embedding):
            raise ValueError("embedding must have one number per dimension")
        return self


class Probe:
    """Fit on labelled `Cases` of data the model never saw; ``score`` is p(reliable) in [0, 1].

    The network is the published one (see `ProbeNetwork`); cross-entropy over sqrt(N atoms), AdamW, a learning rate
    that falls on plateaus, gradients clipped, early stopping on an inner 10 % of the training groups. Repairs: total
    energies of hundreds of eV are an input, so they enter without the elements' shares, standardised and cut at 10
    standard deviations (``energy="raw"``: as published), embeddings are standardised, and steps and batches are those
    of `Settings`.

    ``settings`` are the fields of `Settings`; ``device`` is where it is trained and asked. Training is deterministic
    on one machine's CPU.

    ValueError: cases without embedding or labels, labels of one class, another width than at the fit.

    Source: Mehdi, Cho and Isayev, arXiv:2605.00640 (2026).

    >>> probe = Probe().fit(train)  # doctest: +SKIP
    >>> probe.score(new)  # doctest: +SKIP
    array([0.93, 0.12])
    """

    probability = True

    def __init__(self, *, charges: bool = False, energy: str = "standardised", device: Any = "cpu", **settings: Any):
        if energy not in ("standardised", "raw"):
            raise ValueError(f"energy must be 'standardised' or 'raw', got {energy!r}")
        try:
            self.settings = Settings(**settings)
        except TypeError:
            unknown = sorted(set(settings) - set(asdict(Settings())))
            raise ValueError(f"unknown settings {unknown}: there are {', '.join(asdict(Settings()))}") from None
        self.charges, self.energy, self.device = charges, energy, torch.device(device)
        self.network: ProbeNetwork | None = None
        self.about: dict[str, Any] = {}
        self.history: list[dict[str, float]] = []

    def fit(self, train: Cases, progress: Progress = lambda _: None) -> Probe:
        """Train; ``train.group`` keeps groups together in the inner split for early stopping."""
        failed = checked_labels(train)
        x = _embedding(train)
        elements, shares = features.element_energies(train)
        mean, spread = features.standardised(x)
        rest = train.energy - features.counts(train, elements) @ shares
        n = train.n_atoms.astype(float)
        self.about = {
            "dimensions": x.shape[1],
            "level": train.level,
            "elements": elements.tolist(),
            "shares": shares.tolist(),
            "energy": [float(rest.mean()), float(rest.std()) or 1.0],
            "size": [float(n.mean()), float(n.std()) or 1.0],
            "embedding": [mean.tolist(), spread.tolist()],
        }
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.settings.seed)
            network = ProbeNetwork(x.shape[1], charges=self.charges, level=train.level).to(self.device)
            self.network = network
            self.history = _train(network, self._inputs(train), failed, _inner(train), self.settings, progress)
        return self

    def score(self, cases: Cases) -> np.ndarray:
        """p(reliable) [n]: of structures, or of atoms if fitted at level atom."""
        return self._run(cases, importance=False)

    def importance(self, cases: Cases) -> np.ndarray:
        """The share of attention each atom receives [A], summing to 1 in each structure."""
        return self._run(cases, importance=True)

    def _run(self, cases: Cases, *, importance: bool) -> np.ndarray:
        if self.network is None:
            raise ValueError("the probe is not fitted: call fit(train) or Probe.load(path) first")
        self.network.eval()
        inputs = self._inputs(cases)
        out = []
        with torch.no_grad():
            for rows in np.array_split(np.arange(len(cases)), -(-len(cases) // 256)):
                part, mask = _batch(inputs, rows)
                logits, attention = self.network(*part, importance=importance)
                # in float32 hopeless cases would all tie at 0
                p = logits.double().softmax(-1)[..., 0] if attention is None else attention
                out.append((p[mask] if p.ndim == 2 else p).cpu().numpy())
        return np.concatenate(out).astype(float)

    def _inputs(self, cases: Cases) -> _Inputs:
        x = _embedding(cases)
        if x.shape[1] != self.about["dimensions"]:
            raise ValueError(f"embedding has {x.shape[1]} columns, the probe was fitted on {self.about['dimensions']}")
        mean, spread = (np.array(v) for v in self.about["embedding"])
        energy, n = cases.energy, cases.n_atoms.astype(float)
        if self.energy == "standardised":
            rest = energy - features.counts(cases, np.array(self.about["elements"])) @ np.array(self.about["shares"])
            energy = np.clip((rest - self.about["energy"][0]) / self.about["energy"][1], -FAR, FAR)
            n = np.clip((n - self.about["size"][0]) / self.about["size"][1], -FAR, FAR)
        charges = None
        if self.charges:
            if cases.charges is None:
                raise ValueError("charges: this probe was made with charges=True, but the cases carry none")
            charges = torch.from_numpy(cases.charges.astype(np.float32))
        return _Inputs(
            torch.from_numpy(((x - mean) / spread).astype(np.float32)),
            torch.from_numpy(np.stack([energy, n], 1).astype(np.float32)),
            charges,
            cases.offsets,
            cases.level,
            self.device,
        )

    def save(self, path: str | Path) -> Path:
        """Write weights and what is needed to use them into one safetensors file; atomic."""
        from safetensors.torch import save_file

        if self.network is None:
            raise ValueError("the probe is not fitted: there is nothing to save")
        path = Path(path)
        about = self.about | {"format": FORMAT, "charges": self.charges, "energy_input": self.energy}
        with replacing(path) as part:
            save_file(
                {k: v.cpu().contiguous() for k, v in self.network.state_dict().items()},
                part,
                metadata={"ffbench_probe": json.dumps(about), "settings": json.dumps(asdict(self.settings))},
            )
        return path

    @classmethod
    def load(cls, path: str | Path) -> Probe:
        """A probe from `save`. ValueError for a missing, damaged or foreign file."""
        from safetensors import safe_open

        try:
            with safe_open(Path(path), "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            stated, settings = (json.loads(metadata.get(k, "null")) for k in ("ffbench_probe", "settings"))
        except Exception as error:  # what bytes make of a parser: no list of its exceptions is complete
            raise ValueError(f"probe {path} cannot be read: {' '.join(str(error).split())[:200]}") from None
        if not isinstance(stated, dict) or stated.get("format") != FORMAT:
            raise ValueError(f"{path} holds no probe of this version of ffbench: fit and save it again")
        try:
            about = About.model_validate(stated)
            probe = cls(charges=about.charges, energy=about.energy_input, **settings)
            probe.about = about.model_dump(exclude={"format", "charges", "energy_input"})
            probe.network = ProbeNetwork(about.dimensions, charges=probe.charges, level=about.level)
            probe.network.load_state_dict(tensors)
        except ValidationError as error:
            first = error.errors()[0]
            said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise ValueError(f"probe {path} is damaged ({said}): fit and save it again") from None
        except (TypeError, ValueError, RuntimeError) as error:
            said = " ".join(str(error).split())[:200]
            raise ValueError(f"probe {path} is damaged ({said}): fit and save it again") from None
        return probe


@dataclass(frozen=True)
class _Inputs:
    embedding: Tensor
    extra: Tensor
    charges: Tensor | None
    offsets: np.ndarray
    level: str
    device: torch.device


def _embedding(cases: Cases) -> np.ndarray:
    if cases.embedding is None:
        raise ValueError(
            "the model gives no embedding: return one per atom, or name a layer as embedding= in its card and use "
            "with_embedding(model)"
        )
    return cases.embedding


def _batch(inputs: _Inputs, rows: np.ndarray) -> tuple[tuple, Tensor]:
    """((embedding, mask, extra, charges) padded to the largest structure, mask), on the probe's device."""
    first, n = inputs.offsets[rows], inputs.offsets[rows + 1] - inputs.offsets[rows]
    place = np.arange(int(n.max()))
    mask = torch.from_numpy(place < n[:, None])
    atoms = torch.from_numpy(np.where(place < n[:, None], first[:, None] + place, 0))
    x = inputs.embedding[atoms] * mask[..., None]
    charges = None if inputs.charges is None else inputs.charges[atoms] * mask
    extra = inputs.extra[torch.from_numpy(rows)]
    x, mask, extra = (value.to(inputs.device) for value in (x, mask, extra))
    return (x, mask, extra, None if charges is None else charges.to(inputs.device)), mask


def _inner(train: Cases) -> tuple[np.ndarray, np.ndarray]:
    """(rows to fit, rows to stop on): about 10 % of the groups, at least one; without groups the last 10 %."""
    group = np.arange(len(train)) if train.group is None else train.group
    names = np.unique(group)
    if len(names) < 2:
        group, names = np.arange(len(train)), np.arange(len(train))
    if len(names) < 2:
        raise ValueError("train has one structure: a probe needs at least two")
    held = names[:: max(1, round(len(names) / max(1, round(0.1 * len(names)))))][: max(1, round(0.1 * len(names)))]
    inside = np.isin(group, held)
    return np.flatnonzero(~inside), np.flatnonzero(inside)


def _train(
    network: torch.nn.Module,
    inputs: _Inputs,
    failed: np.ndarray,
    inner: tuple[np.ndarray, np.ndarray],
    s: Settings,
    progress: Progress,
) -> list[dict[str, float]]:
    fit, held = inner
    target = torch.from_numpy(failed.astype(np.int64)).to(inputs.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=max(1, s.patience // 3))
    rng = np.random.default_rng(s.seed)
    best, best_at, kept, history = np.inf, 0, None, []
    for epoch in range(s.max_epochs):
        network.train()
        order = rng.permutation(fit)
        total = 0.0
        for start in range(0, len(order), s.batch_size):
            rows = np.sort(order[start : start + s.batch_size])
            loss = _loss(network, inputs, target, rows)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), s.clip)
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        network.eval()
        with torch.no_grad():
            parts = np.array_split(held, -(-len(held) // 256))
            now = sum(float(_loss(network, inputs, target, rows)) * len(rows) for rows in parts) / len(held)
        history.append({"train": total / len(fit), "held": now})
        schedule.step(now)
        if now < best - 1e-6:
            best, best_at = now, epoch
            kept = {k: v.detach().clone() for k, v in network.state_dict().items()}
        progress((epoch + 1) / s.max_epochs)
        if epoch - best_at >= s.patience:
            break
    if kept is not None:
        network.load_state_dict(kept)
    network.eval()
    return history


def _loss(network: torch.nn.Module, inputs: _Inputs, target: Tensor, rows: np.ndarray) -> Tensor:
    """Cross-entropy of each case over sqrt(number of atoms of its structure), mean."""
    part, mask = _batch(inputs, rows)
    logits, _ = network(*part)
    n = mask.sum(1).to(logits.dtype)
    if inputs.level == "atom":
        atoms = np.concatenate([np.arange(inputs.offsets[r], inputs.offsets[r + 1]) for r in rows])
        rows_there = torch.from_numpy(atoms).to(inputs.device)
        each = torch.nn.functional.cross_entropy(logits[mask], target[rows_there], reduction="none")
        return (each / n.repeat_interleave(mask.sum(1)).sqrt()).mean()
    rows_there = torch.from_numpy(rows).to(inputs.device)
    each = torch.nn.functional.cross_entropy(logits, target[rows_there], reduction="none")
    return (each / n.sqrt()).mean()
