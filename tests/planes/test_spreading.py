"""Labels spread over nearest neighbours as Zhou et al. say, and heads learn from images whose label they never see."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import LabelSpreading

from sonolearn.config import ClassifyConfig
from sonolearn.planes.logistic import fit_logistic
from sonolearn.planes.spreading import fit_to_soft_labels, neighbour_graph, soft_labels, spread_labels

RNG = np.random.default_rng(0)
FEATURES = torch.from_numpy(RNG.normal(size=(40, 6)).astype(np.float32))
CONFIG = ClassifyConfig(mode="linear", spread_labels="always")


def moons(noise: float = 0.05) -> tuple[torch.Tensor, np.ndarray]:
    """Two crescents on a patch of a sphere, whose cosines are then as their distances."""
    points, targets = make_moons(200, noise=noise, random_state=0)
    sphere = np.c_[points / 10, np.ones(len(points))]
    return torch.from_numpy(sphere.astype(np.float32)), targets.astype(np.int64)


def test_the_graph_links_each_image_with_its_nearest_by_cosine() -> None:
    x = FEATURES.numpy() / np.linalg.norm(FEATURES.numpy(), axis=1, keepdims=True)
    cosines = x @ x.T - 2 * np.eye(len(x))
    nearest = np.zeros((40, 40))
    nearest[np.arange(40)[:, None], cosines.argsort(1)[:, -5:]] = 1
    linked = np.maximum(nearest, nearest.T)
    expected = linked / np.sqrt(np.outer(linked.sum(1), linked.sum(1)))
    assert neighbour_graph(FEATURES, 5).toarray() == pytest.approx(expected)
    assert neighbour_graph(7 * FEATURES, 5).toarray() == pytest.approx(expected)


def test_scores_are_the_closed_form_and_those_of_scikit_learn() -> None:
    graph, positions, targets = neighbour_graph(FEATURES, 5), np.array([3, 8, 21, 30]), np.array([1, 0, 0, 1])
    labels = np.zeros((40, 2))
    labels[positions, targets] = 1
    exact = np.linalg.solve(np.eye(40) - 0.8 * graph.toarray(), labels)
    expected = exact / exact.sum(1, keepdims=True)
    found = spread_labels(graph, positions, targets, 2, spread=0.8)
    assert found == pytest.approx(expected, abs=1e-8)
    known = np.full(40, -1)
    known[positions] = targets
    links = (graph.toarray() > 0).astype(float)
    peer = LabelSpreading(kernel=lambda x, y=None: links, alpha=0.8, max_iter=1000, tol=1e-12).fit(FEATURES, known)
    assert found == pytest.approx(peer.label_distributions_, abs=1e-6)


def test_a_class_of_many_labels_spreads_no_further_for_it() -> None:
    graph = neighbour_graph(FEATURES, 5)
    once = spread_labels(graph, np.array([3, 8]), np.array([0, 1]), 2)
    thrice = spread_labels(graph, np.array([3, 8, 8, 8]), np.array([0, 1, 1, 1]), 2)
    assert once == pytest.approx(thrice)


def test_where_no_label_arrives_shares_are_equal() -> None:
    apart = torch.tensor([[1.0, 0], [1, 0.1], [1, 0.2], [-1, 0], [-1, 0.1], [-1, 0.2]])
    found = spread_labels(neighbour_graph(apart, 2), np.array([0]), np.array([1]), 3)
    assert found[:3] == pytest.approx(np.tile([0.0, 1.0, 0.0], (3, 1)))
    assert found[3:] == pytest.approx(np.full((3, 3), 1 / 3))


def test_two_crescents_are_told_apart_by_a_label_each() -> None:
    features, targets = moons()
    positions = np.array([np.flatnonzero(targets == plane)[0] for plane in (0, 1)])
    found = spread_labels(neighbour_graph(features), positions, targets[positions], 2).argmax(1)
    nearest = ((features[:, None] - features[positions]) ** 2).sum(2).argmin(1).numpy()
    assert (found == targets).mean() > 0.98 > 0.9 > (nearest == targets).mean()


def test_soft_labels_keep_what_is_known_and_sharpen_the_mean() -> None:
    soft = soft_labels([np.array([[0.5, 0.5], [0.8, 0.2]]), np.array([[0.5, 0.5], [0.4, 0.6]])], np.array([0]), [1])
    assert soft[0].tolist() == [0, 1]
    assert soft[1] == pytest.approx([0.36 / 0.52, 0.16 / 0.52])


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_a_head_for_certain_labels_is_the_balanced_regression_of_scikit_learn(strength: float) -> None:
    targets = RNG.integers(0, 3, 40)
    (weight, bias), = fit_to_soft_labels(FEATURES, [np.eye(3)[targets]], strength, "none")  # fmt: skip
    counts = 1 / np.bincount(targets)[targets] / 3
    peer = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000).fit(FEATURES, targets, counts)
    assert weight.numpy() == pytest.approx(peer.coef_, abs=1e-4)
    assert (bias - bias.mean()).numpy() == pytest.approx(peer.intercept_ - peer.intercept_.mean(), abs=1e-4)


def heads(
    targets: np.ndarray, features: torch.Tensor, subsets: list[np.ndarray], **options: object
) -> list[np.ndarray]:
    config = dataclasses.replace(CONFIG, **options)
    patients = np.arange(len(features)).astype(object)
    fitted = fit_logistic(features, targets, patients, subsets, None, 2, config)
    return [one.predict(features) for one in fitted]


def test_the_labels_of_unlabelled_images_are_not_looked_at() -> None:
    features, targets = moons()
    subset = np.r_[np.flatnonzero(targets == 0)[:6], np.flatnonzero(targets == 1)[:6]]
    hidden = np.where(np.isin(np.arange(len(targets)), subset), targets, 1 - targets)
    assert (heads(targets, features, [subset])[0] == heads(hidden, features, [subset])[0]).all()


def test_unlabelled_images_turn_the_head_and_without_any_it_stays_as_it_is() -> None:
    features, targets = moons()
    some, whole = np.r_[:6, 100:120], np.arange(200)
    spread, plain = (heads(targets, features, [some, whole], spread_labels=on) for on in ("always", "never"))
    assert np.abs(spread[0] - plain[0]).max() > 0.01
    assert (spread[1] == plain[1]).all()


def test_heads_do_not_depend_on_each_other_or_on_the_scale_of_features() -> None:
    features, targets = moons()
    subsets = [np.r_[:8, 150:160], np.r_[20:40], np.arange(200)]
    together = heads(targets, features, subsets)
    for one, subset in zip(together, subsets, strict=True):
        assert one == pytest.approx(heads(targets, features, [subset[::-1]])[0], abs=1e-5)
        assert one == pytest.approx(heads(targets, 1000 * features, [subset])[0], abs=1e-5)


def test_a_class_that_the_subset_lacks_is_never_predicted() -> None:
    features, targets = moons()
    assert heads(targets, features, [np.flatnonzero(targets == 1)[:5]])[0][:, 0].max() == 0


def test_by_default_only_heads_of_a_few_images_learn_so() -> None:
    features, targets = moons()
    few, more = np.r_[:5, 100:105], np.r_[:20, 100:120]
    found, plain = (heads(targets, features, [few, more], spread_labels=one) for one in ("few", "never"))
    assert np.abs(found[0] - plain[0]).max() > 0.01
    assert (found[1] == plain[1]).all()
