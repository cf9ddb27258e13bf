"""A model whose packages do not go with those here runs in another Python environment, whole units at a time."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from ffbench_eval import evaluate
from ffbench_eval.models import environments
from ffbench_eval.models import isolated as isolated_module
from ffbench_eval.models.resolve import resolve
from reference_models.providers import Provider, providers, require
from tests.eval.test_evaluate import TINY

MODEL = """
# /// script
# dependencies = ["springs==2"]
# [tool.ffbench]
# env = "./there"
# ///
import springs
from ffbench_eval import ForceField

def load():
    return ForceField.from_energy(springs.energy, cutoff=8.0, card={"name": "springs", "version": springs.VERSION})
"""
SPRINGS = """
VERSION = "{version}"
def energy(batch):
    d = batch.edge_vectors().norm(dim=-1)
    owner = batch.system_index[batch.edge_index[0]]
    return d.new_zeros(batch.n_systems).index_add(0, owner, {k} * (d - 2.0) ** 2)
"""
MISSING = "tblite"  # not in the other environment


@pytest.fixture
def there(tmp_path):
    """A virtual environment with springs 2 (there is 1 here) and all packages of here but one."""
    folder = tmp_path / "there"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    own = next((folder / "lib").glob("python*")) / "site-packages"
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not path.name.startswith((MISSING, "ffbench", "__editable__")) and not path.name.endswith(".pth"):
            (own / path.name).symlink_to(path)
    (own / "springs.py").write_text(SPRINGS.format(version=2, k=0.001))
    (tmp_path / "springs.py").write_text(SPRINGS.format(version=1, k=0.002))
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "tiny.yaml").write_text(TINY.replace("max_frames: 60", "max_frames: 20").replace("0.1", "0.02"))
    return folder


def test_units_run_in_the_environment_that_the_file_names(tmp_path, there, monkeypatch):
    """With the other version of a package; every unit whole, not call by call; and the numbers are those of here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    called, sent = [], []
    call, work = isolated_module.Remote.__call__, isolated_module.Remote.work
    monkeypatch.setattr(isolated_module.Remote, "__call__", lambda self, b: called.append(b) or call(self, b))
    monkeypatch.setattr(
        isolated_module.Remote,
        "work",
        lambda self, do, unit, *a, **k: sent.append(unit.task.name) or work(self, do, unit, *a, **k),
    )
    report = evaluate(f"{tmp_path}/model.py:load", tmp_path / "tiny.yaml", out=tmp_path / "there-run", quiet=True)
    assert report.model.version == "2"
    assert set(sent) == {"errors", "dynamics"}
    assert len(called) < 60  # who it is, what a call takes, the energies to align on: not the steps

    (tmp_path / "model.py").write_text(MODEL.replace('env = "./there"', ""))
    (tmp_path / "springs.py").write_text(SPRINGS.format(version=2, k=0.001))
    monkeypatch.syspath_prepend(str(tmp_path))
    here = evaluate(f"{tmp_path}/model.py:load", tmp_path / "tiny.yaml", out=tmp_path / "here-run", quiet=True)
    assert {k: t.metrics for k, t in report.tasks.items()} == {k: t.metrics for k, t in here.tasks.items()}
    (tmp_path / "model.py").write_text(MODEL.replace("import springs", f"import springs\nimport {MISSING}"))
    with pytest.raises(ValueError, match=f"No module named '{MISSING}'") as told:
        resolve(f"{tmp_path}/model.py:load")
    assert len(str(told.value).splitlines()) == 1


def test_what_is_no_environment_is_one_line(tmp_path, monkeypatch):
    file = tmp_path / "model.py"
    file.write_text("def load(): pass")
    monkeypatch.setattr(environments, "locks", lambda: {"mace": tmp_path / "mace.txt"})
    for env, line in (
        ("mars", "none of mace"),
        (f"{tmp_path}/no/python", "no interpreter at"),
        (str(file), "no inter"),
    ):
        with pytest.raises(ValueError, match=line) as told:
            resolve(f"{file}:load", env=env)
        assert len(str(told.value).splitlines()) == 1
    with pytest.raises(ValueError, match="another environment is another process"):
        resolve(f"{file}:load", env="mace", isolate=False)
    with pytest.raises(ValueError, match="env: name the model by a spec"):
        resolve(lambda batch: None, env="mace")
    file.write_text("# /// script\n# [tool.ffbench\n# ///\n")
    with pytest.raises(ValueError, match="no TOML"):
        environments.stated_in(f"{file}:load")
    file.write_text("# /// script\n# [tool.ffbench]\n# env = 3\n# ///\n")
    with pytest.raises(ValueError, match="must be a name or a path"):
        environments.stated_in(f"{file}:load")


@pytest.mark.parametrize("uv", [True, False])
def test_a_lock_is_made_once_and_again_when_it_changes(tmp_path, monkeypatch, capfd, uv):
    """By uv where there is one, else by pip; from a wheel beside it, so without a network."""
    if uv and not shutil.which("uv"):
        pytest.skip("uv is not installed")
    wheel = tmp_path / "springs-2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("springs.py", "VERSION = 2\n")
        file.writestr("springs-2.dist-info/METADATA", "Metadata-Version: 2.1\nName: springs\nVersion: 2\n")
        file.writestr("springs-2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("springs-2.dist-info/RECORD", "")
    lock = tmp_path / "mine.txt"
    lock.write_text(f"{wheel}\n")
    monkeypatch.setattr(environments, "locks", lambda: {"mine": lock})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if not uv:
        monkeypatch.setattr(environments.shutil, "which", lambda name: None)
    python = environments.interpreter("mine")
    said = subprocess.run([python, "-c", "import springs; print(springs.VERSION)"], capture_output=True, text=True)
    assert said.stdout.split() == ["2"]
    assert "environment mine is made in" in capfd.readouterr().err
    assert environments.interpreter("mine") == python
    assert not capfd.readouterr().err
    lock.write_text(f"{wheel}\n{tmp_path}/nothing-1-py3-none-any.whl\n")
    with pytest.raises(ValueError, match="could not make it from") as told:
        environments.interpreter("mine")
    assert len(str(told.value).splitlines()) == 1
    assert python.exists()


def test_a_provider_that_is_not_here_names_its_environment(tmp_path, monkeypatch):
    """Used by itself once it was made; until then the line that says what is missing offers it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(Provider, "installed", None)
    spec = "reference_models:mace@ethanol_gfn2"
    assert environments.stated_in(spec) == ""
    with pytest.raises(ValueError, match=r"which is not installed: pip install .*, or .*: --env mace$"):
        require("mace")
    made = environments._folder("mace")
    made.mkdir(parents=True)
    (made / environments.READY).touch()
    assert environments.stated_in(spec) == "mace"
    assert environments.stated_in("reference_models:schnet@ethanol_gfn2") == ""
    monkeypatch.setattr(Provider, "installed", "1.0")
    assert environments.stated_in(spec) == ""
    assert {p.env for p in providers().values() if p.env} == set(environments.locks())


def test_every_lock_that_ships_states_exact_versions_of_all_that_ffbench_needs():
    import tomllib

    from packaging.requirements import Requirement

    from tests.conftest import ROOT

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {Requirement(r).name.lower() for r in project["dependencies"]}
    for name, path in environments.locks().items():
        rows = [Requirement(line) for line in path.read_text().splitlines() if line.strip() and line[0] not in "# "]
        assert rows, name
        assert all(str(r.specifier).startswith("==") for r in rows), name
        assert needed <= {r.name.lower() for r in rows}, name
