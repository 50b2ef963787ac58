"""Which training images are a label fraction: drawn by chance, or suggested as `sonolearn suggest` would."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from sonolearn.config import Draw
from sonolearn.data.splits import label_fraction
from sonolearn.data.store import Rows
from sonolearn.planes.typical import Features, suggested
from sonolearn.runs import generator_for


def drawn(
    labels: pd.DataFrame,
    planes: Sequence[str],
    fraction: float,
    seed: int,
    draw: Draw,
    features: Callable[[], Features],
) -> Rows:
    """Draw a share of the training images; one size for all ways to draw, so that they can be compared.

    `random` is stratified by class, which takes labels that nobody has who is still to label. `unstratified` is what
    chance gives without them. `suggested` looks at features and patients alone. Of the last two a class may be missing,
    which a classifier then never predicts.

    Args:
        labels: a store's labels; its training part is drawn from.
        planes: all classes.
        fraction: above 0, at most 1.
        seed: which images, or where the clusters start from.
        draw: random, unstratified or suggested.
        features: gives (n, F) of the training images, in the order of their rows in `labels`.

    Returns:
        Rows of frames.h5, ascending.

    Raises:
        UserError: a fraction out of range, or features that are not finite.
    """
    stratified = label_fraction(labels, planes, fraction, seed).rows
    train = labels[labels["split"] == "train"]
    rows = train["row"].to_numpy(np.int64)
    if draw == "random" or len(stratified) == len(rows):
        return stratified
    if draw == "unstratified":
        return np.sort(generator_for(seed, "unstratified draw").permutation(np.sort(rows))[: len(stratified)])
    chosen = suggested(features(), train["patient"].to_numpy(object), len(stratified), seed=seed)
    return np.sort(rows[chosen])
