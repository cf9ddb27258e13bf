"""Controls a benchmark must rank where they belong: pair potentials, no forces, the truth, the truth with noise."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ffbench_data.contract import AtomsBatch, ForceField, Prediction

from .pairs import cosine_cutoff, half_edges


def lennard_jones(epsilon: float = 0.01, sigma: float = 2.5, cutoff: float = 8.0) -> ForceField:
    """4 epsilon ((sigma/r)^12 - (sigma/r)^6) between all pairs (eV, Angstrom), times a cosine cutoff.

    >>> lennard_jones().conservative
    True
    """
    _positive(epsilon=epsilon, sigma=sigma, cutoff=cutoff)

    def energy(d: Tensor) -> Tensor:
        six = (sigma / d) ** 6
        return 4 * epsilon * (six * six - six)

    return _pair_potential("lennard_jones", energy, cutoff)


def morse(depth: float = 4.0, stiffness: float = 1.8, length: float = 1.2, cutoff: float = 6.0) -> ForceField:
    """depth ((1 - exp(-stiffness (r - length)))^2 - 1) between all pairs (eV, 1/Angstrom, Angstrom), cosine cutoff."""
    _positive(depth=depth, stiffness=stiffness, length=length, cutoff=cutoff)

    def energy(d: Tensor) -> Tensor:
        return depth * ((1 - torch.exp(-stiffness * (d - length))).square() - 1)

    return _pair_potential("morse", energy, cutoff)


def zero() -> ForceField:
    """Energy 0, forces 0: the score of knowing nothing (53.0 in BSCT)."""

    def answer(batch: AtomsBatch) -> Prediction:
        return Prediction(batch.positions.new_zeros(batch.n_systems), torch.zeros_like(batch.positions))

    return ForceField(answer, None, None, torch.float64, True, _card("zero"))


def truth(dataset: str) -> ForceField:
    """The reference potential of ``dataset`` (`ffbench_data.reference`) as a model; one structure after the other."""
    from ffbench_data import card, reference

    reference(dataset)  # an unknown name or a missing package is told now, not at the first call
    about = card(dataset)
    stated = _card("truth") | {"training_data": "none: it made the labels", "theory": about.theory}
    return ForceField(_Truth(dataset, 0.0, 0), None, None, torch.float64, True, stated, batched=False)


def noisy_truth(dataset: str, noise: float = 0.1, seed: int = 0) -> ForceField:
    """The truth with independent Gaussian noise of ``noise`` eV/Angstrom on every force component.

    The noise is a function of the positions (their bits and ``seed``): the same structure gets the same forces, the
    smallest step other ones. Not conservative.
    """
    _positive(noise=noise)
    model = truth(dataset)
    stated = {**model.card, **_card("noisy_truth"), "noise_eV_per_A": noise}
    return ForceField(_Truth(dataset, noise, seed), None, None, torch.float64, False, stated, batched=False)


class _Truth:
    """A picklable call of an ASE calculator, which is made where it is used."""

    def __init__(self, dataset: str, noise: float, seed: int):
        self.dataset, self.noise, self.seed = dataset, noise, seed
        self.calculator: Any = None

    def __getstate__(self):
        return {**vars(self), "calculator": None}

    def __call__(self, batch: AtomsBatch) -> Prediction:
        from ffbench_data import reference
        from ffbench_data.potentials import label

        if self.calculator is None:
            self.calculator = reference(self.dataset)
        energies, forces = [], []
        for b, (z, x) in enumerate(_systems(batch)):
            cell = batch.cell[b].cpu().numpy() if bool(batch.pbc[b].any()) else None
            energy, force = label(self.calculator, z.cpu().numpy(), x.detach().cpu().double().numpy()[None], cell)
            energies.append(float(energy[0]))
            forces.append(torch.from_numpy(force[0]) + self._noise(x))
        return Prediction(torch.tensor(energies, dtype=torch.float64), torch.cat(forces))

    def _noise(self, x: Tensor) -> Tensor:
        if not self.noise:
            return torch.zeros(())
        digest = hashlib.sha256(self.seed.to_bytes(8, "little") + x.detach().cpu().double().numpy().tobytes())
        generator = torch.Generator().manual_seed(int.from_bytes(digest.digest()[:7], "little"))
        return self.noise * torch.randn(x.shape, generator=generator, dtype=torch.float64)


def _systems(batch: AtomsBatch):
    counts = batch.n_atoms.tolist()
    return zip(batch.atomic_numbers.split(counts), batch.positions.split(counts))


def _pair_potential(name: str, energy: Callable[[Tensor], Tensor], cutoff: float) -> ForceField:
    def total(batch: AtomsBatch) -> Tensor:
        i, _, r = half_edges(batch)
        d = r.square().sum(-1).sqrt()
        pair = energy(d) * cosine_cutoff(d, cutoff)
        # The sum over no pairs must still depend on the positions.
        start = 0.0 * batch.positions.new_zeros(batch.n_systems).index_add(
            0, batch.system_index, batch.positions.sum(-1)
        )
        return start.index_add(0, batch.system_index.index_select(0, i), pair)

    return ForceField.from_energy(total, cutoff, dtype=torch.float64, card=_card(name))


def _card(name: str) -> dict[str, Any]:
    return {"name": name, "family": name, "version": "1", "parameters": 0, "training_data": "none"}


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive, got {value}")


CONTROLS: dict[str, Callable[..., ForceField]] = {
    "lennard_jones": lennard_jones,
    "morse": morse,
    "zero": zero,
    "truth": truth,
    "noisy_truth": noisy_truth,
}
WITH_DATASET = ("truth", "noisy_truth")


def control(name: str) -> Any:
    """``zero``, ``lennard_jones``, ``morse``, ``truth@dataset``, ``noisy_truth@dataset``; a bare ``truth`` or
    ``noisy_truth`` is the mapping over the datasets of the shipped suites."""
    kind, _, dataset = name.partition("@")
    if kind not in WITH_DATASET:
        if dataset:
            raise ValueError(f"{kind!r} is the same for every dataset: write {kind!r}, not {name!r}")
        return CONTROLS[kind]()
    if dataset:
        return CONTROLS[kind](dataset)
    return {d: CONTROLS[kind](d) for d in ("ethanol_gfn2", "water", "alanine_dipeptide_obc")}
