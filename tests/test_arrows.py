"""Dependencies point one way, and the light doors stay light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

RULES = {
    "ffbench_metrics": ("torch", "scipy", "sklearn", "ase", "datasets", "pyarrow", "ffbench_data", "ffbench_eval"),
    "ffbench_data": ("torch", "datasets", "ffbench_eval", "reference_models"),
    "ffbench_data.load": ("torch", "datasets", "ffbench_eval", "reference_models"),
    "ffbench_data.contract": ("ffbench_eval", "reference_models", "datasets"),
    "reference_models": ("torch", "ffbench_eval", "datasets"),
    "reference_models.train": ("ffbench_eval", "datasets"),
    "ffbench_eval": ("torch", "datasets", "reference_models"),
    "leaderboard.check.check": ("torch", "datasets", "ase", "reference_models", "ffbench_data"),
    "leaderboard.cli": ("torch", "datasets", "ase", "numpy", "reference_models", "ffbench_data"),
    "ffbench_eval.report": ("torch", "datasets", "ase", "reference_models", "ffbench_data"),
}


@pytest.mark.parametrize("module", RULES)
def test_import_loads_nothing_it_should_not(module):
    script = f"import sys, {module}; print(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & set(RULES[module])


# The floors of ffbench_eval, lowest first; what a kind, a metric or a report is stands below those who use it.
FLOORS = (
    ("old_reports", "report", "stderr"),
    ("kinds", "kinds.base", "kinds.facts"),  # what a kind states: the ``__init__`` of its room
    ("words",),
    ("engine",),
    ("models",),
    ("kinds.work",),  # everything else of the kinds
    ("suite",),
    ("own",),
    ("page",),
    ("run",),
    ("callbacks", "selective", "", "cli", "__main__"),  # the doors
)
UPWARD = {  # late, and on purpose
    ("kinds.diatomics", "words"): "what a verdict says, in the one file of the kind's facts",
    ("kinds.relative_energy", "words"): "the same",
    ("kinds.physicality", "words"): "the same",
    ("report", "page.page"): "Report.to_html is a public name: two lines that call the page",
    ("report", "page.summary"): "what a notebook shows of a report",
    ("kinds.bsct.pictures", "page.page"): "the page of a run's worst scans, written beside the report",
    ("kinds.bsct.pictures", "page.svg.charts"): "its drawings",
    ("kinds.bsct.pictures", "page.templating"): "its template",
}


def floor(module: str) -> int:
    room, _, rest = module.partition(".")
    if room == "kinds" and rest:
        room = "kinds.facts" if (ROOT / "ffbench_eval" / "kinds" / rest).is_dir() else "kinds.work"
    levels = {name: level for level, names in enumerate(FLOORS) for name in names}
    return levels.get(module, levels[room])


def arrows() -> list[tuple[str, str, bool]]:
    """(module, module it imports, whether while it is imported itself) inside ffbench_eval, without type checking."""
    home, found = ROOT / "ffbench_eval", []

    def place(path: Path) -> list[str]:
        return [p for p in path.relative_to(home).with_suffix("").parts if p != "__init__"]

    modules = {".".join(place(p)) for p in home.rglob("*.py")}
    for path in home.rglob("*.py"):
        here = place(path)
        package = here if path.stem == "__init__" else here[:-1]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
        typing = {id(n) for f in ast.walk(tree) if isinstance(f, ast.If) and "TYPE_CHECKING" in ast.dump(f.test)
                  for n in ast.walk(f)}  # fmt: skip
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or id(node) in typing:
                continue
            if node.level:
                base = [*package[: len(package) - node.level + 1], *filter(None, (node.module or "").split("."))]
            elif node.module and node.module.split(".")[0] == "ffbench_eval":
                base = node.module.split(".")[1:]
            else:
                continue
            for name in node.names:
                whole = ".".join([*base, name.name])
                found.append((".".join(here), whole if whole in modules else ".".join(base), id(node) not in inside))
    return found


def test_inside_the_evaluator_nothing_points_upward():
    up = {(a, b): at_once for a, b, at_once in arrows() if floor(b) > floor(a)}
    assert set(up) == set(UPWARD)
    assert not any(up.values())  # none while a module is imported


def test_importing_a_room_never_meets_itself():
    """No circle among imports that are made at once."""
    below: dict[str, set[str]] = {}
    for a, b, at_once in arrows():
        if at_once and a != b:
            below.setdefault(a, set()).add(b)
    done: set[str] = set()

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above, module])
        if module not in done:
            for one in sorted(below.get(module, ())):
                walk(one, (*above, module))
            done.add(module)

    for module in sorted(below):
        walk(module, ())


def test_only_the_command_line_knows_the_board():
    """The program mounts the board's commands and reads its entries, late; nothing else of the product imports it."""
    rooms = ("ffbench_eval", "ffbench_data", "ffbench_metrics", "reference_models")
    imports = re.compile(r"^\s*(from|import) leaderboard\b", re.MULTILINE)
    files = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    knows = {f.relative_to(ROOT).parent.as_posix() for f in files if imports.search(f.read_text(encoding="utf-8"))}
    assert knows == {"ffbench_eval/cli"}
