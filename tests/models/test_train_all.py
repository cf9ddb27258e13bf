"""The queue: what is finished is skipped, what another process holds is left alone, a dead process holds nothing."""

import subprocess
import sys

import pytest
import torch
from filelock import FileLock

import reference_models
from ffbench_data import collate, load_frames
from reference_models import checkpoint, train_all
from reference_models.train_all import Fit, collect, read_table, state, work

QUICK = {"max_steps": 4, "batch": 2, "validate_every": 4}


def quick(seed):
    settings = {"features": 8, "layers": 1, "radial": 6}
    return Fit(f"painn_seed{seed}@ethanol_gfn2", "painn", "ethanol_gfn2", settings, {**QUICK, "seed": seed}, seed)


def test_the_table_has_the_fits_that_were_promised():
    fits, ensembles = read_table()
    names = [fit.name for fit in fits]
    for name in ("schnet", "painn", "deeppot_se", "transformer", "transformer_direct", "painn_wide", "painn_narrow"):
        assert f"{name}@ethanol_gfn2" in names
    for dataset in ("alanine_dipeptide_obc", "water", "md17-aspirin_1k"):
        assert {f"painn@{dataset}", f"schnet@{dataset}"} <= set(names)
    assert len(ensembles["painn_ensemble@ethanol_gfn2"]) == 4
    for fit in fits:
        assert fit.recipe["minutes"] == 10
        reference_models.configuration(fit.family, **fit.settings)
    assert {fit.recipe["minutes"] for fit in read_table(minutes=20)[0]} == {20}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{name: painn@water, family: pain, dataset: water}", "unknown family 'pain' of fit painn@water"),
        ("{name: painn@lips, family: painn, dataset: water}", "must end in '@' and its data set"),
    ],
)
def test_a_wrong_row_is_told(tmp_path, row, message):
    path = tmp_path / "fits.yaml"
    path.write_text(f"minutes: 1\nfits:\n  - {row}\n")
    with pytest.raises(ValueError, match=message):
        read_table(path)


def test_from_the_queue_to_a_shipped_ensemble(tmp_path, monkeypatch):
    fits, quiet = [quick(0), quick(1)], []
    (tmp_path / fits[1].name).mkdir()
    with FileLock(tmp_path / fits[1].name / "lock"):
        assert state(tmp_path, fits[1]) == "running"
        assert work(tmp_path, fits, log=quiet.append) == []
    assert [state(tmp_path, fit) for fit in fits] == ["finished", "waiting"]
    shipped = tmp_path / "shipped"
    ensembles = {"painn_ensemble@ethanol_gfn2": [fit.name for fit in fits]}
    collect(tmp_path, fits, ensembles, shipped, log=quiet.append)
    assert quiet[-1] == "painn_ensemble@ethanol_gfn2: waits for painn_seed1@ethanol_gfn2"
    before = (tmp_path / fits[0].name / "best.safetensors").stat().st_mtime_ns
    assert work(tmp_path, fits, log=quiet.append) == []
    assert (tmp_path / fits[0].name / "best.safetensors").stat().st_mtime_ns == before
    collect(tmp_path, fits, ensembles, shipped, log=quiet.append)

    monkeypatch.setattr(checkpoint, "SHIPPED", shipped)
    model = reference_models.load("painn_ensemble@ethanol_gfn2")
    batch = collate(load_frames("ethanol_gfn2", split="test"), indices=[0])
    energies = torch.stack([reference_models.load(fit.name)(batch).energy for fit in fits])
    torch.testing.assert_close(model(batch).energy, energies.mean(0))
    assert model.name == "painn_ensemble"
    assert reference_models.load("painn_seed0")["ethanol_gfn2"].name == "painn_seed0"


def test_a_dead_process_holds_nothing(tmp_path):
    (tmp_path / quick(0).name).mkdir()
    code = (
        f"from filelock import FileLock; lock = FileLock({str(tmp_path / quick(0).name / 'lock')!r}); lock.acquire(); "
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code + "print('held', flush=True); import time; time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    assert state(tmp_path, quick(0)) == "running"
    process.kill()
    process.wait()
    process.stdout.close()
    assert state(tmp_path, quick(0)) == "waiting"


def test_a_changed_row_and_a_missing_data_set_are_told(tmp_path):
    work(tmp_path, [quick(0)], log=lambda _: None)
    changed = Fit(**{**vars(quick(0)), "settings": {"features": 16}})
    with pytest.raises(ValueError, match="finished with other settings: remove its folder"):
        state(tmp_path, changed)
    missing = Fit("painn@lips20", "painn", "lips20", {}, QUICK)
    (failed,) = work(tmp_path, [missing], log=lambda _: None)
    assert failed.startswith("painn@lips20: ")
    with pytest.raises(ValueError, match="write NAME=FOLDER"):
        train_all._build(tmp_path, "md17")


def test_what_another_package_raises_stops_one_fit_only(tmp_path, monkeypatch):
    def broken(folder, fit, log):
        if "first" in fit.name:
            raise RuntimeError("a package gave up")
        (folder / fit.name / "done.json").write_text("{}")

    monkeypatch.setattr(train_all, "_train", broken)
    fits = [Fit(f"{name}@ethanol_gfn2", "painn", "ethanol_gfn2", {}, QUICK) for name in ("painn_first", "painn_then")]
    assert work(tmp_path, fits, log=lambda _: None) == ["painn_first@ethanol_gfn2: RuntimeError: a package gave up"]
    assert (tmp_path / "painn_then@ethanol_gfn2/done.json").exists()
