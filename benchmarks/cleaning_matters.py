"""Does cleaning matter? A classifier that learns from marked stills, tested on unmarked ones.

    python benchmarks/cleaning_matters.py OUT [--phantoms 3] [--patients 40] [--stills 10] [--seeds 2]

People put other marks on other planes: a name on one, callipers on the next. Here each plane has its own mark, always
at about the same place, on 90 % of its training and validation stills, and another plane's on the rest; test stills
have none. Three stores are made of the same phantom stills with `prepare`: marked stills cleaned with the defaults;
marked stills with `--cleaning.marks keep`; and, as the ceiling, stills that were never marked. On each, `classify`
trains a small encoder from random weights with all labels. Prints the best balanced accuracy in validation, whose
stills are marked as those of training are, and macro F1 on the test stills: mean over phantoms and SD between them.
Each phantom has other patients, and its figure is the mean of the classifier's seeds. One thread, some ten minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from sonolearn.commands import classify, phantom, prepare
from sonolearn.config import CleaningConfig, PhantomConfig, PrepareConfig
from sonolearn.data.phantom.patient import Patient, generator
from sonolearn.data.phantom.picture import Image
from sonolearn.data.phantom.screen import Layout
from sonolearn.data.phantom.trials.inks import drawn
from sonolearn.data.phantom.trials.overlays import OVERLAYS
from sonolearn.data.phantom.trials.shapes import Fan, Place, View
from sonolearn.demo import CLASSIFY
from sonolearn.runs import machine

SIZE = 128
INPUT = 64
KINDS = {"4CH": "text", "LVOT": "callipers", "RVOT": "arrow", "3VV/3VT": "guide", "non-heart": "ellipse"}
"""The kind of mark of each plane."""
OWN = 0.9
"""Share of the marked stills that have their own plane's mark."""
ARMS = {
    "marked, cleaned": ("marked", CleaningConfig()),
    "marked, marks kept": ("marked", CleaningConfig(marks="keep")),
    "never marked, cleaned": ("unmarked", CleaningConfig()),
}
MODES = ("linear", "finetune")
PARTS = ("train", "train", "train", "valid", "test")


def main() -> None:
    """Render, mark, prepare, train, print."""
    options = _options()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    found = pd.DataFrame([row for seed in range(options.phantoms) for row in measured(seed, options)])
    print(f"\n{machine()['processor']}, one thread, load {os.getloadavg()[0]:.1f}; {options.phantoms} phantoms of "
          f"{options.patients} patients (3/5 train, 1/5 validate, 1/5 test) with {options.stills} stills each; "
          f"{options.seeds} seeds of the classifier\n")  # fmt: skip
    print(
        "| training stills | stored | " + " | ".join(f"{mode}, validation | {mode}, test F1" for mode in MODES) + " |"
    )
    print("|---|---|" + "---|---|" * len(MODES))
    for arm, rows in found.groupby("arm", sort=False):
        scores = [rows[rows["mode"] == mode][name] for mode in MODES for name in ("valid", "f1")]
        cells = " | ".join(f"{score.mean():.3f} ± {score.std():.3f}" for score in scores)
        print(f"| {arm} | {rows['stored'].mean():.3f} | {cells} |")


def measured(seed: int, options: argparse.Namespace) -> list[dict[str, object]]:
    """A row an arm and mode, of one phantom."""
    out = options.out / f"phantom{seed}"
    config = PhantomConfig(
        patients=options.patients, labelled=1, stills=options.stills, size=SIZE, callipers=0, workers=1, seed=seed
    )
    phantom(out / "phantom", config)
    tables = write_tables(out, config)
    start = dataclasses.replace(
        CLASSIFY, fractions=(1.0,), seeds=options.seeds, max_steps=options.steps, image_size=INPUT, workers=0
    )
    rows: list[dict[str, object]] = []
    for arm, (table, cleaning) in ARMS.items():
        name = arm.replace(", ", "_").replace(" ", "_")
        prepared = PrepareConfig(size=72, cleaning=cleaning, patient_pattern=r"PH\d+", workers=1)
        stored = len(prepare([], out / name, tables[table], prepared)) / (options.patients * options.stills)
        for mode in MODES:
            trained = classify(out / name, out / f"{name}_{mode}", dataclasses.replace(start, mode=mode))
            valid, test = trained["valid_balanced_accuracy"].mean(), trained["macro_f1"].mean()
            rows.append({"arm": arm, "mode": mode, "valid": valid, "f1": test, "stored": stored})
            print(f"phantom {seed}, {arm}, {mode}: validation {valid:.3f}, test {test:.3f}", flush=True)
    return rows


def write_tables(out: Path, config: PhantomConfig) -> dict[str, Path]:
    """Label tables of the stills, marked in training and validation, and never; parts are by patient."""
    labels = pd.read_csv(out / "phantom" / "labels.csv")
    patients = sorted(labels["patient"].unique())
    order = generator(config.seed, 0, 90).permutation(len(patients))
    parts = {patients[who]: PARTS[len(PARTS) * rank // len(patients)] for rank, who in enumerate(order)}
    labels["split"] = labels["patient"].map(parts)
    bare = [str((out / "phantom" / image).resolve()) for image in labels["image"]]
    (out / "marked").mkdir(exist_ok=True)
    marked = [
        path if part == "test" else str(mark(Path(path), plane, patient, out / "marked", config))
        for path, plane, patient, part in zip(bare, labels["plane"], labels["patient"], labels["split"], strict=True)
    ]
    for name, images in (("marked", marked), ("unmarked", bare)):
        labels.assign(image=images).to_csv(out / f"{name}.csv", index=False)
    return {name: out / f"{name}.csv" for name in ("marked", "unmarked")}


def mark(still: Path, plane: str, patient: str, folder: Path, config: PhantomConfig) -> Path:
    """Draw a mark on a copy of a still: mostly that of its plane."""
    index, number = int(patient.removeprefix("PH")) - 1, int(still.stem.split("_")[1])
    rng, planes = generator(config.seed, index, 91, number), list(KINDS)
    shown = plane if rng.random() < OWN else str(rng.choice([name for name in planes if name != plane]))
    habit = generator(config.seed, planes.index(shown), 92)
    image: Image = np.asarray(cv2.cvtColor(cv2.imread(str(still)), cv2.COLOR_BGR2RGB), np.uint8)
    pen = OVERLAYS[KINDS[shown]][0](view(Patient.draw(config.seed, index), config.size), 1, habit)
    drawn(image, [pen], 0)
    cv2.imwrite(str(folder / still.name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return (folder / still.name).resolve()


def view(patient: Patient, size: int) -> View:
    """Where the picture of a patient's stills is on the screen, as trial scans want it."""
    layout = Layout.of(patient, size)
    (row, column), probe = layout.views[0], layout.probe
    across, down = probe.face
    window = (row, row + probe.height, column, column + probe.width)
    place = Place(layout.height, layout.width, window, 1 / probe.pixel, (column + across, row + down))
    return View(Fan(probe.radius, probe.field_of_view / 2, probe.depth), place)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--phantoms", type=int, default=3)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--stills", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    return parser.parse_args()


if __name__ == "__main__":
    main()
