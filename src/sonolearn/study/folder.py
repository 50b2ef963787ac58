"""The folder of a study: what lies where, whose it is, and that one runner at a time works in it.

study.json       the plan as read, fingerprints of the stores, machine; a changed store is refused
data/            the phantom and its stores, where the plan makes them
pretrain/HASH/   a folder a pre-training, as `pretrain` makes it
runs/HASH.json   a record a downstream run; it exists when, and only when, the run is finished
failed/TASK.json what went wrong
features/        features of the test images, for the picture of embeddings
cams/            Grad-CAM sheets
logs/            what trainings printed
timings.csv      a row a finished task: when, and how long
results.parquet, results.csv, predictions.parquet    the tables
report/          the page
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonolearn.console import UserError
from sonolearn.planes.head import Fitted, Probabilities
from sonolearn.planes.results import measure
from sonolearn.planes.run import Trainer
from sonolearn.runs import is_leftover, machine, read_json, write_json
from sonolearn.study.grid import Downstream
from sonolearn.version import __version__

VERSION = 1


@dataclass(frozen=True)
class StudyFolder:
    """Paths of a study."""

    out: Path

    @property
    def record(self) -> Path:
        """study.json."""
        return self.out / "study.json"

    @property
    def data(self) -> Path:
        """Where a plan's phantom and its stores are made."""
        return self.out / "data"

    def pretraining(self, run: str) -> Path:
        """Run folder of a pre-training."""
        return self.out / "pretrain" / run

    def run(self, run: str) -> Path:
        """Record of a downstream run."""
        return self.out / "runs" / f"{run}.json"

    def failure(self, task: str) -> Path:
        """What is known of a task that failed."""
        return self.out / "failed" / f"{task}.json"

    def features(self, start: str) -> Path:
        """Features of the test images by an initialisation."""
        return self.out / "features" / f"{start}.npz"

    def cam(self, run: str) -> Path:
        """Grad-CAM sheet of a fine-tuned classifier."""
        return self.out / "cams" / f"{run}.png"

    def log(self, task: str) -> Path:
        """What a task printed."""
        return self.out / "logs" / f"{task}.txt"

    @property
    def timings(self) -> Path:
        """A row a finished task."""
        return self.out / "timings.csv"

    def finished_runs(self) -> set[str]:
        """Hashes of the downstream runs that are there; one look at the folder, however many."""
        return {name[:-5] for name in _names(self.out / "runs") if name.endswith(".json") and name[0] != "."}

    def failures(self) -> dict[str, dict[str, Any]]:
        """What failed, by name of the task."""
        names = sorted(name for name in _names(self.out / "failed") if name.endswith(".json") and name[0] != ".")
        return {name[:-5]: read_json(self.out / "failed" / name) for name in names}

    def claim(self, plan: Any, data: Mapping[str, str]) -> None:
        """Make the folder this study's, or check that it is; the plan may change, the data may not.

        Pre-trainings of another study may lie there before it begins: their names say all that they depend on.

        Raises:
            UserError: another version's study, another store than before, or a folder of something else.
        """
        if self.record.exists():
            self._check(read_json(self.record), data)
        elif any(name not in ("data", "pretrain") and not is_leftover(name) for name in _names(self.out)):
            raise UserError(f"{self.out}: exists and is not a study; give another --out")
        write_json(
            self.record,
            {"version": VERSION, "sonolearn": __version__, "plan": plan, "data": dict(data), "machine": machine()},
        )

    def read(self) -> dict[str, Any]:
        """study.json.

        Raises:
            UserError: there is none, or it is another version's.
        """
        if not self.record.is_file():
            raise UserError(
                f"{self.out}: is not a study (it has no {self.record.name}); start one with `sonolearn study run`"
            )
        found: dict[str, Any] = read_json(self.record)
        self._check_version(found)
        return found

    def _check(self, found: dict[str, Any], data: Mapping[str, str]) -> None:
        self._check_version(found)
        for name in sorted({*found["data"], *data}):
            before, now = found["data"].get(name), data.get(name)
            if before != now:
                change = "has changed since" if before and now else "was " + ("added" if now else "taken away")
                raise UserError(
                    f"{self.out}: {name} {change} this study began (fingerprint {before or 'none'}, now "
                    f"{now or 'none'}); its results would not compare: restore it, or give another --out"
                )

    def _check_version(self, found: Any) -> None:
        version = found.get("version") if isinstance(found, dict) else None
        if version != VERSION:
            raise UserError(
                f"{self.out}: holds results of version {version} of studies, this sonolearn writes version {VERSION}; "
                "report them with the sonolearn that made them, or give another --out"
            )


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except FileNotFoundError:
        return set()


def write_record(
    folder: StudyFolder,
    run: Downstream,
    trainer: Trainer,
    fitted: Fitted,
    probabilities: Probabilities,
    more: dict[str, Any],
) -> None:
    """Measure a fitted classifier on the test part and write its record.

    Args:
        folder: of the study.
        run: what it is.
        trainer: what fitted it.
        fitted: the classifier.
        probabilities: (n, C) of the test images.
        more: further entries: seconds, data_hash, config_hash, regularisation, ...
    """
    subset, planes = trainer.subset(run.unit), trainer.images.planes
    details = measure(run.unit, fitted, probabilities, subset, trainer.parts, planes).details
    start = run.start
    write_json(
        folder.run(run.run),
        {
            "version": VERSION,
            "run": run.run,
            **run.columns,
            "start": start.key,
            "pretrain": start.pretraining.run if start.pretraining else "",
            "pretrain_seed": start.seed,
            **details["result"],
            **more,
            "sonolearn": __version__,
            "history": [[h["train_loss"], h["valid_balanced_accuracy"]] for h in details["history"]],
            "labels": details["subset"],
            "predicted": _packed(probabilities.argmax(1).astype(np.uint8)),
            "probabilities": _packed(probabilities.astype(np.float16)),
        },
    )


def read_record(folder: StudyFolder, run: str) -> dict[str, Any]:
    """The record of a finished run; `predicted` is (n,) uint8, `probabilities` (n, C) float32.

    Raises:
        UserError: it is damaged, or another version's.
    """
    path = folder.run(run)
    found = read_json(path)
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise UserError(f"{path}: is not a record of this version of studies; delete it, and it will be run again")
    try:
        found["predicted"] = _unpacked(found["predicted"], np.dtype(np.uint8))
        found["probabilities"] = (
            _unpacked(found["probabilities"], np.dtype(np.float16))
            .reshape(len(found["predicted"]), -1)
            .astype(np.float32)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: is damaged ({error}); delete it, and it will be run again") from error
    return found


def _packed(values: NDArray[Any]) -> str:
    """Base64 of little-endian bytes: a hundredth of the time that a list of numbers takes to read."""
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def _unpacked(text: str, kind: np.dtype[Any]) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), kind.newbyteorder("<"))
