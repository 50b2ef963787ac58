"""Options of `classify` and `demo`."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Literal

from sonolearn.config.base import (
    EncoderConfig,
    Precision,
    at_least_one,
    not_negative,
    positive,
    require,
    require_each,
    share,
)
from sonolearn.config.data import CleaningConfig
from sonolearn.config.views import ViewsConfig

Mode = Literal["finetune", "linear", "knn"]
Solver = Literal["logistic", "adamw"]
Standardise = Literal["shared", "each", "none"]
ClassifyRecipe = Literal["adapt", "study"]
SpreadLabels = Literal["few", "always", "never"]
Draw = Literal["random", "unstratified", "suggested"]

GENTLE_VIEWS: dict[str, Any] = {
    "name": "gentle", "crop_scale": (0.7, 1.0), "crop_ratio": (0.9, 1.1), "rotation": 10.0, "jitter": 0.8,
    "brightness": 0.2, "contrast": 0.2, "blur": (0.0, 0.0), "solarize": (0.0, 0.0),
}  # fmt: skip
"""Views that leave a plane the plane that it is."""


@dataclass(frozen=True)
class ClassifyConfig(EncoderConfig):
    """Options of `sonolearn classify`: a plane classifier from few labels, measured over fractions and seeds."""

    recipe: ClassifyRecipe = "adapt"
    """adapt: settings for few labels, the defaults below; study: the study's protocol to the letter."""
    mode: Mode = "finetune"
    """finetune: all weights; linear: a linear head on frozen features; knn: weighted nearest neighbours on them."""
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
    """Label fractions: shares of the labelled training images."""
    seeds: int = 3
    """Number of seeds; 3 means the seeds 0, 1 and 2. Each draws its own labels, head, order and views."""
    draw: Draw = "random"
    """Which images of the training part are a label fraction. random: by chance, the share of each plane, for which
    all labels must be known; unstratified: by chance; suggested: those that `suggest` would name by the features of the
    initialisation, without a look at any label. A plane may be missing from the last two."""
    valid: Literal["within", "whole"] = "within"
    """What chooses where something is chosen. within: patients of the label fraction itself, so that no other label is
    used; whole: the validation part, as in the study, whose labelled images then count as used."""
    image_size: int | None = None
    """Side of the input in px; None: what the encoder was pre-trained with, else 224."""
    solver: Solver = "logistic"
    """linear: logistic: L2 logistic regression to its optimum; adamw as in the study."""
    regularisations: tuple[float, ...] = (0.03, 0.3, 1.0, 3.0, 10.0)
    """logistic: strengths to choose from, each the lambda of (lambda / 2) times the squared norm of the weights. Where
    a class comes from one patient only, within cannot choose: it takes the middle one, or of up to five images a class
    their class means by cosine instead."""
    spread_labels: SpreadLabels = "few"
    """logistic, and the head that finetune starts from, with `--valid within`: learn from the training images outside
    the label fraction, too, as unlabelled ones, by labels spread over nearest neighbours. few: heads of up to five
    labelled images a class; always: all heads, which did not pay on test patients; never."""
    unlabelled: tuple[Path, ...] = ()
    """Stores of scans whose frames count as unlabelled images, too, 5000 at most; patients of the validation and test
    parts are left out."""
    standardise: Standardise = "shared"
    """linear, and the head that finetune starts from: shared: features divided by one spread for all, the root of their
    mean variance; each: by its own (batch norm without affine, as in the study), which few images estimate badly;
    none: raw."""
    head: Literal["logistic", "random"] = "logistic"
    """finetune: start from the logistic head of the frozen encoder, or from random weights as in the study."""
    epochs: int = 20
    """Passes over the training images."""
    min_steps: int = 100
    """finetune: optimiser steps at least, however few images there are."""
    max_steps: int | None = None
    """Optimiser steps at most."""
    batch_size: int = 32
    """Images in a step."""
    lr: float = 1e-4
    """Learning rate of AdamW."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """finetune: cosine: linear warm-up, then a cosine to 0; constant: neither."""
    warmup: float = 0.1
    """finetune, cosine: share of the steps that warm up."""
    layer_decay: float = 0.75
    """finetune: each layer of the encoder learns at this times the rate of the next one."""
    weight_decay: float = 0.05
    """Weight decay of AdamW."""
    dropout: float = 0.0
    """Dropout on the features before the linear layer."""
    average: float = 0.98
    """finetune with a logistic head: share that the averaged weights keep of themselves in a step."""
    mixture: float = 0.5
    """finetune with a logistic head: the classifier lies this far on the way from the linear evaluation (0) to the
    averaged weights (1); `--valid whole` chooses it."""
    views: ViewsConfig = field(default_factory=lambda: ViewsConfig(**GENTLE_VIEWS))
    """finetune: augmentation of the training images."""
    neighbours: int = 20
    """knn: how many neighbours vote."""
    temperature: float = 0.07
    """knn, class means: temperature of the cosines (Wu et al., CVPR 2018)."""
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

    @property
    def learns_unlabelled(self) -> bool:
        """Whether a head is fitted that learns from unlabelled images."""
        head = self.solver == "logistic" if self.mode == "linear" else self.head == "logistic" and self.init != "random"
        return self.spread_labels != "never" and self.valid == "within" and self.mode != "knn" and head

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
        require_each(self, positive, "give more than 0", "lr", "temperature", "layer_decay")
        require_each(self, not_negative, "give 0 or more", "weight_decay", "workers", "min_steps")
        require_each(self, share, "give a share from 0 to 1", "warmup", "average", "mixture", "layer_decay")
        require(
            not self.unlabelled or self.learns_unlabelled,
            "--unlabelled: only heads of logistic regression learn from unlabelled images, without a validation part; "
            "give --spread_labels few or always, --valid within, and --mode linear or finetune with --solver logistic",
        )
        require(
            self.image_size is None or self.image_size >= 16, f"--image_size {self.image_size}: give at least 16 px"
        )
        require(
            not (self.save_classifiers and self.mode == "knn"),
            "--save_classifiers: knn has no network to save; give --mode linear or finetune",
        )
        require(
            self.views.name != "paper",
            "--views paper: papers of SSL methods say nothing of fine-tuning; give gentle, study or ultrasound",
        )
        require(self.batch_size >= 2, f"--batch_size {self.batch_size}: give at least 2")
        require(0 <= self.dropout < 1, f"--dropout {self.dropout}: give 0 to below 1")


@dataclass(frozen=True)
class DemoConfig:
    """Options of `sonolearn demo`: the complete workflow on the phantom."""

    seed: int = 0
    """Seed of the phantom and of the pre-training."""
    seeds: int = 3
    """Seeds of the downstream trainings."""

    def __post_init__(self) -> None:
        require_each(self, at_least_one, "give at least 1", "seeds")


SuggestMethod = Literal["typiclust", "k_medoids"]


@dataclass(frozen=True)
class EmbedConfig(EncoderConfig):
    """Options of `sonolearn embed`: the features of every frame, for other programs."""

    init: str = "imagenet"
    """What computes the features: best the folder of a pre-training run on such frames; else imagenet, random, or a
    file of weights."""
    image_size: int | None = None
    """Side of the input in px; None: what the encoder was pre-trained with, else 224."""
    precision: Precision = "auto"
    """auto takes bf16-mixed where the GPU computes it natively, else 32-true."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Kind of device."""

    def __post_init__(self) -> None:
        require(
            self.image_size is None or self.image_size >= 16, f"--image_size {self.image_size}: give at least 16 px"
        )


@dataclass(frozen=True)
class SuggestConfig(EmbedConfig):
    """Options of `sonolearn suggest`: the frames to label first."""

    count: int = 20
    """How many frames to suggest."""
    method: SuggestMethod = "typiclust"
    """typiclust: clusters of k-means, the most typical frame of each; k_medoids: the medoid of each."""
    candidates: int = 20_000
    """Frames that are compared at most; of more, every scan gives its share, evenly spaced in time."""
    seed: int = 0
    """Where the clusters start from; another seed suggests other frames."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_each(self, at_least_one, "give at least 1", "count", "candidates")
        require_each(self, not_negative, "give 0 or more", "seed")


Engine = Literal["auto", "onnx", "torch"]


@dataclass(frozen=True)
class PredictConfig:
    """Options of `sonolearn predict`: which planes new scans show, frame by frame."""

    classifier: Path | None = None
    """A run of `classify --save_classifiers true` (its largest fraction, seed 0), or one file of its classifiers."""
    frame_skip: int = 5
    """Take every n-th frame of a scan; stills are taken whole."""
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    """What is taken away, and which frames are left out; best as in the store that the classifier learnt from."""
    batch: int | None = None
    """Frames that the network takes at once; None: 2 on CPUs, 64 on GPUs."""
    threads: int = 0
    """Processor cores to use; 0 takes all."""
    engine: Engine = "auto"
    """What computes the network: auto takes ONNX Runtime on CPUs where it is installed, else PyTorch."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Kind of device."""
    key: Path | None = None
    """Folder with the key of the pseudonyms; by default `sonolearn-private` beside OUT or above it."""

    def __post_init__(self) -> None:
        require_each(self, at_least_one, "give at least 1", "frame_skip", "batch")
        require_each(self, not_negative, "give 0 or more", "threads")
