"""Pictures of the data for the pages of tasks: ``python -m leaderboard.site.portraits`` draws them from the data sets
on this machine into ``leaderboard/pictures``, where they are kept: building the site needs no data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..check.lock import all_locks
from ..entry.schema import ROOM

PICTURES = ROOM / "pictures"
SIZE = 320  # of the longer side
MOST = 400  # atoms
COLOURS = {1: "#d8dde4", 6: "#6b7480", 7: "#4a78d0", 8: "#d8574a", 9: "#7fc97f", 15: "#e08a2e", 16: "#d9b62b",
           17: "#58b368"}  # fmt: skip
OTHER = "#b48ead"


def picture(name: str, config: str) -> Path:
    return PICTURES / f"{name}__{config}.svg"


def drawing(positions: np.ndarray, numbers: np.ndarray, cell: np.ndarray | None, title: str) -> str:
    """SVG of atoms ``positions`` [N, 3] in Å, seen along the axis in which they extend least, with bonds (1.25 times
    the sum of covalent radii) and the edges of ``cell`` [3, 3]; atoms behind are paler."""
    from ase.data import covalent_radii

    centre = positions.mean(0)
    axes = np.eye(3) if cell is not None else np.linalg.svd(positions - centre, full_matrices=True)[2]
    seen = (positions - centre) @ axes.T
    corners = (
        np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) @ cell[:2, :2] - centre[:2] if cell is not None else seen[:, :2]
    )
    low = np.minimum(seen[:, :2].min(0), corners.min(0)) - 0.9
    width, height = np.maximum(seen[:, :2].max(0), corners.max(0)) + 0.9 - low
    scale = SIZE / max(width, height)
    at = (seen[:, :2] - low) * scale
    near = seen[:, 2] - seen[:, 2].min()
    near = 0.45 + 0.55 * near / (near.max() or 1.0)
    radii = covalent_radii[numbers]
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width * scale:.0f} {height * scale:.0f}" role="img">'
        f"<title>{title}</title>"
    ]
    if cell is not None:
        edge = " ".join(f"{x:.0f},{y:.0f}" for x, y in (corners - low) * scale)
        out.append(f'<polygon points="{edge}" fill="none" stroke="#8a929c"/>')
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    bonded = np.argwhere(np.triu(apart < 1.25 * (radii[:, None] + radii[None]), 1))
    d = "".join(f"M{at[i, 0]:.0f} {at[i, 1]:.0f}L{at[j, 0]:.0f} {at[j, 1]:.0f}" for i, j in bonded)
    out.append(f'<path d="{d}" stroke="#8a929c" stroke-width="{0.22 * scale:.1f}" stroke-linecap="round"/>')
    out.append('<g stroke="#5a6370" stroke-width=".7">')
    for k in np.argsort(seen[:, 2]):
        colour = COLOURS.get(int(numbers[k]), OTHER)
        out.append(
            f'<circle cx="{at[k, 0]:.0f}" cy="{at[k, 1]:.0f}" r="{0.55 * radii[k] * scale:.1f}" fill="{colour}" '
            f'fill-opacity="{near[k]:.2g}"/>'
        )
    return "".join(out) + "</g></svg>\n"


def draw_all() -> list[Path]:
    """A picture of the first structure of every data set of a lock that is on this machine."""
    from ffbench_data import load_frames

    PICTURES.mkdir(exist_ok=True)
    used = {(t.dataset.name, t.dataset.config, t.dataset.split) for lock in all_locks() for t in lock.tasks.values()}
    out = []
    for name, config, split in sorted(used, key=str):
        path = picture(name, config)
        try:
            frames = load_frames(name, config, split=split)
        except (ValueError, OSError):
            continue
        if path in out:
            continue
        atoms = frames[0].to_ase()
        if len(atoms) <= MOST:
            cell = np.asarray(atoms.cell) if atoms.pbc.any() else None
            path.write_text(drawing(atoms.positions, atoms.numbers, cell, f"A frame of {name}:{config}"), "utf-8")
            out.append(path)
    return out


if __name__ == "__main__":
    print("\n".join(str(p) for p in draw_all()))
