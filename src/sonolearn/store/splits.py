"""Parts of the labelled data that never share a patient, and label fractions of the training part.

Nothing here depends on the pseudonyms, which differ from one project's key to another's: patients count in the order of
their images. A store's order is that of the file names, so that whoever shuffles a CSV gets the same split, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.config.base import require
from sonolearn.console import UserError
from sonolearn.runs import generator_for
from sonolearn.store.store import PARTS, Rows


@dataclass(frozen=True)
class Subset:
    """Some labelled frames, and what one should know about them."""

    rows: Rows
    """(n,) rows of frames.h5, ascending."""
    images: int
    patients: int
    """From how many patients they come: 1 % of the labels may come from a handful."""
    per_plane: Mapping[str, int]
    """Images of each class, 0 included."""


def split_patients(
    patients: Sequence[str], planes: Sequence[str], shares: Sequence[float], seed: int
) -> tuple[NDArray[np.object_], list[str]]:
    """Split images into train, valid and test so that no patient is in two, classes as evenly as patients allow.

    Iterative stratification (Sechidis et al., ECML 2011) over patients: the rarest class is served first, and each of
    its patients goes to the part that lacks most of it.

    Args:
        patients: (n,) patient of each image.
        planes: (n,) class of each image.
        shares: of train, valid and test; a part with share 0 stays empty.
        seed: which of the equally good splits, together with the order in which the patients first appear.

    Returns:
        (n,) "train", "valid" or "test" for each image; and one sentence for each class that a part lacks.
    """
    counts = pd.crosstab(pd.Series(list(patients), name="patient"), pd.Series(list(planes), name="plane"))
    counts = counts.loc[list(dict.fromkeys(patients))]
    images = counts.to_numpy(dtype=np.float64)
    part_of_patient = _assign(
        images, np.asarray(shares, np.float64), generator_for(seed, "split").permutation(len(images))
    )
    names = dict(zip(counts.index, (PARTS[p] for p in part_of_patient), strict=True))
    lacking = [
        f"the {part} part has no image of {plane}: too few patients show it"
        for p, part in enumerate(PARTS)
        for column, plane in enumerate(counts.columns)
        if shares[p] > 0 and images[part_of_patient == p, column].sum() == 0
    ]
    return np.array([names[patient] for patient in patients], dtype=object), lacking


def _assign(images: NDArray[np.float64], shares: NDArray[np.float64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Part of each patient, from (patients, planes) counts of images; `order` settles ties."""
    part = np.full(len(images), -1)
    wanted = shares[:, None] * images.sum(axis=0)
    left = set(range(len(images)))
    while left:
        waiting = [p for p in order if p in left]
        remaining = images[waiting].sum(axis=0)
        plane = int(np.where(remaining > 0, remaining, np.inf).argmin())
        patient = max(waiting, key=lambda p: images[p, plane])
        empty = [s for s in range(len(shares)) if shares[s] > 0 and not (part == s).any()]
        # Every part gets a patient as long as there are enough of them.
        open_parts = empty if len(empty) >= len(left) else [s for s in range(len(shares)) if shares[s] > 0]
        part[patient] = max(
            open_parts, key=lambda s: (round(wanted[s, plane], 6), s in empty, round(wanted[s].sum(), 6), -s)
        )
        wanted[part[patient]] -= images[patient]
        left.remove(patient)
    return part


def check_disjoint(patients: Sequence[str], splits: Sequence[str]) -> None:
    """Refuse a split in which a patient is in two parts.

    Raises:
        UserError: naming the pseudonyms of the first such patients.
    """
    parts = (
        pd.DataFrame({"patient": list(patients), "split": list(splits)})
        .groupby("patient")["split"]
        .agg(lambda s: sorted(set(s)))
    )
    shared = parts[parts.map(len) > 1]
    if len(shared):
        named = ", ".join(f"{patient} ({' and '.join(found)})" for patient, found in shared.head(3).items())
        raise UserError(
            f"{len(shared)} patients are in more than one part of the split: {named}; put each into one part"
        )


def label_fraction(labels: pd.DataFrame, planes: Sequence[str], fraction: float, seed: int) -> Subset:
    """Draw a share of the training images, stratified by class, at least one of each class.

    For one seed, smaller fractions are within larger ones: what changes is only how many labels there are. 1.0 is the
    whole training part.

    Args:
        labels: a store's labels.
        planes: all classes.
        fraction: above 0, at most 1.
        seed: which images.
    """
    require(0 < fraction <= 1, f"label fraction {fraction}: give a share above 0, at most 1")
    train = labels[labels["split"] == "train"]
    drawn: list[NDArray[np.int64]] = []
    for plane in planes:
        rows = np.sort(train.loc[train["plane"] == plane, "row"].to_numpy(dtype=np.int64))
        count = min(len(rows), max(1, round(fraction * len(rows))))
        drawn.append(generator_for(seed, "label fraction", plane).permutation(rows)[:count])
    return subset(labels, planes, np.sort(np.concatenate(drawn)) if drawn else np.empty(0, np.int64))


def subset(labels: pd.DataFrame, planes: Sequence[str], rows: Rows) -> Subset:
    """Describe labelled frames by their rows."""
    chosen = labels[labels["row"].isin(rows)]
    per_plane = chosen["plane"].value_counts()
    return Subset(rows, len(rows), int(chosen["patient"].nunique()), {p: int(per_plane.get(p, 0)) for p in planes})
