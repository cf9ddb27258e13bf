"""docs/metrics.md says which functions no task calls: the list is that of the code."""

import ast
import re
from pathlib import Path

import ffbench_metrics

ROOT = Path(__file__).parents[2]


def called_by_the_evaluator():
    names = set()
    for path in (ROOT / "ffbench_eval").rglob("*.py"):
        whole = set()  # names under which the package itself was imported
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "ffbench_metrics":
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Import):
                whole |= {alias.asname or alias.name for alias in node.names if alias.name == "ffbench_metrics"}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in whole:
                names.add(node.attr)
    return names


def test_the_list_of_what_is_in_the_library_only_is_true():
    public = {name for name in ffbench_metrics.__all__ if name[0].islower()}
    expected = ", ".join(f"`{name}`" for name in sorted(public - called_by_the_evaluator()))
    text = (ROOT / "docs/metrics.md").read_text().split("## In the library only")[1]
    listed = re.sub(r"\s+", " ", text.strip().split("\n\n")[-1]).strip(" .")
    assert listed == expected, f"the last paragraph of docs/metrics.md should be: {expected}."
