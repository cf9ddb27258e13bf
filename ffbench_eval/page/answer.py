"""The answer to one task in a few words: whether the model can be trusted there, and by which number."""

from __future__ import annotations

from dataclasses import dataclass

from ffbench_data.theory import stated

from ..kinds import all_kinds
from ..report import Metric, Report, TaskReport
from ..words import clean, known, number
from .verdict import lost_states, moves_as_a_whole, of_other_theory, stated_theory, strayed, unstable

TELLING = 2.0  # the trivial baseline has to lie this many times above the floor's 95th percentile to be told from it


@dataclass(frozen=True)
class Answer:
    """``words``: what a reader looks for; ``tone``: good, fair, bad, warn or none; ``metric``: the deciding one's name,
    empty where there is none."""

    words: str
    tone: str
    metric: str = ""


def answer(task: TaskReport, theory: str = "") -> Answer:
    """The answer of a task to a model whose level of theory is ``theory``."""
    states = set(task.statuses)
    if states <= {"not_run"}:
        return Answer("not run", "none")
    if states == {"unsupported"}:
        return Answer("not covered", "none")
    if not any(m.value is not None for m in task.metrics.values()):
        return Answer("no result", "warn")
    found = _broke(task) or _astray(task) or _by_limits(task) or _by_numbers(task, theory)
    lost = lost_states(task)
    if lost and found.tone in ("good", "fair", "none"):
        return Answer(f"incomplete: {found.words}", "warn", found.metric)
    return found


def _broke(task: TaskReport) -> Answer | None:
    broken, ran = unstable(task)
    if not broken:
        return None
    time = task.metrics.get("stable_time")
    ends = sorted(v for v in time.values if v is not None) if time else []
    when = f" after {ends[0]:.3g} ps" if ends else ""  # the first
    return Answer(f"{_share(broken, ran)}broke{when}", "bad", "stable_time")


def _share(some: int, all_: int) -> str:
    return "" if all_ == 1 else f"{some} of {all_} "


def _astray(task: TaskReport) -> Answer | None:
    if strayed(task):
        pairs = zip(task.metrics["stable_time"].values, task.metrics["trusted_time"].values)
        ends = [t for s, t in pairs if s is not None and t is not None and t < s]
        ran = len(task.metrics["trusted_time"].values)
        return Answer(f"{_share(len(ends), ran)}astray after {min(ends):.3g} ps", "bad", "trusted_time")
    if moves_as_a_whole(task):
        return Answer("heat in the whole's motion", "bad", "internal_temperature_deviation")
    return None


def _by_limits(task: TaskReport) -> Answer | None:
    """Of a kind whose metrics are checks: how many fail, and the first that does."""
    asked = [(n, spec, m.value) for n, m in task.metrics.items() if (spec := _spec(task, n)) and spec.limit is not None]
    told = [(n, spec.beyond(value)) for n, spec, value in asked if value is not None]
    failed = [n for n, beyond in told if beyond]
    if not told:
        return None
    if failed:
        return Answer(f"{len(failed)} of {len(told)} checks fail", "bad", failed[0])
    if len(told) < len(asked):
        return Answer(f"{len(told)} checks hold, {len(asked) - len(told)} not asked", "fair", told[0][0])
    return Answer(f"all {len(told)} checks hold", "good", told[0][0])


def _by_numbers(task: TaskReport, theory: str) -> Answer:
    other = of_other_theory(task, theory)
    floors = {n: m for n, m in task.metrics.items() if known(m) and m.floor is not None and m.floor.runs > 1}
    if floors and not other:
        return _against_noise(floors)
    name = key_metric(task)
    metric = task.metrics[name]
    spec = _spec(task, name)
    if spec and spec.gloss and metric.value is not None:
        words, scale = spec.gloss
        return Answer(words.format(f"{scale * metric.value:.2g}"), "none", name)
    if other:
        unsaid = not stated(task.dataset.theory)
        return Answer(f"cannot tell: {'theory of the data not stated' if unsaid else 'other theory'}", "none", name)
    if metric.trivial is None or metric.value is None:
        return Answer("measured", "none", name)
    nothing = spec.nothing if spec else "nothing"
    if metric.better == "lower" and metric.trivial == 0:  # forces that vanish by symmetry: nothing is asked
        return Answer(f"cannot tell: {nothing} is exact here", "none", name)
    worse = metric.value >= metric.trivial if metric.better == "lower" else metric.value <= metric.trivial
    if worse:
        return Answer(f"no better than {nothing}", "bad", name)
    if metric.better == "lower" and metric.trivial > 0:
        share = metric.value / metric.trivial
        what = "" if metric.unit == "1" else "error "
        words, tone = f"{what}{_percent(share)} of {nothing}", "good" if share < 0.1 else "fair"
    else:
        words, tone = f"better than {nothing}", "fair"
    if metric.interval is not None and metric.interval[0] <= metric.trivial <= metric.interval[1]:
        return Answer(f"cannot tell: {words}", "warn", name)
    return Answer(words, tone, name)


def _percent(share: float) -> str:
    return f"{number(100 * share, 0 if share >= 0.1 else -1)} %"


def _against_noise(floors: dict[str, Metric]) -> Answer:
    """By the observable that is worst against its floor: one wrong observable makes the simulation wrong."""

    def excess(item: tuple[str, Metric]) -> float:
        metric = item[1]
        return (metric.value or 0.0) / metric.floor.p95 if metric.floor and metric.floor.p95 > 0 else 0.0

    name, worst = max(floors.items(), key=excess)
    assert worst.floor is not None
    assert worst.value is not None
    if worst.value > worst.floor.p95:
        if worst.trivial is not None and worst.value >= worst.trivial:
            return Answer("wrong: no better than nothing", "bad", name)
        return Answer(f"{worst.value / worst.floor.median:.2g} times the noise", "fair", name)
    if any(m.trivial is not None and m.floor and m.trivial < TELLING * m.floor.p95 for m in floors.values()):
        return Answer("cannot tell: too short", "warn", name)
    return Answer("like the truth", "good", name)


def key_metric(task: TaskReport) -> str:
    """The metric that stands for a task: the kind's first with a value; of a selective task that of its headline."""
    kind = all_kinds().get(task.kind)
    if task.headline and f"augrc.test.{task.headline}" in task.metrics:
        return f"augrc.test.{task.headline}"
    measured = [n for n, m in task.metrics.items() if known(m)]
    if kind is None:
        return measured[0]

    def place(name: str) -> tuple[bool, bool, int, int]:  # a count, such as that of stable replicas, tells least
        spec = _spec(task, name)
        if spec is None:
            return True, True, len(kind.metrics), 0
        column = min(spec.columns.values(), default=len(kind.metrics))
        return task.metrics[name].trivial is None, not spec.continuous, column, kind.metrics.index(spec)

    return min(measured, key=place)


def _spec(task: TaskReport, name: str):
    kind = all_kinds().get(task.kind)
    found = kind.spec(name) if kind else None
    return found[0] if found else None


def abstract(report: Report) -> list[tuple[str, str, str]]:
    """What one would write about the model: (tone, head, sentence) of where it holds, where in part, where not, and
    what cannot be told; a head without tasks is left out."""
    heads = (
        (("good",), "good", "Holds"),
        (("fair",), "fair", "In part"),
        (("bad",), "bad", "Does not hold"),
        (("warn",), "warn", "Cannot tell"),
        (("none",), "none", "Beside that"),
    )
    found = [(task, answer(task, stated_theory(report, task))) for task in report.tasks.values()]
    out = []
    for tones, tone, head in heads:
        said: dict[str, list[str]] = {}
        for task, one in found:
            if one.tone in tones:
                said.setdefault(one.words.removeprefix("cannot tell: "), []).append(clean(task.title))
        if said:
            parts = [f"{'; '.join(titles)}: {words}" for words, titles in said.items()]
            out.append((tone, head, ". ".join(parts) + "."))
    return out
