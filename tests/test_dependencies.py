"""What the code imports is what the package declares: no more, no less."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.conftest import ROOT

PACKAGES = ("ffbench_data", "ffbench_metrics", "ffbench_eval", "reference_models", "leaderboard")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMED_OTHERWISE = {  # distributions of optional packages, which need not be installed here
    "allegro": "nequip-allegro", "mace": "mace-torch", "torchmdnet": "torchmd-net", "torch_sim": "torch-sim-atomistic",
    "xnn": "xnns", "so3krates_torch": "so3krates-torch", "torch_geometric": "torch-geometric",
}  # fmt: skip


BROUGHT = {"fairchem", "mattersim", "orb_models", "tensorflow"}  # whoever hands over their calculators has them

OWNERS = packages_distributions()


def distribution(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower().replace("_", "-").replace(".", "-")


def imported() -> set[str]:
    """Top-level modules imported anywhere in the packages, also late and for type checking."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - set(PACKAGES) - BROUGHT


BASE = {distribution(r) for r in PROJECT["dependencies"]}
EXTRA = {distribution(r) for rows in PROJECT["optional-dependencies"].values() for r in rows}


@pytest.mark.parametrize("module", sorted(imported()))
def test_every_import_is_declared(module):
    names = {distribution(d) for d in OWNERS.get(module, [NAMED_OTHERWISE.get(module, module)])}
    assert names & (BASE | EXTRA), f"{module} is imported and not declared in pyproject.toml"


def test_every_base_dependency_is_imported():
    used = {distribution(d) for module in imported() for d in OWNERS.get(module, [])}
    assert not BASE - used
