"""Pages that are written from the product itself, when the site is built: data sets, suites, kinds, API."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ffbench_data import card
from ffbench_data.datacard import Card, shipped_datasets
from ffbench_eval.kinds import all_kinds
from ffbench_eval.suite import Suite, list_suites, load_suite

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs" / "tour"))
import gallery  # noqa: E402
from run_tour import as_markdown  # noqa: E402

GALLERY = """Whole reports of entries of the board, as `ffbench evaluate` writes them. Under each picture stands the
answer of a task and the number that decided it; follow a heading for the report itself."""
OUT = ROOT / "docs" / "generated"
API = {
    "ffbench_data": "Data sets, frames, the model contract",
    "ffbench_metrics": "Metrics: pure functions on arrays",
    "ffbench_eval": "Evaluator: evaluate, reports, adapters",
}


def page(path: str, lines: Iterator[str]) -> None:
    target = OUT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    if not target.exists() or target.read_text(encoding="utf-8") != text:  # what is unchanged is not built again
        target.write_text(text, encoding="utf-8")


def of_dataset(found: Card) -> Iterator[str]:
    yield f"# {found.title}\n\n{found.description}\n"
    facts = {
        "name": f"`{found.name}`",
        "version": found.version,
        "licence": found.licence,
        "level of theory": found.theory,
        "temperature": f"{found.temperature_K} K" if found.temperature_K else None,
    }
    yield from table(["", ""], [[k, str(v)] for k, v in facts.items() if v])
    for name, config in found.configs.items():
        yield f"\n## {name}\n\n{config.description}"
        if config.tests:
            yield f"\nTests {config.tests.rstrip('.')}."
        yield ""
        yield from table(["split", "frames", "rule"], [[k, s.frames or "", s.rule] for k, s in config.splits.items()])
    if found.notes:
        yield "\n## Notes\n"
        yield from (f"- {note}" for note in found.notes)
    yield "\n## Cite\n"
    yield from (f"- {one}" for one in found.citation)


def of_suite(suite: Suite) -> Iterator[str]:
    yield f"# Suite `{suite.name}`\n\nVersion {suite.version}. {suite.description}\n\n```bash"
    yield f"ffbench evaluate my_model.py:load --suite {suite.name}\n```"
    for task in suite.tasks:
        yield f"\n## {task.title}\n\n`{task.name}`, kind [{task.kind.name}](../kinds/{task.kind.name}.md)\n"
        chosen = task.parameters.model_dump(exclude_defaults=True)
        rows = [["data set", f"[{task.dataset}](../datasets/{task.dataset}.md) {task.config or ''}"]]
        yield from table(["parameter", "value"], rows + [[k, v] for k, v in chosen.items()])


def of_kind(kind) -> Iterator[str]:
    yield f"# Kind `{kind.name}`\n\n{kind.about}\n\n## Parameters of a task\n"
    fields = kind.module.Parameters.model_fields.items()
    rows = [
        [f"`{k}`", f"`{f.annotation}`".replace("|", "/"), "required" if f.is_required() else f"`{f.default!r}`"]
        for k, f in fields
    ]
    yield from table(["parameter", "type", "default"], rows)
    yield "\n## Metrics\n"
    rows = [[f"`{s.name}`", s.label, s.unit, s.better, f"{s.low:g} to {s.high:g}"] for s in kind.metrics]
    yield from table(["metric", "what", "unit", "better", "can be"], rows)


def table(head: list[str], rows: list[list[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("\n", " ") for cell in row) + " |"


def write() -> None:
    """All pages, under ``docs/generated``."""
    for path, source in {"readme": "README", "changes": "CHANGELOG", "contributing": "CONTRIBUTING"}.items():
        page(f"{path}.md", iter([(ROOT / f"{source}.md").read_text(encoding="utf-8").replace("](docs/", "](../")]))
    for name in list_suites():
        page(f"suites/{name}.md", of_suite(load_suite(name)))
    for name, kind in all_kinds().items():
        page(f"kinds/{name}.md", of_kind(kind))
    for name in shipped_datasets():
        page(f"datasets/{name}.md", of_dataset(card(name)))
    made = json.loads((ROOT / "docs" / "tour" / "tour.ipynb").read_text(encoding="utf-8"))
    page("tour.md", iter([as_markdown(made)]))
    gallery.write_reports(OUT / "extra" / "reports")
    page(
        "gallery.md",
        iter([f"# Gallery of reports\n\n{GALLERY}\n\n```{{raw}} html\n{gallery.body('../reports/')}\n```"]),
    )
    for package, title in API.items():
        page(f"api/{package}.md", iter([f"# {title}\n", *members(package)]))


def members(package: str) -> Iterator[str]:
    """Every public name of a package, from where it is defined."""
    from importlib import import_module

    module = import_module(package)
    for name in module.__all__:
        found = getattr(module, name)
        if getattr(found, "__module__", "").startswith(package) and callable(found):
            what = "autoclass" if isinstance(found, type) else "autofunction"
            yield f"```{{eval-rst}}\n.. {what}:: {package}.{name}\n```\n"
