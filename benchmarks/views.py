"""Pairs of views a second on one core: nearby frames against the same frame, ultrasound views against the study's.

    python benchmarks/views.py [--size 224]

Renders a few phantom scans at 256 px, prepares a store, and makes pairs from it as a loader process does, reading
included. Prints the machine, pairs a second, and the ratio to the study's views of the same frame.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2

from sonolearn.config import PhantomConfig, PrepareConfig
from sonolearn.data.phantom import generate
from sonolearn.data.prepare import prepare
from sonolearn.recipes import recipe
from sonolearn.runs import machine
from sonolearn.ssl.frames import FramePool, training_frames
from sonolearn.ssl.methods import METHODS
from sonolearn.ssl.pairs import PairMaker

ULTRASOUND = {"name": "ultrasound"}
NEARBY = {"name": "nearby_frames"}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "SimCLR, study views, same frame": ("simclr", {}),
    "SimCLR, study views, nearby frames": ("simclr", {"positives": NEARBY}),
    "SimCLR, ultrasound views, same frame": ("simclr", {"views": ULTRASOUND}),
    "SimCLR, ultrasound views, nearby frames": ("simclr", {"views": ULTRASOUND, "positives": NEARBY}),
    "Barlow Twins, study views, same frame": ("barlow_twins", {}),
    "autoencoder, study views (one view)": ("autoencoder", {}),
    "inpainting, study views (one view, erased)": ("inpainting", {}),
}


def pairs_a_second(pool: FramePool, kind: tuple[Any, dict[str, Any]], size: int, seconds: float) -> float:
    """How many samples `PairMaker` makes."""
    method, changes = kind
    maker = PairMaker(pool, recipe(method, image_size=size, **changes), METHODS[method].pairing)  # type: ignore[attr-defined]
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        maker.make(0, done * 7919 % len(pool))
        done += 1
    return done / (time.perf_counter() - started)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--stored", type=int, default=256)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        phantom = PhantomConfig(patients=4, labelled=0, scans=1, frames=options.frames, size=options.stored)
        generate(Path(folder) / "phantom", phantom)
        config = PrepareConfig(size=options.stored, frame_skip=1, patient_pattern=r"PH\d+")
        pool = training_frames([prepare([Path(folder) / "phantom" / "scans"], Path(folder) / "store", None, config)])
        # Twice, and the better one, so that a hiccup of the machine does not decide.
        speeds = {
            name: max(pairs_a_second(pool, kind, options.size, options.seconds / 2) for _ in range(2))
            for name, kind in KINDS.items()
        }
    print(f"{machine()['processor']}, one core; {options.stored} px frames, {options.size} px views\n")
    print("| pairs | a second | ratio to the first |\n|---|---|---|")
    for name, speed in speeds.items():
        print(f"| {name} | {speed:.0f} | {speed / speeds[next(iter(KINDS))]:.2f} |")


if __name__ == "__main__":
    main()
