"""Finished runs as the report needs them, read from their folders; nothing of it depends on where the folders lie."""

from __future__ import annotations

import json
import math
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
from sonolearn.planes.metrics import bootstrap_macro_f1, macro_f1_of
from sonolearn.planes.results import confusions
from sonolearn.recipes import classify_recipe, recipe
from sonolearn.runs import RUN_FILE, plain, read_json
from sonolearn.statistics.estimates import estimate, over_patients, over_units


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


# Options that say what the encoder is; all others should agree between runs that are compared.
WHAT_IS_COMPARED = frozenset({"init", "encoder", "encoder_args", "small_stem", "fractions", "seeds", "image_size"})


@dataclass(frozen=True)
class Difference:
    """Macro F1 of a run minus that of the baseline at one label fraction.

    Attributes:
        fraction: label fraction.
        seeds: number of pairs (same fraction, same seed, hence the same labels).
        mean: mean difference over the pairs.
        low: lower end of the 95 % interval; NaN where it cannot be told.
        high: its upper end.
    """

    fraction: float
    seeds: int
    mean: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out 0; False where there is no interval."""
        return self.low > 0 or self.high < 0


def paired_differences(run: ClassifyRun, baseline: ClassifyRun) -> list[Difference]:
    """Differences at all label fractions that both runs have with common seeds.

    The interval is for other seeds *and* other test patients. The variance over seeds is that of the mean of the paired
    differences; the variance over patients is that of a paired bootstrap of the test patients; they add up, and
    Student's t takes the degrees of freedom of Welch and Satterthwaite. One seed, or one test patient, gives no
    interval. It is not corrected for the number of comparisons.

    Raises:
        ValueError: the runs were tested on different images.
    """
    if run.store["fingerprint"] != baseline.store["fingerprint"]:
        raise ValueError("runs on different stores cannot be compared")
    found = (_difference(run, baseline, fraction) for fraction in run.fractions if fraction in baseline.fractions)
    return [difference for difference in found if difference.seeds]


def _difference(run: ClassifyRun, baseline: ClassifyRun, fraction: float) -> Difference:
    tables = [r.predictions[r.predictions["fraction"] == fraction] for r in (run, baseline)]
    seeds = sorted(set(tables[0]["seed"]) & set(tables[1]["seed"]))
    if not seeds:
        return Difference(fraction, 0, math.nan, math.nan, math.nan)
    ours, theirs = (confusions(table[table["seed"].isin(seeds)], run.planes) for table in tables)
    pairs = macro_f1_of(ours.sum(1)) - macro_f1_of(theirs.sum(1))
    drawn = bootstrap_macro_f1(ours, seed=0) - bootstrap_macro_f1(theirs, seed=0)
    found = estimate(float(pairs.mean()), [over_units(pairs), over_patients(drawn, patients=ours.shape[1])])
    return Difference(fraction, len(seeds), found.mean, found.low, found.high)


def baseline_of(runs: list[ClassifyRun]) -> ClassifyRun | None:
    """The run that started from random weights, which the others are compared with."""
    return next((run for run in runs if run.initialisation["init"] == "random"), None)


def differing_settings(run: ClassifyRun, baseline: ClassifyRun) -> list[str]:
    """Names of the options other than the initialisation in which two runs differ."""
    ours, theirs = run.record["config"], baseline.record["config"]
    names = sorted(k for k in {*ours, *theirs} - WHAT_IS_COMPARED if ours.get(k) != theirs.get(k))
    names += [k for k in ("encoder", "image_size") if run.initialisation[k] != baseline.initialisation[k]]
    return names
