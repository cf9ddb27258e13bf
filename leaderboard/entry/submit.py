"""From a finished run to the one file of a pull request."""

from __future__ import annotations

import hashlib
import re
import shlex
from pathlib import Path

from ffbench_eval.report import Report
from ffbench_eval.words import clean

from ..check.check import Finding, check
from ..check.lock import SuiteLock, load_lock
from .schema import ENTRIES, About, Archive, Entry, slug

KEPT = re.compile(r"^[a-z0-9][a-z0-9_\-]*\.(parquet|npz|json)$")


def make_entry(
    run: Path,
    *,
    org: str,
    model: str | None = None,
    version: str | None = None,
    about: About | None = None,
    archive_url: str = "",
) -> Entry:
    """The entry of a run folder (or report.json). ``archive_url`` is where its unit files will be kept, outside git."""
    report = Report.load(run)
    archives = list_archives(run, report, archive_url) if archive_url else []
    if archive_url and not archive_url.startswith("https://"):
        raise ValueError(f"--archive-url {archive_url!r}: must start with https://")
    return Entry(
        org=slug(org),
        model=slug(model or report.model.name),
        version=slug(version or report.model.version or "1"),
        about=about or About(),
        command=command_of(report, load_lock(report.suite, report.suite_version)),
        archives=archives,
        report=report,
    ).sealed()


def command_of(report: Report, lock: SuiteLock | None) -> str:
    """The call that makes this report again, with its tasks where it is not of the whole suite."""
    spec = clean(report.model.spec).replace("\n", " ") or "path/to/model.py:function"
    names = [n for n in (lock.tasks if lock else ()) if n in report.tasks]
    partial = lock is not None and len(names) < len(lock.tasks)
    words = ["ffbench", "evaluate", spec, "--suite", report.suite, "--seed", str(report.seed)]
    return shlex.join(words + [w for name in names if partial for w in ("--task", name)])


def list_archives(run: Path, report: Report, url: str) -> list[Archive]:
    """Files of the finished units by size and sha256; upload them as ``<url>/<unit folder>/<file>``."""
    run = run if run.is_dir() else run.parent
    out = []
    for task, found in report.tasks.items():
        for unit in found.units:
            folder = run / "units" / f"{task}-{unit.address[:12]}"
            for path in sorted(folder.glob("*")):
                if KEPT.match(path.name):
                    out.append(
                        Archive(
                            task=task,
                            unit=unit.address,
                            file=path.name,
                            url=f"{url.rstrip('/')}/{folder.name}/{path.name}",
                            bytes=path.stat().st_size,
                            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                        )
                    )
    if not out:
        raise ValueError(f"--archive-url: no files of finished units in {run / 'units'}")
    return out


def submit(entry: Entry, entries: Path = ENTRIES) -> tuple[Path, list[Finding]]:
    """Write the entry and a card skeleton beside it, and check it. An existing card is left alone.

    ValueError if another entry has this name: an entry is never replaced.
    """
    path = entries / f"{entry.key}.json"
    if path.exists() and path.read_text(encoding="utf-8") != entry.text():
        raise ValueError(
            f"{path} is there already: give another --version, --model or --org; an entry is never replaced"
        )
    path = entry.write(entries)
    card = path.with_name("card.md")
    if not card.exists():
        from ffbench_data.atomic import write_text

        write_text(card, card_skeleton(entry))
    return path, check(path, entries=entries)


def card_skeleton(entry: Entry) -> str:
    """A model card in Markdown with what the report knows; the dots are the submitter's to fill."""
    model = entry.report.model
    cards = entry.report.models or {"": model}
    trained = "\n".join(f"- {clean(c.training_data) or '...'} ({clean(c.theory) or '...'})" for c in cards.values())
    return f"""# {clean(model.name)} {entry.version}

{entry.about.summary or "One or two sentences: what kind of model this is and what it is for. ..."}

- Parameters: {model.parameters if model.parameters is not None else "..."}
- Licence: {clean(model.licence) or "..."}
- Forces: {"gradient of the energy" if model.conservative else "predicted directly"}
- Code: {entry.about.code or "..."}
- Weights: {entry.about.weights or "..."}
- Paper: {entry.about.paper or "..."}

## Training data

{trained}

Were test frames of these data sets among the training data? ...

## Known limits

...

## How this entry was made

```bash
{entry.command}
```
"""
