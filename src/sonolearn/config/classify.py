"""Options of `classify` and `demo`."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from sonolearn.checks import at_least_one, not_negative, positive, require, require_each
from sonolearn.config.encoder import EncoderConfig, Precision

Mode = Literal["finetune", "linear", "knn"]
Solver = Literal["adamw", "logistic"]


@dataclass(frozen=True)
class ClassifyConfig(EncoderConfig):
    """Options of `sonolearn classify`: a plane classifier from few labels, measured over fractions and seeds."""

    mode: Mode = "finetune"
    """finetune: all weights; linear: a linear head on frozen features; knn: weighted nearest neighbours on them."""
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
    """Label fractions: shares of the labelled training images."""
    seeds: int = 3
    """Number of seeds; 3 means the seeds 0, 1 and 2. Each draws its own labels, head, order and views."""
    image_size: int | None = None
    """Side of the input in px; None: what the encoder was pre-trained with, else 224."""
    epochs: int = 100
    """Passes over the training images; the one with the best validation balanced accuracy is tested."""
    max_steps: int | None = None
    """Stop after so many optimiser steps, if that comes first."""
    batch_size: int = 128
    """Images in a step."""
    lr: float = 1e-3
    """Learning rate of AdamW."""
    weight_decay: float = 1e-6
    """Weight decay of AdamW."""
    dropout: float = 0.5
    """Dropout on the features before the linear layer."""
    randaugment: tuple[int, int] = (5, 5)
    """RandAugment operations and magnitude (0 to 30) of the training views of finetune; 0 operations for none."""
    standardise: bool = True
    """linear: batch norm without affine between features and head."""
    solver: Solver = "adamw"
    """linear: adamw as in the study; logistic: L2 logistic regression to its optimum, its strength chosen on the
    validation part."""
    regularisations: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    """logistic: strengths to choose from, each the lambda of (lambda / 2) times the squared norm of the weights."""
    neighbours: int = 20
    """knn: how many neighbours vote."""
    temperature: float = 0.07
    """knn: temperature of the votes (Wu et al., CVPR 2018)."""
    workers: int | None = None
    """Loader processes; None: the free cores, at most 8. Results do not depend on it."""
    precision: Precision = "auto"
    """auto takes bf16-mixed where the GPU computes it natively, else 32-true."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Kind of device."""
    name: str | None = None
    """What tables and figures call this initialisation; None: made from `init`."""
    save_classifiers: bool = False
    """finetune, linear: write each trained classifier to OUT/classifiers, for `sonolearn predict`."""

    @property
    def trained_epochs(self) -> int:
        """Most epochs of a training; 1 for what is fitted in one go."""
        at_once = self.mode == "knn" or (self.mode == "linear" and self.solver == "logistic")
        return 1 if at_once else self.epochs

    def __post_init__(self) -> None:
        require(
            len(self.fractions) > 0 and all(0 < f <= 1 for f in self.fractions),
            f"--fractions {list(self.fractions)}: give shares above 0, at most 1",
        )
        require(
            len(self.regularisations) > 0 and all(0 < strength < inf for strength in self.regularisations),
            f"--regularisations {list(self.regularisations)}: give numbers above 0",
        )
        require_each(self, at_least_one, "give at least 1", "seeds", "epochs", "max_steps", "neighbours")
        require_each(self, positive, "give more than 0", "lr", "temperature")
        require_each(self, not_negative, "give 0 or more", "weight_decay", "workers")
        require(
            self.image_size is None or self.image_size >= 16, f"--image_size {self.image_size}: give at least 16 px"
        )
        require(
            not (self.save_classifiers and self.mode == "knn"),
            "--save_classifiers: knn has no network to save; give --mode linear or finetune",
        )
        require(self.batch_size >= 2, f"--batch_size {self.batch_size}: give at least 2")
        require(0 <= self.dropout < 1, f"--dropout {self.dropout}: give 0 to below 1")
        operations, magnitude = self.randaugment
        require(
            operations >= 0 and 0 <= magnitude <= 30,
            f"--randaugment {operations} {magnitude}: give 0 or more operations and a magnitude from 0 to 30",
        )


@dataclass(frozen=True)
class DemoConfig:
    """Options of `sonolearn demo`: the whole road on the phantom."""

    seed: int = 0
    """Seed of the phantom and of the pre-training."""
    seeds: int = 3
    """Seeds of the downstream trainings."""

    def __post_init__(self) -> None:
        require_each(self, at_least_one, "give at least 1", "seeds")
