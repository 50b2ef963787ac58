"""One training of a run (a label fraction and a seed): what is measured on it, and its two files in units/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import pandas as pd

from sonolearn.planes.head import Fitted, Probabilities
from sonolearn.planes.images import Labelled
from sonolearn.planes.metrics import confusion, per_class, scores
from sonolearn.runs import read_json, write_json, writing

CLASSIFIERS = "classifiers"


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
