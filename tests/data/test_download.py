"""A real local HTTP server plays the upstream."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ffbench_data.datacard import Source
from ffbench_data.download import LOCK, checksum, fetch

CONTENT = bytes(range(256)) * 4000


class Upstream(BaseHTTPRequestHandler):
    """/good, /broken (dies after half, honours ranges), /stubborn (dies and ignores ranges), /changed, else 404."""

    files: dict = {}  # noqa: RUF012
    asked: list = []  # noqa: RUF012

    def do_GET(self):
        Upstream.asked.append((self.path, self.headers.get("Range")))
        body = self.files.get(self.path)
        if body is None:
            return self.send_error(404)
        start = 0
        if (span := self.headers.get("Range")) and self.path != "/stubborn":
            start = int(span.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        breaks = self.path == "/broken" and start == 0
        self.wfile.write(body[start : len(body) // 2] if breaks else body[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Upstream.files = dict.fromkeys(("/good", "/broken", "/stubborn"), CONTENT) | {"/changed": b"other" + CONTENT}
    Upstream.asked = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def get(server, folder, path, **more):
    source = Source(path="file.bin", url=server + path, **more)
    return fetch([source], folder, wait=0.01, quiet=True) / "file.bin"


def test_download_and_keep(server, tmp_path):
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert get(server, tmp_path, "/good", checksum=f"md5:{md5}", bytes=len(CONTENT)).read_bytes() == CONTENT
    get(server, tmp_path, "/good", checksum=f"md5:{md5}")
    assert len(Upstream.asked) == 1, "a right file is not downloaded again"


def test_broken_connection_resumes(server, tmp_path):
    assert get(server, tmp_path, "/broken").read_bytes() == CONTENT
    assert [span for _, span in Upstream.asked] == [None, f"bytes={len(CONTENT) // 2}-"]


def test_server_without_ranges_starts_anew(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"rubbish")
    assert get(server, tmp_path, "/stubborn").read_bytes() == CONTENT


def test_leftover_longer_than_the_file(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    assert get(server, tmp_path, "/good").read_bytes() == CONTENT


def test_wrong_checksum_names_both_and_leaves_nothing(server, tmp_path):
    with pytest.raises(ValueError, match=r"cannot download file.bin: .*/good: md5 is \w{12}, expected 000000000000"):
        get(server, tmp_path, "/good", checksum="md5:" + "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_wrong_checksum_then_mirror(server, tmp_path):
    sha = hashlib.sha256(CONTENT).hexdigest()
    get(server, tmp_path, "/changed", checksum=f"sha256:{sha}", mirrors=[server + "/good"])
    assert [p for p, _ in Upstream.asked] == ["/changed", "/good"]


def test_404_and_mirror(server, tmp_path):
    assert get(server, tmp_path, "/gone", mirrors=[server + "/good"]).read_bytes() == CONTENT
    assert [p for p, _ in Upstream.asked] == ["/gone", "/good"], "404 is not tried again"
    with pytest.raises(ValueError, match=r"HTTP 404.*pass the folder as source="):
        get(server, tmp_path / "b", "/gone")


def test_trust_on_first_use(server, tmp_path):
    path = get(server, tmp_path, "/good")
    assert hashlib.sha256(CONTENT).hexdigest() in (tmp_path / LOCK).read_text()
    path.unlink()
    Upstream.files["/good"] = b"changed upstream" + CONTENT
    with pytest.raises(ValueError, match="the file changed since"):
        get(server, tmp_path, "/good")
    path.write_bytes(b"edited here")
    with pytest.raises(ValueError, match="delete it"):
        get(server, tmp_path, "/good")
    (tmp_path / LOCK).write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        get(server, tmp_path, "/good")


def test_nobody_listens(tmp_path):
    with pytest.raises(ValueError, match="cannot download"):
        get("http://127.0.0.1:9", tmp_path, "/x")


def test_git_checksum(tmp_path):
    (tmp_path / "x").write_bytes(b"hello\n")
    assert checksum(tmp_path / "x", "git") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_build_downloads(server, tmp_path, monkeypatch):
    """`build` without a source fetches what the card names."""
    import numpy as np

    from ffbench_data import build, builders, load_frames
    from ffbench_data.datacard import card

    x = np.zeros((400, 2, 3))
    x[:, 1, 0] = 1.13 + 0.027 * np.random.default_rng(0).normal(size=400)
    f = np.stack([60 * (x[:, 1] - [1.13, 0, 0]), -60 * (x[:, 1] - [1.13, 0, 0])], 1)
    e = 30 * (x[:, 1, 0] - 1.13) ** 2 - 3083.0  # carbon monoxide at 500 K, as upstream has it in kcal/mol
    np.savez(tmp_path / "a.npz", z=[6, 8], R=x, E=e * 23.0605, F=f * 23.0605)
    Upstream.files["/a.npz"] = (tmp_path / "a.npz").read_bytes()
    local = card("md17").model_copy(update={"sources": [Source(path="md17_uracil.npz", url=server + "/a.npz")]})
    monkeypatch.setattr(builders, "card", lambda name: local)
    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path / "cache"))
    assert build("md17", quiet=True) == tmp_path / "cache/md17"
    assert len(load_frames("md17", "uracil", "train")) > 100
