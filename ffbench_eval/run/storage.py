"""A run folder on object storage (any fsspec URL: s3, gs, hf, a web server's folder), which knows no rename.

Work goes on in a mirror on this machine. A finished unit is put there as ``units/<unit>/<attempt>/<files>``, and then
its manifest ``units/<unit>/sealed.json``, one object, which names the attempt: a unit is complete when its manifest is
there, and a manifest speaks of files that nobody else writes to, however often the unit is run.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ffbench_data.cache import user_cache

from .units import damage

MANIFEST = "sealed.json"
URL = re.compile(r"([a-z][a-z0-9+.-]+):(/+)(?=[^/])", re.IGNORECASE)


def url_of(place: str | Path) -> str:
    """The URL that an argument is, or "" for a path of this machine. pathlib leaves one slash of two or three.

    >>> url_of(Path("s3://bucket/run")), url_of("runs/painn-mini"), url_of("C:/runs")
    ('s3://bucket/run', '', '')
    >>> url_of("file:///data/run"), url_of(Path("file:///data/run"))
    ('file:///data/run', 'file:///data/run')
    """
    text = str(place)
    found = URL.match(text)
    if not found or len(found[2]) > 1:
        return text if found else ""
    return text.replace(":/", ":///" if found[1].lower() in ("file", "local") else "://", 1)


def local(place: str | Path) -> Path:
    """A run folder or report as a path of this machine: of an URL, its mirror with every complete unit."""
    url = url_of(place)
    if not url:
        return Path(place)
    if url.endswith(".json"):
        return Storage(url.rpartition("/")[0]).fetch(url.rpartition("/")[2])
    storage = Storage(url)
    storage.pull_all()
    return storage.mirror


class Storage:
    """The run at ``url`` and its ``mirror`` here, one for each ``shard`` that puts its units there: several may run on
    one machine. ValueError, one line, for what fsspec cannot open."""

    def __init__(self, url: str, shard: str = ""):
        import fsspec

        self.url = url.rstrip("/")
        try:
            self.files, self.root = fsspec.url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError, OSError) as error:
            raise ValueError(f"out: {url} cannot be opened ({' '.join(str(error).split())})") from None
        self.mirror = (
            user_cache() / "runs" / hashlib.sha256(f"{self.url}{shard and ' ' + shard}".encode()).hexdigest()[:16]
        )

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Whatever a client of some storage raises is one line; FileNotFoundError is an answer."""
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            first = " ".join(str(error).split())[:300]
            raise OSError(
                f"{self.url} cannot be reached ({type(error).__name__}: {first}); what is finished lies in "
                f"{self.mirror}, and the same command puts it there"
            ) from error

    def read(self, name: str) -> bytes:
        with self._reached():
            return self.files.cat_file(f"{self.root}/{name}")

    def write(self, name: str, content: bytes) -> None:
        path = f"{self.root}/{name}"
        with self._reached():
            self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.files.pipe_file(path, content)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError), self._reached():
            self.files.rm_file(f"{self.root}/{name}")

    def fetch(self, name: str) -> Path:
        """One file of the run, such as ``report.json``, into the mirror; its path there, if there is one or not."""
        from ffbench_data.atomic import replacing

        path = self.mirror / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            content = self.read(name)
        except FileNotFoundError:
            return path
        with replacing(path) as part:
            part.write_bytes(content)
        return path

    def put(self, name: str) -> None:
        """One file of the mirror into the run."""
        path = self.mirror / name
        if path.is_file():
            self.write(name, path.read_bytes())

    def push(self, folder: Path) -> None:
        """A finished unit: its files, then the manifest. Also where its like is there: that may be damaged."""
        name, mine = f"units/{folder.name}", uuid.uuid4().hex[:12]
        sealed = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        for file in ["result.json", *sealed["files"]]:
            self.write(f"{name}/{mine}/{file}", (folder / file).read_bytes())
        manifest = {"attempt": mine, "address": sealed["address"], "seal": sealed["seal"], "files": sealed["files"]}
        self.write(f"{name}/{MANIFEST}", json.dumps(manifest).encode())

    def match(self, name: str) -> None:
        """A complete unit that one side has, the other has afterwards: what is put there may have failed."""
        folder = self.mirror / "units" / name
        if not folder.exists() or damage(folder):
            self.pull(name)
        elif not self._manifest(name):
            self.push(folder)

    def pull(self, name: str) -> bool:
        """Bring a complete unit into the mirror, if it is not here already; whether it is here now and whole."""
        folder = self.mirror / "units" / name
        if folder.exists() and not damage(folder):
            return True
        manifest = self._manifest(name)
        if not manifest:
            return False
        part = folder.with_name(f".{name}.{uuid.uuid4().hex[:8]}")
        try:
            for file in ["result.json", *manifest["files"]]:
                path = (part / str(file)).resolve()
                if not path.is_relative_to(part.resolve()):
                    raise ValueError(f"{self.url}/units/{name}: {file!r} leads out of its folder")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.read(f"units/{name}/{manifest['attempt']}/{file}"))
            if damage(part):
                return False
            if folder.exists():
                shutil.rmtree(folder)
            part.rename(folder)
        except FileNotFoundError:
            return False
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return True

    def pull_all(self) -> None:
        """Everything that is complete, and the files of the run."""
        self.mirror.mkdir(parents=True, exist_ok=True)
        for name in ("run.json", "report.json", "report.html"):
            self.fetch(name)
        for name in self.names():
            self.pull(name)

    def names(self) -> list[str]:
        """Units that the run has, complete or not."""
        try:
            with self._reached():
                found = self.files.ls(f"{self.root}/units", detail=False)
        except FileNotFoundError:
            return []
        names = [str(path).rstrip("/").rpartition("/")[2] for path in found]
        return sorted(name for name in names if re.fullmatch(r"[\w.-]+-[0-9a-f]{12}", name))

    def _manifest(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads(self.read(f"units/{name}/{MANIFEST}"))
            return found if {"attempt", "seal", "files"} <= found.keys() else {}
        except (FileNotFoundError, ValueError, AttributeError):
            return {}
