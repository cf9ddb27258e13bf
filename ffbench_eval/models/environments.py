"""Other Python environments for models whose packages do not go together with those here.

A model names one: ``--env NAME`` (a lock file of ``reference_models/envs``, made on demand in the user's cache by uv
or pip), ``--env PATH`` (an interpreter, or the folder of a virtual environment), or, for a model in a file, the script
metadata of Python (PEP 723) at its head::

    # /// script
    # [tool.ffbench]
    # env = "mace"
    # ///

The model's process (`isolated`) then is that interpreter's. It takes ffbench itself from here, and all else from there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

from filelock import FileLock

from ffbench_data.atomic import file_sha256
from ffbench_data.cache import user_cache

from ..stderr import tell

PACKAGES = ("ffbench_data", "ffbench_metrics", "ffbench_eval", "reference_models")
SCRIPT = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)+)^# ///$")  # as PEP 723 gives it
READY = "ready"


def locks() -> dict[str, Path]:
    """The environments that can be made, by name."""
    import reference_models

    folder = Path(reference_models.__file__).parent / "envs"
    return {path.stem: path for path in sorted(folder.glob("*.txt"))}


def stated_in(spec: str) -> str:
    """The environment that a spec's model names; "" if it names none. Nothing is imported.

    A file names it at its head; a path is from its own folder on. A model of ``reference_models`` whose package is not
    here names that of its provider (``env`` in ``providers.yaml``), once that was made: what downloads is asked for.
    """
    from .isolated import provider_of

    provider = provider_of(spec)
    if provider is not None:
        made = provider.env and provider.installed is None and (_folder(provider.env) / READY).exists()
        return provider.env if made else ""
    place = Path(spec.rpartition(":")[0])
    if place.suffix != ".py" or not place.is_file():
        return ""
    found = SCRIPT.search(place.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return ""
    lines = (line[2:] if line.startswith("# ") else line[1:] for line in found["content"].splitlines())
    try:
        named = tomllib.loads("\n".join(lines)).get("tool", {}).get("ffbench", {}).get("env", "")
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{place}: its script metadata is no TOML ({error})") from None
    if not isinstance(named, str):
        raise ValueError(f"{place}: env in its script metadata must be a name or a path, not {named!r}")
    return str((place.parent / named).absolute()) if "/" in named else named


def interpreter(env: str) -> Path:
    """The Python of an environment: a path as it is, a name made if it is not there yet. ValueError, one line."""
    if os.sep in env or Path(env).exists():
        path = Path(env).expanduser().absolute()
        path = path / "bin" / "python" if path.is_dir() else path
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise ValueError(f"env: no interpreter at {path}; give one, or the folder of a virtual environment")
        return path
    known = locks()
    if env not in known:
        raise ValueError(f"env: {env!r} is none of {', '.join(known)}, and no path of an interpreter")
    return _made(env)


def _folder(name: str) -> Path:
    """Where the environment of a lock file is, one for each content of it and Python version."""
    digest = file_sha256(locks()[name])[:12]
    return user_cache() / "envs" / f"{name}-py{sys.version_info[0]}.{sys.version_info[1]}-{digest}"


def _made(name: str) -> Path:
    lock, folder = locks()[name], _folder(name)
    python = folder / "bin" / "python"
    if (folder / READY).exists():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / READY).exists():
            return python
        tell(f"environment {name} is made in {folder}, once; this downloads what {lock.name} lists")
        shutil.rmtree(folder, ignore_errors=True)  # of one that was stopped
        uv = shutil.which("uv")
        if uv:
            steps = [[uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
                     [uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(lock)]]  # fmt: skip
        else:
            pip = [sys.executable, "-m", "pip", "--python", str(python)]
            steps = [[sys.executable, "-m", "venv", "--without-pip", str(folder)],
                     [*pip, "install", "--quiet", "-r", str(lock)]]  # fmt: skip
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True)
            if done.returncode:
                said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
                what = next((line for line in said if line.lower().startswith("error")), (said or ["no word"])[-1])
                raise ValueError(f"env {name}: {Path(step[0]).name} could not make it from {lock}: {what[:300]}")
        (folder / READY).touch()
    return python


@cache
def code() -> Path:
    """A folder that holds ffbench's packages and nothing else of here: the other interpreter's way to them."""
    import ffbench_eval

    root = Path(ffbench_eval.__file__).resolve().parents[1]
    folder = user_cache() / "code" / hashlib.sha256(str(root).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    for name in PACKAGES:
        if not (folder / name).is_symlink():
            with suppress(FileExistsError):
                (folder / name).symlink_to(root / name, target_is_directory=True)
    return folder


def installed_packages() -> dict[str, str]:
    """Versions of the packages that numbers may depend on."""
    packages = {}
    for name in ("numpy", "scipy", "torch", "ase", "vesin", "pyarrow", "openmm", "tblite"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return packages
