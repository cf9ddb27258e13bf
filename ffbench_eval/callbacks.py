"""Callables to hand to a training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ffbench_data.contract import ForceField

from .kinds.bsct import scores
from .kinds.bsct.predict import predict
from .kinds.bsct.scans import LabelledScan, find_scans, supported
from .models.batching import BATCH_ATOMS
from .models.inside import modules_in

KEYS = ("fsd", "scan_force_mae", "scan_energy_mae_aligned", "spurious_extrema", "sign_flips")


class SmoothnessMonitor:
    """How smooth a model in training is along bonds: FSD on a few scans, in seconds, the same every time.

    ``monitor(step, model)`` returns ``{"fsd", "scan_force_mae", "scan_energy_mae_aligned", "spurious_extrema",
    "sign_flips", "failed_scans"}``, plain means over the scans (NaN if the model failed on all), and keeps them in
    ``history`` with the step. It knows no training framework: call it where the loop validates, for example in
    ``callbacks`` of `reference_models.train.train`. The model's mode and the random numbers are left as they were.

    - ``scans``: labelled scans of molecules like the training data: a data set's name (``ethanol_gfn2:bond_scans``,
      ``bsct_spice``), its `Frames`, or scans made by `from_molecules`. Scans with elements the model does not cover are
      left out.
    - ``count``: at most that many scans, evenly over those there are.
    - ``wrap``: makes a `ForceField` of what the loop hands over, when that is something else (a bare torch module).
    - ``every``: only every n-th call measures; the others return ``{}``.

    ValueError: no scans, or none the model covers.

    >>> monitor = SmoothnessMonitor("ethanol_gfn2:bond_scans", count=2)
    >>> from reference_models import build
    >>> sorted(monitor(0, build("schnet")))[:2]
    ['failed_scans', 'fsd']
    """

    def __init__(
        self,
        scans: Any = "bsct_spice:all",
        *,
        count: int = 16,
        wrap: Callable[[Any], ForceField] | None = None,
        every: int = 1,
    ):
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self.scans = _scans(scans)
        self.count, self.wrap, self.every = count, wrap, every
        self.history: list[dict[str, float]] = []
        self._calls = 0

    @classmethod
    def from_molecules(
        cls, molecules: Iterable[Any], reference: Any, *, bonds: str = "auto", **options: Any
    ) -> SmoothnessMonitor:
        """Scans of ``molecules`` (`ase.Atoms`, or files ASE reads) by the published rule, labelled once by
        ``reference`` (an ASE calculator or a `ForceField`). Other arguments as for the class."""
        from .kinds.bsct.custom import Molecule, as_molecule, label_scans, make_scans, read_molecule
        from .models.resolve import resolve

        truth, _ = resolve(reference)
        if isinstance(truth, Mapping):
            raise ValueError("reference: a model per data set; hand over one of them")
        found: list[LabelledScan] = []
        for k, molecule in enumerate(molecules):
            if not hasattr(molecule, "numbers"):
                molecule = read_molecule(molecule)
            found_as = molecule if isinstance(molecule, Molecule) else as_molecule(molecule, f"{k}")
            one = replace(found_as, name=f"{k}")
            found += label_scans(one, make_scans(one, bonds), truth).values()
        return cls(found, **options)

    def __call__(self, step: int, model: Any) -> dict[str, float]:
        """The numbers at ``step``; ``{}`` when it is not this call's turn."""
        self._calls += 1
        if (self._calls - 1) % self.every:
            return {}
        field = self.wrap(model) if self.wrap else model
        if not isinstance(field, ForceField):
            raise ValueError(
                f"model: expected a ForceField, got {type(model).__name__}; pass wrap=, a function that makes one of it"
            )
        row = {"step": float(step), **self.measure(field)}
        self.history.append(row)
        return {k: v for k, v in row.items() if k != "step"}

    def measure(self, model: ForceField) -> dict[str, float]:
        """The numbers of one model, without a step."""
        fitting = [s for s in self.scans if supported(s, model)]
        if not fitting:
            raise ValueError(
                f"scans: none of the {len(self.scans)} has only elements (charge, spin) that {model.name} covers"
            )
        at = np.linspace(0, len(fitting) - 1, min(self.count, len(fitting))).round().astype(int)
        chosen = [fitting[k] for k in at]
        modes = {part: part.training for root in modules_in(model.fn) for part in root.modules()}
        for part in modes:
            part.training = False
        try:
            with torch.random.fork_rng(devices=[]):
                sets = [(s.numbers, s.positions) for s in chosen]
                states = [(s.charge, s.spin_multiplicity) for s in chosen]
                answers = predict(model, sets, states=states, at_most=BATCH_ATOMS["cpu"])
        finally:
            for part, mode in modes.items():  # each as it was: parts of a network may be frozen in eval mode
                part.training = mode
        rows = [
            scores.score_scan(s, e, f)
            for s, e, f in zip(chosen, answers.energy, answers.forces)
            if np.isfinite(e).all() and np.isfinite(f).all()
        ]
        known = {k: [v for row in rows if (v := row[k]) is not None] for k in KEYS}  # two points turn nowhere
        means = {k: float(np.mean(values)) if values else float("nan") for k, values in known.items()}
        return {**means, "failed_scans": float(len(chosen) - len(rows))}


def _scans(given: Any) -> list[LabelledScan]:
    """Labelled scans out of a data set's name, `Frames` or a sequence of scans."""
    if isinstance(given, str):
        from ffbench_data.datacard import parse_name
        from ffbench_data.load import load_frames

        name, config = parse_name(given)
        given = load_frames(name, config, "test")
    found = list(find_scans(given).values()) if hasattr(given, "table") else list(given)
    found = [s for s in found if s.labelled.sum() > 1]
    if not found:
        raise ValueError("scans: no labelled scan in what was given")
    return found
