"""Download upstream files: resume, retries, mirrors, and a lock file where upstream publishes no checksum."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from .atomic import file_sha256, write_text
from .datacard import Source

LOCK = "sources.lock.json"
CHUNK = 2**20
GIVE_UP = {400, 401, 403, 404, 405, 410}


def fetch(sources: Sequence[Source], folder: Path, *, retries: int = 3, wait: float = 1.0, quiet: bool = False) -> Path:
    """Bring every source into ``folder``; what is there and right is kept.

    A file without a published checksum is trusted on first use: its sha256 goes into the lock file of the folder,
    and a later download that differs is refused. ValueError names the file, what each address said, and the fix.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        _fetch_one(source, folder, retries, wait, quiet)
    return folder


def _fetch_one(source: Source, folder: Path, retries: int, wait: float, quiet: bool) -> None:
    target = folder / source.path
    lock = _read_lock(folder)
    if target.exists():
        fault = _fault(target, source, lock)
        if not fault:
            return _remember(target, source, folder)
        if source.checksum is None:
            # A locked file that changed is someone's edit: never overwrite it silently.
            raise ValueError(f"{target}: {fault}; delete it (and its line in {folder / LOCK}) to download it again")
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    said = []
    for url in (source.url, *source.mirrors):
        for attempt in range(retries):
            try:
                part = _download(url, target, source, quiet)
            except (HTTPError, URLError, HTTPException, OSError) as error:
                if isinstance(error, OSError) and error.errno == 28:
                    raise ValueError(f"no space left for {target}: free some or set FFBENCH_DATA") from None
                said.append(f"{url}: {_short(error)}")
                if isinstance(error, HTTPError) and error.code in GIVE_UP:
                    break
                if attempt + 1 < retries:
                    time.sleep(wait * 2**attempt)
                continue
            fault = _fault(part, source, lock)
            if not fault:
                os.replace(part, target)
                return _remember(target, source, folder)
            said.append(f"{url}: {fault}")
            part.unlink()
            break  # the same address would send the same bytes
    raise ValueError(
        f"cannot download {source.path}: {'; '.join(dict.fromkeys(said))}; "
        "fetch it by hand and pass the folder as source="
    )


def _download(url: str, target: Path, source: Source, quiet: bool) -> Path:
    from tqdm import tqdm

    part = target.with_name(target.name + ".part")
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "ffbench", **({"Range": f"bytes={done}-"} if done else {})}
    try:
        response = urlopen(Request(url, headers=headers), timeout=60)
    except HTTPError as error:
        if error.code != 416:
            raise
        if source.bytes == done:  # everything was already here
            return part
        part.unlink()
        raise URLError("the partial file did not fit, starting anew") from None
    with response:
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        expected = None if length is None else int(length) + (done if resumed else 0)
        with (
            open(part, "ab" if resumed else "wb") as out,
            tqdm(total=expected, initial=done if resumed else 0, unit="B", unit_scale=True, desc=target.name,
                 disable=True if quiet else None) as bar,
        ):  # fmt: skip
            while chunk := response.read(CHUNK):
                out.write(chunk)
                bar.update(len(chunk))
    size = part.stat().st_size
    if expected is not None and size < expected:
        raise URLError(f"connection broke after {size} of {expected} bytes")
    return part


def _fault(path: Path, source: Source, lock: dict) -> str | None:
    size = path.stat().st_size
    if source.bytes is not None and size != source.bytes:
        return f"{size} bytes, expected {source.bytes}"
    if source.checksum:
        kind, _, wanted = source.checksum.partition(":")
        found = checksum(path, kind)
        return None if found == wanted else f"{kind} is {found[:12]}, expected {wanted[:12]}"
    locked = lock.get(source.path)
    if locked and file_sha256(path) != locked["sha256"]:
        return f"the file changed since {locked['first_seen']} (sha256 differs from the lock file)"
    return None


def checksum(path: Path, kind: str) -> str:
    """Hex digest of a file; ``git`` is the blob id that a git server shows."""
    with open(path, "rb") as f:
        if kind != "git":
            return hashlib.file_digest(f, kind).hexdigest()
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        while chunk := f.read(CHUNK):
            digest.update(chunk)
        return digest.hexdigest()


def _read_lock(folder: Path) -> dict:
    path = folder / LOCK
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): delete it to trust the files anew") from None


def _remember(target: Path, source: Source, folder: Path) -> None:
    lock = _read_lock(folder)
    if source.path in lock:
        return
    today = time.strftime("%Y-%m-%d", time.gmtime())
    lock[source.path] = {
        "url": source.url,
        "bytes": target.stat().st_size,
        "sha256": file_sha256(target),
        "trusted": "published checksum" if source.checksum else "on first use",
        "first_seen": today,
    }
    write_text(folder / LOCK, json.dumps(lock, indent=1, sort_keys=True) + "\n")


def _short(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return str(getattr(error, "reason", error)) or type(error).__name__
