"""The card of a trained classifier, and where a run keeps them; needs no torch, to predict by ONNX Runtime alone."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonolearn.console import no_formula, one_line
from sonolearn.ssl.card import Card
from sonolearn.version import __version__

CLASSIFIERS = "classifiers"
"""The folder of a run's classifiers."""
METADATA = "sonolearn"
"""The entry of a safetensors file's metadata that holds the card."""
Probabilities = NDArray[np.float32]
"""(N, C), rows add up to 1."""


@dataclass(frozen=True)
class ClassifierCard:
    """What a person or a program needs to know to use a classifier."""

    encoder: Card
    """Its backbone, the side of its input in px, and its normalisation."""
    planes: tuple[str, ...]
    """The C classes, in the order of its outputs."""
    frame_size: int
    """Side in px to which scans were cleaned; frames were then resized to the encoder's image size."""
    cleaning: dict[str, Any] | None
    """Options of that cleaning; None where the store does not say."""
    mode: str
    """finetune or linear."""
    fraction: float
    """Share of the labelled training images."""
    seed: int
    train_images: int
    train_patients: int
    sonolearn: str = __version__


def card_from(text: str) -> ClassifierCard | None:
    """A card from its JSON; None where it is that of an encoder."""
    found = json.loads(text)
    if "planes" not in found:
        return None
    encoder = Card(**{f.name: found["encoder"][f.name] for f in dataclasses.fields(Card)})
    planes = tuple(no_formula(one_line(plane)) for plane in found["planes"])  # the file may be anybody's
    kept = {f.name: found[f.name] for f in dataclasses.fields(ClassifierCard)}
    return ClassifierCard(**{**kept, "encoder": encoder, "planes": planes})
