"""Weighted nearest neighbours on features (Wu et al., CVPR 2018): the evaluation of DINO, and a monitor here."""

from __future__ import annotations

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from sklearn.metrics import recall_score
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from sonolearn.console import UserError
from sonolearn.data.store import Frames, Store
from sonolearn.ssl.encoders import Card
from sonolearn.ssl.features import extract, read_images

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
