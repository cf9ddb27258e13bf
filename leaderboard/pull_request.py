"""What the pull-request workflow runs: the base's code over the head's files, which are read and never executed.

`validate(base, head, changed)` takes two checkouts and the list of changed paths. Only files below
``leaderboard/entries`` are looked at; everything else in the pull request is for human review.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from ffbench_eval.wording import clean

from .check import CARD, GRAMMAR, Finding, check, check_card, compare_with_base, errors, known_entries
from .data import load_board
from .entry import LIMIT, Entry
from .strict_json import BadJson, read

PLACE = "leaderboard/entries/"
MAX_FILES = 50
ESCAPED = {ord(c): f"&#{ord(c)};" for c in "|[]@`*\\"} | {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}


def validate(base: Path, head: Path, changed: Iterable[str]) -> tuple[list[Finding], str]:
    """(findings, the job summary in Markdown). ``changed`` are paths from the repository's root."""
    changed = sorted({p for p in changed if p})
    ours = [p for p in changed if p.startswith(PLACE)]
    found: list[Finding] = []
    if len(ours) > MAX_FILES:
        return [Finding("error", PLACE, "$", f"{len(ours)} files changed, at most {MAX_FILES}", "split it")], ""
    for path in changed:
        if path.startswith("leaderboard/checks/"):
            found.append(Finding("error", path, "$", "trust records are written by maintainers", "leave it out"))
    others = known_entries(base / PLACE)
    good: dict[str, Entry] = {}
    for path in ours:
        name = path.removeprefix(PLACE)
        file = head / PLACE / name
        if CARD.match(name):
            found += check_card(file, head / PLACE) if file.exists() else []
        elif not GRAMMAR.match(name):
            found.append(Finding("error", name, "$", "lies at no place of an entry", "see CONTRIBUTING.md"))
        elif not file.exists() and not file.is_symlink():
            found.append(Finding("error", name, "$", "was removed", "entries stay; ask a maintainer to withdraw one"))
        elif file.resolve() != head.resolve() / PLACE / name:
            found.append(Finding("error", name, "$", "is a link or lies behind one", "submit the file itself"))
        else:
            one = _one(file, base, head, name, others)
            found += one
            if not errors(one):
                good[name] = Entry.model_validate(read(file, LIMIT))
    return found, summary(found, _entries(base), good, elsewhere=[p for p in changed if p not in ours])


def _one(file: Path, base: Path, head: Path, name: str, others) -> list[Finding]:
    suites = base / "leaderboard" / "suites"
    found = check(file, entries=head / PLACE, suites=suites, others=others)
    old = base / PLACE / name
    if old.exists():
        with contextlib.suppress(BadJson, OSError):  # the check above says it
            found += compare_with_base(read(file, LIMIT), read(old, LIMIT), name)
    return found


def _entries(base: Path) -> dict[str, Entry]:
    out = {}
    for key, raw in known_entries(base / PLACE).items():
        try:
            out[f"{key}.json"] = Entry.model_validate(raw)
        except ValueError:
            continue
    return out


def summary(found: list[Finding], before: dict[str, Entry], new: dict[str, Entry], elsewhere: list[str]) -> str:
    """Findings, then the ranking before and after, as Markdown without anything active in it."""
    wrong = errors(found)
    lines = ["# Leaderboard check", "", f"{len(wrong)} errors, {len(found) - len(wrong)} warnings.", ""]
    if found:
        lines += ["| | file | where | what | what to do |", "|---|---|---|---|---|"]
        lines += [
            "| " + " | ".join(_cell(x) for x in (f.level, f.file, f.path, f.message, f.fix)) + " |" for f in found[:100]
        ]
        lines.append("")
    if elsewhere:
        lines += [f"{len(elsewhere)} changed files lie outside the entries: they need a reviewer.", ""]
    if new:
        lines += _ranking(before, {**before, **new}, set(new))
    return "\n".join(lines) + "\n"


def _ranking(before: dict[str, Entry], after: dict[str, Entry], touched: set[str]) -> list[str]:
    old = {r.entry.key: r for b in load_board(list(before.values())) for r in b.rows}
    lines = []
    for board in load_board(list(after.values())):
        if not any(f"{r.entry.key}.json" in touched for r in board.rows):
            continue
        lines += [f"## {_cell(board.lock.suite)} {_cell(board.lock.version)}", ""]
        lines += ["| rank | was | model | score | 95 % | tasks |", "|---|---|---|---|---|---|"]
        for row in board.rows:
            was = old.get(row.entry.key)
            mark = "**" if f"{row.entry.key}.json" in touched else ""
            place = str(row.rank.rank) + (" tied" if row.rank.tied else "") if row.rank else "unranked"
            then = "new" if was is None else str(was.rank.rank) if was.rank else "unranked"
            score = f"{row.rank.score:.3f}" if row.rank else ""
            span = f"{row.rank.interval[0]:.2f} to {row.rank.interval[1]:.2f}" if row.rank else ""
            tasks = str(len(row.rank.tasks)) if row.rank else "0"
            name = f"{mark}{_cell(row.entry.org)} {_cell(row.name)}{mark}"
            lines.append(f"| {place} | {then} | {name} | {score} | {span} | {tasks} |")
        lines.append("")
    return lines


def _cell(text: str) -> str:
    """One line of a Markdown table: no markup, links, mentions or HTML of a stranger.

    >>> _cell("a|b <img> [x](y) @me")
    'a&#124;b &lt;img&gt; &#91;x&#93;(y) &#64;me'
    """
    text = " ".join(clean(str(text)).split())[:300]
    return text.translate(ESCAPED)
