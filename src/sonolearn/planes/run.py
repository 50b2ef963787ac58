"""What all trainings of a run share: the labelled images or their features, and how a classifier is fitted on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor

from sonolearn.config import ClassifyConfig, Draw
from sonolearn.console import UserError
from sonolearn.planes.finetune import fit_finetune
from sonolearn.planes.head import Fitted, HeldOut
from sonolearn.planes.images import Labelled, labelled_parts
from sonolearn.planes.initialisation import Initialisation
from sonolearn.planes.knn import fit_knn
from sonolearn.planes.linear import Positions, fit_linear_heads
from sonolearn.planes.logistic import fit_logistic
from sonolearn.planes.typical import Features, suggested
from sonolearn.runs import generator_for
from sonolearn.ssl.features import extract, read_images
from sonolearn.store.splits import label_fraction
from sonolearn.store.store import Rows, Store


def fit_frozen(
    features: Mapping[str, Tensor],
    parts: Mapping[str, Labelled],
    trainings: Sequence[tuple[Positions, int]],
    classes: int,
    config: ClassifyConfig,
) -> list[Fitted | UserError]:
    """Fit a classifier of mode linear or knn on each subset of the training part; the test part is not looked at.

    Args:
        features: of the parts train and valid, (n, F) each.
        parts: their labels.
        trainings: of each classifier the positions of its images in the training part, and its seed.
        classes: C.
        config: mode, solver and their options; `valid` says whether the validation part may choose anything.

    Returns:
        In the order of `trainings`; of an AdamW head whose loss is not finite the error that says so.

    Raises:
        UserError: features are not finite, or a logistic head does not converge.
    """
    train, targets = features["train"], parts["train"].targets
    held_out = HeldOut(features["valid"], parts["valid"].targets) if config.valid == "whole" else None
    if config.mode == "knn":
        return [
            fit_knn(train[torch.from_numpy(own).to(train.device)], targets[own], held_out, classes, config)
            for own, _ in trainings
        ]
    if config.solver == "adamw":
        return fit_linear_heads(train, targets, trainings, held_out, classes, config)
    subsets = [own for own, _ in trainings]
    return [*fit_logistic(train, targets, parts["train"].patient, subsets, held_out, classes, config)]


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


Head = tuple[bytes, int]
"""What tells linear heads of an encoder apart: the positions of their images in the training part, and the seed."""


class Material:
    """The three parts of the labelled images, as a mode takes them: uint8 images, or features of the frozen encoder.

    Attributes:
        parts: train, valid and test labels.
        epochs: most epochs of a training.
    """

    def __init__(self, store: Store, labels: pd.DataFrame, initialisation: Initialisation, fabric: Fabric) -> None:
        """Read all labelled images into memory; they are few."""
        self.initialisation, self.config, self.fabric = initialisation, initialisation.config, fabric
        self.planes, self.classes = store.planes, len(store.planes)
        self._train_labels = labels[labels["split"] == "train"]
        self.parts = labelled_parts(store, labels, self.config)
        self.epochs = self.config.trained_epochs
        self._images = {p: read_images(store, part.rows, initialisation.image_size) for p, part in self.parts.items()}
        self._features: dict[str, Tensor] = {}
        self._features_of: int | None = None
        self._subsets: dict[tuple[float, int], Labelled] = {}
        self._heads: dict[Head, Fitted | UserError] = {}

    def subset(self, fraction: float, seed: int) -> Labelled:
        """The labelled training images of a fraction and a seed, as `config.draw` says."""
        if (fraction, seed) not in self._subsets:
            draw = self.config.draw
            rows = drawn(self._train_labels, self.planes, fraction, seed, draw, lambda: self._train_features(seed))
            self._subsets[fraction, seed] = self.parts["train"].at(rows)
        return self._subsets[fraction, seed]

    def fit(self, subset: Labelled, seed: int, on_epoch: Callable[[], None]) -> Fitted:
        """Fit on a subset of the training part; the test part is out of reach of what is called here.

        Args:
            subset: the labelled images in use.
            seed: of encoder, head, order, views and dropout.
            on_epoch: called after every epoch.

        Raises:
            UserError: fewer than two images, a loss or features that are not finite, or no convergence.
        """
        if len(subset) < 2:
            raise UserError(f"{len(subset)} training image is too few; give a larger fraction in --fractions")
        positions = self.parts["train"].positions(subset.rows)
        if self.config.mode == "finetune":
            encoder, card = self.initialisation.load(seed)
            train = (self._images["train"][positions], subset)
            valid = None
            if self.config.valid == "whole":
                valid = HeldOut(torch.from_numpy(self._images["valid"]), self.parts["valid"].targets)
            return fit_finetune(encoder, card, train, valid, self.classes, self.config, seed, self.fabric, on_epoch)
        fitted = self._frozen(positions, seed)
        for _ in range(max(1, len(fitted.history))):
            on_epoch()
        return fitted

    def inputs(self, part: str, seed: int) -> Tensor:
        """What a fitted classifier predicts from: (n, H, W) uint8 images, or (n, F) features."""
        if self.config.mode == "finetune":
            return torch.from_numpy(self._images[part])
        return self._features_for(seed)[part]

    def _frozen(self, positions: Positions, seed: int) -> Fitted:
        """The classifier of a subset and a seed. The first that is asked for comes with all others of the run.

        Linear heads that an earlier process has written are fitted again, too: they cost little, and which are fitted
        together may show in a last digit, where an interruption must not show.
        """
        features, head = self._features_for(seed), (positions.tobytes(), seed)
        if not self._heads:
            with suppress(UserError):  # of any of them; those concerned meet it again, alone
                self._heads = self._fit(self._heads_of_run(seed), features)
        if head not in self._heads:
            self._heads |= self._fit({head: positions}, features)
        fitted = self._heads[head]
        if isinstance(fitted, UserError):
            raise fitted
        return fitted

    def _heads_of_run(self, seed: int) -> dict[Head, Positions]:
        """All heads on the features for a seed, and where in the training part their images are."""
        seeds = [seed] if self.initialisation.varies else range(self.config.seeds)
        units = [(seed, fraction) for seed in seeds for fraction in dict.fromkeys(self.config.fractions)]
        subsets = [self.parts["train"].positions(self.subset(fraction, seed).rows) for seed, fraction in units]
        pairs = zip(subsets, units, strict=True)
        return {(positions.tobytes(), seed): positions for positions, (seed, _) in pairs if len(positions) >= 2}

    def _fit(self, heads: Mapping[Head, Positions], features: Mapping[str, Tensor]) -> dict[Head, Fitted | UserError]:
        trainings = [(positions, seed) for (_, seed), positions in heads.items()]
        return dict(zip(heads, fit_frozen(features, self.parts, trainings, self.classes, self.config), strict=True))

    def _train_features(self, seed: int) -> Features:
        """(n, F) features of the training images, by which they may be suggested."""
        return np.asarray(self._features_for(seed)["train"].cpu().numpy(), np.float32)

    def _features_for(self, seed: int) -> dict[str, Tensor]:
        """Features of the parts, once for each encoder: random encoders differ between seeds, others do not.

        Fine-tuning has use for those of the training images alone, to choose among them.
        """
        wanted = seed if self.initialisation.varies else 0
        if self._features_of != wanted:
            encoder, card = self.initialisation.load(wanted)
            used = ("train",) if self.config.mode == "finetune" else tuple(self._images)
            images = {part: self._images[part] for part in used if len(self._images[part])}
            self._features = {part: extract(encoder, card, of_part, self.fabric) for part, of_part in images.items()}
            self._features_of, self._heads = wanted, {}
        return self._features
