"""How good predictions are: macro F1, balanced accuracy, accuracy, per-class figures, and intervals over patients.

Classes are indices into the store's planes, whose order is fixed. Macro F1 and balanced accuracy average over the
classes that occur in the truth (scikit-learn with `labels` = the classes of the truth): a class that a part lacks can
be neither found nor missed there, and predicting it nevertheless costs the recall of the class that it was taken for.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support, recall_score

Classes = NDArray[np.int64]
Floats = NDArray[np.float64]

SCORES = ("macro_f1", "balanced_accuracy", "accuracy")


def scores(truth: Classes, predicted: Classes) -> dict[str, float]:
    """The three figures of the study.

    Args:
        truth: (n,) class of each image, n >= 1.
        predicted: (n,) predicted class of each.

    Returns:
        macro_f1, balanced_accuracy and accuracy, each in 0 to 1.
    """
    present = np.unique(truth)
    return {
        "macro_f1": float(f1_score(truth, predicted, labels=present, average="macro", zero_division=0)),
        "balanced_accuracy": balanced_accuracy(truth, predicted),
        "accuracy": float(accuracy_score(truth, predicted)),
    }


def balanced_accuracy(truth: Classes, predicted: Classes) -> float:
    """Mean recall of the classes in the truth, in 0 to 1; what the best epoch is chosen by."""
    return float(recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0))


def per_class(truth: Classes, predicted: Classes, planes: tuple[str, ...]) -> pd.DataFrame:
    """Precision, recall and F1 of every plane of the store.

    Returns:
        A row a plane, in the store's order: plane, precision, recall, f1 (0 to 1; NaN where the truth lacks the
        plane), support (its images in the truth).
    """
    figures = precision_recall_fscore_support(truth, predicted, labels=range(len(planes)), zero_division=0)
    table = pd.DataFrame(dict(zip(("precision", "recall", "f1", "support"), figures, strict=True)))
    table.loc[table["support"] == 0, ["precision", "recall", "f1"]] = np.nan
    table.insert(0, "plane", list(planes))
    return table


def confusion(truth: Classes, predicted: Classes, classes: int) -> NDArray[np.int64]:
    """(C, C) counts of images, rows the truth, columns the prediction, all classes in the store's order."""
    return np.asarray(confusion_matrix(truth, predicted, labels=range(classes)), dtype=np.int64)


def confusion_of_patients(truth: Classes, predicted: Classes, patient: NDArray[np.object_], classes: int) -> Floats:
    """(P, C, C) confusion matrix of each patient, in the order of their images: pseudonyms differ between keys."""
    index, names = pd.factorize(patient)
    counts = np.zeros((len(names), classes, classes))
    np.add.at(counts, (index, truth, predicted), 1)
    return counts


def macro_f1_of(confusions: Floats) -> Floats:
    """Macro F1 of (..., C, C) confusion matrices, over the classes in the truth; NaN where a matrix is empty."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    truth, predicted = confusions.sum(-1), confusions.sum(-2)
    f1 = 2 * hits / np.maximum(truth + predicted, 1)
    present = truth > 0
    with np.errstate(invalid="ignore"):
        return np.asarray((f1 * present).sum(-1) / present.sum(-1))


def bootstrap_macro_f1(confusions: Floats, seed: int, draws: int = 2000) -> Floats:
    """Macro F1, mean over trainings, of test parts redrawn by patient.

    Images of a patient resemble each other, so an interval over images would be too narrow: whole patients are drawn
    with replacement (Efron & Tibshirani 1993), the same ones for all trainings.

    Args:
        confusions: (T, P, C, C) confusion matrix of each of T trainings (seeds) and P patients.
        seed: of the draws; equal seeds and P give equal draws, so that two results can be compared draw by draw.
        draws: how many test parts are drawn.

    Returns:
        (draws,) macro F1, 0 to 1.
    """
    trainings, patients, classes, _ = confusions.shape
    times = np.random.default_rng(seed).multinomial(patients, np.full(patients, 1 / patients), size=draws)
    drawn = np.einsum("dp,tpx->dtx", times, confusions.reshape(trainings, patients, -1), optimize=True)
    return np.asarray(macro_f1_of(drawn.reshape(draws, trainings, classes, classes)).mean(1))


def interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval that holds the middle `level` (0 to 1) of `values`."""
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
