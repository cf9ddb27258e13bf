"""Workers that come late, are slow, full, cut off or killed: the report is that of one process, to the last byte."""

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest

from ffbench_eval import evaluate
from ffbench_eval.run import parallel
from tests.eval.dask_processes import Killer, network, scheduler, without_times, worker

pytest.importorskip("distributed")
MODEL = """
import os, time
import torch
from ffbench_data import load_frames
from ffbench_eval import ForceField

def load():
    x = torch.tensor(load_frames("ethanol_gfn2", split="test").stacked()[1])
    rest = torch.cdist(x, x).mean(0)
    strength = 20.0 * (rest < 1.7)

    def energy(batch):
        time.sleep(float(os.environ.get("SLOW", "0")))
        i, j = batch.edge_index
        d = batch.edge_vectors().norm(dim=-1)
        e = 0.25 * strength[i % 9, j % 9] * (d - rest[i % 9, j % 9]) ** 2
        return e.new_zeros(batch.n_systems).index_add(0, batch.system_index[i], e)

    return ForceField.from_energy(energy, cutoff=8.0, card={"name": "springs", "theory": "none"})
"""
TASK = """
  nve_{k}: {{kind: molecular_dynamics, dataset: ethanol_gfn2, ensemble: nve, temperature_K: {k}00, time_step_fs: 0.5,
           length_ps: 0.05, save_every_fs: 5, replicas: 2, observables: [energy_drift]}}"""
SUITE = """
name: dealt
version: 1.0.0
tasks:
  errors: {kind: accuracy, dataset: ethanol_gfn2, max_frames: 20}""" + "".join(TASK.format(k=k) for k in (1, 2, 3))
KILLS = 3


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("cluster")
    (home / "dealt.yaml").write_text(SUITE)
    (home / "springs.py").write_text(MODEL)
    return home


@pytest.fixture(scope="module")
def alone(home):
    """What one process finds out."""
    begun = time.monotonic()
    report = evaluate(f"{home}/springs.py:load", home / "dealt.yaml", out=home / "alone", quiet=True, compile="off")
    assert {s for t in report.tasks.values() for s in t.statuses} == {"ok"}
    return SimpleNamespace(text=without_times(report), seconds=time.monotonic() - begun)


@pytest.fixture(scope="module")
def address(home):
    with scheduler(home) as address:
        yield address


@pytest.fixture
def workers(address):
    """Start workers; whoever is left at the end is killed."""
    made = []

    def start(**options):
        made.append(worker(address, **options))
        return made[-1]

    yield start
    for process in made:
        if process.is_alive():
            process.kill()
        process.join()


def run(home, name, address, **options):
    return evaluate(
        f"{home}/springs.py:load", home / "dealt.yaml", out=home / name, scheduler=address, quiet=True, compile="off",
        **options,
    )  # fmt: skip


def whole(folder):
    """Every unit once, nothing half done, nothing of the dealing left."""
    names = [p.name for p in (folder / "units").iterdir()]
    assert not [n for n in names if n.endswith(".part")]
    assert not list(folder.glob("sent*")) + list(folder.glob("token"))
    return sorted(names)


def test_a_running_scheduler_gives_the_report_of_one_process(home, alone, address, workers, monkeypatch):
    for _ in range(2):
        workers()
    noted = []
    settled = parallel.Dealer.arrived
    monkeypatch.setattr(
        parallel.Dealer, "arrived",
        lambda self, given, wait: noted.append(len(given.units)) or settled(self, given, wait),
    )  # fmt: skip
    report = run(home, "scheduler", home / "scheduler.json")
    assert without_times(report) == alone.text
    assert sum(noted) == sum(len(t.units) for t in report.tasks.values())
    assert whole(home / "scheduler") == whole(home / "alone")


@pytest.mark.parametrize("seed", range(KILLS))
def test_workers_killed_at_random_cost_no_number(home, alone, address, seed):
    """50 schedules: python benchmarks/soak.py."""
    with Killer(address, seed, alone.seconds / 2) as killer:
        report = run(home, f"kill-{seed}", address)
    assert killer.killed
    assert without_times(report) == alone.text
    assert whole(home / f"kill-{seed}") == whole(home / "alone")


def test_a_worker_may_come_late(home, alone, address, workers):
    late = threading.Timer(1.0, workers)
    late.start()
    assert without_times(run(home, "late", address)) == alone.text


def test_a_slow_worker_holds_up_what_it_has_and_nothing_else(home, alone, address, workers, monkeypatch):
    workers(SLOW="0.03")
    workers()
    done, settled = [], parallel.Dealer.arrived

    def arrived(self, given, wait):
        done.extend([given.worker] * len(given.units))
        return settled(self, given, wait)

    monkeypatch.setattr(parallel.Dealer, "arrived", arrived)
    assert without_times(run(home, "slow", address)) == alone.text
    assert len(done) == len(whole(home / "alone"))  # nothing twice
    assert max(map(done.count, done)) > len(done) / 2  # by the quick one


def test_workers_with_no_folder_in_common_work_over_object_storage(home, alone, address, workers, monkeypatch):
    """Each has a cache of its own; what they share is one URL, and nothing there is renamed."""
    monkeypatch.setattr("os.replace", _only_beside(home / "bucket", os.replace))
    for name in "ab":
        workers(XDG_CACHE_HOME=str(home / f"cache-{name}"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    url = f"file://{home}/bucket/run"
    report = evaluate(f"{home}/springs.py:load", home / "dealt.yaml", out=url, scheduler=address, quiet=True,
                      compile="off")  # fmt: skip
    assert without_times(report) == alone.text
    sealed = [path.parent.name for path in (home / "bucket" / "run" / "units").glob("*/sealed.json")]
    assert sorted(sealed) == whole(home / "alone")
    assert not [p for p in (home / "bucket" / "run" / "sent").rglob("*") if p.is_file()]
    assert [p for name in "ab" for p in (home / f"cache-{name}").rglob("result.json")]  # they did the work


def _only_beside(bucket, replace):
    def there(source, target, *rest, **how):
        assert not str(target).startswith(str(bucket))
        return replace(source, target, *rest, **how)

    return there


def test_a_worker_behind_a_cut_cable_changes_nothing(home, alone, monkeypatch, capfd):
    """A network of its own whose only link goes down in the middle of a unit, and comes up again."""
    monkeypatch.setenv("FFBENCH_SILENT_S", "3")
    hear, cut, there = parallel.Dealer.hear, [], []
    try:
        with network() as (name, here, cable), scheduler(_made(home / "apart"), here) as address:
            there.append(worker(address, network=name, SLOW="0.03"))

            def off(self, event):
                hear(self, event)
                if not cut:
                    cable(True)
                    cut.append(event[1]["attempt"])
                    there.append(worker(address))

            lost = parallel.Dealer.lost

            def on(self, *arguments, **options):
                lost(self, *arguments, **options)
                cable(False)

            monkeypatch.setattr(parallel.Dealer, "hear", off)
            monkeypatch.setattr(parallel.Dealer, "lost", on)
            report = run(home, "cable", address)
    except PermissionError as error:
        pytest.skip(f"no network of our own here: {error}")
    finally:
        for process in there:
            process.kill()
            process.join()
    assert cut
    assert "gives no sign of life" in capfd.readouterr().err
    assert without_times(report) == alone.text
    assert whole(home / "cable") == whole(home / "alone")


@pytest.mark.parametrize("how", ["scheduler", "ctrl-c"])
def test_a_lost_scheduler_and_an_interrupt_cost_no_finished_unit(home, alone, address, workers, how, monkeypatch):
    """In the middle of the second unit; the same command goes on, over another scheduler."""
    monkeypatch.setattr("ffbench_eval.run.cluster.CONNECT_S", "3s")
    noted, arrived, ended = [], parallel.Dealer.arrived, []

    def stop(self, given, wait):
        missing = arrived(self, given, wait)
        noted.append(len(given.units) - len(missing))
        if not ended:
            ended.append(how)
            if how == "ctrl-c":
                raise KeyboardInterrupt
            os.kill(self.client.run_on_scheduler(os.getpid), signal.SIGKILL)
        return missing

    with scheduler(_made(home / f"going-{how}")) as going:
        there = worker(going)
        with monkeypatch.context() as patch:
            patch.setattr(parallel.Dealer, "arrived", stop)
            expected = (
                pytest.raises(KeyboardInterrupt) if how == "ctrl-c" else pytest.raises(ValueError, match="is gone")
            )
            with expected:
                run(home, f"gone-{how}", going)
        there.kill()
        there.join()
    folder = home / f"gone-{how}"
    finished = [p for p in (folder / "units").iterdir() if not p.name.endswith(".part")]
    assert len(finished) >= noted[0] > 0
    assert not list(folder.glob("sent*")) + list(folder.glob("token"))
    workers()
    assert without_times(run(home, folder.name, address)) == alone.text
    assert whole(folder) == whole(home / "alone")


def _made(folder):
    folder.mkdir()
    return folder


def test_a_worker_with_a_full_disk_gets_no_more_units(home, alone, address, workers, capfd):
    workers(largest=2000)
    workers()
    assert without_times(run(home, "full", address)) == alone.text
    assert "gets no more units: cannot write unit" in capfd.readouterr().err


def test_where_every_disk_is_full_the_run_ends_and_the_same_command_goes_on(home, alone, address, workers):
    full = workers(largest=2000)
    with pytest.raises(OSError, match="free the disk and run again"):
        run(home, "all-full", address)
    full.kill()
    full.join()
    workers()
    assert without_times(run(home, "all-full", address)) == alone.text


def test_a_worker_that_is_cut_off_and_comes_back_changes_nothing(home, alone, address, workers, monkeypatch, capfd):
    """Stopped in the middle of a unit, which another one takes over; then it goes on, in a folder that is gone."""
    cut = workers()
    hear, stopped = parallel.Dealer.hear, []

    def stop(self, event):
        hear(self, event)
        if not stopped and any(p.task.name == "nve_1" for g in self.given.values() for p, *_ in g.units):
            os.kill(cut.pid, signal.SIGSTOP)
            stopped.append(event[1]["attempt"])
            for given in self.given.values():
                given.heard = -1e9  # two minutes later
            workers()

    lost = parallel.Dealer.lost

    def back(self, *arguments, **options):
        lost(self, *arguments, **options)
        threading.Timer(0.5, os.kill, (cut.pid, signal.SIGCONT)).start()

    monkeypatch.setattr(parallel.Dealer, "hear", stop)
    monkeypatch.setattr(parallel.Dealer, "lost", back)
    report = run(home, "cut", address)
    assert stopped
    assert "gives no sign of life" in capfd.readouterr().err
    assert without_times(report) == alone.text
    assert whole(home / "cut") == whole(home / "alone")


def test_a_worker_that_does_not_see_the_folder_is_refused(home, address, workers, monkeypatch):
    workers()
    monkeypatch.setattr(parallel, "write_text", lambda path, text: path.write_text("another run"))
    with pytest.raises(ValueError, match=r"no worker can take a unit: it does not see the run folder .* shared folder"):
        run(home, "unseen", address)


def test_what_is_no_scheduler_is_one_line(home, monkeypatch):
    monkeypatch.setattr("ffbench_eval.run.cluster.CONNECT_S", "1s")
    with pytest.raises(ValueError, match=r"scheduler: nothing answers at tcp://127\.0\.0\.1:1 ") as told:
        run(home, "none", "tcp://127.0.0.1:1")
    assert len(str(told.value).splitlines()) == 1
    with pytest.raises(ValueError, match=r"scheduler: no file .*nothing\.json"):
        run(home, "none", "nothing.json")
    for given, line in (
        ({"scheduler": "tcp://a:1", "cluster": "slurm"}, "give one"),
        ({"cluster": "moon"}, "must be one of slurm, pbs"),
        ({"cluster": "slurm"}, "say how many workers"),
        ({"scheduler": "tcp://a:1", "workers": 2}, "has its own workers"),
    ):
        with pytest.raises(ValueError, match=line):
            evaluate("springs.py:load", home / "dealt.yaml", out=home / "none", **given)
