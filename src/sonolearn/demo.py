"""`sonolearn demo`: the whole road on the phantom, small enough for two cores and a few minutes.

It prints what was measured, whether or not pre-training won: nothing is chosen afterwards.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sonolearn.config import ClassifyConfig, DemoConfig, PhantomConfig, PrepareConfig
from sonolearn.console import say
from sonolearn.data.phantom import generate
from sonolearn.data.prepare import prepare
from sonolearn.planes.classify import classify
from sonolearn.recipes import recipe
from sonolearn.ssl.pretrain import pretrain
from sonolearn.study.report import report

# A quarter of ResNet-18's width: 0.7 million weights.
ENCODER = {"channels": [16, 32, 64, 128], "stem_type": "deep", "stem_width": 8}

PHANTOM = PhantomConfig(patients=80, labelled=0.5, scans=1, frames=60, stills=20, size=128, callipers=0.0)

PREPARE = PrepareConfig(size=72, frame_skip=1, patient_pattern=r"PH\d+")

PRETRAIN = recipe(
    "barlow_twins",
    None,
    encoder="resnet18",
    encoder_args=ENCODER,
    image_size=48,
    batch_size=64,
    max_steps=400,
    valid_every=10,
    views={"crop_scale": (0.3, 1.0)},
    # The paper's learning rates are for hundreds of thousands of steps; so short a run needs larger ones.
    barlow_twins={"projector": (512, 512)},
    optimizer={"lr": 30, "lr_biases": 0.1, "warmup_epochs": 1},
)

CLASSIFY = ClassifyConfig(
    encoder="resnet18",
    encoder_args=ENCODER,
    image_size=48,
    fractions=(0.01, 0.1, 1.0),
    batch_size=32,
    epochs=40,
    max_steps=120,
)


def demo(out: Path, config: DemoConfig) -> Path:
    """Render, prepare, pre-train, compare with random weights, and report; started again, it goes on.

    Args:
        out: the folder for everything.
        config: seeds.

    Returns:
        The HTML page.
    """
    say("1/5 phantom: 80 made-up patients, half with unlabelled scans, half with labelled stills")
    generate(out / "phantom", dataclasses.replace(PHANTOM, seed=config.seed))
    say("2/5 prepare: DICOM and MP4 scans, and labelled PNG stills, into two stores")
    prepare([out / "phantom" / "scans"], out / "scans", None, PREPARE)
    prepare([], out / "labelled", out / "phantom" / "labels.csv", PREPARE)
    say("3/5 pretrain: Barlow Twins on the unlabelled scans")
    run = pretrain([out / "scans"], out / "barlow_twins", dataclasses.replace(PRETRAIN, seed=config.seed))
    say("4/5 classify: that encoder and random weights, linear and fine-tuned, on 1, 10 and 100 % of the labels")
    runs = [run]
    for mode in ("linear", "finetune"):
        for name, init in (("random", "random"), ("barlow_twins", str(run))):
            start = dataclasses.replace(CLASSIFY, mode=mode, init=init, seeds=config.seeds)
            if init != "random":
                start = dataclasses.replace(start, encoder=None, encoder_args={})
            runs.append(out / f"{mode}_{name}")
            classify(out / "labelled", runs[-1], start)
    say("5/5 report")
    page = report(runs, out / "report.html")
    say(f"the page with all figures: {page}")
    return page
