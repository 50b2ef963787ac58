"""A trained classifier as one safetensors file: encoder and linear head, with a card that says how to use them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sonolearn.console import UserError
from sonolearn.data.store import FRAMES, Store
from sonolearn.planes.head import Fitted, Probabilities
from sonolearn.runs import plain, writing
from sonolearn.ssl.encoders import Card, feature_count, normalise
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

    Logits are head(encoder(normalised) - centre). The centre is that of the training features: raw features may be far
    from 0 compared with how they differ, and a head that made up for it in its bias would round the difference away.
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


def network_of(fitted: Fitted, encoder: nn.Module, card: Card, train: Tensor, classes: int) -> PlaneNetwork:
    """The network of a fitted classifier.

    Args:
        fitted: of mode finetune or linear.
        encoder: the frozen encoder of linear; not used for finetune, which has its own.
        card: its normalisation, for linear.
        train: what a linear head was fitted on, or more of the like: (n, F) features.
        classes: C.
    """
    if fitted.classifier is not None:
        network = PlaneNetwork(fitted.classifier.encoder, classes, *fitted.normalisation)
        network.head.load_state_dict(fitted.classifier.head.state_dict())
        return network.eval()
    network = PlaneNetwork(encoder, classes, card.mean, card.std)
    centre, weight, bias = head_behind(fitted.predict, train)
    network.load_state_dict({"centre": centre, "head.weight": weight, "head.bias": bias}, strict=False)
    return network.eval()


def head_behind(predict: Callable[[Tensor], Probabilities], train: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The linear head that makes these probabilities, whatever fitted it and whatever it standardises by.

    The logarithm of a softmax of linear logits is linear but for a term that all classes share, so that F + 1 points
    tell weights and bias: the centre of the training features, and from there one standard deviation along each.

    Args:
        predict: (n, F) features to the (n, C) softmax of linear logits.
        train: (n, F) features.

    Returns:
        (F,) centre, (C, F) weights of features less the centre, and (C,) bias. A class that is never predicted has
        bias -inf, which a softmax turns into 0.

    Raises:
        UserError: the probability of a class vanishes within one standard deviation.
    """
    std, centre = torch.std_mean(train, dim=0, correction=0)
    points = centre + torch.diag(torch.where(std > 0, std, 1))
    steps = (points - centre).diagonal().double().cpu()  # as they are after rounding
    with np.errstate(divide="ignore"):
        logits = torch.from_numpy(np.log(predict(torch.cat([centre[None], points])).astype(np.float64)))
    present = torch.isfinite(logits[0])
    logits[:, present] -= logits[:, present].mean(1, keepdim=True)
    slopes = torch.where(present, (logits[1:] - logits[0]) / steps[:, None], 0)
    if not torch.isfinite(slopes).all():
        raise UserError("its linear head is too steep to be saved; give larger --regularisations, or --mode finetune")
    return centre.cpu(), slopes.T.float().contiguous(), logits[0].float()


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
    kept = {f.name: found[f.name] for f in dataclasses.fields(ClassifierCard)}
    return ClassifierCard(**{**kept, "encoder": encoder, "planes": tuple(found["planes"])})


def cleaning_of(store: Store) -> dict[str, Any] | None:
    """The options by which the frames of a store were cleaned."""
    with h5py.File(store.path / FRAMES, "r") as h5:
        cleaning: dict[str, Any] | None = json.loads(h5.attrs.get("config", "{}")).get("cleaning")
    return cleaning
