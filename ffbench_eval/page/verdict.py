"""One honest sentence per task: what ran, what it says, and what it cannot say."""

from __future__ import annotations

from dataclasses import dataclass

from ffbench_data.theory import stated

from ..kinds import all_kinds
from ..report import Metric, Report, TaskReport, same_theory
from ..words import clean, many, metric_name, number, quantity, value_text

MEANING = {
    "ok": "ran to its end",
    "unstable": "the simulation broke; how and when is said below",
    "unsupported": "the model does not cover this system",
    "out_of_memory": "this machine was too small, which says nothing about the model's physics",
    "model_error": "the model raised an error or gave numbers that are not finite",
    "harness_error": "a fault of ffbench or of this machine, not of the model",
    "not_run": "never started",
}
MADE = "criterion made from the data"  # as `criteria` says it
WHOLE = 0.2  # of the target temperature that the motion of the whole may hold
LOST = ("unsupported", "out_of_memory", "model_error", "harness_error", "not_run")


@dataclass(frozen=True)
class Verdict:
    """``label`` is one of finished, astray, unstable, incomplete, no result, unsupported, not run."""

    label: str
    sentence: str

    @property
    def tone(self) -> str:
        # A finished run is not a good model: no green here.
        tones = {"finished": "done", "astray": "bad", "unstable": "bad", "incomplete": "warn", "no result": "warn"}
        return tones.get(self.label, "none")


def verdict(task: TaskReport, theory: str = "") -> Verdict:
    """The verdict on one task, from its statuses and metrics, and the level of ``theory`` that the model states."""
    states = set(task.statuses)
    if states <= {"not_run"}:
        why = _first_line(next((d for unit in task.units for d in unit.detail), ""))
        because = f" ({why})" if why else ""
        return Verdict("not run", f"Nothing of this task was run{because}: there is no result, good or bad.")
    if states == {"unsupported"}:
        why = next((d for unit in task.units for d in unit.detail), "")
        return Verdict("unsupported", f"Not measured: {_first_line(why) or MEANING['unsupported']}.")
    if not any(m.value is not None for m in task.metrics.values()):
        return Verdict("no result", _sentence([_lost(task), "no number could be computed"]))

    broken, ran = unstable(task)
    astray, whole = strayed(task), moves_as_a_whole(task)
    parts = [
        _indicative(task),
        _other_theory(task, theory),
        _ran(task, broken, ran),
        astray,
        whole,
        *_said_of_numbers(task),
    ]
    parts += [*_against_floor(task, broken), _lost(task), *_not_scored(task)]
    lost = "incomplete" if lost_states(task) else ""
    label = "unstable" if broken else lost or ("astray" if astray or whole else "finished")
    return Verdict(label, _sentence(parts))


def lost_states(task: TaskReport) -> set[str]:
    """States of members that gave no number."""
    return set(task.statuses) & set(LOST)


def stated_theory(report: Report, task: TaskReport) -> str:
    """The level of theory of the model that answered a task."""
    name, config = task.dataset.name, task.dataset.config
    return (report.models.get(f"{name}:{config}") or report.models.get(name) or report.model).theory


def of_other_theory(task: TaskReport, theory: str) -> bool:
    """Whether the task compares with labels of another level of theory than the model states."""
    data, kind = task.dataset.theory, all_kinds().get(task.kind)
    return bool((kind is None or kind.theory) and theory and data and not same_theory(theory, data))


def _other_theory(task: TaskReport, theory: str) -> str:
    data = task.dataset.theory
    if not of_other_theory(task, theory):
        return ""
    if not stated(data):
        return (
            f"the model's level of theory is {clean(theory)}, the data's is not stated (--theory NAME): differences "
            "from the data may hold the difference of the two"
        )
    return (
        f"the model's level of theory is {clean(theory)}, the data's {clean(data)}: differences from the data hold "
        "the difference of the two, not the model's errors alone"
    )


def unstable(task: TaskReport) -> tuple[int, int]:
    """(replicas that broke, replicas that ran). A liquid's g(r) criterion shows in the metric, not in the status."""
    counts = task.statuses
    fraction = task.metrics.get("stable_fraction")
    if fraction is not None and fraction.values:
        return sum(v == 0 for v in fraction.values), len(fraction.values)
    broken = counts.get("unstable", 0)
    return broken, broken + counts.get("ok", 0)


def _not_scored(task: TaskReport) -> list[str]:
    """Metrics without a value, once per reason."""
    reasons: dict[str, list[str]] = {}
    for name, m in task.metrics.items():
        if m.not_scored:
            reasons.setdefault(clean(m.not_scored), []).append(metric_name(name))
    return [
        f"{' and '.join(names) if len(names) < 3 else f'{names[0]} and {len(names) - 1} more'} not scored ({reason})"
        for reason, names in reasons.items()
    ]


def _indicative(task: TaskReport) -> str:
    return "indicative only" if task.indicative else ""


def _ran(task: TaskReport, broken: int, ran: int) -> str:
    kind = all_kinds().get(task.kind)
    if kind is None or not kind.simulation or kind.timed or not ran:
        return ""
    length = task.parameters.get("length_ps")
    whole = f"{length:g} ps" if isinstance(length, int | float) else "length"
    who = {1: "the one replica", 2: "both replicas"}.get(ran, f"all {ran} replicas")
    time = task.metrics.get("stable_time")
    known = time is not None and time.value is not None
    if not broken and not known:
        return f"{who} ran the full {whole}, and nothing says whether they broke"
    made = " (by a criterion made from the data)" if time and MADE in time.interval_note else ""
    if not broken:
        return f"{who} ran the full {whole} without breaking{made}"
    mean = f", stable for {value_text(time)} of {whole} on average" if time and known else ""
    rest = f"{mean}{made}; observables use the stable parts only"
    return f"{broken} of {many(ran, 'replica')} broke before the end{rest}"


def strayed(task: TaskReport) -> str:
    """Replicas whose bonds hold where the truth disagrees: stable by the criterion, and wrong."""
    stable, trusted = task.metrics.get("stable_time"), task.metrics.get("trusted_time")
    if stable is None or trusted is None or len(stable.values) != len(trusted.values):
        return ""
    astray = sum(t < s - 1e-9 for s, t in zip(stable.values, trusted.values) if s is not None and t is not None)
    if not astray:
        return ""
    return (
        f"{astray} of {many(len(trusted.values), 'replica')} went where the truth disagrees and forces are no better "
        f"than none, trusted for {value_text(trusted)} ps on average"
    )


def moves_as_a_whole(task: TaskReport) -> str:
    """Heat in the motion of the whole, which a net force or torque of the model feeds while the thermostat holds the
    total: the total less what the atoms have against one another, beyond its error."""
    total, inner = (task.metrics.get(f"{k}temperature_deviation") for k in ("", "internal_"))
    target = task.parameters.get("temperature_K")
    if total is None or inner is None or not isinstance(target, int | float):
        return ""
    gaps = [t - i for t, i in zip(total.values, inner.values) if t is not None and i is not None]
    if not gaps:
        return ""
    mean = sum(gaps) / len(gaps)
    error = 0.0 if len(gaps) < 2 else (sum((g - mean) ** 2 for g in gaps) / (len(gaps) - 1) / len(gaps)) ** 0.5
    if mean < max(WHOLE * target, 4 * error):
        return ""
    mine = target + sum(i for i in inner.values if i is not None) / len(gaps)
    return (
        f"heat goes into the motion of the whole (a net force or torque): of {number(mine + mean)} K in total the "
        f"atoms have {number(mine)} K against one another"
    )


def _lost(task: TaskReport) -> str:
    counts = task.statuses
    kind = all_kinds().get(task.kind)
    member = kind.member if kind else "unit"
    lost = [
        f"{many(counts[s], member)} ended in {s} ({_why(task, s) or MEANING[s]})"
        for s in LOST
        if counts.get(s) and s != "not_run"
    ]
    if counts.get("not_run"):
        lost.append(f"{many(counts['not_run'], member)} not run")
    return "; ".join(lost)


def _why(task: TaskReport, state: str) -> str:
    """What the first unit in which the model failed said first."""
    if state != "model_error":
        return ""
    said = next((d for unit in task.units if state in unit.status for d in unit.detail if d.strip()), "")
    return "" if said.startswith("Traceback") else _first_line(said)[:200].rstrip(".")


def _said_of_numbers(task: TaskReport) -> list[str]:
    kind = all_kinds().get(task.kind)
    return kind.say(task) if kind else []


def _against_floor(task: TaskReport, broken: int) -> list[str]:
    inside: list[tuple[str, Metric]] = []
    outside: list[tuple[str, Metric]] = []
    halves: list[tuple[str, Metric]] = []
    for name, m in task.metrics.items():
        if m.value is not None and m.floor is not None and m.floor.runs:
            (halves if m.floor.runs < 2 else inside if m.value <= m.floor.p95 else outside).append((name, m))
    parts = []
    if halves:
        times = [f"{metric_name(n)} {quantity(m)}, {_times(m, 'the median of its noise floor')}" for n, m in halves]
        parts.append(f"{', '.join(times)}; that floor is of halves of one trajectory, nothing passes or fails by it")
    if outside:
        times = [f"{metric_name(n)} ({_times(m)})" for n, m in outside]
        parts.append(f"above the noise floor: {', '.join(times)}")
    if inside:
        where = "inside the noise floor" + ("" if broken else ", not told apart from the truth at this length")
        parts.append(f"{where}: {', '.join(metric_name(n) for n, _ in inside)}")
    return parts


def _times(metric: Metric, what: str = "its median") -> str:
    assert metric.value is not None
    assert metric.floor is not None
    if metric.floor.median <= 0:
        return f"{number(metric.value)} against {number(metric.floor.p95)}"
    return f"{metric.value / metric.floor.median:.3g} times {what}"


def _first_line(text: str) -> str:
    lines = [line for line in clean(text).splitlines() if line.strip()]
    return lines[0].strip().rstrip(".")[:200] if lines else ""


def _sentence(parts: list[str]) -> str:
    text = "; ".join(p for p in parts if p)
    return text[:1].upper() + text[1:] + "."
