"""Curves of two equal atoms, from the repulsive wall to free atoms: wiggles, and errors against the data's theory."""

from ..base import Kind, MetricSpec

METRICS = (
    MetricSpec("dimer_tortuosity", "tortuosity", "1", low=1, usual=(1, 1e9)),
    MetricSpec("dimer_energy_flips", "turns of the energy", "1", "neither", usual=(0, 119), continuous=False),
    MetricSpec("dimer_energy_jump", "energy jump at turns", "eV", usual=(0, 1e9), zero=True),
    MetricSpec("dimer_force_flips", "sign changes of the force", "1", "neither", usual=(0, 119), continuous=False),
    MetricSpec("dimer_force_variation", "total variation of the force", "eV/Å", "neither", usual=(0, 1e9), zero=True),
    MetricSpec("dimer_force_jump", "force jump at turns", "eV/Å", usual=(0, 1e9), zero=True),
    MetricSpec("dimer_force_mae", "force MAE of dimers", "eV/Å", usual=(0, 1e9), zero=True),
    MetricSpec("dimer_energy_mae", "energy MAE of dimers", "eV", usual=(0, 1e9), zero=True),
    MetricSpec("dimer_wall_error", "error of the wall", "Å", usual=(0, 10), zero=True),
    MetricSpec("dimer_well_error", "error of the well's depth", "eV", usual=(0, 1e9), zero=True),
    MetricSpec("dimer_bond_length_error", "bond length error", "Å", usual=(0, 10), zero=True),
    MetricSpec("dimer_frequency_error", "frequency error", "1/cm", usual=(0, 1e9), zero=True),
    MetricSpec("dimer_fsd", "FSD of dimers", "1/Å", usual=(0, 1e9), zero=True),
)


def numbers(task) -> list[str]:
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
