"""What a number can be at all, and what is worth a look: unit and range of every known metric, and whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

INF = float("inf")
ROUNDING = 1e-6  # of float32
ONE = 1 + ROUNDING


@dataclass(frozen=True)
class Bound:
    """``low`` to ``high`` is what a run of a sound model gives: outside is worth a look. ``least`` to ``most`` is what
    the definition allows, for any model however bad: outside is an error. ``continuous``: independent samples seldom
    agree to the last digit; ``zero``: an exact zero is nothing odd."""

    unit: str
    low: float
    high: float
    continuous: bool = True
    zero: bool = False
    least: float = 0.0
    most: float = INF


BOUNDS: dict[str, Bound] = {
    "force_mae": Bound("eV/Å", 1e-9, 1e4),
    "force_rmse": Bound("eV/Å", 1e-18, 1e8),  # its values are mean squares
    "energy_mae": Bound("eV", 1e-12, 1e7),
    "energy_mae_per_atom": Bound("eV/atom", 1e-12, 1e6),
    "energy_mae_aligned": Bound("eV", 0, 1e7, zero=True),
    "energy_mae_per_atom_aligned": Bound("eV/atom", 0, 1e6, zero=True),
    "force_cosine": Bound("1", -1.0, 1.0, zero=True, least=-ONE, most=ONE),
    "net_force": Bound("eV/Å", 0, 1e4, zero=True),
    "net_torque": Bound("eV", 0, 1e7, zero=True),
    "stable_fraction": Bound("1", 0, 1, continuous=False, zero=True, most=1),
    "stable_time": Bound("ps", 0, 1e9, continuous=False, zero=True),
    "trusted_time": Bound("ps", 0, 1e9, continuous=False, zero=True),
    "distance_histogram_error": Bound("1", 1e-6, 2.0, most=2 * ONE),
    "free_energy_error": Bound("kJ/mol", 1e-6, 40.0 + 1e-6),
    "free_energy_integral_error_phi": Bound("kJ/mol rad", 1e-6, 1e5),
    "free_energy_integral_error_psi": Bound("kJ/mol rad", 1e-6, 1e5),
    "temperature_deviation": Bound("K", -1e5, 1e5, zero=True, least=-INF),
    "internal_temperature_deviation": Bound("K", -1e5, 1e5, zero=True, least=-INF),
    "energy_drift": Bound("meV/atom/ps", 0, 1e12, zero=True),
    "energy_fluctuation": Bound("meV/atom", 0, 1e12, zero=True),
    "diffusivity": Bound("m^2/s", -1e-7, 1e-6, zero=True, least=-INF),
    "on_trajectory_force_mae": Bound("eV/Å", 1e-9, 1e6),
    "force_violation": Bound("1", 0, 1, zero=True, most=ONE),
    "energy_violation": Bound("1", 0, 1e12, zero=True),
    "fsd": Bound("1/Å", 1e-9, 1e5),
    "fsd_compress": Bound("1/Å", 0, 1e5, zero=True),
    "fsd_stretch": Bound("1/Å", 0, 1e5, zero=True),
    "scan_force_mae": Bound("eV/Å", 1e-9, 1e6),
    "scan_energy_mae_aligned": Bound("eV", 0, 1e7, zero=True),
    "scan_energy_mae": Bound("eV", 0, 1e7, zero=True),
    "sign_flips": Bound("1", 0, 1e4, continuous=False, zero=True),
    "energy_jump": Bound("1", 0, 1e12, zero=True),
    "conservativeness": Bound("eV", 0, 1e7, zero=True),
    "conservativeness_on_frames": Bound("eV", 0, 1e7, zero=True),
    "conservativeness_of_reference": Bound("eV", 0, 1e3, continuous=False, zero=True),  # the same for every model
    "supported_share": Bound("1", 0, 1, continuous=False, zero=True, most=1),
    "masked_labels": Bound("1", 0, 1e7, continuous=False, zero=True),
    "probe_cost": Bound("1", 0, 1e6),
    "spurious_extrema": Bound("1", 0, 1e4, continuous=False, zero=True),
    "steps_per_second": Bound("replica steps/s", 1e-6, 1e9),
    "ns_per_day": Bound("ns/day", 1e-12, 1e9),
    "engine_over_call": Bound("1", 1e-3, 1e6),
    "steps_per_kernel": Bound("1", 1e-9, 1e6),
}


SHARE = Bound("1", 0, 1, continuous=False, zero=True, most=ONE)
SELECTIVE = {  # score.domain.source.rule
    **dict.fromkeys(("auroc", "aurc", "auprc", "accuracy_at_coverage", "accuracy", "ece", "brier"), SHARE),
    "excess_aurc": Bound("1", 0, 1, continuous=False, zero=True, least=-ONE, most=ONE),
    **dict.fromkeys(("realised_risk", "realised_coverage", "prevalence", "majority_accuracy"), SHARE),
    **dict.fromkeys(
        ("augrc", "excess_augrc"), Bound("1", 0, 0.5, continuous=False, zero=True, least=-ROUNDING, most=0.5 * ONE)
    ),
    "residual_augrc": Bound("any", 0, 1e7, continuous=False, zero=True),
    "spearman": Bound("1", -1, 1, continuous=False, zero=True, least=-ONE, most=ONE),
}


def bound(name: str) -> Bound | None:
    """
    >>> bound("rdf_error_O-O").unit, bound("a_new_metric")
    ('Å', None)
    """
    if name.startswith("rdf_error_"):
        return Bound("Å", 1e-6, 1e4)
    first = name.split(".")[0]
    if first in SELECTIVE:
        return SELECTIVE[first]
    for base in ("fsd", "scan_force_mae", "scan_energy_mae_aligned", "scan_energy_mae"):  # sides, quantiles, bond types
        if name not in BOUNDS and name.startswith(f"{base}_"):
            return BOUNDS[base]
    return BOUNDS.get(name)


def few_digits(value: float) -> bool:
    """At most three significant digits: typed in or rounded, not computed.

    >>> few_digits(0.015), few_digits(0.0154321)
    (True, False)
    """
    return value != 0 and float(f"{value:.2e}") == value
