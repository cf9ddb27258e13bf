"""Curves of two equal atoms, from the repulsive wall to free atoms: wiggles, and errors against the data's theory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..base import Kind, MetricSpec

if TYPE_CHECKING:
    from ...report import TaskReport

_alone: Callable[..., MetricSpec] = partial(
    MetricSpec,
    usual=(0, 1e9),
    zero=True,
    continuous=False,
    ranked=True,
    worse_than_none="dimer_force_mae",  # no forces at all have no jumps
)
_against: Callable[..., MetricSpec] = partial(
    MetricSpec, usual=(0, 1e9), zero=True, theory="another theory than the data's"
)

METRICS = (
    _alone(
        "dimer_tortuosity",
        "tortuosity",
        "1",
        low=1,
        usual=(1, 1e8),
        columns={"": 2},
        gloss=("tortuosity {}, smooth is 1", 1),
        curve="energy ",
    ),
    _alone("dimer_energy_flips", "turns of the energy", "1", "neither"),
    _alone("dimer_energy_jump", "energy jump at turns", "eV", columns={"": 3}),
    _alone("dimer_force_flips", "sign changes of the force", "1", "neither"),
    _alone("dimer_force_variation", "total variation of the force", "eV/Å", "neither"),
    _alone("dimer_force_jump", "force jump at turns", "eV/Å", columns={"": 4}),
    _against(
        "dimer_force_mae",
        "force MAE of dimers",
        "eV/Å",
        columns={"": 0},
        nothing="no forces",
        share="force error {}",
        curve="energy ",
    ),
    _against("dimer_energy_mae", "energy MAE of dimers", "eV", nothing="equal energies"),
    _against("dimer_wall_error", "error of the wall", "Å"),
    _against("dimer_well_error", "error of the well's depth", "eV"),
    _against("dimer_bond_length_error", "bond length error", "Å"),
    _against("dimer_frequency_error", "frequency error", "1/cm"),
    _against(
        "dimer_fsd", "FSD of dimers", "1/Å", columns={"": 1}, nothing="no forces", function="force_smoothness_deviation"
    ),
)


def numbers(task: TaskReport) -> list[str]:
    """The errors against the data's theory, and how much the force jumps."""
    from ...words import known, many, number, quantity

    force, jump = task.metrics.get("dimer_force_mae"), task.metrics.get("dimer_force_jump")
    if not known(jump):
        return []
    said = [f"the force jumps by {quantity(jump)} at its turns, on average over {many(jump.n, 'dimer')}"]
    if known(force):
        none = f" (no forces give {number(force.trivial)})" if force.trivial else ""
        said.append(f"force MAE {quantity(force)}{none} on {many(force.n, 'dimer')} with a smooth reference")
    return said


KIND = Kind(
    name="diatomics",
    about="Curves of two equal atoms as matbench-discovery scores them: on its grid of 119 distances, in its window.",
    member="dimer",
    members="dimers",
    tolerance=2e-2,  # other hardware rounds float32 differently, and a turn is there or not
    small_plots=True,
    work=f"{__name__}.work",
    sentence=f"{__name__}:numbers",
    metrics=METRICS,
)
