"""Whether the encoder has seen validation or test patients in its pre-training: such a test would flatter it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sonolearn.checksums import intact
from sonolearn.console import warn
from sonolearn.data.store import Store
from sonolearn.planes.initialisation import Initialisation
from sonolearn.runs import write_json

OVERLAP_FILE = "overlap.json"
PATIENTS_FILE = "patients.csv"
UNKNOWN = "overlap of patients cannot be checked"


def check_overlap(store: Store, labels: pd.DataFrame, initialisation: Initialisation, out: Path) -> None:
    """Compare the patients of the pre-training with those of validation and test; warn, and write overlap.json."""
    found = find_overlap(store, labels, initialisation)
    write_json(out / OVERLAP_FILE, found)
    if found["sentence"]:
        warn(str(found["sentence"]))


def find_overlap(store: Store, labels: pd.DataFrame, initialisation: Initialisation) -> dict[str, Any]:
    """What is known about shared patients.

    Returns:
        state: "none" (checked, or no pre-training), "overlap" or "unknown"; patients: pseudonyms shared with valid and
        test; sentence: what to tell a person, empty if all is well.
    """
    if initialisation.file is None:
        return _found("none", {}, "")
    file = initialisation.file.parent / PATIENTS_FILE
    if not file.is_file():
        return _found("unknown", {}, f"{UNKNOWN}: no {PATIENTS_FILE} lies beside the encoder {initialisation.name}")
    seen = pd.read_csv(intact(file), dtype=str, keep_default_na=False)
    comparable = set(seen.loc[seen["key_id"] == store.key_id, "patient"])
    shared = {
        part: sorted(comparable & set(labels.loc[labels["split"] == part, "patient"])) for part in ("valid", "test")
    }
    names = sorted({*shared["valid"], *shared["test"]})
    if names:
        sentence = (
            f"{len(names)} patient{'s' if len(names) > 1 else ''} of the validation and test parts took part in the "
            f"pre-training of {initialisation.name} "
            f"({len(shared['valid'])} valid, {len(shared['test'])} test: {', '.join(names)}); do not trust its results"
        )
        return _found("overlap", shared, sentence)
    if (seen["key_id"] != store.key_id).any():
        sentence = (
            f"{UNKNOWN}: the pre-training of {initialisation.name} used pseudonyms of another key; "
            "prepare both stores with the same --key"
        )
        return _found("unknown", {}, sentence)
    return _found("none", {}, "")


def _found(state: str, patients: dict[str, list[str]], sentence: str) -> dict[str, Any]:
    return {"state": state, "patients": patients, "sentence": sentence}
