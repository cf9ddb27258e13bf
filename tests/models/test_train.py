"""The trainer: it learns, it is deterministic, it goes on after a stop, and its checkpoints read back."""

import json

import numpy as np
import pytest
import torch

import reference_models
from ffbench_data import collate, load_frames
from reference_models import checkpoint
from reference_models.painn import Config
from reference_models.train import Recipe, train, train_on
from tests.conftest import ROOT

SMALL = Config(features=8, layers=1, radial=6)


@pytest.fixture(scope="module")
def frames():
    data = load_frames("ethanol_gfn2", split="train")
    return data[:64], data[64:80]


def fit(folder, frames, steps, callbacks=()):
    recipe = Recipe(minutes=5, batch=4, validate_every=100, max_steps=steps)
    return train("painn", SMALL, *frames, folder=folder, recipe=recipe, callbacks=callbacks, log=lambda _: None)


def forces(model, frames):
    return model(collate(frames[1])).forces


def test_it_learns_and_repeats_itself(tmp_path, frames):
    seen = []
    a = fit(tmp_path / "a", frames, 400, callbacks=[lambda step, model: seen.append(step) or {"answer": 42.0}])
    b = fit(tmp_path / "b", frames, 400)
    torch.testing.assert_close(forces(a, frames), forces(b, frames), rtol=0, atol=0)
    mae = (forces(a, frames) - torch.from_numpy(frames[1].forces.copy())).abs().mean()
    assert mae < 0.75 * np.abs(frames[1].forces).mean()
    assert seen == [100, 200, 300, 400]
    assert '"answer": 42.0' in (tmp_path / "a" / "curve.json").read_text()


def test_a_stopped_training_goes_on_from_the_last_validation(tmp_path, frames):
    def stop(step, model):
        if step == 200:
            raise KeyboardInterrupt

    whole = fit(tmp_path / "whole", frames, 300)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", frames, 300, callbacks=[stop])
    resumed = fit(tmp_path / "cut", frames, 300)
    # The learning rate follows CPU time, so that two trainings agree in quality, not in the last digit.
    assert (forces(whole, frames) - forces(resumed, frames)).abs().mean() < 0.05


def test_a_checkpoint_carries_everything_and_a_wrong_one_is_refused(tmp_path, frames):
    fit(tmp_path / "run", frames, 20)
    path = tmp_path / "run" / "best.safetensors"
    model = reference_models.load(str(path))
    assert model.elements == (1, 6, 8)
    assert model.cutoff == SMALL.cutoff
    assert model.card["parameters"] == sum(p.numel() for p in model.fn.parameters())
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.read(cut)
    with pytest.raises(ValueError, match="does not exist"):
        checkpoint.read(tmp_path / "none.safetensors")


def test_unknown_names_are_told(tmp_path):
    with pytest.raises(ValueError, match="unknown family 'pain'; did you mean 'painn'"):
        train_on("pain", "ethanol_gfn2", folder=tmp_path)
    with pytest.raises(ValueError, match="unknown setting 'layer'"):
        train_on("painn", "ethanol_gfn2", folder=tmp_path, changes={"layer": "2"})


def test_the_table_of_fits_in_the_docs_is_what_was_measured():
    told = (ROOT / "docs/models.md").read_text()
    for name, fit in json.loads((checkpoint.SHIPPED / "fits.json").read_text()).items():
        mae, energy = 1000 * fit["test_force_mae"], 1000 * fit["test_energy_mae"]
        assert f"| `{name}` | {fit['parameters']:,} | {fit['steps']:,} | {mae:.1f} | {energy:.1f} |" in told, name


def test_shipped_checkpoints_are_what_the_readme_says():
    models = reference_models.load("painn")
    assert set(models) >= {"alanine_dipeptide_obc", "ethanol_gfn2", "water"}
    for name in ("alanine_dipeptide_obc", "ethanol_gfn2", "water"):
        model = models[name]
        test = load_frames(name, split="test")[:20]
        mine = model(collate(test)).forces
        mae = (mine - torch.from_numpy(test.forces.copy())).abs().mean()
        assert mae < 0.06 * np.abs(test.forces).mean(), name


def test_a_network_that_cannot_be_copied_is_trained(tmp_path, frames, monkeypatch):
    from reference_models.painn import PaiNN

    def refuse(self, memo):
        raise TypeError("compiled code cannot be copied")

    monkeypatch.setattr(PaiNN, "__deepcopy__", refuse, raising=False)
    seen = []
    fit(tmp_path, frames, 2, callbacks=[lambda step, model: seen.append(step)])
    assert seen == [2]


@pytest.mark.parametrize("family", ["painn", "schnet", "transformer"])
def test_training_begins_at_the_energies_that_the_elements_explain(tmp_path, frames, family):
    """On its own frames of one composition the untrained network's mean error is 0; it was tenths of an eV per atom."""
    few = frames[0][:16]
    recipe = Recipe(minutes=5, batch=2, validate_every=1, max_steps=1, learning_rate=1e-12)
    reached = train(family, None, few, few, folder=tmp_path, recipe=recipe, log=lambda line: None)
    off = reached(collate(few)).energy.numpy() - few.energy
    assert abs(off.mean()) < 1e-4


def test_frames_without_forces_are_trained_on_by_their_energies(tmp_path, frames):
    """A missing label is no number: it moves no weight, and no validation."""
    from ffbench_data.frames import Frames
    from ffbench_data.schema import to_table

    both, few = frames[0][:16], frames[0][:8]
    z, x = both.stacked()
    forces = both.forces.reshape(x.shape).copy()
    forces[8:] = np.nan
    half = Frames(to_table(z, x, both.energy, forces))
    recipe = Recipe(minutes=5, batch=4, validate_every=10, max_steps=20)
    train("painn", SMALL, half, half, folder=tmp_path / "half", recipe=recipe, log=lambda line: None)
    curve = json.loads((tmp_path / "half" / "curve.json").read_text())["curve"]
    assert np.isfinite([row["loss"] for row in curve]).all()
    model = checkpoint.read(tmp_path / "half" / "best.safetensors")
    mine = model(collate(few)).forces.numpy()
    best = min(row["force_mae"] for row in curve)
    assert best == pytest.approx(np.abs(mine - few.forces).mean(), rel=1e-3)
    none = Frames(to_table(z, x, both.energy, np.full_like(forces, np.nan)))
    for pair, split in (((none, both), "training"), ((both, none), "validation")):
        with pytest.raises(ValueError, match=f"no {split} frame has forces"):
            train("painn", SMALL, *pair, folder=tmp_path / split, recipe=recipe)
