"""What every energy and every force field has to have, whatever its theory: symmetry, a gradient, repulsion."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..base import Kind, MetricSpec

if TYPE_CHECKING:
    from ...report import Metric, TaskReport

LIMITS = {  # beyond these a verdict calls it a fault; rounding counts as 0 before
    "jacobian_asymmetry": 1e-3,
    "gradient_error": 1e-2,
    "rotation_force_error": 1e-3,
    "rotation_energy_error": 1e-4,
    "reflection_force_error": 1e-3,
    "translation_force_error": 1e-3,
    "permutation_force_error": 1e-3,
    "net_force": 1e-3,
    "net_torque": 1e-2,
    "size_consistency_error": 1e-3,
    "far_molecule_force_change": 1e-5,
    "far_atom_force_change": 1e-6,
    "cutoff_energy_jump": 1e-4,
    "cutoff_force_jump": 1e-3,
    "path_energy_jump": 1e-4,
    "path_force_jump": 1e-2,
    "precision_error": 1e-4,
    "dimer_energy_rises": 1.0,
    "dimer_force_rises": 1.0,
    "dimer_repulsive": 1.0,
    "pair_energy_rises": 1.0,
    "pair_force_rises": 1.0,
    "pair_repulsive": 1.0,
}


def _share(name: str, label: str, place: int = 0) -> MetricSpec:
    columns = {"": 6 + place} if place else {}
    return MetricSpec(
        name, label, "1", "higher", high=1.0, zero=True, continuous=False, columns=columns, function="repulsion"
    )


_SPECS = (
    MetricSpec(
        "jacobian_asymmetry",
        "asymmetry of the force Jacobian",
        "1",
        usual=(0, 0.1),
        high=2.0,
        zero=True,
        columns={"": 0},
    ),
    MetricSpec(
        "gradient_error",
        "forces against the slope of the energy",
        "eV/Å",
        usual=(0, 1e3),
        zero=True,
    ),
    MetricSpec(
        "rotation_force_error",
        "force error under rotation",
        "eV/Å",
        usual=(0, 1e2),
        zero=True,
        columns={"": 1},
        function="equivariance_error",
    ),
    MetricSpec(
        "rotation_energy_error",
        "energy error under rotation",
        "eV/atom",
        usual=(0, 1e2),
        zero=True,
        function="energy_mae",
    ),
    MetricSpec(
        "reflection_force_error",
        "force error under reflection",
        "eV/Å",
        usual=(0, 1e2),
        zero=True,
        function="equivariance_error",
    ),
    MetricSpec(
        "translation_force_error",
        "force error under translation",
        "eV/Å",
        usual=(0, 1e2),
        zero=True,
        function="equivariance_error",
    ),
    MetricSpec(
        "permutation_force_error",
        "force error under renumbering",
        "eV/Å",
        usual=(0, 1e2),
        zero=True,
        function="force_mae",
    ),
    MetricSpec("net_force", "net force of the forces", "eV/Å", usual=(0, 1e4), zero=True),
    MetricSpec("net_torque", "net torque of the forces", "eV", usual=(0, 1e7), zero=True, version="2"),
    MetricSpec(
        "size_consistency_error",
        "two distant copies against twice one",
        "eV",
        usual=(0, 1e2),
        zero=True,
        columns={"": 3},
        function="energy_mae",
    ),
    MetricSpec(
        "far_molecule_force_change",
        "largest force of a copy 100 Å away",
        "eV/Å",
        usual=(0, 1e2),
        zero=True,
        function="",
    ),
    MetricSpec(
        "far_atom_force_change", "largest force of an atom 100 Å away", "eV/Å", usual=(0, 1e2), zero=True, function=""
    ),
    MetricSpec(
        "cutoff_energy_jump",
        "energy jump at the cutoff",
        "eV",
        usual=(0, 1e2),
        zero=True,
        continuous=False,
        function="largest_jump",
    ),
    MetricSpec(
        "cutoff_force_jump",
        "force jump at the cutoff",
        "eV/Å",
        usual=(0, 1e3),
        zero=True,
        continuous=False,
        columns={"": 4},
        function="largest_jump",
    ),
    MetricSpec(
        "path_energy_jump",
        "energy jump on a path of one atom",
        "eV",
        usual=(0, 1e2),
        zero=True,
        function="largest_jump",
    ),
    MetricSpec(
        "path_force_jump",
        "force jump on a path of one atom",
        "eV/Å",
        usual=(0, 1e3),
        zero=True,
        columns={"": 5},
        function="largest_jump",
    ),
    MetricSpec(
        "precision_error",
        "float32 forces against float64, of their mean",
        "1",
        usual=(0, 1),
        zero=True,
        function="force_mae",
    ),
    _share("dimer_energy_rises", "dimers pushed together whose energy rises"),
    _share("dimer_force_rises", "dimers pushed together whose force rises"),
    _share("dimer_repulsive", "dimers pushed together that repel throughout", 1),
    _share("pair_energy_rises", "bonded pairs pushed together whose energy rises"),
    _share("pair_force_rises", "bonded pairs pushed together whose force rises"),
    _share("pair_repulsive", "bonded pairs pushed together that repel throughout", 2),
)


METRICS = tuple(replace(m, limit=LIMITS[m.name]) for m in _SPECS)


def beyond(task: TaskReport) -> list[str]:
    """The metrics of a report that lie beyond their limit."""
    found = ((m, task.metrics[m.name].value) for m in METRICS if m.name in task.metrics)
    return [m.name for m, value in found if value is not None and m.beyond(value)]


def numbers(task: TaskReport) -> list[str]:
    """What a verdict says: the faults with their numbers, how many checks found none, and what was not asked."""
    labels = {m.name: m.label for m in METRICS}
    told = [f"{labels[n]} {_quantity(task.metrics[n])}" for n in beyond(task)]
    asked = [m for name, m in task.metrics.items() if name in LIMITS]
    missing = sum(m.value is None for m in asked)
    fine = len(asked) - missing - len(told)
    said = [f"beyond its limit: {', '.join(told)}"] if told else []
    if fine:
        said.append(f"{fine} of {fine + len(told)} checks within their limits")
    return [*said, f"{missing} could not be asked"] if missing else said


def _quantity(m: Metric) -> str:
    from ...words import in_small_units, quantity

    return quantity(in_small_units(m))


KIND = Kind(
    name="physicality",
    about="What any energy and its forces must have: symmetry, a gradient, no jumps, repulsion. No labels are needed.",
    member="structure",
    members="members",
    theory=False,
    tolerance=2e-3,
    work="ffbench_eval.kinds.physicality.work",
    sentence="ffbench_eval.kinds.physicality:numbers",
    metrics=METRICS,
    weight=0.0,  # no score between a floor and a trivial baseline
)
