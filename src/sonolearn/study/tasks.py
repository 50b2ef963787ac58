"""What a worker of a study does: a pre-training, everything on frozen features of one encoder, or one fine-tuning.

A task writes its results itself and returns nothing: it can run in another process or on another machine that shares
the study's folder. Done again after an interruption it does what is missing.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sonolearn.config import ClassifyConfig, Draw
from sonolearn.console import UserError
from sonolearn.planes.finetune import fit_finetune
from sonolearn.planes.gradcam import write_cams
from sonolearn.planes.head import Fitted, HeldOut
from sonolearn.planes.images import Labelled, check_labels, labelled, parts_used
from sonolearn.planes.initialisation import Initialisation
from sonolearn.planes.run import drawn, fit_frozen
from sonolearn.runs import hash_of, hashed_settings, writing
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.features import extract, read_images
from sonolearn.ssl.pretrain import pretrain
from sonolearn.ssl.run_folder import has_encoder, is_finished
from sonolearn.store.store import PARTS, Frames, Store
from sonolearn.study.folder import StudyFolder, write_record
from sonolearn.study.grid import Downstream, Pretraining, Start


@dataclass(frozen=True)
class PretrainTask:
    """One pre-training."""

    pretraining: Pretraining
    stores: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Names it in failed/ and logs/."""
        return f"pretrain-{self.pretraining.run}"

    @property
    def label(self) -> str:
        """What people read."""
        made = self.pretraining
        return f"pre-training {made.name}{f', {made.pool}' if made.pool else ''}, seed {made.config.seed}"

    @property
    def runs(self) -> tuple[Downstream, ...]:
        """It makes no classifier."""
        return ()

    @property
    def seed(self) -> int:
        """Of the pre-training."""
        return self.pretraining.config.seed

    def is_done(self, folder: StudyFolder, used: bool) -> bool:
        """Whether its results are there; the encoder counts only if it is `used`, by classifiers that are missing."""
        run = folder.pretraining(self.pretraining.run)
        return has_encoder(run) if used else is_finished(run)

    def perform(self, folder: StudyFolder, loaders: int) -> None:
        """Pre-train, or go on from the checkpoint."""
        config = dataclasses.replace(self.pretraining.config, workers=loaders)
        pretrain(self.stores, folder.pretraining(self.pretraining.run), config)


@dataclass(frozen=True)
class FrozenTask:
    """All linear heads and nearest neighbours on the features of one encoder, which are extracted once."""

    start: Start
    runs: tuple[Downstream, ...]
    modes: dict[str, ClassifyConfig]
    store: Path

    @property
    def name(self) -> str:
        """Names it in failed/ and logs/."""
        return f"frozen-{self.start.key}"

    @property
    def label(self) -> str:
        """What people read."""
        return f"{len(self.runs)} classifiers on features of {in_words(self.start)}"

    @property
    def seed(self) -> int:
        """Of the weights; 0 where they are fixed."""
        return self.start.seed or 0

    def perform(self, folder: StudyFolder, loaders: int) -> None:
        """Fit and test all of them; records that are there already are left alone."""
        start_time = time.perf_counter()
        initialisation = starting_from(folder, self.start, next(iter(self.modes.values())))
        images = Images.of(self.store, initialisation.image_size)
        features: dict[str, dict[str, Tensor]] = {}
        fitted: list[tuple[Downstream, Labelled, Fitted]] = []
        for mode, config in self.modes.items():
            if config.precision not in features:
                features[config.precision] = self._features(folder, initialisation, images, config)
            runs = [run for run in self.runs if run.mode == mode]
            fitted += _fit(runs, config, features[config.precision], images)
        there = folder.finished_runs()
        each = (time.perf_counter() - start_time) / max(1, len(fitted))
        for run, subset, classifier in fitted:
            if run.run not in there:
                more = {**_hashes(self.modes[run.mode], images), "seconds": each}
                probabilities = classifier.predict(features[self.modes[run.mode].precision]["test"])
                parts = images.parts_for(self.modes[run.mode])
                write_record(folder, run, classifier, probabilities, subset, parts, images.planes, more)

    def _features(
        self, folder: StudyFolder, initialisation: Initialisation, images: Images, config: ClassifyConfig
    ) -> dict[str, Tensor]:
        encoder, card = initialisation.load(self.start.seed or 0)
        fabric = make_fabric(config.accelerator, config.precision)
        parts = parts_used(*self.modes.values())
        features = {part: extract(encoder, card, images.frames[part], fabric) for part in parts}
        if not self.start.seed:
            test = features["test"].cpu().numpy().astype(np.float16)
            with writing(folder.features(self.start.key)) as temporary, temporary.open("wb") as file:
                np.savez(file, features=test, rows=images.parts["test"].rows)
        return features


@dataclass(frozen=True)
class FinetuneTask:
    """One fine-tuning."""

    run: Downstream
    config: ClassifyConfig
    store: Path
    explain: bool
    """Whether it also draws where the classifier looks."""

    @property
    def name(self) -> str:
        """Names it in failed/ and logs/."""
        return f"finetune-{self.run.run}"

    @property
    def label(self) -> str:
        """What people read."""
        return f"fine-tuning {in_words(self.run.start)}, {100 * self.run.fraction:g} %, seed {self.run.seed}"

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.run.seed

    @property
    def start(self) -> Start:
        """What it starts from."""
        return self.run.start

    @property
    def runs(self) -> tuple[Downstream, ...]:
        """The one classifier that it makes."""
        return (self.run,)

    def perform(self, folder: StudyFolder, loaders: int) -> None:
        """Fine-tune, test once, write."""
        start_time, run = time.perf_counter(), self.run
        initialisation = starting_from(folder, run.start, self.config)
        images = Images.of(self.store, initialisation.image_size)
        # Random weights are those of the start; whatever else is drawn comes from the run's own seed.
        encoder, card = initialisation.load(run.start.seed or 0)
        config = dataclasses.replace(initialisation.config, workers=loaders)
        fabric = make_fabric(config.accelerator, config.precision)
        subset = images.subset(run, config.draw, lambda: extract(encoder, card, images.frames["train"], fabric))
        train = images.frames["train"][images.parts["train"].positions(subset.rows)], subset
        held_out = None
        if config.valid == "whole":
            held_out = HeldOut(torch.from_numpy(images.frames["valid"]), images.parts["valid"].targets)
        fitted = fit_finetune(encoder, card, train, held_out, len(images.planes), config, run.seed, fabric)
        probabilities = fitted.predict(torch.from_numpy(images.frames["test"]))
        if self.explain:
            test = images.parts["test"]
            write_cams(folder.cam(run.run), fitted, images.frames["test"], test.targets, images.planes)
        more = {**_hashes(self.config, images), "seconds": time.perf_counter() - start_time}
        parts = images.parts_for(config)
        write_record(folder, run, fitted, probabilities, subset, parts, images.planes, more)


Task = PretrainTask | FrozenTask | FinetuneTask


@dataclass(frozen=True)
class Images:
    """The labelled images of a store in memory, shared by the tasks of a process."""

    store: Store
    parts: dict[str, Labelled]
    frames: dict[str, Frames]

    @staticmethod
    @lru_cache(maxsize=2)
    def of(path: Path, size: int) -> Images:
        """Read them, resized to `size` px."""
        store = Store(path)
        table = check_labels(store, ("train", "test"))
        parts = {part: labelled(store, table[table["split"] == part]) for part in PARTS}
        return Images(store, parts, {name: read_images(store, part.rows, size) for name, part in parts.items()})

    @property
    def planes(self) -> tuple[str, ...]:
        """The classes."""
        return self.store.planes

    def parts_for(self, config: ClassifyConfig) -> dict[str, Labelled]:
        """The parts; that of validation is empty where nothing is chosen by it."""
        if config.valid == "whole":
            return self.parts
        return {**self.parts, "valid": self.parts["valid"].without_images}

    def subset(self, run: Downstream, draw: Draw, features: Callable[[], Tensor]) -> Labelled:
        """The labelled training images of a run's fraction and seed; `features` gives those of the whole part."""
        labels = self.store.labels
        assert labels is not None  # `of` has checked it
        rows = drawn(labels, self.planes, run.fraction, run.seed, draw, lambda: features().cpu().numpy())
        return self.parts["train"].at(rows)


def in_words(start: Start) -> str:
    """An initialisation for people."""
    parts = [f"{start.name} ({start.encoder})", start.pool, "" if start.seed is None else f"seed {start.seed}"]
    return ", ".join(part for part in parts if part)


def _fit(
    runs: list[Downstream], config: ClassifyConfig, features: dict[str, Tensor], images: Images
) -> list[tuple[Downstream, Labelled, Fitted]]:
    """Each run's images and its classifier on frozen features."""
    train = images.parts["train"]
    subsets = [images.subset(run, config.draw, lambda: features["train"]) for run in runs]
    trainings = [(train.positions(subset.rows), run.seed) for subset, run in zip(subsets, runs, strict=True)]
    fitted = fit_frozen(features, images.parts, trainings, len(images.planes), config)
    for one in fitted:
        if isinstance(one, UserError):
            raise one
    return [
        (run, subset, one) for run, subset, one in zip(runs, subsets, fitted, strict=True) if isinstance(one, Fitted)
    ]


def starting_from(folder: StudyFolder, start: Start, config: ClassifyConfig) -> Initialisation:
    """The initialisation of a start, as `classify` knows it."""
    if start.pretraining:
        init = str(folder.pretraining(start.pretraining.run))
        return Initialisation(dataclasses.replace(config, init=init))
    backbone = {name: getattr(start.backbone, name) for name in ("encoder", "encoder_args", "small_stem")}
    return Initialisation(dataclasses.replace(config, init=start.init, **backbone))


def _hashes(config: ClassifyConfig, images: Images) -> dict[str, str]:
    settings = hashed_settings(dataclasses.replace(config, init="", fractions=(1.0,), seeds=1))
    return {"data_hash": images.store.fingerprint, "config_hash": hash_of(settings)}
