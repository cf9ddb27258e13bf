"""The wheel is whole: built, installed elsewhere, and able to score a shipped model with what it ships."""

import os
import subprocess
import sys

from tests.conftest import ROOT

SCRIPT = """
import pathlib, sys
import ffbench_data, ffbench_eval, ffbench_metrics, reference_models
home = pathlib.Path(sys.argv[1])
for package in (ffbench_data, ffbench_eval, ffbench_metrics, reference_models):
    assert pathlib.Path(package.__file__).is_relative_to(home), package.__file__
report = ffbench_eval.evaluate(
    "reference_models:painn", "mini", tasks=["ethanol_accuracy", "ethanol_bond_scans"], out="run", quiet=True
)
assert report.tasks["ethanol_accuracy"].metrics["force_mae"].value < 0.1
assert pathlib.Path("run/report.html").exists()
print("scored")
"""


def test_the_wheel_scores_a_shipped_model_from_another_folder(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("ffbench-*.whl")
    assert wheel.stat().st_size < 24e6  # a third data, the rest checkpoints
    home = tmp_path / "home"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(home), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    env = {**os.environ, "PYTHONPATH": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(home)]
    done = subprocess.run(command, cwd=elsewhere, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "scored" in done.stdout
