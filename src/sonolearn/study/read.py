"""Finished runs as the report needs them, read from their folders; nothing of it depends on where the folders lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sonolearn.checksums import intact
from sonolearn.console import UserError
from sonolearn.planes import tables
from sonolearn.planes.classify import DATA_FILE
from sonolearn.planes.overlap import OVERLAP_FILE
from sonolearn.runs import RUN_FILE, read_json

METRICS, VIEWS, REBUILT, PRETRAIN_SUMMARY = "metrics.csv", "views.png", "rebuilt.png", "summary.json"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: its folder; only its name may be shown.
        record: run.json.
    """

    path: Path
    record: dict[str, Any]

    @property
    def folder(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name


@dataclass(frozen=True)
class PretrainRun(Run):
    """A finished pre-training.

    Attributes:
        summary: summary.json; older runs name no views or positives and have no monitors.
        metrics: metrics.csv, a row a part (train, valid, monitor) and step.
        views: views.png.
        rebuilt: rebuilt.png, of methods that rebuild frames.
    """

    summary: dict[str, Any]
    metrics: pd.DataFrame
    views: bytes | None
    rebuilt: bytes | None


@dataclass(frozen=True)
class ClassifyRun(Run):
    """A finished grid of trainings of one initialisation and mode.

    Attributes:
        name: of the initialisation, different for all runs of a report that are compared.
        store: what data.json says of the labelled store.
        initialisation: what it says of the initialisation.
        overlap: overlap.json.
        results: a row a fraction and seed.
        summary: a row a fraction.
        per_class: a row a fraction, seed and plane.
        confusion: a row a fraction, seed, plane and predicted plane.
        predictions: a row a fraction, seed and test image.
    """

    name: str
    store: dict[str, Any]
    initialisation: dict[str, Any]
    overlap: dict[str, Any]
    results: pd.DataFrame
    summary: pd.DataFrame
    per_class: pd.DataFrame
    confusion: pd.DataFrame
    predictions: pd.DataFrame

    @property
    def mode(self) -> str:
        """finetune, linear or knn."""
        return str(self.record["config"]["mode"])

    @property
    def planes(self) -> tuple[str, ...]:
        """The classes in the store's order."""
        return tuple(self.store["planes"])

    @property
    def fractions(self) -> list[float]:
        """Label fractions, rising."""
        return [float(f) for f in self.summary["fraction"]]


def read_run(path: Path) -> PretrainRun | ClassifyRun:
    """Read one run folder.

    Raises:
        UserError: it is no run, a run of another command, unfinished or damaged.
    """
    if not (path / RUN_FILE).is_file():
        raise UserError(f"{path}: is no run (it has no {RUN_FILE}); give folders that `pretrain` or `classify` made")
    record = read_json(path / RUN_FILE)
    readers: dict[str, tuple[str, Callable[[Path, dict[str, Any]], PretrainRun | ClassifyRun]]] = {
        "pretrain": (PRETRAIN_SUMMARY, _read_pretrain),
        "classify": (tables.SUMMARY, _read_classify),
    }
    command = record.get("command") if isinstance(record, dict) else None
    if command not in readers:
        raise UserError(f"{path}: is a run of `{command}`; give folders that `pretrain` or `classify` made")
    last_file, reader = readers[command]
    if not (path / last_file).is_file():
        raise UserError(f"{path}: is not finished; run its `{command}` command again, it goes on where it stopped")
    try:
        return reader(path, record)
    except (KeyError, OSError, pd.errors.ParserError, pd.errors.EmptyDataError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: is damaged ({error}); delete the folder and run `{command}` again") from error


def _read_pretrain(path: Path, record: dict[str, Any]) -> PretrainRun:
    views, rebuilt = [
        intact(picture).read_bytes() if picture.is_file() else None for picture in (path / VIEWS, path / REBUILT)
    ]
    return PretrainRun(
        path, record, read_json(path / PRETRAIN_SUMMARY), pd.read_csv(intact(path / METRICS)), views, rebuilt
    )


def _read_classify(path: Path, record: dict[str, Any]) -> ClassifyRun:
    data = read_json(path / DATA_FILE)
    text = {"plane": str, "predicted": str}
    return ClassifyRun(
        path,
        record,
        data["initialisation"]["name"],
        data["store"],
        data["initialisation"],
        read_json(path / OVERLAP_FILE),
        pd.read_csv(intact(path / tables.RESULTS)),
        pd.read_csv(intact(path / tables.SUMMARY)),
        pd.read_csv(intact(path / tables.PER_CLASS), dtype={"plane": str}, keep_default_na=False, na_values=[""]),
        pd.read_csv(intact(path / tables.CONFUSION), dtype=text, keep_default_na=False),
        tables.read_predictions(path / tables.PREDICTIONS),
    )
