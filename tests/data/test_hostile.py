"""Files from strangers: whatever bytes they hold, a parser gives its result or one line, in bounded time and memory."""

import io
import json
import os
import pickle
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffbench_data.builders import read as reading
from ffbench_data.datacard import read_card
from ffbench_data.strict_yaml import read as read_yaml
from ffbench_eval import Report, load_suite, read_hills
from ffbench_eval.engine import checkpoint as simulation
from ffbench_eval.engine.trajectory import Recorder, read_trajectories
from ffbench_eval.run import units
from ffbench_eval.run.claim import met_in
from ffbench_eval.run.folder import status
from ffbench_eval.selective import Probe
from reference_models import build, configuration
from reference_models.checkpoint import read as read_checkpoint
from reference_models.checkpoint import save as save_checkpoint
from tests.conftest import ROOT

SUITE = (ROOT / "ffbench_eval" / "suites" / "mini.yaml").read_bytes()
CARD = (ROOT / "ffbench_data" / "cards" / "ethanol_gfn2.yaml").read_bytes()
HILLS = b"""#! FIELDS time phi psi sigma_phi sigma_psi height biasf
#! SET multivariate false
#! SET min_phi -pi
#! SET max_phi pi
1.0 0.1 0.2 0.35 0.35 1.2 6
2.0 0.3 0.1 0.35 0.35 1.1 6
"""
XYZ = b"""2
energy=-1.0 Properties=species:S:1:pos:R:3:forces:R:3
H 0 0 0 0 0 0
O 0 0 1 0 0 0
"""
PIECES = [b"\x00", b"[", b"{", b": ", b"- ", b"&a ", b"*a", b"!!python/name:os.system ", b"nan", b"1e999", b"-1",
          b"9" * 40, b"\xff\xfe", b"\n", b"'", b"null"]  # fmt: skip


def npz():
    file = io.BytesIO()
    np.savez_compressed(file, R=np.zeros((3, 2, 3)), E=np.zeros(3))
    return file.getvalue()


def pickled():
    file = io.BytesIO()
    np.save(file, np.array({"R": np.zeros((2, 3))}, dtype=object), allow_pickle=True)
    return file.getvalue()


def tensors():
    from safetensors.numpy import save

    return save({"w": np.zeros(4, np.float32)}, metadata={"ffbench": json.dumps({"format": 1, "family": "schnet"})})


def checkpoint_of(family, **settings):
    """A whole checkpoint, weights and all: what is spoiled in it reaches the network."""
    model = build({"family": family, **settings}, elements=(1, 8))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        save_checkpoint(path, family, configuration(family, **settings), model.fn, elements=(1, 8), card=model.card)
        return path.read_bytes()


def written_by(name, write):
    """The bytes of the file ``name`` that ``write(folder)`` leaves."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        return (Path(folder) / name).read_bytes()


def trajectory(folder):
    recorder = Recorder(folder, np.array([1, 8]), np.eye(3), np.zeros(3, bool))
    one = np.ones(2)
    for step in range(3):
        recorder.add(step, one, np.zeros((2, 2, 3)), one, one, one, one > 0)
    recorder.flush(0)


def running(folder):
    simulation.save(folder, 1, {"positions": torch.zeros(2, 3)}, {"piece": 0, "files": {}})


def finished(path):
    """A finished unit by every function that reads one."""
    unit = path.parent
    units.damage(unit), units.read_result(unit, "a"), status(unit.parents[1])


def probe():
    from tests.eval.test_selective_probe import planted

    return written_by("x", lambda folder: Probe(max_epochs=1).fit(planted(20)).save(folder / "x"))


def claimed(path):
    with suppress(simulation.OtherSimulation):
        simulation.claim(path.parent, {"model": "a"}, dict)


def result(folder):
    units.save_result(units.Result(folder, ["ok"], [], 1.0, 2, {}, address="a"), folder)


SOAK = int(os.environ.get("FFBENCH_SOAK", "0"))  # so many random examples of each instead of sixty fixed ones
EXAMPLES = SOAK or 60
PARSERS = {
    "suite": ("x.yaml", load_suite, SUITE),
    "card": ("x.yaml", read_card, CARD),
    "report": ("report.json", Report.load, b'{"schema_version": "1", "suite": "mini", "tasks": {"a": {"units": [1]}}}'),
    "hills": ("HILLS", read_hills, HILLS),
    "npz": ("x.npz", reading.npz_arrays, npz()),
    "npy": ("x.npy", reading.pickled_arrays, pickled()),
    "xyz": ("x.xyz", lambda path: reading.read_xyz(path, method="x"), XYZ),
    "checkpoint": ("x.safetensors", read_checkpoint, tensors()),
    "whole checkpoint": ("x.safetensors", read_checkpoint, checkpoint_of("painn", features=8, layers=1)),
    "probe": ("x.safetensors", Probe.load, probe),
    "trajectory": (
        "trajectory-00000.parquet",
        lambda path: read_trajectories(path.parent),
        written_by("trajectory-00000.parquet", trajectory),
    ),
    "running simulation": (
        "checkpoint-0000000001.safetensors",
        lambda path: simulation.latest(path.parent),
        written_by("checkpoint-0000000001.safetensors", running),
    ),
    "simulation": ("simulation.json", claimed, b'{"model": "a", "answer": {"energy": [1.0]}}'),
    "unit": ("run/units/a-0/result.json", finished, written_by("result.json", result)),
    "run": ("run.json", lambda path: met_in(path.parent), b'{"name": "a", "identities": [{"data": "a"}]}'),
}  # fmt: skip


@st.composite
def spoiled(draw, whole):
    """The file with bytes changed, cut out, doubled or put in; or any bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        how = draw(st.sampled_from(["change", "cut", "double", "put", "end"]))
        if how == "change" and raw:
            raw[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del raw[at : at + draw(st.integers(1, 40))]
        elif how == "double":
            raw[at:at] = raw[at : at + draw(st.integers(1, 40))]
        elif how == "put":
            raw[at:at] = draw(st.sampled_from(PIECES))
        else:
            del raw[at:]
    return bytes(raw)


@pytest.mark.parametrize("name", PARSERS)
def test_a_spoiled_file_is_one_line_or_a_result(name, tmp_path):
    file, parse, whole = PARSERS[name]
    whole = whole() if callable(whole) else whole
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "run" / "run.json").write_text("{}") if name == "unit" else None

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=not SOAK,
        suppress_health_check=list(HealthCheck),
    )
    @given(spoiled(whole))
    def check(raw):
        path.write_bytes(raw)
        begun = time.process_time()
        said = ""
        try:
            parse(path)
        except ValueError as error:
            said = str(error)
        assert "\n" not in said
        assert time.process_time() - begun < 20

    check()


GOOD = {"format": 1, "family": "painn", "config": {"features": 8, "layers": 1}, "elements": [1, 8], "card": {}}


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ([1], "carries no configuration"),
        ("a", "carries no configuration"),
        ({"format": 1, "family": "schnet"}, r"damaged \(config: Field required\)"),  # found by the soak
        ({"format": True}, r"format"),
        ({"family": ["painn"]}, r"damaged \(family: "),
        ({"config": [1]}, r"damaged \(config: "),
        ({"config": {"features": None}}, "None must be of type int"),
        ({"config": {"features": [8]}}, "must be of type int"),
        ({"config": {"features": 10**9}}, "features is 1000000000"),
        ({"config": {"layers": 10**12}}, "layers is 1000000000000"),
        ({"config": {"features": -8}}, "painn"),
        ({"config": {"features": True}}, "True must be of type int"),
        ({"config": {"cutoff": None}}, "None must be of type float"),
        ({"config": {"cutoff": float("nan")}}, "cutoff must be a positive number"),
        ({"elements": [0]}, r"damaged \(elements.0: "),
        ({"elements": ["1"]}, r"damaged \(elements.0: "),
        ({"elements": 1}, r"damaged \(elements: "),
        ({"card": None}, r"damaged \(card: "),
        ({"members": "two"}, r"damaged \(members: "),
        ({"members": -1}, r"damaged \(members: "),
        ({"members": 999}, "999 members"),
    ],
)
def test_what_a_checkpoint_says_of_itself_is_checked_before_it_is_built(tmp_path, about, told):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "x.safetensors"
    path.write_bytes(checkpoint_of("painn", features=8, layers=1))
    about = GOOD | about if isinstance(about, dict) and set(about) != {"format", "family"} else about
    save_file(load_file(path), path, metadata={"ffbench": json.dumps(about)})
    before = torch.random.get_rng_state()
    with pytest.raises(ValueError, match=told) as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "text", ["[]", "1", "null", "[" * 5000, "\xff", '{"seconds": []}', '{"seconds": NaN}', '{"status": 1}', '"a"']
)
def test_a_torn_note_in_a_run_folder_is_a_unit_that_runs_again(tmp_path, text):
    from ffbench_eval.run.execute import _begun
    from ffbench_eval.run.shards import _gathered

    folder = tmp_path / "units" / "a-0"
    folder.mkdir(parents=True)
    for path in (folder / "result.json", tmp_path / "run.json", folder / "simulation.json"):
        path.write_text(text, encoding="latin-1")
    assert units.damage(folder)
    assert units.read_result(folder, "a") is None
    assert [row.finished for row in status(tmp_path)] == [0]
    assert not met_in(tmp_path).rows
    with pytest.raises(simulation.OtherSimulation):
        simulation.claim(folder, {"model": "a"}, dict)
    with pytest.raises(ValueError, match=r"merge: .*a-0.*(run its part again|belongs to no unit)"):
        _gathered([tmp_path], {"a"})
    unit = units.Unit(SimpleNamespace(name="b"), {}, 0, "c" * 64)
    part = tmp_path / "units" / "b-part"
    part.mkdir()
    for name in (units.SPENT, units.OWNER, "checkpoint-1"):
        (part / name).write_text(text, encoding="latin-1")
    (part / units.OWNER).write_text(unit.address)
    assert _begun(part, unit) == 0


def test_nothing_pickled_is_run_and_no_object_is_made(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    for name, parse in (("x.npz", reading.npz_arrays), ("x.npy", reading.pickled_arrays)):
        path = tmp_path / name
        if name.endswith("z"):
            np.savez(path, R=np.array([Bomb()], dtype=object))
        else:
            np.save(path, np.array(Bomb(), dtype=object), allow_pickle=True)
        with pytest.raises(ValueError, match="not a readable"):
            parse(path)
    (tmp_path / "x.safetensors").write_bytes(pickle.dumps(Bomb()))
    for parse in (read_checkpoint, Probe.load):
        with pytest.raises(ValueError, match=r"\w"):
            parse(tmp_path / "x.safetensors")
    assert not (tmp_path / "run").exists()


def test_an_archive_that_grows_is_refused_by_its_table(tmp_path, monkeypatch):
    """100 MB of zeros in 100 kB: what counts is the size unpacked, before a byte of it is."""
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("R.npy", bytes(100_000_000))
    monkeypatch.setattr(reading, "MOST_UNPACKED", 10_000_000)
    monkeypatch.setattr(np, "load", lambda *a, **k: pytest.fail("unpacked"))
    with pytest.raises(ValueError, match="unpacks to 100000000 bytes from"):
        reading.npz_arrays(path)


def laughs(depth):
    rows = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol]"]
    rows += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 8)}]" for k in range(1, depth)]
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a suite must be a mapping .*, it is empty"),
        ("- 1\n- 2\n", "a suite must be a mapping .*, it is a list"),
        ("name: a\nversion: 1\n", "tasks is missing"),
        ("name: a\nversion: 1\ntasks: [1]\n", "line 3: tasks must be a mapping"),
        ("name: a\nversion: 1\ntasks: {}\n", "line 3: tasks is empty"),
        ("name: a\nversion: 1\ntasks:\n  errors: accuracy\n", "line 4: task 'errors' must be a mapping .* text"),
        ("name: a\nversion: 1\ntasks:\n  errors: {kind: accuracy}\n", "line 4: task 'errors': dataset is missing"),
        ("name: a\nversion: 1\ntasks:\n  errors: {dataset: water}\n", "line 4: task 'errors': kind is missing"),
        ("name: a\nversion: 1\ntasks:\n  e: {kind: accuracy, dataset: 3}\n", "task 'e': dataset must be text"),
        ("name: a\nversion: 1\ntasks:\n  e: {kind: accuracy, dataset: 'water:'}\n", "line 4: task 'e': dataset 'w"),
        ("name: a\nversion: 1\ntasks:\n  e: {kind: acuracy, dataset: water}\n", "task 'e': unknown kind .* did you"),
        ("name: a\nversion: 1\ntasks:\n  e: {kind: accuracy, dataset: water, split: 3}\n", "line 4: task 'e': split"),
        ("name: a\nversion: 1\ntasks:\n  e:\n    kind: x\n    kind: y\n", "line 6: key 'kind' is given twice"),
        ("name: a\nversion: 1\ntasks:\n  3: {kind: accuracy, dataset: water}\n", "key 3 must be text"),
        ("name: a\n  version: 1\n", "line 2, column 10: mapping values are not allowed"),
        ("name: [a\n", "line 2, column 1"),
        ("name: !!python/name:os.system\n", "line 1, column 7: could not determine a constructor"),
        ("name: *a\n", "line 1, column 7: found undefined alias"),
        ("name: \xff", "is not UTF-8"),
        ("name: \x00", "special characters are not allowed"),
        ("[" * 3000, "nested deeper than 30 levels"),
        ("a: &a [*a]", "nested deeper than 30 levels"),
        (laughs(9), "holds more than 100000 values"),
        ("a: " + "x" * 3_000_000, "at most 2000000 are taken"),
    ],
)  # fmt: skip
def test_a_faulty_suite_is_one_line_with_the_place(tmp_path, text, told):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=told) as error:
        load_suite(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_suite_that_is_a_folder_or_cannot_be_read_is_told(tmp_path):
    (tmp_path / "mine.yaml").mkdir()
    with pytest.raises(ValueError, match=r"mine\.yaml: cannot be read"):
        load_suite(tmp_path / "mine.yaml")


def test_places_are_the_lines_of_the_keys(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\nb:\n  c: [1, {d: 2}]\n")
    assert read_yaml(path) == (
        {"a": 1, "b": {"c": [1, {"d": 2}]}},
        {("a",): 1, ("b",): 2, ("b", "c"): 3, ("b", "c", 1, "d"): 3},
    )


@pytest.mark.parametrize("raw", [b"[" * 200_000, b"\xff\xfe", b"{" * 200_000, b"1" * 10_000, b"[1e999]", b"NaN", b""])
def test_a_report_that_is_none_is_one_line(tmp_path, raw):
    (tmp_path / "report.json").write_bytes(raw)
    with pytest.raises(ValueError, match=r"report\.json") as error:
        Report.load(tmp_path / "report.json")
    assert "\n" not in str(error.value)
