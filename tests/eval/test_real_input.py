"""The same `evaluate` on real DFT data: MD17 aspirin, built from local files, with a model trained for a minute."""

import pytest

SUITE = """
name: md17_aspirin
version: 1.0.0
tasks:
  errors: {kind: accuracy, dataset: "md17:CONFIG", max_frames: 100}
  dynamics:
    kind: molecular_dynamics
    dataset: "md17:CONFIG"
    ensemble: nose_hoover
    temperature_K: 500
    time_step_fs: 0.5
    length_ps: 0.2
    save_every_fs: 5
    replicas: 5
    observables: [distance_histogram, temperature]
"""


def test_md17_aspirin_from_files_to_report(shared_data, tmp_path, monkeypatch):
    from ffbench_data import load_frames
    from ffbench_data.builders import build
    from ffbench_eval import evaluate
    from reference_models.painn import Config
    from reference_models.train import Recipe, train

    built = build("md17", source=shared_data / "md17", out=tmp_path / "data", quiet=True)
    monkeypatch.setenv("FFBENCH_DATA", str(built.parent))
    config = "aspirin_1k"
    frames = {split: load_frames("md17", config, split) for split in ("train", "val", "test")}
    model = train(
        "painn",
        Config(features=32, layers=2),
        frames["train"],
        frames["val"][:50],
        folder=tmp_path / "train",
        recipe=Recipe(minutes=0.5, validate_every=200),
        log=lambda _: None,
    )
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.replace("CONFIG", config))
    report = evaluate(model, path, out=tmp_path / "run", quiet=True)
    mae = report.tasks["errors"].metrics["force_mae"]
    assert mae.value < 0.5 * mae.trivial
    md = report.tasks["dynamics"]
    assert md.dataset.name == "md17"
    assert md.metrics["stable_time"].n == 5
    assert md.metrics["distance_histogram_error"].value < 1.0
    assert md.metrics["distance_histogram_error"].floor is None
    assert report.tasks["errors"].metrics["energy_mae"].value == pytest.approx(0.2, abs=0.3)
