"""Classifiers that tests only read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from media import fan
from sonolearn.deploy.classifier import Classifier, load_classifier
from sonolearn.planes.saved import ClassifierCard, PlaneNetwork, save_classifier
from sonolearn.ssl.encoders import Card, build, normalise

PLANES = ("3VV", "4CH", "LVOT")


def made_classifier(folder: Path, frame_size: int = 48, image_size: int = 32, **more: object) -> Path:
    """A classifier of random weights in a file.

    Its head looks at the features less their mean over some frames, so that probabilities differ from frame to frame.
    """
    card = Card("test_resnet", image_size=image_size, mean=0.3, std=0.2)
    network = PlaneNetwork(build(card, 0), len(PLANES), card.mean, card.std).eval()
    generator = torch.Generator().manual_seed(0)
    scans = np.concatenate([fan(8, seed=seed)[:, 40:, 60:260] for seed in range(4)])
    frames = np.stack([cv2.resize(frame, (image_size, image_size), interpolation=cv2.INTER_AREA) for frame in scans])
    with torch.no_grad():
        std, mean = torch.std_mean(network.encoder(normalise(torch.from_numpy(frames), card.mean, card.std)), 0)
        network.centre.copy_(mean)
        network.head.weight.copy_(torch.randn(network.head.weight.shape, generator=generator) / std.clamp_min(1e-4))
    settings: dict[str, object] = {"cleaning": None, "mode": "linear", "fraction": 1.0, "seed": 0}
    described = ClassifierCard(
        card, PLANES, frame_size, train_images=48, train_patients=8, **{**settings, **more}  # type: ignore[arg-type]
    )  # fmt: skip
    file = folder / f"{described.fraction!r}_{described.seed}.safetensors"
    save_classifier(file, network, described)
    return file


@pytest.fixture(scope="session")
def classifier_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="session")
def classifier(classifier_path: Path) -> Classifier:
    return load_classifier(classifier_path)
