"""BOTNet (Batatia et al., arXiv:2205.06643, 2022): body-ordered equivariant messages without nonlinear gates.

Ours, on e3nn (imported late; extra ``botnet``): the last release of mace-torch with a BOTNet cannot build it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch

from .providers import guarded
from .providers.parts import Elements, directed_edges, mean_degree, seed, total


@dataclass(frozen=True)
class Config:
    """``channels`` per irrep of degree up to ``degree``, spherical harmonics up to ``harmonics``, ``layers``,
    ``cutoff`` Angstrom, ``radial`` functions, width of the radial network and of the last readout, ``elements``.

    ``parity`` adds the irreps of the other parity.
    """

    channels: int = 16
    degree: int = 1
    harmonics: int = 2
    layers: int = 3
    cutoff: float = 5.0
    radial: int = 8
    width: int = 32
    readout: int = 16
    parity: bool = False
    elements: tuple[int, ...] = ()


# The authors' settings for 3BPA and acetylacetone: five layers, 80 channels, degrees 0 and 1 of both parities, lmax 3.
PAPER = Config(channels=80, degree=1, harmonics=3, layers=5, width=64, parity=True)


class BOTNet(nn.Module):
    """``forward(batch)`` -> {"energy": [B] in units of the training scale, "embedding": [A, channels]}."""

    neighbors: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = c = config
        self.elements = Elements(c.elements, "BOTNet")
        number = seed()
        with guarded("e3nn"):
            import e3nn
            from e3nn import o3
            from e3nn.nn import Activation

            e3nn.set_optimization_defaults(jit_mode="eager")
            torch.manual_seed(number)
            kinds = o3.Irreps(f"{len(c.elements)}x0e")
            scalars = o3.Irreps(f"{c.channels}x0e")
            parities = ("e", "o") if c.parity else ("",)
            hidden = o3.Irreps(
                "+".join(f"{c.channels}x{n}{p or 'eo'[n % 2]}" for n in range(c.degree + 1) for p in parities)
            )
            directions = o3.Irreps.spherical_harmonics(c.harmonics)
            self.directions = o3.SphericalHarmonics(directions, normalize=True, normalization="component")
            self.embedding = o3.Linear(kinds, scalars)
            self.layers = nn.ModuleList()
            self.readouts = nn.ModuleList()
            given = scalars
            for k in range(c.layers):
                self.layers.append(Interaction(given, directions, kinds, hidden, c, first=k == 0))
                given = self.layers[-1].out
                if k < c.layers - 1:
                    self.readouts.append(o3.Linear(given, "0e"))
            inner = o3.Irreps(f"{c.readout}x0e")
            self.readouts.append(
                nn.Sequential(o3.Linear(given, inner), Activation(inner, [nn.functional.silu]), o3.Linear(inner, "0e"))
            )
        self.register_buffer("neighbors", torch.tensor(8.0, dtype=torch.float64))

    def calibrate(self, batch: AtomsBatch) -> None:
        """Mean number of neighbours, by which sums over edges are normalised."""
        self.neighbors.fill_(mean_degree(batch))

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        index, r = directed_edges(batch)
        d = r.square().sum(-1).sqrt()
        directions = self.directions(r)
        radial = radial_basis(d, self.config.cutoff, self.config.radial)
        kinds = self.elements.one_hot(batch.atomic_numbers, r.dtype)
        x = self.embedding(kinds)
        n = self.neighbors.to(r.dtype)
        per_atom = r.new_zeros(len(x), 1)
        for layer, readout in zip(self.layers, self.readouts):
            x = layer(x, kinds, directions, radial, index, n)
            per_atom = per_atom + readout(x)
        return {"energy": total(per_atom.squeeze(-1), batch), "embedding": x[:, : self.config.channels]}


class Interaction(nn.Module):
    """Messages of tensor products with directions, weighted by distance; linear, with a skip that knows the element.

    The first layer weights the sum itself by element, the others add their input weighted by element.
    """

    def __init__(self, given: Any, directions: Any, kinds: Any, hidden: Any, c: Config, *, first: bool):
        super().__init__()
        from e3nn import o3
        from e3nn.nn import FullyConnectedNet

        self.first = first
        self.up = o3.Linear(given, given)
        made, paths = product_paths(given, directions, hidden)
        self.product = o3.TensorProduct(
            given, directions, made, instructions=paths, shared_weights=False, internal_weights=False
        )
        self.weights = FullyConnectedNet([c.radial] + [c.width] * 3 + [self.product.weight_numel], nn.functional.silu)
        made = made.simplify()
        self.out = o3.Irreps([(mul, ir) for mul, ir in hidden if ir in made]).simplify()
        self.down = o3.Linear(made, self.out)
        self.skip = o3.FullyConnectedTensorProduct(self.out if first else given, kinds, self.out)

    def forward(self, x: Tensor, kinds: Tensor, directions: Tensor, radial: Tensor, index: Tensor, n: Tensor) -> Tensor:
        sender, receiver = index
        sent = self.product(self.up(x).index_select(0, sender), directions, self.weights(radial))
        message = self.down(sent.new_zeros(len(x), sent.shape[1]).index_add(0, receiver, sent)) / n
        return self.skip(message, kinds) if self.first else message + self.skip(x, kinds)


def product_paths(left: Any, right: Any, wanted: Any) -> tuple[Any, list[tuple]]:
    """(irreps, instructions) of all products of ``left`` and ``right`` that give an irrep of ``wanted``, sorted."""
    from e3nn import o3

    found = [
        (mul, ir, a, b) for a, (mul, one) in enumerate(left) for b, (_, two) in enumerate(right)
        for ir in one * two if ir in wanted
    ]  # fmt: skip
    order = sorted(range(len(found)), key=lambda k: found[k][1])  # stable, so that equal irreps lie side by side
    irreps = o3.Irreps([(found[k][0], found[k][1]) for k in order])
    paths = [(found[k][2], found[k][3], place, "uvu", True) for place, k in enumerate(order)]
    return irreps, paths


def radial_basis(d: Tensor, cutoff: float, size: int, p: int = 5) -> Tensor:
    """Bessel functions of unit norm times a polynomial that ends at the cutoff with ``p`` - 1 flat derivatives."""
    from .pairs import bessel

    x = d / cutoff
    end = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
    return bessel(d, cutoff, size) * (2 / cutoff) ** 0.5 * (end * (x < 1)).unsqueeze(-1)
