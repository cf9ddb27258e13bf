"""Every example in a docstring is run; those of the metric library, one a function: `metrics/test_doctests`."""

import doctest
import importlib

import pytest

from tests.conftest import ROOT

PACKAGES = ("ffbench_data", "ffbench_eval", "reference_models", "leaderboard")
FILES = [p for name in PACKAGES for p in sorted((ROOT / name).rglob("*.py")) if ">>> " in p.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_examples_of_the_module_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).failed == 0
