"""The labelled images of a store in memory: uint8, one channel, resized once to what the encoder takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonolearn.config import ClassifyConfig
from sonolearn.console import UserError, warn
from sonolearn.ssl.features import read_images
from sonolearn.ssl.frames import training_frames
from sonolearn.store.splits import check_disjoint
from sonolearn.store.store import PARTS, Frames, Rows, Store


@dataclass(frozen=True)
class Labelled:
    """One part (train, valid or test) of the labelled images.

    Attributes:
        rows: (n,) rows of the store.
        targets: (n,) class of each, an index into the store's planes.
        patient: (n,) pseudonym of the patient of each.
    """

    rows: Rows
    targets: NDArray[np.int64]
    patient: NDArray[np.object_]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.rows)

    @property
    def patients(self) -> int:
        """Number of patients."""
        return len(set(self.patient))

    def positions(self, rows: Rows) -> NDArray[np.int64]:
        """Where each of `rows` stands in this part."""
        order = np.argsort(self.rows)
        return np.asarray(order[np.searchsorted(self.rows, rows, sorter=order)])

    @property
    def without_images(self) -> Labelled:
        """A part with nothing in it."""
        return Labelled(self.rows[:0], self.targets[:0], self.patient[:0])

    def at(self, rows: Rows) -> Labelled:
        """The part's images of these rows, in their order."""
        positions = self.positions(rows)
        return Labelled(self.rows[positions], self.targets[positions], self.patient[positions])


class LabelledImages:
    """The labelled images of a store; the pixels of a part are read, once, when they are first asked for.

    Attributes:
        labels: the store's labels.
        planes: all classes.
        parts: train, valid and test.
    """

    def __init__(self, store: Store, labels: pd.DataFrame, size: int, unlabelled: Sequence[Store] = ()) -> None:
        """Images of the store, resized to `size` px; those of `unlabelled` stores are the part "unlabelled"."""
        self.store, self.labels, self.size, self.planes, self.unlabelled = store, labels, size, store.planes, unlabelled
        self.parts = {part: labelled(store, labels[labels["split"] == part]) for part in PARTS}
        self._frames: dict[str, Frames] = {}

    def frames(self, part: str) -> Frames:
        """(n, size, size) uint8 of a part."""
        if part not in self._frames and part == "unlabelled":
            self._frames[part] = unlabelled_frames(self.unlabelled, self.store, self.size)
        elif part not in self._frames:
            self._frames[part] = read_images(self.store, self.parts[part].rows, self.size)
        return self._frames[part]

    def parts_for(self, config: ClassifyConfig) -> dict[str, Labelled]:
        """The parts; the validation part is empty unless it may choose something."""
        whole = config.valid == "whole"
        return self.parts if whole else {**self.parts, "valid": self.parts["valid"].without_images}


UNLABELLED = 5000
"""Unlabelled frames of other stores at most: their graph and features are in memory for each head that is fitted."""


def unlabelled_frames(stores: Sequence[Store], labelled: Store, size: int) -> Frames:
    """Frames of other stores, evenly spaced where there are more than `UNLABELLED`.

    Args:
        stores: at least one.
        labelled: whose patients in the validation and test parts are left out.
        size: side in px.

    Returns:
        (m, size, size) uint8.
    """
    pool = training_frames([*stores, labelled])
    pool = pool.of(pool.store_of_frame < len(stores))
    count = min(UNLABELLED, len(pool))
    pool = pool.of(np.arange(count) * len(pool) // max(1, count))
    rows = [pool.row_of_frame[pool.store_of_frame == number] for number in range(len(stores))]
    return np.concatenate([read_images(store, some, size) for store, some in zip(stores, rows, strict=True)])


def parts_used(*configs: ClassifyConfig) -> tuple[str, ...]:
    """The parts of the labels that classifiers need: without `--valid whole` no validation part."""
    return PARTS if any(config.valid == "whole" for config in configs) else ("train", "test")


def labelled(store: Store, table: pd.DataFrame) -> Labelled:
    """Rows, classes and patients of some rows of the store's label table."""
    index = {plane: i for i, plane in enumerate(store.planes)}
    return Labelled(
        # Copies: torch warns of arrays that it may not write to, as those of pandas are.
        np.array(table["row"], np.int64),
        np.array(table["plane"].map(index), np.int64),
        table["patient"].to_numpy(object),
    )


def check_labels(store: Store, parts: tuple[str, ...]) -> pd.DataFrame:
    """The label table of a store that a classifier can be trained on.

    Raises:
        UserError: there are no labels, only one plane, a part without images, or a patient in two parts.
    """
    labels = store.labels
    if labels is None or labels.empty:
        raise UserError(f"{store.path}: has no labels; make it again with `sonolearn prepare ... --labels TABLE.csv`")
    if len(store.planes) < 2:
        raise UserError(f"{store.path}: has one plane only ({store.planes[0]}); a classifier needs at least two")
    for part in parts:
        if not (labels["split"] == part).any():
            raise UserError(
                f"{store.path}: has no labelled image in its {part} part; "
                "make it again with another --split or more patients"
            )
    check_disjoint(list(labels["patient"]), list(labels["split"]))
    unlearnt = sorted(set(store.planes) - set(labels.loc[labels["split"] == "train", "plane"]))
    if unlearnt:
        warn(f"{store.path}: its training part has no image of {', '.join(unlearnt)}, which cannot be learnt then")
    return labels


def describe_store(store: Store, labels: pd.DataFrame) -> dict[str, Any]:
    """Counts for the run folder and the report: what data stand behind the figures. No path."""
    parts = {
        name: {
            "images": len(part),
            "patients": int(part["patient"].nunique()),
            "planes": {plane: int((part["plane"] == plane).sum()) for plane in store.planes},
        }
        for name, part in labels.groupby("split", sort=False)
    }
    return {
        "name": store.path.resolve().name,
        "fingerprint": store.fingerprint,
        "key_id": store.key_id,
        "frame_size": store.size,
        "patients": int(labels["patient"].nunique()),
        "machines": sorted(set(labels["machine"]) - {""}),
        "planes": list(store.planes),
        "parts": {name: parts[name] for name in PARTS if name in parts},
    }


def grey_statistics(images: Frames) -> tuple[float, float]:
    """Mean and deviation of the grey values (0 to 1) of (n, H, W) uint8 images; the deviation is at least 1/255."""
    histogram = sum((np.bincount(image.ravel(), minlength=256) for image in images), np.zeros(256, np.int64))
    values, total = np.arange(256) / 255, histogram.sum()
    mean = float((histogram * values).sum() / total)
    variance = float((histogram * (values - mean) ** 2).sum() / total)
    return mean, max(variance**0.5, 1 / 255)
