"""The process that `isolated` starts: loads the models of a spec, answers batches and does whole pieces of work."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from ffbench_data.contract import AtomsBatch, ForceField, Prediction

from .isolated import BEAT_S, CUT_OFF, STATED


def serve(pipe: Connection) -> None:
    """Load what the first message names, then answer batches until the other side is gone."""
    from ..engine.determinism import ask_for_determinism
    from .embedding import members_of, with_embedding
    from .environments import installed_packages
    from .inside import contents, parameter_count
    from .resolve import card, resolve
    from .surroundings import there
    from .tracebacks import told

    first = pipe.recv()
    torch.set_num_threads(first["threads"])
    try:
        found, _ = resolve(first["spec"], isolate=False, env=None)
        models = dict(found) if isinstance(found, Mapping) else {"": found}
        device = first["device"]
        models = {k: m.to(device) if device != "cpu" else m for k, m in models.items()}
        said = {}
        for name, model in models.items():
            card(model)  # a wrong type is told now
            stated = {k: v for k, v in model.card.items() if k != "embedding"}
            stated.setdefault("parameters", parameter_count(model.fn))
            about = {"card": stated, "contents": contents(model.fn), "members": len(members_of(model))}
            about["packages"] = installed_packages()
            said[name] = about | {k: getattr(model, k) for k in STATED}
            models[name] = with_embedding(model)
    except ValueError as error:
        pipe.send({"refused": str(error), "frames": getattr(error, "frames", "")})
        return
    except BaseException as error:  # the user's interrupt does not come here
        pipe.send({"refused": f"model {first['spec']!r}: {type(error).__name__}: {error}"})
        return
    pipe.send({"said": said})
    while True:
        message = pipe.recv()
        ask_for_determinism(message["deterministic"])
        if "work" in message:
            pipe.send(_work(pipe, models[message["name"]], message))
            continue
        try:
            model = models[message["name"]]
            if message["member"] is not None:
                model = members_of(model)[message["member"]]
            sent = message["batch"].items()
            batch: dict[str, Any] = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in sent}
            with there():
                out = model(AtomsBatch(**batch))
            answer: dict[str, Any] = {
                "said": {k: v.detach().cpu().numpy() for k, v in vars(out).items() if v is not None}
            }
        except BaseException as error:
            memory = isinstance(error, (MemoryError, torch.OutOfMemoryError))
            line, frames = told(error)
            answer = {"error": line, "frames": frames, "memory": memory}
        pipe.send(answer)


def _work(pipe: Connection, model: ForceField, message: dict[str, Any]) -> dict[str, Any]:
    """What a function gives in this process. Until then signs of life, but none out of a call that hangs."""
    from .tracebacks import told

    try:
        function, arguments = pickle.loads(message["work"])
    except Exception as error:
        return {"cannot": f"{type(error).__name__}: {error}"}
    one_at_a_time, over = threading.Lock(), threading.Event()
    calling = False

    def sign(done: float | None = None) -> None:
        with one_at_a_time:
            if not over.is_set():
                pipe.send({"sign": done})

    def call(batch: AtomsBatch) -> Prediction:
        nonlocal calling
        calling = True
        try:
            return model(batch)
        finally:
            calling = False

    def beat() -> None:
        was = False
        while not over.wait(min(BEAT_S, message["limit"] / 4)):
            if not (calling and was):
                with contextlib.suppress(*CUT_OFF, OSError):
                    sign()
            was = calling

    threading.Thread(target=beat, daemon=True).start()
    call.__wrapped__ = model  # type: ignore[attr-defined]
    try:
        return {"said": function(replace(model, fn=call), sign, *arguments)}
    except OSError as error:
        return {"full": str(error.__cause__ or error)}
    except (Exception, SystemExit) as error:
        line, frames = told(error)
        return {"error": line, "frames": frames, "memory": False}
    finally:
        with one_at_a_time:
            over.set()


def _follow(parent: int) -> None:
    """End with the process that asked, also when it was killed while a call hangs here."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the process that asks; it ends this one
    threading.Thread(target=_follow, args=(int(sys.argv[2]),), daemon=True).start()
    try:
        serve(Connection(int(sys.argv[1])))
    except CUT_OFF:
        os._exit(0)  # nobody listens any more: leave without the farewells of packages


if __name__ == "__main__":
    main()
