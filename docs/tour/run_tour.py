"""``python docs/tour/run_tour.py`` runs the cells of ``tour.py`` in one interpreter and writes ``tour.ipynb`` with
what they print; with ``--check`` it compares that with what is there. A notebook is JSON: only Python is needed."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SCRIPT, NOTEBOOK = HERE / "tour.py", HERE / "tour.ipynb"


def cells(text: str) -> list[tuple[str, str]]:
    """(markdown or code, source) of a script in percent format.

    >>> cells("# %% [markdown]\\n# # Hello\\n#\\n# you\\n\\n# %%\\nx = 1\\n")
    [('markdown', '# Hello\\n\\nyou'), ('code', 'x = 1')]
    """
    out = []
    for part in ("\n" + text).split("\n# %%")[1:]:
        head, _, body = part.partition("\n")
        if head.strip() == "[markdown]":
            out.append(("markdown", "\n".join(line[2:] for line in body.strip().splitlines())))
        else:
            out.append(("code", re.sub(r"  # noqa.*$", "", body.strip(), flags=re.MULTILINE)))
    return out


def run(source: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """What a cell prints, and the value of its last expression as a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, SCRIPT.name, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), SCRIPT.name, "eval"), names)
    out: list[dict[str, Any]] = []
    if printed.getvalue():
        out.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    if value is not None:
        data = {"text/plain": repr(value)}
        if (shown := getattr(value, "_repr_html_", None)) is not None:
            data["text/html"] = shown()
        out.append({"output_type": "execute_result", "execution_count": None, "metadata": {}, "data": data})
    return out


def notebook(text: str) -> dict[str, Any]:
    """The notebook (nbformat 4) of a script, executed."""
    names: dict[str, Any] = {"__name__": "__main__"}
    made = []
    for k, (kind, source) in enumerate(cells(text)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{k}", "metadata": {}, "source": source}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": run(source, names)}
        made.append(cell)
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


def as_markdown(made: dict[str, Any]) -> str:
    """The notebook as a page of the documentation."""
    out = []
    for cell in made["cells"]:
        if cell["cell_type"] == "markdown":
            out.append(cell["source"])
            continue
        out.append(f"```python\n{cell['source']}\n```")
        for shown in cell["outputs"]:
            if shown["output_type"] == "stream":
                out.append(f"```text\n{shown['text'].rstrip()}\n```")
            else:
                html = shown["data"].get("text/html")
                out.append(f"```{{raw}} html\n{html}\n```" if html else f"```text\n{shown['data']['text/plain']}\n```")
    return "\n\n".join(out) + "\n"


def shown(made: dict[str, Any]) -> list[str]:
    """What the cells of a notebook print or show, one text each."""
    outputs = [o for cell in made["cells"] for o in cell.get("outputs", [])]
    return [o.get("text") or o["data"].get("text/html") or o["data"]["text/plain"] for o in outputs]


NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")


def same(mine: str, theirs: str, room: float = 0.05) -> bool:
    """Whether two texts differ in nothing but numbers, and these by less than ``room``: other hardware rounds them.

    >>> same("MAE 6.15 meV", "MAE 6.16 meV"), same("MAE 6.15 meV", "MAE 8 meV"), same("good 1.0", "bad 1.0")
    (True, False, False)
    """
    pairs = list(zip(map(float, NUMBER.findall(mine)), map(float, NUMBER.findall(theirs))))
    close = all(abs(a - b) <= room * max(abs(a), abs(b)) for a, b in pairs)
    return close and NUMBER.sub("#", mine) == NUMBER.sub("#", theirs)


def main(arguments: list[str]) -> int:
    made = notebook(SCRIPT.read_text(encoding="utf-8"))
    if arguments == ["--check"]:
        old = shown(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
        other = [(a, b) for a, b in zip(old, shown(made), strict=True) if not same(a, b)]
        for a, b in other:
            print(f"the notebook shows\n{a}\nthe cells now show\n{b}\n")
        return bool(other)
    NOTEBOOK.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(NOTEBOOK)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
