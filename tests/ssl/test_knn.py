"""The monitor of nearest neighbours: from the training to the validation part of a labelled store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from sonolearn.config import ClassifyConfig
from sonolearn.console import UserError
from sonolearn.planes.classify import classify
from sonolearn.ssl.devices import make_fabric
from sonolearn.ssl.encoders import Card
from sonolearn.ssl.features import KnnMonitor, knn_votes
from sonolearn.ssl.pretrain import pretrain
from sonolearn.store.store import Store
from ssl_methods import small
from stores import write_store

PLANES = ("3VV/3VT", "4CH", "LVOT")


def test_pixels_that_show_the_plane_are_classified_as_scikit_learn_does(tmp_path: Path) -> None:
    store = Store(write_store(tmp_path / "store", patients=12, planes=PLANES))
    knn = KnnMonitor(store, 16)
    accuracy = knn.accuracy(nn.Flatten(), Card("none", mean=0.3, std=0.2), make_fabric("cpu", "32-true"))

    def pixels(images: np.ndarray) -> np.ndarray:
        x = (images.reshape(len(images), -1) / 255 - 0.3) / 0.2
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    # Cosine similarity s of unit vectors is 1 - d^2 / 2.
    peer = KNeighborsClassifier(20, weights=lambda d: np.exp((1 - d**2 / 2) / 0.07))
    found = peer.fit(pixels(knn.bank), knn.bank_planes).predict(pixels(knn.queries))
    recalls = [np.mean(found[knn.query_planes == c] == c) for c in range(3)]
    assert accuracy == pytest.approx(np.mean(recalls))
    assert accuracy > 0.5


def test_each_of_k_neighbours_votes_with_the_exponential_of_its_cosine_over_the_temperature() -> None:
    """Wu et al., CVPR 2018, section 3.4, in plain numpy."""
    rng = np.random.default_rng(0)
    train, queries, targets = rng.normal(size=(9, 5)), rng.normal(size=(4, 5)), np.arange(9) % 3
    unit, asked = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (train, queries))
    expected = np.zeros((4, 3))
    for query, cosines in enumerate(asked @ unit.T):
        for neighbour in np.argsort(cosines)[-5:]:
            expected[query, targets[neighbour]] += np.exp(cosines[neighbour] / 0.2)
    votes = knn_votes(*map(torch.from_numpy, (train, targets, queries)), classes=3, neighbours=5, temperature=0.2)
    np.testing.assert_allclose(votes.numpy(), expected / expected.sum(1, keepdims=True))


def test_it_is_the_validation_score_of_classify_with_all_labels(tmp_path: Path) -> None:
    labelled, scans = write_store(tmp_path / "labelled", planes=PLANES), write_store(tmp_path / "scans", seed=4)
    run = pretrain([scans], tmp_path / "run", small("simclr", epochs=1, knn_store=labelled))
    metrics = pd.read_csv(run / "metrics.csv").query("part == 'monitor'")
    config = ClassifyConfig(init=str(run), mode="knn", fractions=(1.0,), seeds=1, valid="whole", workers=0)
    results = classify(labelled, tmp_path / "knn", config)
    assert metrics["knn_accuracy"].iloc[-1] == pytest.approx(results["valid_balanced_accuracy"].iloc[0], abs=1e-5)


def test_following_it_changes_no_weights_and_needs_no_other_run_folder(tmp_path: Path) -> None:
    labelled, scans = write_store(tmp_path / "labelled", planes=PLANES), write_store(tmp_path / "scans", seed=4)
    one = pretrain([scans], tmp_path / "one", small("simclr", epochs=1))
    other = pretrain([scans], tmp_path / "other", small("simclr", epochs=1, knn_store=labelled))
    assert (one / "encoder.safetensors").read_bytes() == (other / "encoder.safetensors").read_bytes()
    assert str(tmp_path) not in (other / "run.json").read_text()


def test_a_store_without_labels_is_refused(tmp_path: Path) -> None:
    scans = write_store(tmp_path / "scans")
    with pytest.raises(UserError, match=r"--knn_store .*scans: needs labels in a training and a validation part"):
        pretrain([scans], tmp_path / "run", small("simclr", knn_store=scans))
    assert not (tmp_path / "run").exists()
