import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from ffbench_data import load_dataset, load_frames, provenance, stream_frames, verify
from ffbench_data.datacard import Card, card, known, list_datasets, parse_name, read_card
from ffbench_data.load import data_file, dataset_folder
from ffbench_data.schema import COLUMNS, content_hash, to_table
from ffbench_data.store import features_yaml, write_dataset

RNG = np.random.default_rng(0)
SPLITS = {"train": {"rule": "some"}, "test": {"rule": "others"}}
TOY = Card(
    name="toy", title="Toy", version="1.2.3", description="d", licence="MIT", citation=["c"], theory="t",
    configs={"a": {"description": "d", "splits": SPLITS}, "b": {"description": "d", "splits": SPLITS}},
    changelog={"1.2.3": "new"},
)  # fmt: skip


def frames_of(count, atoms=5):
    x = RNG.normal(size=(count, atoms, 3))
    return to_table(np.arange(1, atoms + 1), x, -17636.123456789 + RNG.normal(size=count), -x, method="toy")


@pytest.fixture
def toy(tmp_path):
    tables = {"a": {"train": frames_of(30), "test": frames_of(8)}, "b": {"train": frames_of(4)}}
    extra = {"reference/floor.bin": b"123", "made/by.txt": lambda path: path.write_text("x")}
    write_dataset(tmp_path / "toy", TOY, tables, extra)
    return tmp_path, tables


def test_round_trip(toy):
    root, tables = toy
    frames = load_frames("toy", "a", "train", root=root)
    assert content_hash(frames.table) == content_hash(tables["a"]["train"])
    assert frames.energy.dtype == np.float64
    assert len(frames) == 30
    assert {k: len(v) for k, v in load_frames("toy", root=root).items()} == {"train": 30, "test": 8}
    assert [len(f) for f in stream_frames("toy", "a", batch_size=12, root=root)] == [12, 12, 6]
    assert provenance("toy", root=root)["splits"]["test"]["frames"] == 8
    assert data_file("toy", "reference/floor.bin", root=root).read_bytes() == b"123"
    assert dataset_folder("toy", root=root) == root / "toy"
    assert not [p for p in root.iterdir() if p.name != "toy"], "work folders are left behind"


def test_plain_datasets_reads_it(toy, tmp_path):
    datasets = pytest.importorskip("datasets")
    root, tables = toy
    plain = datasets.load_dataset(str(root / "toy"), "a", split="train", cache_dir=str(tmp_path / "hf"))
    assert plain.num_rows == 30
    assert plain["energy"][:] == tables["a"]["train"]["energy"].to_pylist()
    assert plain.features == datasets.Features.from_arrow_schema(COLUMNS)
    assert features_yaml() == datasets.Features.from_arrow_schema(COLUMNS)._to_yaml_list()
    stream = datasets.load_dataset(str(root / "toy"), "b", split="train", streaming=True)
    assert len(list(stream)) == 4
    ours = load_dataset("toy", "a", "test", root=root, cache_dir=str(tmp_path / "hf"))
    assert ours.num_rows == 8
    assert set(load_dataset("toy", root=root, cache_dir=str(tmp_path / "hf"))) == {"train", "test"}


def test_wrong_requests_name_the_fix(toy):
    root, _ = toy
    for arguments, message in [
        (("toy", "c", "train"), "unknown config 'c' of toy"),
        (("toy", "a", "tran"), "did you mean 'train'"),
        (("toy", "b", "test"), "Available: train"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_frames(*arguments, root=root)
    with pytest.raises(ValueError, match=r"version 9.9.9 was asked for, found 1.2.3"):
        load_frames("toy", "a", "train", root=root, version="9.9.9")
    with pytest.raises(ValueError, match="did you mean 'water'"):
        load_frames("watr")
    with pytest.raises(ValueError, match="ffbench data build water"):
        load_frames("water", "1k", "train", root=root / "empty")


def test_changed_byte_is_refused(toy):
    root, _ = toy
    path = next((root / "toy/data/a").glob("train-*"))
    load_frames("toy", "a", "train", root=root)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"was changed .*ffbench data add toy FILES"):
        load_frames("toy", "a", "train", root=root)
    with pytest.raises(ValueError, match="was changed"):
        load_dataset("toy", "a", "train", root=root)
    path.unlink()
    with pytest.raises(ValueError, match="is missing"):
        load_frames("toy", "a", "train", root=root)
    (root / "toy/manifest.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        load_frames("toy", "a", "train", root=root)


def test_nothing_half_written(tmp_path):
    def fail(path):
        raise OSError(28, "No space left on device")

    with pytest.raises(ValueError, match="No space left"):
        write_dataset(tmp_path / "toy", TOY, {"a": {"train": frames_of(3)}}, {"x": fail})
    with pytest.raises(ValueError, match=r"unknown split 'trian'.*did you mean 'train'"):
        write_dataset(tmp_path / "toy", TOY, {"a": {"trian": frames_of(3)}})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="is not a dataset"):
        write_dataset(tmp_path / "mine", TOY, {"a": {"train": frames_of(3)}})
    assert (tmp_path / "mine/thesis.txt").exists()
    assert len(list(tmp_path.iterdir())) == 1


def test_same_input_gives_the_same_bytes_and_shards_are_sealed(tmp_path, monkeypatch):
    table = frames_of(50)
    write_dataset(tmp_path / "x", TOY, {"a": {"train": table}})
    write_dataset(tmp_path / "y", TOY, {"a": {"train": table}})
    assert (tmp_path / "x/manifest.json").read_bytes() == (tmp_path / "y/manifest.json").read_bytes()
    monkeypatch.setattr("ffbench_data.store.SHARD_BYTES", table.nbytes // 3)
    write_dataset(tmp_path / "y", TOY, {"a": {"train": table}})
    one, many = (json.loads((tmp_path / k / "manifest.json").read_text()) for k in "xy")
    assert len(many["shards"]) == 4
    assert sum(s["frames"] for s in many["shards"]) == 50
    assert one["splits"][0]["content_sha256"] == many["splits"][0]["content_sha256"]
    again = load_frames("toy", "a", "train", root=tmp_path / "y")
    assert content_hash(again.table) == one["splits"][0]["content_sha256"]


@pytest.mark.parametrize("name", list_datasets())
def test_every_card_reads(name):
    c = card(name)
    assert c.name == name
    assert c.version in c.changelog


def test_bad_cards(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("name: x\ncolour: red\n")
    with pytest.raises(ValueError, match=r"x.yaml: .*version: Field required.*colour: Extra inputs"):
        read_card(path)
    path.write_text("a: [")
    with pytest.raises(ValueError, match="line 1, column 5"):
        read_card(path)
    with pytest.raises(ValueError, match="must be NAME or NAME:CONFIG"):
        parse_name("water:")
    assert known("a", ["a"], "thing") == "a"


def test_import_is_light():
    code = "import sys, ffbench_data; print([m for m in ('torch', 'datasets', 'pyarrow', 'numpy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    code = (
        "import sys, ffbench_data as f; f.load_frames; f.card('water'); print({'torch', 'datasets'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def reseal(folder, change):
    """Rewrite the train shard by ``change`` (of its table) and make hash and size of the file fit, but nothing else."""
    import pyarrow.parquet as pq

    from ffbench_data.atomic import file_sha256
    from ffbench_data.schema import write_parquet

    path = next((folder / "data/a").glob("train-*"))
    write_parquet(change(pq.read_table(path)), path)
    manifest = json.loads((folder / "manifest.json").read_text())
    for shard in manifest["shards"]:
        if shard["split"] == "train":
            shard |= {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_data_set_replaced_in_place_gives_its_own_rows(tmp_path):
    """`datasets` keeps what it read from a folder by the path of the folder."""
    table = frames_of(20)
    write_dataset(tmp_path / "toy", TOY, {"a": {"train": table}})
    options = {"root": tmp_path / "toy", "cache_dir": str(tmp_path / "cache")}
    old = load_dataset("toy", "a", "train", **options)["energy"]
    shifted = table.set_column(4, "energy", pa.array(table["energy"].to_numpy() + 1))
    newer = TOY.model_copy(update={"version": "1.3.0", "changelog": {"1.3.0": "shifted"}})
    front = (tmp_path / "toy/README.md").read_text()  # `datasets` reads sizes from it: the same as before
    write_dataset(tmp_path / "toy", newer, {"a": {"train": shifted}})
    (tmp_path / "toy/README.md").write_text(front)
    for read in (
        load_dataset("toy", "a", "train", **options)["energy"],
        load_dataset("toy", "a", "train", version="1.3.0", **options)["energy"],
        [row["energy"] for row in load_dataset("toy", "a", "train", streaming=True, **options)],
        load_frames("toy", "a", "train", root=tmp_path / "toy").energy,
    ):
        np.testing.assert_array_equal(np.asarray(read), np.asarray(old) + 1)


def test_the_content_hash_is_computed_and_not_copied(tmp_path):
    write_dataset(tmp_path / "toy", TOY, {"a": {"train": frames_of(20), "test": frames_of(5)}})
    assert verify("toy", root=tmp_path)["files"] == 6
    reseal(tmp_path / "toy", lambda t: pa.concat_tables([t.slice(0, 10)] * 2))  # as many frames, repeated
    for read in (verify, provenance):
        with pytest.raises(ValueError, match=r"the content of a/train is .* not the data that were sealed"):
            read("toy", root=tmp_path)
    (root := tmp_path / "other").mkdir()
    write_dataset(root / "toy", TOY, {"a": {"train": frames_of(20), "test": frames_of(5)}})
    manifest = json.loads((root / "toy/manifest.json").read_text())
    for change, message in (
        (lambda m: m["splits"][1].update(content_sha256=m["splits"][0]["content_sha256"]), "the content of a/test is"),
        (lambda m: m["splits"][1].update(frames=6), "a/test has 5 frames, its manifest says 6"),
        (lambda m: m.update(content_sha256="0" * 64), "the content of the data set is"),
    ):
        wrong = json.loads(json.dumps(manifest))
        change(wrong)
        (root / "toy/manifest.json").write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match=message):
            verify("toy", root=root)
