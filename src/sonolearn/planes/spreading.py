"""Learn from images without a label, too: labels spread over nearest neighbours, and a head fitted to both.

Six labelled images say little of where one plane ends and the next one begins; the images without a label show it. Each
head that was fitted on the labels alone is asked for its opinion of all other images; so is the graph of nearest
neighbours, over which the labels spread (Zhou et al., Learning with Local and Global Consistency, NIPS 2003). The mean
of both opinions becomes a soft label, and a head of the same form is fitted to labelled and unlabelled images together
(self-training; Iscen et al., Label Propagation for Deep Semi-Supervised Learning, CVPR 2019, do it with a network).
What that gains is in docs/results/unlabelled.md, which also says how the constants were chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.linalg import cg
from sklearn.neighbors import kneighbors_graph
from sklearn.preprocessing import normalize
from torch import Tensor

from sonolearn.config import Standardise
from sonolearn.planes.linear import Positions, standardisation
from sonolearn.planes.logistic_optimum import optima

Floats = NDArray[np.float64]
NEIGHBOURS = 10
SPREAD = 0.9
"""Share of an image's score that comes from its neighbours; the rest is its own label."""
SHARPEN = 2.0
"""Power of the soft labels: above 1 they become more certain, as the student's own probabilities are blurred."""
AT_ONCE = 2**26
"""Numbers (of 8 bytes) that the images of one batch of heads may take in memory, about."""


def neighbour_graph(features: Tensor, neighbours: int = NEIGHBOURS) -> csr_array:
    """Symmetric normalised graph of the nearest neighbours by cosine.

    Args:
        features: (n, F), n >= 2.
        neighbours: of each image, at most n - 1.

    Returns:
        (n, n) sparse D^-1/2 W D^-1/2, where W is 1 between images of which one is among the nearest of the other.

    >>> neighbour_graph(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]), 1).toarray().round(2).tolist()
    [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]
    """
    points = normalize(features.double().cpu().numpy())
    nearest = csr_array(kneighbors_graph(points, min(neighbours, len(points) - 1)))
    linked = nearest.maximum(nearest.T)
    scale = diags_array(np.asarray(linked.sum(axis=1)).ravel() ** -0.5)
    graph: csr_array = scale @ linked @ scale
    return graph


def spread_labels(
    graph: csr_array, positions: Positions, targets: NDArray[np.int64], classes: int, spread: float = SPREAD
) -> Floats:
    """Class probabilities of all images of a graph from a few labels: the rows of (I - a S)^-1 Y, over their sum.

    Each class starts with the same total, so that a frequent one does not spread further for its number of labels.

    Args:
        graph: S, of `neighbour_graph`.
        positions: (m,) labelled images.
        targets: (m,) their classes.
        classes: C.
        spread: a, from 0 to below 1.

    Returns:
        (n, C); equal shares where no label arrives.
    """
    labels = np.zeros((graph.shape[0], classes))
    np.add.at(labels, (positions, targets), 1.0)
    labels /= labels.sum(0).clip(min=1)
    system = eye_array(graph.shape[0]) - spread * graph
    scores = np.stack([cg(system, column, rtol=1e-10)[0].clip(min=0) for column in labels.T], 1)
    reached = scores.sum(1, keepdims=True)
    shares: Floats = np.divide(scores, reached, out=np.full_like(scores, 1 / classes), where=reached > 1e-12)
    return shares


def soft_labels(opinions: Sequence[Floats], positions: Positions, targets: NDArray[np.int64]) -> Floats:
    """The mean of (n, C) probabilities, sharpened; labelled images keep their label."""
    soft: Floats = np.mean(np.stack(opinions), axis=0) ** SHARPEN
    soft /= soft.sum(1, keepdims=True)
    soft[positions] = 0
    soft[positions, targets] = 1
    return soft


def fit_to_soft_labels(
    features: Tensor, labels: Sequence[Floats], strength: float, standardise: Standardise
) -> Iterator[tuple[Tensor, Tensor]]:
    """Heads of L2 logistic regression on the same images, in which each class counts the same in total.

    Args:
        features: (n, F), raw.
        labels: of each head (n, C) probabilities of the classes.
        strength: lambda, as in `logistic`.
        standardise: how features are, by all images.

    Yields:
        (C, F) weight for raw features and (C,) bias, float64; of a class that is nowhere 0 and -inf.
    """
    images = features.double()
    scale = standardisation(images, standardise)[1]
    inputs = (images - images.mean(0)) * scale
    together = max(1, AT_ONCE // (inputs.numel() + len(inputs) ** 2))
    for start in range(0, len(labels), together):
        truth = torch.as_tensor(np.stack(labels[start : start + together])).to(inputs).mT
        mass = truth.sum(2, keepdim=True)
        counts = torch.where(mass > 0, truth / mass, 0).sum(1)
        counts = counts / counts.sum(1, keepdim=True)
        strengths = torch.tensor([strength]).to(inputs)
        weight, bias = optima(inputs.expand(len(truth), -1, -1), counts, truth, strengths)
        weight = weight[:, 0] * scale
        yield from zip(weight, bias[:, 0] - weight @ images.mean(0), strict=True)
