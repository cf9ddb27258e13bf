"""The README is true: its Python blocks run, its commands exist and answer."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def run(arguments, cwd):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "FFBENCH_DATA": str(cwd / "data")}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True)


OWN = ["data", "add", "mine", "my.extxyz", "--temperature", "500", "--theory", "GFN2-xTB"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the README's own model and file of structures in it."""
    folder = tmp_path_factory.mktemp("readme")
    for language, text in BLOCKS:
        if language == "python" and text.startswith("# my_model.py"):
            (folder / "my_model.py").write_text(text)
        if language == "python" and 'write("my.extxyz"' in text:
            run(["-c", text], folder)
    assert run(["-m", "ffbench_eval", *OWN], folder).returncode == 0  # other commands take its name
    return folder


@pytest.mark.parametrize("text", [t for language, t in BLOCKS if language == "python"], ids=range(4))
def test_python_blocks_run(desk, text):
    done = run(["-c", text], desk)
    assert done.returncode == 0, done.stderr


COMMANDS = [
    line.split("#")[0].split()[1:]
    for language, text in BLOCKS
    if language == "bash"
    for line in text.splitlines()
    if line.startswith("ffbench ")
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=[" ".join(c[:2]) for c in COMMANDS])
def test_commands_run(desk, arguments):
    done = run(["-m", "ffbench_eval", *arguments], desk)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_make_targets_of_the_readme_exist():
    text = (ROOT / "Makefile").read_text()
    for target in ("demo:", "test:", "setup:"):
        assert f"\n{target}" in text
