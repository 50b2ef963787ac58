"""Options of `study`, and the parts of a plan that are no options of another command."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sonolearn.config.base import at_least_one, require, require_each

Overlap = Literal["warn", "refuse"]
MODES = ("finetune", "linear", "knn")


@dataclass(frozen=True)
class StudyData:
    """`data` of a plan: stores that `prepare` made, or a phantom to make."""

    labelled: Path | None = None
    """The labelled store; relative to the plan's file."""
    unlabelled: tuple[Path, ...] = ()
    """Stores to pre-train on. The training part of the labelled store is taken too if `labelled_frames` is true."""
    labelled_frames: bool = False
    """Whether SSL also learns from the training part of the labelled store, without its labels."""
    phantom: dict[str, Any] = field(default_factory=dict)
    """Options of `phantom`: synthetic scans and stills are made where no stores are given."""
    prepare: dict[str, Any] = field(default_factory=dict)
    """Options of `prepare` for them."""


@dataclass(frozen=True)
class StartPlan:
    """An entry of `initialisations`: something that is not pre-trained by the study."""

    init: str = "random"
    """random, imagenet (timm's weights), a safetensors file, or the folder of a pre-training run."""
    encoders: tuple[str, ...] = ()
    """Names of the plan's encoders that it is for; none for all."""


@dataclass(frozen=True)
class PoolPlan:
    """An entry of `pools`: a part of the SSL frames. Each pre-training seed draws other patients and scans."""

    patients: int | None = None
    """How many patients; null for all."""
    scans: int | None = None
    """Maximum number of scans of each; null for all."""
    frames: int | None = None
    """How many frames altogether; null for all."""
    frame_skip: int = 1
    """Every n-th stored frame of a scan."""
    patients_per_batch: int | None = None
    """Number of patients in every batch, so that pools differ in nothing else; null for a random order."""
    methods: tuple[str, ...] = ()
    """Names of the plan's methods that are pre-trained on it; none for all."""


@dataclass(frozen=True)
class StudyPlan:
    """A plan as its YAML file has it; `sonolearn.study.plan` reads what the mappings hold."""

    title: str = "Plane classification"
    """Heading of the page."""
    data: dict[str, Any] = field(default_factory=dict)
    """Stores, or a phantom: see `StudyData`."""
    encoders: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Backbones by name: encoder (timm), encoder_args, small_stem."""
    image_size: int = 224
    """Side in px of the views and of the classified images."""
    pretrain: dict[str, Any] = field(default_factory=dict)
    """Options of every pre-training."""
    methods: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Pre-trainings by name, with their own options; `method` where the name is none, `encoders` where not all."""
    pools: dict[str, dict[str, Any]] = field(default_factory=dict)
    """More SSL data by name; every method is also pre-trained on all frames."""
    initialisations: dict[str, dict[str, Any]] = field(default_factory=lambda: {"random": {}})
    """Other initialisations by name."""
    classify: dict[str, Any] = field(default_factory=dict)
    """Options of every downstream training."""
    modes: dict[str, dict[str, Any]] = field(default_factory=lambda: {"finetune": {}, "linear": {}})
    """finetune, linear, knn, with their own options."""
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
    """Label fractions."""
    seeds: int = 3
    """Seeds of the downstream trainings: each draws its own labels, head, order and views."""
    pretrain_seeds: int | None = None
    """Pre-trainings of each method and pool; null for one a seed. With fewer, seeds share them in turn."""
    overlap: Overlap = "warn"
    """What to do where SSL learns from scans of a validation or test patient: warn and name them, or refuse."""

    def __post_init__(self) -> None:
        require_each(self, at_least_one, "give at least 1", "seeds", "pretrain_seeds")
        fine = len(self.fractions) > 0 and all(0 < fraction <= 1 for fraction in self.fractions)
        require(fine, f"--fractions {list(self.fractions)}: give shares above 0, at most 1")
        require(bool(self.encoders), "encoders: name at least one, such as resnet50: {encoder: resnet50}")
        require(self.image_size >= 16, f"--image_size {self.image_size}: give at least 16 px")


@dataclass(frozen=True)
class StudyDataConfig:
    """Where a plan's data and weights lie on this machine; they go over what the plan says."""

    labelled: Path | None = None
    """The labelled store."""
    unlabelled: tuple[str, ...] = ()
    """Stores to pre-train on."""
    weights: tuple[str, ...] = ()
    """Files of initialisations, as NAME=FILE."""

    def __post_init__(self) -> None:
        for word in self.weights:
            require("=" in word, f"--weights {word}: give NAME=FILE, the name as in the plan's initialisations")


@dataclass(frozen=True)
class StudyPlanConfig(StudyDataConfig):
    """Options of `sonolearn study plan`."""

    time: bool = True
    """Take a few steps of each kind of training, to estimate how long the study takes."""
    workers: int | None = None
    """Trainings at a time that the estimate is for; null as `study run` would choose."""


@dataclass(frozen=True)
class StudyRunConfig(StudyDataConfig):
    """Options of `sonolearn study run`."""

    workers: int | None = None
    """Trainings at a time; null for one a GPU, else one a core."""
    threads: int | None = None
    """Threads of each; null for the cores shared evenly. Other numbers round sums differently."""
    engine: Literal["local", "ray"] = "local"
    """local: processes on this machine; ray: a Ray cluster whose machines share the study's folder."""
    address: str | None = None
    """Address of the Ray cluster, such as auto or ray://HOST:10001; null starts Ray on this machine."""
    only: tuple[str, ...] = ()
    """Only these runs, as COLUMN=VALUE[,VALUE]; columns are initialisation, encoder, pool, mode, fraction and seed."""
    retry_failed: bool = False
    """Try again what failed before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_each(self, at_least_one, "give at least 1", "workers", "threads")
        for word in self.only:
            require("=" in word, f"--only {word}: give COLUMN=VALUE, such as mode=linear")
        require(self.address is None or self.engine == "ray", "--address: goes with --engine ray")
