"""The public doors beside loading: precision, DataLoader, Croissant, Hub, command line."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from ffbench_data import collate_arrow, load_dataset, load_frames, verify
from ffbench_data.builders.read import KCAL
from ffbench_data.cli import app
from ffbench_data.datacard import Card
from ffbench_data.frames import ArrowRows
from ffbench_data.push import push
from ffbench_data.schema import to_table
from ffbench_data.store import PRECISION, write_dataset

RNG = np.random.default_rng(3)
TOY = Card(
    name="toy", title="Toy", version="1.0.0", description="d", licence="MIT", citation=["c"], theory="t",
    configs={"a": {"description": "d", "splits": {"train": {"rule": "r"}, "test": {"rule": "r"}}}},
    changelog={"1.0.0": "new"},
)  # fmt: skip


@pytest.fixture
def root(tmp_path):
    def table(count):
        x = [RNG.normal(size=(n, 3)) for n in RNG.integers(2, 6, count)]
        return to_table([np.arange(1, len(p) + 1) for p in x], x, -17636.123456789 + RNG.normal(size=count), x)

    write_dataset(tmp_path / "root/toy", TOY, {"a": {"train": table(70), "test": table(9)}})
    return tmp_path / "root"


def test_precision_trap(root, tmp_path):
    import torch

    truth = load_frames("toy", "a", "train", root=root).energy
    dataset = load_dataset("toy", "a", "train", root=root, cache_dir=str(tmp_path / "hf"))
    trap = dataset.with_format("torch")[:]["energy"]
    assert trap.dtype == torch.float32
    assert 1e-4 < np.abs(trap.numpy().astype(float) - truth).max() < 2e-3, (
        "the trap is as large as a good model's error"
    )
    _, labels = collate_arrow(ArrowRows(dataset)[3])
    assert labels.energy.item() == truth[3]
    assert PRECISION in (root / "toy/README.md").read_text()


def test_shuffled_data_loader(root, tmp_path):
    from torch.utils.data import DataLoader

    dataset = load_dataset("toy", "a", "train", root=root, cache_dir=str(tmp_path / "hf"))
    batches = list(DataLoader(ArrowRows(dataset), batch_size=16, shuffle=True, collate_fn=collate_arrow))
    assert [b.n_systems for b, _ in batches] == [16, 16, 16, 16, 6]
    energies = np.concatenate([labels.energy.numpy() for _, labels in batches])
    assert np.array_equal(np.sort(energies), np.sort(load_frames("toy", "a", "train", root=root).energy))
    batch, labels = batches[0]
    assert np.array_equal(labels.forces.numpy(), batch.positions.numpy().astype(np.float32))


def test_croissant_is_valid_and_reads_back(root):
    mlcroissant = pytest.importorskip("mlcroissant")
    path = root / "toy/croissant.json"
    dataset = mlcroissant.Dataset(jsonld=str(path))
    assert not dataset.metadata.issues.errors
    assert "croissant/1.1" in json.dumps(dataset.metadata.to_json(), default=str)
    name = "data/a/train-00000-of-00001"
    row = next(iter(dataset.records(name)))
    assert row[f"{name}/energy"] == load_frames("toy", "a", "train", root=root).energy[0]
    text = json.loads(path.read_text())
    manifest = json.loads((root / "toy/manifest.json").read_text())
    assert [f["sha256"] for f in text["distribution"]] == [s["sha256"] for s in manifest["shards"]]
    assert {"rai:dataBiases", "rai:dataLimitations", "rai:personalSensitiveInformation"} <= set(text)


def test_eval_yaml(root):
    tasks = yaml.safe_load((root / "toy/eval.yaml").read_text())["tasks"]
    assert tasks == [{"id": "a_test", "config": "a", "split": "test"}]


class StandIn:
    """Plays `huggingface_hub.HfApi`, with its signatures."""

    def __init__(self):
        self.calls, self.tags = [], []

    def create_repo(self, repo_id, *, repo_type, private, exist_ok):
        self.calls.append(("create_repo", repo_id, repo_type))

    def list_repo_refs(self, repo_id, *, repo_type):
        return SimpleNamespace(tags=[SimpleNamespace(name=t) for t in self.tags])

    def upload_folder(self, *, repo_id, repo_type, folder_path, commit_message, delete_patterns):
        self.calls.append(("upload_folder", folder_path, commit_message))

    def create_tag(self, repo_id, *, tag, repo_type, tag_message):
        self.calls.append(("create_tag", tag))
        self.tags.append(tag)


def test_push(root):
    client = StandIn()
    assert push("toy", "org/toy", root=root, client=client).endswith("datasets/org/toy/tree/v1.0.0")
    assert [c[0] for c in client.calls] == ["create_repo", "upload_folder", "create_tag"]
    with pytest.raises(ValueError, match=r"already has v1\.0\.0"):
        push("toy", "org/toy", root=root, client=client)
    with pytest.raises(ValueError, match="must be ORG/NAME"):
        push("toy", "toy", root=root, client=client)
    with pytest.raises(ValueError, match="must not be redistributed"):
        push("lips20", "org/lips20", root=root, client=client)
    (root / "toy/eval.yaml").write_text("changed")
    with pytest.raises(ValueError, match="was changed"):
        push("toy", "org/toy", root=root, client=StandIn())


def test_stand_in_has_the_signatures_of_the_client():
    import inspect

    from huggingface_hub import HfApi

    for name in ("create_repo", "list_repo_refs", "upload_folder", "create_tag"):
        ours = set(inspect.signature(getattr(StandIn, name)).parameters)
        assert ours <= set(inspect.signature(getattr(HfApi, name)).parameters)


def test_command_line(root, tmp_path, monkeypatch):
    run = CliRunner().invoke
    assert "water" in run(app, ["list"]).output
    assert "Ewald" in run(app, ["info", "water"]).output
    said = run(app, ["verify", "toy", "--root", str(root)])
    assert "all as sealed" in said.output
    assert isinstance(run(app, ["verify", "watr"]).exception, ValueError)
    z, n = [6, 8], 300
    x = np.zeros((n, 2, 3))
    x[:, 1, 0] = 1.13 + 0.027 * RNG.normal(size=n)  # 60 eV/A^2 at 500 K
    f = np.stack([60 * (x[:, 1] - [1.13, 0, 0]), -60 * (x[:, 1] - [1.13, 0, 0])], 1)
    np.savez(tmp_path / "md17_uracil.npz", z=z, R=x, E=(30 * (x[:, 1, 0] - 1.13) ** 2 - 3000) / KCAL, F=f / KCAL)
    said = run(app, ["build", "md17", "--source", str(tmp_path), "--out", str(tmp_path / "out")])
    assert said.exit_code == 0, said.output
    assert "note: aspirin: no file" in said.output
    said = run(app, ["croissant", "md17", "--root", str(tmp_path / "out")])
    assert json.loads(said.output)["name"] == "md17"


def test_verify(root):
    assert verify("toy", root=root)["files"] == 6
