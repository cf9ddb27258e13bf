"""The GPU benchmark's rehearsal on the CPU."""

import json
import subprocess
import sys

from tests.conftest import ROOT


def test_the_rehearsal_of_the_gpu_benchmark_runs_here(tmp_path):
    """The stage that has the engine's chunks in it; the others only call what has tests of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "on_gpu.py"), "--device", "cpu", "--dry", "--only", "steps"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "on_gpu_none.json").read_text())["rows"]
    assert [row["form"] for row in rows] == ["eager", "captured", "ase"]
    assert all(row["ms_per_step"] > 0 and row.get("alive", 5) == 5 for row in rows)
    assert rows[1]["ok"]
