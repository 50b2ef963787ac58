"""Which images to label first, from their features alone: typical of their kind, diverse, and spread over patients.

Two published ways to cut the images into clusters and to rank those of a cluster:

- `typiclust`: k-means; first comes the most *typical* image, whose nearest neighbours in the cluster are the closest
  (Hacohen, Dekel & Weinshall, "Active learning on a budget: opposite strategies suit high and low budgets", ICML 2022).
- `k_medoids`: medoids by alternating assignment and update (Park & Jun, "A simple and fast algorithm for K-medoids
  clustering", Expert Systems with Applications 2009); first comes the medoid.

Clusters then take turns, the largest first; an image of a patient who has given his share is passed over. No label is
looked at.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin, pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from sonolearn.config.classify import SuggestMethod
from sonolearn.console import UserError
from sonolearn.planes.linear import Positions
from sonolearn.runs import seed_for

Features = NDArray[np.float32]

NEIGHBOURS = 20
"""Neighbours that say how typical an image is: the K of Hacohen et al."""
COMPONENTS = 64
"""Principal components that distances are measured on."""
MOST_CLUSTERS = 500
"""Of more images each cluster gives several, as in Hacohen et al."""
_ROUNDS = 100  # of k-medoids at most; it stops where no medoid moves


def suggested(
    features: Features, patients: NDArray[np.object_], count: int, method: SuggestMethod = "typiclust", seed: int = 0
) -> Positions:
    """Choose images to label, the most useful first.

    >>> features = np.array([[1, 0], [0.99, 0.1], [0, 1], [0.1, 0.99], [0.02, 1]], np.float32)
    >>> suggested(features, np.array(["a", "b", "c", "d", "e"], object), 2).tolist()
    [4, 0]

    Args:
        features: (n, F); only their direction counts.
        patients: (n,) the patient of each; at most ceil(count / patients) images of each are chosen, as far as the
            others have enough.
        count: how many, 1 to n.
        method: typiclust or k_medoids.
        seed: of the clusters' starts.

    Returns:
        (count,) different positions; the order of the images matters only where distances are equal and for the
        starts of the clusters, so that callers who want none of that give them in an order of their own.

    Raises:
        UserError: `count` is not in 1 to n, or features are not finite.
    """
    if not 1 <= count <= len(features):
        raise UserError(f"{count} images cannot be chosen from {len(features)}; give 1 to {len(features)}")
    if not np.isfinite(features).all():
        raise UserError("the encoder's features are not finite; give --precision 32-true, or another --init")
    points = coordinates(features)
    # Equal images are no clusters of their own.
    clusters = min(count, MOST_CLUSTERS, len(np.unique(features, axis=0)))
    number = seed_for(seed, "suggest", method) % 2**32
    if method == "typiclust":
        ranked = [_by_typicality(points, members) for members in _by_means(points, clusters, number)]
    else:
        ranked = [_by_centrality(points, members) for members in _by_medoids(points, clusters, number)]
    return _in_turns(sorted(ranked, key=lambda members: (-len(members), int(members[0]))), patients, count)


def coordinates(features: Features) -> Features:
    """Where images lie for clustering: (n, F) features of length 1 on their first principal components, (n, D).

    In all F dimensions k-means is caught in the noise of the many small ones (docs/results/suggest.md).
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    directions = np.asarray(features, np.float64) / np.where(lengths > 0, lengths, 1)
    few = min(features.shape)
    # Both solvers are exact; the second is faster where images are many.
    solver = "full" if len(features) == few else "covariance_eigh"
    with np.errstate(invalid="ignore"):  # equal images have no variance that components could explain
        points = PCA(min(COMPONENTS, few), svd_solver=solver).fit_transform(directions)
    return np.asarray(points, np.float32)


def typicality(features: Features, neighbours: int = NEIGHBOURS) -> NDArray[np.float64]:
    """One over the mean distance to the nearest neighbours, (n,), of (n, F) features; infinite among equal images.

    >>> typicality(np.array([[0.0], [1.0], [3.0]], np.float32), neighbours=2).round(3).tolist()
    [0.5, 0.667, 0.4]
    """
    count = min(neighbours, len(features) - 1)
    if count < 1:
        return np.ones(len(features))
    # The nearest of all is the image itself, or one that equals it.
    distances, _ = NearestNeighbors(n_neighbors=count + 1).fit(features).kneighbors(features)
    with np.errstate(divide="ignore"):
        return np.asarray(1 / distances[:, 1:].mean(1), np.float64)


def _by_means(features: Features, clusters: int, seed: int) -> list[Positions]:
    """Members of each cluster of k-means."""
    labels = KMeans(clusters, n_init=5, random_state=seed).fit(features).labels_
    return _members(labels, clusters)


def _by_medoids(features: Features, clusters: int, seed: int) -> list[Positions]:
    """Members of each cluster around its medoid."""
    _, medoids = kmeans_plusplus(features, clusters, random_state=seed)
    for _ in range(_ROUNDS):
        members = _members(pairwise_distances_argmin(features, features[medoids]), clusters)
        moved = np.array([_by_centrality(features, of_cluster)[0] for of_cluster in members])
        if np.array_equal(moved, medoids):
            break
        medoids = moved
    return members


def _members(labels: NDArray[np.int32], clusters: int) -> list[Positions]:
    """Positions of each cluster that has any."""
    found = [np.flatnonzero(labels == cluster) for cluster in range(clusters)]
    return [members for members in found if len(members)]


def _by_typicality(features: Features, members: Positions) -> Positions:
    """Members of a cluster, the most typical first."""
    return members[np.argsort(-typicality(features[members]), kind="stable")]


def _by_centrality(features: Features, members: Positions) -> Positions:
    """Members of a cluster, the one with the smallest sum of distances to all first."""
    sums = pairwise_distances_chunked(features[members], reduce_func=lambda part, start: part.sum(1))
    return members[np.argsort(np.concatenate(list(sums)), kind="stable")]


def _in_turns(ranked: Sequence[Positions], patients: NDArray[np.object_], count: int) -> Positions:
    """Clusters take turns, each with its first image of a patient who may give one more.

    Where no cluster has such an image left, every patient may give one more.
    """
    share = math.ceil(count / len(set(patients)))
    given: Counter[str] = Counter()
    waiting, chosen = [members.tolist() for members in ranked], list[int]()
    while len(chosen) < count:
        before = len(chosen)
        for members in waiting:
            image = next((image for image in members if given[patients[image]] < share), None)
            if image is None or len(chosen) == count:
                continue
            members.remove(image)
            given[patients[image]] += 1
            chosen.append(image)
        share += len(chosen) == before
    return np.array(chosen, np.int64)
