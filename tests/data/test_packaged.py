"""Data sets of other packages, by entry point: found, loaded, evaluated on; what is wrong with one is said."""

import shutil
import sys

import pytest

from ffbench_data import card, list_datasets, load_frames
from ffbench_data.own import Options, add
from ffbench_data.packaged import packaged
from tests.data import own_files as files


@pytest.fixture
def brought(tmp_path, monkeypatch):
    """A package ``other_data`` that brings the data set ``theirs`` below its own folder."""
    from ase.io import write

    package = tmp_path / "site" / "other_data"
    package.mkdir(parents=True)
    frames = load_frames("ethanol_gfn2", split="test")[:60]
    write(tmp_path / "a.extxyz", files.atoms_of(frames))
    add("theirs", [str(tmp_path / "a.extxyz")], Options(temperature="500"), out=package)
    (package / "__init__.py").write_text(
        "from pathlib import Path\nFOLDER = Path(__file__).parent / 'theirs'\n"
        "def fetched():\n    return FOLDER\n"
        "def offline():\n    raise OSError('no network')\n"
    )
    info = package.parent / "other_data-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-data\nVersion: 1.0\n")

    def offer(**points):
        lines = "".join(f"{name} = other_data:{attribute}\n" for name, attribute in points.items())
        (info / "entry_points.txt").write_text(f"[ffbench.datasets]\n{lines}")
        return package / "theirs"

    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(package.parent)
    yield offer
    sys.modules.pop("other_data", None)


@pytest.mark.parametrize("attribute", ["FOLDER", "fetched"])
def test_a_data_set_of_another_package_is_loaded_by_name(brought, attribute, capsys):
    folder = brought(theirs=attribute, water=attribute)
    assert "theirs" in list_datasets()
    assert list(packaged()) == ["theirs"]  # a shipped name cannot be taken
    assert "other_data" not in sys.modules  # a list imports nobody's code
    assert card("theirs").name == "theirs"
    mine, there = load_frames("theirs", split="test"), load_frames(str(folder), split="test")
    assert mine.energy.tolist() == there.energy.tolist()
    from ffbench_eval.cli import main

    with pytest.raises(SystemExit) as stopped:
        main(["data", "verify", "theirs"])
    assert stopped.value.code == 0
    assert "all as sealed" in capsys.readouterr().out


def test_what_is_wrong_with_it_is_one_line(brought):
    folder = brought(theirs="FOLDER", others="FOLDER", offline="offline", gone="NOTHING")
    for name, why in (
        ("others", "is called 'theirs'"),
        ("offline", "OSError: no network"),
        ("gone", "has no attribute 'NOTHING'"),
    ):
        with pytest.raises(ValueError, match=f"data set '{name}' of other-data: .*{why}"):
            load_frames(name, split="test")
    shard = next(folder.rglob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="build it again with `pip install --force-reinstall other-data`"):
        load_frames("theirs", split=None)
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match=r"data set 'theirs' of other-data: .*is not a built dataset"):
        load_frames("theirs", split="test")
