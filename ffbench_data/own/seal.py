"""`ffbench data add`: files to a sealed data set, or one line that says which option would make them one."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..atomic import file_sha256
from ..builders.labels import check_theory
from ..datacard import Card, Config, Split, shipped_datasets
from ..finding import Finding
from ..load import cache_folder, read_manifest
from ..magnitudes import thermal_range
from ..store import MANIFEST, Streamed, write_dataset
from ..validate import check_frames, check_overlap, report
from . import facts as allowed
from . import order, parts
from .cp2k import beside
from .images import Source, open_source
from .labelled import Reader
from .oddities import TOLD, empty
from .options import Options
from .rows import Rows, stage
from .units import HARD, Units, judge, parse_units, proposals

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
VALIDATION = "validation.json"
RULES = 5  # raised when the same files give another data set
UNSTATED = "not stated"
APART = 1e-4  # eV an atom, between an energy extrapolated to no smearing and the one the forces belong to
SIZES = ("force_size", "energy_spread")  # of thermal frames; frames need not be thermal


def add(
    name: str,
    files: Sequence[str | Path],
    options: Options | None = None,
    *,
    out: str | Path | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Path:
    """Seal ``files`` as the data set ``out/name`` and return that folder (``out``: the user's cache, where
    `load_frames` looks). The same files with the same options are not read again; others become its next version.

    ValueError, one line, for what the files do not say and an option of `Options` can.
    """
    options = options or Options()
    _check_name(name)
    if not files:
        raise ValueError(f"data add {name}: name at least one file")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="ase")
        sources = [open_source(str(f)) for f in files]
    home = Path(out).expanduser() if out is not None else cache_folder()
    key = seal_of(files, options)
    version = _version(home / name, key)
    if version is None:
        return home / name
    home.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{name}.rows.", dir=home))
    try:
        reader = Reader(options, Units())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="ase")
            rows = stage(sources, reader, lambda s: _units(s, options), work / "rows.parquet", progress)
        return _seal(home / name, version, key, rows, reader, sources, options)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError(f"data add {name!r}: a name has letters, digits, '_', '-' and '.', such as my_water")
    if name in shipped_datasets():
        raise ValueError(f"data add {name}: a data set of ffbench has that name; take another, such as my_{name}")


def seal_of(files: Sequence[str | Path], options: Options) -> str:
    """What a data set is made of: the content of the files and the options; "" for what is not on this machine."""
    digest = hashlib.sha256(json.dumps([RULES, options.said()], sort_keys=True).encode())
    for given in files:
        path = Path(given).expanduser()
        if not path.exists():
            return ""
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path, *beside(path)]
        for one in inside:
            digest.update(f"{one.name}:{file_sha256(one)}".encode())
    return digest.hexdigest()


def _version(folder: Path, key: str) -> str | None:
    """The version to give; ``None`` if the folder holds these very data already."""
    if not (folder / MANIFEST).is_file():
        return "1.0.0"
    manifest = read_manifest(folder)
    if key and manifest.get("provenance", {}).get("made_of") == key:
        return None
    return f"{int(manifest['version'].partition('.')[0]) + 1}.0.0"


def _units(source: Source, options: Options) -> Units:
    """As the user says, else as the file says, else those of ffbench."""
    if options.units:
        return parse_units(options.units)
    return parse_units(source.units, f"{source.name} states its units") if source.units else Units()


def _seal(
    folder: Path, version: str, key: str, rows: Rows, reader: Reader, sources: Sequence[Source], options: Options
) -> Path:
    if not len(rows):
        why = [f"{n} {what}" for n, what in ((rows.broken, "with NaN in positions or cell"),
                                             (rows.unlabelled, "without a label")) if n]  # fmt: skip
        raise ValueError(f"{', '.join(rows.files) or sources[0].name}: no frame to keep ({', '.join(why) or 'empty'})")
    theory = _theory(rows, options)
    kelvin = order.temperatures(rows, options)
    sample = rows.sample()
    found = _judged(sample, kelvin, reader, sources, options)
    segments = order.segments(rows, options)
    part, rule = parts.deal(rows, segments, options)
    if not (part == 2).any():
        raise ValueError(f"--split {options.split}: no frame is in the part test; name one test, or say random")
    targets, left = allowed.targets(rows, part, kelvin, segments)
    extra: dict[str, Any] = {}
    for target in targets:
        extra |= allowed.reference_files(rows, target)
    facts = allowed.summary(rows, part, targets, left, calculator=options.reference)
    times = _times(rows, segments)
    tables: dict[str, dict[str, Any]] = {"default": {}}
    for k, split in enumerate(parts.NAMES):
        if len(mine := np.flatnonzero(part == k)):
            tables["default"][split] = _streamed(rows, mine, theory, kelvin, times)
    for target in targets:
        if target["config"] != "default":
            mine = target["test"][:: -(-len(target["test"]) // allowed.MOST_TESTS)]
            tables[target["config"]] = {"test": _streamed(rows, mine, theory, kelvin, times)}
    labels: list[Any] = [k for k, there in facts["labels"].items() if there]
    if options.reference:
        from .scanned import label_scans

        scans, note = label_scans(options.reference, rows, targets, theory)
        facts["scans"] = scans is not None
        facts["not_allowed"] += [note] if note else []
        if scans is not None:
            tables["bond_scans"] = {"test": scans}
    found += check_frames(sample, "data", labels, _range(kelvin))
    found += _overlap(rows, part)
    summary = report(_unrepeated(found))
    notes = _notes(rows, reader, sources, options, rule)
    card = _card(
        folder.name, version, rows, tables, theory, kelvin, options, rule, labels, [*notes, *facts["not_allowed"]]
    )
    extra |= {allowed.FILE: (json.dumps(facts, indent=1) + "\n").encode()}
    extra |= {VALIDATION: (json.dumps(summary, indent=1) + "\n").encode()}
    provenance = {"complete": True, "made_of": key, "options": options.said(), "notes": notes,
                  "validation": summary["counts"], "files": [Path(s.name).name for s in sources]}  # fmt: skip
    return write_dataset(folder, card, tables, extra, provenance=provenance)


def _theory(rows: Rows, options: Options) -> str:
    stated = [m for m in rows.methods if m]
    if options.theory:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for one in stated:
                check_theory(one, options.theory, Path(rows.files[0]))
        return options.theory
    if len(stated) > 1:
        raise ValueError(f"the frames are of several levels of theory ({', '.join(stated[:4])}): add each as a data "
                         "set of its own, or say what to call them, --theory NAME")  # fmt: skip
    return stated[0] if stated else UNSTATED


def _range(kelvin: np.ndarray) -> tuple[float, float] | None:
    known = kelvin[np.isfinite(kelvin)]
    return thermal_range(np.unique(known).tolist()) if len(known) == len(kelvin) and len(known) else None


def _judged(
    sample: Any, kelvin: np.ndarray, reader: Reader, sources: Sequence[Source], options: Options
) -> list[Finding]:
    """The findings; ValueError with the units that would fit where these cannot be right."""
    kind, wrong = empty(sample)
    if kind and not getattr(options, f"{kind}_key"):
        raise ValueError(
            f"{sources[0].name}: {wrong}: no labels; name others, --{kind}-key NAME, or say --{kind}-key none"
        )
    heat = _range(kelvin)
    found = judge(sample, heat)
    errors = [f for f in found if f.level == "error"]
    if any(f.check == "bond_stiffness" and f.level == "ok" for f in found):
        errors = [f for f in errors if f.check not in SIZES]
    units = reader.units
    told = [f for f in found if f.check in TOLD or (f.check == "belonging" and f.level == "warning")]
    if not errors:
        return told
    said = f"{sources[0].name}: {errors[0].message.rstrip('?')}"
    fits = proposals(sample, heat, units)
    if options.units and not any(f.check in HARD for f in errors):
        return told
    wrong = f"{said}: read as {units.text}, that cannot be"
    if fits:
        raise ValueError(f"{wrong}; what fits is --units {' or --units '.join(fits[:3])}")
    if options.units:
        raise ValueError(f"{wrong}, and no usual units fit: are forces and energies those of these frames?")
    raise ValueError(
        f"{wrong}, and no usual units fit: check that energies and forces belong to these frames; if all is right, say "
        f"--units {units.text}"
    )


def _times(rows: Rows, segments: Sequence[order.Segment]) -> np.ndarray:
    """Time in the run (fs) of every row; NaN where it is not known."""
    times = np.full(len(rows), np.nan)
    for s in segments:
        if s.ordered and s.step_fs:
            times[s.start : s.stop] = np.arange(len(s)) * s.step_fs
    return times


def _streamed(rows: Rows, mine: np.ndarray, theory: str, kelvin: np.ndarray, times: np.ndarray) -> Streamed:
    """Rows of a split, with what was worked out about them: time, temperature and theory."""

    def tables() -> Iterator[pa.Table]:
        at = 0
        for table in rows.parts(mine):
            here = mine[at : at + table.num_rows]
            at += table.num_rows
            for name, values in (
                ("time_fs", pa.array(times[here], pa.float64(), mask=np.isnan(times[here]))),
                ("temperature_K", pa.array(kelvin[here], pa.float64())),
                ("method", pa.array([theory if theory != UNSTATED else ""] * len(here), pa.string())),
            ):
                table = table.set_column(table.column_names.index(name), name, values)
            yield table

    return Streamed(rows.schema, tables)


def _overlap(rows: Rows, part: np.ndarray) -> list[Finding]:
    """How near test lies to train; no frame is in both, since one that occurs again was left out."""
    from ..frames import Frames

    frames = {}
    for k, name in enumerate(parts.NAMES):
        mine = np.flatnonzero(part == k)
        if len(mine):
            some = np.unique(mine[np.linspace(0, len(mine) - 1, min(len(mine), 2000)).astype(int)])
            frames[name] = Frames(rows.take(some).combine_chunks())
    return check_overlap(frames, "default")


def _unrepeated(found: list[Finding]) -> list[Finding]:
    return list({(f.check, f.where, f.message): f for f in found}.values())


def _notes(rows: Rows, reader: Reader, sources: Sequence[Source], options: Options, rule: str) -> list[str]:
    notes = [f"split: {rule}"]
    for count, what in (
        (rows.repeated, "frames that occur again were left out"),
        (rows.broken, "frames with NaN in positions or cell were left out"),
        (rows.unlabelled, "frames without any label were left out"),
        (rows.infinite, "labels that are infinite or beyond any size count as absent"),
    ):
        notes += [f"{count} {what}"] if count else []
    no_energy, no_forces = int(np.isnan(rows.energy).sum()), int((~rows.forces).sum())
    for count, what in ((no_energy, "energy"), (no_forces, "forces")):
        notes += [f"{count} of {len(rows)} frames have no {what}"] if 0 < count < len(rows) else []
    for source in sources:
        notes += [f"{Path(source.name).name}: read as {source.format}"] if source.format.startswith("xyz") else []
        if source.units and not options.units and _units(source, options).text != Units().text:
            notes.append(f"{Path(source.name).name}: {_units(source, options).text}, as {source.format} states")
    if reader.stated and not options.units:
        notes.append(f"read as {' and as '.join(u.text for u in reader.stated.values())}, as the frames state")
    if count := order.momentary(rows):
        low, high = np.nanmin(rows.kelvin), np.nanmax(rows.kelvin)
        notes.append(f"temperatures of {count} frames ({low:.0f} to {high:.0f} K) change from frame to frame: not "
                     "taken for that of the simulation; --temperature K states it")  # fmt: skip
    if reader.apart > APART:
        notes.append(
            f"energy and free_energy differ by up to {reader.apart:.2g} eV an atom: energy is the label; forces "
            "are the gradient of the other (--energy-key free_energy)"
        )
    if unused := [f"{k}{kind}" for k, kind in reader.seen.items() if k not in reader.used]:
        notes.append(f"not used: {', '.join(unused[:12])}{' ...' * (len(unused) > 12)}")
    return notes


def _card(
    name: str,
    version: str,
    rows: Rows,
    tables: Any,
    theory: str,
    kelvin: np.ndarray,
    options: Options,
    rule: str,
    labels: Any,
    notes: list[str],
) -> Card:
    known = np.unique(kelvin[np.isfinite(kelvin)]).tolist()
    configs = {}
    for config, splits in tables.items():
        about = {"default": "All frames.", "bond_scans": "Rigid bond scans, labelled by the reference potential."}.get(
            config, f"The test frames of {config} alone, for its simulation."
        )
        configs[config] = Config(
            description=about, labels=labels if config != "bond_scans" else ["energy", "forces"],
            splits={s: Split(rule=rule if config == "default" else about) for s in splits},
        )  # fmt: skip
    files = ", ".join(Path(f).name for f in rows.files[:5]) + (" ..." if len(rows.files) > 5 else "")
    return Card(
        name=name, title=name, version=version, description=f"{len(rows)} frames added from {files}.",
        licence=options.licence or "unknown", citation=[options.citation] if options.citation else [], theory=theory,
        temperature_K=None if not known else known[0] if len(known) == 1 else known,
        redistributable=bool(options.licence), configs=configs, notes=notes,
        reference={"calculator": options.reference} if options.reference else {},
        changelog={version: f"added by ffbench from {files}"},
    )  # fmt: skip
