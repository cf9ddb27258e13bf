"""Dependencies point one way, and the light doors stay light."""

import subprocess
import sys

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
