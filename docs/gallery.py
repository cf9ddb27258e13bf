"""The gallery: reports of entries of the board, each with its answers and the pictures that show them.

``python docs/gallery.py FOLDER`` writes ``index.html`` and the whole reports beside it; `make docs` makes a page of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ffbench_data.atomic import write_text
from ffbench_eval.page.answer import answer
from ffbench_eval.page.picture import picture
from ffbench_eval.page.svg import charts
from ffbench_eval.page.verdict import stated_theory
from ffbench_eval.report import Report
from ffbench_eval.words import clean, in_small_units, metric_name, quantity
from leaderboard.check.strict_json import read
from leaderboard.entry.schema import ENTRIES, LIMIT, Entry

CHOSEN = {
    "ffbench__painn/1/desk": "Trained for minutes: small errors, and one of five simulations goes astray.",
    "ffbench__painn_wide/1/desk": "Its wider sister: as good on frames, and two go astray.",
    "ffbench__transformer_narrow/1/desk": "Deliberately rough: the force error looks usable, the simulations break.",
    "ffbench__so3lr/0.2.1/bsct": "A published potential of another level of theory on 485 bond scans.",
    "ffbench__ani1ccx/ani-1ccx-eight-networks/chemistry": "Relative energies beside CCSD(T).",
}
SHOWN = 6  # tasks of a report
STYLE = """
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr))}
.gallery{gap:1rem;margin:.6rem 0 1.6rem}
.gallery figure{margin:0}.gallery figcaption{font-size:.85em;line-height:1.3}.gallery svg{width:100%;height:auto}
.gallery .narrow svg{width:75%}
"""


def report_of(key: str) -> Report:
    return Entry.model_validate(read(ENTRIES / f"{key}.json", LIMIT)).report


def file_of(key: str) -> str:
    return f"{key.replace('/', '-')}.html"


def section(key: str, folder: str) -> Iterator[str]:
    """HTML of one report: what it shows, and a picture with its answer per task."""
    from markupsafe import escape

    report = report_of(key)
    title = f"{clean(report.model.name)} on {report.suite} {report.suite_version}"
    yield f'<h2><a href="{folder}{file_of(key)}">{escape(title)}</a></h2><p>{escape(CHOSEN[key])}</p>'
    yield '<div class="gallery">'
    for task in [t for t in report.tasks.values() if any(m.value is not None for m in t.metrics.values())][:SHOWN]:
        found = answer(task, stated_theory(report, task))
        shown = picture(task, found, charts.charts(task.curves))
        metric = task.metrics.get(found.metric)
        number = f"{metric_name(found.metric)} {quantity(in_small_units(metric))}" if metric else ""
        if shown is not None:
            yield (
                f"<figure{' class=narrow' if shown.narrow else ''}>{shown.svg}<figcaption>"
                f"{escape(clean(task.title))}: <strong>{escape(found.words)}</strong>"
                f"{escape(f' ({number})' if number else '')}</figcaption></figure>"
            )
    yield "</div>"


def body(folder: str = "") -> str:
    parts = [f"<style>{charts.STYLE}{STYLE}</style>"]
    for key in CHOSEN:
        parts += section(key, folder)
    return "\n".join(parts)


def write_reports(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [report_of(key).to_html(folder / file_of(key)) for key in CHOSEN]


if __name__ == "__main__":
    out = Path(sys.argv[1])
    write_reports(out)
    head = '<!doctype html><meta charset="utf-8"><title>Reports</title><body style="font:15px sans-serif;margin:2rem">'
    print(write_text(out / "index.html", head + body()))
