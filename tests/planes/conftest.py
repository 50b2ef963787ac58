from __future__ import annotations

from pathlib import Path

import pytest
import torch

from planes.labelled_store import SIZE, write_store
from sonolearn.ssl.encoders import Card, build, normalise, save_encoder


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that tests only read: 3 planes, 8 + 3 + 4 patients of 2 stills a plane."""
    return write_store(tmp_path_factory.mktemp("planes") / "store")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose features differ from image to image by more than the rounding of their sizes.

    Its statistics are those of noise, as after training; those of random weights are not.
    """
    card = Card("test_resnet", image_size=SIZE, mean=0.2, std=0.25)
    network = build(card, 1).train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(60):
            noise = torch.randint(0, 256, (16, 8, 8), dtype=torch.uint8, generator=generator)
            network(normalise(noise.repeat_interleave(4, 1).repeat_interleave(4, 2), card.mean, card.std))
    file = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_encoder(file, network.eval(), card)
    return file
