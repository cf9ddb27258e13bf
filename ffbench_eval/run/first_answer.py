"""The first answers of a model, before any work: its identity, and what a newcomer's mistake looks like.

Few calls on a few fixed frames of each data set. What makes every number meaningless is refused; everything else is one
line of warning: wrong units, a flipped sign, forces that are not the gradient of the energy, answers that depend on the
order of the atoms, on where the molecule lies, on what else is in the batch or on the call before.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ffbench_data.contract import ForceField, Prediction
from ffbench_data.frames import Frame, collate

from ..models import identity as identities
from ..models.coverage import covered
from ..models.guard import copied
from ..models.identity import Identity
from ..models.inside import contents
from ..models.interrupts import of_the_user
from ..models.isolated import call_limit
from ..models.surroundings import kept, limited
from ..models.tracebacks import ModelRaised

if TYPE_CHECKING:
    from ffbench_data.contract import AtomsBatch

ROWS = 5  # frames of a data set, more if that many do not show every element and kind of cell
MOST_ROWS = 10
SCALES = (0.8, 1.5)  # the first frame, compressed and stretched: what no frame of the data may show
SAME = 1e-3  # relative: answers that should be equal are, but for float32
FORCE_UNITS = {  # what forces in eV/Angstrom become in other units
    "kcal/mol/Å": 23.0605,
    "kJ/mol/Å": 96.4853,
    "kJ/mol/nm": 964.853,
    "Hartree/Å": 1 / 27.2114,
    "Hartree/Bohr": 1 / 51.4221,
    "Rydberg/Bohr": 1 / 25.7110,
    "eV/Bohr": 0.529177,
    "eV/nm": 10.0,
    "meV/Å": 1000.0,
}
ENERGY_UNITS = {"kcal/mol": 23.0605, "kJ/mol": 96.4853, "Hartree": 1 / 27.2114, "Rydberg": 1 / 13.6057, "meV": 1000.0}


@dataclass(frozen=True)
class Look:
    """What was found: who the model is on these frames, and one line per oddity."""

    identity: Identity
    warnings: list[str]


def look(model: ForceField, frames: Any, where: str, *, judge: bool = True) -> Look:
    """Ask ``model`` about fixed frames of ``frames``, and ``judge`` what it says.

    ValueError: on every one of them it raised, or gave no finite number; the first says why.
    """
    rows = chosen_rows(frames, covered(model, frames))
    if not len(rows):
        raise ValueError(f"{where}: no frame has only elements the model covers, and charge and spin that it takes")
    asked = [frames[int(r)] for r in rows]
    raw: list[Any] = []

    def spied(batch: AtomsBatch):
        raw.append(model.fn(batch))
        return raw[-1]

    failure: ValueError | None = None
    for k, frame in enumerate(asked):  # a squeezed frame, which some models cannot bear, may come first
        raw.clear()
        try:
            with kept(), limited(call_limit()):
                seen = copied(replace(model, fn=spied)(collate([frame])))
            bad = next((f for f in ("energy", "forces") if not bool(torch.isfinite(getattr(seen, f)).all())), "")
            if not bad:
                asked = asked[k:] + asked[:k]
                break
            said = "energy of the first frame is" if bad == "energy" else "the forces of the first frame are"
            failure = failure or ValueError(f"{where}: {said} not finite")
        except BaseException as error:
            if of_the_user(error):
                raise
            failure = failure or ModelRaised(where, error)
            failure.__cause__ = failure.__cause__ or error
    else:
        assert failure is not None
        raise failure
    first = [(v, v.detach().clone()) for v in _tensors(raw[0])]
    answers = [seen, *(_asked(model, f) for f in asked[1:])]
    answers += [_asked(model, deformed(asked[0], scale)) for scale in SCALES]
    warnings = []
    if any(not torch.equal(now.detach(), then) for now, then in first):
        warnings.append(
            "its answer is overwritten by the next call (a buffer of its own); it is copied here, elsewhere it may "
            "not be"
        )
    digests = tuple(_digest(a) for a in answers)
    again = _digest(_asked(model, asked[0]))
    spread = identities.difference(digests[0], again)
    steady = spread <= identities.UNSTEADY
    if not steady:
        warnings.append(
            f"it answers differently when asked the same twice (by {_percent(spread)}): no result of it is kept for "
            "another run"
        )
    who = Identity(stated(model), digests, spread if steady else 0.0, "" if steady else uuid.uuid4().hex)
    if steady and judge:
        warnings += list(_dependences(model, asked, answers))
        warnings += list(_gradient(model, asked[0], seen))
    labelled = [(a, f) for a, f in zip(answers, asked) if a is not None and np.isfinite(f.forces).all()]
    warnings += list(_units(labelled))
    return Look(who, warnings)


def stated(model: ForceField) -> str:
    """A hash of what the model states in fields, of its weights and calculator parameters; not of its card."""
    facts = (model.cutoff, str(model.dtype), model.conservative, model.elements)
    uses = [name for name in ("uses_charge", "uses_spin") if getattr(model, name)]
    read = getattr(model.fn, "contents", None)  # it lives in another process, which worked it out
    inside = read if isinstance(read, str) else contents(model.fn)
    return identities._hash([*facts[:3], list(facts[3] or []), *uses, inside])


def chosen_rows(frames: Any, fine: np.ndarray | None = None) -> np.ndarray:
    """Rows of a few frames, the first, some evenly spaced, and one for every element and kind of cell; in order.

    Only frames that are ``fine`` [T] are taken (`coverage.covered`).
    """
    fine = np.ones(len(frames), bool) if fine is None else fine
    usable = np.flatnonzero(fine)
    if not len(usable):
        return usable
    rows = list(usable[np.linspace(0, len(usable) - 1, min(ROWS, len(usable))).astype(int)])
    owner = np.repeat(np.arange(len(frames)), frames.n_atoms)
    allowed = fine[owner]
    first_of = [owner[np.flatnonzero(allowed & (frames.atomic_numbers == z))[0]]
                for z in np.unique(frames.atomic_numbers[allowed])]  # fmt: skip
    first_of += list(usable[np.unique(frames.pbc[usable], axis=0, return_index=True)[1]])
    for row in first_of:
        seen = {z for r in rows for z in frames[int(r)].atomic_numbers.tolist()}
        cells = {tuple(frames.pbc[r].tolist()) for r in rows}
        new = set(frames[int(row)].atomic_numbers.tolist()) - seen or tuple(frames.pbc[row].tolist()) not in cells
        if new and len(rows) < MOST_ROWS:
            rows.append(row)
    return np.array(rows, int)


def deformed(frame: Frame, scale: float) -> Frame:
    """The frame with all lengths multiplied by ``scale``."""
    return replace(frame, positions=frame.positions * scale, cell=frame.cell * scale)


def _tensors(out: Any) -> list[torch.Tensor]:
    values = out.values() if isinstance(out, Mapping) else vars(out).values() if isinstance(out, Prediction) else []
    return [v for v in values if isinstance(v, torch.Tensor)]


def _asked(model: ForceField, *frames: Frame) -> Prediction | None:
    """A copy of the answer, or ``None`` if the model raised: on these frames that is an answer too."""
    try:
        with kept(), limited(call_limit() * len(frames)):
            return copied(model(collate(list(frames))))
    except BaseException as error:
        if of_the_user(error):
            raise
        return None


def _digest(out: Prediction | None) -> identities.Row:
    if out is None:
        return ()
    more = [v for k, v in vars(out).items() if k not in ("energy", "forces") and v is not None]
    return identities.digest(float(out.energy[0]), [v.cpu().double().numpy() for v in (out.forces, *more)])


def _dependences(model: ForceField, asked: list[Frame], answers: list[Prediction | None]) -> Iterator[str]:
    """One line for each thing the forces depend on and must not: batch, place, order of atoms."""
    first = asked[0]
    mine = answers[0]
    assert mine is not None
    n = len(first.positions)
    if model.batched and len(asked) > 1 and answers[1] is not None:
        both = _asked(model, first, asked[1])
        apart = torch.cat([mine.forces, answers[1].forces])
        if both is None:
            yield "it raises when asked about two structures at once: state batched=False if it takes one at a time"
        else:
            change = _change(both.forces, apart)
            energies = torch.cat([mine.energy, answers[1].energy])
            if change > SAME or _unequal(both.energy, energies, apart):
                yield f"its answer on a structure changes with what else is in the batch (forces by {_percent(change)})"
    moved = _asked(model, replace(first, positions=first.positions + np.array([1.7, -0.9, 2.3])))
    if moved is not None and (
        _change(moved.forces, mine.forces) > SAME or _unequal(moved.energy, mine.energy, mine.forces)
    ):
        change = _change(moved.forces, mine.forces)
        yield f"its answer depends on where the structure lies (forces change by {_percent(change)} after a shift)"
    order = np.arange(n)[::-1].copy()
    turned = _asked(model, _reordered(first, order))
    if turned is not None:
        change = _change(turned.forces, mine.forces[torch.from_numpy(order)])
        if change > SAME or _unequal(turned.energy, mine.energy, mine.forces):
            yield (
                f"its answer depends on the order of the atoms (forces change by {_percent(change)}): right only for "
                "a fixed topology"
            )


def _reordered(frame: Frame, order: np.ndarray) -> Frame:
    per_atom = {k: v[order] for k, v in vars(frame).items() if k in ("atomic_numbers", "positions", "forces")}
    return replace(frame, **per_atom)


def _change(a: torch.Tensor, b: torch.Tensor) -> float:
    size = max(float(b.double().norm()), identities.SMALL)
    change = float((a.double() - b.double()).norm()) / size
    return change if math.isfinite(change) else math.inf


def _unequal(a: torch.Tensor, b: torch.Tensor, forces: torch.Tensor) -> bool:
    room = SAME * float(forces.double().norm()) + 1e-6 * float(b.double().abs().max()) + SAME * identities.SMALL
    return not bool(((a.double() - b.double()).abs() <= room).all())


def _gradient(model: ForceField, frame: Frame, mine: Prediction, step: float = 0.01) -> Iterator[str]:
    """Central difference of the energy along the forces (step in Angstrom), where the model says it is conservative."""
    forces = mine.forces.cpu().double().numpy()
    size = float(np.linalg.norm(forces))
    if not model.conservative or size < identities.SMALL:
        return
    move = step * forces / size
    ahead, behind = (_asked(model, replace(frame, positions=frame.positions + s * move)) for s in (1, -1))
    if ahead is None or behind is None:
        return
    fall = -float(ahead.energy.double() - behind.energy.double()) / (2 * step)
    rounding = 3e-7 * abs(float(mine.energy)) / step if model.dtype.itemsize <= 4 else 0.0
    if abs(fall - size) <= 0.05 * size + rounding:
        return
    unit = _named(fall / size, ENERGY_UNITS)
    atoms = len(forces)
    if abs(fall / size * atoms - 1) < 0.03 and atoms > 1:
        yield f"its energies look like energies per atom beside its forces (1/{atoms} of what the work gives)"
    elif abs(fall / size + 1) < 0.03:
        yield "its forces point up its energy: not the gradient of its energy, forces are minus the gradient"
    elif unit:
        yield f"its energies look like {unit} beside its forces ({fall / size:.4g} times too large); eV is expected"
    elif abs(fall) <= 0.001 * size + rounding:
        yield "its energy does not change along its forces, which it says are the gradient: state conservative=False"
    else:
        yield (
            f"its forces are not the gradient of its energy: along them the energy falls by {fall:.4g} eV/Å, they say "
            f"{size:.4g}; state conservative=False, or check signs and units"
        )


def _units(labelled: list[tuple[Prediction, Frame]]) -> Iterator[str]:
    """Ratio and cosine of the forces against the labels: parallel, and far from equal, is a unit or a sign."""
    if not labelled:
        return
    mine = np.concatenate([a.forces.cpu().double().numpy().ravel() for a, _ in labelled])
    truth = np.concatenate([f.forces.astype(float).ravel() for _, f in labelled])
    sizes = np.linalg.norm(mine), np.linalg.norm(truth)
    if not np.isfinite(sizes).all() or min(sizes) == 0:
        return
    cosine = float(mine @ truth / (sizes[0] * sizes[1]))
    slope = float(mine @ truth / (truth @ truth))
    if abs(cosine) < 0.95:
        return
    signed = " with the sign turned round" if cosine < 0 else ""
    unit = _named(abs(slope), FORCE_UNITS)
    numbers = f"{slope:.4g} times the labels, cosine {cosine:.3f}"
    if unit:
        yield f"its forces look like {unit}{signed} ({numbers}); eV/Å is expected"
    elif not 0.5 < abs(slope) < 2:
        yield f"its forces are parallel to the labels but not of their size{signed} ({numbers}): check the units (eV/Å)"
    elif cosine < 0:
        yield f"its forces point the wrong way ({numbers}): forces are minus the gradient"


def _named(ratio: float, units: dict[str, float]) -> str:
    """The unit whose factor is within 10 % of ``ratio`` (3 % where it is near 1)."""
    if ratio <= 0:
        return ""
    near = {name: abs(math.log(ratio / factor)) for name, factor in units.items()}
    best = min(near, key=near.__getitem__)
    return best if near[best] < (0.03 if 0.2 < units[best] < 5 else 0.1) else ""


def _percent(change: float) -> str:
    return "no end" if math.isinf(change) else f"{100 * change:.2g} %"
