"""Augmented views a second on one core: against the study's pipeline, lightly and others, and kinds of views.

Each side reads a frame of 256 px from an HDF5 file, once for both views of a pair, and makes two SimCLR views of 224 px
of it: random resized crop, horizontal flip (0.5), brightness and contrast (0.8), blur (0.5), drawn from the same
ranges. Reading is included everywhere; seeding each sample by itself too, which only sonolearn does.

- The study's pipeline, written anew from its description: a data set a video, PIL in three channels, torchvision's
  transforms with the colour jitter and grey scale of its table and a blur kernel of a tenth of the side; normalised
  floats.
- lightly: its `SimCLRTransform(input_size=224)` as it comes, of PIL images in three channels; normalised floats.
- torchvision v2 on uint8 tensors, kornia on batches of float tensors, albumentations on uint8 arrays: one channel and
  no colour, which suits grey frames best; the views stay in the type that these work on.

sonolearn's views are uint8 with one channel; the training process normalises a whole batch on its device. A row of its
own counts that in, on the CPU. Processor time; torch and OpenCV use one thread. The frames are drawn sectors. Their
beams, which ultrasound views need, are known from the round before, as in all epochs but the first, where finding them
takes 0.1 ms a frame.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.figure import Row, in_turns, rate, run_script
from benchmarks.store import write_store
from benchmarks.view_peers import LIGHTLY, STUDY, Maker, peers
from sonolearn.recipes import recipe
from sonolearn.ssl.encoders import Card
from sonolearn.ssl.frames import FramePool, training_frames
from sonolearn.ssl.loader import PairMaker, as_pair
from sonolearn.ssl.methods import METHODS

STORED, SIZE = 256, 224
OURS, NORMALISED = "sonolearn", "sonolearn, normalised"
TARGETS = {STUDY: 12.0, LIGHTLY: 10.0}

NEARBY, ULTRASOUND = {"positives": {"name": "nearby_frames"}}, {"views": {"name": "ultrasound"}}
BASIS = "SimCLR, same frame"
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    BASIS: ("simclr", {}),
    "SimCLR, nearby frames": ("simclr", NEARBY),
    "SimCLR, ultrasound views": ("simclr", ULTRASOUND),
    "SimCLR, ultrasound views, nearby frames": ("simclr", {**ULTRASOUND, **NEARBY}),
    "Barlow Twins": ("barlow_twins", {}),
    "autoencoder (one view)": ("autoencoder", {}),
    "inpainting (one view, erased)": ("inpainting", {}),
}


def rows(quick: bool) -> Iterator[Row]:
    """SimCLR's views against each peer; then pairs of other kinds against SimCLR's."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    scans, frames, samples, repeats = (2, 8, 8, 1) if quick else (8, 50, 48, 9)
    with tempfile.TemporaryDirectory() as folder:
        pool = training_frames([write_store(Path(folder), scans, frames, STORED)])
        made = samples_a_second(sides(pool, Path(folder)), pool, samples, repeats)
        for peer in made:
            if peer not in (OURS, NORMALISED):
                yield rate("SimCLR views", "views/s", 2 * made[OURS], peer, 2 * made[peer], TARGETS.get(peer))
        yield rate("SimCLR views, normalised", "views/s", 2 * made[NORMALISED], STUDY, 2 * made[STUDY], None)
        makers = {kind: pairs(pool, method, changes) for kind, (method, changes) in KINDS.items()}
        made = samples_a_second(makers, pool, 2 * samples, repeats)
        for kind in made:
            if kind != BASIS:
                yield rate(f"pairs: {kind}", "pairs/s", made[kind], BASIS, made[BASIS], None)


def samples_a_second(makers: Mapping[str, Maker], pool: FramePool, samples: int, repeats: int) -> dict[str, float]:
    """Of each maker; all take the same frames, in an order as random as a run's."""
    chosen = [number * 7919 % len(pool) for number in range(samples)]
    functions = {name: lambda make=make: make(chosen) for name, make in makers.items()}
    return {name: samples / seconds for name, seconds in in_turns(functions, repeats, time.process_time).items()}


def sides(pool: FramePool, folder: Path) -> dict[str, Maker]:
    """SimCLR views as sonolearn's loader gets them, the same as normalised floats, and the peers'."""
    ours, card = pairs(pool, "simclr", {}), Card("resnet50", mean=0.25, std=0.2)

    def normalised(samples: Sequence[int]) -> Sequence[Any]:
        return list(zip(*as_pair(torch.from_numpy(np.array(ours(samples))), card, torch.device("cpu")), strict=True))

    return {OURS: ours, NORMALISED: normalised, **peers(pool, folder, SIZE)}


def pairs(pool: FramePool, method: Any, changes: dict[str, Any]) -> Maker:
    """What `PairMaker` makes in a loader process."""
    config = recipe(method, None, image_size=SIZE, **changes)
    maker = PairMaker(pool, config, METHODS[method].pairing)  # type: ignore[attr-defined]
    return lambda samples: [maker.make(0, sample) for sample in samples]


if __name__ == "__main__":
    run_script(rows, __doc__)
