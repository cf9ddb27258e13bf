"""The board with fifty synthetic entries: size of the site, seconds to build, check and load.

    python benchmarks/leaderboard.py [entries]

Loading needs playwright and /usr/bin/chromium; pages are opened once cold and three times warm.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from leaderboard.check.check import check, errors, known_entries
from leaderboard.entry.schema import Entry
from leaderboard.site.build import build
from tests.leaderboard.board import FIXTURE, put, varied

CHROMIUM = Path("/usr/bin/chromium")


def main(count: int) -> dict:
    folder = Path(tempfile.mkdtemp())
    paths = []
    for seed in range(count):
        raw = varied(seed)
        paths.append(put(raw, folder / "entries", Entry.model_validate(raw).key))
    begun = time.perf_counter()
    build(folder / "site", entries=folder / "entries", suites=FIXTURE)
    built = time.perf_counter() - begun
    begun = time.perf_counter()
    others = known_entries(folder / "entries")
    found = check(paths[0], entries=folder / "entries", suites=FIXTURE, others=others)
    checked = time.perf_counter() - begun
    size = sum(p.stat().st_size for p in (folder / "site").rglob("*") if p.is_file())
    out = {
        "entries": count,
        "site_MB": round(size / 1e6, 3),
        "build_s": round(built, 2),
        "check_one_among_all_s": round(checked, 3),
        "errors": len(errors(found)),
    }
    return out | {"load_ms": _load(folder / "site")}


def _load(site: Path) -> dict[str, list[int]] | str:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "no playwright"
    if not CHROMIUM.exists():
        return f"no {CHROMIUM}"
    model = next((site / "models").glob("*.html")).relative_to(site).as_posix()
    times = {}
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for path in ("index.html", "compare.html", "plots.html", model):
            page = browser.new_page()
            times[path.split("/")[0]] = []
            for _ in range(4):
                page.goto((site / path).as_uri(), wait_until="load")
                loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
                times[path.split("/")[0]].append(round(loaded))
            page.close()
        browser.close()
    return times


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50), indent=1))
