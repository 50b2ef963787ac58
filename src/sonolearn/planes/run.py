"""How a plane classifier is fitted: one table of fits, and the trainings that start from the same weights.

`sonolearn classify` and the tasks of a study draw their labels and fit their classifiers here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sonolearn.config import Draw
from sonolearn.config.classify import Mode, Solver
from sonolearn.console import UserError
from sonolearn.planes.finetune import fit_finetune
from sonolearn.planes.head import Fitted, HeldOut
from sonolearn.planes.images import Labelled, LabelledImages
from sonolearn.planes.initialisation import Initialisation
from sonolearn.planes.knn import fit_knn
from sonolearn.planes.linear import Positions, fit_linear_heads
from sonolearn.planes.logistic import fit_logistic
from sonolearn.planes.results import Unit
from sonolearn.planes.typical import Features, suggested
from sonolearn.runs import generator_for
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.features import extract
from sonolearn.store.splits import label_fraction
from sonolearn.store.store import Rows

OnEpoch = Callable[[], None]


class Trainer:
    """Fits classifiers that start from the same weights, by mode and solver; the test part is out of a fit's reach.

    Attributes:
        config: mode, solver and their options.
        parts: train, valid and test labels; valid is empty unless it may choose something.
        classes: C.
        fabric: device and precision.
    """

    def __init__(
        self,
        images: LabelledImages,
        initialisation: Initialisation,
        weights: int,
        units: Sequence[Unit],
        features: dict[str, Tensor] | None = None,
    ) -> None:
        """Nothing is read or computed before it is asked for.

        Args:
            images: of the labelled store.
            initialisation: what to start from, and the configuration.
            weights: seed of random weights; others do not depend on it.
            units: all that will be fitted. Heads on frozen features are fitted in one call, which is faster, and an
                interruption must not change which are: they may differ in the last digit from those fitted alone.
            features: (n, F) of the parts by the frozen encoder; trainers of the same encoder may share them.
        """
        self.images, self.initialisation, self.weights, self.units = images, initialisation, weights, units
        self.config, self.classes = initialisation.config, len(images.planes)
        self.parts = images.parts_for(self.config)
        self.fabric = make_fabric(self.config.accelerator, self.config.precision)
        self._features = {} if features is None else features
        self._subsets: dict[Unit, Labelled] = {}
        self._heads: dict[Unit, Fitted | UserError] = {}

    def subset(self, unit: Unit) -> Labelled:
        """The labelled training images of a fraction and a seed, as `config.draw` says."""
        if unit not in self._subsets:
            labels, planes, draw = self.images.labels, self.images.planes, self.config.draw
            rows = drawn(labels, planes, unit.fraction, unit.seed, draw, lambda: self.features["train"].cpu().numpy())
            self._subsets[unit] = self.parts["train"].at(rows)
        return self._subsets[unit]

    def positions(self, unit: Unit) -> Positions:
        """Where the images of `subset` are in the training part."""
        return self.parts["train"].positions(self.subset(unit).rows)

    def fit(self, unit: Unit, on_epoch: OnEpoch = lambda: None) -> Fitted:
        """Fit the classifier of a unit; the first head on frozen features comes with those of all `units`.

        Args:
            unit: its seed is that of head, order, views and dropout.
            on_epoch: called after every epoch, at least once.

        Raises:
            UserError: fewer than two images, a loss or features that are not finite, or no convergence.
        """
        if (images := len(self.subset(unit))) < 2:
            raise UserError(f"{images} training image is too few; give a larger fraction in --fractions")
        if self.config.mode == "finetune":  # its networks are large: each is gone before the next one is trained
            (fitted,) = self._fit([unit], on_epoch)
            assert isinstance(fitted, Fitted)
            return fitted
        if not self._heads:
            with suppress(UserError):  # of any of them; those concerned meet it again, alone
                units = [other for other in self.units if len(self.subset(other)) >= 2]
                self._heads = dict(zip(units, self._fit(units), strict=True))
        if unit not in self._heads:
            (self._heads[unit],) = self._fit([unit])
        fitted = self._heads[unit]
        if isinstance(fitted, UserError):
            raise fitted
        for _ in range(max(1, len(fitted.history))):
            on_epoch()
        return fitted

    def inputs(self, part: str) -> Tensor:
        """What a classifier learns and predicts from: (n, H, W) uint8 images, or (n, F) features."""
        if self.config.mode == "finetune":
            return torch.from_numpy(self.images.frames(part))
        return self.features[part]

    @property
    def held_out(self) -> HeldOut | None:
        """The validation part where it may choose."""
        whole = self.config.valid == "whole"
        return HeldOut(self.inputs("valid"), self.parts["valid"].targets) if whole else None

    @property
    def features(self) -> dict[str, Tensor]:
        """(n, F) of each part in use by the frozen encoder; fine-tuning has use for the training part's, to choose."""
        used = ["train"] if self.config.mode == "finetune" else [p for p, part in self.parts.items() if len(part)]
        used += ["unlabelled"] if self.images.unlabelled else []
        if missing := [part for part in used if part not in self._features]:
            encoder, card = self.initialisation.load(self.weights)
            images = {part: self.images.frames(part) for part in missing}
            self._features |= {part: extract(encoder, card, some, self.fabric) for part, some in images.items()}
        return self._features

    def _fit(self, units: Sequence[Unit], on_epoch: OnEpoch = lambda: None) -> Sequence[Fitted | UserError]:
        solver = self.config.solver if self.config.mode == "linear" else None
        return FITS[self.config.mode, solver](self, units, on_epoch)


def _finetune(trainer: Trainer, units: Sequence[Unit], on_epoch: OnEpoch) -> Sequence[Fitted]:
    fitted = []
    for unit in units:
        encoder, card = trainer.initialisation.load(trainer.weights)
        train = trainer.images.frames("train")[trainer.positions(unit)], trainer.subset(unit)
        others = trainer.held_out, trainer.classes, trainer.config
        unlabelled = _unlabelled(trainer, unit)
        fitted.append(fit_finetune(encoder, card, train, *others, unit.seed, trainer.fabric, on_epoch, unlabelled))
    return fitted


def _unlabelled(trainer: Trainer, unit: Unit) -> Tensor | None:
    """(m, F) features of the unlabelled images that the head of a unit starts from; the rest of the training part."""
    own = trainer.positions(unit)
    others = np.setdiff1d(np.arange(len(trainer.parts["train"])), own)
    if not trainer.config.learns_unlabelled or not (len(others) or trainer.images.unlabelled):
        return None
    rest = [trainer.features["train"][torch.from_numpy(others)]]
    return torch.cat([*rest, trainer.features["unlabelled"]] if trainer.images.unlabelled else rest)


def _logistic(trainer: Trainer, units: Sequence[Unit], _: OnEpoch) -> Sequence[Fitted]:
    features, train = trainer.inputs("train"), trainer.parts["train"]
    if trainer.images.unlabelled:  # behind the training images, in no subset
        features = torch.cat([features, trainer.features["unlabelled"]])
    subsets = [trainer.positions(unit) for unit in units]
    others = trainer.held_out, trainer.classes, trainer.config
    return fit_logistic(features, train.targets, train.patient, subsets, *others)


def _adamw(trainer: Trainer, units: Sequence[Unit], _: OnEpoch) -> Sequence[Fitted | UserError]:
    features, train = trainer.inputs("train"), trainer.parts["train"]
    trainings = [(trainer.positions(unit), unit.seed) for unit in units]
    return fit_linear_heads(features, train.targets, trainings, trainer.held_out, trainer.classes, trainer.config)


def _knn(trainer: Trainer, units: Sequence[Unit], _: OnEpoch) -> Sequence[Fitted]:
    features, others = trainer.inputs("train"), (trainer.held_out, trainer.classes, trainer.config)
    own = [torch.from_numpy(trainer.positions(unit)).to(features.device) for unit in units]
    return [fit_knn(features[o], trainer.subset(u).targets, *others) for o, u in zip(own, units, strict=True)]


FITS: dict[tuple[Mode, Solver | None], Callable[[Trainer, Sequence[Unit], OnEpoch], Sequence[Fitted | UserError]]] = {
    ("finetune", None): _finetune,
    ("linear", "logistic"): _logistic,
    ("linear", "adamw"): _adamw,
    ("knn", None): _knn,
}
"""By mode, and solver where there is one, what fits the classifiers of units."""


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
