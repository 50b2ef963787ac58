"""What all trainings of a run share: the labelled images or their features, and how a classifier is fitted on them."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import Tensor

from sonolearn.console import UserError
from sonolearn.data.store import PARTS, Store
from sonolearn.planes.finetune import fit_finetune
from sonolearn.planes.head import Fitted
from sonolearn.planes.images import Labelled, labelled
from sonolearn.planes.initialisation import Initialisation
from sonolearn.planes.knn import fit_knn
from sonolearn.planes.linear import fit_linear
from sonolearn.planes.logistic import fit_logistic
from sonolearn.ssl.features import extract, read_images


class Material:
    """The three parts of the labelled images, as a mode takes them: uint8 images, or features of the frozen encoder.

    Attributes:
        parts: train, valid and test labels.
        epochs: most epochs of a training.
    """

    def __init__(self, store: Store, labels: pd.DataFrame, initialisation: Initialisation, fabric: Fabric) -> None:
        """Read all labelled images into memory; they are few."""
        self.initialisation, self.config, self.fabric = initialisation, initialisation.config, fabric
        self.classes = len(store.planes)
        self.parts = {part: labelled(store, labels[labels["split"] == part]) for part in PARTS}
        self.epochs = self.config.trained_epochs
        self._images = {p: read_images(store, part.rows, initialisation.image_size) for p, part in self.parts.items()}
        self._features: dict[str, Tensor] = {}
        self._features_of: int | None = None

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
        truth, valid = subset.targets, self.parts["valid"]
        if self.config.mode == "finetune":
            encoder, _ = self.initialisation.load(seed)
            train = (self._images["train"][positions], subset)
            held_out = (self._images["valid"], valid)
            return fit_finetune(encoder, train, held_out, self.classes, self.config, seed, self.fabric, on_epoch)
        features = self._features_for(seed)
        inputs = features["train"][torch.from_numpy(positions).to(features["train"].device)], truth
        held = features["valid"], valid.targets
        if self.config.mode == "linear" and self.config.solver == "adamw":
            return fit_linear(*inputs, *held, self.classes, self.config, seed, on_epoch)
        on_epoch()
        if self.config.mode == "linear":
            return fit_logistic(*inputs, *held, self.classes, self.config)
        return fit_knn(*inputs, *held, self.classes, self.config)

    def inputs(self, part: str, seed: int) -> Tensor:
        """What a fitted classifier predicts from: (n, H, W) uint8 images, or (n, F) features."""
        if self.config.mode == "finetune":
            return torch.from_numpy(self._images[part])
        return self._features_for(seed)[part]

    def _features_for(self, seed: int) -> dict[str, Tensor]:
        """Features of all parts, once for each encoder: random encoders differ between seeds, others do not."""
        wanted = seed if self.initialisation.varies else 0
        if self._features_of != wanted:
            encoder, card = self.initialisation.load(wanted)
            self._features = {p: extract(encoder, card, images, self.fabric) for p, images in self._images.items()}
            self._features_of = wanted
        return self._features
