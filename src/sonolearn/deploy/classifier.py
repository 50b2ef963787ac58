"""A saved classifier: its card, which needs no torch, and its network, which is loaded where it is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from sonolearn.checksums import intact
from sonolearn.console import UserError
from sonolearn.planes.card import CLASSIFIERS, METADATA, ClassifierCard, card_from

if TYPE_CHECKING:
    from sonolearn.planes.saved import PlaneNetwork

REMEDY = "give a run of `sonolearn classify --save_classifiers true`, or one file of its classifiers"


@dataclass(frozen=True)
class Classifier:
    """A classifier in a file.

    Attributes:
        card: what its outputs mean, and what frames it takes.
        file: where it came from.
    """

    card: ClassifierCard
    file: Path

    @cached_property
    def network(self) -> PlaneNetwork:
        """(N, S, S) uint8 frames to (N, C) float32 probabilities, in evaluation mode."""
        from sonolearn.deploy.network import load_network

        return load_network(self)

    @property
    def image_size(self) -> int:
        """Side S in px of the frames that the network takes."""
        size = self.card.encoder.image_size
        assert size is not None  # `classify` always writes it
        return size


def load_classifier(path: Path) -> Classifier:
    """Read the card of a classifier.

    Args:
        path: its file, or the run folder of `classify`, which stands for its largest fraction with seed 0.

    Raises:
        UserError: no such file, no classifier, or a damaged one.
    """
    file = classifier_file(path)
    return Classifier(_card(file), file)


def classifier_file(path: Path) -> Path:
    """The file that `--classifier` means."""
    if path.is_file():
        return intact(path)
    if not path.is_dir():
        raise UserError(f"--classifier {path}: no such file or folder; {REMEDY}")
    found = {}
    for file in (path / CLASSIFIERS).glob("*_0.safetensors"):
        if re.fullmatch(r"[\d.e-]+_0", file.stem):
            found[float(file.stem.removesuffix("_0"))] = file
    if not found:
        raise UserError(f"--classifier {path}: holds no classifier of seed 0; {REMEDY}")
    return intact(found[max(found)])


def _card(file: Path) -> ClassifierCard:
    try:
        with safe_open(file, framework="numpy") as stored:
            text = (stored.metadata() or {}).get(METADATA)
        card = card_from(text) if text else None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: cannot be read as a classifier of sonolearn; {REMEDY}") from error
    if card is None:
        raise UserError(f"{file}: is not a plane classifier, but an encoder or another program's file; {REMEDY}")
    return card
