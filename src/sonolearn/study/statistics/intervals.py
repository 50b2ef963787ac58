"""A row a cell of the study: how well it did, how far that can be trusted, and on what it rests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sonolearn.planes.metrics import interval
from sonolearn.study.statistics.trainings import CELL, Trainings


@dataclass(frozen=True)
class Cell:
    """Macro F1 (0 to 1) of one encoder, initialisation, pool, mode and label fraction.

    Attributes:
        encoder: name of the backbone.
        initialisation: its name.
        pool: the pool of its pre-training; "" where it has none.
        mode: finetune, linear or knn.
        fraction: label fraction, 0 to 1.
        runs: trainings that have a result.
        units: independent ones among them: pre-trainings, or seeds where the encoder is a fixed one.
        one_pretraining: all runs share one pre-training, so that the spread over pre-trainings is unknown.
        mean: mean of the units.
        sd: SD (n - 1) over units; NaN for one.
        least: least macro F1 of a run.
        most: most.
        low: lower end of the 95 % bootstrap interval of the mean over test patients: how these very classifiers might
            do on other patients.
        high: its upper end.
        train_images: labelled images of a run.
        train_patients_least: patients behind them, in the run with the fewest.
        train_patients_most: in the run with the most.
        test_images: images in the test part.
        test_patients: patients in the test part.
    """

    encoder: str
    initialisation: str
    pool: str
    mode: str
    fraction: float
    runs: int
    units: int
    one_pretraining: bool
    mean: float
    sd: float
    least: float
    most: float
    low: float
    high: float
    train_images: int
    train_patients_least: int
    train_patients_most: int
    test_images: int
    test_patients: int


def cells(trainings: Trainings) -> list[Cell]:
    """All cells that have a run, sorted by encoder, initialisation, pool, mode and fraction."""
    return [_cell(trainings, group) for _, group in trainings.table.groupby(CELL, sort=True)]


def _cell(trainings: Trainings, group: pd.DataFrame) -> Cell:
    pretrained = bool(group["pretrain_seed"].notna().any())
    unit = group["pretrain_seed"] if pretrained else group["seed"]
    _, index, size = np.unique(unit.to_numpy(float), return_inverse=True, return_counts=True)
    values = group["macro_f1"].to_numpy(float)
    means = np.bincount(index, values) / size
    drawn = (1 / (size[index] * len(size))) @ trainings.drawn[group.index.to_numpy(np.int64)]
    patients = group["train_patients"]
    first = group.iloc[0]
    return Cell(
        first["encoder"],
        first["initialisation"],
        first["pool"],
        first["mode"],
        float(first["fraction"]),
        len(group),
        len(means),
        pretrained and len(means) == 1,
        float(means.mean()),
        float(means.std(ddof=1)) if len(means) > 1 else float("nan"),
        float(values.min()),
        float(values.max()),
        *interval(drawn),
        int(group["train_images"].max()),
        int(patients.min()),
        int(patients.max()),
        int(group["test_images"].max()),
        int(group["test_patients"].max()),
    )
