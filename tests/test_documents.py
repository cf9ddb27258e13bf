"""The documents are true: their commands parse, and the files they name are there."""

import re
import shlex
from importlib import import_module

import pytest
import typer
from typer.core import TyperGroup

from ffbench_eval.cli import app, mount
from tests.conftest import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")),
             *sorted((ROOT / "docs" / "tutorials").glob("*.md"))]  # fmt: skip
CODE = re.compile(r"```\w*\n.*?```|^ {4}\S.*$|`[^`\n]+`", flags=re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:^|[`\s])ffbench ([a-z][^`\n#&]*)")
FILE = re.compile(r"`((?:benchmarks|docs|tests|leaderboard|reference_models|ffbench_\w+)/[\w./-]+\.\w+)[`:]")


def commands(text):
    return [c.strip() for code in CODE.findall(text) for c in COMMAND.findall(code)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_parses(path):
    mount()
    for line in commands(path.read_text(encoding="utf-8")):
        command, words = typer.main.get_command(app), shlex.split(line)
        while isinstance(command, TyperGroup) and words:
            if words[0] not in command.commands and hasattr(command, "implied"):
                words = [command.implied, *words]
            assert words[0] in command.commands, f"{path.name}: no command `ffbench {line}`"
            command, words = command.commands[words[0]], words[1:]
        if not isinstance(command, TyperGroup):
            try:
                command.make_context(line, words)
            except Exception as error:  # the parser's own errors have no public name
                pytest.fail(f"{path.name}: `ffbench {line}`: {error}")


PROGRAM = re.compile(r"python -m ((?:ffbench_data|reference_models)\.[\w.]+) +([^`\n#\"]*)")
SOURCES = [p for room in ("ffbench_data", "reference_models") for p in sorted((ROOT / room).rglob("*.py"))]


def programs():
    """(module, its arguments) of every `python -m` that a document or a docstring shows."""
    texts = (path.read_text(encoding="utf-8") for path in (*DOCUMENTS, *SOURCES))
    return [(module, rest.split("  ")[0].strip()) for text in texts for module, rest in PROGRAM.findall(text)]


@pytest.mark.parametrize("module", sorted({module for module, _ in programs()}))
def test_every_program_of_a_module_parses(module):
    main = import_module(module).main
    for text in (text for name, text in programs() if name == module):
        app = typer.Typer()
        app.command()(main)
        words = text.replace("[", "").replace("]", "").replace("...", "").split()
        try:
            typer.main.get_command(app).make_context(module, words)
        except Exception as error:
            pytest.fail(f"python -m {module} {text}: {error}")


def test_programs_are_found():
    assert {"ffbench_data.generate.water", "reference_models.train_all"} <= {module for module, _ in programs()}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_is_there(path):
    for name in FILE.findall(path.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), f"{path.name} names {name}"


GUARD = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_the_rooms_are_those_of_the_tree():
    """Every folder of code at the top, and every one inside the evaluator and the board, has its place in the table."""
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## The rooms")[1].split("## ")[0]
    named = set(re.findall(r"`(?:(?:ffbench_eval|leaderboard)/)?(\w+)/`", table))
    rooms = ["ffbench_metrics", "ffbench_data", "reference_models", "ffbench_eval/*", "leaderboard/*", "ffbench_data/*"]
    there = {p.name for room in rooms for p in ROOT.glob(room) if (p / "__init__.py").exists()}
    assert there <= named
    assert all(list(ROOT.glob(f"*/{name}")) + list(ROOT.glob(name)) for name in named)


def test_every_fault_names_a_test_that_is_there():
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "guarded by" not in line]
    assert len(rows) > 30
    for row in rows:
        found = GUARD.findall(row)
        assert found, row
        for file, name in found:
            assert not name or f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file} has no {name}"


def test_the_citation_is_of_this_version():
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert version
    assert f"\nversion: {version[1]}\n" in (ROOT / "CITATION.cff").read_text()


def test_commands_are_found():
    assert sum(len(commands(path.read_text(encoding="utf-8"))) for path in DOCUMENTS) > 30
