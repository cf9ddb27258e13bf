"""What a model does to the process around it costs a unit at most, and the user's Ctrl-C costs no work."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import reference_models
from ffbench_data import collate, load_frames
from ffbench_eval import cli, evaluate
from ffbench_eval.models import surroundings
from ffbench_eval.models.guard import guarded
from ffbench_eval.models.resolve import resolve
from ffbench_eval.report import Report
from ffbench_eval.run import execute, progress
from tests.conftest import ROOT

SUITE = """
name: small
version: 1.0.0
tasks:
  errors: {kind: accuracy, dataset: ethanol_gfn2, max_frames: 40}
  dynamics: {kind: molecular_dynamics, dataset: ethanol_gfn2, ensemble: nve, temperature_K: 300, time_step_fs: 0.5,
             length_ps: 0.02, save_every_fs: 5, replicas: 2, observables: [energy_drift]}
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def network():
    return reference_models.load("schnet@ethanol_gfn2")


class Odd(BaseException):
    """Not an Exception."""


class Unsayable(Exception):
    def __str__(self):
        raise ValueError("no words")


def on_many(network, do):
    """The network, but ``do()`` where it is asked about more than 20 structures at once: in ``errors`` alone."""

    def fn(batch):
        if batch.n_systems > 20:
            do()
        return network.fn(batch)

    return replace(network, fn=fn, card={"name": "odd", "theory": "GFN2-xTB"})


def raising(error):
    def do():
        raise error

    return do


@pytest.mark.parametrize("error", [KeyboardInterrupt("mine"), SystemExit(3), GeneratorExit(), Odd("odd"), Unsayable()])
def test_whatever_a_model_raises_ends_what_it_touches_and_not_the_run(tmp_path, suite, network, error, monkeypatch):
    always = replace(network, fn=on_many(network, raising(error)).fn, card={"name": "odd", "theory": "GFN2-xTB"})
    monkeypatch.setattr(
        "ffbench_eval.kinds.accuracy.work.in_parts", lambda ask, rows, most, failed=None: [ask(rows)]
    )  # row by row the model would answer
    report = evaluate(always, suite, out=tmp_path / "run", quiet=True)
    assert report.tasks["errors"].statuses == {"model_error": 1}
    said = "no words" if isinstance(error, Unsayable) else type(error).__name__
    assert said in report.tasks["errors"].units[0].detail[0]
    assert report.tasks["dynamics"].statuses == {"ok": 2}


def changed():
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.set_num_threads(torch.get_num_threads() + 1)
    os.chdir("/")
    os.environ["FFBENCH_CALL_LIMIT_S"] = "soon"
    sys.setrecursionlimit(sys.getrecursionlimit() // 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (5, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.05)  # ends the process


def test_what_a_model_changes_around_it_is_put_back(tmp_path, suite, network, monkeypatch):
    def fn(batch):
        with torch.enable_grad(), torch.device("cpu"):
            out = network.fn(batch)
        changed()
        return out

    monkeypatch.chdir(tmp_path)
    depth = sys.getrecursionlimit()
    files, threads = resource.getrlimit(resource.RLIMIT_NOFILE), torch.get_num_threads()
    plain = evaluate(network, suite, out=tmp_path / "plain", quiet=True)
    rude = replace(network, fn=fn, card={"name": "rude", "theory": "GFN2-xTB"})
    report = evaluate(rude, suite, out="run", quiet=True, compile="off")
    assert (tmp_path / "run" / "report.json").exists()  # where it was asked for
    assert (Path.cwd(), sys.getrecursionlimit()) == (tmp_path, depth)
    assert "FFBENCH_CALL_LIMIT_S" not in os.environ
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == files
    assert (torch.get_default_dtype(), torch.empty(0).device.type) == (torch.float32, "cpu")
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    time.sleep(0.1)
    assert report.tasks["errors"].metrics == plain.tasks["errors"].metrics
    assert report.tasks["dynamics"].statuses == {"ok": 2}


def test_a_fork_of_the_process_that_a_model_makes_ends_with_its_call(tmp_path, network):
    """It would go on as a second run of the same folder."""
    mine, forks = os.getpid(), []

    def fn(batch):
        if not forks:
            forks.append(os.fork())
        return network.fn(batch)

    asked = guarded(replace(network, fn=fn))
    asked(collate(load_frames("ethanol_gfn2", split="test"), indices=[0]))
    assert os.getpid() == mine  # the other one is gone
    assert os.waitstatus_to_exitcode(os.waitpid(forks[0], 0)[1]) == 1


def test_a_model_in_a_file_that_goes_elsewhere_while_it_loads_leaves_us_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(
        "import os\nos.chdir('/')\nfrom ffbench_eval import ForceField\n"
        "def load():\n    os.chdir('/tmp')\n    return ForceField(lambda batch: None, None, card={'name': 'a'})\n"
    )
    resolve("model.py:load")
    assert Path.cwd() == tmp_path


def test_a_call_that_never_ends_costs_its_unit(tmp_path, suite, network, monkeypatch):
    """Also one that catches whatever is raised in it, at first."""
    monkeypatch.setattr(surroundings, "GRACE_S", 0.0)
    monkeypatch.setenv("FFBENCH_CALL_LIMIT_S", "2")

    def stuck():
        try:
            while True:
                pass
        except Exception:
            while True:
                pass

    monkeypatch.setattr("ffbench_eval.kinds.accuracy.work.in_parts", lambda ask, rows, most, failed=None: [ask(rows)])
    report = evaluate(on_many(network, stuck), suite, out=tmp_path / "run", quiet=True)
    assert report.tasks["errors"].statuses == {"model_error": 1}
    assert "did not come back within 2 s" in report.tasks["errors"].units[0].detail[0]
    assert report.tasks["dynamics"].statuses == {"ok": 2}


def test_the_report_is_there_as_soon_as_a_task_is_finished(tmp_path, suite, network, monkeypatch):
    whole = evaluate(network, suite, out=tmp_path / "whole", quiet=True)
    seen = {}
    work = execute._work

    def watched(kind, unit, *more):
        seen[unit.task.name] = Report.load(tmp_path / "run")
        if unit.task.name == "dynamics":
            raise OSError(28, "No space left on device")
        return work(kind, unit, *more)

    monkeypatch.setattr(execute, "_work", watched)
    with pytest.raises(OSError, match="free the disk and run again"):
        evaluate(network, suite, out=tmp_path / "run", quiet=True)
    for partial in (seen["dynamics"], Report.load(tmp_path / "run")):
        assert partial.tasks["errors"].metrics == whole.tasks["errors"].metrics
        assert partial.tasks["dynamics"].statuses == {"not_run": 1}
        assert partial.tasks["dynamics"].metrics == {}
        assert "the run is not finished" in partial.tasks["dynamics"].units[0].detail[0]
    assert {t.statuses["not_run"] for t in seen["errors"].tasks.values()} == {1}
    monkeypatch.undo()
    again = evaluate(network, suite, out=tmp_path / "run", quiet=True)
    assert {k: t.metrics for k, t in again.tasks.items()} == {k: t.metrics for k, t in whole.tasks.items()}


SLOW = """
import os, time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
import reference_models

def load():
    network = reference_models.load("schnet@ethanol_gfn2")
    def fn(batch):
        if os.path.exists("slow") and batch.n_systems > 20:
            open("begun", "w").close()
            WAIT
        return network.fn(batch)
    return replace(network, fn=fn, card={"name": "slow", "theory": "GFN2-xTB"})
"""
DEAF = """while True:
                try:
                    time.sleep(1)
                except BaseException:
                    open("deaf", "w").close()"""


def begun(tmp_path, wait, *more, where=""):
    (tmp_path / "model.py").write_text(SLOW.replace("WAIT", wait).replace("if os", f"if {where}os"))
    (tmp_path / "slow").touch()
    command = [
        sys.executable,
        "-m",
        "ffbench_eval",
        "evaluate",
        "model.py:load",
        "--suite",
        "small.yaml",
        "--out",
        "run",
        *more,
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, process_group=0
    )
    wait_for(tmp_path / "begun", child)
    return command, env, child


def wait_for(path, child):
    for _ in range(1200):
        if path.exists():
            return
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.1)
    raise AssertionError(path)


def test_ctrl_c_ends_the_run_cleanly_and_the_same_command_goes_on(tmp_path, suite):
    command, env, child = begun(tmp_path, "time.sleep(600)")
    child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=60)[1]
    assert child.returncode == 130
    assert (
        said.splitlines()[-1] == "ffbench: stopped; what is finished is kept, and the same command goes on from there"
    )
    assert "Traceback" not in said
    (tmp_path / "slow").unlink()
    subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["tasks"]["dynamics"]["metrics"]


def running_in(group):
    """The commands of a process group that are not over."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append((path.parent / "cmdline").read_text().replace("\0", " "))
    return found


def test_ctrl_c_ends_workers_too_within_seconds(tmp_path, suite):
    """A terminal sends it to every process of the command; the workers sleep in a call of the model."""
    pytest.importorskip("distributed")
    only = "__import__('multiprocessing').parent_process() is not None and "
    command, env, child = begun(tmp_path, "time.sleep(600)", "--workers", "2", where=only)
    pressed = time.monotonic()
    os.killpg(child.pid, signal.SIGINT)
    said = child.communicate(timeout=120)[1]
    assert time.monotonic() - pressed < 60  # seconds, on a machine that is not starved
    assert child.returncode == 130
    assert said.splitlines()[-1].startswith("ffbench: stopped; what is finished is kept, and the same command goes on")
    assert "Traceback" not in said
    for _ in range(300):
        if not running_in(child.pid):
            break
        time.sleep(0.1)
    assert not running_in(child.pid)
    assert not list((tmp_path / "run" / "sent").glob("*"))
    (tmp_path / "slow").unlink()
    subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["tasks"]["dynamics"]["metrics"]


@pytest.mark.parametrize("where", ["mount", "command", "told"])
def test_ctrl_c_before_the_run_is_one_line_too(where, monkeypatch, capsys):
    """While packages load, or a suite is read; what the run has said is not said again."""

    def stop(*_arguments):
        error = KeyboardInterrupt()
        error.told = where == "told"
        raise error

    monkeypatch.setattr(cli, "mount", stop if where == "mount" else lambda: None)
    monkeypatch.setattr("ffbench_eval.suite.list_suites", stop)
    with pytest.raises(SystemExit) as ended:
        cli.main(["suites"])
    assert ended.value.code == 130
    said = capsys.readouterr().err.splitlines()
    assert said == ([] if where == "told" else ["ffbench: stopped; run the same command again to go on where it was"])


def test_a_second_ctrl_c_ends_at_once_whatever_the_model_does(tmp_path, suite):
    *_, child = begun(tmp_path, DEAF)
    child.send_signal(signal.SIGINT)
    wait_for(tmp_path / "deaf", child)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=20)
    assert child.returncode == -signal.SIGINT


def test_without_a_terminal_there_is_a_line_now_and_then(tmp_path, suite, network, capfd, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    evaluate(network, suite, out=tmp_path / "run")
    said = [line for line in capfd.readouterr().err.splitlines() if "% of the work after" in line]
    assert said[-1].startswith("ffbench: 100 % of the work after 0 min, now dynamics")
    assert any("now errors" in line for line in said)


def test_in_the_background_no_interrupt_is_the_users():
    from ffbench_eval.models import interrupts

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts.watched():
            assert not interrupts.of_the_user(KeyboardInterrupt())
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert interrupts.of_the_user(KeyboardInterrupt())
