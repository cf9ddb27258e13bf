"""The model runs the simulation; what comes out is compared with what the truth gives."""

from collections.abc import Mapping
from math import inf, log
from typing import Any

from ..base import Kind, MetricSpec

TEMPERATURES = (  # of every simulation
    MetricSpec(
        "temperature_deviation",
        "temperature minus target",
        "K",
        "neither",
        usual=(-1e5, 1e5),
        low=-inf,
        zero=True,
        function="kinetic_temperature",
    ),
    MetricSpec(
        "internal_temperature_deviation",
        "temperature of internal motion minus target",
        "K",
        "neither",
        usual=(-1e5, 1e5),
        low=-inf,
        zero=True,
        function="kinetic_temperature",
    ),
)

METRICS = (
    MetricSpec(
        "stable_fraction",
        "stable replicas",
        "1",
        "higher",
        high=1,
        continuous=False,
        zero=True,
        function="clopper_pearson",
    ),
    MetricSpec(
        "stable_time",
        "stable time",
        "ps",
        "higher",
        usual=(0, 1e9),
        continuous=False,
        zero=True,
        columns={"": 0},
        ranked=True,
        function="restricted_mean",
    ),
    MetricSpec(
        "trusted_time",
        "trusted time",
        "ps",
        "higher",
        usual=(0, 1e9),
        continuous=False,
        zero=True,
        columns={"": 1},
        function="restricted_mean",
    ),
    MetricSpec(
        "distance_histogram_error",
        "h(r) error",
        "1",
        usual=(1e-6, 2.0),
        high=2,
        columns={"": 2},
        nothing="a frozen molecule",
        curve="distance_histogram",
        function="histogram_error",
    ),
    MetricSpec(
        "rdf_error",
        "g(r) error",
        "Å",
        usual=(1e-6, 1e4),
        parts={},
        join=" ",
        columns={"": 2, "*": 2},
        nothing="an ideal gas",
        curve="rdf_{}",
    ),
    MetricSpec("wright_factor", "Wright factor", "%", usual=(1e-6, 1e4), parts={}, join=" "),
    MetricSpec(
        "jensen_shannon", "Jensen-Shannon divergence", "1", usual=(1e-9, log(2)), high=log(2), parts={}, join=" "
    ),
    MetricSpec(
        "angle_histogram_error",
        "angle histogram error",
        "1",
        usual=(1e-6, 2.0),
        high=2,
        parts={},
        join=" ",
        function="histogram_error",
    ),
    MetricSpec(
        "vibrational_mean",
        "mean wavenumber of the vibrations",
        "cm^-1",
        "neither",
        usual=(1, 5000),
        function="vibrational_spectrum",
    ),
    MetricSpec(
        "free_energy_error",
        "F(phi, psi) error",
        "kJ/mol",
        usual=(1e-6, 40.0 + 1e-6),
        columns={"": 2},
        nothing="a flat surface",
        curve="free_energy_phi",
    ),
    MetricSpec(
        "free_energy_integral_error_phi",
        "F(phi) integral error",
        "kJ/mol rad",
        usual=(1e-6, 1e5),
        function="free_energy_integral_error",
    ),
    MetricSpec(
        "free_energy_integral_error_psi",
        "F(psi) integral error",
        "kJ/mol rad",
        usual=(1e-6, 1e5),
        function="free_energy_integral_error",
    ),
    *TEMPERATURES,
    MetricSpec(
        "energy_drift",
        "energy drift",
        "meV/atom/ps",
        usual=(0, 1e12),
        zero=True,
        columns={"": 4},
        gloss=("drifts by about {} K/ps", 1 / (3 * 0.08617)),  # an atom that vibrates holds 3 kT
        curve="energy_drift",
        ranked=True,
        function="nve_drift",
    ),
    MetricSpec(
        "energy_fluctuation", "energy fluctuation", "meV/atom", usual=(0, 1e12), zero=True, function="nve_drift"
    ),
    MetricSpec(
        "diffusivity", "diffusivity", "m^2/s", "neither", usual=(-1e-7, 1e-6), low=-inf, zero=True, columns={"": 3}
    ),
    MetricSpec(
        "on_trajectory_force_mae",
        "force MAE on its own trajectory",
        "eV/Å",
        usual=(1e-9, 1e6),
        columns={"": 5},
        nothing="no forces",
        curve="on_trajectory",
        function="force_mae",
    ),
    MetricSpec("force_violation", "force violation", "1", usual=(0, 1), high=1, zero=True),
    MetricSpec("energy_violation", "energy violation", "1", usual=(0, 1e12), zero=True),
)


def measures_drift(parameters: Mapping[str, Any]) -> bool:
    """Whether it is a short simulation at constant energy."""
    return "energy_drift" in (parameters.get("observables") or ())


def needs_theory(parameters: Mapping[str, Any]) -> bool:
    """Whether a simulation is compared with one of the truth: energy drift and temperature are not."""
    observables = parameters.get("observables")
    return observables is None or not set(observables) <= {"energy_drift", "temperature"}


def other_theory(metric: str, parameters: Mapping[str, Any]) -> str:
    liquid = metric == "stable_time" and "rdf" in (parameters.get("observables") or ())
    return "stable means a g(r) like that of the data's theory" if liquid else ""


KIND = Kind(
    name="molecular_dynamics",
    about="The model runs the simulation; what comes out is compared with what the truth gives. "
    "Stability is a censored time: ≥ means nothing failed within the length.",
    member="replica",
    members="replicas",
    simulation=True,
    compiled=True,
    weight=2,
    needs_theory=needs_theory,
    other_theory=other_theory,
    time=("trusted_time", "stable_time"),
    brief=measures_drift,
    subject="stability",
    work="ffbench_eval.kinds.dynamics.work",
    sentence="ffbench_eval.kinds.dynamics.sentence:numbers",
    metrics=METRICS,
)
