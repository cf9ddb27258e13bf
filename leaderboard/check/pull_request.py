"""What the pull-request workflow runs: the base's code over the head's files, which are read and never executed.

`validate(base, head, changed)` takes two checkouts and the list of changed paths. It puts the base's entries and the
head's changed ones together, as main will have them, checks the changed ones among all others and builds the site: what
passes here cannot stop the site later. Everything outside ``leaderboard/entries`` is for human review.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ffbench_eval.words import clean

from ..entry.schema import LIMIT, Entry
from ..site.data import load_board
from .check import CARD, GRAMMAR, Finding, check, check_card, compare_with_base, errors, known_entries, printable
from .strict_json import read

PLACE = "leaderboard/entries/"
MAX_FILES = 50
ESCAPED = {ord(c): f"&#{ord(c)};" for c in "|[]@`*\\"} | {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}


def validate(base: Path, head: Path, changed: Iterable[str], *, lifted: bool = False) -> tuple[list[Finding], str]:
    """(findings, the job summary in Markdown). ``changed`` are paths from the repository's root; ``lifted``: a
    maintainer allows entries of the board to change."""
    changed = sorted({p for p in changed if p})
    ours = [p for p in changed if p.startswith(PLACE)]
    found: list[Finding] = []
    if len(ours) > MAX_FILES:
        return [Finding("error", PLACE, "$", f"{len(ours)} files changed, at most {MAX_FILES}", "split it")], ""
    for path in changed:
        if path.startswith("leaderboard/checks/"):
            found.append(Finding("error", path, "$", "trust records are written by maintainers", "leave it out"))
    good: dict[str, Entry] = {}
    with tempfile.TemporaryDirectory() as folder:
        together = Path(folder) / "entries"
        if (base / PLACE).is_dir():
            shutil.copytree(base / PLACE, together, symlinks=True)
        together.mkdir(exist_ok=True)
        names = []
        for path in ours:
            name = path.removeprefix(PLACE)
            fault = _placed(base / PLACE / name, head, name, together, lifted)
            found += fault
            if not errors(fault) and GRAMMAR.match(name) and (together / name).exists():
                names.append(name)
            elif not errors(fault) and CARD.match(name) and (together / name).exists():
                found += check_card(together / name, together)
        others = known_entries(together)
        for name in names:
            one = check(together / name, entries=together, suites=base / "leaderboard" / "suites", others=others)
            found += one
            if not errors(one):
                good[name] = Entry.model_validate(read(together / name, LIMIT))
        if good and not errors(found):
            found += _built(base, together, Path(folder) / "site", set(good))
    return found, summary(found, _entries(base), good, elsewhere=[p for p in changed if p not in ours])


def _placed(old: Path, head: Path, name: str, together: Path, lifted: bool) -> list[Finding]:
    """Put a changed file of the head into its place, or say why not."""
    file = head / PLACE / name
    entry = GRAMMAR.match(name)
    if not entry and not CARD.match(name):
        return [Finding("error", name, "$", "lies at no place of an entry", "see CONTRIBUTING.md")]
    there = file.exists() or file.is_symlink()
    if there and file.resolve() != head.resolve() / PLACE / name:
        return [Finding("error", name, "$", "is a link or lies behind one", "submit the file itself")]
    small = there and file.is_file() and file.stat().st_size <= LIMIT
    same = small and old.exists() and old.read_bytes() == file.read_bytes()
    found = [] if lifted else compare_with_base(name, old.exists(), there, same)
    if found:
        return found
    place = together / name
    if not there:
        place.unlink(missing_ok=True)
        return []
    if not small:
        return [Finding("error", name, "$", f"is no file of at most {LIMIT} bytes", "shorten the curves")]
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, place)
    return []


def _built(base: Path, together: Path, out: Path, names: set[str]) -> list[Finding]:
    """Errors of building the site from base and head together, by the entries that cannot be drawn."""
    from ..site.build import build

    fix = "tell us: the check should have found this"
    checks = base / "leaderboard" / "checks"
    try:
        aside = build(out, entries=together, suites=base / "leaderboard" / "suites", checks=checks).aside
    except Exception as error:
        return [
            Finding("error", PLACE, "$", printable(f"the site cannot be built: {type(error).__name__}: {error}"), fix)
        ]
    return [
        Finding("error" if f"{key}.json" in names else "warning", f"{key}.json", "$", f"cannot be drawn: {why}", fix)
        for key, why in aside.items()
    ]


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
        first = sorted(found, key=lambda f: f.level != "error")[:100]
        lines += [
            "| " + " | ".join(_cell(x) for x in (f.level, f.file, f.path, f.message, f.fix)) + " |" for f in first
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
            place = (
                f"{row.rank.rank} of {row.rank.of}" + (", tied" if row.rank.tied else "") if row.rank else "unranked"
            )
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
