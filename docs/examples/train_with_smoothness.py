"""Watch smoothness while a model trains: the force error falls all the time, the FSD need not.

    python docs/examples/train_with_smoothness.py --minutes 5

Trains SchNet on ethanol and prints, at every validation, the force MAE on unseen frames beside the force smoothness
deviation (FSD) and the force MAE along bond scans of the same molecule. The curve is in <folder>/curve.json.
"""

import argparse
import json
from pathlib import Path

from ffbench_data import load_frames
from ffbench_eval.callbacks import SmoothnessMonitor
from reference_models.train import Recipe, train

cli = argparse.ArgumentParser(description=__doc__)
cli.add_argument("--family", default="schnet")
cli.add_argument("--minutes", type=float, default=5.0, help="of CPU time")
cli.add_argument("--steps", type=int, help="stop after so many steps instead")
cli.add_argument("--every", type=int, default=250, help="steps between validations")
cli.add_argument("--folder", type=Path, default=Path("runs/train_with_smoothness"))
args = cli.parse_args()

frames = load_frames("ethanol_gfn2")
monitor = SmoothnessMonitor("ethanol_gfn2:bond_scans")
train(
    args.family,
    None,
    frames["train"],
    frames["val"],
    folder=args.folder,
    recipe=Recipe(minutes=args.minutes, max_steps=args.steps, validate_every=args.every),
    callbacks=[monitor],
    log=lambda _: None,
)
print("  step  force MAE (frames)  force MAE (scans)  FSD (1/Å)  extra extrema per scan")
for row in json.loads((args.folder / "curve.json").read_text())["curve"]:
    print(
        f"{row['step']:6.0f} {row['force_mae']:14.4f} eV/Å {row['scan_force_mae']:13.3f} eV/Å {row['fsd']:10.1f}"
        f" {row['spurious_extrema']:15.1f}"
    )
