"""A trained classifier as one safetensors file: encoder and linear head, with a card that says how to use them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sonolearn.console import no_formula, one_line
from sonolearn.planes.head import Fitted
from sonolearn.runs import plain, writing
from sonolearn.ssl.encoders import Card, feature_count, normalise
from sonolearn.store.store import FRAMES, Store, open_frames
from sonolearn.version import __version__

METADATA = "sonolearn"


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


class PlaneNetwork(nn.Module):
    """The whole way from a picture to probabilities: (N, H, W) uint8 to (N, C) float32, which add up to 1.

    Logits are head(encoder(normalised) - centre), see `LinearHead`.
    """

    centre: Tensor

    def __init__(self, encoder: nn.Module, classes: int, mean: float, std: float) -> None:
        """A network with an untrained head; mean and deviation are of grey values from 0 to 1."""
        super().__init__()
        self.encoder, self.mean, self.std = encoder, mean, std
        self.register_buffer("centre", torch.zeros(feature_count(encoder)))
        self.head = nn.Linear(feature_count(encoder), classes)

    def forward(self, frames: Tensor) -> Tensor:
        """Probabilities of frames of the card's image size."""
        features = self.encoder(normalise(frames, self.mean, self.std)).float()
        logits: Tensor = self.head(features - self.centre)
        return logits.softmax(1)


def network_of(fitted: Fitted, encoder: nn.Module, card: Card, classes: int) -> PlaneNetwork:
    """The network of a fitted classifier.

    Args:
        fitted: of mode finetune or linear.
        encoder: the frozen encoder of linear; not used for finetune, which has its own.
        card: its normalisation, for linear.
        classes: C.
    """
    if fitted.classifier is not None:
        network, head = PlaneNetwork(fitted.classifier.encoder, classes, *fitted.normalisation), fitted.linear
    else:
        network, head = PlaneNetwork(encoder, classes, card.mean, card.std), fitted.linear
    assert head is not None  # kNN has no network, and is refused with the options
    weights = {"centre": head.centre, "head.weight": head.weight, "head.bias": head.bias}
    network.load_state_dict(weights, strict=False)
    return network.eval()


def save_classifier(file: Path, network: PlaneNetwork, card: ClassifierCard) -> None:
    """Write weights and card, whole or not at all."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with writing(file) as temporary:
        save_file(weights, temporary, metadata={METADATA: json.dumps(plain(card))})


def card_from(text: str) -> ClassifierCard | None:
    """A card from its JSON; None where it is that of an encoder."""
    found = json.loads(text)
    if "planes" not in found:
        return None
    encoder = Card(**{f.name: found["encoder"][f.name] for f in dataclasses.fields(Card)})
    planes = tuple(no_formula(one_line(plane)) for plane in found["planes"])  # the file may be anybody's
    kept = {f.name: found[f.name] for f in dataclasses.fields(ClassifierCard)}
    return ClassifierCard(**{**kept, "encoder": encoder, "planes": planes})


def cleaning_of(store: Store) -> dict[str, Any] | None:
    """The options by which the frames of a store were cleaned."""
    with open_frames(store.path / FRAMES) as h5:
        cleaning: dict[str, Any] | None = json.loads(h5.attrs.get("config", "{}")).get("cleaning")
    return cleaning
