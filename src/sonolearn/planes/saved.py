"""A trained classifier as one safetensors file: encoder and linear head, with a card that says how to use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sonolearn.planes.card import METADATA
from sonolearn.planes.card import ClassifierCard as ClassifierCard
from sonolearn.planes.head import Fitted
from sonolearn.runs import plain, writing
from sonolearn.ssl.encoders import Card, feature_count, normalise
from sonolearn.store.store import FRAMES, Store, open_frames


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


def cleaning_of(store: Store) -> dict[str, Any] | None:
    """The options by which the frames of a store were cleaned."""
    with open_frames(store.path / FRAMES) as h5:
        cleaning: dict[str, Any] | None = json.loads(h5.attrs.get("config", "{}")).get("cleaning")
    return cleaning
