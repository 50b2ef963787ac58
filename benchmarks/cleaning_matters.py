"""Does cleaning matter? A classifier that learns from marked stills, tested on unmarked ones.

    python benchmarks/cleaning_matters.py OUT [--phantoms 3] [--patients 40] [--stills 12] [--seeds 2]

People put other marks on other planes: a name on one, callipers on the next. Here each plane has its own kind of mark,
always at about the same place, on 90 % of its training and validation stills, and another plane's on the rest; test
stills have none. Strokes are 2 to 3 px thick on pictures 128 px high, three to four times as thick for the picture as
a machine draws them: that makes up for an input of 64 px instead of 224 px. Letters are white, the rest yellow, green
or cyan; few stills have so much colour that they pass for Doppler and are left out.

Three stores are made of the same phantom stills with `prepare`: marked stills cleaned with the defaults; marked stills
with `--cleaning.marks keep`; and, as the ceiling, stills that were never marked. On each, `classify` trains a small
encoder from random weights with all labels. After the first phantom it stops unless validation shows that the marks
were learned where they were kept. Each phantom has other patients. Prints the share of the marks' pixels that cleaning
found, the best balanced accuracy in validation, whose stills are marked as those of training are, and macro F1 on the
test stills: mean and SD of all trainings. One thread, some five minutes a phantom.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks.trials.inks import Colour, pixel
from benchmarks.trials.shapes import Fan, Place, View
from sonolearn.cleaning.clean import clean
from sonolearn.commands import classify, phantom, prepare
from sonolearn.config import CleaningConfig, PhantomConfig, PrepareConfig
from sonolearn.demo import CLASSIFY
from sonolearn.runs import machine
from sonolearn.scans.find import open_scan
from sonolearn.scans.scan import Rejected
from sonolearn_phantom.patient import Patient, generator
from sonolearn_phantom.picture import Image
from sonolearn_phantom.screen import Layout

SIZE, STORED, INPUT = 128, 72, 64
STROKE, JITTER = 3, 2  # px of the picture
WHITE, YELLOW, GREEN, CYAN = (255, 255, 255), (250, 225, 60), (130, 255, 130), (190, 255, 255)
KINDS = {
    "4CH": ("text", WHITE, -0.35, 0.2),
    "LVOT": ("callipers", YELLOW, -0.35, 0.55),
    "RVOT": ("arrow", CYAN, 0.4, 0.5),
    "3VV/3VT": ("ellipse", YELLOW, 0.0, 0.4),
    "non-heart": ("guide", GREEN, 0.1, 0.8),
}
"""Kind, colour and place (share across, -1 to 1, and share of the depth) of each plane's mark."""
OWN = 0.9
"""Share of the marked stills that have their own plane's mark."""
LEARNED = 0.1
"""By how much validation with marks kept is above that without marks, at least, if the marks were learned."""
ARMS = {
    "marked, cleaned": ("marked", CleaningConfig()),
    "marked, marks kept": ("marked", CleaningConfig(marks="keep")),
    "never marked, cleaned": ("unmarked", CleaningConfig()),
}
PARTS = ("train", "train", "train", "valid", "test")
Point = NDArray[Any]


def main() -> None:
    """Render, mark, prepare, train, print."""
    options = _options()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    found = pd.DataFrame()
    for seed in range(options.first, options.first + options.phantoms):
        found = pd.concat([found, pd.DataFrame(measured(seed, options))])
        valid = found.groupby("arm")["valid"].mean()
        if valid["marked, marks kept"] - valid["never marked, cleaned"] < LEARNED:
            raise SystemExit("the marks were not learned: the test would say nothing")
    print(f"\n{machine()['processor']}, one thread, load {os.getloadavg()[0]:.1f}; {options.phantoms} phantoms of "
          f"{options.patients} patients (3/5 train, 1/5 validate, 1/5 test) with {options.stills} stills each; "
          f"classifier seeds: {options.seeds}\n")  # fmt: skip
    print(found.drop(columns="stored").round(3).to_string(index=False), "\n")
    print("| training stills | stored | mark pixels found | validation | test F1 |\n|---|---|---|---|---|")
    for arm, rows in found.groupby("arm", sort=False):
        cells = [f"{rows[name].mean():.3f}" for name in ("stored", "hit")]
        cells += [f"{rows[name].mean():.3f} ± {rows[name].std():.3f}" for name in ("valid", "f1")]
        print(f"| {arm} | {' | '.join(cells)} |")


def measured(seed: int, options: argparse.Namespace) -> list[dict[str, object]]:
    """A row an arm and seed of the classifier, of one phantom."""
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
        prepared = PrepareConfig(size=STORED, cleaning=cleaning, patient_pattern=r"PH\d+", workers=1)
        stored = len(prepare([], out / name, tables[table], prepared)) / (options.patients * options.stills)
        trained = classify(out / name, out / f"{name}_finetune", start)
        same = {"phantom": seed, "arm": arm, "stored": stored}
        same["hit"] = marks_found(out) if arm == "marked, cleaned" else np.nan
        scores = zip(trained["valid_balanced_accuracy"], trained["macro_f1"], strict=True)
        rows += [same | {"valid": valid, "f1": f1} for valid, f1 in scores]
    return rows


def marks_found(out: Path) -> float:
    """Share of the marks' pixels that cleaning finds, over every fifth marked still that is not left out."""
    hit, drawn = 0, 0
    for still in sorted((out / "marked").glob("*.png"))[::5]:
        cleaned = clean(open_scan(still), STORED)
        try:
            next(cleaned.frames)
        except Rejected:
            continue
        marks = cleaned.examples[0].marks
        truth = cv2.absdiff(cv2.imread(str(still)), cv2.imread(str(out / "phantom" / "stills" / still.name))).any(2)
        hit, drawn = hit + (0 if marks is None else int(truth[marks > 0].sum())), drawn + int(truth.sum())
    return hit / drawn


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
    kind, colour, across, along = KINDS[shown]
    place = view(Patient.draw(config.seed, index), config.size).line(across, along)[0]
    image: Image = np.asarray(cv2.cvtColor(cv2.imread(str(still)), cv2.COLOR_BGR2RGB), np.uint8)
    draw(image, kind, place + rng.integers(-JITTER, JITTER + 1, 2), colour)
    cv2.imwrite(str(folder / still.name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return (folder / still.name).resolve()


def draw(image: Image, kind: str, at: Point, ink: Colour) -> None:
    """Draw a mark of a kind in thick strokes around a place (column and row)."""
    if kind == "text":
        cv2.putText(image, "HR", pixel(at - (13, -6)), cv2.FONT_HERSHEY_SIMPLEX, 0.55, ink, STROKE - 1)
    elif kind == "callipers":
        for end in ((-13, -9), (13, 9)):
            cv2.drawMarker(image, pixel(at + end), ink, cv2.MARKER_CROSS, 11, STROKE)
    elif kind == "arrow":
        tail = at + np.array((16, -16))
        cv2.arrowedLine(image, pixel(tail), pixel(at), ink, STROKE, tipLength=0.4)
    elif kind == "ellipse":
        angles = np.linspace(0, 2 * np.pi, 13, endpoint=False)
        _dots(image, at, np.stack([18 * np.cos(angles), 12 * np.sin(angles)], 1), ink)
    else:
        _dots(image, at, np.linspace((-32, 8), (32, -8), 12), ink)


def _dots(image: Image, at: Point, places: Point, ink: Colour) -> None:
    half = STROKE // 2
    for dot in np.round(at + places):
        cv2.rectangle(image, pixel(dot - half), pixel(dot + half), ink, -1)


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
    parser.add_argument("--first", type=int, default=0, help="seed of the first phantom")
    parser.add_argument("--phantoms", type=int, default=3)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--stills", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=300)
    return parser.parse_args()


if __name__ == "__main__":
    main()
