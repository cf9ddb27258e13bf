"""The answer to one task in a few words: whether the model can be trusted there, and by which number."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ffbench_data.theory import stated

from ..kinds import MetricSpec, all_kinds
from ..report import Metric, Report, TaskReport
from ..words import clean, known, number
from .verdict import lost_states, moves_as_a_whole, of_other_theory, stated_theory, strayed, unstable

UNKNOWN = "cannot tell: "
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
        return Answer(f"incomplete: {found.words.removeprefix(UNKNOWN)}", "warn", found.metric)
    return found


def _broke(task: TaskReport) -> Answer | None:
    broken, ran = unstable(task)
    if not broken:
        return None
    time = task.metrics.get("stable_time")
    ends = sorted(v for v in time.values if v is not None) if time else []
    when = _when(broken, ends[0]) if ends else ""
    return Answer(f"{_share(broken, ran)}broke{when}", "bad", "stable_time")


def _when(count: int, first: float) -> str:
    return f" after {first:.3g} ps" if count == 1 else f", first at {first:.3g} ps"


def _share(some: int, all_: int) -> str:
    return "" if all_ == 1 else f"{some} of {all_} "


def _astray(task: TaskReport) -> Answer | None:
    if strayed(task):
        pairs = zip(task.metrics["stable_time"].values, task.metrics["trusted_time"].values)
        ends = [t for s, t in pairs if s is not None and t is not None and t < s]
        ran = len(task.metrics["trusted_time"].values)
        return Answer(f"{_share(len(ends), ran)}astray{_when(len(ends), min(ends))}", "bad", "trusted_time")
    if moves_as_a_whole(task):
        return Answer("heat in the whole's motion", "bad", "internal_temperature_deviation")
    return None


def _by_limits(task: TaskReport) -> Answer | None:
    """Of a kind whose metrics are checks: how many fail, and the first that does."""
    asked = [n for n in task.metrics if (spec := spec_of(task, n)) and spec.limit is not None]
    told, failed = [n for n in asked if task.metrics[n].value is not None], beyond_limits(task)
    if not told:
        return None
    if failed:
        return Answer(f"{len(failed)} of {len(told)} checks fail", "bad", failed[0])
    if len(told) < len(asked):
        hold = "1 check holds" if len(told) == 1 else f"{len(told)} checks hold"
        return Answer(f"{hold}, {len(asked) - len(told)} not asked", "fair", told[0])
    return Answer("the one check holds" if len(told) == 1 else f"all {len(told)} checks hold", "good", told[0])


def _by_numbers(task: TaskReport, theory: str) -> Answer:
    other = of_other_theory(task, theory)
    floors = {n: m for n, m in task.metrics.items() if known(m) and m.floor is not None and m.floor.runs > 1}
    if floors and not other:
        return _against_noise(floors)
    name = (_without_theory(task) if other else "") or key_metric(task)
    metric = task.metrics[name]
    spec = spec_of(task, name)
    if spec and spec.gloss and metric.value is not None:
        words, scale = spec.gloss
        return Answer(words.format(_two_digits(scale * metric.value)), "none", name)
    if other:
        unsaid = not stated(task.dataset.theory)
        return Answer(f"{UNKNOWN}{'theory of the data not stated' if unsaid else 'other theory'}", "none", name)
    stated_error = metric.floor.p95 if metric.floor is not None and metric.floor.runs == 0 else None
    if stated_error is not None and metric.value is not None and metric.value <= stated_error:
        return Answer("within the reference's error", "good", name)
    if metric.trivial is None or metric.value is None:
        bare = spec.bare if spec and metric.value is not None else ""
        return Answer(bare.format(_two_digits(metric.value or 0)) or "no yardstick", "none", name)
    nothing = spec.nothing if spec else "nothing"
    if metric.better == "lower" and metric.trivial == 0:  # forces that vanish by symmetry: nothing is asked
        return Answer(f"{UNKNOWN}{nothing} is exact here", "none", name)
    worse = metric.value >= metric.trivial if metric.better == "lower" else metric.value <= metric.trivial
    if worse:
        return Answer((spec and spec.beaten) or f"no better than {nothing}", "bad", name)
    if spec and spec.gain and metric.score is not None:
        words, tone = spec.gain.format(_percent(metric.score)), "good" if metric.score > 0.9 else "fair"
    elif metric.better == "lower" and metric.trivial > 0:
        share = metric.value / metric.trivial
        what = "" if metric.unit == "1" else "error "
        said = (spec and spec.share) or f"{what}{{}} of {nothing}"
        words, tone = said.format(_percent(share)), "good" if share < 0.1 else "fair"
    else:
        words, tone = f"better than {nothing}", "fair"
    if metric.interval is not None and metric.interval[0] <= metric.trivial <= metric.interval[1]:
        return Answer(f"{UNKNOWN}{words}", "warn", name)
    return Answer(words, tone, name)


def _without_theory(task: TaskReport) -> str:
    """The first metric that places models of every theory and has words of its own; empty where there is none."""
    kind = all_kinds().get(task.kind)
    found = kind.columns(list(task.metrics)) if kind else []
    specs = ((n, spec_of(task, n)) for n in found if known(task.metrics.get(n)))
    return next((n for n, spec in specs if spec and spec.ranked and spec.gloss), "")


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"


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
        return Answer(f"{UNKNOWN}too short", "warn", name)
    return Answer("like the truth", "good", name)


def key_metric(task: TaskReport) -> str:
    """The metric that stands for a task: the kind's first with a value; of a selective task that of its headline."""
    kind = all_kinds().get(task.kind)
    if task.headline and f"augrc.test.{task.headline}" in task.metrics:
        return f"augrc.test.{task.headline}"
    measured = [n for n, m in task.metrics.items() if known(m)]
    if kind is None:
        return measured[0]

    def place(name: str) -> tuple[bool, bool, bool, int, int]:  # a count, such as of stable replicas, tells least
        spec, bare = spec_of(task, name), task.metrics[name].trivial is None
        if spec is None:
            return bare, True, True, len(kind.metrics), 0
        column = min(spec.columns.values(), default=len(kind.metrics))
        return bare, bare and spec.gloss is None, not spec.continuous, column, kind.metrics.index(spec)

    return min(measured, key=place)


def beyond_limits(task: TaskReport) -> list[str]:
    """The checks whose values lie beyond their limits."""
    specs = ((n, m.value, spec_of(task, n)) for n, m in task.metrics.items() if m.value is not None)
    return [n for n, value, spec in specs if spec and spec.beyond(value)]


def spec_of(task: TaskReport, name: str) -> MetricSpec | None:
    """What the task's own kind states of a metric: another kind may have one of the same name without its limit."""
    kind = all_kinds().get(task.kind)
    found = kind.spec(name) if kind else None
    return found[0] if found else None


def abstract(report: Report) -> list[tuple[str, str, str]]:
    """What one would write about the model: (tone, head, sentence) of where it holds, where in part, where not, and
    what cannot be told; a head without tasks is left out. Many tasks with the same words and other numbers are one
    clause with their range."""
    heads = (
        ("good", "Holds"),
        ("fair", "In part"),
        ("bad", "Does not hold"),
        ("warn", "Cannot tell"),
        ("none", "Beside that"),
    )
    found = [(clean(task.title), answer(task, stated_theory(report, task))) for task in report.tasks.values()]
    short = [title.split(",")[0] for title, _ in found]
    if len(set(short)) < len(short):
        short = [title for title, _ in found]
    out = []
    for tone, head in heads:
        told: list[tuple[str, str, str]] = []  # title, short title, words
        for (title, one), brief in zip(found, short, strict=True):
            if tone == ("warn" if one.words.startswith(UNKNOWN) else one.tone):
                told.append((title, brief, one.words.removeprefix(UNKNOWN)))
        if told:
            out.append((tone, head, ". ".join(_clauses(told)) + "."))
    return out


MANY = 3  # tasks of the same words in one clause, from one more on
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def _clauses(told: list[tuple[str, str, str]]) -> list[str]:
    by_words: dict[str, list[tuple[str, str, str]]] = {}
    for one in told:
        by_words.setdefault(NUMBER.sub("{}", one[2]), []).append(one)
    out = []
    for pattern, group in by_words.items():
        if len(group) > MANY and pattern.count("{}") == 1:
            ends = sorted((NUMBER.search(words)[0] for _, _, words in group), key=float)  # type: ignore[index]
            low, high = ends[0], ends[-1]
            said = pattern.format(low if low == high else f"{low} to {high}")
            out.append(f"{', '.join(brief for _, brief, _ in group)}: {said}")
            continue
        same: dict[str, list[str]] = {}
        for title, _, words in group:
            same.setdefault(words, []).append(title)
        out += [f"{'; '.join(titles)}: {words}" for words, titles in same.items()]
    return out
