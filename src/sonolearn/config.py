"""Every option of every command with its default, its meaning and its limits: one dataclass a command.

The command line, YAML files, `--print_config` and notebooks all read these classes, so that a default stands in one
place. Values that make no sense are refused here, before any data are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sonolearn.checks import at_least_one, not_negative, positive, require, require_each, require_pattern, share

Method = Literal["barlow_twins"]
Mode = Literal["finetune", "linear", "knn"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class PhantomConfig:
    """Options of `sonolearn phantom`: synthetic fetal-heart scans with ground truth."""

    patients: int = 20
    """Number of made-up patients (pregnancies)."""
    labelled: float = 0.5
    """Share of the patients who give labelled PNG stills; the others give unlabelled scans. The two never overlap."""
    scans: int = 2
    """Scans (cines) of each unlabelled patient, alternately DICOM and MP4."""
    frames: int = 60
    """Frames of a scan."""
    stills: int = 25
    """Labelled stills of a labelled patient, spread evenly over the five planes."""
    size: int = 256
    """Height of the ultrasound picture in px; the screen around it is a little larger."""
    text: bool = True
    """Write machine text, a depth ruler and a grey bar on the screen."""
    callipers: float = 0.2
    """Share of the scans and stills with callipers and dotted lines on the picture."""
    doppler: float = 0.0
    """Share of the scans in colour Doppler."""
    split: float = 0.0
    """Share of the scans as a split screen of two views."""
    workers: int = 0
    """Processes that render; 0 takes all cores. The files do not depend on it."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        require_each(self, at_least_one, "give at least 1", "patients", "frames")
        require_each(self, not_negative, "give 0 or more", "scans", "stills", "workers")
        require_each(self, share, "give a share from 0 to 1", "labelled", "callipers", "doppler", "split")
        require(self.size >= 32, f"--size {self.size}: give at least 32 px")


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a label table, where they differ from ours."""

    image: str = "image"
    """Path of the still or scan, absolute or relative to the table."""
    plane: str = "plane"
    """The class."""
    patient: str = "patient"
    """Who was scanned; parts of a split never share a patient."""
    split: str = "split"
    """Optional: train, valid or test."""
    machine: str = "machine"
    """Optional: ultrasound machine."""
    scan: str = "scan"
    """Optional: the recording that a still was taken from."""
    frame: str = "frame"
    """Optional: index of the frame, where `image` is a scan."""


@dataclass(frozen=True)
class PrepareConfig:
    """Options of `sonolearn prepare`: from files to a store of clean grey frames."""

    size: int = 256
    """Side of the stored square frames in px; the aspect is kept, the rest padded with 0."""
    frame_skip: int = 5
    """Take every n-th frame of a scan; stills are taken whole."""
    crop: bool = True
    """Crop to the ultrasound sector."""
    patient_pattern: str | None = None
    """Regular expression that finds the patient in a file's path: its first group, else the whole match.
    Without it the patient is the DICOM PatientID, and files that have none count as a patient each."""
    columns: Columns = field(default_factory=Columns)
    """Names of the label table's columns."""
    split: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Shares of the labelled patients for train, valid and test; a split column in the table goes first."""
    split_seed: int = 0
    """Seed of that split."""
    key: Path | None = None
    """Folder with the key of the pseudonyms; by default `sonolearn-private` beside the store or above it."""
    workers: int = 0
    """Processes that read and clean; 0 takes all cores. The store does not depend on it."""

    def __post_init__(self) -> None:
        require(16 <= self.size <= 4096, f"--size {self.size}: give a side from 16 to 4096 px")
        require(self.frame_skip >= 1, f"--frame_skip {self.frame_skip}: give 1 (every frame) or more")
        require_each(self, not_negative, "give 0 or more", "workers")
        require_pattern(self.patient_pattern)
        require(
            len(self.split) == 3 and min(self.split) >= 0 and self.split[0] > 0 and abs(sum(self.split) - 1) < 1e-6,
            f"--split {self.split}: give three shares (train, valid, test) that add up to 1, the first above 0",
        )


@dataclass(frozen=True)
class ViewsConfig:
    """The augmented views of SSL: by default the Barlow Twins recipe of the study (pairs: first view, second view).

    Hue, saturation and grey scale are left out: they do nothing to a grey frame.
    """

    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest share of the frame's area that the random resized crop takes."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest aspect ratio of that crop."""
    flip: float = 0.5
    """Probability of a horizontal flip."""
    jitter: float = 0.8
    """Probability of a brightness and contrast jitter."""
    brightness: float = 0.4
    """Brightness factor is drawn from 1 - this to 1 + this."""
    contrast: float = 0.4
    """Contrast factor is drawn from 1 - this to 1 + this."""
    blur: tuple[float, float] = (1.0, 0.1)
    """Probability of a Gaussian blur in the first and the second view."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Smallest and largest sigma of that blur in px of the view."""
    solarize: tuple[float, float] = (0.0, 0.2)
    """Probability of a solarisation (grey values from 128 up are inverted) in the first and the second view."""

    def __post_init__(self) -> None:
        probabilities = ("views.flip", "views.jitter", "views.blur", "views.solarize")
        require_each(self, share, "give probabilities from 0 to 1", *probabilities)
        require_each(self, share, "give 0 to 1", "views.brightness", "views.contrast")
        low, high = self.crop_scale
        require(0 < low <= high <= 1, f"--views.crop_scale {self.crop_scale}: give 0 < smallest <= largest <= 1")
        low, high = self.crop_ratio
        require(0 < low <= high, f"--views.crop_ratio {self.crop_ratio}: give 0 < smallest <= largest")
        low, high = self.blur_sigma
        require(0 < low <= high, f"--views.blur_sigma {self.blur_sigma}: give 0 < smallest <= largest")


@dataclass(frozen=True)
class BarlowTwinsConfig:
    """Settings of Barlow Twins (Zbontar et al., ICML 2021); the study uses the paper's."""

    projector: tuple[int, ...] = (8192, 8192, 8192)
    """Widths of the projector's linear layers."""
    redundancy: float = 0.0051
    """Weight of the off-diagonal terms (lambda in the paper)."""
    lr_weights: float = 0.2
    """LARS learning rate of weights, for a batch of 256; scaled by batch_size / 256."""
    lr_biases: float = 0.0048
    """The same of biases and norm parameters."""
    weight_decay: float = 1e-6
    """Of weights; biases and norm parameters have none."""
    warmup_epochs: float = 10
    """Epochs (fractions count) of linear warm-up."""
    final_lr: float = 0.001
    """The cosine ends at this share of the learning rate."""

    def __post_init__(self) -> None:
        require(
            len(self.projector) >= 1 and min(self.projector) >= 1,
            f"--barlow_twins.projector {list(self.projector)}: give at least one width of 1 or more",
        )
        require_each(self, positive, "give more than 0", "barlow_twins.lr_weights")
        names = ("redundancy", "lr_biases", "weight_decay", "warmup_epochs")
        require_each(self, not_negative, "give 0 or more", *(f"barlow_twins.{name}" for name in names))
        require_each(self, share, "give a share from 0 to 1", "barlow_twins.final_lr")


@dataclass(frozen=True)
class EncoderConfig:
    """Which encoder, and what it starts from."""

    encoder: str | None = None
    """Name of any timm backbone, such as resnet50; None: the one that `init` was trained with, else resnet50."""
    init: str = "random"
    """random, imagenet (timm's weights), a safetensors file, or the folder of a pre-training run."""
    encoder_args: dict[str, Any] = field(default_factory=dict)
    """More arguments for the timm model, such as {channels: [16, 32, 64, 128]} for a narrow ResNet."""
    small_stem: bool = False
    """Leave out the max-pool of the stem (for small images)."""


@dataclass(frozen=True)
class PretrainConfig(EncoderConfig):
    """Options of `sonolearn pretrain`: self-supervised pre-training of an encoder on stores of frames."""

    method: Method = "barlow_twins"
    """SSL method."""
    epochs: int = 100
    """Passes over the training frames."""
    max_steps: int | None = None
    """Stop (and end the learning-rate schedule) after so many optimiser steps, if that comes first."""
    batch_size: int = 256
    """Frames in an optimiser step, over all processes and accumulated parts; a loss spans all processes."""
    accumulate: int = 1
    """Parts that a batch is cut into where memory is short; each part has a loss of its own."""
    image_size: int = 224
    """Side of the views in px."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """The augmentation."""
    barlow_twins: BarlowTwinsConfig = field(default_factory=BarlowTwinsConfig)
    """Settings of Barlow Twins."""
    valid_patients: float = 0.1
    """Share of the patients held out for the validation loss; 0 for none."""
    valid_every: int = 1
    """Epochs between validations."""
    checkpoint_minutes: float = 10.0
    """Minutes between checkpoints; one is also written when the run is interrupted."""
    log_every: int = 10
    """Steps between rows of metrics.csv."""
    workers: int | None = None
    """Loader processes of each training process; None: the free cores, at most 8. Results do not depend on it."""
    precision: Precision = "auto"
    """auto takes bf16-mixed where the GPU computes it natively, else 32-true."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Kind of device."""
    devices: int = 1
    """Devices (training processes) of each node."""
    num_nodes: int = 1
    """Nodes; under SLURM the processes find each other."""
    seed: int = 0
    """Seed of weights, order and views."""

    def __post_init__(self) -> None:
        counts = ("epochs", "max_steps", "accumulate", "devices", "num_nodes", "valid_every", "log_every")
        require_each(self, at_least_one, "give at least 1", *counts)
        require_each(self, positive, "give more than 0", "checkpoint_minutes")
        require_each(self, not_negative, "give 0 or more", "workers")
        require(self.batch_size >= 2, f"--batch_size {self.batch_size}: SSL compares frames, give at least 2")
        parts = self.accumulate * self.devices * self.num_nodes
        require(
            self.batch_size % parts == 0 and self.batch_size // parts >= 2,
            f"--batch_size {self.batch_size}: give a multiple of accumulate x devices x num_nodes ({parts}), "
            f"at least {2 * parts}",
        )
        require(self.image_size >= 16, f"--image_size {self.image_size}: give at least 16 px")
        require(0 <= self.valid_patients < 1, f"--valid_patients {self.valid_patients}: give a share from 0 to below 1")


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

    def __post_init__(self) -> None:
        require(
            len(self.fractions) > 0 and all(0 < f <= 1 for f in self.fractions),
            f"--fractions {list(self.fractions)}: give shares above 0, at most 1",
        )
        require_each(self, at_least_one, "give at least 1", "seeds", "epochs", "max_steps", "neighbours")
        require_each(self, positive, "give more than 0", "lr", "temperature")
        require_each(self, not_negative, "give 0 or more", "weight_decay", "workers")
        require(
            self.image_size is None or self.image_size >= 16, f"--image_size {self.image_size}: give at least 16 px"
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
