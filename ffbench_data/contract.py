"""The model contract: what a model gets (`AtomsBatch`), returns (`Prediction`) and states (`ForceField`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .prediction import Prediction, as_prediction, named, settled

__all__ = ["AtomsBatch", "ForceField", "Prediction", "as_prediction", "named", "settled"]


@dataclass(frozen=True)
class AtomsBatch:
    """Structures, flattened along atoms: A atoms in B systems, E directed edges.

    - ``positions`` [A, 3] Angstrom, ``atomic_numbers`` [A], ``system_index`` [A] (sorted, 0..B-1)
    - ``cell`` [B, 3, 3] Angstrom, rows are lattice vectors (zeros for open systems), ``pbc`` [B, 3] bool
    - ``edge_index`` [2, E]: pairs (i, j) within the model's cutoff, both directions, and ``edge_shift`` [E, 3]
      integers, so that r_ij = positions[j] + edge_shift @ cell[system] - positions[i]. ``None`` until
      `ffbench_data.neighbors.with_edges` adds them; ``edge_shift`` also where no system is periodic, which
      `edge_vectors` knows.
    - ``paired``: the second half of the edges is the reverse of the first, edge by edge, so that what depends on the
      distance only needs to be computed for the first half. The MD engine gives such lists.
    - ``charge`` [B] (elementary charges) and ``spin_multiplicity`` [B] (2S+1), integers; neutral singlets if not given.
    - ``largest``: atoms of the largest system, where whoever made the batch says it: a bound for a model whose shapes
      depend on it and may depend on no value (while it is traced).

    ValueError for a charge or spin multiplicity that is not one for each system.

    >>> import torch
    >>> zeros, open_ = torch.zeros(1, 3, 3), torch.zeros(1, 3, dtype=torch.bool)
    >>> batch = AtomsBatch(torch.rand(2, 3), torch.tensor([6, 8]), torch.tensor([0, 0]), zeros, open_)
    >>> batch.n_systems, batch.n_atoms.tolist(), batch.charge.tolist()
    (1, [2], [0])
    """

    positions: Tensor
    atomic_numbers: Tensor
    system_index: Tensor
    cell: Tensor
    pbc: Tensor
    edge_index: Tensor | None = None
    edge_shift: Tensor | None = None
    paired: bool = False
    charge: Tensor = None  # type: ignore[assignment]
    spin_multiplicity: Tensor = None  # type: ignore[assignment]
    largest: int | None = None

    def __post_init__(self):
        for name, usual in (("charge", 0), ("spin_multiplicity", 1)):
            value = getattr(self, name)
            if value is None:
                value = torch.full((self.n_systems,), usual, dtype=torch.int64, device=self.cell.device)
                object.__setattr__(self, name, value)
            elif value.shape != (self.n_systems,):
                raise ValueError(f"{name} {list(value.shape)} for {self.n_systems} systems: give one for each")

    @property
    def n_systems(self) -> int:
        return self.cell.shape[0]

    @property
    def n_atoms(self) -> Tensor:
        """Atoms per system [B] (a sum and no ``bincount``, which waits for a GPU and cannot be traced)."""
        one = torch.ones_like(self.system_index)
        return one.new_zeros(self.n_systems).index_add(0, self.system_index, one)

    def to(self, *, dtype: torch.dtype | None = None, device: Any = None) -> AtomsBatch:
        """The same batch with floating tensors in ``dtype`` and everything on ``device``."""
        move: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        for k in ("positions", "cell"):
            move[k] = move[k].to(dtype=dtype)
        return replace(self, **move)

    def edge_vectors(self) -> Tensor:
        """r_ij [E, 3] (Angstrom) from i to j, differentiable in the positions."""
        if self.edge_index is None:
            raise ValueError("batch has no edges: call ffbench_data.neighbors.with_edges(batch, cutoff) first")
        if self.paired:
            half = self.edge_index.shape[1] // 2
            shift = None if self.edge_shift is None else self.edge_shift[:half]
            r = replace(self, edge_index=self.edge_index[:, :half], edge_shift=shift, paired=False).edge_vectors()
            return torch.cat([r, -r])
        i, j = self.edge_index
        r = self.positions.index_select(0, j) - self.positions.index_select(0, i)
        if self.edge_shift is None:
            return r
        cell = self.cell.index_select(0, self.system_index.index_select(0, i))
        return r + torch.einsum("ea,eab->eb", self.edge_shift.to(r.dtype), cell)


@dataclass(frozen=True, eq=False)
class ForceField:
    """A model and what it states about itself.

    ``fn`` maps an `AtomsBatch` to a `Prediction`, or to what can be read as one (`as_prediction`). ``cutoff`` is the
    radius (Angstrom) of the edge list it wants, or ``None`` if it needs none. ``elements`` are the atomic numbers it
    supports (``None``: any). Floating inputs arrive in ``dtype``. ``conservative`` says whether the forces are the
    gradient of the energy. ``card`` is free text for the report: name, version, parameters, training_data, theory.
    ``batched`` says whether a batch costs less than its structures alone; if not, the evaluator makes every replica
    a unit of its own, which worker processes can share. ``uses_charge`` and ``uses_spin`` say whether its energy
    depends on the batch's ``charge`` and ``spin_multiplicity``; a model without them is asked about neutral singlets
    only, and a charged or open-shell structure raises ValueError (``unsupported`` in a report).

    Calling it adds missing edges (made in the precision given), casts the batch to its dtype and checks the answer.
    Where the cast loses digits, systems without edges are first moved near the origin
    (`ffbench_data.neighbors.near_origin`), so that a float32 model does not depend on where a structure sits. The
    answer is a copy without a graph (a network in training mode keeps it), so that neither a buffer that the model
    uses again nor a graph over many calls reaches the caller; numbers beyond float32 are NaN. A model that ends the
    interpreter (``sys.exit``) raises RuntimeError instead.

    >>> import torch
    >>> def energy(batch):  # a harmonic tether to the origin, eV
    ...     per_atom = 0.5 * (batch.positions ** 2).sum(-1)
    ...     return per_atom.new_zeros(batch.n_systems).index_add(0, batch.system_index, per_atom)
    >>> model = ForceField.from_energy(energy, cutoff=None, card={"name": "tether"})
    >>> one = AtomsBatch(torch.ones(1, 3), torch.tensor([1]), torch.tensor([0]), torch.zeros(1, 3, 3),
    ...                  torch.zeros(1, 3, dtype=torch.bool))
    >>> model(one).forces
    tensor([[-1., -1., -1.]])
    """

    fn: Callable[[AtomsBatch], Any]
    cutoff: float | None
    elements: tuple[int, ...] | None = None
    dtype: torch.dtype = torch.float32
    conservative: bool = True
    card: Mapping[str, Any] = field(default_factory=dict)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    batched: bool = True
    uses_charge: bool = False
    uses_spin: bool = False

    def __post_init__(self):
        if not callable(self.fn):
            raise ValueError(f"fn must be callable, got {type(self.fn).__name__}")
        if self.cutoff is not None and not self.cutoff > 0:
            raise ValueError(f"cutoff must be positive (Angstrom) or None, got {self.cutoff}")
        if self.elements is not None:
            object.__setattr__(self, "elements", tuple(sorted(int(z) for z in self.elements)))

    @classmethod
    def from_energy(
        cls, fn: Callable[[AtomsBatch], Any], cutoff: float | None, *, stress: bool = False, **stated: Any
    ) -> ForceField:
        """A conservative model from an energy function; forces by automatic differentiation.

        ``fn(batch)`` returns the energy [B] (eV), or one for each atom, or a mapping with ``energy`` and optional
        ``embedding`` and ``uncertainty``. With
        ``stress`` (fully periodic systems only) the stress dE/d(strain) / V is derived as well.
        """
        return cls(_Gradient(fn, stress), cutoff, **stated)

    @property
    def name(self) -> str:
        return str(self.card.get("name", "unnamed"))

    def takes(self, charge: Any, spin_multiplicity: Any) -> Any:
        """Whether the model can be asked about structures of these charges and multiplicities (numbers or arrays)."""
        return ((charge == 0) | self.uses_charge) & ((spin_multiplicity == 1) | self.uses_spin)

    def to(self, device: Any) -> ForceField:
        """The same model on another device (its ``fn`` must have ``.to`` or hold no tensors)."""
        fn = self.fn.to(device) if hasattr(self.fn, "to") else self.fn
        return replace(self, fn=fn, device=torch.device(device))

    def __call__(self, batch: AtomsBatch) -> Prediction:
        if not (self.uses_charge and self.uses_spin) and batch.charge.device.type == "cpu":
            self._refuse(batch)  # on a GPU the question would wait for the device in every call
        if batch.edge_index is None:
            from .neighbors import near_origin, with_edges

            if torch.finfo(self.dtype).eps > torch.finfo(batch.positions.dtype).eps:
                batch = near_origin(batch)
            if self.cutoff is not None:
                batch = with_edges(batch, self.cutoff)
        batch = batch.to(dtype=self.dtype, device=self.device)
        try:
            out = self.fn(batch)
        except (Exception, KeyboardInterrupt):  # whose interrupt it is, the evaluator knows
            raise
        except BaseException as error:  # sys.exit in a model would end the evaluator with it
            raise RuntimeError(f"the model raised {type(error).__name__}: {error}") from error
        prediction = as_prediction(out, batch)
        training = isinstance(self.fn, torch.nn.Module) and self.fn.training
        return prediction if training else settled(prediction)

    def _refuse(self, batch: AtomsBatch) -> None:
        taken = self.takes(batch.charge, batch.spin_multiplicity)
        if not bool(taken.all()):
            b = int((~taken).nonzero()[0])
            lacks = " and ".join(k for k in ("charge", "spin") if not getattr(self, f"uses_{k}"))
            raise ValueError(
                f"unsupported: system {b} has charge {int(batch.charge[b])} and spin multiplicity "
                f"{int(batch.spin_multiplicity[b])}, and model {self.name!r} does not use the {lacks} of a structure "
                "(a model that does states ForceField(uses_charge=True, uses_spin=True))"
            )


class _Gradient(torch.nn.Module):
    """Adds forces = -dE/dx to an energy function, and on request the stress."""

    def __init__(self, fn: Callable[[AtomsBatch], Tensor], stress: bool = False):
        super().__init__()
        self.energy_fn = fn
        self.stress = stress
        self.training = getattr(fn, "training", False)  # a network in eval mode stays there

    def forward(self, batch: AtomsBatch) -> Prediction:
        with torch.enable_grad():
            positions = batch.positions.detach().requires_grad_(True)
            inputs = [positions]
            strained = replace(batch, positions=positions)
            if self.stress:
                strain = torch.zeros_like(batch.cell).requires_grad_(True)
                inputs.append(strain)
                bend = 0.5 * (strain + strain.mT)
                moved = torch.einsum("aj,ajk->ak", positions, bend.index_select(0, batch.system_index))
                strained = replace(strained, positions=positions + moved, cell=batch.cell + batch.cell @ bend)
            out = self.energy_fn(strained)
            found = named(out) if isinstance(out, Mapping) else {"energy": out}
            energy = found.get("energy")
            extra: dict[str, Any] = {k: found[k] for k in ("embedding", "uncertainty") if k in found}
            if not isinstance(energy, Tensor) or not energy.requires_grad:
                raise ValueError("the energy does not depend on the positions: no forces can be derived")
            # Under training the graph is kept, so that a loss on forces can be differentiated again.
            training = self.training and any(p.requires_grad for p in self.parameters())
            gradient, *virial = torch.autograd.grad(energy.sum(), inputs, create_graph=training)
        if virial:
            extra["stress"] = virial[0] / torch.linalg.det(batch.cell).abs()[:, None, None]
        if not training:
            energy = energy.detach()
            extra = {k: v.detach() if isinstance(v, Tensor) else v for k, v in extra.items()}
        return Prediction(energy=energy, forces=-gradient, **extra)
