"""Places, and why there is none, in the few words that a table has room for."""

from __future__ import annotations

from ffbench_eval.page.verdict import MEANING

from .pairs import Place
from .scoring import Rank

STATES = {
    **MEANING,
    "different_theory": "the model was trained on another level of theory than the data: errors are shown, not scored",
    "not_scored": "no anchors exist for this task",
}
SHORT = {
    "different_theory": "other theory",
    "not_run": "not run",
    "not_scored": "no anchor",
    "unsupported": "not covered",
    "out_of_memory": "no memory",
    "model_error": "model error",
    "harness_error": "harness error",
}


def ordinal(place: int) -> str:
    """
    >>> [ordinal(k) for k in (1, 2, 3, 4, 11, 12, 21, 112, 123)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '21st', '112th', '123rd']
    """
    end = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{end}"


def place_words(rank: Rank) -> str:
    """
    >>> place_words(Rank(0.9, (0.8, 1), rank=1, low=1, high=3, tied=True, of=9, tasks=()))
    '1st to 3rd of 9'
    """
    if rank.of == 1:
        return "alone"
    span = ordinal(rank.low) if rank.low == rank.high else f"{ordinal(rank.low)} to {ordinal(rank.high)}"
    return f"{span} of {rank.of}"


def pair_words(here: Place, of: int) -> str:
    """A place by pairs of models among ``of``, or why there is none, and on how much of the task it rests."""
    share = f"{here.covered} of {here.of} members" if 0 < here.covered < here.of else ""
    if here.rank is None:
        return ", ".join(x for x in (short_state(here.why), share) if x)
    said = "alone" if of == 1 else f"{'joint ' if here.tied else ''}{ordinal(here.rank)} of {of}"
    return ", ".join(x for x in (said, share) if x)


def short_state(state: str) -> str:
    """
    >>> short_state("partly unsupported"), short_state("different_theory"), short_state("unstable")
    ('partly not covered', 'other theory', 'unstable')
    """
    partly = "partly " if state.startswith("partly ") else ""
    bare = state.removeprefix("partly ")
    return partly + SHORT.get(bare, bare.replace("_", " "))


def state_meaning(state: str) -> str:
    return STATES.get(state.removeprefix("partly "), state)
