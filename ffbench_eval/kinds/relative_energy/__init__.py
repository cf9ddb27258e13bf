"""Relative energies against CCSD(T): sums of coefficients times total energies, which hold for any model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..base import Kind, MetricSpec

if TYPE_CHECKING:
    from ...report import TaskReport

METRICS = (
    MetricSpec("relative_energy_mae", "MAE of relative energies", "kcal/mol", usual=(1e-6, 1e6), zero=True,
               columns={"": 0}, ranked=True, nothing="equal energies", share="energy error {}", curve="energy "),
    MetricSpec("relative_energy_bias", "bias of relative energies", "kcal/mol", "neither", low=-math.inf,
               usual=(-1e6, 1e6)),
    MetricSpec("no_difference_mae", "MAE of predicting no difference", "kcal/mol", "neither", continuous=False),
    MetricSpec("rank_correlation", "rank correlation of conformers", "1", "higher", low=-1, high=1, continuous=False,
               columns={"": 1}, of_every=()),
    MetricSpec("minimum_position_error", "error of the minimum's position", "1", usual=(0, 10), zero=True,
               function="curve_minimum",
               columns={"": 2}, of_every=()),
    MetricSpec("minimum_depth_error", "error of the minimum's depth", "kcal/mol", usual=(0, 1e6), zero=True,
               function="curve_minimum",
               columns={"": 3}, of_every=()),
    MetricSpec("supported_reactions", "share of reactions the model covers", "1", "neither", high=1, continuous=False,
               zero=True, of_every=(), function=""),
)  # fmt: skip


def numbers(task: TaskReport) -> list[str]:
    """The error in both units, beside that of predicting no difference, and the part of the set it speaks of."""
    from ffbench_metrics.relative_energy import KCAL_PER_MOL

    from ...words import known, number, quantity

    found, none, share = (
        task.metrics.get(k) for k in ("relative_energy_mae", "no_difference_mae", "supported_reactions")
    )
    if not known(found) or found.value is None:
        return []
    of = f" of {round(found.n / share.value)}" if share and share.value and share.value < 1 else ""
    said = [f"MAE {quantity(found)} ({number(1000 * KCAL_PER_MOL * found.value)} meV) on {found.n}{of} reactions"]
    if none and none.value is not None:
        better = "no better than" if found.value >= none.value else "against"
        said.append(f"{better} {number(none.value)} of predicting no difference")
    if found.floor is not None:
        said.append(f"the references are known to about {number(found.floor.median)} kcal/mol")
    return said


KIND = Kind(
    name="relative_energy",
    about="Sums of coefficients times total energies against references of CCSD(T) quality: conformers, interactions, "
    "barriers, reactions. Scored for every level of theory.",
    member="reaction",
    members="reactions",
    tolerance=2e-3,  # other hardware rounds float32 differently
    theory=False,
    small_plots=True,
    subject="chemistry",
    work=f"{__name__}.work",
    sentence=f"{__name__}:numbers",
    metrics=METRICS,
)
