"""The tables of ``docs/metrics.md``, from what the kinds state of their metrics."""

from __future__ import annotations

import ast
import math
from pathlib import Path

from ..kinds import KINDS, MetricSpec

BEGIN, END = "<!-- made by `ffbench metrics --write docs/metrics.md` -->", "<!-- end of what is made -->"


def written(text: str) -> str:
    """A document with what lies between the two marks made anew. ValueError without the marks."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"the document needs one line {BEGIN!r} and one {END!r}")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


def tables() -> str:
    """A table of metrics per kind, then every function of `ffbench_metrics` that no task uses."""
    parts = []
    for kind in KINDS.values():
        rows = [_row(spec) for spec in kind.metrics]
        head = "| key | reads | unit | better | range | function |\n|---|---|---|---|---|---|"
        parts.append(f"### `{kind.name}`\n\n{kind.about}\n\n{head}\n" + "\n".join(rows) + "\n")
    names = ", ".join(f"`{name}`" for name in library_only())
    parts.append(
        f"### Library only\n\nNo task uses these functions of `ffbench_metrics`; they are for Python.\n\n{names}.\n"
    )
    return "\n".join(parts)


def library_only() -> list[str]:
    """Public functions that define no metric of a kind and that the evaluator does not call."""
    import ffbench_metrics

    stated = {spec.defined_by for kind in KINDS.values() for spec in kind.metrics}
    public = {name for name in ffbench_metrics.__all__ if name[0].islower()}
    return sorted(public - stated - _called())


def _called() -> set[str]:
    """What the evaluator imports of `ffbench_metrics`, by its source."""
    names: set[str] = set()
    for path in Path(__file__).parents[1].rglob("*.py"):
        whole = set()  # names under which the package itself was imported
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "ffbench_metrics" and not node.level:
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Import):
                whole |= {alias.asname or alias.name for alias in node.names if alias.name == "ffbench_metrics"}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in whole:
                names.add(node.attr)
    return names


def _row(spec: MetricSpec) -> str:
    key = spec.name if spec.parts is None else f"{spec.name}[{spec.separator}part]"
    unit = {"1": "", "any": "of the error"}.get(spec.unit, spec.unit)
    better = "" if spec.better == "neither" else spec.better
    version = "" if spec.version == "1" else f", version {spec.version}"
    defined = (
        f"`{spec.defined_by}`{version}"
        if spec.defined_by
        else "a timing"
        if spec.timed
        else "a share, a count or a plain difference"
    )
    return f"| `{key}` | {spec.label} | {unit} | {better} | {_end(spec.low)} to {_end(spec.high)} | {defined} |"


def _end(value: float) -> str:
    return {math.inf: "∞", -math.inf: "-∞"}.get(value, f"{value:.3g}")
