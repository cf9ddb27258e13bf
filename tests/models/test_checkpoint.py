"""A checkpoint that cannot be used is refused in one line that names the fix; nothing is unpickled."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import reference_models
from reference_models import FAMILIES, build, checkpoint, configuration
from reference_models.providers import providers
from reference_models.train import Recipe


def written(path, **about):
    """A checkpoint of a small PaiNN, with ``about`` changed in what it says of itself."""
    model = build({"family": "painn", "features": 8, "layers": 1}, elements=(1, 8))
    config = configuration("painn", features=8, layers=1)
    checkpoint.save(path, "painn", config, model.fn, elements=(1, 8), card=model.card)
    stated, tensors = checkpoint.read_tensors(path)
    save_file(tensors, path, metadata={"ffbench": json.dumps({**stated, **about})})
    return path


def test_it_reads_back(tmp_path):
    assert checkpoint.read(written(tmp_path / "a.safetensors")).elements == (1, 8)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"family": "gemnet"}, r"is of family 'gemnet', which this ffbench does not have .*deeppot_se.*: update"),
        ({"family": "schnet"}, r"does not fit family 'schnet' .*train it again"),
        ({"format": 99}, r"has format 99, this ffbench reads 1; train it again"),
        (
            {"config": {"features": 8, "spin": 1}},
            r"another version of 'painn' \(unknown setting 'spin'.*train it again",
        ),
        ({"config": {"features": 16, "layers": 1}}, r"does not fit family 'painn' .*train it again"),
    ],
)
def test_of_another_family_or_version(tmp_path, about, message):
    path = written(tmp_path / "a.safetensors", **about)
    with pytest.raises(ValueError, match=message) as caught:
        checkpoint.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 4, 100, -100])
def test_truncated(tmp_path, keep):
    path = written(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"is damaged .*; copy or train it again") as caught:
        checkpoint.read(path)
    assert "\n" not in str(caught.value)


def test_of_another_program(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="was not written by ffbench"):
        checkpoint.read(tmp_path / "a.safetensors")


def test_a_pickle_is_not_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (print, ("opened",))

    path = tmp_path / "a.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.read(path)


def test_a_folder_and_an_unknown_name(tmp_path):
    with pytest.raises(ValueError, match="does not exist; train it"):
        checkpoint.read(tmp_path)
    with pytest.raises(ValueError, match="unknown reference model 'pain'; did you mean 'painn'"):
        reference_models.load("pain")


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {f for p in providers().values() for f in p.families}))
def test_every_family_trains_from_the_command_line(tmp_path, family):
    from ffbench_eval.cli import app

    small = {"deeppot_se": ["embedding=4,8", "axis=2", "fitting=8"]}.get(family, ["features=8", "layers=1"])
    options = [part for item in small for part in ("--set", item)]
    folder = str(tmp_path / family)
    command = ["train", family, "ethanol_gfn2", "--minutes", "0.002", "--batch", "2", "--folder", folder, *options]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert checkpoint.read(tmp_path / family / "best.safetensors").elements == (1, 6, 8)


def test_the_command_line_tells_what_is_wrong(tmp_path):
    from ffbench_eval.cli import app

    done = CliRunner().invoke(app, ["train", "transformer", "ethanol_gfn2", "--set", "graph=fuzzy"])
    assert done.exit_code != 0
    assert "graph must be 'soft' or 'hard'" in str(done.exception)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("max_steps", "write KEY=VALUE"),
        ("max_step=5", "did you mean 'max_steps'"),
        ("max_steps=many", "recipe: max_steps"),
        ("schedule=steps", "schedule must be 'cosine' or 'plateau'"),
    ],
)
def test_every_field_of_a_recipe_is_reached_from_the_command_line(pair, said):
    from ffbench_eval.cli import app

    done = CliRunner().invoke(app, ["train", "schnet", "ethanol_gfn2", "--recipe", pair])
    assert isinstance(done.exception, ValueError)
    assert said in str(done.exception)
    assert Recipe.of({"max_steps": "7", "minutes": 3.0, "learning_rate": "1e-3"}) == Recipe(3.0, 16, 1e-3, max_steps=7)
