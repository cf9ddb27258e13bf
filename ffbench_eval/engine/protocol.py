"""What to simulate (`Start`), how (`Protocol`) and what came of it (`Outcome`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from .bias import MetadynamicsRule, Restraint
from .monitors import RdfWatch

BAR = 6.241509074460763e-07  # one bar in eV/Angstrom^3
POSITIVE = (  # fields of a `Protocol`, those that are not ``None``
    *("temperature_K", "time_step_fs", "length_ps", "save_every_fs", "relaxation_fs", "bond_tolerance"),
    *("drift_limit_eV_per_atom", "displacement_limit_A", "step_limit_A"),
    *("compressibility_per_bar", "barostat_relaxation_fs"),
)


@dataclass(frozen=True)
class Protocol:
    """How to simulate.

    ``ensemble``: nve, nose_hoover (a chain of three), nose_hoover_single, nose_hoover_mdsim (as published: all 3N
    degrees of freedom, relaxation of 20 steps whatever ``relaxation_fs`` says), bussi, langevin, npt (isotropic,
    needs the model's stress, never for scores). ``temperature_K`` and ``time_step_fs`` are one number or one per
    replica; ``length_ps``, ``equilibrate_ps`` and ``save_every_fs`` count with the longest step, so a replica with a
    shorter one covers less time.

    A replica is retired when, on a saved frame, a bond of ``bonds`` [(i, j, length)] is off by more than
    ``bond_tolerance`` (Angstrom), its g(r) fails ``rdf``, the conserved quantity has moved by more than
    ``drift_limit_eV_per_atom`` or an atom by more than ``displacement_limit_A`` from its start; and, in any step, when
    something is not finite, the temperature exceeds 1e5 K or an atom moves more than ``step_limit_A``.
    """

    ensemble: str
    temperature_K: float | tuple[float, ...]
    time_step_fs: float | tuple[float, ...]
    length_ps: float
    save_every_fs: float
    relaxation_fs: float = 100.0
    friction_per_ps: float = 1.0
    equilibrate_ps: float = 0.0
    bonds: tuple[tuple[int, int, float], ...] = ()
    bond_tolerance: float = 0.5
    metadynamics: MetadynamicsRule | None = None
    restraints: tuple[Restraint, ...] = ()
    rdf: RdfWatch | None = None
    drift_limit_eV_per_atom: float | None = None
    displacement_limit_A: float | None = None
    step_limit_A: float | None = None
    pressure_bar: float = 1.0
    compressibility_per_bar: float = 4.5e-5
    barostat_relaxation_fs: float = 1000.0
    save_velocities: bool = False

    def __post_init__(self):
        """A limit that is NaN or infinite is none: nothing would ever fail it."""
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not np.all((np.asarray(value) > 0) & np.isfinite(value)):
                raise ValueError(f"{name} must be positive, got {value}")
        for name in ("friction_per_ps", "equilibrate_ps"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if not math.isfinite(self.pressure_bar):
            raise ValueError(f"pressure_bar must be finite, got {self.pressure_bar}")
        for bond in self.bonds:
            if not 0 < bond[2] < math.inf:
                raise ValueError(f"bonds: {tuple(bond)} has no length that a bond could be held against")

    @property
    def longest_step_fs(self) -> float:
        return float(np.max(self.time_step_fs))

    @property
    def steps(self) -> int:
        """Steps that cover ``length_ps``: where it is no multiple of the step, the last one ends beyond it."""
        return math.ceil(self.length_ps * 1000 / self.longest_step_fs - 1e-6)

    @property
    def equilibration_steps(self) -> int:
        return math.ceil(self.equilibrate_ps * 1000 / self.longest_step_fs - 1e-6)

    @property
    def save_every(self) -> int:
        return max(1, round(self.save_every_fs / self.longest_step_fs))


@dataclass(frozen=True)
class Start:
    """``positions`` [B, N, 3] Angstrom, ``numbers`` [N], ``masses`` [N] amu, ``cell`` [3, 3], ``pbc`` [3].

    ``replica_ids`` [B] choose the random numbers (default 0..B-1), so that a part of a batch, run alone, draws what
    it would have drawn in the whole. ``charge`` and ``spin_multiplicity`` (2S+1) are those of every replica.
    """

    positions: np.ndarray
    numbers: np.ndarray
    masses: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    replica_ids: tuple[int, ...] | None = None
    charge: int = 0
    spin_multiplicity: int = 1

    @property
    def ids(self) -> tuple[int, ...]:
        return self.replica_ids if self.replica_ids is not None else tuple(range(len(self.positions)))

    def part(self, replicas: slice) -> Start:
        """Some of the replicas, with the random numbers they have in the whole."""
        return replace(self, positions=self.positions[replicas], replica_ids=self.ids[replicas])


@dataclass
class Outcome:
    """Per replica: ``end_ps`` simulated (at most ``length_ps``) and ``reason`` it stopped early ("" if it did not);
    ``hills`` per replica [H, D + 1] (rad or Angstrom, height in eV as added); ``force_calls`` that the trajectory took
    (one at the start, one per step of the batch) and ``wall_s`` its time, both over all processes that worked on it.

    ``mode`` is ``eager`` or ``step`` (compiled whole step; reports of older engines also have ``force``, a compiled
    force call), ``mode_note`` why, and ``force_error`` the largest relative force error of the compiled step against
    eager. ``drift_eV_per_atom`` [B] of
    the conserved quantity over the run (NaN where the ensemble has none) and ``displacement_A`` [B], the largest
    distance of an atom from its start (drift of the centre of mass removed), both over saved frames.
    """

    end_ps: list[float]
    reason: list[str]
    hills: list[np.ndarray] | None = None
    force_calls: int = 0
    wall_s: float = 0.0
    alive: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    mode: str = "eager"
    mode_note: str = ""
    force_error: float | None = None
    drift_eV_per_atom: np.ndarray = field(default_factory=lambda: np.zeros(0))
    displacement_A: np.ndarray = field(default_factory=lambda: np.zeros(0))
