"""Labelled images as an encoder takes them, and their features, computed once for all linear and kNN classifiers.

The frozen encoder normalises with the mean and deviation on its card (those of its pre-training, or 0.5), never with
those of a label subset: what a frozen encoder computes must be fixed before any label is seen, else the 1 % subset
would already have shaped the features that linear evaluation measures. Fine-tuning, whose encoder adapts, normalises
by its subset.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from sklearn.metrics import recall_score
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from sonolearn.console import UserError
from sonolearn.ssl.encoders import Card, normalise
from sonolearn.store.store import Frames, Rows, Store

READ_AT_ONCE = 256


def extract(encoder: nn.Module, card: Card, images: Frames, fabric: Fabric) -> Tensor:
    """Features of images; the encoder is in evaluation mode, so that neither weights nor batch-norm statistics move.

    Args:
        encoder: (N, 1, H, W) float32 to (N, F).
        card: its normalisation.
        images: (n, H, W) uint8.
        fabric: device and precision.

    Returns:
        (n, F) float32 on the fabric's device.
    """
    encoder = encoder.to(fabric.device).eval()
    batches = torch.split(torch.from_numpy(images), batch_of(fabric.device))
    with torch.no_grad(), fabric.autocast():
        return torch.cat([encoder(normalise(b.to(fabric.device), card.mean, card.std)).float() for b in batches])


def batch_of(device: torch.device) -> int:
    """Images that an encoder takes at once where nothing is learnt.

    On a CPU so few that what one layer gives is still in the cache when the next one takes it.
    """
    return 16 if device.type == "cpu" else 256


def read_images(store: Store, rows: Rows, size: int) -> Frames:
    """Frames of the store, resized to `size` x `size`.

    Args:
        store: where they are.
        rows: (n,) rows of it.
        size: side in px.

    Returns:
        (n, size, size) uint8, 0 to 255.
    """
    images = np.empty((len(rows), size, size), np.uint8)
    # INTER_AREA averages what it shrinks; enlarged, it would repeat pixels.
    interpolation = cv2.INTER_AREA if size < store.size else cv2.INTER_LINEAR
    for start in range(0, len(rows), READ_AT_ONCE):
        part = slice(start, start + READ_AT_ONCE)
        if size == store.size:
            store.read(rows[part], out=images[part])
            continue
        for image, frame in zip(images[part], store.read(rows[part]), strict=True):
            cv2.resize(frame, (size, size), dst=image, interpolation=interpolation)
    return images


NEIGHBOURS, TEMPERATURE = 20, 0.07


def knn_votes(
    train: Tensor, targets: Tensor, queries: Tensor, classes: int, neighbours: int, temperature: float
) -> Tensor:
    """Share of the votes for each class; a neighbour of cosine similarity s votes with exp(s / temperature).

    Args:
        train: (n, F) features.
        targets: (n,) their classes.
        queries: (m, F) features.
        classes: C.
        neighbours: k; at most n are taken.
        temperature: above 0.

    Returns:
        (m, C) shares that add up to 1.
    """
    similarity = normalize(queries, dim=1) @ normalize(train, dim=1).T
    nearest, index = similarity.topk(min(neighbours, len(train)), dim=1)
    # The softmax is the votes over their sum, without the overflow of exp at a low temperature.
    votes = (nearest / temperature).softmax(1)
    return torch.einsum("mk,mkc->mc", votes, one_hot(targets[index], classes).to(votes.dtype))


class KnnMonitor:
    """Follows how well nearest neighbours classify, from the training to the validation part of a labelled store."""

    def __init__(self, store: Store, size: int) -> None:
        """Read the images of both parts.

        Raises:
            UserError: the store has no labels, or one of the parts is empty.
        """
        labels = store.labels
        if labels is None or not {"train", "valid"} <= set(labels["split"]):
            raise UserError(f"--knn_store {store.path}: needs labels in a training and a validation part")
        self.planes = len(store.planes)
        self.bank, self.bank_planes = self._part(store, "train", size)
        self.queries, self.query_planes = self._part(store, "valid", size)

    def accuracy(self, encoder: nn.Module, card: Card, fabric: Fabric) -> float:
        """Balanced accuracy on the validation part, in 0 to 1."""
        bank, queries = (extract(encoder, card, images, fabric) for images in (self.bank, self.queries))
        targets = torch.from_numpy(self.bank_planes).to(bank.device)
        votes = knn_votes(bank, targets, queries, self.planes, NEIGHBOURS, TEMPERATURE)
        present = np.unique(self.query_planes)
        found = votes.argmax(dim=1).cpu().numpy()
        return float(recall_score(self.query_planes, found, labels=present, average="macro", zero_division=0))

    @staticmethod
    def _part(store: Store, part: str, size: int) -> tuple[Frames, NDArray[np.int64]]:
        assert store.labels is not None
        chosen = store.labels[store.labels["split"] == part]
        index = {plane: i for i, plane in enumerate(store.planes)}
        planes = np.array(chosen["plane"].map(index), np.int64)
        return read_images(store, np.asarray(chosen["row"], np.int64), size), planes
