"""The force call of the engine: replicas in, one model call, energies and forces out in float64."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ffbench_data.contract import AtomsBatch, ForceField, Prediction
from ffbench_data.neighbors import all_pairs, completed_cell, edges

from .memory import is_out_of_memory
from .system import System

SKIN = 1.0  # Angstrom added to the cutoff of the periodic edge list, so that it is rebuilt rarely


class ModelForces:
    """``forces(positions [B, N, 3]) -> (energy [B], forces [B, N, 3])`` of ``model``, with its edge list.

    With ``cell`` [B, 3, 3] (constant pressure) the model's stress [B, 3, 3] is returned too.
    Open systems use all pairs; periodic ones a list with a skin, rebuilt when an atom has moved half the skin (or
    on `rebuild`). Either way the model sees only edges within its cutoff, in a ``paired`` list. Positions reach a
    float32 model near the origin: periodic ones wrapped into the cell, open ones relative to their centroid.

    A model that raises is asked about one replica at a time: one that raises alone has the energy NaN from then on, as
    if the model had said so, and `raised` holds its message; the others are untouched. Where nobody got an answer from
    the first call, the error is passed on.
    """

    def __init__(self, model: ForceField, system: System, replicas: int):
        n = len(system.numbers)
        if not model.takes(system.charge, system.spin_multiplicity):
            raise ValueError(
                f"unsupported: model {model.name!r} does not use the charge and spin of a structure, and these have "
                f"charge {system.charge} and spin multiplicity {system.spin_multiplicity}"
            )
        # Asked once, here: a question about values in every call could not be traced.
        self.model = replace(model, uses_charge=True, uses_spin=True)
        self.system, self.replicas = system, replicas
        self.periodic = bool(system.pbc.any())
        self.calls = 0
        self.raised: dict[int, str] = {}  # replica: what the model raised
        self._spare: Tensor | None = None  # [B, N, 3] positions that the model answers, asked in place of those
        self._answered: Tensor | None = None  # positions of the last answer
        device = system.masses.device
        self.batch = AtomsBatch(
            positions=torch.zeros(replicas * n, 3, dtype=torch.float64, device=device),
            atomic_numbers=system.numbers.repeat(replicas),
            system_index=torch.arange(replicas, device=device).repeat_interleave(n),
            cell=system.cell.expand(replicas, 3, 3),
            pbc=system.pbc.expand(replicas, 3),
            charge=torch.full((replicas,), system.charge, device=device),
            spin_multiplicity=torch.full((replicas,), system.spin_multiplicity, device=device),
            largest=n,
        )
        self.pairs: Tensor | None = None
        self._reference: Tensor | None = None
        if model.cutoff is not None and not self.periodic:
            self.pairs = half_of(all_pairs(self.batch.n_atoms), None)[0]

    def rebuild(self) -> None:
        """Forget the edge list, so that it depends on the next positions only."""
        self._reference = None

    def forget(self) -> None:
        """As if no call had been made."""
        self.calls, self.raised, self._spare, self._answered = 0, {}, None, None
        self.rebuild()

    def __call__(self, positions: Tensor, cell: Tensor | None = None) -> tuple[Tensor, ...]:
        if self._spare is not None:
            positions = torch.where(self._silent[:, None, None], self._spare, positions)
        x, half, shift = self.prepare(positions, cell)
        self.calls += 1
        batch = replace(self.batch, positions=x) if cell is None else replace(self.batch, positions=x, cell=cell)
        batch = batch.to(dtype=self.model.dtype)  # near the origin already: the model's call need not move them
        prediction = self._ask(batch, half, shift, positions)
        if cell is not None and prediction.stress is None:
            raise ValueError(
                "ensemble 'npt' is unsupported: the model returns no stress (ForceField.from_energy(..., stress=True) "
                "derives it)"
            )
        energy = prediction.energy.detach()
        if self.raised:
            energy = torch.where(self._silent, torch.nan, energy)
        answer = [energy, prediction.forces.detach().view_as(positions)]
        if cell is not None and prediction.stress is not None:
            answer.append(prediction.stress)
        return tuple(part.to(positions.dtype) for part in answer)

    def _ask(self, batch: AtomsBatch, half: Tensor | None, shift: Tensor | None, positions: Tensor) -> Prediction:
        """The model's answer; where it raises, that of every replica alone."""
        try:
            prediction = self.model(with_pairs(batch, half, shift))
        except Exception as error:
            if is_out_of_memory(error) or getattr(error, "whole", False):
                raise
            return self._one_at_a_time(batch, half, shift, positions, error)
        self._answered = positions
        return prediction

    def _one_at_a_time(
        self, batch: AtomsBatch, half: Tensor | None, shift: Tensor | None, positions: Tensor, error: Exception
    ) -> Prediction:
        n, found = positions.shape[1], {}
        for b in range(self.replicas):
            try:
                found[b] = self.model(_alone(batch, half, shift, b, n))
            except Exception as own:
                if is_out_of_memory(own):
                    raise
                self.raised.setdefault(b, last_line(own))
        silent = sorted(set(range(self.replicas)) - set(found))
        if not found and self._answered is None:
            raise error
        fallback = positions if self._answered is None else self._answered
        spare = fallback.clone()
        if self._answered is None:
            spare[silent] = positions[next(iter(found))]
        self.fall_silent(silent, spare)
        self._answered = torch.where(self._silent[:, None, None], spare, positions) if silent else positions
        like = next(iter(found.values()), None)

        def joined(name: str, shape: tuple[int, ...]) -> Tensor | None:
            if like is not None and getattr(like, name) is None:
                return None
            nothing = batch.positions.new_full(shape, torch.nan)
            return torch.cat(
                [getattr(found[b], name).to(nothing) if b in found else nothing for b in range(self.replicas)]
            )

        energy, forces = joined("energy", (1,)), joined("forces", (n, 3))
        assert energy is not None
        assert forces is not None
        return Prediction(energy, forces.nan_to_num(), joined("stress", (1, 3, 3)))

    def fall_silent(self, replicas: list[int], spare: Tensor) -> None:
        """From now on the model is asked about ``spare`` [B, N, 3] instead of these replicas, whose energy is NaN."""
        if replicas:
            self._spare = spare
            self._silent = torch.zeros(self.replicas, dtype=torch.bool)
            self._silent[replicas] = True
            self._silent = self._silent.to(spare.device)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs beside `raised`."""
        return {} if self._spare is None else {"spare": self._spare}

    def restore(self, tensors: dict[str, Tensor], raised: dict[int, str]) -> None:
        self.raised = raised
        if "spare" in tensors:
            self.fall_silent(sorted(raised), tensors["spare"])

    def prepare(self, positions: Tensor, cell: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """(positions [A, 3] near the origin, one edge of every pair within the cutoff, its shift)."""
        x = self._near_origin(positions, cell)
        if self.model.cutoff is None:
            return x, None, None
        if self.pairs is not None:
            return x, within(x, self.pairs, None, self.model.cutoff)[0], None
        vectors = self._shift_vectors if cell is None else self._shifts_in(cell, self._listed, self._listed_shift)
        index, rows = within(x, self._listed, vectors, self.model.cutoff)
        return x, index, self._listed_shift[rows]

    def _near_origin(self, positions: Tensor, cell: Tensor | None) -> Tensor:
        if not self.periodic:
            return (positions - positions.mean(1, keepdim=True)).reshape(-1, 3)
        flat = positions.reshape(-1, 3)
        if self._outdated(flat, cell):
            self._reference = flat.clone()
            self._cell = cell
            if cell is None:
                full = completed_cell(self.system.cell[None], self.system.pbc[None])[0]
                turns = positions @ torch.linalg.inv(full)
                middle = turns.mean(1, keepdim=True)  # along open directions
                turns = torch.where(self.system.pbc, torch.floor(turns), middle)
            else:
                full, turns = cell, torch.floor(positions @ torch.linalg.inv(cell))
            self._turns, self._offset = turns, (turns @ full).reshape(-1, 3)
            if self.model.cutoff is not None:
                wrapped = replace(self.batch, positions=flat - self._offset)
                if cell is not None:
                    wrapped = replace(wrapped, cell=cell)
                self._listed, self._listed_shift = half_of(*edges(wrapped, self.model.cutoff + SKIN))
                if cell is None:
                    self._shift_vectors = self._listed_shift.to(flat.dtype) @ self.system.cell
        elif cell is not None:
            self._offset = (self._turns @ cell).reshape(-1, 3)
        return flat - self._offset

    def _outdated(self, flat: Tensor, cell: Tensor | None) -> bool:
        """Whether a pair within the cutoff may be missing from the list.

        Isotropic cells: with s the length scale since the list was made and u = x / s, a missing pair had
        |r| > cutoff + skin, so now |r| > s (cutoff + skin - 2 max |du|), which must exceed the cutoff.
        """
        if self._reference is None:
            return True
        if cell is None:
            return bool(((flat - self._reference).square().sum(-1) > (SKIN / 2) ** 2).any())
        cutoff = self.model.cutoff or 0.0
        scale = (torch.linalg.det(cell) / torch.linalg.det(self._cell)) ** (1 / 3)
        per_atom = scale.repeat_interleave(len(flat) // len(scale))
        moved = (flat / per_atom[:, None] - self._reference).norm(dim=-1)
        return bool((moved > (cutoff + SKIN - cutoff / per_atom) / 2).any())

    def _shifts_in(self, cell: Tensor, index: Tensor, shift: Tensor) -> Tensor:
        cells = cell.index_select(0, self.batch.system_index.index_select(0, index[0]))
        return torch.einsum("ea,eab->eb", shift.to(cell.dtype), cells)


def half_of(index: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor]:
    """One edge of every pair of a full directed list."""
    i, j = index
    keep = i < j
    if shift is None:
        return index[:, keep], torch.zeros(0, 3, dtype=torch.int64)
    a, b, c = shift.unbind(1)
    upward = (a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0))))
    keep = keep | ((i == j) & upward)
    return index[:, keep], shift[keep]


def with_pairs(batch: AtomsBatch, half: Tensor | None, shift: Tensor | None) -> AtomsBatch:
    """``batch`` with the edges of ``half`` and their reverses."""
    if half is None:
        return batch
    index = torch.cat([half, half.flip(0)], 1)
    shift = None if shift is None else torch.cat([shift, -shift])
    return replace(batch, edge_index=index, edge_shift=shift, paired=True)


def within(x: Tensor, index: Tensor, shift: Tensor | None, cutoff: float) -> tuple[Tensor, Tensor]:
    """(edges within the cutoff, their rows)."""
    r = x.index_select(0, index[1]) - x.index_select(0, index[0])
    if shift is not None:
        r = r + shift
    rows = (r.square().sum(-1) <= cutoff**2).nonzero().squeeze(1)
    return index.index_select(1, rows), rows


def last_line(error: BaseException) -> str:
    """What an error says, in one line: of a traceback that was kept as text, the line after its last frame."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if not lines[0].startswith("Traceback"):
        return f"{type(error).__name__}: {lines[0].strip()}"[:300]
    frame = max((k for k, line in enumerate(lines) if line.startswith('  File "')), default=0)
    return next((line for line in lines[frame + 1 :] if not line.startswith(" ")), lines[-1]).strip()[:300]


def _alone(batch: AtomsBatch, half: Tensor | None, shift: Tensor | None, b: int, n: int) -> AtomsBatch:
    """Replica ``b`` of a batch of equal ones of ``n`` atoms, with its edges."""
    atoms = slice(b * n, (b + 1) * n)
    one = AtomsBatch(
        batch.positions[atoms],
        batch.atomic_numbers[atoms],
        torch.zeros_like(batch.system_index[atoms]),
        batch.cell[b : b + 1],
        batch.pbc[b : b + 1],
        charge=batch.charge[b : b + 1],
        spin_multiplicity=batch.spin_multiplicity[b : b + 1],
    )
    if half is None:
        return one
    mine = batch.system_index[half[0]] == b
    return with_pairs(one, half[:, mine] - b * n, None if shift is None else shift[mine])
