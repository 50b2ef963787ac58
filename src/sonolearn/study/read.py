"""Finished runs as the report needs them, read from their folders; nothing of it depends on where the folders lie."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from sonolearn.checksums import intact
from sonolearn.config import ClassifyConfig, PretrainConfig
from sonolearn.console import UserError
from sonolearn.planes import results as tables
from sonolearn.planes.classify import DATA_FILE
from sonolearn.planes.initialisation import OVERLAP_FILE
from sonolearn.recipes import classify_recipe, recipe
from sonolearn.runs import RUN_FILE, plain, read_json


def command_of(run: PretrainRun | ClassifyRun) -> str:
    """One command line with every option that is not the default; of a pre-training, always with its method."""
    kind, config = run.record["command"], run.record["config"]
    words = ["sonolearn", kind, *stores_of(run), *_names(run)]
    for name, value in _differing(config, defaults_of(run)):
        words += [f"--{name}", *_words(PurePath(value).name if name == "init" else value)]
    return shlex.join([*words, "--out", run.folder])


def stores_of(run: PretrainRun | ClassifyRun) -> list[str]:
    """Names of the stores that a run read."""
    if isinstance(run, ClassifyRun):
        return [str(run.store["name"])]
    return [str(store["name"]) for store in run.summary["stores"]]


def defaults_of(run: PretrainRun | ClassifyRun) -> dict[str, Any]:
    """What the options that a command line leaves out come to: those of the recipe and of the presets that it names."""
    # Runs of before there were presets name none.
    names = {group: run.record["config"].get(group, {}).get("name") for group in ("views", "positives")}
    found: dict[str, Any] = plain(_recipe_of(run, **{group: {"name": name} for group, name in names.items() if name}))
    return found


def _recipe_of(run: PretrainRun | ClassifyRun, **presets: dict[str, str]) -> PretrainConfig | ClassifyConfig:
    """The recipe of a run, with other presets; runs of before there were recipes followed the study's."""
    config = run.record["config"]
    if isinstance(run, PretrainRun):
        return recipe(config["method"], config.get("recipe"), **presets)
    return classify_recipe(config.get("recipe", "study"), **presets)


def _names(run: PretrainRun | ClassifyRun) -> Iterator[str]:
    """Method, recipe and presets: what the defaults of all other options hang on."""
    own = _recipe_of(run)
    if isinstance(own, PretrainConfig):
        yield from ("--method", own.method)
    if own.recipe != "adapt":
        yield from ("--recipe", own.recipe or "null")
    for group in ("views", "positives"):
        default = getattr(getattr(own, group, None), "name", None)
        chosen = run.record["config"].get(group, {}).get("name", default)
        if chosen != default:
            yield from (f"--{group}", chosen)


def _differing(config: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        default = defaults.get(name)
        if isinstance(value, dict) and isinstance(default, dict) and default:
            yield from _differing(value, default, f"{prefix}{name}.")
        elif value != default:
            yield prefix + name, value


def _words(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    return [value if isinstance(value, str) else json.dumps(value)]


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
        name: of the initialisation.
        store: what data.json says of the labelled store.
        initialisation: what it says of the initialisation.
        overlap: overlap.json.
        results: a row a fraction and seed.
        summary: a row a fraction.
        predictions: a row a fraction, seed and test image.
    """

    name: str
    store: dict[str, Any]
    initialisation: dict[str, Any]
    overlap: dict[str, Any]
    results: pd.DataFrame
    summary: pd.DataFrame
    predictions: pd.DataFrame

    @property
    def mode(self) -> str:
        """finetune, linear or knn."""
        return str(self.record["config"]["mode"])

    @property
    def encoder(self) -> str:
        """Name of the backbone."""
        return str(self.initialisation["encoder"])

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
        UserError: it is not a run, a run of another command, unfinished or damaged.
    """
    if not (path / RUN_FILE).is_file():
        raise UserError(f"{path}: is not a run (it has no {RUN_FILE}); give folders that `pretrain` or `classify` made")
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
        raise UserError(f"{path}: is not finished; run its `{command}` command again, it continues where it stopped")
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
    return ClassifyRun(
        path,
        record,
        data["initialisation"]["name"],
        data["store"],
        data["initialisation"],
        read_json(path / OVERLAP_FILE),
        pd.read_csv(intact(path / tables.RESULTS)),
        pd.read_csv(intact(path / tables.SUMMARY)),
        tables.read_predictions(path / tables.PREDICTIONS),
    )
