"""Do the tests see a wrong line? One-line faults planted in a copy of the checkout, and the tests that run the line.

    python benchmarks/mutation.py sample --room metrics --per-file 15 --out faults.json
    python benchmarks/mutation.py run --room metrics faults.json [--again] [--only survived]
    python benchmarks/mutation.py show faults.json

`sample` draws at random (seeded, the same number from every file) from the faults that cosmic-ray's operators can
make; `faults.json` may as well be written by hand: a list of {"file", "line", "before", "after"} with whole lines.
`run` first runs the tests of the room once under coverage, to learn which of them run which line and how long they
take (kept beside the faults), then plants one fault after the other and runs the tests that reach it, files of quick
tests first, until one fails. Lines that only imports run are tried with every test of the room. Each result is written
at once: a killed run goes on where it stopped. A mark "equivalent" (by hand, with a reason) takes a fault out of the
count. Every trial is a fork of one process that has the large libraries loaded: a second or two instead of ten.

Needs `pip install cosmic-ray coverage` besides the test extra, and POSIX.
"""

import argparse
import contextlib
import functools
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "mutation.json"
PACKAGES = ("ffbench_metrics", "ffbench_data", "ffbench_eval", "reference_models", "leaderboard")
EVALUATOR = [
    f"tests/eval/test_{name}.py"
    for name in (
        *("accuracy_metrics", "observables", "intervals", "criteria", "selective_metrics", "bsct", "on_trajectory"),
        *("evaluate", "failures", "alignment", "speed"),
    )
]
# room: the files that are mutated, the tests that should see it
ROOMS = {
    "metrics": (["ffbench_metrics/*.py"], ["tests/metrics"]),
    "board": (
        ["leaderboard/scoring.py", "leaderboard/check.py", "leaderboard/recompute*.py"],
        [f"tests/leaderboard/test_{name}.py" for name in ("recompute", "scoring", "check", "lock", "honest")],
    ),
    "evaluator": (
        ["ffbench_eval/kinds/*.py"]
        + [f"ffbench_eval/{name}.py" for name in ("execute", "observables", "statistics", "domains")],
        EVALUATOR,
    ),
}
SWAPS = {
    "BinaryOperator": """Add_Sub Sub_Add Mul_Div Div_Mul Pow_Mul FloorDiv_Mul Mod_Mul BitAnd_BitOr BitOr_BitAnd""",
    "ComparisonOperator": """Eq_NotEq NotEq_Eq Lt_LtE LtE_Lt Gt_GtE GtE_Gt Lt_Gt Gt_Lt LtE_GtE GtE_LtE Is_IsNot
        IsNot_Is""",
}
CHANGES = """NumberReplacer AddNot ReplaceAndWithOr ReplaceOrWithAnd ReplaceTrueWithFalse ReplaceFalseWithTrue
    ReplaceUnaryOperator_Delete_Not ZeroIterationForLoop ReplaceUnaryOperator_Delete_USub ReplaceBreakWithContinue
    ExceptionReplacer ReplaceContinueWithBreak"""
OPERATORS = [f"core/Replace{what}_{swap}" for what, swaps in SWAPS.items() for swap in swaps.split()]
OPERATORS += [f"core/{name}" for name in CHANGES.split()]
LIBRARIES = """torch scipy.stats scipy.optimize scipy.spatial.transform sklearn.metrics sklearn.linear_model ase.io
    ase.md pytest hypothesis pydantic mdtraj freud.density freud.msd pyarrow datasets vesin jinja2 typer rich.console
    yaml joblib safetensors.torch contourpy filelock tqdm torch._dynamo ase.build ase.calculators.emt
    ase.units scipy.integrate scipy.signal"""
LIMIT_S = 90
LONGEST_S = 45  # of tests per fault, as measured without it: half the limit, so that a busy machine kills nothing


BINARY = {"*": "term", "**": "power"}  # elsewhere they part or spread arguments


def behaves(node) -> bool:
    """False in annotations, in the text of messages and for stars in arguments: no change of what is worked out."""
    if getattr(node, "value", "") in BINARY and node.parent.type != BINARY[node.value]:
        return False
    while node.parent is not None:
        parent = node.parent
        if parent.type.startswith("fstring") or (parent.type in ("param", "funcdef") and parent.annotation is node):
            return False
        if parent.type == "tfpdef" and parent.children[0] is not node:
            return False
        if parent.type == "annassign" and parent.children[1] is node:
            return False
        node = parent
    return True


def draw_faults(path: Path, number: int, draw: random.Random) -> tuple[list[dict], int]:
    """A random choice of the faults of one line that the operators can make in a file, and how many there are."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    code = path.read_text()
    lines = code.splitlines()
    nodes = [(node, behaves(node)) for node in ast_nodes(get_ast(code))]
    possible = []
    for name in OPERATORS:
        operator = get_operator(name)()
        places = (good for node, good in nodes for _ in operator.mutation_positions(node))
        possible += [(name, occurrence) for occurrence, good in enumerate(places) if good]
    draw.shuffle(possible)
    found: dict[tuple, dict] = {}
    for name, occurrence in possible:
        changed = mutate_code(code, get_operator(name)(), occurrence).splitlines()
        odd = [i for i, (a, b) in enumerate(zip(lines, changed)) if a != b]
        if len(changed) == len(lines) and len(odd) == 1:
            (i,) = odd
            found[i, changed[i]] = {"line": i + 1, "before": lines[i], "after": changed[i], "operator": name[5:]}
        if len(found) == number:
            break
    return [{"file": str(path.relative_to(ROOT)), **found[key]} for key in sorted(found)], len(possible)


def planted(fault: dict, text: str) -> str:
    """The text of its file with the fault; the line is looked for near its number: edits elsewhere do no harm."""
    lines = text.split("\n")
    places = [i for i, text in enumerate(lines) if text == fault["before"]]
    if not places:
        raise SystemExit(f"{fault['file']}: no line {fault['before']!r}. Draw a new sample or edit the fault.")
    at = min(places, key=lambda i: abs(i + 1 - fault["line"]))
    lines[at] = fault["after"]
    return "\n".join(lines)


class Chosen:
    """pytest plugin: runs the tests of {name: seconds} alone, quick files first, without the luck of hypothesis."""

    def __init__(self, seconds: dict[str, float]):
        self.seconds = seconds

    def pytest_configure(self, config):
        from hypothesis import settings

        settings.register_profile("mutation", deadline=None, derandomize=True, database=None)
        settings.load_profile("mutation")

    def pytest_collection_modifyitems(self, items):
        per_file = Counter()
        for name, seconds in self.seconds.items():
            per_file[name.split("::")[0]] += seconds
        chosen = [item for item in items if item.nodeid in self.seconds]
        items[:] = sorted(chosen, key=lambda item: per_file[item.nodeid.split("::")[0]])


class Watch(Chosen):
    """pytest plugin: which test runs which line, how long it takes and whether it passes, with coverage's help."""

    def __init__(self, files: list[str]):
        import coverage

        self.cover = coverage.Coverage(data_file=None, include=files, config_file=False)
        self.seconds, self.failed = Counter(), []
        self.cover.start()

    def pytest_collection_modifyitems(self, items):
        pass

    def pytest_runtest_setup(self, item):
        self.cover.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration
        if report.outcome == "failed":
            self.failed.append(report.nodeid)

    def lines(self) -> dict:
        self.cover.stop()
        data = self.cover.get_data()
        return {str(Path(f).relative_to(Path.cwd())): data.contexts_by_lineno(f) for f in data.measured_files()}


def load() -> None:
    """The large libraries, so that a fork need not; nothing of this project, and no test."""
    for name in LIBRARIES.split():
        with contextlib.suppress(ImportError):
            __import__(name)
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() not in (ROOT, Path(__file__).parent)]


def apart(work, limit_s: float | None):
    """What `work()` returns in a fork with a process group of its own, or None where it takes longer."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def child():
        os.setsid()
        with open(os.devnull, "w") as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
        theirs.send(work())

    process = context.Process(target=child)
    process.start()
    theirs.close()
    try:
        return ours.recv() if ours.poll(limit_s) else None
    except EOFError:
        return "died"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()


def enter(folder: Path) -> None:
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = str(folder)


def watch(folder: Path, room: str) -> dict:
    import pytest

    enter(folder)
    seen = Watch([str(folder / f) for f in ROOMS[room][0]])
    pytest.main(["-p", "no:cacheprovider", *ROOMS[room][1]], plugins=[seen])
    return {"lines": seen.lines(), "seconds": dict(seen.seconds), "failed": seen.failed}


def write(path: Path, text: str, second: int) -> None:
    path.write_text(text)
    os.utime(path, (second, second))


def tests_for(fault: dict, known: dict) -> dict[str, float]:
    """The tests that run the line, or a line of the same statement; all of the room where only imports do."""
    lines = known["lines"].get(fault["file"], {})
    near = next((lines[str(i)] for i in range(fault["line"], max(fault["line"] - 6, 0), -1) if str(i) in lines), [""])
    names = [n for n in near if n] if any(near) else list(known["seconds"])
    known_good = {n: known["seconds"][n] for n in names if n not in known["failed"]}
    chosen, total = {}, 0.0
    for name in sorted(known_good, key=known_good.get):
        total += known_good[name]
        if total <= LONGEST_S or not chosen:
            chosen[name] = known_good[name]
    return chosen


def trial(folder: Path, names: dict[str, float]) -> tuple[int, list]:
    import pytest

    enter(folder)
    failed = []
    chosen = Chosen(names)
    chosen.pytest_runtest_logreport = lambda report: failed.append(report.nodeid) if report.failed else None
    files = sorted({n.split("::")[0] for n in names})
    return int(pytest.main(["-x", "-p", "no:cacheprovider", *files], plugins=[chosen])), failed


def run(path: Path, room: str, only: str | None, again: bool) -> None:
    faults = json.loads(path.read_text())
    load()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "checkout"
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", "__pycache__", ".*_cache", "runs"))
        if (ROOT.parent / "shared").exists():
            (Path(scratch) / "shared").symlink_to(ROOT.parent / "shared")
        covers = path.with_suffix(f".{room}.covers")
        if again or not covers.exists():
            covers.write_text(json.dumps(apart(lambda: watch(folder, room), None)))
        known = json.loads(covers.read_text())
        print(
            len(known["seconds"]),
            "tests,",
            round(sum(known["seconds"].values())),
            "s; failing before:",
            known["failed"],
        )
        clock = itertools.count(int(time.time()) - 10**6)  # compiled files are told apart by whole seconds
        for fault in faults:
            if fault.get("room", room) != room or "equivalent" in fault:
                continue
            if fault.get("outcome") and fault["outcome"] != only:
                continue
            names = tests_for(fault, known)
            target = folder / fault["file"]
            text = target.read_text()
            write(target, planted(fault, text), next(clock))
            begin = time.monotonic()
            answer = apart(functools.partial(trial, folder, names), LIMIT_S) if names else (5, [])
            write(target, text, next(clock))
            if fault.get("outcome") == "survived":
                fault["before_tests"] = "survived"
            fault["seconds"] = round(time.monotonic() - begin, 1)
            fault["tests"] = len(names)
            if answer is None or answer == "died":
                fault["outcome"] = "killed"
                fault["by"] = "timeout" if answer is None else "end of the process"
            else:
                code, failed = answer
                fault["outcome"] = "survived" if code in (0, 5) else "killed"
                fault["by"] = failed[0] if failed else f"exit code {code}"
            path.write_text(json.dumps(faults, indent=1))
            where = f"{fault['file']}:{fault['line']}"
            print(f"{fault['outcome']:9}{fault['seconds']:6.1f} s {where} {fault['after'].strip()}")


def sample(rooms: list[str], per_file: int, seed: int, out: Path) -> None:
    draw = random.Random(seed)
    faults = []
    for room in rooms:
        for path in sorted({p for pattern in ROOMS[room][0] for p in ROOT.glob(pattern)}):
            chosen, possible = draw_faults(path, per_file, draw)
            faults += [{"room": room, **f} for f in chosen]
            print(f"{path.relative_to(ROOT)}: {len(chosen)} of {possible}")
    out.write_text(json.dumps(faults, indent=1))


def show(path: Path) -> None:
    from scipy.stats import binomtest

    faults = json.loads(path.read_text())
    print("| room | drawn | equivalent | killed at first | killed | 95 % |\n|---|---|---|---|---|---|")
    for room in [*dict.fromkeys(f["room"] for f in faults), None]:
        here = [f for f in faults if room in (None, f["room"])]
        real = [f for f in here if "equivalent" not in f and "outcome" in f]
        killed = sum(f["outcome"] == "killed" for f in real)
        first = sum(f["outcome"] == "killed" and "before_tests" not in f for f in real)
        if real:
            ci = binomtest(killed, len(real)).proportion_ci(method="wilson")
            same = sum("equivalent" in f for f in here)
            share = f"{killed} ({killed / len(real):.0%}) | {ci.low:.0%} to {ci.high:.0%}"
            print(f"| {room or 'all'} | {len(real) + same} | {same} | {first} ({first / len(real):.0%}) | {share} |")
    for f in faults:
        if f.get("outcome") == "survived" and "equivalent" not in f:
            print(f"{f['file']}:{f['line']}\n  - {f['before'].strip()}\n  + {f['after'].strip()}")


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("command", choices=("sample", "run", "show"))
    cli.add_argument("faults", nargs="?", type=Path, default=RESULTS)
    cli.add_argument("--room", choices=ROOMS, action="append")
    cli.add_argument("--per-file", type=int, default=15)
    cli.add_argument("--seed", type=int, default=20)
    cli.add_argument("--only", help="try again those with this outcome")
    cli.add_argument("--again", action="store_true", help="learn anew which tests run which line")
    args = cli.parse_intermixed_args()
    rooms = args.room or list(ROOMS)
    if args.command == "sample":
        sample(rooms, args.per_file, args.seed, args.faults)
    elif args.command == "show":
        show(args.faults)
    else:
        for room in rooms:
            run(args.faults, room, args.only, args.again)


if __name__ == "__main__":
    main()
