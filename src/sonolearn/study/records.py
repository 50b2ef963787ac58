"""What a downstream run leaves behind: one JSON file with its figures, its labels and every prediction."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonolearn.console import UserError
from sonolearn.planes.head import Fitted, Probabilities
from sonolearn.planes.images import Labelled
from sonolearn.planes.units import Unit, measure
from sonolearn.runs import read_json, write_json
from sonolearn.study.folder import VERSION, StudyFolder
from sonolearn.study.grid import Downstream
from sonolearn.version import __version__


def write_record(
    folder: StudyFolder,
    run: Downstream,
    fitted: Fitted,
    probabilities: Probabilities,
    subset: Labelled,
    parts: dict[str, Labelled],
    planes: tuple[str, ...],
    more: dict[str, Any],
) -> None:
    """Measure a fitted classifier on the test part and write its record.

    Args:
        folder: of the study.
        run: what it is.
        fitted: the classifier.
        probabilities: (n, C) of the test images.
        subset: the labelled images that it was fitted on.
        parts: train, valid and test.
        planes: the C classes.
        more: further entries: seconds, data_hash, config_hash, regularisation, ...
    """
    details = measure(Unit(run.fraction, run.seed), fitted, probabilities, subset, parts, planes).details
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
        raise UserError(f"{path}: is no record of this version of studies; delete it, and it will be run again")
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
