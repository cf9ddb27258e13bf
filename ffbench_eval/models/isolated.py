"""A model in a process of its own: what its package changes, crashes on or hangs in stays out of this one.

`isolated("reference_models:mace@ethanol_gfn2")` gives the models of a spec without importing them here. Each call
sends the batch to a child process and waits for the answer, at most ``FFBENCH_CALL_LIMIT_S`` seconds (600). A child
that dies or is late costs that call, which raises one line; the next call starts a new child.

The process may be one of another Python environment (`environments`), with packages that do not go with those here.

Whole pieces of work go there too (`Remote.work`): a simulation beside the model can be compiled and sends nothing to
and fro in its steps. Until its answer the child gives signs of life, but none out of a call that hangs.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffbench_data.contract import AtomsBatch, ForceField, Prediction

LIMIT = "FFBENCH_CALL_LIMIT_S"
STATED = ("cutoff", "elements", "dtype", "conservative", "batched", "uses_charge", "uses_spin")
BEAT_S = 5.0  # between signs of life within a unit
CUT_OFF = (EOFError, BrokenPipeError, ConnectionResetError, pickle.UnpicklingError)


class ProcessLost(RuntimeError):
    """The child died or did not answer in time."""

    whole = True  # it says nothing of one replica: nobody is asked alone, a new process a step


class Late(ProcessLost):
    """The child did not answer in time."""


class CannotRunThere(Exception):
    """A unit cannot be sent to the process; its calls can."""


class RaisedThere(RuntimeError):
    """The model raised in its process: type, first line and place; ``frames`` are its own lines of the traceback."""

    def __init__(self, line: str, frames: str):
        super().__init__(line)
        self.frames = frames


def isolated(spec: str, device: str = "cpu", env: str = "") -> Mapping[str, ForceField] | ForceField:
    """The model of ``spec``, or the mapping from dataset to model, each calling a child process, in the environment
    ``env`` if one is named.

    ValueError, one line: the spec is wrong, or its process died or hung while it loaded.
    """
    child = _child(spec, device, env)
    try:
        told = child.start()
    except (ProcessLost, MemoryError) as error:
        raise ValueError(f"model {spec!r}: {error}") from None
    made = {name: _model(spec, device, name, about, env) for name, about in told.items()}
    return made[""] if set(made) == {""} else made


def _model(spec: str, device: str, name: str, about: Mapping[str, Any], env: str) -> ForceField:
    fn = Remote(spec, name, device, about["contents"], about["members"], env=env, packages=about["packages"])
    return ForceField(fn, card=about["card"], **{k: about[k] for k in STATED})


class Remote:
    """What calls the child. It can be sent to another process, which starts a child of its own."""

    def __init__(
        self,
        spec: str,
        name: str,
        device: str,
        contents: str,
        members: int = 0,
        member: int | None = None,
        env: str = "",
        packages: Mapping[str, str] | None = None,
    ):
        self.spec, self.name, self.device = spec, name, device
        self.contents, self.count, self.member = contents, members, member
        self.env, self.packages = env, dict(packages or {})
        self.child = _child(spec, device, env)

    def __reduce__(self):
        given = (self.spec, self.name, self.device, self.contents, self.count, self.member, self.env, self.packages)
        return Remote, given

    def _other(self, **changes: Any) -> Remote:
        names = ("spec", "name", "device", "contents", "members", "member", "env", "packages")
        return Remote(**{**dict(zip(names, self.__reduce__()[1])), **changes})

    @property
    def members(self) -> list[Remote] | None:
        """The members of an ensemble, called one by one."""
        if self.member is not None or self.count < 2:
            return None
        return [self._other(members=0, member=k) for k in range(self.count)]

    def to(self, device: Any) -> Remote:
        return self._other(device=str(device))

    def __call__(self, batch: AtomsBatch) -> Prediction:
        if type(batch.positions) is not Tensor:
            raise RuntimeError("a model in a process of its own cannot be traced: it runs eagerly")
        sent = {k: v.detach().cpu().numpy() if isinstance(v, Tensor) else v for k, v in vars(batch).items()}
        answer = self.child.ask({"name": self.name, "member": self.member, "batch": sent})
        return Prediction(**{k: torch.from_numpy(v).to(batch.positions.device) for k, v in answer.items()})

    def work(self, function: Callable[..., Any], *arguments: Any, progress: Callable[[float], None]) -> Any:
        """``function(model, progress, *arguments)`` there, beside the model.

        `CannotRunThere` for a function or arguments that cannot be sent, or that the process does not know.
        """
        try:
            packed = pickle.dumps((function, arguments))
        except Exception as error:
            raise CannotRunThere(str(error)) from None
        return self.child.ask({"name": self.name, "work": packed, "limit": call_limit()}, progress)


class Child:
    """One process for all models of a spec, started when it is first needed."""

    def __init__(self, spec: str, device: str, env: str = ""):
        self.spec, self.device, self.env = spec, device, env
        self.end: Any = None
        self.late = ""  # why it did not start again: each frame would wait for that anew
        self.pipe: Connection | None = None
        self.process: subprocess.Popen | None = None

    def start(self) -> dict[str, dict[str, Any]]:
        """Load the models in a new process; what each states about itself, by dataset."""
        self.stop()
        self.pipe, there = Pipe()
        self.words = tempfile.TemporaryFile()  # noqa: SIM115  # closed when this child is forgotten
        python, path = sys.executable, os.pathsep.join(dict.fromkeys(p or str(Path.cwd()) for p in sys.path))
        environment = {**os.environ, "PYTHONPATH": path}
        if self.env:
            from .environments import code, interpreter

            python = str(interpreter(self.env))
            environment |= {"PYTHONPATH": os.pathsep.join([str(code()), str(Path.cwd())]), "PYTHONNOUSERSITE": "1"}
            environment.pop("PYTHONHOME", None)
        self.process = subprocess.Popen(
            [python, "-m", "ffbench_eval.models.served", str(there.fileno()), str(os.getpid())],
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.words,
            env=environment,
        )
        there.close()
        self.end = weakref.finalize(self, _end, self.process, self.pipe)
        return self._exchange({"spec": self.spec, "device": self.device, "threads": torch.get_num_threads()}, "loading")

    def stop(self) -> None:
        if self.end is not None:
            self.end()
        self.process = self.pipe = self.end = None

    def ask(self, message: dict[str, Any], progress: Callable[[float], None] = lambda _: None) -> Any:
        if self.late:
            raise ProcessLost(self.late)
        if self.process is None:
            try:
                self.start()
            except Late as error:
                self.late = str(error)
                raise
        message["deterministic"] = torch.are_deterministic_algorithms_enabled()
        return self._exchange(message, "a call", progress)

    def _exchange(self, message: Any, during: str, progress: Callable[[float], None] = lambda _: None) -> Any:
        assert self.pipe is not None
        limit = call_limit()
        try:
            self.pipe.send(message)
            answer: dict[str, Any] = {"sign": None}
            while "sign" in answer:  # of life, within a unit
                if answer["sign"] is not None:
                    progress(answer["sign"])
                if not self.pipe.poll(limit):
                    self.stop()
                    raise Late(
                        f"its process gave no answer within {limit:g} s in {during} and was ended; if it only needs "
                        f"more time, set {LIMIT}{self._reinstall()}"
                    )
                answer = self.pipe.recv()
        except CUT_OFF:
            raise self._lost(during) from None
        except BaseException:  # an interrupt between question and answer: the next answer would be the wrong one
            self.stop()
            raise
        if "cannot" in answer:
            raise CannotRunThere(answer["cannot"])
        if "refused" in answer:
            refused = ValueError(answer["refused"])
            refused.frames = answer.get("frames", "")  # type: ignore[attr-defined]
            raise refused
        if "full" in answer:
            raise OSError(answer["full"])
        if "error" in answer:
            if answer["memory"]:
                raise MemoryError(answer["error"])
            raise RaisedThere(answer["error"], answer["frames"])
        return answer["said"]

    def _lost(self, during: str) -> Exception:
        """Why the process is gone, in one line."""
        assert self.process is not None
        try:
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            code = 0
        self.words.seek(0)
        lines = [line for line in self.words.read().decode(errors="replace").splitlines() if line.strip()]
        said = f"; it said: {lines[-1].strip()[:200]}" if lines else ""
        self.stop()
        if code == -signal.SIGKILL:
            return MemoryError(f"its process was killed in {during}, most often for lack of memory")
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ProcessLost(f"its process died in {during} ({how}){said}{self._reinstall()}")

    def _reinstall(self) -> str:
        provider = provider_of(self.spec)
        return f"; if the package is at fault: {provider.get}" if provider else ""


_children: weakref.WeakValueDictionary[tuple[str, str, str], Child] = weakref.WeakValueDictionary()


def _child(spec: str, device: str, env: str = "") -> Child:
    """One child per spec, device and environment, as long as a model needs it."""
    return _children.setdefault((spec, device, env), Child(spec, device, env))


def _end(process: subprocess.Popen, pipe: Connection) -> None:
    pipe.close()
    process.kill()
    process.wait()


def call_limit() -> float:
    """Seconds a call may take."""
    return seconds_of(LIMIT, 600.0)


def seconds_of(variable: str, usual: float) -> float:
    """What an environment variable says; ValueError, one line, if that is no positive number."""
    text = os.environ.get(variable, "")
    try:
        seconds = float(text) if text else usual
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{variable}={text!r} must be a positive number of seconds")
    return seconds


def provider_of(spec: str) -> Any:
    """The package of other people that a spec of ``reference_models`` needs, or ``None``. Imports none."""
    place, _, name = spec.rpartition(":")
    if place != "reference_models":
        return None
    from reference_models import provider

    return provider(name)
