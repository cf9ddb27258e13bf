"""A run folder where nothing can be renamed: a unit is complete when its sealed manifest is there."""

import json
import shutil

import fsspec
import fsspec.implementations.memory
import pytest
from filelock import FileLock

from ffbench_eval import evaluate
from ffbench_eval.report import Report
from ffbench_eval.run.shards import merge_shards
from ffbench_eval.run.storage import MANIFEST, Storage, local
from ffbench_eval.suite import load_suite
from tests.eval.dask_processes import without_times
from tests.leaderboard.board import command

SUITE = """
name: stored
version: 1.0.0
tasks:
  errors: {kind: accuracy, dataset: ethanol_gfn2, max_frames: 20}
  dynamics: {kind: molecular_dynamics, dataset: ethanol_gfn2, ensemble: nve, temperature_K: 300, time_step_fs: 0.5,
             length_ps: 0.01, save_every_fs: 5, replicas: 2, observables: [energy_drift]}
"""
MODEL = "reference_models:schnet@ethanol_gfn2"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("stored")
    (home / "stored.yaml").write_text(SUITE)
    return home


@pytest.fixture(scope="module")
def plain(home):
    return evaluate(MODEL, home / "stored.yaml", out=home / "plain", quiet=True, compile="off")


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """An URL, and this machine's mirror of nothing; `elsewhere` is another machine, that shares only the URL."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "here"))
    url = f"memory://{tmp_path.name}/run"
    yield url
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    def go(name):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))

    return go


def run(home, url, **options):
    return evaluate(MODEL, home / "stored.yaml", out=url, quiet=True, compile="off", **options)


def test_a_run_on_object_storage_is_the_run_of_a_folder_and_goes_on_anywhere(home, plain, bucket, elsewhere, capfd):
    run(home, bucket, tasks="errors")
    elsewhere("second")
    report = run(home, bucket)
    assert "1 of 2 units are kept" in capfd.readouterr().err
    assert without_times(report) == without_times(plain)
    elsewhere("third")
    assert without_times(Report.load(local(bucket))) == without_times(plain)
    assert command("status", bucket) == 0
    assert command("show", bucket) == 0
    assert "dynamics: 1 units done" in capfd.readouterr().out


def test_parts_of_a_run_may_share_one_place_and_are_merged_from_it(home, plain, bucket, elsewhere, tmp_path):
    with FileLock(_made(Storage(bucket, "2/2").mirror) / "lock"):  # both at once, on one machine
        run(home, bucket, shard="1/2")
    run(home, bucket, shard="2/2")
    elsewhere("whole")
    suite = load_suite(home / "stored.yaml")
    merged = merge_shards([local(bucket)], tmp_path / "merged", suite)
    assert {k: t.metrics for k, t in merged.tasks.items()} == {k: t.metrics for k, t in plain.tasks.items()}
    assert command("merge", "--strict", bucket, "--out", tmp_path / "again", "--suite", home / "stored.yaml") == 0


def _made(folder):
    folder.mkdir(parents=True)
    return folder


def test_what_is_not_sealed_or_damaged_there_is_not_there(home, plain, bucket, elsewhere):
    run(home, bucket)
    storage = Storage(bucket)
    names = storage.names()
    assert len(names) == 2
    files = storage.files
    files.rm(f"{storage.root}/units/{names[0]}/{MANIFEST}")  # a push that was killed: files, no manifest
    attempt = json.loads(storage.read(f"units/{names[1]}/{MANIFEST}"))["attempt"]
    result = f"units/{names[1]}/{attempt}/result.json"
    storage.write(result, storage.read(result)[:-5])
    elsewhere("second")
    second = Storage(bucket)
    assert [second.pull(name) for name in names] == [False, False]
    assert without_times(run(home, bucket)) == without_times(plain)
    elsewhere("third")
    assert [Storage(bucket).pull(name) for name in names] == [True, True]


def test_a_unit_that_was_damaged_there_is_put_there_again(home, bucket, elsewhere):
    """The same to the last byte, its seconds too: a seal that is known says nothing of the files."""
    run(home, bucket, tasks="errors")
    storage = Storage(bucket)
    (name,) = storage.names()
    attempt = json.loads(storage.read(f"units/{name}/{MANIFEST}"))["attempt"]
    storage.write(f"units/{name}/{attempt}/result.json", b"{}")
    storage.push(storage.mirror / "units" / name)
    elsewhere("second")
    assert Storage(bucket).pull(name)


def test_a_storage_that_fails_is_one_line_and_gets_later_what_it_lacks(home, plain, bucket, elsewhere, monkeypatch):
    """Its client raises whatever it likes, in the middle of a unit that is put there."""
    put = fsspec.implementations.memory.MemoryFileSystem.pipe_file

    def cut(self, path, content, **options):
        if path.endswith(MANIFEST):
            raise RuntimeError("no route to\nthe endpoint")
        return put(self, path, content, **options)

    monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "pipe_file", cut)
    with pytest.raises(
        OSError, match=r"cannot be reached \(RuntimeError: no route to the endpoint\); what is fin"
    ) as told:
        run(home, bucket)
    assert len(str(told.value).splitlines()) == 1
    monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "pipe_file", put)
    assert not [name for name in Storage(bucket).names() if Storage(bucket)._manifest(name)]
    run(home, bucket)
    elsewhere("second")
    assert without_times(Report.load(local(bucket))) == without_times(plain)
    storage = Storage(bucket)
    assert len([name for name in storage.names() if (storage.mirror / "units" / name).exists()]) == 2


def test_a_manifest_that_leads_out_of_its_folder_is_refused(home, bucket, elsewhere, tmp_path):
    run(home, bucket, tasks="errors")
    storage = Storage(bucket)
    name = storage.names()[0]
    manifest = json.loads(storage.read(f"units/{name}/{MANIFEST}"))
    manifest["files"]["../../../loose.txt"] = [3, "x"]
    storage.write(f"units/{name}/{MANIFEST}", json.dumps(manifest).encode())
    storage.write(f"units/{name}/{manifest['attempt']}/../../../loose.txt", b"out")
    elsewhere("second")
    with pytest.raises(ValueError, match="leads out of its folder"):
        Storage(bucket).pull(name)
    assert not list(tmp_path.rglob("loose.txt"))


def test_what_fsspec_cannot_open_is_one_line(home):
    with pytest.raises(ValueError, match="out: nowhere://x cannot be opened") as told:
        run(home, "nowhere://x")
    assert len(str(told.value).splitlines()) == 1


def test_s3_as_a_server_has_it(home, plain, monkeypatch, tmp_path):
    """Another process's server, over HTTP."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for key, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1",
                           "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():  # fmt: skip
            monkeypatch.setenv(key, value)
        fsspec.filesystem("s3").mkdir("bucket")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a"))
        run(home, "s3://bucket/run", tasks="errors")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
        assert without_times(run(home, "s3://bucket/run")) == without_times(plain)
        shutil.rmtree(tmp_path / "b")
        assert without_times(Report.load(local("s3://bucket/run"))) == without_times(plain)
    finally:
        server.stop()
