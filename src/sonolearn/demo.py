"""`sonolearn demo`: the complete workflow on the phantom, small enough for two cores and a few minutes.

It prints what was measured, whether or not pre-training won: nothing is chosen afterwards.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sonolearn.config import ClassifyConfig, DemoConfig, PhantomConfig, PrepareConfig
from sonolearn.console import say
from sonolearn.planes.classify import classify
from sonolearn.recipes import recipe
from sonolearn.reports.findings import summary
from sonolearn.reports.page import write_report
from sonolearn.ssl.pretrain import pretrain
from sonolearn.statistics.analysis import analysis_of
from sonolearn.store.prepare import prepare
from sonolearn.study.from_runs import read_runs
from sonolearn_phantom import generate

# A quarter of ResNet-18's width: 0.7 million weights.
ENCODER = {"channels": [16, 32, 64, 128], "stem_type": "deep", "stem_width": 8}

PHANTOM = PhantomConfig(patients=140, labelled=0.6, scans=1, frames=40, stills=10, size=128, callipers=0.0)

# Many patients for the test, so that its intervals can say something; nothing is chosen on a validation part.
PREPARE = PrepareConfig(size=72, frame_skip=1, patient_pattern=r"PH\d+", split=(0.5, 0.0, 0.5))

# A phantom is nothing that ImageNet weights, which would have to be downloaded, are needed for. From random weights
# a higher rate is right: chosen on a phantom of seed 101, which no page shows (docs/results/demo.md).
PRETRAIN = recipe(
    "simclr",
    init="random",
    encoder="resnet18",
    encoder_args=ENCODER,
    image_size=48,
    max_steps=300,
    valid_every=10,
    optimizer={"lr": 6e-3},
)

CLASSIFY = ClassifyConfig(encoder="resnet18", encoder_args=ENCODER, image_size=48, fractions=(0.01, 0.1, 1.0))


def demo(out: Path, config: DemoConfig) -> Path:
    """Render, prepare, pre-train, compare with random weights, and report; started again, it goes on.

    Args:
        out: the folder for everything.
        config: seeds.

    Returns:
        The HTML page.
    """
    say("1/5 phantom: 140 made-up patients, 56 with unlabelled scans, 84 with labelled stills")
    generate(out / "phantom", dataclasses.replace(PHANTOM, seed=config.seed))
    say("2/5 prepare: DICOM and MP4 scans, and labelled PNG stills, into two stores; half of the 84 are for the test")
    prepare([out / "phantom" / "scans"], out / "scans", None, PREPARE)
    prepare([], out / "labelled", out / "phantom" / "labels.csv", PREPARE)
    say("3/5 pretrain: SimCLR on the unlabelled scans, from random weights")
    run = pretrain([out / "scans"], out / "simclr", dataclasses.replace(PRETRAIN, seed=config.seed))
    say("4/5 classify: that encoder and random weights, both frozen, on 1, 10 and 100 % of the labels")
    runs = [run]
    for mode in ("linear", "knn"):
        for name, init in (("random", "random"), ("simclr", str(run))):
            start = dataclasses.replace(CLASSIFY, mode=mode, init=init, seeds=config.seeds)
            if init != "random":
                start = dataclasses.replace(start, encoder=None, encoder_args={})
            runs.append(out / f"{mode}_{name}")
            classify(out / "labelled", runs[-1], start)
    say("5/5 report")
    results = read_runs(runs)
    page = write_report(results, out / "report.html")
    analysis = analysis_of(results.runs, results.predictions, results.planes)
    say(summary(analysis, "resnet18", "linear"))
    say(f"the page with all figures: {page}")
    return page
