"""What a worker of a study does: a pre-training, everything on frozen features of one encoder, or one fine-tuning.

A task writes its results itself and returns nothing: it can run in another process or on another machine that shares
the study's folder. Done again after an interruption it does what is missing.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from sonolearn.config import ClassifyConfig
from sonolearn.planes.gradcam import write_cams
from sonolearn.planes.head import Fitted
from sonolearn.planes.images import LabelledImages, check_labels
from sonolearn.planes.initialisation import Initialisation
from sonolearn.planes.run import Trainer
from sonolearn.runs import hash_of, hashed_settings, writing
from sonolearn.ssl.pretrain import pretrain
from sonolearn.ssl.run_folder import has_encoder, is_finished
from sonolearn.store.store import Store
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
        features: dict[str, dict[str, Tensor]] = {}
        fitted: list[tuple[Downstream, Trainer, Fitted]] = []
        for mode, config in self.modes.items():
            runs = [run for run in self.runs if run.mode == mode]
            initialisation = starting_from(folder, self.start, config)
            images = labelled_images(self.store, initialisation.image_size)
            known = features.setdefault(config.precision, {})
            trainer = Trainer(images, initialisation, self.seed, [run.unit for run in runs], known)
            fitted += [(run, trainer, trainer.fit(run.unit)) for run in runs]
        there = folder.finished_runs()
        each = (time.perf_counter() - start_time) / max(1, len(fitted))
        for run, trainer, classifier in fitted:
            if run.run not in there:
                probabilities, more = (
                    classifier.predict(trainer.inputs("test")),
                    _more(trainer, self.modes[run.mode], each),
                )
                write_record(folder, run, trainer, classifier, probabilities, more)
        if not self.start.seed:
            rows, test = trainer.parts["test"].rows, known["test"].cpu().numpy().astype(np.float16)
            with writing(folder.features(self.start.key)) as temporary, temporary.open("wb") as file:
                np.savez(file, features=test, rows=rows)


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
        initialisation = starting_from(folder, run.start, dataclasses.replace(self.config, workers=loaders))
        images = labelled_images(self.store, initialisation.image_size)
        # Random weights are those of the start; whatever else is drawn comes from the run's own seed.
        trainer = Trainer(images, initialisation, run.start.seed or 0, [run.unit])
        fitted = trainer.fit(run.unit)
        probabilities = fitted.predict(trainer.inputs("test"))
        if self.explain:
            targets = images.parts["test"].targets
            write_cams(folder.cam(run.run), fitted, images.frames("test"), targets, images.planes)
        more = _more(trainer, self.config, time.perf_counter() - start_time)
        write_record(folder, run, trainer, fitted, probabilities, more)


Task = PretrainTask | FrozenTask | FinetuneTask


@lru_cache(maxsize=2)
def labelled_images(store: Path, size: int) -> LabelledImages:
    """The labelled images of a store at `size` px, shared by the tasks of a process."""
    source = Store(store)
    return LabelledImages(source, check_labels(source, ("train", "test")), size)


def in_words(start: Start) -> str:
    """An initialisation for people."""
    parts = [f"{start.name} ({start.encoder})", start.pool, "" if start.seed is None else f"seed {start.seed}"]
    return ", ".join(part for part in parts if part)


def starting_from(folder: StudyFolder, start: Start, config: ClassifyConfig) -> Initialisation:
    """The initialisation of a start, as `classify` knows it."""
    if start.pretraining:
        init = str(folder.pretraining(start.pretraining.run))
        return Initialisation(dataclasses.replace(config, init=init))
    backbone = {name: getattr(start.backbone, name) for name in ("encoder", "encoder_args", "small_stem")}
    return Initialisation(dataclasses.replace(config, init=start.init, **backbone))


def _more(trainer: Trainer, config: ClassifyConfig, seconds: float) -> dict[str, Any]:
    """What a record says besides its results."""
    settings = hashed_settings(dataclasses.replace(config, init="", fractions=(1.0,), seeds=1))
    return {"data_hash": trainer.images.store.fingerprint, "config_hash": hash_of(settings), "seconds": seconds}
