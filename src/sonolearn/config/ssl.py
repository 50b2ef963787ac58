"""Options of `pretrain`, and of its methods."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

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
from sonolearn.config.views import ViewsConfig


@dataclass(frozen=True)
class AutoencoderConfig:
    """The autoencoder: an encoder and its mirror image."""

    decoder_width: float = 1.0
    """Channels of the decoder, relative to those of the encoder's stages."""

    def __post_init__(self) -> None:
        require_each(self, positive, "give more than 0", "autoencoder.decoder_width")


@dataclass(frozen=True)
class InpaintingConfig:
    """The inpainting autoencoder (after Pathak et al., CVPR 2016): a rectangle of the input is noise."""

    decoder_width: float = 1.0
    """Channels of the decoder, relative to those of the encoder's stages."""
    erase_scale: tuple[float, float] = (0.02, 0.33)
    """Smallest and largest share of the view's area that is erased (random erasing, Zhong et al., AAAI 2020)."""
    erase_ratio: tuple[float, float] = (0.3, 3.3)
    """Smallest and largest aspect ratio of the erased rectangle."""

    def __post_init__(self) -> None:
        require_each(self, positive, "give more than 0", "inpainting.decoder_width")
        low, high = self.erase_scale
        require(0 < low <= high < 1, f"--inpainting.erase_scale {low} {high}: give 0 < smallest <= largest < 1")
        low, high = self.erase_ratio
        require(0 < low <= high, f"--inpainting.erase_ratio {low} {high}: give 0 < smallest <= largest")


@dataclass(frozen=True)
class SimCLRConfig:
    """SimCLR (Chen et al., ICML 2020)."""

    projector: tuple[int, ...] = (512, 128)
    """Widths of the projector's linear layers."""
    temperature: float = 0.5
    """Cosine similarities are divided by this."""

    def __post_init__(self) -> None:
        require_widths(self.projector, "simclr.projector")
        require_each(self, positive, "give more than 0", "simclr.temperature")


@dataclass(frozen=True)
class MoCoConfig:
    """MoCo v2 (He et al., CVPR 2020; Chen et al., 2020)."""

    projector: tuple[int, ...] = (2048, 128)
    """Widths of the projector's linear layers."""
    projector_norm: bool = False
    """Batch norm in the projector, as in MoCo v3 (Chen et al., ICCV 2021); short runs from random weights need it."""
    temperature: float = 0.5
    """Cosine similarities are divided by this."""
    queue: int = 4096
    """Keys of former batches to compare with; at least the batch size."""
    momentum: float = 0.996
    """Share that the momentum encoder keeps of itself in a step, at the start."""
    final_momentum: float = 1.0
    """The same at the end; a cosine between."""

    def __post_init__(self) -> None:
        require_widths(self.projector, "moco.projector")
        require_each(self, positive, "give more than 0", "moco.temperature")
        require_each(self, at_least_one, "give at least 1", "moco.queue")
        require_each(self, share, "give a share from 0 to 1", "moco.momentum", "moco.final_momentum")


@dataclass(frozen=True)
class BYOLConfig:
    """BYOL (Grill et al., NeurIPS 2020)."""

    projector: tuple[int, ...] = (1024, 256)
    """Widths of the projector's linear layers."""
    predictor: tuple[int, ...] = (1024, 256)
    """Widths of the predictor's linear layers; the last must be the projector's last."""
    momentum: float = 0.996
    """Share that the target network keeps of itself in a step, at the start."""
    final_momentum: float = 1.0
    """The same at the end; a cosine between."""

    def __post_init__(self) -> None:
        require_widths(self.projector, "byol.projector")
        require_widths(self.predictor, "byol.predictor")
        require(
            self.predictor[-1] == self.projector[-1],
            f"--byol.predictor {' '.join(map(str, self.predictor))}: predicts what the projector gives; "
            f"let it end with {self.projector[-1]}",
        )
        require_each(self, share, "give a share from 0 to 1", "byol.momentum", "byol.final_momentum")


@dataclass(frozen=True)
class BarlowTwinsConfig:
    """Barlow Twins (Zbontar et al., ICML 2021)."""

    projector: tuple[int, ...] = (8192, 8192, 8192)
    """Widths of the projector's linear layers."""
    redundancy: float = 0.0051
    """Weight of the off-diagonal terms (lambda in the paper)."""

    def __post_init__(self) -> None:
        require_widths(self.projector, "barlow_twins.projector")
        require_each(self, not_negative, "give 0 or more", "barlow_twins.redundancy")


@dataclass(frozen=True)
class VICRegConfig:
    """VICReg (Bardes et al., ICLR 2022)."""

    projector: tuple[int, ...] = (8192, 8192, 8192)
    """Widths of the projector's (the paper says expander's) linear layers."""
    invariance: float = 25.0
    """Weight of the distance between the two views."""
    variance: float = 25.0
    """Weight of the hinge that keeps each feature's standard deviation at 1."""
    covariance: float = 1.0
    """Weight of the squared covariances."""

    def __post_init__(self) -> None:
        require_widths(self.projector, "vicreg.projector")
        names = ("vicreg.invariance", "vicreg.variance", "vicreg.covariance")
        require_each(self, not_negative, "give 0 or more", *names)


def require_widths(widths: tuple[int, ...], option: str) -> None:
    """Refuse a head without layers or with an empty one."""
    shown = " ".join(map(str, widths))
    require(len(widths) >= 1 and min(widths) >= 1, f"--{option} {shown}: give at least one width of 1 or more")


@dataclass(frozen=True)
class PositivesConfig:
    """What the two views of a pair are taken from."""

    name: Literal["same_frame", "nearby_frames"] = "same_frame"
    """same_frame: both from one frame, as in the study; nearby_frames: the second from another frame of the scan."""
    seconds: float = 0.5
    """nearby_frames: how far away in time the other frame may be at most (a fetal heart beats every 0.4 to 0.5 s)."""

    def __post_init__(self) -> None:
        require_each(self, positive, "give more than 0 seconds", "positives.seconds")


@dataclass(frozen=True)
class PoolConfig:
    """The part of the training frames that is learnt from: for asking whether more patients help, or more frames.

    It is drawn after patients are held out for validation, so runs of different parts but one `seed` of the run have
    the same validation frames.
    """

    patients: int | None = None
    """Number of patients to learn from, of those not held out, drawn so that those of a smaller number are among
    those of a larger one; none: from all."""
    scans: int | None = None
    """Number of scans of each patient; all where there are fewer; a still counts as a scan of one frame."""
    frames: int | None = None
    """Number of frames in total: equally many from each patient as far as they have them, then likewise from all scans
    of a patient, and within a scan at equal steps."""
    frame_skip: int = 1
    """Keep every n-th stored frame of each scan, its first included; `frames` is taken from what this leaves."""
    seed: int = 0
    """Seed of which patients and scans are drawn."""

    def __post_init__(self) -> None:
        names = ("patients", "scans", "frames", "frame_skip")
        require_each(self, at_least_one, "give at least 1", *(f"pool.{name}" for name in names))
        require(
            self.frames is None or self.patients is None or self.frames >= self.patients,
            f"--pool.frames {self.frames}: each of the {self.patients} patients gives at least one, give at least "
            f"{self.patients}, or a smaller --pool.patients",
        )


Method = Literal["autoencoder", "inpainting", "simclr", "moco", "byol", "barlow_twins", "vicreg"]
Recipe = Literal["adapt", "study", "paper"]
RECONSTRUCTING = ("autoencoder", "inpainting")


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimiser and learning-rate schedule; the schedule counts optimiser steps."""

    name: Literal["lars", "sgd", "adamw"] = "lars"
    """lars (You et al., 2017; trust coefficient 0.001; biases and norm parameters neither adapted nor decayed),
    sgd or adamw (both decay everything)."""
    lr: float = 0.2
    """Learning rate."""
    lr_biases: float | None = None
    """Learning rate of biases and norm parameters; null for the same."""
    lr_batch: int | None = 256
    """The batch that the rates are meant for, they grow linearly with batch_size; null to take them as they are."""
    momentum: float = 0.9
    """Momentum of lars and sgd."""
    weight_decay: float = 1e-6
    """Weight decay."""
    schedule: Literal["cosine", "step"] = "cosine"
    """cosine: down to final_lr; step: times decay after every decay_epochs."""
    warmup_epochs: float = 0.0
    """Epochs (fractions count) of linear warm-up."""
    warmup_steps: int | None = None
    """Optimiser steps of it, instead: the same for stores of any size."""
    final_lr: float = 0.0
    """The cosine ends at this share of the rate."""
    decay: float = 0.5624
    """Factor of the step schedule."""
    decay_epochs: float = 50.0
    """Epochs between the steps of that schedule."""

    def __post_init__(self) -> None:
        require_each(self, positive, "give more than 0", "optimizer.lr", "optimizer.decay", "optimizer.decay_epochs")
        require_each(self, at_least_one, "give at least 1, or null", "optimizer.lr_batch")
        names = ("lr_biases", "weight_decay", "warmup_epochs", "warmup_steps")
        require_each(self, not_negative, "give 0 or more", *(f"optimizer.{name}" for name in names))
        require_each(self, share, "give a share from 0 to 1", "optimizer.final_lr")
        require(0 <= self.momentum < 1, f"--optimizer.momentum {self.momentum}: give 0 to below 1")


@dataclass(frozen=True)
class PretrainConfig(EncoderConfig):
    """Options of `sonolearn pretrain`: self-supervised pre-training of an encoder on stores of frames.

    The defaults of `optimizer` and `views` are those of Barlow Twins; other methods have others, see
    `sonolearn.recipes`. In Python take `recipe(method, ...)` from there: it gives what the command line gives.
    """

    method: Method = "barlow_twins"
    """SSL method."""
    recipe: Recipe | None = None
    """adapt, the default of the command line: a few hundred steps on from ImageNet weights; study: the settings of the
    study, batch size and start included; paper: those of the method's own paper, epochs included; null: the study's, at
    a batch of 256 and from random weights."""
    epochs: int = 100
    """Passes over the training frames."""
    max_steps: int | None = None
    """Stop (and end the learning-rate schedule) after this number of optimiser steps, if that comes first."""
    batch_size: int = 256
    """Frames in an optimiser step, over all processes and accumulated parts; a loss spans all processes."""
    accumulate: int = 1
    """Parts that a batch is cut into where memory is short; each part has a loss of its own."""
    patients_per_batch: int | None = None
    """Fill every batch with frames of exactly this number of patients, equally many of each; every patient has its turn
    equally often, so frames of one with few come more often. none: frames in any order."""
    pool: PoolConfig = field(default_factory=PoolConfig)
    """The part of the training frames that is learnt from."""
    image_size: int = 224
    """Side of the views in px."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """The augmentation."""
    positives: PositivesConfig = field(default_factory=PositivesConfig)
    """What the two views of a pair are taken from."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(lr_biases=0.0048, warmup_epochs=10, final_lr=0.001)
    )
    """Optimiser and schedule."""
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    """Settings of the autoencoder."""
    inpainting: InpaintingConfig = field(default_factory=InpaintingConfig)
    """Settings of the inpainting autoencoder."""
    simclr: SimCLRConfig = field(default_factory=SimCLRConfig)
    """Settings of SimCLR."""
    moco: MoCoConfig = field(default_factory=MoCoConfig)
    """Settings of MoCo."""
    byol: BYOLConfig = field(default_factory=BYOLConfig)
    """Settings of BYOL."""
    barlow_twins: BarlowTwinsConfig = field(default_factory=BarlowTwinsConfig)
    """Settings of Barlow Twins."""
    vicreg: VICRegConfig = field(default_factory=VICRegConfig)
    """Settings of VICReg."""
    valid_patients: float = 0.1
    """Share of the patients held out for the validation loss and the monitors; 0 for none."""
    valid_every: int = 1
    """Epochs between validations."""
    knn_store: Path | None = None
    """A labelled store to follow the accuracy of nearest neighbours on: from its training to its validation part."""
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
    compile: bool = False
    """Let torch.compile fuse the method's operations: faster steps on GPUs after some minutes of compiling; on CPUs no
    gain was measured."""
    profile: bool = False
    """Measure where a step's time goes, for some steps that are then thrown away, instead of training: a table, a
    sentence of advice, and traces in the run folder's `profile`."""
    seed: int = 0
    """Seed of weights, order and views."""

    def __post_init__(self) -> None:
        counts = ("epochs", "max_steps", "accumulate", "devices", "num_nodes", "valid_every", "log_every")
        require_each(self, at_least_one, "give at least 1", *counts, "patients_per_batch")
        require_each(self, positive, "give more than 0", "checkpoint_minutes")
        require_each(self, not_negative, "give 0 or more", "workers")
        require(self.batch_size >= 2, f"--batch_size {self.batch_size}: SSL compares frames, give at least 2")
        parts = self.accumulate * self.devices * self.num_nodes
        require(
            self.batch_size % parts == 0 and self.batch_size // parts >= 2,
            f"--batch_size {self.batch_size}: give a multiple of accumulate x devices x num_nodes ({parts}), "
            f"at least {2 * parts}",
        )
        require(
            self.patients_per_batch is None or self.batch_size % self.patients_per_batch == 0,
            f"--patients_per_batch {self.patients_per_batch}: must divide --batch_size {self.batch_size}, as each "
            "patient gives equally many frames; change one of them",
        )
        require(self.image_size >= 16, f"--image_size {self.image_size}: give at least 16 px")
        require(0 <= self.valid_patients < 1, f"--valid_patients {self.valid_patients}: give a share from 0 to below 1")
        require(
            self.method != "moco" or self.moco.queue >= self.batch_size,
            f"--moco.queue {self.moco.queue}: must hold the keys of a batch, give at least {self.batch_size}",
        )
        require(
            self.method not in RECONSTRUCTING or self.positives.name == "same_frame",
            f"--positives {self.positives.name}: {self.method} rebuilds a single view; leave the option out",
        )

    @property
    def other_methods(self) -> set[str]:
        """Names of the options that belong to methods other than the one in use: they change nothing."""
        return set(typing.get_args(Method)) - {self.method}
