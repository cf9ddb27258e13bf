"""Sealed data sets of your own: found by name, by root and by folder; rows of one version; content in pieces."""

import numpy as np
import pyarrow as pa
import pytest

from ffbench_data import card, list_datasets, load_dataset, load_frames, verify
from ffbench_data.datacard import Card
from ffbench_data.load import own_datasets, provenance
from ffbench_data.schema import content_hash, content_hash_of_files, to_table, write_parquet
from ffbench_data.store import Streamed, write_dataset


def own_card(version="1.0.0", **more):
    splits = {s: {"rule": s} for s in ("train", "val", "test")}
    return Card(name="mine", title="Mine", version=version, description="a test", licence="CC0-1.0", citation=[],
                theory="PBE", configs={"default": {"description": "all", "splits": splits}}, changelog={version: "-"},
                **more)  # fmt: skip


def table(frames, seed=0):
    x = np.random.default_rng(seed).normal(size=(frames, 3, 3))
    return to_table([8, 1, 1], x, np.arange(frames) - 2079.0, x * 0.1, time_fs=np.arange(frames) * 0.5)


def write(folder, version="1.0.0", frames=30, **more):
    parts = {s: table(frames, k) for k, s in enumerate(("train", "val", "test"))}
    return write_dataset(folder / "mine", own_card(version, **more), {"default": parts})


def test_found_by_variable_root_and_path(tmp_path, monkeypatch):
    folder = write(tmp_path / "here", reference="ase.calculators.lj:LennardJones")
    assert own_datasets(tmp_path / "here") == ["mine"]
    for how in ({"name": "mine", "root": tmp_path / "here"}, {"name": str(folder)}):
        assert len(load_frames(split="test", **how)) == 30
        assert card(**how).calculator == "ase.calculators.lj:LennardJones"
    with pytest.raises(ValueError, match="ffbench data add mine FILES"):
        load_frames("mine", split="test")
    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path / "here"))
    assert "mine" in list_datasets()
    assert len(load_frames("mine", split="test")) == 30
    assert provenance(str(folder), None, "test")["dataset"] == "mine"
    assert verify("mine")["version"] == "1.0.0"
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("FFBENCH_DATA")
    with pytest.raises(ValueError, match=r"given as \./mine"):
        load_frames("mine", split="test")


def test_rows_of_an_older_version_never_come_back(tmp_path):
    write(tmp_path, frames=30)
    options = {"root": tmp_path, "cache_dir": tmp_path / "cache"}
    assert len(load_dataset("mine", split="test", **options)) == 30
    write(tmp_path, "2.0.0", frames=40)
    assert len(load_dataset("mine", split="test", **options)) == 40
    assert len(load_dataset(str(tmp_path / "mine"), split="test", cache_dir=tmp_path / "cache")) == 40


def test_streamed_rows_are_sealed_like_a_table(tmp_path, monkeypatch):
    whole = table(5000)
    monkeypatch.setattr("ffbench_data.store.STREAM_BYTES", 100_000)
    monkeypatch.setattr("ffbench_data.schema.BATCH", 77)
    parts = Streamed(whole.schema, lambda: (whole.slice(k, 13) for k in range(0, 5000, 13)))
    write_dataset(tmp_path / "mine", own_card(), {"default": {"test": parts}})
    sealed = provenance("mine", None, "test", root=tmp_path)["splits"]["test"]
    assert sealed == {"frames": 5000, "content_sha256": content_hash(whole)}
    assert len(list((tmp_path / "mine/data/default").glob("test-*-of-*.parquet"))) > 3
    assert load_frames("mine", None, "test", root=tmp_path).table.equals(whole.combine_chunks())


def test_content_hash_in_pieces_sees_nulls_and_odd_lengths(tmp_path, monkeypatch):
    """Lists of different length, absent stresses, strings with gaps: the pieces give the hash of the whole."""
    monkeypatch.setattr("ffbench_data.schema.BATCH", 3)
    made = [to_table([1] * (k % 4 + 1), np.ones((1, k % 4 + 1, 3)) * k, [float(k)], np.zeros((1, k % 4 + 1, 3)),
                     stress=None if k % 3 else np.ones((1, 3, 3))) for k in range(40)]  # fmt: skip
    whole = pa.concat_tables(made).combine_chunks()
    whole = whole.append_column("note", pa.array([None if k % 5 else f"n{k}" for k in range(40)]))
    whole = whole.append_column("count", pa.array([None if k == 30 else k for k in range(40)], pa.int32()))
    write_parquet(whole, tmp_path / "a.parquet")
    assert content_hash_of_files([tmp_path / "a.parquet"]) == (content_hash(whole), 40)


def test_streamed_rows_in_a_data_loader_are_the_rows_in_float64(tmp_path):
    from torch.utils.data import DataLoader

    from ffbench_data import collate_arrow

    write(tmp_path, frames=30)
    stream = load_dataset("mine", split="train", root=tmp_path, streaming=True)
    loader = DataLoader(stream.with_format("arrow"), batch_size=8, collate_fn=collate_arrow)
    batches = list(loader)
    assert [b.n_systems for b, _ in batches] == [8, 8, 8, 6]
    frames = load_frames("mine", split="train", root=tmp_path)
    assert np.array_equal(np.concatenate([y.energy.numpy() for _, y in batches]), frames.energy)
    assert np.array_equal(np.concatenate([b.positions.numpy() for b, _ in batches]), frames.positions)
    shuffled = DataLoader(stream.shuffle(seed=1, buffer_size=30).with_format("arrow"), batch_size=30,
                          collate_fn=collate_arrow)  # fmt: skip
    energies = next(iter(shuffled))[1].energy.numpy()
    assert not np.array_equal(energies, frames.energy)
    assert np.array_equal(np.sort(energies), np.sort(frames.energy))
