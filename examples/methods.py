"""All seven SSL methods and random weights on the phantom at equal steps, with a small encoder, on a CPU.

    python examples/methods.py OUT                     the tables that stand in docs/results/methods.md
    python examples/methods.py OUT --labelled STORE --scans STORE ... --only "simclr; byol"     the same on other stores

Every pre-training is repeated with other seeds; linear evaluation and nearest neighbours are repeated with other draws
of labels. Called again, it goes on where it was. `OUT/table.md` is written at the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from sonolearn.config import PhantomConfig, PrepareConfig, PretrainConfig
from sonolearn.console import say
from sonolearn.planes.classify import classify
from sonolearn.recipes import classify_recipe, recipe
from sonolearn.runs import machine
from sonolearn.ssl.encoders import ENCODER_FILE, load_encoder, save_encoder
from sonolearn.ssl.frames import training_frames
from sonolearn.ssl.pretrain import pretrain
from sonolearn.store.prepare import prepare
from sonolearn.store.store import Store
from sonolearn_phantom import generate

# Patients of unlabelled scans and of labelled stills never overlap.
PHANTOM = PhantomConfig(patients=140, labelled=80 / 140, scans=1, frames=60, stills=20, size=128, callipers=0.0)
PREPARE = PrepareConfig(size=72, frame_skip=1, patient_pattern=r"PH\d+")

# A quarter of ResNet-18's width.
ENCODER: dict[str, Any] = {
    "encoder": "resnet18",
    "encoder_args": {"channels": [16, 32, 64, 128], "stem_type": "deep", "stem_width": 8},
}
FRACTIONS = (0.01, 0.1, 1.0)
DRAWS = 3

# The study's recipes, but for heads that fit a small encoder and for learning rates that fit a short run: the papers'
# are meant for hundreds of thousands of steps. The rates are for a batch of 256.
GENTLE_CROP = {"crop_scale": (0.3, 1.0)}
LARS = {"name": "lars", "lr": 10, "lr_biases": 0.1, "lr_batch": 256, "warmup_epochs": 1}
METHODS: dict[str, dict[str, Any]] = {
    "autoencoder": {"optimizer": {"lr": 5e-3}},
    "inpainting": {"optimizer": {"lr": 2e-3}},
    "simclr": {"views": GENTLE_CROP, "optimizer": LARS},
    # From random weights and in so few steps, MoCo as in the study only tells old keys from new ones: docs/methods.md.
    "moco": {
        "views": GENTLE_CROP,
        "optimizer": {**LARS, "weight_decay": 1e-6},
        "moco": {"queue": 256, "projector": (512, 128), "projector_norm": True, "temperature": 0.2, "momentum": 0.98},
    },
    "byol": {"views": GENTLE_CROP, "optimizer": LARS, "byol": {"momentum": 0.98}},
    "barlow_twins": {"views": GENTLE_CROP, "optimizer": LARS, "barlow_twins": {"projector": (512, 512)}},
    "vicreg": {"views": GENTLE_CROP, "optimizer": {**LARS, "lr": 30}, "vicreg": {"projector": (512, 512)}},
}
# Video as video, and views made for ultrasound, against the study's pairs and views.
VARIANTS = {
    "nearby frames": {"positives": {"name": "nearby_frames"}},
    "ultrasound views": {"views": {"name": "ultrasound", **GENTLE_CROP}},
}
VARIED = ("simclr", "barlow_twins")


@dataclass(frozen=True)
class Plan:
    """What is compared: stores, sizes, and the names of what is pre-trained."""

    out: Path
    labelled: Path
    scans: list[Path]
    steps: int
    batch_size: int
    image_size: int
    seeds: int
    only: tuple[str, ...]

    @property
    def cells(self) -> list[tuple[str, int]]:
        """Name and pre-training seed of every run."""
        variants = [f"{method}, {variant}" for method in VARIED for variant in VARIANTS]
        names = [name for name in (*METHODS, *variants) if not self.only or name in self.only]
        return [(name, seed) for seed in range(self.seeds) for name in ("random", *names)]

    def folder(self, name: str, seed: int) -> Path:
        """Where a pre-training goes."""
        return self.out / f"{name.replace(', ', '_').replace(' ', '_')}_{seed}"

    def config(self, name: str, seed: int) -> PretrainConfig:
        """Configuration of a pre-training."""
        method, _, variant = name.partition(", ")
        changes = {**METHODS[method], **VARIANTS.get(variant, {})}
        return recipe(
            method,  # type: ignore[arg-type]
            None,
            **ENCODER, image_size=self.image_size, batch_size=self.batch_size, epochs=10**6, max_steps=self.steps,
            valid_every=4, log_every=20, workers=0, knn_store=self.labelled, seed=seed, **changes,
        )  # fmt: skip


def run(plan: Plan, name: str, seed: int) -> str:
    """Pre-train, then measure; every part goes on where it was."""
    folder = plan.folder(name, seed)
    if name == "random":
        save_random(plan, folder, seed)
    else:
        pretrain(plan.scans, folder, plan.config(name, seed))
    for mode in ("linear", "knn"):
        config = classify_recipe(
            "study", init=str(folder), mode=mode, fractions=FRACTIONS, seeds=DRAWS, image_size=plan.image_size,
            batch_size=64, epochs=300, max_steps=800, workers=0, name=name,
        )  # fmt: skip
        classify(plan.labelled, folder / mode, config)
    return f"{name}, seed {seed}"


def save_random(plan: Plan, folder: Path, seed: int) -> None:
    """Random weights with the normalisation of the training frames, as a pre-training starts from."""
    config = plan.config("simclr", seed)
    encoder, card = load_encoder(config, seed)
    mean, std = training_frames([Store(path) for path in plan.scans]).mean_and_deviation(seed)
    save_encoder(folder / ENCODER_FILE, encoder, dataclasses.replace(card, mean=mean, std=std))


def table(plan: Plan) -> str:
    """Macro F1 of the test part: mean over all, and SD over pre-training seeds of the mean over draws of labels."""
    names = list(dict.fromkeys(name for name, _ in plan.cells))
    columns = [f"{mode} {fraction:.0%}" for mode in ("linear", "kNN") for fraction in FRACTIONS]
    lines = [f"| start | {' | '.join(columns)} | effective rank | s / step |", "|---|" + "---|" * (len(columns) + 2)]
    for name in names:
        folders = [plan.folder(name, seed) for seed in range(plan.seeds)]
        cells = [
            _mean_and_spread([_macro_f1(folder / mode, fraction) for folder in folders])
            for mode in ("linear", "knn")
            for fraction in FRACTIONS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} | {_rank(folders)} | {_seconds(folders)} |")
    results = pd.read_csv(plan.folder("random", 0) / "linear" / "results.csv")
    images, patients = int(results["test_images"].iloc[0]), int(results["test_patients"].iloc[0])
    counts = ", ".join(
        f"{part['train_images'].iloc[0]} at {fraction:.0%} ({part['train_patients'].min()}-"
        f"{part['train_patients'].max()} patients)"
        for fraction, part in results.groupby("fraction")
    )
    about = (
        f"Macro F1 on {images} test images of {patients} patients; training images: {counts}. {plan.steps} steps of "
        f"{plan.batch_size} frames at {plan.image_size} px. Mean over {plan.seeds} pre-training seeds x {DRAWS} draws "
        f"of labels ± SD over pre-training seeds. {machine()['processor']}, one thread a run."
    )
    return "\n".join([*lines, "", about, ""])


def _macro_f1(folder: Path, fraction: float) -> float:
    results = pd.read_csv(folder / "results.csv")
    return float(results.loc[results["fraction"] == fraction, "macro_f1"].mean())


def _mean_and_spread(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def _rank(folders: list[Path]) -> str:
    found = [json.loads((f / "summary.json").read_text()) for f in folders if (f / "summary.json").exists()]
    return f"{np.mean([s['monitors']['effective_rank'] for s in found]):.1f}" if found else ""


def _seconds(folders: list[Path]) -> str:
    found = [pd.read_csv(f / "metrics.csv") for f in folders if (f / "metrics.csv").exists()]
    steps = pd.concat(found)[["data_seconds", "compute_seconds"]].dropna().sum(axis=1) if found else None
    # The lower quartile: what a step takes where little else is going on.
    return "" if steps is None else f"{steps.quantile(0.25):.2f}"


def make_stores(out: Path) -> tuple[Path, list[Path]]:
    """The phantom as stores of labelled stills and of scans."""
    generate(out / "phantom", PHANTOM)
    prepare([out / "phantom" / "scans"], out / "scans", None, PREPARE)
    prepare([], out / "labelled", out / "phantom" / "labels.csv", PREPARE)
    return out / "labelled", [out / "scans"]


def main() -> None:
    """Read the options, run what is missing, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labelled", type=Path, help="labelled store, instead of the phantom")
    parser.add_argument("--scans", type=Path, nargs="+", help="stores to pre-train on, instead of the phantom")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--image_size", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--only", default="", help="names with semicolons between them; all without it")
    options = parser.parse_args()
    stores = (options.labelled, options.scans) if options.labelled else make_stores(options.out)
    only = tuple(name.strip() for name in options.only.split(";") if name)
    plan = Plan(options.out, *stores, options.steps, options.batch_size, options.image_size, options.seeds, only)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, context, torch.set_num_threads, (1,)) as pool:
        for done in pool.map(run, *zip(*((plan, *cell) for cell in plan.cells), strict=True)):
            say(done)
    (options.out / "table.md").write_text(table(plan), encoding="utf-8")
    print(table(plan))


if __name__ == "__main__":
    main()
