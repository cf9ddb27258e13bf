"""What values a metric of a report can have at all: an interval of its mean does not leave them.

Names are those of reports: `rdf_error_O-O` and `fsd_C-H_median` belong to the entry they begin with,
`auroc.test.probe` to its first part.
"""

from __future__ import annotations

import math

from ffbench_metrics import Interval, within

from .report import Metric

INF = math.inf
SIZE, SHARE, CORRELATION = (0.0, INF), (0.0, 1.0), (-1.0, 1.0)
DOMAINS: dict[str, tuple[float, float]] = {
    "force_mae": SIZE,
    "force_rmse": SIZE,
    "energy_mae": SIZE,
    "force_cosine": CORRELATION,
    "net_force": SIZE,
    "net_torque": SIZE,
    "stable_fraction": SHARE,
    "stable_time": SIZE,
    "trusted_time": SIZE,
    "distance_histogram_error": (0.0, 2.0),
    "rdf_error": SIZE,
    "free_energy_error": SIZE,
    "free_energy_integral_error": SIZE,
    "energy_drift": SIZE,
    "energy_fluctuation": SIZE,
    "diffusivity": SIZE,
    "on_trajectory_force_mae": SIZE,
    "force_violation": SHARE,
    "energy_violation": SIZE,
    "fsd": SIZE,
    "scan_force_mae": SIZE,
    "scan_energy_mae": SIZE,
    "spurious_extrema": SIZE,
    "sign_flips": SIZE,
    "energy_jump": SIZE,
    "conservativeness": SIZE,
    "supported_share": SHARE,
    "masked_labels": SIZE,
    "probe_cost": SIZE,
    "augrc": (0.0, 0.5),
    "excess_augrc": (0.0, 0.5),
    "aurc": SHARE,
    "excess_aurc": (-1.0, 1.0),  # the optimum is of many cases and of no ties: few cases or two levels lie below it
    "residual_augrc": SIZE,
    "auroc": SHARE,
    "auprc": SHARE,
    "accuracy_at_coverage": SHARE,
    "accuracy": SHARE,
    "ece": SHARE,
    "brier": SHARE,
    "spearman": CORRELATION,
    "realised_risk": SHARE,
    "realised_coverage": SHARE,
    "prevalence": SHARE,
    "majority_accuracy": SHARE,
}

VERSIONS = {  # of definitions that changed; all others are the first
    "force_cosine": "2",  # the mean over atoms, before of the 3N vector
    "net_torque": "2",  # 0 below what rounding leaves
    "excess_aurc": "2",  # subtracts e + (1 - e) ln(1 - e), before e^2 / 2
}


def with_versions(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """Metrics of one task with the version of their definition."""
    return {n: m.model_copy(update={"version": VERSIONS.get(n.split(".")[0], "1")}) for n, m in metrics.items()}


def domain(name: str) -> tuple[float, float]:
    """(lowest, highest) value of a metric; infinite for one that is not known (a temperature deviation has a sign).

    >>> domain("force_cosine"), domain("rdf_error_O-O"), domain("auroc.test.probe"), domain("temperature_deviation")
    ((-1.0, 1.0), (0.0, inf), (0.0, 1.0), (-inf, inf))
    """
    first = name.split(".")[0]
    while first and first not in DOMAINS:
        first = first.rpartition("_")[0]
    return DOMAINS.get(first, (-INF, INF))


def known_interval(name: str, value: float, interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """An interval inside the metric's domain; ``None`` for one of width zero, which no number of samples can know.

    >>> known_interval("force_cosine", 0.9999, (0.9996, 1.0002)), known_interval("fsd", 2.0, (2.0, 2.0))
    ((0.9996, 1.0), None)
    """
    if interval is None:
        return None
    _, low, high = within(Interval(value, *interval), domain(name))
    return None if high - low <= 1e-12 * max(abs(low), abs(high)) else (low, high)


def with_known_intervals(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """Metrics of one task with intervals as `known_interval` leaves them; one that is lost is said in the note."""
    out = {}
    for name, m in metrics.items():
        kept = None if m.value is None else known_interval(name, m.value, m.interval)
        change: dict[str, object] = {} if kept == m.interval else {"interval": kept}
        if kept is None and m.interval is not None:
            change["interval_note"] = "; ".join(filter(None, [m.interval_note, "no interval: all samples are equal"]))
        out[name] = m.model_copy(update=change) if change else m
    return out
