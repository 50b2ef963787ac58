"""The result tables of a finished run, made from its units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sonolearn.checksums import intact
from sonolearn.config import Draw
from sonolearn.planes.card import CLASSIFIERS
from sonolearn.planes.head import Fitted, Probabilities
from sonolearn.planes.images import Labelled
from sonolearn.planes.metrics import (
    SCORES,
    Floats,
    bootstrap_macro_f1,
    confusion,
    confusion_of_patients,
    interval,
    per_class,
    scores,
)
from sonolearn.runs import read_json, write_json, writing


@dataclass(frozen=True)
class Unit:
    """A label fraction (0 to 1) and a seed."""

    fraction: float
    seed: int

    def file(self, out: Path) -> Path:
        """Its record; it exists when, and only when, the unit is finished."""
        return out / "units" / f"fraction-{self.fraction!r}-seed-{self.seed}.json"

    def predictions(self, out: Path) -> Path:
        """Its predictions of the test part."""
        return self.file(out).with_suffix(".csv")

    def classifier(self, out: Path) -> Path:
        """Its trained classifier, where classifiers are saved."""
        return out / CLASSIFIERS / f"{self.fraction!r}_{self.seed}.safetensors"

    def is_finished(self, out: Path, saved: bool) -> bool:
        """Whether it need not be trained (again): its record is there, and its classifier if that is to be `saved`."""
        return self.file(out).exists() and (not saved or self.classifier(out).exists())


@dataclass(frozen=True)
class Record:
    """What a unit gave: the row of results.csv and its details, and the table of predictions."""

    details: dict[str, Any]
    predictions: pd.DataFrame


def measure(
    unit: Unit,
    fitted: Fitted,
    probabilities: Probabilities,
    subset: Labelled,
    parts: Mapping[str, Labelled],
    planes: tuple[str, ...],
) -> Record:
    """Compare the probabilities of the test part, (n, C), with its labels."""
    test, valid = parts["test"], parts["valid"]
    predicted = probabilities.argmax(1)
    result = {
        "fraction": unit.fraction,
        "seed": unit.seed,
        **scores(test.targets, predicted),
        "best_epoch": fitted.best_epoch,
        "regularisation": fitted.regularisation,
        # JSON has no NaN.
        "valid_balanced_accuracy": None if isnan(fitted.valid_balanced_accuracy) else fitted.valid_balanced_accuracy,
        "train_images": len(subset),
        "train_patients": subset.patients,
        "valid_images": len(valid),
        "valid_patients": valid.patients,
        "test_images": len(test),
        "test_patients": test.patients,
    }
    table = per_class(test.targets, predicted, planes).astype(object)
    details = {
        "result": result,
        "per_class": table.where(table.notna(), None).to_dict("records"),
        "confusion": confusion(test.targets, predicted, len(planes)).tolist(),
        "subset": subset.rows.tolist(),
        "history": [{k: None if isnan(v) else v for k, v in row.items()} for row in fitted.history],
    }
    names = pd.Series(planes)
    predictions = pd.DataFrame(
        {"fraction": unit.fraction, "seed": unit.seed, "row": test.rows, "patient": test.patient}
        | {"plane": names[test.targets].to_numpy(), "predicted": names[predicted].to_numpy()}
        | {f"p_{plane}": probabilities[:, i] for i, plane in enumerate(planes)}
    )
    return Record(details, predictions)


def write_unit(out: Path, unit: Unit, record: Record, seconds: float) -> None:
    """Write predictions, then the record: whoever finds the record finds the predictions too."""
    with writing(unit.predictions(out)) as temporary:
        record.predictions.to_csv(temporary, index=False)
    write_json(unit.file(out), {**record.details, "seconds": round(seconds, 3)})


def read_unit(out: Path, unit: Unit) -> dict[str, Any]:
    """The record of a finished unit."""
    record: dict[str, Any] = read_json(unit.file(out))
    return record


RESULTS, PER_CLASS, PREDICTIONS = "results.csv", "per_class.csv", "predictions.csv"
DRAWS: dict[Draw, str] = {
    "unstratified": "drawn by chance, planes unseen",
    "suggested": "suggested by the features, planes unseen",
}
"""How label fractions were drawn, for people."""
HISTORY_COLUMNS = ["fraction", "seed", "epoch", "train_loss", "valid_balanced_accuracy"]
CONFUSION, SUBSETS, SUMMARY, HISTORY = "confusion.csv", "subsets.json", "summary.csv", "history.csv"


def write_tables(out: Path, units: list[Unit], planes: tuple[str, ...]) -> pd.DataFrame:
    """Write all tables of a run whose units are finished; summary.csv comes last and says that the run is whole.

    Returns:
        results.csv: a row a fraction and seed, sorted.
    """
    units = sorted(units, key=lambda unit: (unit.fraction, unit.seed))
    records = [(unit, read_unit(out, unit)) for unit in units]
    results = pd.DataFrame([{**record["result"], "seconds": record["seconds"]} for _, record in records])
    results = results.astype({"regularisation": float, "valid_balanced_accuracy": float})  # None where nothing chose
    keyed = [({"fraction": unit.fraction, "seed": unit.seed}, record) for unit, record in records]
    predictions = pd.concat([read_predictions(unit.predictions(out)) for unit in units], ignore_index=True)
    _write(out / RESULTS, results)
    _write(out / PREDICTIONS, predictions)
    for file, entry, columns in ((PER_CLASS, "per_class", None), (HISTORY, "history", HISTORY_COLUMNS)):
        rows = [{**key, **row} for key, record in keyed for row in record[entry]]
        _write(out / file, pd.DataFrame(rows, columns=columns))
    cells = [row for key, record in keyed for row in _long(key, record["confusion"], planes)]
    _write(out / CONFUSION, pd.DataFrame(cells))
    write_json(out / SUBSETS, [{**key, "rows": record["subset"]} for key, record in keyed])
    _write(out / SUMMARY, summarise(results, predictions, planes))
    return results


def summarise(results: pd.DataFrame, predictions: pd.DataFrame, planes: tuple[str, ...]) -> pd.DataFrame:
    """A row a label fraction: mean, SD (n - 1), least and most of each score over seeds, images and patients.

    macro_f1_low and macro_f1_high are a 95 % bootstrap interval over the test patients of the mean over seeds: how the
    same classifiers might do on other patients. The SD is over seeds: how other draws of labels and weights might do.
    """
    rows = []
    for fraction in sorted(results["fraction"].unique()):
        group = results[results["fraction"] == fraction]
        row: dict[str, Any] = {"fraction": fraction, "seeds": len(group)}
        for score in SCORES:
            values = group[score]
            row |= {f"{score}_mean": values.mean(), f"{score}_sd": values.std(ddof=1)}
            row |= {f"{score}_min": values.min(), f"{score}_max": values.max()}
        drawn = bootstrap_macro_f1(confusions(predictions[predictions["fraction"] == fraction], planes), seed=0)
        row["macro_f1_low"], row["macro_f1_high"] = interval(drawn)
        patients = group["train_patients"]
        row |= {name: group[name].max() for name in ("train_images", "valid_images")}
        row |= {"train_patients_min": patients.min(), "train_patients_max": patients.max()}
        row |= {name: group[name].max() for name in ("test_images", "test_patients")}
        rows.append(row)
    return pd.DataFrame(rows)


def confusions(predictions: pd.DataFrame, planes: tuple[str, ...]) -> Floats:
    """(T, P, C, C) confusion matrices of T trainings (seeds, sorted) and P test patients (sorted)."""
    index = {plane: i for i, plane in enumerate(planes)}
    each = [
        confusion_of_patients(
            np.asarray(group["plane"].map(index), np.int64),
            np.asarray(group["predicted"].map(index), np.int64),
            group["patient"].to_numpy(object),
            len(planes),
        )
        for _, group in predictions.groupby("seed")
    ]
    return np.stack(each)


def read_predictions(path: Path) -> pd.DataFrame:
    """A table of predictions; planes and pseudonyms are text even where they look like numbers."""
    text = dict.fromkeys(("patient", "plane", "predicted"), str)
    return pd.read_csv(intact(path), dtype=text, keep_default_na=False)


def print_summary(out: Path, title: str, draw: Draw) -> None:
    """Print summary.csv as a table on standard output."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    rows = pd.read_csv(out / SUMMARY).to_dict("records")
    seeds, patients = int(rows[0]["seeds"]), int(rows[0]["test_patients"])
    table = Table(title=f"{title}: test part, mean ± SD over {seeds} seeds", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for head in ("labels", "images used", "patients", "macro F1", "95 % CI*", "bal. accuracy"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        least, most = int(row["train_patients_min"]), int(row["train_patients_max"])
        table.add_row(
            f"{100 * row['fraction']:g} %",
            images_used(row["train_images"], row["valid_images"]),
            str(least) if least == most else f"{least}-{most}",
            mean_sd(row["macro_f1_mean"], row["macro_f1_sd"]),
            f"{row['macro_f1_low']:.3f} to {row['macro_f1_high']:.3f}",
            mean_sd(row["balanced_accuracy_mean"], row["balanced_accuracy_sd"]),
        )
    screen = Console()
    screen.print(table)
    if draw != "random":
        screen.print(f"labels: {DRAWS[draw]}")
    screen.print(f"* macro F1, mean over seeds: bootstrap over the {patients} test patients. All tables: {out}")


def images_used(train: float, valid: float) -> str:
    """Labelled images that a figure used: 6; or 6 + 174, where a validation part chose something."""
    return f"{train:.0f} + {valid:.0f}" if valid else f"{train:.0f}"


def mean_sd(mean: float, sd: float) -> str:
    """0.812 ± 0.034; the mean alone where one seed has no SD."""
    return f"{mean:.3f}" if np.isnan(sd) else f"{mean:.3f} ± {sd:.3f}"


def _long(key: dict[str, float], matrix: list[list[int]], planes: tuple[str, ...]) -> list[dict[str, object]]:
    return [
        {**key, "plane": truth, "predicted": predicted, "images": count}
        for truth, counts in zip(planes, matrix, strict=True)
        for predicted, count in zip(planes, counts, strict=True)
    ]


def _write(path: Path, table: pd.DataFrame) -> None:
    with writing(path) as temporary:
        table.to_csv(temporary, index=False)
