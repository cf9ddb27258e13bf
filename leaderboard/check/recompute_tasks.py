"""What the metrics of a task and the states of its members say about each other: frames, replicas, structures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ffbench_eval.report import ModelCard, TaskReport

from .faults import Fault


def accuracy_faults(task: TaskReport) -> Iterator[Fault]:
    mae, rmse = task.metrics.get("force_mae"), task.metrics.get("force_rmse")
    if mae and rmse and mae.value and rmse.value and rmse.value < mae.value * (1 - 1e-6):
        yield ".metrics.force_rmse.value", "is smaller than the mean absolute error, which cannot be"


def dynamics_faults(task: TaskReport) -> Iterator[Fault]:
    finished = [s for u in task.units if set(u.status) <= {"ok", "unstable"} for s in u.status]
    fraction, time = task.metrics.get("stable_fraction"), task.metrics.get("stable_time")
    replicas = task.parameters.get("replicas")
    members = task.states
    whole = "not_run" not in members and set(members) != {"unsupported"}
    if isinstance(replicas, int) and whole and len(members) != replicas:
        yield ".units", f"hold {len(members)} replicas, the task has {replicas}"
    if fraction is None or time is None:
        if finished:
            yield ".metrics", "needs stable_fraction and stable_time for the replicas that ran"
        return
    if not len(fraction.values) == len(time.values) == len(finished):
        yield (
            ".metrics.stable_fraction.values",
            f"{len(fraction.values)} and {len(time.values)} stable_time values for {len(finished)} replicas that ran",
        )
        return
    length = task.parameters.get("length_ps")
    for k, (state, share, end) in enumerate(zip(finished, fraction.values, time.values)):
        if state == "unstable" and share:
            yield f".metrics.stable_fraction.values[{k}]", "is 1 for a replica whose state is unstable"
        if isinstance(length, int | float) and end is not None:
            short = end < length * (1 - 1e-9)
            if short and share:
                yield f".metrics.stable_time.values[{k}]", f"ends before {length:g} ps for a replica counted as stable"
            if not short and not share and state != "unstable":
                yield f".metrics.stable_time.values[{k}]", "reaches the whole length for a replica counted as unstable"
    trusted = task.metrics.get("trusted_time")
    for k, (until, end) in enumerate(zip(trusted.values, time.values) if trusted else ()):
        if until is not None and end is not None and until > end * (1 + 1e-9):
            yield f".metrics.trusted_time.values[{k}]", f"is longer than the replica was stable ({end:g} ps)"
    for name, metric in task.metrics.items():
        if len(metric.values) > len(finished):
            yield f".metrics.{name}.values", f"{len(metric.values)} values for {len(finished)} replicas that ran"


def structure_faults(task: TaskReport) -> Iterator[Fault]:
    """One value per structure, and per dimer one that is there unless its element is not supported."""
    dimers = task.parameters.get("dimers")
    states = task.states
    if not isinstance(dimers, list) or "not_run" in states or set(states) == {"unsupported"}:
        return
    for name, metric in task.metrics.items():
        mine = structures_or_dimers(name, task)
        if len(metric.values) != len(mine):
            yield f".metrics.{name}.values", f"{len(metric.values)} values for {len(mine)} members"
        elif name.startswith("dimer_") and [v is None for v in metric.values] != [s != "ok" for s in mine]:
            yield f".metrics.{name}.values", "are not those of the dimers that ended ok"


def structures_or_dimers(name: str, task: TaskReport) -> Sequence[str]:
    """The states of what a metric is about: dimers come last."""
    dimers, states = task.parameters.get("dimers"), task.states
    first = len(states) - (len(dimers) if isinstance(dimers, list) else 0)
    return states[first:] if name.startswith("dimer_") else states[:first]


def not_to_be_asked(name: str, card: ModelCard) -> bool:
    """Whether a model states that it has nothing to be asked about: no cutoff to cross, no single precision."""
    if name in ("cutoff_energy_jump", "cutoff_force_jump", "far_atom_force_change"):
        return card.cutoff_angstrom is None
    return name == "precision_error" and card.dtype == "float64"
