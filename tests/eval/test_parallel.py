"""Dealing, with workers that are played: who gets what, and what becomes of units whose worker fails."""

import os
import threading
from collections import deque
from types import SimpleNamespace

import pytest

from ffbench_eval.kinds import find_kind
from ffbench_eval.run import cost, parallel, plan, worker
from ffbench_eval.run.units import OWNER, Result, Unit, damage, read_result, save_result
from ffbench_eval.run.worker import Job, Unfit
from ffbench_eval.suite import Task

TASK = Task("t", find_kind("bsct"), "1", "t", "d", None, None)
JOB = Job("", "token", "1", {}, "cpu", "off", False, 600.0, 0)


class Future:
    status = "pending"
    error = None

    def done(self):
        return self.status != "pending"

    def exception(self):
        return self.error

    def cancel(self):
        self.status = "cancelled"

    def add_done_callback(self, function):
        pass


class Cluster:
    """Plays the workers: ``act(worker, units)`` says how a job ends (None: well; "later", "die", "silent", "hang", or
    an error)."""

    def __init__(self, run, names, act):
        self.run, self.names, self.act, self.jobs, self.last_seen = run, list(names), act, [], 0.0

    def subscribe_topic(self, topic, handler):
        self.heard, self.told, self.ended = handler, [], []

    def nthreads(self):
        for said in self.told:
            self.heard((0.0, said))
        for future in self.ended:
            future.status = "finished"
        self.told.clear(), self.ended.clear()
        return dict.fromkeys(self.names, 1)

    def scheduler_info(self, n_workers):
        self.last_seen += 1.0
        return {"workers": {name: {"last_seen": self.last_seen} for name in self.names}}

    def submit(self, function, job, units, *, key, workers, retries, pure):
        future, (name,) = Future(), workers
        self.jobs.append((name, [unit.address for unit, _, _ in units], job.place))
        end = self.act(name, units)
        if end == "die":
            self.names.remove(name)
            self.names.append(f"{name}+")
        elif end in (None, "later"):
            for unit, attempt, _ in units:
                part = unit.part(self.run, attempt)
                part.mkdir(parents=True)
                save_result(Result(part, ["ok"], [], 1.0, 1, {}, address=unit.address), part)
                part.rename(unit.folder(self.run))
        if end == "hang":  # in the first of its units
            self.told.append({"attempt": units[0][1], "done": 0.0, "hangs": True})
        if end == "later":  # while nobody looks
            self.ended.append(future)
        if end not in ("die", "silent", "hang", "later"):
            future.status, future.error = ("finished", None) if end is None else ("error", end)
        return future


def dealt(tmp_path, costs, names, act):
    """(the cluster, results by address) of units with these costs."""
    units = [Unit(TASK, {}, 0, f"{k:064x}"[::-1]) for k in range(len(costs))]
    data = SimpleNamespace(used=SimpleNamespace(content_sha256=""))
    planned = SimpleNamespace(costs={u.address: c for u, c in zip(units, costs)}, longest=0.0, task=TASK, data=data)
    waiting = sorted(((planned, u) for u in units), key=lambda pair: -planned.costs[pair[1].address])
    (tmp_path / "units").mkdir()
    cluster, results = Cluster(tmp_path, names, act), {}

    def note(p, unit, result):
        assert unit.address not in results  # never twice
        results[unit.address] = result

    bars = SimpleNamespace(update=lambda *_: None)
    dealer = parallel.Dealer(cluster, tmp_path, JOB, bars, note, deque(waiting))
    dealer.until_done()
    assert set(results) == {u.address for u in units}
    return cluster, results


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(parallel, "POLL_S", 0.01)
    monkeypatch.setattr(parallel, "ARRIVE_S", 0.0)


def test_the_longest_goes_first_and_alone_and_short_ones_go_together(tmp_path):
    costs = [0.02] * 400 + [5.0, 3.0]
    cluster, _ = dealt(tmp_path, costs, ["tcp://a:1", "tcp://a:2"], lambda *_: None)
    sizes = [len(units) for _, units, _ in cluster.jobs]
    assert sizes[:2] == [1, 1]
    assert max(sizes) in (49, 50)  # a second of work, but for rounding
    assert sizes[-1] == 1  # nobody is left with many at the end
    assert len(sizes) < 40
    assert {place for _, _, place in cluster.jobs} == {0, 1}  # of the one machine


def test_units_of_which_nothing_is_known_go_one_by_one(tmp_path):
    cluster, _ = dealt(tmp_path, [0.0] * 5, ["tcp://a:1", "tcp://b:1"], lambda *_: None)
    assert [len(units) for _, units, _ in cluster.jobs] == [1] * 5
    assert {place for _, _, place in cluster.jobs} == {0}  # the first of either machine


def test_a_unit_that_kills_its_workers_is_given_up_and_no_other(tmp_path):
    bad = f"{7:064x}"[::-1]
    cluster, results = dealt(
        tmp_path, [0.1] * 20, ["tcp://a:1"], lambda _, units: "die" if bad in [u.address for u, _, _ in units] else None
    )  # fmt: skip
    states = {address: result.status for address, result in results.items()}
    assert states.pop(bad) == ["harness_error"] * TASK.kind.count_members({})
    assert set(map(tuple, states.values())) == {("ok",)}
    assert sum(bad in units for _, units, _ in cluster.jobs) <= parallel.DEATHS + 1
    assert "5 times" in results[bad].detail[0]


def test_a_call_that_never_ends_costs_its_unit_and_not_those_that_were_given_with_it(tmp_path):
    hanging = f"{0:064x}"
    cluster, results = dealt(
        tmp_path, [0.05] * 20, ["a"], lambda name, units: "hang" if units[0][0].address == hanging else None
    )
    assert len(cluster.jobs[0][1]) > 1  # it went out with others
    assert "a call did not come back within 600 s" in results[hanging].detail[0]
    assert {s for address, r in results.items() if address != hanging for s in r.status} == {"ok"}


def test_who_is_done_gets_more_before_its_results_are_read(tmp_path, monkeypatch):
    order = []
    give, arrived = parallel.Dealer.give, parallel.Dealer.arrived
    monkeypatch.setattr(parallel.Dealer, "give", lambda self, *a: order.append("give") or give(self, *a))
    monkeypatch.setattr(parallel.Dealer, "arrived", lambda self, *a: order.append("read") or arrived(self, *a))
    dealt(tmp_path, [5.0, 5.0, 5.0], ["a"], lambda name, units: "later")
    assert order == ["give", "give", "read", "give", "read", "read"]


def test_a_unit_that_gets_further_each_time_is_not_given_up(tmp_path, monkeypatch):
    """A long simulation on machines that are taken away again and again."""
    died = []
    beats = parallel.Dealer.lost

    def lost(self, future, given, why, begun=True):
        self.hear((0.0, {"attempt": given.units[0][2], "done": 0.01 * len(died)}))
        self.given[future] = given
        beats(self, future, given, why, begun)

    monkeypatch.setattr(parallel.Dealer, "lost", lost)

    def act(*_):
        died.append(1)
        return "die" if len(died) <= 4 * parallel.DEATHS else None

    _, results = dealt(tmp_path, [1.0], ["tcp://a:1"], act)
    assert [r.status for r in results.values()] == [["ok"]]


def test_who_cannot_work_gets_nothing_more_and_if_nobody_can_the_run_ends(tmp_path, capsys):
    def act(name, _):
        return Unfit("it has no GPU") if name == "tcp://a:1" else None

    cluster, _ = dealt(_made(tmp_path / "x"), [1.0] * 6, ["tcp://a:1", "b:1"], act)
    assert [name for name, _, _ in cluster.jobs].count("tcp://a:1") == 1
    assert "worker tcp://a:1 gets no more units: it has no GPU" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no worker can take a unit: it has no GPU"):
        dealt(tmp_path, [1.0] * 3, ["b:1"], lambda *_: Unfit("it has no GPU"))


def test_a_full_disk_everywhere_is_said_as_it_is(tmp_path):
    with pytest.raises(OSError, match="free the disk"):
        dealt(tmp_path, [1.0] * 3, ["a:1", "b:1"], lambda *_: OSError("cannot write unit; free the disk and run again"))


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_silence_of_no_number_is_one_line(tmp_path, monkeypatch, text):
    monkeypatch.setenv(parallel.SILENT, text)
    with pytest.raises(ValueError, match=f"FFBENCH_SILENT_S='{text}' must be a positive number of seconds"):
        dealt(tmp_path, [1.0], ["a"], lambda name, units: None)


def test_workers_that_were_all_silent_for_a_while_go_on(tmp_path, monkeypatch):
    """Nobody is struck off for good: a machine may have been asleep."""
    monkeypatch.setenv("FFBENCH_SILENT_S", "0.02")
    asked = []

    def act(name, units):
        asked.append(name)
        return "silent" if asked.count(name) == 1 else None

    cluster, results = dealt(tmp_path, [1.0] * 6, ["tcp://a:1", "tcp://b:1"], act)
    assert len(cluster.jobs) == 8
    assert {tuple(r.status) for r in results.values()} == {("ok",)}


@pytest.mark.parametrize(
    ("given", "place", "there", "mine"),
    [("", 0, 4, "0"), ("", 5, 4, "1"), ("2,3", 1, 8, "3"), ("6", 3, 8, "6"), ("GPU-ab,GPU-cd", 0, 2, "GPU-ab")],
)
def test_every_worker_of_a_machine_has_a_gpu_of_its_own(monkeypatch, given, place, there, mine):
    """Before torch has looked: what was given to the worker's process stays, or is shared out among the workers."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    monkeypatch.setattr(worker, "_gpus", lambda: there)
    monkeypatch.setattr(worker.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(worker.torch.cuda, "is_initialized", lambda: False)
    worker._pinned(Job(**{**vars(JOB), "device": "cuda", "place": place}))
    assert worker.os.environ["CUDA_VISIBLE_DEVICES"] == mine


def test_a_worker_without_a_gpu_says_so(monkeypatch):
    monkeypatch.setattr(worker, "_gpus", lambda: 0)
    monkeypatch.setattr(worker.torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unfit, match="no GPU"):
        worker._pinned(Job(**{**vars(JOB), "device": "cuda"}))


def test_of_two_that_run_a_unit_the_first_is_kept_and_the_other_finds_its_folder_gone(tmp_path):
    from ffbench_eval.run.execute import _placed, taken_over

    unit = Unit(TASK, {}, 0, "a" * 64)
    first = unit.part(tmp_path, "one")
    first.mkdir(parents=True)
    (first / OWNER).write_text(unit.address)
    (first / "checkpoint-1").write_text("1")
    taken_over(unit, tmp_path, "two")
    second = unit.part(tmp_path, "two")
    assert not first.exists()
    assert (second / "checkpoint-1").read_text() == "1"
    with pytest.raises(FileNotFoundError):
        (first / "checkpoint-2").write_text("2")
    first.mkdir()  # it was about to begin
    results = {}
    for part, seconds in ((second, 1.0), (first, 2.0)):
        result = save_result(Result(unit.folder(tmp_path), ["ok"], [], seconds, 1, {}, address=unit.address), part)
        results[part] = _placed(result, part)
    assert results[first].wall_s == 1.0
    assert not first.exists()
    bad = save_result(Result(unit.folder(tmp_path), ["ok"], [], 3.0, 1, {}, address=unit.address), _made(first))
    (unit.folder(tmp_path) / "checkpoint-1").write_text("2")  # what lies there is damaged: it gives way
    assert _placed(bad, first).wall_s == 3.0


def _made(path):
    path.mkdir()
    return path


IN_THE_WAY = {
    "a file": lambda path: path.write_text("x"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a pipe": os.mkfifo,
    "a folder of another": lambda path: (_made(path) / OWNER).write_text("b" * 64),
    "a folder with a folder for a note": lambda path: (_made(path) / OWNER).mkdir(),
}


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_what_lies_where_a_unit_belongs_gives_way(tmp_path, what):
    from ffbench_eval.run.execute import _begun, _placed, begun_in, taken_over

    unit = Unit(TASK, {}, 0, "a" * 64)
    (tmp_path / "units").mkdir()
    for path in (unit.part(tmp_path), unit.folder(tmp_path), unit.part(tmp_path, "0123abcd")):
        IN_THE_WAY[what](path)
    assert begun_in(tmp_path) == {unit.folder(tmp_path).name}
    taken_over(unit, tmp_path)
    part = unit.part(tmp_path)
    assert _begun(part, unit) == 0.0
    result = save_result(Result(unit.folder(tmp_path), ["ok"], [], 1.0, 1, {}, address=unit.address), part)
    assert _placed(result, part).wall_s == 1.0
    assert read_result(unit.folder(tmp_path), unit.address) is not None
    assert not [p for p in (tmp_path / "units").iterdir() if p.name.startswith(".")]


def test_a_pipe_where_a_result_should_be_is_not_waited_for(tmp_path):
    folder = _made(tmp_path / "unit")
    os.mkfifo(folder / "result.json")
    assert "torn" in damage(folder)


def test_a_call_that_never_ends_is_seen_from_another_thread(monkeypatch):
    from ffbench_eval.models import surroundings

    monkeypatch.setattr(surroundings, "GRACE_S", 0.0)
    seen, end = [], threading.Event()

    def call():
        with surroundings.limited(0.0):
            seen.append(surroundings.overdue())
            with surroundings.limited(60.0):
                seen.append(surroundings.overdue())
            seen.append(surroundings.overdue())
        seen.append(surroundings.overdue())
        end.set()

    threading.Thread(target=call).start()
    assert end.wait(10)
    assert seen == [True, False, True, False]


def test_the_estimate_knows_that_units_of_a_task_run_side_by_side(tmp_path, capsys):
    scans = plan.Ready(SimpleNamespace(title="scans"), None, None, [None] * 10, seconds=3600, longest=360)
    cost.announce([scans], tmp_path, workers=2)
    assert "about 30 min on this machine" in capsys.readouterr().err
    cost.announce([scans], tmp_path, workers=0)
    assert "about 60 min on this machine" in capsys.readouterr().err
    scans.longest = 3000
    cost.announce([scans], tmp_path, workers=2)
    assert "about 50 min on this machine" in capsys.readouterr().err


def test_a_model_that_somebody_changed_in_the_folder_is_not_loaded(tmp_path):
    import pickle

    class Loud:
        def __reduce__(self):
            return open, (str(tmp_path / "run"), "w")

    (tmp_path / "sent").mkdir()
    (tmp_path / "sent" / "0123").write_bytes(pickle.dumps(Loud()))
    job = Job(**{**vars(JOB), "run": str(tmp_path), "models": {"t": "0123"}})
    with pytest.raises(Unfit, match="is not the one that was sent"):
        worker._model(job, "t", tmp_path)
    assert not (tmp_path / "run").exists()
