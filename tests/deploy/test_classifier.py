"""Loading classifiers: what a run folder means, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deploy.conftest import PLANES, made_classifier
from sonolearn.config import EncoderConfig
from sonolearn.console import UserError
from sonolearn.deploy.classifier import load_classifier
from sonolearn.ssl.encoders import Card, build, load_file, save_encoder


def test_a_run_means_its_largest_fraction_with_seed_0(tmp_path: Path) -> None:
    for fraction, seed in ((0.05, 0), (1.0, 1), (0.5, 0), (1e-05, 0)):
        made_classifier(tmp_path / "classifiers", fraction=fraction, seed=seed)
    card = load_classifier(tmp_path).card
    assert (card.fraction, card.seed) == (0.5, 0)


def test_weights_and_card_come_back(classifier_path: Path) -> None:
    found = load_classifier(classifier_path)
    assert (found.card.planes, found.card.frame_size, found.image_size) == (PLANES, 48, 32)
    assert (found.card.encoder.mean, found.card.encoder.std) == (0.3, 0.2)
    assert not found.network.training
    images = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features = found.network.encoder((images[:, None] / 255 - 0.3) / 0.2)
    logits = (features - found.network.centre) @ found.network.head.weight.T + found.network.head.bias
    assert torch.allclose(found.network(images), logits.softmax(1), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda file: None, "no such file or folder"),
        (lambda file: file.mkdir(), "holds no classifier of seed 0"),
        (lambda file: file.write_bytes(b"weights"), "cannot be read as a classifier"),
        (lambda file: save_file({"a": torch.ones(1)}, file), "is not a plane classifier"),
        (
            lambda file: save_encoder(file, build(Card("test_resnet"), 0), Card("test_resnet")),
            "is not a plane classifier",
        ),
    ],
)
def test_what_is_no_classifier_is_refused_with_the_remedy(make: object, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "classifier.safetensors"
    make(file)  # type: ignore[operator]
    with pytest.raises(UserError, match=rf"{sentence}.*classify --save_classifiers true"):
        load_classifier(file)


def test_a_classifier_is_no_encoder(classifier_path: Path) -> None:
    with pytest.raises(UserError, match="is a plane classifier, no encoder"):
        load_file(classifier_path, EncoderConfig())
